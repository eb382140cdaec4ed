//! The files that install copies, which are this program and the library in its folder, and the checks that they can be
//! trusted.
//!
//! Install runs as an administrator. An account that can write to the folder that it runs from, or installs into, could
//! otherwise become an administrator and approve calls.

use std::path::Path;

use phonegate::platform::{self, LibraryVersion};

use super::files::{library_name, read};
use super::library_hash;
use super::options::Options;
use crate::{DeployError, failpoint};

/// This program, and the library in its folder.
pub(super) struct Bundle {
    pub(super) tool: Vec<u8>,
    pub(super) library: Vec<u8>,
}

impl Bundle {
    /// Reads both files, and loads the library for its version. It is loaded from a copy in `work`, a folder that no
    /// other account can write to, so that the loaded file is the one whose hash was checked. With
    /// `options.trust_folder`, neither the folder nor the hash is checked.
    ///
    /// # Errors
    /// If a file is missing or unreadable, other accounts can change it, or the library does not belong to this
    /// program.
    pub(super) fn open(work: &Path, options: &Options<'_>) -> Result<Self, DeployError> {
        let tool = std::env::current_exe()
            .map_err(|error| DeployError::failed(format!("cannot find the path of this program: {error}")))?;
        let library = tool.with_file_name(library_name());
        if !library.is_file() {
            return Err(DeployError::usage(format!("there is no {}", library.display()))
                .hint("unpack the whole bundle, and run the phonegate in it"));
        }
        if !options.trust_folder {
            // Checks the folder of both, too.
            let danger = "decide what is installed from there (a folder in C:\\Program Files is safe)";
            check_folder(&tool, danger)?;
            check_folder(&library, danger)?;
        }
        let bytes = read(&library)?;
        if !options.trust_folder {
            let injected = failpoint::expected_library_hash();
            check_hash(&library, &bytes, injected.as_deref().or(options.library_sha256))?;
        }
        let copy = work.join(library_name());
        std::fs::write(&copy, &bytes)
            .map_err(|error| DeployError::failed(format!("cannot write {}: {error}", copy.display())))?;
        let version = LibraryVersion::of(&copy)
            .map_err(|why| DeployError::failed(format!("cannot load {}: {why}", library.display())))?;
        let own = env!("CARGO_PKG_VERSION");
        if version.version != own {
            return Err(DeployError::usage(format!(
                "{} is version {}, and this program {own}",
                library.display(),
                version.version
            ))
            .hint("unpack the whole bundle again"));
        }
        Ok(Self { tool: read(&tool)?, library: bytes })
    }
}

/// Returns an error if accounts other than administrators can change a file or folder. The service's account is not an
/// administrator, and must not become one. `danger` says what such an account could do.
pub(super) fn check_folder(path: &Path, danger: &str) -> Result<(), DeployError> {
    match platform::untrusted_writer(path, false) {
        Ok(None) => Ok(()),
        Ok(Some((part, why))) => {
            Err(DeployError::usage(format!("{}: {why}. An account that can change it can {danger}", part.display()))
                .hint("allow only administrators to write there, or add --trust-folder to skip this check"))
        }
        Err(error) => Err(DeployError::failed(format!("cannot read the permissions of {}: {error}", path.display()))),
    }
}

/// Returns an error if this is not the library that belongs to this program. Called before the library is loaded.
fn check_hash(path: &Path, library: &[u8], expected: Option<&str>) -> Result<(), DeployError> {
    let path = path.display();
    match expected {
        Some(expected) if library_hash::of(library) == expected => Ok(()),
        Some(_) => Err(DeployError::usage(format!(
            "{path} is not the library that belongs to this program: it was changed, or is from another build. It was \
             not loaded"
        ))
        .hint("verify the checksum of the bundle and unpack it again")
        .hint("for a build of your own, add --trust-folder")),
        None => Err(DeployError::usage(format!(
            "this build of phonegate does not know the hash of its library, so it cannot check {path}. It was not loaded"
        ))
        .hint("use a released bundle, or add --trust-folder for a build of your own")),
    }
}
