//! Paths and files: what several modules need.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Returns whether both paths name the same file, which need not exist. A relative `named` is resolved against the
/// folder of `path`.
pub fn is_same_file(named: &Path, path: &Path) -> bool {
    let resolved = |path: &Path| -> Option<PathBuf> {
        // A missing file has an existing folder at least, whose path may have links and short names.
        let missing = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
        path.canonicalize().ok().or_else(missing)
    };
    let named = path.parent().map_or_else(|| named.to_owned(), |folder| folder.join(named));
    let (named, path) = (resolved(&named).unwrap_or(named), resolved(path).unwrap_or_else(|| path.to_owned()));
    // Windows ignores case.
    named == path || (cfg!(windows) && named.to_string_lossy().to_lowercase() == path.to_string_lossy().to_lowercase())
}

/// Reads a file of at most `max_bytes`.
///
/// # Errors
/// If the file cannot be read or is larger.
pub fn read_bounded(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > max_bytes {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {max_bytes} bytes"))),
        false => Ok(bytes),
    }
}

/// Returns an unused path: `path` with the suffix and a number.
pub(crate) fn unused_path(path: &Path, suffix: &str) -> io::Result<PathBuf> {
    const MAX_NUMBER: u32 = 999;
    for number in 1..=MAX_NUMBER {
        let candidate = with_suffix(path, &format!("{suffix}-{number}"));
        if std::fs::symlink_metadata(&candidate).is_err() {
            return Ok(candidate);
        }
    }
    Err(io::Error::other(format!("there are already {MAX_NUMBER} files named {}{suffix}-…", path.display())))
}

/// Appends to the file name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
