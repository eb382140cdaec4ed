//! One digest challenge.

use super::ChallengeError;
use super::algorithm::{Algorithm, Qop, is_blank};
use super::grammar::{self, Scheme, Text};

/// The maximum length of a header's value with challenges, in bytes.
pub const MAX_CHALLENGE_LENGTH: usize = 4096;

/// A supported digest challenge (RFC 7616, section 3.3; RFC 3261, section 20.44).
///
/// `domain`, `charset`, `userhash` and unknown parameters are ignored: credentials always have the plain user name, in
/// UTF-8, which a server that offers `userhash` accepts too (RFC 7616, section 3.4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub(super) realm: Text,
    pub(super) nonce: Text,
    pub(super) opaque: Option<Text>,
    pub(super) stale: bool,
    pub(super) algorithm: Algorithm,
    /// Whether the challenge asks for the algorithm's `-sess` variant.
    pub(super) session: bool,
    /// Whether the challenge names its algorithm. If it does, so do the credentials.
    pub(super) is_named: bool,
    pub(super) qop: Option<Qop>,
}

impl Challenge {
    /// Reads the value of one WWW-Authenticate or Proxy-Authenticate header.
    ///
    /// The value should hold one challenge, but some servers list several, so there is a result for each, in their
    /// order: at least one and at most eight. An unusable challenge does not hide the others, but nothing is parsed
    /// after a violation of the grammar.
    pub fn read_all(value: &[u8]) -> Vec<Result<Self, ChallengeError>> {
        if value.len() > MAX_CHALLENGE_LENGTH {
            return vec![Err(ChallengeError::TooLong)];
        }
        let schemes = grammar::split(value);
        if schemes.is_empty() {
            return vec![Err(ChallengeError::Malformed)];
        }
        schemes.into_iter().map(Self::read).collect()
    }

    fn read(scheme: Scheme<'_>) -> Result<Self, ChallengeError> {
        if let Some(problem) = scheme.problem {
            return Err(problem);
        }
        if !scheme.name.eq_ignore_ascii_case(b"digest") {
            return Err(ChallengeError::UnsupportedScheme);
        }
        let get = |name: &'static str| {
            let mut found = scheme.parameters.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()));
            let first = found.next();
            match found.next() {
                Some(_) => Err(ChallengeError::DuplicateParameter(name)),
                None => Ok(first.map(|(_, text)| text)),
            }
        };
        let realm = repeatable(get("realm")?)?.ok_or(ChallengeError::MissingParameter("realm"))?;
        let nonce = repeatable(get("nonce")?)?.filter(|nonce| !nonce.quoted().is_empty());
        let nonce = nonce.ok_or(ChallengeError::MissingParameter("nonce"))?;
        let opaque = repeatable(get("opaque")?)?;
        let stale = get("stale")?.is_some_and(|text| trim(&text.value()).eq_ignore_ascii_case(b"true"));
        let named = get("algorithm")?.map(Text::value);
        let qop = get("qop")?.map(Text::value);
        let name = named.as_deref().map_or(&b"MD5"[..], trim);
        let (algorithm, session) =
            Algorithm::read(name).ok_or_else(|| ChallengeError::UnsupportedAlgorithm(printable(name)))?;
        let qop = match qop.as_deref().map(trim) {
            // An empty list offers nothing, as in RFC 2069.
            None | Some([]) => None,
            Some(list) => Some(Qop::choose(list).ok_or(ChallengeError::UnsupportedQop)?),
        };
        Ok(Self { realm, nonce, opaque, stale, algorithm, session, is_named: named.is_some(), qop })
    }

    /// Returns the realm without escapes. Its bytes need not be UTF-8.
    pub fn realm(&self) -> Vec<u8> {
        self.realm.value()
    }

    /// Returns the algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns whether the server reports that only the nonce of the rejected credentials was too old.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// Returns the sort key of challenges of one realm. The greatest is used.
    pub(super) fn preference(&self) -> (Algorithm, Option<Qop>) {
        (self.algorithm, self.qop)
    }
}

/// Rejects a text that would break the header line when credentials repeat it.
fn repeatable(text: Option<&Text>) -> Result<Option<Text>, ChallengeError> {
    match text {
        Some(text) if text.quoted().iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') => {
            Err(ChallengeError::Malformed)
        }
        text => Ok(text.cloned()),
    }
}

fn trim(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| !is_blank(*byte)).map_or(0, |last| last.saturating_add(1));
    let text = text.get(..end).unwrap_or(text);
    let start = text.iter().position(|byte| !is_blank(*byte)).unwrap_or(0);
    text.get(start..).unwrap_or(text)
}

/// Returns at most 32 printable characters of a name, for error messages.
fn printable(name: &[u8]) -> String {
    name.iter().take(32).map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' }).collect()
}

#[cfg(test)]
#[path = "challenge_tests.rs"]
mod tests;
