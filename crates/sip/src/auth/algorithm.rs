//! The hash algorithms and the qualities of protection of digest authentication.

use std::fmt::{self, Write as _};

use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};
use zeroize::{Zeroize as _, Zeroizing};

/// A hash algorithm of digest authentication. The order is by strength.
///
/// A `-sess` variant is as strong as its algorithm. RFC 8760 registers SHA-256 and SHA-512-256 for SIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// MD5, the default of a challenge that names no algorithm (RFC 3261, section 22.4).
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-512/256.
    Sha512t256,
}

impl Algorithm {
    /// Returns the name of the algorithm in a challenge, without `-sess`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
            Self::Sha512t256 => "SHA-512-256",
        }
    }

    /// Reads a name in any case. Returns the algorithm and whether the name is that of its `-sess` variant.
    pub(super) fn read(name: &[u8]) -> Option<(Self, bool)> {
        const SESSION: &[u8] = b"-sess";
        let (base, suffix) = name.split_at_checked(name.len().saturating_sub(SESSION.len()))?;
        let (name, session) = if suffix.eq_ignore_ascii_case(SESSION) { (base, true) } else { (name, false) };
        let known = [Self::Md5, Self::Sha256, Self::Sha512t256];
        let found = known.into_iter().find(|algorithm| algorithm.name().as_bytes().eq_ignore_ascii_case(name))?;
        Some((found, session))
    }

    /// Hashes the parts, joined by colons, and returns the digest in hexadecimal digits.
    pub(super) fn hash(self, parts: &[&[u8]]) -> Zeroizing<String> {
        match self {
            Self::Md5 => hash::<Md5>(parts),
            Self::Sha256 => hash::<Sha256>(parts),
            Self::Sha512t256 => hash::<Sha512_256>(parts),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A quality of protection (`qop`). The order is by preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Qop {
    /// The body is hashed too. A proxy that changes the body invalidates such credentials, so this is the second choice.
    AuthInt,
    /// Method and Request-URI are hashed.
    Auth,
}

impl Qop {
    /// Chooses from the list of a challenge. Unknown names are ignored (RFC 7616, section 3.3).
    pub(super) fn choose(list: &[u8]) -> Option<Self> {
        let names = || list.split(|byte| is_blank(*byte) || *byte == b',');
        let offered = |qop: Self| names().any(|name| name.eq_ignore_ascii_case(qop.name().as_bytes()));
        [Self::Auth, Self::AuthInt].into_iter().find(|qop| offered(*qop))
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }
}

/// Returns whether a byte separates words. The line end of a folded line counts as a blank (RFC 3261, section 7.3.1).
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Writes bytes as lower-case hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn hash<D: Digest>(parts: &[&[u8]]) -> Zeroizing<String> {
    let mut hasher = D::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hasher.update(b":");
        }
        hasher.update(part);
    }
    let mut digest = hasher.finalize();
    let text = Zeroizing::new(hexadecimal(&digest));
    digest.as_mut_slice().zeroize();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case() {
        for (name, expected) in [
            ("MD5", Some((Algorithm::Md5, false))),
            ("md5-SESS", Some((Algorithm::Md5, true))),
            ("sha-256", Some((Algorithm::Sha256, false))),
            ("SHA-256-sess", Some((Algorithm::Sha256, true))),
            ("SHA-512-256", Some((Algorithm::Sha512t256, false))),
            ("Sha-512-256-Sess", Some((Algorithm::Sha512t256, true))),
            ("", None),
            ("-sess", None),
            ("MD5-sess-sess", None),
            ("MD4", None),
            ("SHA-256 ", None),
            ("SHA-512", None),
            ("AKAv1-MD5", None),
        ] {
            assert_eq!(Algorithm::read(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn qop_prefers_auth_in_any_list() {
        for (list, expected) in [
            ("auth", Some(Qop::Auth)),
            ("auth,auth-int", Some(Qop::Auth)),
            (" AUTH-INT ,\tAuth", Some(Qop::Auth)),
            ("auth-int auth", Some(Qop::Auth)),
            (",,auth-int,", Some(Qop::AuthInt)),
            ("auth-conf, auth-int", Some(Qop::AuthInt)),
            ("auth-conf", None),
            ("authx", None),
            ("", None),
        ] {
            assert_eq!(Qop::choose(list.as_bytes()), expected, "{list:?}");
        }
    }

    #[test]
    fn stronger_algorithms_compare_greater() {
        assert!(Algorithm::Md5 < Algorithm::Sha256 && Algorithm::Sha256 < Algorithm::Sha512t256);
    }
}
