//! Digest authentication of a client (RFC 7616, RFC 8760; RFC 3261, section 22).
//!
//! A server (401) or a proxy (407) rejects a request with challenges; the client sends it again with credentials that
//! prove its password. An [`Authenticator`] holds the challenges of one call or registration, and a [`RequestAuth`] the
//! credentials that one request has sent:
//!
//! ```
//! use phonegate_sip::auth::{Authenticator, ChallengeKind, Credentials, RequestAuth, RequestParts};
//!
//! let mut authenticator = Authenticator::new(Credentials::new("gate", "made-up password")?);
//! let mut request = RequestAuth::default();
//! let parts = RequestParts { method: b"INVITE", uri: b"sip:+14255550100@trunk.example.com", body: b"" };
//! // The first request has no credentials. The server rejects it:
//! assert!(authenticator.authorize(&mut request, &parts, [7; 16])?.is_empty());
//! let challenge = br#"Digest realm="trunk.example.com", nonce="made-up", algorithm=SHA-256, qop="auth""#;
//! authenticator.challenged(&mut request, [(ChallengeKind::Server, &challenge[..])])?;
//! // The second one has credentials, and so does each later request of the call.
//! let authorizations = authenticator.authorize(&mut request, &parts, [8; 16])?;
//! assert_eq!(authorizations[0].header(), "Authorization");
//! assert!(authorizations[0].value().starts_with(b"Digest username=\"gate\", "));
//! # Ok::<(), phonegate_sip::auth::AuthError>(())
//! ```
//!
//! The caller decides which host may receive credentials, and whether a challenge came from that host.

mod algorithm;
mod authenticator;
mod authorization;
mod challenge;
mod credentials;
mod error;
mod grammar;
mod realms;
mod request;

pub use algorithm::Algorithm;
pub use authenticator::{Authenticator, MAX_CHALLENGES};
pub use authorization::{Authorization, RequestParts};
pub use challenge::{Challenge, MAX_CHALLENGE_LENGTH};
pub use credentials::{Credentials, MAX_CREDENTIAL_LENGTH};
pub use error::{AuthError, ChallengeError};
pub use realms::MAX_REALMS;
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

    /// Returns the name of the header with the credentials.
    pub fn authorization_header(self) -> &'static str {
        match self {
            Self::Server => "Authorization",
            Self::Proxy => "Proxy-Authorization",
        }
    }
}

#[cfg(test)]
mod property_tests;
