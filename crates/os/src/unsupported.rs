//! What Windows alone has, where there is none of it.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::{EventSeverity, MachineProxy};

fn unsupported() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "Windows alone has it")
}

/// Secrets sealed by the Data Protection API.
pub mod dpapi {
    use super::{Zeroizing, io, unsupported};

    /// Seals nothing.
    ///
    /// # Errors
    /// Always.
    pub fn seal(_secret: &[u8]) -> io::Result<Vec<u8>> {
        Err(unsupported())
    }

    /// Opens nothing.
    ///
    /// # Errors
    /// Always.
    pub fn open(_sealed: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
        Err(unsupported())
    }
}

/// The Windows Event Log, of which there is never one here.
pub struct EventLog(Infallible);

impl EventLog {
    /// Opens nothing.
    ///
    /// # Errors
    /// Always.
    pub fn open(_source: &str) -> io::Result<Self> {
        Err(unsupported())
    }

    /// Never called, since there is nothing open.
    ///
    /// # Errors
    /// None.
    pub fn report(&self, _severity: EventSeverity, _id: u32, _strings: &[String]) -> io::Result<()> {
        match self.0 {}
    }
}

/// Changes nothing: on Unix the folder of a program is not searched for libraries.
pub fn restrict_library_search() {}

/// There is no Windows.
pub fn windows_folder() -> Option<PathBuf> {
    None
}

/// There are no settings of WinHTTP.
pub fn machine_proxy() -> Option<MachineProxy> {
    None
}
