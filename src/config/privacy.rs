//! How numbers are hashed in the store.

use std::path::Path;

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::error::ConfigError;
use super::secret::Secret;

/// Minimum length of a number key, in characters: 32 random bytes have 44 in Base64, and 64 in hexadecimal.
const MIN_KEY_CHARS: usize = 32;

/// The path of the current number key in the configuration.
pub const NUMBER_KEY: &str = "privacy.number_key";

/// How numbers are hashed in the store.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrivacyConfig {
    /// The secret that telephone numbers are hashed with in the store (HMAC-SHA-256): random text of at least 32
    /// characters, the same on every node. Without it, an attacker who can read the store can find the numbers by
    /// hashing all possible numbers. To change or remove it, follow "Number keys" in docs/store.md.
    pub number_key: Option<Secret>,
    /// Secrets that numbers in the store may also have been hashed with: earlier keys after a change of `number_key`,
    /// and on a farm the next key before the change.
    pub other_number_keys: Vec<Secret>,
}

impl PrivacyConfig {
    /// Returns the secrets, each with its path in the file.
    pub(super) fn secrets(&self) -> impl Iterator<Item = (String, &Secret)> {
        let others = self.other_number_keys.iter().enumerate();
        let others = others.map(|(index, secret)| (format!("privacy.other_number_keys[{index}]"), secret));
        self.number_key.iter().map(|secret| (NUMBER_KEY.to_owned(), secret)).chain(others)
    }

    /// Reads the number keys: the current one, if there is one, and the others. Relative paths are resolved against
    /// `base`.
    ///
    /// # Errors
    /// If one cannot be read, or is too short.
    pub fn number_keys(&self, base: &Path) -> Result<(Option<SecretString>, Vec<SecretString>), ConfigError> {
        let mut keys = Vec::new();
        for (path, secret) in self.secrets() {
            let text = secret.resolve(base, &path)?;
            let key: SecretString = text.expose_secret().trim().into();
            let length = key.expose_secret().chars().count();
            if length < MIN_KEY_CHARS {
                return Err(ConfigError::invalid(
                    path,
                    format_args!(
                        "has {length} characters, and needs at least {MIN_KEY_CHARS}; `openssl rand -hex 32` makes one, \
                         and docs/store.md (\"Number keys\") says how to make one on Windows"
                    ),
                ));
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let current = self.number_key.as_ref().and_then(|_| keys.next());
        Ok((current, keys.collect()))
    }
}
