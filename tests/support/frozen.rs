//! Compares names that other programs depend on with a list in a file.

use std::fmt::Write;
use std::path::Path;

/// A section of a list: its title, and its names.
pub type Section = (&'static str, Vec<String>);

/// Compares sections with the list in a file. Lines that begin with `#` are comments.
///
/// If the environment variable `PHONEGATE_WRITE_NAMES` is set, writes the list instead of comparing it.
#[track_caller]
pub fn compare(file: &Path, sections: &[Section]) {
    let mut actual = String::new();
    for (title, names) in sections {
        assert!(!names.is_empty(), "`{title}` has names");
        writeln!(actual, "\n[{title}]\n{}", names.join("\n")).unwrap();
    }
    let text = std::fs::read_to_string(file).unwrap();
    let (comments, listed): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with('#'));
    if std::env::var_os("PHONEGATE_WRITE_NAMES").is_some() {
        return std::fs::write(file, format!("{}\n{actual}", comments.join("\n"))).unwrap();
    }
    let actual: Vec<_> = actual.lines().collect();
    if listed == actual {
        return;
    }
    let missing = |from: &[&str], of: &[&str], sign: char| -> String {
        of.iter().filter(|line| !from.contains(line)).map(|line| format!("\n{sign} {line}")).collect()
    };
    panic!(
        "the names of the program are not those in {}:{}{}\n\
         Other people's scripts, databases and dashboards depend on these names. Before 0.1.0: update the list (set \
         PHONEGATE_WRITE_NAMES=1 and run this test) and CHANGELOG.md. From 0.1.0 on: add names, but never rename or \
         remove one.",
        file.display(),
        missing(&actual, &listed, '-'),
        missing(&listed, &actual, '+')
    );
}
