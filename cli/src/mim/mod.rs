//! What is known of Microsoft Identity Manager: the contract that its provider implements, and the file that names the
//! provider.

pub(crate) mod contract;
pub(crate) mod country;
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
use std::path::{Path, PathBuf};

/// Do both name the same file, which need not exist? A relative `named` belongs to the folder of the other.
pub(crate) fn is_same_file(named: &Path, path: &Path) -> bool {
    let place = |path: &Path| -> Option<PathBuf> {
        // What is missing has a folder at least, in whose path links and short names may be.
        let missing = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
        path.canonicalize().ok().or_else(missing)
    };
    let named = path.parent().map_or_else(|| named.to_owned(), |folder| folder.join(named));
    let (named, path) = (place(&named).unwrap_or(named), place(path).unwrap_or_else(|| path.to_owned()));
    // Windows tells no names apart by case.
    named == path || (cfg!(windows) && named.to_string_lossy().to_lowercase() == path.to_string_lossy().to_lowercase())
}

/// Reads a file of `most` bytes at most.
pub(crate) fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {most} bytes"))),
        false => Ok(bytes),
    }
}
