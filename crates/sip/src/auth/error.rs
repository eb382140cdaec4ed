//! Errors of challenges and credentials.

use super::Algorithm;

/// Why a challenge cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChallengeError {
    /// The header's value is longer than [`MAX_CHALLENGE_LENGTH`](super::MAX_CHALLENGE_LENGTH).
    #[error("the challenge is too long")]
    TooLong,
    /// The header's value has too many challenges, or one challenge has too many parameters.
    #[error("the challenge has too many parts")]
    TooManyParts,
    /// The value does not follow the grammar, or contains a control character in a parameter that credentials repeat.
    #[error("the challenge is malformed")]
    Malformed,
    /// A parameter that this crate uses occurs twice.
    #[error("the challenge has the parameter \"{0}\" twice")]
    DuplicateParameter(&'static str),
    /// A parameter that every challenge needs is missing or, in the case of the nonce, empty.
    #[error("the challenge has no {0}")]
    MissingParameter(&'static str),
    /// The scheme is not Digest.
    #[error("the challenge's scheme is not Digest")]
    UnsupportedScheme,
    /// The algorithm is unknown. The text is its name, in at most 32 printable ASCII characters.
    #[error("the challenge's algorithm \"{0}\" is not supported")]
    UnsupportedAlgorithm(String),
    /// None of the offered qualities of protection (`qop`) is known.
    #[error("none of the challenge's qualities of protection (qop) is supported")]
    UnsupportedQop,
}

/// Why credentials cannot be used, or why a request cannot be sent again with them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The response asks for authentication but holds no challenge.
    #[error("the response asks for authentication but has no challenge")]
    NoChallenge,
    /// No challenge of the response can be used. The reason is that of the challenge that came closest.
    #[error(transparent)]
    Unusable(#[from] ChallengeError),
    /// All usable challenges ask for a weaker algorithm than an earlier one of the same kind did. The cause may be an
    /// attacker who wants credentials that are easier to break.
    #[error("the challenge asks for {offered}, although {required} was used before; no credentials were sent")]
    WeakerAlgorithm {
        /// The strongest algorithm of the response.
        offered: Algorithm,
        /// The strongest algorithm used before.
        required: Algorithm,
    },
    /// The server rejected credentials, and did not report their nonce as stale.
    #[error("the server rejected the user name or the password")]
    WrongCredentials,
    /// The response has more than [`MAX_CHALLENGES`](super::MAX_CHALLENGES) challenges, or the request was challenged
    /// more than [`MAX_ROUNDS`](super::MAX_ROUNDS) times.
    #[error("the request was challenged too often")]
    TooManyChallenges,
    /// More than [`MAX_REALMS`](super::MAX_REALMS) realms asked for credentials.
    #[error("too many realms asked for credentials")]
    TooManyRealms,
    /// The user name or the password is too long, or the user name is empty or holds a control character.
    #[error("the user name or the password cannot be used for digest authentication")]
    InvalidCredentials,
    /// The method or the Request-URI is empty or holds a control character, or the Request-URI holds a blank, a
    /// quotation mark or a backslash.
    #[error("the method or the Request-URI cannot be written into a header")]
    InvalidRequest,
}
