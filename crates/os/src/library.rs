//! What a PhoneGate library tells of itself, asked by whoever installs or examines it.

use std::ffi::{CStr, c_char};
use std::path::Path;

/// The version of a library, and of its C ABI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryVersion {
    /// As `PhoneGateVersion` tells it.
    pub version: String,
    /// As `PhoneGateAbiVersion` tells it.
    pub abi: u32,
}

impl LibraryVersion {
    /// Loads the library at `path`, which proves that this system can, and asks it. It must be PhoneGate's: loading
    /// runs what a library has to run.
    ///
    /// # Errors
    /// Where it cannot be loaded, or is no such library.
    pub fn of(path: &Path) -> Result<Self, String> {
        let path = std::path::absolute(path).map_err(|error| error.to_string())?;
        // SAFETY: PhoneGate's library does nothing when it is loaded or unloaded; the caller vouches that this is one.
        let library = unsafe { libloading::Library::new(&path) }.map_err(why)?;
        // SAFETY: include/phonegate.h declares them so, for every version.
        let (abi, version) = unsafe {
            let abi = library.get::<extern "C" fn() -> u32>(b"PhoneGateAbiVersion").map_err(why)?;
            let version = library.get::<extern "C" fn() -> *const c_char>(b"PhoneGateVersion").map_err(why)?;
            (abi(), version())
        };
        if version.is_null() {
            return Err("it does not tell its version".to_owned());
        }
        // SAFETY: the text ends with a NUL and lives as long as the library, which is loaded until this function ends.
        let version = unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned();
        Ok(Self { version, abi })
    }
}

/// With what the system says, which the error itself keeps as its source.
fn why(error: libloading::Error) -> String {
    match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
