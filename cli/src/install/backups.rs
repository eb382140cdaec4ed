//! Backups of `MfaSettings.xml`, beside it: `MfaSettings.xml.phonegate-backup-20261124T150600Z`.

use std::io;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;
use time::macros::format_description;

use crate::mim::settings;

const MARK: &str = ".phonegate-backup-";

/// A backup.
pub(crate) struct Backup {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// The path of a new backup, by the time. A name that is taken is never taken again.
pub(crate) fn new_path(folder: &Path) -> io::Result<PathBuf> {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let time = OffsetDateTime::now_utc().format(format).map_err(io::Error::other)?;
    let first = folder.join(format!("{}{MARK}{time}", settings::FILE_NAME));
    match std::fs::symlink_metadata(&first) {
        Ok(_) => super::files::free_name(&first, ""),
        Err(_) => Ok(first),
    }
}

/// The backups, the newest first.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<Backup>> {
    let start = format!("{}{MARK}", settings::FILE_NAME);
    let mut backups: Vec<_> = std::fs::read_dir(folder)?
        .filter_map(|entry| {
            let entry = entry.ok().filter(|entry| entry.path().is_file())?;
            let name = entry.file_name().into_string().ok()?;
            name.starts_with(&start).then(|| Backup { path: entry.path(), name })
        })
        .collect();
    // Several of one second have a number behind them.
    backups.sort_by_key(|backup| std::cmp::Reverse(age_key(&backup.name)));
    Ok(backups)
}

fn age_key(name: &str) -> (String, u32) {
    let time = name.rsplit(MARK).next().unwrap_or_default();
    match time.split_once('-') {
        Some((time, number)) => (time.to_owned(), number.parse().unwrap_or_default()),
        None => (time.to_owned(), 0),
    }
}
