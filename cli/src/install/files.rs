//! Files that are written beside their place and then renamed into it, so that whoever looks finds the old one or the
//! new one, whole. What they replace is kept aside until all is done.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use phonegate::platform::{self, Grant, SavedAccess};

use super::steps::point;

/// The end of a name under which something new waits.
const NEW: &str = ".phonegate-new";
/// In a name under which something old is kept.
const OLD: &str = ".phonegate-old";

/// Puts back what was there.
pub(super) type Undo = Box<dyn FnOnce() -> io::Result<()>>;

/// Who may use a new file.
pub(super) enum Access<'a> {
    /// Whoever its folder says.
    OfFolder,
    /// The same, who may also run it.
    Program,
    /// Administrators and the grantee alone.
    Private(Grant<'a>),
    /// The same as this file.
    Like(&'a Path),
}

/// A file that waits beside its place. Dropped, it is gone.
pub(super) struct Staged {
    new: PathBuf,
    target: PathBuf,
}

impl Staged {
    /// Writes it to disk.
    pub(super) fn write(target: &Path, contents: &[u8], access: &Access<'_>) -> io::Result<Self> {
        let staged = Self { new: with_end(target, NEW), target: target.to_owned() };
        match fs::remove_file(&staged.new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        write_new(&staged.new, contents, access)?;
        Ok(staged)
    }

    /// Puts it into its place, at once.
    pub(super) fn replace(&self) -> io::Result<()> {
        fs::rename(&self.new, &self.target)
    }

    /// Puts it into its place, and what was there aside, also where that is a library that is loaded.
    pub(super) fn replace_undoably(&self) -> io::Result<Undo> {
        let target = self.target.clone();
        if !target.try_exists()? {
            self.replace()?;
            return Ok(Box::new(move || fs::remove_file(&target)));
        }
        // A second name for the old file, so that there is one at its place all the time.
        let aside = free_name(&self.target, OLD)?;
        let aside = match fs::hard_link(&self.target, &aside).and_then(|()| self.replace()) {
            Ok(()) => aside,
            // Windows replaces no file that is loaded, but renames it.
            Err(_) => {
                // Where the second name cannot be taken away either, it is one of the leftovers.
                let _ = fs::remove_file(&aside);
                let aside = free_name(&self.target, OLD)?;
                fs::rename(&self.target, &aside)?;
                let name = self.target.file_name().unwrap_or_default().to_string_lossy();
                if let Err(error) = point("aside", &name).and_then(|()| self.replace()) {
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

/// Writes a file that was not there before.
pub(super) fn write_new(path: &Path, contents: &[u8], access: &Access<'_>) -> io::Result<()> {
    let mut file = match access {
        Access::Private(grant) => platform::create_private_file(path, *grant)?,
        _ => OpenOptions::new().write(true).create_new(true).open(path)?,
    };
    let written = (|| {
        // Before there is anything in it to be read.
        match access {
            Access::Like(other) => SavedAccess::of(other)?.give(path)?,
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

/// Takes a file away, or renames it aside where it is loaded.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(|_| fs::rename(path, free_name(path, OLD)?))
}

/// Takes away what was put aside. What is loaded still stays until a later time, and is told.
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

/// Another name for something, which is free.
pub(super) fn free_name(path: &Path, end: &str) -> io::Result<PathBuf> {
    for number in 1..1000 {
        let name = with_end(path, &format!("{end}-{number}"));
        if fs::symlink_metadata(&name).is_err() {
            return Ok(name);
        }
    }
    Err(io::Error::other("there are too many old files beside it"))
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Keeps others that install or revert out of the folder, for as long as it lives, whatever ends this process.
pub(crate) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    pub(crate) fn take(folder: &Path) -> Result<Self, String> {
        let path = folder.join("phonegate-install.lock");
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path).map_err(|error| {
            format!("{} cannot be written to: {error}. Run this as an administrator", folder.display())
        })?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path, _file: file }),
            Err(error) => Err(format!("somebody else installs into {} now ({error})", folder.display())),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// A folder that is not empty can be renamed and not replaced, as a library that Windows has loaded.
    fn folder_with_a_loaded_library() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("phonegate.dll");
        fs::create_dir(&library).unwrap();
        fs::write(library.join("old"), "").unwrap();
        (folder, library)
    }

    #[test]
    fn what_cannot_be_replaced_is_renamed_aside_and_back_by_an_undo() {
        let (folder, library) = folder_with_a_loaded_library();
        let staged = Staged::write(&library, b"new", &Access::OfFolder).unwrap();
        let undo = staged.replace_undoably().unwrap();
        assert_eq!(fs::read(&library).unwrap(), b"new");
        assert!(folder.path().join("phonegate.dll.phonegate-old-1/old").exists());
        // Windows would let the new file, which is not loaded, be replaced by the old one.
        fs::remove_file(&library).unwrap();
        undo().unwrap();
        assert!(library.join("old").exists());
    }

    #[test]
    fn a_replacement_that_fails_leaves_the_old_file_and_no_second_name_for_it() {
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
    fn what_cannot_be_removed_is_renamed_aside() {
        let (folder, library) = folder_with_a_loaded_library();
        remove(&library).unwrap();
        assert!(!library.exists() && folder.path().join("phonegate.dll.phonegate-old-1/old").exists());
    }

    #[test]
    fn an_undo_puts_the_old_file_back_and_leaves_nothing_beside_it() {
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
