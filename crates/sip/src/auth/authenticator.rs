//! The challenges of one call or registration, and the credentials for them.

use super::algorithm::hexadecimal;
use super::realms::{Realm, Realms};
use super::request::SentAuthorization;
use super::{Algorithm, AuthError, Authorization, Challenge, ChallengeError, ChallengeKind, Credentials};
use super::{RequestAuth, RequestParts, authorization};

/// The maximum number of challenges in one response.
pub const MAX_CHALLENGES: usize = 16;

/// Creates the credentials for the challenges of one call or registration.
///
/// It remembers the strongest accepted algorithm, for servers and for proxies separately, and never uses a weaker one
/// later, whatever the realm, with or without `stale`.
#[derive(Clone, Debug)]
pub struct Authenticator {
    credentials: Credentials,
    realms: Realms,
}

impl Authenticator {
    /// Creates the authenticator of a new call or registration.
    pub fn new(credentials: Credentials) -> Self {
        Self { credentials, realms: Realms::default() }
    }

    /// Forgets all challenges, but keeps the required algorithms and the realms.
    ///
    /// Call it before another target of the same call, such as a redirect or the next server.
    pub fn forget_challenges(&mut self) {
        self.realms.forget_challenges();
    }

    /// Returns the strongest accepted algorithm. A weaker one is rejected.
    pub fn required_algorithm(&self, kind: ChallengeKind) -> Option<Algorithm> {
        self.realms.floor(kind)
    }

    /// Records the challenges of a response to a request, each with its kind according to the name of its header.
    ///
    /// If this succeeds, send the request again with the headers that [`authorize`](Self::authorize) returns and a higher
    /// CSeq (RFC 3261, section 22.2). A response may have challenges of several realms, because a forking proxy
    /// collects them (RFC 3261, section 16.7). Of each kind, only those with the strongest algorithm are used. This is
    /// stricter than RFC 8760, section 2.4, which lets the server set the order.
    ///
    /// # Errors
    ///
    /// The request must not be sent again. The state does not change, except that the response is counted.
    /// - [`AuthError::WrongCredentials`] if the server rejected the credentials with the same nonce, or repeatedly with
    ///   new ones;
    /// - [`AuthError::WeakerAlgorithm`] if no challenge is as strong as an earlier one of its kind;
    /// - [`AuthError::TooManyChallenges`] and [`AuthError::TooManyRealms`] if a limit is reached;
    /// - [`AuthError::NoChallenge`] and [`AuthError::Unusable`] if no challenge can be used.
    pub fn challenged<'a>(
        &mut self,
        request: &mut RequestAuth,
        headers: impl IntoIterator<Item = (ChallengeKind, &'a [u8])>,
    ) -> Result<(), AuthError> {
        request.begin_round()?;
        let offered = self.choose(headers)?;
        // Work on copies, so that a rejected response changes nothing.
        let mut checked = request.clone();
        let mut realms = self.realms.clone();
        for (kind, challenge) in offered {
            checked.check_challenge(kind, &challenge)?;
            realms.record(kind, challenge)?;
        }
        *request = checked;
        self.realms = realms;
        Ok(())
    }

    /// Returns the credentials for all challenges so far, for one transmission of a request.
    ///
    /// Call it for each request, including those before any challenge, and for each retry with other credentials. There
    /// are two exceptions: an ACK has the same credentials as its INVITE, and a CANCEL has none (RFC 3261, section
    /// 22.1). A retransmission is the same message and needs no call.
    ///
    /// `random` must be unpredictable and new for each call: it becomes the client nonce.
    ///
    /// # Errors
    ///
    /// [`AuthError::InvalidRequest`] if the method or the Request-URI cannot be written into a header.
    pub fn authorize(
        &mut self,
        request: &mut RequestAuth,
        parts: &RequestParts<'_>,
        random: [u8; 16],
    ) -> Result<Vec<Authorization>, AuthError> {
        parts.check()?;
        let new_cnonce = hexadecimal(&random);
        let mut authorizations = Vec::new();
        let mut answered = Vec::new();
        for Realm { kind, name, challenge, nonce, .. } in self.realms.realms_mut() {
            let Some(challenge) = challenge else { continue };
            // A count is never reused. The server will send a new nonce.
            let Some(count) = nonce.count.checked_add(1) else { continue };
            nonce.count = count;
            let cnonce = match challenge.session {
                true => &*nonce.session_cnonce.get_or_insert_with(|| new_cnonce.clone()),
                false => &new_cnonce,
            };
            let value = authorization::write(challenge, &self.credentials, parts, cnonce, count);
            authorizations.push(Authorization { kind: *kind, value });
            let (realm, nonce) = (name.clone(), nonce.value.clone());
            answered.push(SentAuthorization { kind: *kind, realm, nonce, algorithm: challenge.algorithm });
        }
        request.set_sent(answered);
        Ok(authorizations)
    }

    /// Chooses at most one challenge for each realm: one with the strongest algorithm of its kind, and not weaker than
    /// the required algorithm.
    fn choose<'a>(
        &self,
        headers: impl IntoIterator<Item = (ChallengeKind, &'a [u8])>,
    ) -> Result<Vec<(ChallengeKind, Challenge)>, AuthError> {
        let mut problem = AuthError::NoChallenge;
        let mut usable: Vec<(ChallengeKind, Challenge)> = Vec::new();
        let mut seen = 0_usize;
        for (kind, value) in headers {
            for read in Challenge::read_all(value) {
                seen = seen.saturating_add(1);
                if seen > MAX_CHALLENGES {
                    return Err(AuthError::TooManyChallenges);
                }
                let refused = match read {
                    Ok(challenge) => match self.required_algorithm(kind).filter(|floor| challenge.algorithm < *floor) {
                        Some(required) => AuthError::WeakerAlgorithm { offered: challenge.algorithm, required },
                        None => {
                            usable.push((kind, challenge));
                            continue;
                        }
                    },
                    Err(error) => error.into(),
                };
                if closeness(&refused) > closeness(&problem) {
                    problem = refused;
                }
            }
        }
        let mut chosen: Vec<(ChallengeKind, Challenge)> = Vec::new();
        for (kind, challenge) in &usable {
            let mut same_kind = usable.iter().filter(|(other, _)| other == kind);
            if same_kind.any(|(_, other)| other.algorithm > challenge.algorithm) {
                continue;
            }
            let realm = challenge.realm.value();
            match chosen.iter_mut().find(|(other, chosen)| other == kind && chosen.realm.value() == realm) {
                Some((_, chosen)) if chosen.preference() < challenge.preference() => *chosen = challenge.clone(),
                Some(_) => {}
                None => chosen.push((*kind, challenge.clone())),
            }
        }
        if chosen.is_empty() { Err(problem) } else { Ok(chosen) }
    }
}

/// Ranks a problem by how close the challenge was to being usable. The closest one says most about the cause.
fn closeness(error: &AuthError) -> (u8, Option<Algorithm>) {
    match error {
        AuthError::NoChallenge => (0, None),
        AuthError::Unusable(ChallengeError::UnsupportedScheme) => (1, None),
        AuthError::Unusable(ChallengeError::UnsupportedQop) => (3, None),
        AuthError::Unusable(ChallengeError::UnsupportedAlgorithm(_)) => (4, None),
        AuthError::WeakerAlgorithm { offered, .. } => (5, Some(*offered)),
        _ => (2, None),
    }
}

#[cfg(test)]
#[path = "authenticator_tests.rs"]
mod tests;
