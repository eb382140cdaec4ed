//! The lock that keeps two installations out of one folder.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use crate::DeployError;

/// Held while a folder is changed. The operating system releases it if the process ends.
pub(crate) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Takes the lock.
    ///
    /// # Errors
    /// If another process holds it, or the folder cannot be written to.
    pub(crate) fn take(folder: &Path) -> Result<Self, DeployError> {
        let path = folder.join("phonegate-install.lock");
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path).map_err(|error| {
            DeployError::failed(format!("cannot write to {}: {error}", folder.display()))
                .hint("run this as an administrator")
        })?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path, _file: file }),
            Err(error) => Err(DeployError::failed(format!(
                "another process is installing into or reverting {} ({error})",
                folder.display()
            ))),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
