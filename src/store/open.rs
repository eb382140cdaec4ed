//! The types of stores, and opening the store of a configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{CallStore, MemoryConfig, RedisConfig, SqliteConfig, StoreErrorCause};
use crate::config::{Config, ConfigError, NetworkConfig, StoreConfig, StoreSettings, StoreType};

/// Every type of store. The first is the default.
pub const STORES: &[StoreType] =
    &[store_type::<SqliteConfig>(), store_type::<MemoryConfig>(), store_type::<RedisConfig>()];

/// A store, or why it cannot be opened.
pub(super) type Opened = Result<Arc<dyn CallStore>, OpenError>;

/// Settings with which a store is opened. Relative paths in them are relative to `base`.
pub trait OpenStore: StoreSettings + DeserializeOwned + JsonSchema {
    /// The value of `store.type` that selects this type.
    const NAME: &'static str;

    /// Opens the store. Does no network I/O.
    ///
    /// # Errors
    /// If it cannot be used.
    fn open(&self, network: &NetworkConfig, base: &Path) -> Result<Arc<dyn CallStore>, OpenError>;

    /// Returns the location of the data, for an error about the data.
    ///
    /// # Errors
    /// If the settings do not name it, and it is not known.
    fn location(&self, base: &Path) -> Result<String, ConfigError>;
}

/// The functions of one type. They return `None` if the settings are those of another type.
struct Opener {
    open: fn(&Config, &Path) -> Option<Opened>,
    location: fn(&StoreConfig, &Path) -> Option<Result<String, ConfigError>>,
}

const fn store_type<T: OpenStore>() -> StoreType {
    StoreType::new::<T>(T::NAME, &Opener { open: open_as::<T>, location: location_as::<T> })
}

fn open_as<T: OpenStore>(config: &Config, base: &Path) -> Option<Opened> {
    config.store.settings::<T>().map(|settings| settings.open(&config.network, base))
}

fn location_as<T: OpenStore>(config: &StoreConfig, base: &Path) -> Option<Result<String, ConfigError>> {
    config.settings::<T>().map(|settings| settings.location(base))
}

impl<T: OpenStore> From<T> for StoreConfig {
    fn from(settings: T) -> Self {
        Self::new(const { &store_type::<T>() }, settings)
    }
}

/// Opens the store of a configuration. Does no network I/O.
///
/// # Errors
/// If it cannot be used.
pub fn open(config: &Config, base: &Path) -> Result<Arc<dyn CallStore>, OpenError> {
    let opened = config.store.opener::<Opener>().and_then(|opener| (opener.open)(config, base));
    opened.unwrap_or_else(|| Err(cannot_be_opened().into()))
}

/// Returns the location of the data of a configuration's store, for an error about the data.
///
/// # Errors
/// If it is not known.
pub(super) fn location(config: &StoreConfig, base: &Path) -> Result<String, ConfigError> {
    let location = config.opener::<Opener>().and_then(|opener| (opener.location)(config, base));
    location.unwrap_or_else(|| Err(cannot_be_opened()))
}

fn cannot_be_opened() -> ConfigError {
    ConfigError::invalid("store.type", "has a type that cannot be opened")
}

/// Returns the file of a store of type sqlite, or `None` if the store is of another type. A relative path is relative to
/// `base`.
///
/// # Errors
/// If `store.path` is absent and the state folder is not known.
pub fn sqlite_file(config: &StoreConfig, base: &Path) -> Result<Option<PathBuf>, ConfigError> {
    config.settings::<SqliteConfig>().map(|settings| settings.file(base)).transpose()
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
