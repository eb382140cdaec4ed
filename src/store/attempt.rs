//! Attempts, as a store is told of them and as it tells of them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use phonegate_approval::attempts::StoredAttempts;
use uuid::Uuid;

use super::DenialLimits;
use crate::call::{
    Attempt, CallEvent, CallRef, Country, Failure, HashedNumber, KeyFingerprint, NumberKey, Outcome, PhoneNumber,
    Progress, StoredOutcome,
};

/// A process instance that drives attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner(pub Uuid);

/// A number as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredNumber {
    /// By which the same number, extension included, is known again.
    pub key: NumberKey,
    /// By which the same line is.
    pub line: NumberKey,
    /// The fingerprint of the secret with which `key` and `line` were hashed.
    pub fingerprint: KeyFingerprint,
    /// The hashes with the other keys of the configuration: the store may have the number under one of them.
    pub otherwise: Box<[HashedNumber]>,
    /// For people.
    pub masked: Box<str>,
    /// The whole number, where it is to be kept.
    pub full: Option<Box<str>>,
    /// Its country, unless it is a number of no country.
    pub country: Option<Country>,
}

impl StoredNumber {
    /// The number, the whole of it if that is to be kept.
    pub fn new(number: &PhoneNumber, full: bool) -> Self {
        let whole = || match number.extension() {
            Some(extension) => format!("{}x{extension}", number.e164()).into(),
            None => number.e164().into(),
        };
        let masked = number.to_string().into();
        let HashedNumber { fingerprint, number: key, line } = number.hashed();
        let otherwise = number.hashed_otherwise().into();
        let country = number.country().copied();
        Self { key, line, fingerprint, otherwise, masked, full: full.then(whole), country }
    }

    /// The fingerprints of all keys that the number was hashed with, the current one first.
    pub(super) fn fingerprints(&self) -> impl Iterator<Item = KeyFingerprint> {
        std::iter::once(self.fingerprint).chain(self.otherwise.iter().map(|hashed| hashed.fingerprint))
    }
}

/// An attempt that is about to be placed.
#[derive(Debug, Clone)]
pub struct NewAttempt {
    /// Which one.
    pub attempt: Attempt,
    /// When the host asked for it.
    pub started: SystemTime,
    /// How long it may take from now.
    pub deadline: Duration,
    /// Whom it will ring.
    pub number: StoredNumber,
    /// Who drives it.
    pub owner: Owner,
    /// On which machine.
    pub node: Arc<str>,
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub struct EndRequest {
    /// Which one.
    pub attempt: Attempt,
    /// Whose it must be.
    pub owner: Owner,
    /// When.
    pub at: SystemTime,
    /// How.
    pub outcome: Outcome,
    /// Does its phone certainly ring no more?
    pub release: bool,
    /// When it locks its number, if it is a denial.
    pub denials: DenialLimits,
}

/// The answer to [`CallStore::end`](super::CallStore::end).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Nothing has changed: the attempt had ended before, belongs to another owner, or its approval came too late.
    No,
    /// It has ended with the given outcome.
    Yes {
        /// The end of the lock of its number, if this end caused one.
        locked_until: Option<SystemTime>,
    },
}

impl Ended {
    /// The attempt has ended with the given outcome, without a lock.
    pub const UNLOCKED: Self = Self::Yes { locked_until: None };

    /// Returns whether the attempt has ended with the given outcome.
    pub fn is_done(self) -> bool {
        self != Self::No
    }
}

/// A lock of a number, caused by the end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lockout {
    /// The attempt whose end caused the lock.
    pub attempt: Attempt,
    /// The number that is locked.
    pub number: NumberKey,
    /// The same, masked.
    pub masked: Box<str>,
    /// The end of the lock.
    pub until: SystemTime,
}

/// Something that happened to an attempt.
#[derive(Debug, Clone)]
pub struct RecordedChange {
    /// Which one.
    pub attempt: Attempt,
    /// When.
    pub at: SystemTime,
    /// What.
    pub change: AttemptChange,
}

impl RecordedChange {
    /// How long it has been waiting to be kept.
    pub(super) fn waited(&self) -> Duration {
        SystemTime::now().duration_since(self.at).unwrap_or_default()
    }
}

/// What happened to an attempt.
#[derive(Debug, Clone)]
pub enum AttemptChange {
    /// A step. `Ringing` and `Answered` are also the attempt's progress. The backend of `BackendRefused` is the attempt's
    /// backend until one has placed it.
    Step {
        /// What happened.
        event: CallEvent,
        /// The backend.
        backend: Option<Arc<str>>,
        /// More about it, without personal data.
        text: Option<Box<str>>,
    },
    /// A backend has placed it, and knows it by this reference from now on. Also a step, `placed`.
    Placed {
        /// The backend.
        backend: Arc<str>,
        /// Its reference.
        reference: CallRef,
        /// What the user is to press, if the call outlives its process. Secret: kept only while the attempt is pending.
        attempts: Option<Arc<StoredAttempts>>,
    },
    /// It has ended, if it was pending and is this owner's: as [`CallStore::end`](super::CallStore::end).
    Ended {
        /// Whose it must be.
        owner: Owner,
        /// How.
        failure: Failure,
        /// Does its phone certainly ring no more?
        release: bool,
        /// When it locks its number, if it is a denial.
        denials: DenialLimits,
    },
    /// Its phone rings no more.
    Released,
    /// It was refused before it was begun. Kept for the audit; where no other attempt of its id is pending, or has begun
    /// since then, it answers for the id from now on. One that has begun all the same is ended so, and counts for no
    /// limit.
    Refused {
        /// Whom it would have rung, where that was a number.
        number: Option<StoredNumber>,
        /// On which machine.
        node: Arc<str>,
        /// Why.
        failure: Failure,
    },
}

/// The current attempt of an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatestAttempt {
    /// Which one.
    pub attempt: Attempt,
    /// Whom it rings, or was to ring.
    pub number: Option<NumberKey>,
    /// How it stands.
    pub state: AttemptState,
}

/// How a current attempt stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptState {
    /// It is driven by an owner, or waits to be taken up.
    Pending {
        /// How long it may still take.
        left: Duration,
        /// How far it has come.
        progress: Progress,
    },
    /// It has ended.
    Ended {
        /// How.
        outcome: StoredOutcome,
        /// How long ago.
        ago: Duration,
    },
}

/// A pending attempt whose owner is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Which one.
    pub attempt: Attempt,
    /// Whom it rings.
    pub number: NumberKey,
    /// The same for people.
    pub masked: Box<str>,
    /// How long it may still take.
    pub left: Duration,
    /// When the host asked for it.
    pub started: SystemTime,
    /// The backend that has placed it, and its reference, where that is known.
    pub placed: Option<(Box<str>, CallRef)>,
    /// What its user is to press, if that was recorded.
    pub attempts: Option<Arc<StoredAttempts>>,
}
