//! Replacements on Unix for functions that only Windows has. They return an error or nothing.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::{EventSeverity, MachineProxy};

fn unsupported() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "only Windows supports this")
}

/// Secrets sealed by the Data Protection API.
pub mod dpapi {
    use super::{Zeroizing, io, unsupported};

    /// Returns an error: only Windows seals secrets.
    ///
    /// # Errors
    /// Always.
    pub fn seal(_secret: &[u8]) -> io::Result<Vec<u8>> {
        Err(unsupported())
    }

    /// Returns an error: only Windows opens sealed secrets.
    ///
    /// # Errors
    /// Always.
    pub fn open(_sealed: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
        Err(unsupported())
    }
}

/// The Windows Event Log. It has no values, because it can never be opened here.
pub struct EventLog(Infallible);

impl EventLog {
    /// Returns an error: there is no Event Log.
    ///
    /// # Errors
    /// Always.
    pub fn open(_source: &str) -> io::Result<Self> {
        Err(unsupported())
    }

    /// Is never called, because nothing can be opened.
    ///
    /// # Errors
    /// None.
    pub fn report(&self, _severity: EventSeverity, _id: u32, _strings: &[String]) -> io::Result<()> {
        match self.0 {}
    }
}

/// Does nothing: Unix does not search the folder of a program for libraries.
pub fn restrict_library_search() {}

/// Returns `None`: there is no Windows.
pub fn windows_folder() -> Option<PathBuf> {
    None
}

/// Returns `None`: there are no settings of WinHTTP.
pub fn machine_proxy() -> Option<MachineProxy> {
    None
}
