//! The files that install copies: this program, and the library that was unpacked beside it. Checks that they can be
//! trusted.
//!
//! Install runs as an administrator. An account that can write to the folder that it runs from, or installs into, could
//! otherwise become an administrator and approve calls.

use std::path::Path;

use phonegate::platform::{self, LibraryVersion};

use super::library_hash;
use super::plan::{library_name, read};
use crate::error::CommandError;

/// The hash of the library that this program is shipped with: see `build.rs`. None in a developer's build.
const LIBRARY_SHA256: Option<&str> = option_env!("PHONEGATE_LIBRARY_SHA256");

/// This program, and the library that was unpacked beside it.
pub(super) struct Bundle {
    pub(super) tool: Vec<u8>,
    pub(super) library: Vec<u8>,
}

impl Bundle {
    /// Reads both files, and asks the library for its version. `work` is a folder that no other account can write to:
    /// the library is loaded from there, so that the loaded file is the one whose hash was checked. `trusts_folder`
    /// skips the checks of the folder and of the hash.
    ///
    /// # Errors
    /// If a file is missing or unreadable, other accounts can change it, or the library does not belong to this
    /// program.
    pub(super) fn open(work: &Path, trusts_folder: bool) -> Result<Self, CommandError> {
        let tool = std::env::current_exe()
            .map_err(|error| CommandError::failed(format!("this program's own place: {error}")))?;
        let library = tool.with_file_name(library_name());
        if !library.is_file() {
            return Err(CommandError::usage(format!(
                "there is no {}: unpack the whole bundle, and run the phonegate that is in it",
                library.display()
            )));
        }
        if !trusts_folder {
            // With the folder that both are in.
            let danger = "decide what is installed from there (a folder in C:\\Program Files is safe)";
            must_be_safe(&tool, danger)?;
            must_be_safe(&library, danger)?;
        }
        let bytes = read(&library)?;
        if !trusts_folder {
            must_be_ours(&library, &bytes, expected_hash().as_deref())?;
        }
        let copy = work.join(library_name());
        std::fs::write(&copy, &bytes)
            .map_err(|error| CommandError::failed(format!("{} cannot be written: {error}", copy.display())))?;
        let version = LibraryVersion::of(&copy)
            .map_err(|why| CommandError::failed(format!("{} cannot be loaded: {why}", library.display())))?;
        let own = env!("CARGO_PKG_VERSION");
        if version.version != own {
            return Err(CommandError::usage(format!(
                "{} is version {}, and this program {own}: unpack the whole bundle anew",
                library.display(),
                version.version
            )));
        }
        Ok(Self { tool: read(&tool)?, library: bytes })
    }
}

/// Returns an error if accounts other than administrators can change a file or folder. The service's account is not an
/// administrator, and must not become one. `danger` says what such an account could do.
pub(super) fn must_be_safe(path: &Path, danger: &str) -> Result<(), CommandError> {
    match platform::untrusted_writer(path, false) {
        Ok(None) => Ok(()),
        Ok(Some((part, why))) => Err(CommandError::usage(format!(
            "{}: {why}. An account that can change it can {danger}: let only administrators write there, or add \
             --trust-folder to skip this check",
            part.display()
        ))),
        Err(error) => {
            Err(CommandError::failed(format!("the permissions of {} cannot be read: {error}", path.display())))
        }
    }
}

/// Returns an error if this is not the library that this program is shipped with. Called before the library is loaded.
fn must_be_ours(path: &Path, library: &[u8], expected: Option<&str>) -> Result<(), CommandError> {
    let place = path.display();
    match expected {
        Some(expected) if library_hash::of(library) == expected => Ok(()),
        Some(_) => Err(CommandError::usage(format!(
            "{place} is not the library that this program is shipped with: it was changed, or is from another build. \
             It was not loaded. Check the checksum of the bundle and unpack it again. For a build of your own, add \
             --trust-folder"
        ))),
        None => Err(CommandError::usage(format!(
            "this build of phonegate does not know the hash of its library, so it cannot check {place}. It was not \
             loaded. Use a released bundle, or add --trust-folder for a build of your own"
        ))),
    }
}

/// Returns the expected hash. In debug builds `PHONEGATE_FAULT` may name another one: `library HASH`.
fn expected_hash() -> Option<String> {
    #[cfg(debug_assertions)]
    if let Ok(faults) = std::env::var("PHONEGATE_FAULT")
        && let Some(hash) = faults.split(',').find_map(|fault| fault.strip_prefix("library "))
    {
        return Some(hash.to_owned());
    }
    LIBRARY_SHA256.map(str::to_owned)
}
