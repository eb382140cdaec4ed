//! The credentials of one request for one challenge (RFC 7616, section 3.4).

use std::fmt;

use super::algorithm::Qop;
use super::grammar::Text;
use super::{AuthError, Challenge, ChallengeKind, Credentials};

/// The parts of a request that credentials cover.
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    /// The method.
    pub method: &'a [u8],
    /// The Request-URI, exactly as the request line has it.
    pub uri: &'a [u8],
    /// The body. Used only if a challenge offers `auth-int` and not `auth`.
    pub body: &'a [u8],
}

impl RequestParts<'_> {
    pub(super) fn check(&self) -> Result<(), AuthError> {
        let is_visible = |text: &[u8]| !text.is_empty() && !text.iter().any(|byte| byte.is_ascii_control());
        let is_uri = |text: &[u8]| !text.iter().any(|byte| matches!(byte, b' ' | b'"' | b'\\'));
        if is_visible(self.method) && is_visible(self.uri) && is_uri(self.uri) {
            Ok(())
        } else {
            Err(AuthError::InvalidRequest)
        }
    }
}

/// An Authorization or Proxy-Authorization header: the credentials for a challenge.
///
/// `Debug` does not show the value, because the password could be guessed from it.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization {
    pub(super) kind: ChallengeKind,
    pub(super) value: Vec<u8>,
}

impl Authorization {
    /// Returns the name of the header: Authorization or Proxy-Authorization.
    pub fn header(&self) -> &'static str {
        self.kind.authorization_header()
    }

    /// Returns the value of the header. It has no line breaks; its bytes need not be UTF-8, because it repeats the
    /// server's realm.
    pub fn value(&self) -> &[u8] {
        &self.value
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Writes the credentials for a challenge. `count` is the nonce count.
///
/// Without `qop`, they have the form of RFC 2069, which RFC 3261, section 22.4, still allows.
pub(super) fn write(
    challenge: &Challenge,
    credentials: &Credentials,
    request: &RequestParts<'_>,
    cnonce: &str,
    count: u32,
) -> Vec<u8> {
    let (realm, nonce) = (challenge.realm.value(), challenge.nonce.value());
    let hash = |parts: &[&[u8]]| challenge.algorithm.hash(parts);
    let mut a1 = hash(&[credentials.username(), &realm, credentials.password()]);
    if challenge.session {
        a1 = hash(&[a1.as_bytes(), &nonce, cnonce.as_bytes()]);
    }
    let a2 = match challenge.qop {
        Some(Qop::AuthInt) => hash(&[request.method, request.uri, hash(&[request.body]).as_bytes()]),
        _ => hash(&[request.method, request.uri]),
    };
    let count = format!("{count:08x}");
    let response = match challenge.qop {
        Some(qop) => {
            hash(&[a1.as_bytes(), &nonce, count.as_bytes(), cnonce.as_bytes(), qop.name().as_bytes(), a2.as_bytes()])
        }
        None => hash(&[a1.as_bytes(), &nonce, a2.as_bytes()]),
    };

    let mut value = b"Digest ".to_vec();
    let mut quoted = |name: &str, text: &[u8]| {
        if value.last() != Some(&b' ') {
            value.extend_from_slice(b", ");
        }
        value.extend_from_slice(name.as_bytes());
        value.extend_from_slice(b"=\"");
        value.extend_from_slice(text);
        value.push(b'"');
    };
    quoted("username", Text::escape(credentials.username()).quoted());
    quoted("realm", challenge.realm.quoted());
    quoted("nonce", challenge.nonce.quoted());
    quoted("uri", request.uri);
    quoted("response", response.as_bytes());
    if challenge.qop.is_some() || challenge.session {
        quoted("cnonce", cnonce.as_bytes());
    }
    if let Some(opaque) = &challenge.opaque {
        quoted("opaque", opaque.quoted());
    }
    if challenge.is_named {
        let session = if challenge.session { "-sess" } else { "" };
        value.extend_from_slice(format!(", algorithm={}{session}", challenge.algorithm).as_bytes());
    }
    if let Some(qop) = challenge.qop {
        value.extend_from_slice(format!(", qop={}, nc={count}", qop.name()).as_bytes());
    }
    value
}

#[cfg(test)]
#[path = "authorization_tests.rs"]
mod tests;
