//! Hashes numbers with the keys of the configuration.

use std::path::Path;
use std::sync::Arc;

use ring::hmac;
use secrecy::{ExposeSecret, SecretString};

use crate::call::{HashedNumber, KeyFingerprint, NumberHash, PhoneNumber};
use crate::config::{ConfigError, PrivacyConfig};

/// The text that is signed with a key to make its fingerprint. No hashed number starts with it.
const FINGERPRINT: &[u8] = b"phonegate number key fingerprint";

/// The number keys of a configuration.
#[derive(Clone, Debug)]
pub struct NumberHasher {
    current: Key,
    others: Arc<[Key]>,
}

/// A number key, or the absence of one: numbers are then hashed without a secret.
#[derive(Clone, Debug)]
struct Key {
    fingerprint: KeyFingerprint,
    secret: Option<SecretString>,
}

/// Hashes without a secret.
impl Default for NumberHasher {
    fn default() -> Self {
        Self::new(None, [])
    }
}

impl NumberHasher {
    /// Reads the keys of a configuration.
    ///
    /// # Errors
    /// If one cannot be read, or is too short.
    pub fn of(config: &PrivacyConfig, base: &Path) -> Result<Self, ConfigError> {
        let (current, others) = config.number_keys(base)?;
        Ok(Self::new(current, others))
    }

    /// Creates a hasher that hashes with the current key, if there is one. Numbers are also looked up by the `others`,
    /// and without a key.
    pub fn new(current: Option<SecretString>, others: impl IntoIterator<Item = SecretString>) -> Self {
        let current = Key::new(current);
        let mut keys: Vec<Key> = Vec::new();
        for other in others.into_iter().map(Some).chain([None]).map(Key::new) {
            if other.fingerprint != current.fingerprint && keys.iter().all(|key| key.fingerprint != other.fingerprint) {
                keys.push(other);
            }
        }
        Self { current, others: keys.into() }
    }

    /// Returns the fingerprints of all keys, the current one first.
    pub fn fingerprints(&self) -> Vec<KeyFingerprint> {
        std::iter::once(&self.current).chain(&*self.others).map(|key| key.fingerprint).collect()
    }

    /// Returns the number with its hashes by all keys.
    pub(super) fn hash(&self, number: PhoneNumber) -> PhoneNumber {
        let otherwise = self.others.iter().map(|key| key.hash(&number)).collect();
        let hashed = self.current.hash(&number);
        number.hashed_as(hashed, otherwise)
    }
}

impl Key {
    fn new(secret: Option<SecretString>) -> Self {
        let fingerprint = match &secret {
            Some(secret) => KeyFingerprint::of_hash(hmac::sign(&mac(secret), FINGERPRINT).as_ref()),
            None => KeyFingerprint::UNKEYED,
        };
        Self { fingerprint, secret }
    }

    fn hash(&self, number: &PhoneNumber) -> HashedNumber {
        let Some(secret) = &self.secret else { return HashedNumber::unkeyed(number.e164(), number.extension()) };
        let mac = mac(secret);
        HashedNumber::new(self.fingerprint, number.e164(), number.extension(), |parts| {
            let mut context = hmac::Context::with_key(&mac);
            parts.iter().for_each(|part| context.update(part.as_bytes()));
            NumberHash::of_hash(context.sign().as_ref())
        })
    }
}

/// Creates the key of the algorithm. It is not kept, because only the secret is overwritten when it is dropped.
fn mac(secret: &SecretString) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const ONE: &str = "0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210";

    fn hasher(current: Option<&str>, others: &[&str]) -> NumberHasher {
        NumberHasher::new(current.map(Into::into), others.iter().map(|&other| other.into()))
    }

    fn number(extension: Option<&str>) -> PhoneNumber {
        PhoneNumber::new("+14255551212".to_owned(), extension.map(str::to_owned), 1)
    }

    /// Computed with Python's hashlib and hmac.
    #[test]
    fn a_number_is_hashed_by_the_standard_algorithms() {
        let unkeyed = hasher(None, &[]).hash(number(Some("7"))).hashed();
        assert_eq!(unkeyed.number.to_string(), "a1f05427b196faf35ddfaca3f29d92e6");
        assert_eq!(unkeyed.line.to_string(), "0ae6afd79a0338a46664f0ff0dca37a8");
        let keyed = hasher(Some(ONE), &[]).hash(number(Some("7"))).hashed();
        assert_eq!(keyed.number.to_string(), "4f1a094e55fb63ce95f26c24516d0654");
        assert_eq!(keyed.line.to_string(), "455fb6fbdabf3aded265638bca954350");
        assert_eq!(keyed.fingerprint.to_string(), "8a09e40455e2fef8");
    }

    #[test]
    fn a_number_is_known_by_every_key_of_the_configuration() {
        let [unkeyed, one, other] = [(None, &[][..]), (Some(ONE), &[]), (Some(OTHER), &[])]
            .map(|(current, others)| hasher(current, others).hash(number(None)).hashed());
        let rotated = hasher(Some(OTHER), &[ONE, OTHER, ONE]).hash(number(None));
        assert_eq!(rotated.hashed(), other);
        assert_eq!(rotated.hashed_otherwise(), [one, unkeyed]);
        assert!([one, other, unkeyed].iter().all(|hashed| rotated.is_known_as(hashed.number)));
        assert!(!hasher(None, &[]).hash(number(None)).is_known_as(one.number));
        assert_eq!(hasher(None, &[ONE]).hash(number(None)).hashed_otherwise(), [one]);
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", hasher(Some(ONE), &[OTHER]));
        assert!(!shown.contains(ONE) && !shown.contains(OTHER), "{shown}");
    }
}
