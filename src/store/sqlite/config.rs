//! The settings of a store in a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::SqliteStore;
use crate::config::{ConfigError, ErrorKind, NetworkConfig, StoreSettings};
use crate::platform;
use crate::store::{CallStore, OpenError, OpenStore, StoreErrorCause};

/// In a file on this machine.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SqliteConfig {
    /// For `sqlite`: the file. Null: `phonegate.db` in the operating system's folder for the state of programs.
    pub path: Option<PathBuf>,
}

impl SqliteConfig {
    /// Returns the file. A relative path is relative to `base`.
    ///
    /// # Errors
    /// If `path` is absent and the state folder is not known.
    pub(in crate::store) fn file(&self, base: &Path) -> Result<PathBuf, ConfigError> {
        match &self.path {
            Some(path) => Ok(base.join(path)),
            None => platform::state_folder().map(|folder| folder.join("phonegate.db")).ok_or_else(|| {
                let problem = "the user's state folder is not known (is HOME set?); name a file here";
                ConfigError::at(ErrorKind::StateFolder, "store.path", problem)
            }),
        }
    }
}

impl StoreSettings for SqliteConfig {
    fn files(&self) -> Vec<PathBuf> {
        let Some(file) = &self.path else { return Vec::new() };
        // SQLite reads what is in its write-ahead log as a part of the file.
        let mut log = file.clone().into_os_string();
        log.push("-wal");
        vec![file.clone(), log.into()]
    }
}

impl OpenStore for SqliteConfig {
    const NAME: &'static str = "sqlite";

    fn open(&self, _: &NetworkConfig, base: &Path) -> Result<Arc<dyn CallStore>, OpenError> {
        let file = self.file(base)?;
        let unusable = |problem: &str, cause| {
            let problem = format_args!("{}: {problem}", file.display());
            OpenError { config: ConfigError::at(ErrorKind::StateFolder, "store.path", problem), cause }
        };
        if let Some(folder) = file.parent() {
            platform::ensure_private_dir(folder)
                .map_err(|error| unusable(&error.to_string(), Some(StoreErrorCause::FileInaccessible)))?;
        }
        let store = SqliteStore::open(&file).map_err(|error| unusable(error.detail(), error.cause()))?;
        Ok(Arc::new(store))
    }

    fn location(&self, base: &Path) -> Result<String, ConfigError> {
        self.file(base).map(|file| file.display().to_string())
    }
}
