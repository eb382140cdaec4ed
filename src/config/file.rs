//! Reading files whose size somebody else decides.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads a regular file of `max` bytes at most. What a file says about its own size is not relied on.
///
/// # Errors
/// As [`File::open`]; also where it is no regular file, such as a pipe or a device, or longer.
pub(crate) fn read_file(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    // Asked before it is opened: to open a pipe would wait for its writer.
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
