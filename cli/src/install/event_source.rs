//! The source `PhoneGate` of the Windows Event Log: where Windows finds the words of its events.

use std::path::Path;

#[cfg(windows)]
mod registry {
    use std::io;

    use windows_registry::{LOCAL_MACHINE, Result};

    const APPLICATION: &str = r"SYSTEM\CurrentControlSet\Services\EventLog\Application";
    const FILE: &str = "EventMessageFile";
    /// Errors, warnings and information.
    const ALL_TYPES: u32 = 7;

    fn key() -> String {
        format!(r"{APPLICATION}\{}", phonegate::telemetry::SOURCE)
    }

    /// The library that is registered.
    pub(crate) fn registered() -> Option<String> {
        LOCAL_MACHINE.open(key()).and_then(|key| key.get_string(FILE)).ok()
    }

    /// Registers a library, or takes the source away.
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
    /// There is no such log here.
    pub(crate) fn registered() -> Option<String> {
        None
    }

    /// Does nothing.
    pub(crate) fn register(_library: Option<&str>) -> std::io::Result<()> {
        Ok(())
    }
}

pub(crate) use registry::{register, registered};

/// Has the source to be registered for this library?
pub(super) fn is_missing(library: &Path) -> bool {
    cfg!(windows) && registered().is_none_or(|there| !there.eq_ignore_ascii_case(&library.to_string_lossy()))
}
