//! What install copies, and whether it may be trusted: this program, and the library that was unpacked beside it.
//!
//! Install runs as an administrator. Whoever can write to the folder that it runs from, or installs into, would thereby
//! become one, and would decide which calls MIM takes for approved.

use std::path::Path;

use phonegate::platform::{self, LibraryVersion};

use super::library_hash;
use super::plan::{library_name, read};
use crate::exit::Trouble;

/// The hash of the library that this program is shipped with: see `build.rs`. None in a build of a developer's.
const LIBRARY_SHA256: Option<&str> = option_env!("PHONEGATE_LIBRARY_SHA256");

/// This program, and the library that was unpacked beside it.
pub(super) struct Bundle {
    pub(super) tool: Vec<u8>,
    pub(super) library: Vec<u8>,
}

impl Bundle {
    /// Reads both, and asks the library for its version. `work` is a folder that nobody else can write to: the library is
    /// loaded from there, so that it is the one whose hash was compared. `trusts_folder` leaves out all that would refuse
    /// the folder or the library as another one's.
    ///
    /// # Errors
    /// If a part is missing or unreadable, others can change it, or the library is not the one that belongs to this program.
    pub(super) fn open(work: &Path, trusts_folder: bool) -> Result<Self, Trouble> {
        let tool =
            std::env::current_exe().map_err(|error| Trouble::failed(format!("this program's own place: {error}")))?;
        let library = tool.with_file_name(library_name());
        if !library.is_file() {
            return Err(Trouble::usage(format!(
                "there is no {}: unpack the whole bundle, and run the phonegate that is in it",
                library.display()
            )));
        }
        if !trusts_folder {
            // With the folder that both are in.
            let danger = "decides what is installed from there (a folder in C:\\Program Files is safe)";
            must_be_safe(&tool, danger)?;
            must_be_safe(&library, danger)?;
        }
        let bytes = read(&library)?;
        if !trusts_folder {
            must_be_ours(&library, &bytes, expected_hash().as_deref())?;
        }
        let copy = work.join(library_name());
        std::fs::write(&copy, &bytes)
            .map_err(|error| Trouble::failed(format!("{} cannot be written: {error}", copy.display())))?;
        let version = LibraryVersion::of(&copy)
            .map_err(|why| Trouble::failed(format!("{} cannot be loaded: {why}", library.display())))?;
        let own = env!("CARGO_PKG_VERSION");
        if version.version != own {
            return Err(Trouble::usage(format!(
                "{} is version {}, and this program {own}: unpack the whole bundle anew",
                library.display(),
                version.version
            )));
        }
        Ok(Self { tool: read(&tool)?, library: bytes })
    }
}

/// Refuses a file or folder that others than administrators could change. Who runs this is one; the service's account is
/// none, and must not become one. `danger` is what somebody could do who can change it.
pub(super) fn must_be_safe(path: &Path, danger: &str) -> Result<(), Trouble> {
    match platform::untrusted_writer(path, false) {
        Ok(None) => Ok(()),
        Ok(Some((part, why))) => Err(Trouble::usage(format!(
            "{}: {why}. Whoever can change it {danger}: let administrators alone write there. --trust-folder installs \
             nevertheless",
            part.display()
        ))),
        Err(error) => Err(Trouble::failed(format!("the permissions of {} cannot be read: {error}", path.display()))),
    }
}

/// Refuses another library than the one that this program is shipped with, before it is loaded.
fn must_be_ours(path: &Path, library: &[u8], expected: Option<&str>) -> Result<(), Trouble> {
    let place = path.display();
    match expected {
        Some(expected) if library_hash::of(library) == expected => Ok(()),
        Some(_) => Err(Trouble::usage(format!(
            "{place} is not the library that this program is shipped with: it was changed, or is of another build. It \
             was not loaded. Compare the checksum of the bundle, and unpack it anew. --trust-folder installs nevertheless"
        ))),
        None => Err(Trouble::usage(format!(
            "this build of phonegate does not know the hash of its library, so that {place} could be anybody's. It was \
             not loaded. Take a released bundle, or add --trust-folder for a build of your own"
        ))),
    }
}

/// In debug builds the environment variable `PHONEGATE_FAULT` may name one: `library HASH`.
fn expected_hash() -> Option<String> {
    #[cfg(debug_assertions)]
    if let Ok(faults) = std::env::var("PHONEGATE_FAULT")
        && let Some(hash) = faults.split(',').find_map(|fault| fault.strip_prefix("library "))
    {
        return Some(hash.to_owned());
    }
    LIBRARY_SHA256.map(str::to_owned)
}
