//! Backups of the file, made before each migration of its schema, so that an older PhoneGate can be used again.
//!
//! A backup is in the folder of the file: `phonegate.db.v1-backup-20261124T150600Z` has schema version 1. The newest
//! [`BACKUPS`] are kept. A file that was replaced by a backup is kept as `phonegate.db.v2-replaced-…`, and never removed.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use time::macros::format_description;

use super::backup::{self, ADVICE, JOURNAL, UNFINISHED, with_end};
use super::restore::RESTORING;
use super::schema;
use crate::clock;

/// Maximum number of backups of a file.
const BACKUPS: usize = 3;

/// Maximum number of files of one kind with the same second in their names.
const NAMES_A_SECOND: u32 = 9;

/// Reason for a copy of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It was copied before a migration.
    Backup,
    /// It was replaced by a backup.
    Replaced,
}

impl Kind {
    fn mark(self) -> &'static str {
        match self {
            Self::Backup => "-backup-",
            Self::Replaced => "-replaced-",
        }
    }
}

/// The schema version of a file, and the newest one that this build can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaVersion {
    /// Schema version of the file; 0 if it is empty.
    pub file: u32,
    /// Newest schema version that this build can read.
    pub newest: u32,
}

impl SchemaVersion {
    /// Returns whether this build migrates the file when it opens it.
    pub fn is_older(&self) -> bool {
        (1..self.newest).contains(&self.file)
    }

    /// Returns whether this build refuses the file.
    pub fn is_newer(&self) -> bool {
        self.file > self.newest
    }
}

/// Reads the schema version of a file. Changes nothing.
///
/// # Errors
/// A message, if the file cannot be read or is not a database of PhoneGate.
pub fn schema_version(file: &Path) -> Result<SchemaVersion, String> {
    let database = backup::open(file)?;
    let version = schema::version(&database).map_err(|error| format!("{}: {}", file.display(), error.detail()))?;
    Ok(SchemaVersion { file: version, newest: schema::newest() })
}

/// Returns the path of the next backup of this version.
///
/// # Errors
/// A message, if every name of this second is taken.
pub fn new_backup(file: &Path, version: u32) -> Result<PathBuf, String> {
    new_path(file, version, Kind::Backup)
}

/// Copies a file before a migration to a path of [`new_backup`], and removes the oldest backups.
///
/// # Errors
/// As [`backup::back_up`].
pub fn back_up_before_migration(file: &Path, copy: &Path) -> Result<(), String> {
    backup::back_up(file, copy).map_err(|problem| problem.trim_end_matches(ADVICE).to_owned())?;
    // The new backup is kept, even if others have a later time because a clock was ahead.
    let old = list(file, Kind::Backup).into_iter().map(|(_, path)| path).filter(|path| path != copy);
    for path in old.skip(BACKUPS - 1) {
        // If it cannot be removed, the next migration tries again.
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// Returns the paths of all backups of a file, and of all files that were replaced by one. Opens none.
pub fn backup_files(file: &Path) -> Vec<PathBuf> {
    let kept = [Kind::Backup, Kind::Replaced].into_iter().flat_map(|kind| list(file, kind));
    let restoring = with_end(file, RESTORING);
    let restoring =
        [with_end(&restoring, JOURNAL), restoring].into_iter().filter(|path| path.symlink_metadata().is_ok());
    kept.map(|(_, path)| path).chain(unfinished(file)).chain(restoring).collect()
}

/// Makes a backup for [`schema::migrate_to_newest`], which holds the write lock.
pub(super) fn make(file: &Path, version: u32) -> Result<(), String> {
    for path in unfinished(file) {
        // The new copy may get another name.
        let _ = std::fs::remove_file(path);
    }
    back_up_before_migration(file, &new_backup(file, version)?)
}

pub(super) fn new_path(file: &Path, version: u32, kind: Kind) -> Result<PathBuf, String> {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let time = clock::utc(SystemTime::now()).format(format).map_err(|error| error.to_string())?;
    let first = with_end(file, &format!(".v{version}{}{time}", kind.mark()));
    let others = (1..NAMES_A_SECOND).map(|number| with_end(&first, &format!("-{number}")));
    let mut names = std::iter::once(first.clone()).chain(others);
    let free = |path: &PathBuf| path.symlink_metadata().is_err();
    names
        .find(free)
        .ok_or_else(|| format!("{} and all other names for this second already exist; try again", first.display()))
}

/// Returns the files of one kind with their schema versions, the newest first.
pub(super) fn list(file: &Path, kind: Kind) -> Vec<(u32, PathBuf)> {
    let mut found: Vec<_> = siblings(file)
        .filter_map(|(name, path)| {
            let (version, time) = name.split_once(kind.mark())?;
            let is_ours = is_time(time) && path.symlink_metadata().is_ok_and(|kept| kept.is_file());
            Some((time.to_owned(), version.parse::<u32>().ok().filter(|_| is_ours)?, path))
        })
        .collect();
    // By the time, then by the number after it.
    found.sort_by(|one, other| other.0.cmp(&one.0));
    found.into_iter().map(|(_, version, path)| (version, path)).collect()
}

/// Returns whether a name ends as [`new_path`] makes it: `20261124T150600Z`, or `20261124T150600Z-1`.
fn is_time(text: &str) -> bool {
    let (time, number) = text.split_once('-').unwrap_or((text, "1"));
    let form: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    form == "00000000T000000Z" && number.len() == 1 && number.parse::<u32>().is_ok()
}

/// Returns incomplete backups, which killed processes left.
fn unfinished(file: &Path) -> impl Iterator<Item = PathBuf> {
    siblings(file)
        .filter(|(name, _)| name.contains(Kind::Backup.mark()) && name.contains(UNFINISHED))
        .map(|(_, path)| path)
}

/// Returns the files named `FILE.v…`: the name after `FILE.v`, and the path.
fn siblings(file: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    let start = file.file_name().map(|name| format!("{}.v", name.to_string_lossy())).unwrap_or_default();
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::read_dir(folder).into_iter().flatten().flatten().filter_map(move |entry| {
        let name = entry.file_name().into_string().ok()?;
        let rest = name.strip_prefix(&start)?;
        Some((rest.to_owned(), entry.path()))
    })
}

#[cfg(test)]
mod tests;
