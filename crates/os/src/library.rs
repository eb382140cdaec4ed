//! The version of a PhoneGate library in a file, for its installation and for diagnosis.

use std::ffi::{CStr, c_char};
use std::path::Path;

/// The version of a library, and of its C ABI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryVersion {
    /// The text that `PhoneGateVersion` returns.
    pub version: String,
    /// The number that `PhoneGateAbiVersion` returns.
    pub abi: u32,
}

impl LibraryVersion {
    /// Loads the library at `path`, which proves that this system can load it, and reads its version. The caller must
    /// trust the file, because loading a library runs its code.
    ///
    /// # Errors
    /// If it cannot be loaded, or is not a PhoneGate library.
    pub fn of(path: &Path) -> Result<Self, String> {
        let path = std::path::absolute(path).map_err(|error| error.to_string())?;
        // SAFETY: PhoneGate's library does nothing when it is loaded or unloaded; the caller promises that this is one.
        let library = unsafe { libloading::Library::new(&path) }.map_err(why)?;
        // SAFETY: include/phonegate.h declares them so, for every version.
        let (abi, version) = unsafe {
            let abi = library.get::<extern "C" fn() -> u32>(b"PhoneGateAbiVersion").map_err(why)?;
            let version = library.get::<extern "C" fn() -> *const c_char>(b"PhoneGateVersion").map_err(why)?;
            (abi(), version())
        };
        if version.is_null() {
            return Err("it returns no version".to_owned());
        }
        // SAFETY: the text ends with a NUL and lives as long as the library, which is loaded until this function ends.
        let version = unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned();
        Ok(Self { version, abi })
    }
}

/// Describes an error with its source, which has the system's message.
fn why(error: libloading::Error) -> String {
    match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
