//! The pepper: a secret that every hash of a PIN needs, and that is not in the store.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::config::{ConfigError, PEPPER, PinConfig};
use crate::store::PepperFingerprint;

/// The prefix of the text that is hashed for the fingerprint, so that the hash is of no use for anything else.
const FINGERPRINT: &[u8] = b"phonegate pepper fingerprint\0";

/// The secret that every hash of a PIN needs. Without it, an attacker who reads the store cannot find a PIN by trying
/// all of them. Its memory is overwritten when it is dropped.
#[derive(Clone)]
pub struct Pepper {
    secret: Arc<SecretString>,
    fingerprint: PepperFingerprint,
}

/// A pepper is too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("has {chars} characters, and needs at least {min}; `openssl rand -hex 32` makes one", min = Pepper::MIN_CHARS)]
pub struct PepperTooShort {
    /// Its length in characters.
    pub chars: usize,
}

impl Pepper {
    /// Minimum length of a pepper, in characters: 16 random bytes in hexadecimal.
    pub const MIN_CHARS: usize = 32;

    /// Creates a pepper from the text of a secret, without the white space around it.
    ///
    /// # Errors
    /// If it is too short.
    pub fn new(secret: &SecretString) -> Result<Self, PepperTooShort> {
        let text = secret.expose_secret().trim();
        let chars = text.chars().count();
        if chars < Self::MIN_CHARS {
            return Err(PepperTooShort { chars });
        }
        let hash = Sha256::new().chain_update(FINGERPRINT).chain_update(text).finalize();
        Ok(Self { secret: Arc::new(text.into()), fingerprint: PepperFingerprint::of_hash(&hash) })
    }

    /// Reads the pepper of a configuration, if it has one. A relative file is resolved against `base`.
    ///
    /// # Errors
    /// If it cannot be read, or is too short.
    pub fn read(config: &PinConfig, base: &Path) -> Result<Option<Self>, ConfigError> {
        let Some(secret) = &config.pepper else { return Ok(None) };
        let pepper = Self::new(&secret.resolve(base, PEPPER)?);
        pepper.map(Some).map_err(|too_short| ConfigError::invalid(PEPPER, too_short))
    }

    /// Returns the fingerprint, which identifies the pepper without revealing it.
    pub fn fingerprint(&self) -> PepperFingerprint {
        self.fingerprint
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.secret.expose_secret().as_bytes()
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pepper({})", self.fingerprint)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const TEXT: &str = "0123456789abcdef0123456789abcdef";

    /// Computed with Python's hashlib.
    #[test]
    fn a_pepper_is_known_by_its_fingerprint_alone() {
        let pepper = Pepper::new(&format!(" {TEXT}\r\n").into()).unwrap();
        assert_eq!(pepper.fingerprint().to_string(), "82144858cd7a3a66");
        assert_eq!(pepper.as_bytes(), TEXT.as_bytes());
        let shown = format!("{pepper:?}");
        assert!(shown.contains("82144858cd7a3a66") && !shown.contains("0123"), "{shown}");
        assert_ne!(Pepper::new(&format!("{TEXT}0").into()).unwrap().fingerprint(), pepper.fingerprint());
    }

    #[test]
    fn a_short_pepper_is_refused() {
        let error = Pepper::new(&format!("  {TEXT:.31}  ").into()).unwrap_err();
        assert_eq!(error, PepperTooShort { chars: 31 });
        assert!(error.to_string().starts_with("has 31 characters, and needs at least 32"), "{error}");
    }
}
