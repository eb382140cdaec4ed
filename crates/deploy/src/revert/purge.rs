//! Finds the data that a purge removes.

use std::fs;
use std::path::{Path, PathBuf};

use phonegate::config::{self, FILE_NAME};
use phonegate::store::{self, SqliteConfig};

use crate::path::with_suffix;

/// Returns the existing ones of: the configuration, the state folder, and the logs and the file of calls outside of it.
/// `logs` are the names of log files; those of their older parts begin with them.
pub(super) fn paths(folder: &Path, state: Option<PathBuf>, logs: &[&str], warnings: &mut Vec<String>) -> Vec<PathBuf> {
    let config = folder.join(FILE_NAME);
    let (log_folder, calls) = match config::load(&config, &phonegate::TYPES) {
        Ok(loaded) => {
            let calls = loaded.config.store.settings::<SqliteConfig>().and_then(|store| store.path.clone());
            let resolved = |path: Option<PathBuf>| path.map(|path| loaded.base.join(path));
            (resolved(loaded.config.log.directory.clone()), resolved(calls))
        }
        Err(error) if config.exists() => {
            warnings.push(format!("{error}\nLogs and calls that it keeps elsewhere are not removed"));
            (None, None)
        }
        Err(_) => (None, None),
    };
    let calls = calls.into_iter().flat_map(|file| {
        // SQLite keeps two more files in the database's folder.
        ["", "-wal", "-shm"].map(|suffix| with_suffix(&file, suffix)).into_iter().chain(store::backup_files(&file))
    });
    let is_log = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        logs.iter().any(|log| name.starts_with(log))
    };
    let entries = log_folder.and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let logs = entries.map(|entry| entry.path()).filter(is_log);
    let mut all: Vec<_> = [config].into_iter().chain(state).chain(logs).chain(calls).collect();
    all.retain(|path| path.exists());
    all
}
