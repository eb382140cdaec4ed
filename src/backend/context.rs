//! How a backend is built from its settings.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use phonegate_approval::policy::Policy;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::de::DeserializeOwned;

use super::{NamedBackend, TelephonyBackend};
use crate::config::{
    BackendConfig, BackendSettings, BackendType, Config, ConfigError, ErrorKind, FraudKey, NetworkConfig,
    NumbersConfig, PromptsConfig, Secret,
};
use crate::prompts::Prompts;

/// Settings from which a backend is built.
pub trait BuildBackend: BackendSettings + DeserializeOwned + JsonSchema {
    /// Builds the backend. Does no network I/O, and starts no task.
    ///
    /// # Errors
    /// A secret cannot be read, or a setting cannot work.
    fn build(&self, context: &BackendContext<'_>) -> Result<Arc<dyn TelephonyBackend>, ConfigError>;
}

/// What a backend may know in addition to its own settings.
pub struct BackendContext<'a> {
    /// The path of its settings in the configuration: `backends.NAME`.
    pub path: String,
    /// The folder of the configuration, to which relative paths belong.
    pub base: &'a Path,
    /// Whether test backends are allowed, such as a trunk on loopback without `local_peer`.
    pub allow_test_backends: bool,
    /// The section `network`.
    pub network: &'a NetworkConfig,
    /// The section `numbers`.
    pub numbers: &'a NumbersConfig,
    /// The section `prompts`.
    pub prompts: &'a PromptsConfig,
    /// The recordings of `prompts`, for a backend that plays them itself.
    pub recordings: &'a Prompts,
    /// The rules by which entries are judged.
    pub policy: Policy,
    /// The key by which a user reports a fraud.
    pub fraud_key: FraudKey,
}

impl BackendContext<'_> {
    /// Returns the error that the setting `key` cannot be used.
    pub fn invalid(&self, key: &str, problem: impl Display) -> ConfigError {
        ConfigError::invalid(format!("{}.{key}", self.path), problem)
    }

    /// Reads the secret of the setting `key`.
    ///
    /// # Errors
    /// As [`Secret::resolve`].
    pub fn resolve(&self, key: &str, secret: &Secret) -> Result<SecretString, ConfigError> {
        secret.resolve(self.base, &format!("{}.{key}", self.path))
    }
}

/// Returns the type `name` of backends with the settings `T`.
pub const fn backend_type<T: BuildBackend>(name: &'static str) -> BackendType {
    BackendType::new::<T>(name, &Builder(build::<T>))
}

/// The function that builds a backend of one type.
struct Builder(fn(&BackendConfig, &BackendContext<'_>) -> Built);

/// The result of a [`Builder`]. `None`: the settings are those of another type.
type Built = Option<Result<Arc<dyn TelephonyBackend>, ConfigError>>;

fn build<T: BuildBackend>(backend: &BackendConfig, context: &BackendContext<'_>) -> Built {
    backend.settings::<T>().map(|settings| settings.build(context))
}

/// Builds the backends in use, in the order of [`Config::in_use`]. Relative paths in their settings belong to `base`.
/// Does no network I/O.
///
/// # Errors
/// A secret cannot be read, or a setting cannot work.
pub fn build_in_use(config: &Config, recordings: &Prompts, base: &Path) -> Result<Vec<NamedBackend>, ConfigError> {
    let policy = config.approval_policy()?;
    let build = |(name, backend): (&String, &BackendConfig)| {
        let context = BackendContext {
            path: format!("backends.{name}"),
            base,
            allow_test_backends: config.allow_test_backends,
            network: &config.network,
            numbers: &config.numbers,
            prompts: &config.prompts,
            recordings,
            policy,
            fraud_key: config.fraud.key,
        };
        let built = backend.builder::<Builder>().and_then(|Builder(build)| build(backend, &context));
        let unusable =
            || ConfigError::at(ErrorKind::BackendUnusable, &*context.path, "has a type that cannot be built");
        Ok(NamedBackend {
            name: name.as_str().into(),
            backend: built.ok_or_else(unusable)??,
            provider_verdicts: config.provider_verdicts(backend),
        })
    };
    config.in_use().map(build).collect()
}
