//! A temporary folder that no other account can write to.

use std::path::PathBuf;

use phonegate::platform::{self, Grant};

use crate::DeployError;

/// Removed when dropped.
pub(super) struct WorkFolder {
    pub(super) path: PathBuf,
    _outer: tempfile::TempDir,
}

impl WorkFolder {
    pub(super) fn new() -> Result<Self, DeployError> {
        let cannot = |error| DeployError::failed(format!("cannot create a temporary folder: {error}"));
        let outer = tempfile::tempdir().map_err(cannot)?;
        // On Windows, every user can write to the folder in which services create temporary folders.
        let path = outer.path().join("work");
        // Without administrator rights this fails, but a --dry-run should still work.
        platform::create_private_folder(&path, Grant::Administrators)
            .or_else(|_| platform::ensure_private_dir(&path))
            .map_err(cannot)?;
        Ok(Self { path, _outer: outer })
    }
}
