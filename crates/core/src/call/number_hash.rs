//! Hashes by which the store and this process identify numbers.

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The prefix of every text that is hashed, so that the hash is of no use for anything else.
const NUMBER: &str = "phonegate number\0";

/// A hash of a number: the first 16 bytes of an HMAC-SHA-256 with `privacy.number_key`, or of a SHA-256 without it. The
/// latter is personal data all the same: hashing every number shows which one it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NumberHash([u8; 16]);

impl NumberHash {
    /// Returns the first 16 bytes of a longer hash.
    pub fn of_hash(hash: &[u8]) -> Self {
        let mut first = [0; 16];
        first.iter_mut().zip(hash).for_each(|(first, byte)| *first = *byte);
        Self(first)
    }

    /// Returns the hash with these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns its bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Parses 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        // Uuid accepts other forms, too.
        let digits = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        digits.then(|| Uuid::try_parse(text).ok()).flatten().map(|uuid| Self(uuid.into_bytes()))
    }
}

/// Writes 32 hexadecimal digits.
impl fmt::Display for NumberHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NumberHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Identifies the secret that numbers were hashed with, without revealing it. The store keeps it beside the hashes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyFingerprint([u8; 8]);

impl KeyFingerprint {
    /// The fingerprint for numbers that were hashed without a secret.
    pub const UNKEYED: Self = Self([0; 8]);

    /// Returns the first 8 bytes of a hash that was made with the secret.
    pub fn of_hash(hash: &[u8]) -> Self {
        let mut fingerprint = [0; 8];
        fingerprint.iter_mut().zip(hash).for_each(|(fingerprint, byte)| *fingerprint = *byte);
        Self(fingerprint)
    }

    /// Parses what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "none" {
            return Some(Self::UNKEYED);
        }
        let is_hex = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten().map(|number| Self(number.to_be_bytes()))
    }
}

/// Writes 16 hexadecimal digits, or `none` without a secret.
impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UNKEYED => f.write_str("none"),
            Self(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

impl fmt::Debug for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A number hashed with one secret, or without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HashedNumber {
    /// The fingerprint of the secret.
    pub fingerprint: KeyFingerprint,
    /// The number with its extension.
    pub number: NumberHash,
    /// Its line, which all its extensions share.
    pub line: NumberHash,
}

impl HashedNumber {
    /// Hashes a number and its line; `hash` gets each of them as text.
    pub fn new(
        fingerprint: KeyFingerprint,
        e164: &str,
        extension: Option<&str>,
        hash: impl Fn(&[&str]) -> NumberHash,
    ) -> Self {
        let line = hash(&[NUMBER, e164]);
        let number = extension.map_or(line, |extension| hash(&[NUMBER, e164, "x", extension]));
        Self { fingerprint, number, line }
    }

    /// Hashes a number without a secret.
    pub fn unkeyed(e164: &str, extension: Option<&str>) -> Self {
        Self::new(KeyFingerprint::UNKEYED, e164, extension, |parts| {
            let mut digest = Sha256::new();
            parts.iter().for_each(|part| digest.update(part));
            NumberHash::of_hash(&digest.finalize())
        })
    }
}
