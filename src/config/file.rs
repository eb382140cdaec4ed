//! Reads files with a limit of their size.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads a regular file of at most `max` bytes. Does not rely on the size that the file system reports.
///
/// # Errors
/// As [`File::open`]; also if it is longer, or is not a regular file but a pipe or a device.
pub fn read_file(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    // Checked before it is opened: opening a pipe waits for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::other(format!("is longer than {max} bytes, the most that is read")));
    }
    Ok(bytes)
}

/// Reads a file as [`read_file`] does, as UTF-8 and without its byte order mark.
///
/// # Errors
/// As [`read_file`]; also if it is not UTF-8.
pub fn read_text(path: &Path, max: u64) -> io::Result<String> {
    let text = String::from_utf8(read_file(path, max)?).map_err(|_| io::Error::other("is not UTF-8"))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}
