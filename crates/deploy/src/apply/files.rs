//! Replaces files atomically: a new file is written under another name and then renamed, so that a reader sees the old
//! or the new file, never a part. The old file is kept under another name until all changes are made.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use phonegate::platform::{self, Grant, SavedAccess};

use crate::failpoint;
use crate::path::{unused_path, with_suffix};

/// The suffix of a new file that has not been renamed yet.
const NEW: &str = ".phonegate-new";
/// A part of the name of an old file.
const OLD: &str = ".phonegate-old";

/// Undoes a change.
pub(super) type Undo = Box<dyn FnOnce() -> io::Result<()>>;

/// The permissions of a new file.
pub(super) enum Access<'a> {
    /// Those that its folder gives.
    OfFolder,
    /// Those that its folder gives, and on Unix the right to execute it.
    Program,
    /// Only administrators and the grantee have access.
    Private(Grant<'a>),
    /// Those of this file.
    Like(&'a Path),
}

/// A new file under another name in the folder of its target. Removed when dropped.
pub(super) struct Staged {
    new: PathBuf,
    target: PathBuf,
}

impl Staged {
    /// Writes the new file to disk.
    pub(super) fn write(target: &Path, contents: &[u8], access: &Access<'_>) -> io::Result<Self> {
        let staged = Self { new: with_suffix(target, NEW), target: target.to_owned() };
        match fs::remove_file(&staged.new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        write_new(&staged.new, contents, access)?;
        Ok(staged)
    }

    /// Replaces the target.
    pub(super) fn replace(&self) -> io::Result<()> {
        fs::rename(&self.new, &self.target)
    }

    /// Replaces the target, even if it is a loaded library, and keeps the old file for the undo.
    pub(super) fn replace_undoably(&self) -> io::Result<Undo> {
        let target = self.target.clone();
        if !target.try_exists()? {
            self.replace()?;
            return Ok(Box::new(move || fs::remove_file(&target)));
        }
        // A second name for the old file, so that the target exists all the time.
        let aside = unused_path(&self.target, OLD)?;
        let aside = match fs::hard_link(&self.target, &aside).and_then(|()| self.replace()) {
            Ok(()) => aside,
            // Windows cannot replace a loaded file, but can rename it.
            Err(_) => {
                // If this fails too, the second name remains as a leftover.
                let _ = fs::remove_file(&aside);
                let aside = unused_path(&self.target, OLD)?;
                fs::rename(&self.target, &aside)?;
                let name = self.target.file_name().unwrap_or_default().to_string_lossy();
                if let Err(error) = failpoint::hit("aside", &name).and_then(|()| self.replace()) {
                    fs::rename(&aside, &self.target)?;
                    return Err(error);
                }
                aside
            }
        };
        Ok(Box::new(move || fs::rename(&aside, &target)))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.new);
    }
}

/// Writes a file that does not exist yet.
pub(super) fn write_new(path: &Path, contents: &[u8], access: &Access<'_>) -> io::Result<()> {
    let mut file = match access {
        Access::Private(grant) => platform::create_private_file(path, *grant)?,
        _ => OpenOptions::new().write(true).create_new(true).open(path)?,
    };
    let written = (|| {
        // Before the file has contents.
        match access {
            Access::Like(other) => SavedAccess::of(other)?.apply(path)?,
            #[cfg(unix)]
            Access::Program => {
                fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
            }
            _ => {}
        }
        file.write_all(contents)?;
        file.sync_all()
    })();
    drop(file);
    written.inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

/// Removes a file, or renames it if it is loaded.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(|_| fs::rename(path, unused_path(path, OLD)?))
}

/// Removes the files that earlier operations kept under another name. Returns those that are still loaded.
pub(crate) fn remove_leftovers(folder: &Path) -> Vec<PathBuf> {
    let mut left = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if (name.ends_with(NEW) || name.contains(OLD)) && path.is_file() && fs::remove_file(&path).is_err() {
            left.push(path);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// Returns a folder that is not empty: it can be renamed but not replaced, like a loaded library on Windows.
    fn folder_with_a_loaded_library() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("phonegate.dll");
        fs::create_dir(&library).unwrap();
        fs::write(library.join("old"), "").unwrap();
        (folder, library)
    }

    #[test]
    fn a_loaded_file_is_renamed_and_an_undo_renames_it_back() {
        let (folder, library) = folder_with_a_loaded_library();
        let staged = Staged::write(&library, b"new", &Access::OfFolder).unwrap();
        let undo = staged.replace_undoably().unwrap();
        assert_eq!(fs::read(&library).unwrap(), b"new");
        assert!(folder.path().join("phonegate.dll.phonegate-old-1/old").exists());
        // Windows would replace the new file, which is not loaded. A folder cannot replace a file, so it is removed first.
        fs::remove_file(&library).unwrap();
        undo().unwrap();
        assert!(library.join("old").exists());
    }

    #[test]
    fn a_failed_replacement_leaves_only_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "old").unwrap();
        let staged = Staged::write(&file, b"new", &Access::OfFolder).unwrap();
        fs::remove_file(&staged.new).unwrap();
        assert!(staged.replace_undoably().is_err());
        assert_eq!(fs::read(&file).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_loaded_file_is_renamed_instead_of_removed() {
        let (folder, library) = folder_with_a_loaded_library();
        remove(&library).unwrap();
        assert!(!library.exists() && folder.path().join("phonegate.dll.phonegate-old-1/old").exists());
    }

    #[test]
    fn an_undo_restores_the_old_file_and_leaves_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "old").unwrap();
        let staged = Staged::write(&file, b"new", &Access::OfFolder).unwrap();
        let undo = staged.replace_undoably().unwrap();
        undo().unwrap();
        drop(staged);
        assert_eq!(fs::read(&file).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
