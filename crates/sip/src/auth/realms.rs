//! The realms that asked for credentials, and the strongest algorithm of each kind of challenge.

use super::{Algorithm, AuthError, Challenge, ChallengeKind};

/// Maximum realms for which credentials are sent in one call or registration. A realm of a server and the same realm of a
/// proxy count as two.
pub const MAX_REALMS: usize = 4;

/// Maximum earlier nonces of a realm whose counts are remembered.
const MAX_OLD_NONCES: usize = 4;

/// The realms and required algorithms of one call or registration.
#[derive(Clone, Debug, Default)]
pub(super) struct Realms {
    realms: Vec<Realm>,
    server_floor: Option<Algorithm>,
    proxy_floor: Option<Algorithm>,
}

/// A realm that asked for credentials.
#[derive(Clone, Debug)]
pub(super) struct Realm {
    pub(super) kind: ChallengeKind,
    pub(super) name: Vec<u8>,
    /// The latest challenge. `None` if it was forgotten, or if a stronger algorithm has been required since.
    pub(super) challenge: Option<Challenge>,
    pub(super) nonce: Nonce,
    old_nonces: Vec<Nonce>,
}

/// A nonce and what was sent with it.
#[derive(Clone, Debug)]
pub(super) struct Nonce {
    pub(super) value: Vec<u8>,
    pub(super) count: u32,
    /// The client nonce of the first credentials. The hash of a `-sess` algorithm depends on it, so it must not change
    /// (RFC 7616, section 3.4.2).
    pub(super) session_cnonce: Option<String>,
}

impl Realms {
    /// Returns the strongest accepted algorithm: the minimum for further challenges.
    pub(super) fn floor(&self, kind: ChallengeKind) -> Option<Algorithm> {
        match kind {
            ChallengeKind::Server => self.server_floor,
            ChallengeKind::Proxy => self.proxy_floor,
        }
    }

    pub(super) fn realms_mut(&mut self) -> impl Iterator<Item = &mut Realm> {
        self.realms.iter_mut()
    }

    /// Forgets the challenges but keeps the names of the realms, the counts of the nonces and the floors.
    pub(super) fn forget_challenges(&mut self) {
        for realm in &mut self.realms {
            realm.challenge = None;
        }
    }

    /// Records a challenge. The caller has checked that it is not weaker than the floor.
    pub(super) fn record(&mut self, kind: ChallengeKind, challenge: Challenge) -> Result<(), AuthError> {
        let floor = match kind {
            ChallengeKind::Server => &mut self.server_floor,
            ChallengeKind::Proxy => &mut self.proxy_floor,
        };
        let required = (*floor).max(Some(challenge.algorithm));
        *floor = required;
        for realm in self.realms.iter_mut().filter(|realm| realm.kind == kind) {
            realm.challenge = realm.challenge.take().filter(|old| Some(old.algorithm) >= required);
        }
        let name = challenge.realm.value();
        let is_full = self.realms.len() >= MAX_REALMS;
        match self.realms.iter_mut().find(|realm| realm.kind == kind && realm.name == name) {
            Some(realm) => realm.renew(challenge),
            None if is_full => return Err(AuthError::TooManyRealms),
            None => {
                let nonce = Nonce::new(challenge.nonce.value());
                self.realms.push(Realm { kind, name, challenge: Some(challenge), nonce, old_nonces: Vec::new() });
            }
        }
        Ok(())
    }
}

impl Realm {
    fn renew(&mut self, challenge: Challenge) {
        let value = challenge.nonce.value();
        self.challenge = Some(challenge);
        if self.nonce.value == value {
            return;
        }
        let known = self.old_nonces.iter().position(|old| old.value == value);
        let next = known.map_or_else(|| Nonce::new(value), |index| self.old_nonces.remove(index));
        let last = std::mem::replace(&mut self.nonce, next);
        if self.old_nonces.len() >= MAX_OLD_NONCES {
            self.old_nonces.remove(0);
        }
        self.old_nonces.push(last);
    }
}

impl Nonce {
    fn new(value: Vec<u8>) -> Self {
        Self { value, count: 0, session_cnonce: None }
    }
}
