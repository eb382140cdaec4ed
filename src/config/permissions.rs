//! Checks which accounts can change the configuration and the files that it names.
//!
//! An account that can write to one of them can approve calls. So a start warns if accounts other than administrators
//! and the service's own can do that, or refuses to start (`strict_permissions`).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::{ConfigError, ErrorKind, Loaded};
use crate::platform;

/// Maximum files and folders in `prompts.directory` that are examined. Nine languages with five prompts each are 54.
const MAX_RECORDINGS: usize = 1000;

/// The folders of languages in `prompts.directory`, and the recordings in them.
const RECORDINGS_DEPTH: usize = 2;

/// A file or folder that others can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsafePath {
    /// The path, which the configuration names, or a folder above it.
    pub path: PathBuf,
    /// A description of the accounts that can change it, such as `everybody can write to it`.
    pub why: String,
}

impl fmt::Display for UnsafePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}

/// Files that a gate reads at its start and that other accounts must not be able to change.
#[derive(Debug, Clone)]
pub struct TrustedPaths {
    files: Vec<PathBuf>,
    recordings: Option<PathBuf>,
}

impl TrustedPaths {
    /// The configuration's own file, the files of secrets and of certificate authorities, the programs of backends, the
    /// store's file if the configuration names it, and the recordings.
    pub fn of(loaded: &Loaded) -> Self {
        let Loaded { config, base, file } = loaded;
        let named = config.secret_files().into_iter().chain(config.ca_files()).chain(config.programs());
        let mut files: Vec<_> = named.map(|path| base.join(path)).collect();
        files.extend(config.store.facts().files().iter().map(|path| base.join(path)));
        files.sort();
        files.dedup();
        files.splice(0..0, file.clone());
        Self { files, recordings: config.prompts.directory.as_ref().map(|folder| base.join(folder)) }
    }

    /// The paths that others than administrators and this process's account (on Windows also that of MIM's service) can
    /// change, at most one for each file or folder of the configuration. Does no network I/O, except that Windows may
    /// look up the name of an account.
    ///
    /// A path that does not exist is skipped: the code that needs the file reports it.
    pub fn unsafe_paths(&self) -> Vec<UnsafePath> {
        let files = self.files.iter().filter_map(|file| examine_file(file));
        let recordings = self.recordings.iter().filter_map(|folder| examine_recordings(folder));
        let mut found: Vec<UnsafePath> = Vec::new();
        for one in files.chain(recordings) {
            // A folder that several files are in is reported once.
            if !found.contains(&one) {
                found.push(one);
            }
        }
        found
    }

    /// Refuses to start if there are unsafe paths.
    ///
    /// # Errors
    /// [`ErrorKind::UnsafePermissions`], which names each of them.
    pub(crate) fn must_be_safe(&self) -> Result<(), ConfigError> {
        let found = self.unsafe_paths();
        if found.is_empty() {
            return Ok(());
        }
        let list: Vec<_> = found.iter().map(ToString::to_string).collect();
        Err(ConfigError::at(
            ErrorKind::UnsafePermissions,
            "strict_permissions",
            format_args!(
                "{}. Only administrators and the service's account may change these: correct their permissions, or set \
                 this key to false, which only warns",
                list.join("; ")
            ),
        ))
    }
}

/// Returns which account can change the file at a path, or a folder above it. `None`: only administrators, the service's
/// account and this process's can, or it does not exist.
pub(crate) fn examine_file(path: &Path) -> Option<UnsafePath> {
    let (path, why) = match platform::untrusted_writer(path, true) {
        Ok(writer) => writer?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => (path.to_owned(), format!("its permissions cannot be read: {error}")),
    };
    Some(UnsafePath { path, why })
}

/// The folder, then what is in it; the first problem only, since the correction is the same for all of them.
fn examine_recordings(folder: &Path) -> Option<UnsafePath> {
    if let Some(found) = examine_file(folder) {
        return Some(found);
    }
    let unknown = |path: &Path, why: String| Some(UnsafePath { path: path.to_owned(), why });
    let mut left = MAX_RECORDINGS;
    let mut folders = vec![(folder.to_owned(), RECORDINGS_DEPTH)];
    while let Some((next, depth)) = folders.pop() {
        let entries = match std::fs::read_dir(&next) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return unknown(&next, format!("it cannot be read: {error}")),
        };
        for entry in entries {
            let path = match entry {
                Ok(entry) => entry.path(),
                Err(error) => return unknown(&next, format!("it cannot be read: {error}")),
            };
            if left == 0 {
                let why =
                    format!("it has more than {MAX_RECORDINGS} files, and not all were checked; remove other files");
                return unknown(folder, why);
            }
            left -= 1;
            if let Some(found) = examine_file(&path) {
                return Some(found);
            }
            if depth > 1 && path.is_dir() {
                folders.push((path, depth - 1));
            }
        }
    }
    None
}
