//! Keys in session descriptions (SDES, RFC 4568). Keys never appear in `Debug`, and are overwritten when dropped.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::description::decimal;

/// A crypto suite (RFC 4568, section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CryptoSuite {
    /// `AES_CM_128_HMAC_SHA1_80`.
    AesCm128HmacSha1_80,
    /// `AES_CM_128_HMAC_SHA1_32`.
    AesCm128HmacSha1_32,
}

impl CryptoSuite {
    /// Returns the name in the `crypto` attribute.
    pub fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    /// The suites in our full offers. The stronger one comes first.
    pub(super) const OFFERED: [Self; 2] = [Self::AesCm128HmacSha1_80, Self::AesCm128HmacSha1_32];

    /// Returns the suite with its tag in a full offer.
    pub(super) fn with_tag(self) -> (u32, Self) {
        match self {
            Self::AesCm128HmacSha1_80 => (1, self),
            Self::AesCm128HmacSha1_32 => (2, self),
        }
    }
}

/// An SRTP master key of 128 bits with its salt of 112 bits.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey(Zeroizing<[u8; Self::BYTES]>);

impl MasterKey {
    /// Length of key and salt, in bytes.
    pub const BYTES: usize = 30;

    /// Creates a key from the bytes of key and salt. Those of a local key must be random (RFC 4568, section 6.1).
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns the key: 16 bytes.
    pub fn key(&self) -> &[u8] {
        self.0.split_at_checked(16).unwrap_or_default().0
    }

    /// Returns the salt: 14 bytes.
    pub fn salt(&self) -> &[u8] {
        self.0.split_at_checked(16).unwrap_or_default().1
    }

    fn from_base64(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(text).ok()?);
        Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(hidden)")
    }
}

/// The keys of this side for one call, one for each suite: two `crypto` attributes must not share a key.
#[derive(Clone, Debug)]
pub struct LocalKeys {
    /// Key for `AES_CM_128_HMAC_SHA1_80`.
    pub sha1_80: MasterKey,
    /// Key for `AES_CM_128_HMAC_SHA1_32`.
    pub sha1_32: MasterKey,
}

impl LocalKeys {
    /// Returns the key with which this side encrypts in this suite.
    pub fn key(&self, suite: CryptoSuite) -> &MasterKey {
        match suite {
            CryptoSuite::AesCm128HmacSha1_80 => &self.sha1_80,
            CryptoSuite::AesCm128HmacSha1_32 => &self.sha1_32,
        }
    }

    /// Returns whether a key of the peer is one of these. Each side must have its own.
    pub(super) fn contains(&self, key: &MasterKey) -> bool {
        self.sha1_80 == *key || self.sha1_32 == *key
    }

    /// Returns the values of the `crypto` attributes of an offer.
    pub(super) fn offered(&self) -> impl Iterator<Item = String> + '_ {
        CryptoSuite::OFFERED.into_iter().map(CryptoSuite::with_tag).map(|(tag, suite)| self.value(tag, suite))
    }

    /// Returns the value of the `crypto` attribute of an answer.
    pub(super) fn answer(&self, offered: &PeerKey) -> String {
        self.value(offered.tag, offered.suite)
    }

    fn value(&self, tag: u32, suite: CryptoSuite) -> String {
        format!("{tag} {} inline:{}", suite.name(), STANDARD.encode(self.key(suite).0.as_slice()))
    }
}

/// Whether the audio is encrypted by SRTP with keys in the description (RFC 4568).
#[derive(Clone, Debug)]
pub enum Encryption {
    /// Never.
    Off,
    /// If the peer supports it. The offer has keys within `RTP/AVP`: a peer that does not support them answers without,
    /// but would reject `RTP/SAVP`. After encryption was negotiated, a description without it is rejected.
    Optional(LocalKeys),
    /// Always. The offer is `RTP/SAVP`.
    Required(LocalKeys),
}

impl Encryption {
    /// Returns the keys of this side, unless encryption is off.
    pub(super) fn keys(&self) -> Option<&LocalKeys> {
        match self {
            Self::Off => None,
            Self::Optional(keys) | Self::Required(keys) => Some(keys),
        }
    }
}

/// A key of the peer, from a `crypto` attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerKey {
    tag: u32,
    suite: CryptoSuite,
    master_key: MasterKey,
}

impl PeerKey {
    /// Parses the value of a `crypto` attribute. Returns `None` if it is malformed, of another suite, or has a master
    /// key index or a session parameter that changes the packets. A lifetime is ignored, because no call reaches it.
    pub(super) fn read(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let tag = words.next().filter(|tag| tag.len() <= 9)?;
        let suite = match words.next()? {
            name if name.eq_ignore_ascii_case(CryptoSuite::AesCm128HmacSha1_80.name()) => {
                CryptoSuite::AesCm128HmacSha1_80
            }
            name if name.eq_ignore_ascii_case(CryptoSuite::AesCm128HmacSha1_32.name()) => {
                CryptoSuite::AesCm128HmacSha1_32
            }
            _ => return None,
        };
        let (method, info) = words.next()?.split_once(':')?;
        let (key, lifetime) = info.split_once('|').unwrap_or((info, "1"));
        let is_lifetime = decimal::<u64>(lifetime.strip_prefix("2^").unwrap_or(lifetime)).is_some();
        // The size of the replay window is a hint; every other parameter changes the packets (section 6.3).
        let is_readable = words.all(|parameter| parameter.to_ascii_uppercase().starts_with("WSH="));
        if !method.eq_ignore_ascii_case("inline") || !is_lifetime || !is_readable {
            return None;
        }
        Some(Self { tag: decimal(tag)?, suite, master_key: MasterKey::from_base64(key)? })
    }

    /// Returns the suite, which is that of both directions.
    pub fn suite(&self) -> CryptoSuite {
        self.suite
    }

    /// Returns the key with which the peer encrypts.
    pub fn master_key(&self) -> &MasterKey {
        &self.master_key
    }

    /// Returns the tag and the suite: an answer must repeat those of an offered attribute (RFC 4568, section 5.1.2).
    pub(super) fn tag_and_suite(&self) -> (u32, CryptoSuite) {
        (self.tag, self.suite)
    }
}
