//! Digest authentication of a client (RFC 7616, RFC 8760; RFC 3261, section 22).
//!
//! A server (401) or a proxy (407) refuses a request with challenges; the client repeats the request with answers that
//! prove its password. An [`Authenticator`] holds the challenges of one call or registration, and a [`RequestAuth`] the
//! answers that one request has sent:
//!
//! ```
//! use phonegate_sip::auth::{Authenticator, ChallengeKind, Credentials, RequestAuth, RequestParts};
//!
//! let mut authenticator = Authenticator::new(Credentials::new("gate", "made-up password")?);
//! let mut request = RequestAuth::default();
//! let parts = RequestParts { method: b"INVITE", uri: b"sip:+14255550100@trunk.example.com", body: b"" };
//! // The first request has no answers. The server refuses it:
//! assert!(authenticator.answer(&mut request, &parts, [7; 16])?.is_empty());
//! let challenge = br#"Digest realm="trunk.example.com", nonce="made-up", algorithm=SHA-256, qop="auth""#;
//! authenticator.challenged(&mut request, [(ChallengeKind::Server, &challenge[..])])?;
//! // The second one has an answer, and so does each later request of the call.
//! let answers = authenticator.answer(&mut request, &parts, [8; 16])?;
//! assert_eq!(answers[0].header(), "Authorization");
//! assert!(answers[0].value().starts_with(b"Digest username=\"gate\", "));
//! # Ok::<(), phonegate_sip::auth::AuthError>(())
//! ```
//!
//! The caller decides which host may see an answer, and whether a challenge came from that host.

mod algorithm;
mod answer;
mod authenticator;
mod challenge;
mod credentials;
mod error;
mod grammar;
mod known;
mod request;

pub use algorithm::Algorithm;
pub use answer::{Answer, RequestParts};
pub use authenticator::{Authenticator, MAX_CHALLENGES, MAX_REALMS};
pub use challenge::{Challenge, MAX_CHALLENGE_LENGTH};
pub use credentials::{Credentials, MAX_CREDENTIAL_LENGTH};
pub use error::{AuthError, ChallengeError};
pub use request::{MAX_ROUNDS, RequestAuth};

/// The origin of a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChallengeKind {
    /// A server, registrar or user agent, in WWW-Authenticate headers, usually of a 401 (RFC 3261, section 22.2).
    Server,
    /// A proxy, in Proxy-Authenticate headers, usually of a 407 (RFC 3261, section 22.3).
    Proxy,
}

impl ChallengeKind {
    /// Returns the name of the header with the challenge.
    pub fn challenge_header(self) -> &'static str {
        match self {
            Self::Server => "WWW-Authenticate",
            Self::Proxy => "Proxy-Authenticate",
        }
    }

    /// Returns the name of the header with the answer.
    pub fn answer_header(self) -> &'static str {
        match self {
            Self::Server => "Authorization",
            Self::Proxy => "Proxy-Authorization",
        }
    }
}

#[cfg(test)]
mod property_tests;
