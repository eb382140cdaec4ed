//! What is known of Microsoft Identity Manager: the contract that its provider implements, and the file that names the
//! provider.

pub(crate) mod contract;
mod encoding;
mod metadata;
pub(crate) mod runtime;
pub(crate) mod service;
pub(crate) mod settings;
pub(crate) mod shim;
mod tables;
mod xml;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads a file of `most` bytes at most.
pub(crate) fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {most} bytes"))),
        false => Ok(bytes),
    }
}
