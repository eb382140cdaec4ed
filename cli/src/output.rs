//! Prints results on stdout, and progress, warnings and errors on stderr. With `--json`, JSON lines on stdout.
//!
//! A failed write does not end a command, because a call must be followed to its end. If the reader has closed the pipe
//! (`phonegate call … | head -1`), nothing is wrong; any other reason is reported when the command ends.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;
use std::time::Duration;

use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use crate::error::{CommandError, CommandErrorKind};

/// How a command prints a list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A table for people.
    Table,
    /// One JSON object a line.
    Json,
    /// Comma-separated values, with a header.
    Csv,
}

impl Format {
    /// Chooses the format that the arguments ask for.
    ///
    /// # Errors
    /// If they ask for two of them. clap cannot check this, because `--json` may come before the command.
    pub(crate) fn of(json: bool, csv: bool) -> Result<Self, CommandError> {
        match (json, csv) {
            (true, true) => Err(CommandError::usage("--json cannot be used with --csv").hint("leave one of them out")),
            (true, false) => Ok(Self::Json),
            (false, true) => Ok(Self::Csv),
            (false, false) => Ok(Self::Table),
        }
    }
}

/// The first error of a write to stdout.
static WRITE_ERROR: OnceLock<io::Error> = OnceLock::new();

/// Returns the first error of a write to stdout, except a closed pipe.
pub(crate) fn write_error() -> Option<&'static io::Error> {
    WRITE_ERROR.get()
}

/// Records the result of a write to stdout. Returns whether the output still has a reader.
pub(crate) fn is_written(written: io::Result<()>) -> bool {
    let Err(error) = written else { return true };
    if error.kind() != ErrorKind::BrokenPipe {
        // Only the first error is reported.
        let _ = WRITE_ERROR.set(error);
    }
    false
}

/// Prints a line on stdout.
pub(crate) fn print(text: &str) {
    is_written(writeln!(io::stdout(), "{text}"));
}

/// Prints a whole text on stdout, such as a file. A closed pipe is no error.
pub(crate) fn print_all(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Prints a line on stderr.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints a JSON line on stdout, and flushes it.
pub(crate) fn json_line(record: &impl Serialize) {
    let mut out = io::stdout().lock();
    if let Ok(line) = serde_json::to_string(record) {
        is_written(writeln!(out, "{line}").and_then(|()| out.flush()));
    }
}

/// Prints why a command could not do its work: on stderr, and with `json` also on stdout.
pub(crate) fn error(json: bool, error: &CommandError) {
    let CommandError { kind, message, hints } = error;
    if json {
        json_error(*kind, message, hints);
    }
    note(&format!("error: {message}"));
    hints.iter().for_each(|hint| note(&format!("hint: {hint}")));
}

/// Prints an error as a JSON line.
pub(crate) fn json_error(kind: CommandErrorKind, text: &str, hints: &[String]) {
    json_line(&json!({ "event": "error", "kind": kind.name(), "text": text, "hints": hints }));
}

/// Prints a warning: something works, but needs attention.
pub(crate) fn warning(json: bool, text: &str) {
    match json {
        true => json_line(&json!({ "event": "warning", "text": text })),
        false => note(&format!("warning: {text}")),
    }
}

/// Creates an empty table without lines between its cells.
pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    table
}

/// Prints a table.
pub(crate) fn print_table(table: &Table) {
    lines(table, None).iter().for_each(|line| print(line));
}

/// Prints a table, and cuts its lines to the width of the terminal. The last column must be the one that may be cut.
pub(crate) fn print_cut_table(table: &Table) {
    lines(table, columns()).iter().for_each(|line| print(line));
}

/// Returns the lines of a table without blanks at their ends, cut to `columns` columns.
fn lines(table: &Table, columns: Option<usize>) -> Vec<String> {
    let cut = |line: &str| columns.map_or(line.to_owned(), |columns| cut(line, columns).into_owned());
    table.lines().map(|line| cut(line.trim_end())).collect()
}

/// Returns the width of the terminal that stdout is, in columns. `None` if stdout is not a terminal.
fn columns() -> Option<usize> {
    console::Term::stdout().size_checked().map(|(_, columns)| columns.into())
}

/// Returns a text in at most `columns` columns. If it is cut, it ends with `…`.
pub(crate) fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    match text.chars().count() > columns {
        true => text.chars().take(columns.saturating_sub(1)).chain(['…']).collect(),
        false => text.into(),
    }
}

/// The progress of a command, on stderr. On a terminal, a moving line below lines that stay; elsewhere only the lines
/// that stay; with `--json`, nothing.
pub(crate) struct Spinner {
    bar: ProgressBar,
    json: bool,
}

impl Spinner {
    /// Starts to show progress.
    pub(crate) fn start(json: bool) -> Self {
        let bar = if json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self { bar, json }
    }

    /// Sets the text of the moving line.
    pub(crate) fn set_message(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
    }

    /// Prints a line that stays.
    pub(crate) fn print(&self, text: &str) {
        match (self.json, self.bar.is_hidden()) {
            (true, _) => {}
            (false, true) => note(text),
            (false, false) => self.bar.println(text),
        }
    }

    /// Hides the moving line while `write` writes to the terminal.
    pub(crate) fn suspend(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]
    use super::{lines, table};

    #[test]
    fn a_terminal_cuts_the_last_column_and_no_line_ends_in_blanks() {
        let long = "a long reason ".repeat(20);
        let mut table = table(["NUMBER", "REASON"]);
        table.add_row(["+1******1212", "left"]).add_row(["+1******1313", long.trim_end()]);
        let whole = lines(&table, None);
        assert!(whole.len() == 3 && whole.iter().all(|line| line.trim_end() == line), "{whole:?}");
        assert!(whole[2].ends_with("a long reason"), "{whole:?}");
        let cut = lines(&table, Some(40));
        assert_eq!(cut[1], whole[1]);
        assert!(cut[2].chars().count() == 40 && cut[2].ends_with('…'), "{cut:?}");
    }
}
