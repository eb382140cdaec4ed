//! Opens the store of a configuration.

use std::path::Path;
use std::sync::Arc;

use super::{CallStore, StoreErrorCause, memory, redis, sqlite};
use crate::config::{Config, ConfigError, StoreConfig, StoreKind};

pub use sqlite::file as sqlite_file;

/// A store, or why it cannot be opened.
type Opened = Result<Arc<dyn CallStore>, OpenError>;

/// A type of store. Each is in the folder of its store.
pub(super) struct StoreType {
    /// Opens the store of a configuration. Relative paths are relative to the second argument. Does no network I/O.
    pub(super) open: fn(&Config, &Path) -> Opened,
    /// Names the place of the data, for an error about the data.
    pub(super) location: fn(&StoreConfig, &Path) -> Result<String, ConfigError>,
}

/// Every type of store. A new one is an arm here.
pub(super) fn store_type(kind: StoreKind) -> &'static StoreType {
    match kind {
        StoreKind::Memory => &memory::TYPE,
        StoreKind::Sqlite => &sqlite::TYPE,
        StoreKind::Redis => &redis::TYPE,
    }
}

/// Opens the store of a configuration. Does no network I/O.
///
/// # Errors
/// If it cannot be used.
pub fn open(config: &Config, base: &Path) -> Result<Arc<dyn CallStore>, OpenError> {
    (store_type(config.store.kind).open)(config, base)
}

/// Why the store of a configuration cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{config}")]
pub struct OpenError {
    /// The error, at its key of the configuration.
    pub config: ConfigError,
    /// What an administrator has to correct, if that is known.
    pub cause: Option<StoreErrorCause>,
}

impl From<ConfigError> for OpenError {
    fn from(config: ConfigError) -> Self {
        Self { config, cause: None }
    }
}

impl From<OpenError> for ConfigError {
    fn from(error: OpenError) -> Self {
        error.config
    }
}
