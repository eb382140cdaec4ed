//! Backups of `MfaSettings.xml`, in its folder: `MfaSettings.xml.phonegate-backup-20261124T150600Z`.

use std::io;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;
use time::macros::format_description;

use crate::path::unused_path;
use crate::{DeployError, settings};

const INFIX: &str = ".phonegate-backup-";

/// A backup.
pub struct Backup {
    /// The file's name.
    pub name: String,
    /// The file.
    pub path: PathBuf,
}

/// Returns the path of a new backup, named after the current time. It is not used yet.
pub(crate) fn new_path(folder: &Path) -> Result<PathBuf, DeployError> {
    let path = || {
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let time = OffsetDateTime::now_utc().format(format).map_err(io::Error::other)?;
        let first = folder.join(format!("{}{INFIX}{time}", settings::FILE_NAME));
        match std::fs::symlink_metadata(&first) {
            Ok(_) => unused_path(&first, ""),
            Err(_) => Ok(first),
        }
    };
    path().map_err(|error| DeployError::failed(format!("cannot name a backup in {}: {error}", folder.display())))
}

/// Lists the backups in the service's folder, the newest first.
///
/// # Errors
/// If the folder cannot be read.
pub fn list(folder: &Path) -> Result<Vec<Backup>, DeployError> {
    let prefix = format!("{}{INFIX}", settings::FILE_NAME);
    let entries = std::fs::read_dir(folder)
        .map_err(|error| DeployError::failed(format!("cannot read {}: {error}", folder.display())))?;
    let mut backups: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok().filter(|entry| entry.path().is_file())?;
            let name = entry.file_name().into_string().ok()?;
            name.starts_with(&prefix).then(|| Backup { path: entry.path(), name })
        })
        .collect();
    backups.sort_by_key(|backup| std::cmp::Reverse(age_key(&backup.name)));
    Ok(backups)
}

/// Returns the time in a backup's name, and the number that follows if there are several of one second.
fn age_key(name: &str) -> (String, u32) {
    let time = name.rsplit(INFIX).next().unwrap_or_default();
    match time.split_once('-') {
        Some((time, number)) => (time.to_owned(), number.parse().unwrap_or_default()),
        None => (time.to_owned(), 0),
    }
}
