//! The source `PhoneGate` of the Windows Event Log: the library that contains the texts of its events.

use std::path::Path;

#[cfg(windows)]
mod registry {
    use std::io;

    use windows_registry::{LOCAL_MACHINE, Result};

    const APPLICATION: &str = r"SYSTEM\CurrentControlSet\Services\EventLog\Application";
    const FILE: &str = "EventMessageFile";
    /// `EVENTLOG_ERROR_TYPE`, `EVENTLOG_WARNING_TYPE` and `EVENTLOG_INFORMATION_TYPE`.
    const ALL_TYPES: u32 = 7;

    fn key() -> String {
        format!(r"{APPLICATION}\{}", phonegate::telemetry::SOURCE)
    }

    /// Returns the registered library.
    pub(crate) fn registered() -> Option<String> {
        LOCAL_MACHINE.open(key()).and_then(|key| key.get_string(FILE)).ok()
    }

    /// Registers a library, or removes the source.
    pub(crate) fn register(library: Option<&str>) -> io::Result<()> {
        let change = |library: &str| -> Result<()> {
            let key = LOCAL_MACHINE.create(key())?;
            key.set_expand_string(FILE, library)?;
            key.set_u32("TypesSupported", ALL_TYPES)
        };
        let changed = match library {
            Some(library) => change(library),
            None => LOCAL_MACHINE.remove_tree(key()),
        };
        changed.map_err(|error| io::Error::new(io::Error::from(error.clone()).kind(), error.message()))
    }
}

#[cfg(not(windows))]
mod registry {
    pub(crate) fn registered() -> Option<String> {
        None
    }

    pub(crate) fn register(_library: Option<&str>) -> std::io::Result<()> {
        Ok(())
    }
}

pub(crate) use registry::{register, registered};

/// Returns whether the library is not registered as the source.
pub(crate) fn is_missing(library: &Path) -> bool {
    cfg!(windows) && registered().is_none_or(|registered| !registered.eq_ignore_ascii_case(&library.to_string_lossy()))
}
