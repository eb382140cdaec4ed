//! The credentials that one request has sent, over all its retries.

use super::challenge::Challenge;
use super::{Algorithm, AuthError, ChallengeKind};

/// Maximum responses with challenges after which one request is sent again.
pub const MAX_ROUNDS: u32 = 6;

/// Maximum credentials that a realm may reject without `stale`, although it issued their nonce for this request. Some
/// servers accept a nonce only once and omit `stale`.
const MAX_REJECTIONS: u32 = 1;

/// The credentials that one request has sent, over all its retries.
///
/// Start with [`RequestAuth::default`] for each new request, and keep the value until the request is accepted or
/// abandoned.
#[derive(Clone, Debug, Default)]
pub struct RequestAuth {
    rounds: u32,
    /// The credentials in the last retry.
    answered: Vec<SentAuthorization>,
    /// The realms that challenged this request.
    realms: Vec<RealmProgress>,
}

#[derive(Clone, Debug)]
pub(super) struct SentAuthorization {
    pub(super) kind: ChallengeKind,
    pub(super) realm: Vec<u8>,
    pub(super) nonce: Vec<u8>,
    pub(super) algorithm: Algorithm,
}

#[derive(Clone, Debug)]
struct RealmProgress {
    kind: ChallengeKind,
    realm: Vec<u8>,
    rejections: u32,
}

impl RequestAuth {
    /// Returns the number of responses with challenges that were recorded for this request, including rejected ones.
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    pub(super) fn set_sent(&mut self, answered: Vec<SentAuthorization>) {
        self.answered = answered;
    }

    /// Counts a response with challenges.
    pub(super) fn begin_round(&mut self) -> Result<(), AuthError> {
        if self.rounds >= MAX_ROUNDS {
            return Err(AuthError::TooManyChallenges);
        }
        self.rounds = self.rounds.saturating_add(1);
        Ok(())
    }

    /// Returns an error if a challenge means that the credentials are wrong.
    pub(super) fn check_challenge(&mut self, kind: ChallengeKind, challenge: &Challenge) -> Result<(), AuthError> {
        let realm = challenge.realm.value();
        let answered = self.answered.iter().filter(|answered| answered.kind == kind && answered.realm == realm);
        // A challenge with a stronger algorithm than that of the rejected credentials does not mean that they are wrong.
        let refused = answered.max_by_key(|answered| answered.algorithm);
        let refused = refused.filter(|refused| !challenge.stale && refused.algorithm >= challenge.algorithm);
        if refused.is_some_and(|refused| refused.nonce == challenge.nonce.value()) {
            return Err(AuthError::WrongCredentials);
        }
        match self.realms.iter_mut().find(|other| other.kind == kind && other.realm == realm) {
            // The nonce came from an earlier request, and may have been used up since then.
            None => self.realms.push(RealmProgress { kind, realm, rejections: 0 }),
            Some(_) if refused.is_none() => {}
            Some(progress) if progress.rejections < MAX_REJECTIONS => {
                progress.rejections = progress.rejections.saturating_add(1);
            }
            Some(_) => return Err(AuthError::WrongCredentials),
        }
        Ok(())
    }
}
