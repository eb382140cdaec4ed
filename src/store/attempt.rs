//! Attempts, as callers pass them to a store and as a store returns them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use phonegate_approval::attempts::StoredAttempts;
use uuid::Uuid;

use super::DenialLimits;
use crate::call::{
    Attempt, CallEvent, CallRef, Country, Failure, HashedNumber, KeyFingerprint, NumberHash, Outcome, PhoneNumber,
    Progress, StoredOutcome,
};

/// A process instance that drives attempts (S9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner(pub Uuid);

/// A number, as stores keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredNumber {
    /// The hash of the number, extension included.
    pub hash: NumberHash,
    /// The hash of its line.
    pub line_hash: NumberHash,
    /// The fingerprint of the secret with which `hash` and `line_hash` were hashed.
    pub fingerprint: KeyFingerprint,
    /// The hashes with the other secrets of the configuration: the store may have the number under one of them (S14).
    pub otherwise: Box<[HashedNumber]>,
    /// The number, masked.
    pub masked: Box<str>,
    /// The whole number, if `audit.full_numbers` is set.
    pub full: Option<Box<str>>,
    /// Its country. `None` if it belongs to no country.
    pub country: Option<Country>,
}

impl StoredNumber {
    /// Converts a number. `full`: the whole number is kept, too.
    pub fn new(number: &PhoneNumber, full: bool) -> Self {
        let whole = || match number.extension() {
            Some(extension) => format!("{}x{extension}", number.e164()).into(),
            None => number.e164().into(),
        };
        let masked = number.to_string().into();
        let HashedNumber { fingerprint, number: hash, line: line_hash } = number.hashed();
        let otherwise = number.hashed_otherwise().into();
        let country = number.country().copied();
        Self { hash, line_hash, fingerprint, otherwise, masked, full: full.then(whole), country }
    }

    /// Returns the fingerprints of all secrets with which the number was hashed, the current one first.
    pub(super) fn fingerprints(&self) -> impl Iterator<Item = KeyFingerprint> {
        std::iter::once(self.fingerprint).chain(self.otherwise.iter().map(|hashed| hashed.fingerprint))
    }
}

/// An attempt that is about to begin.
#[derive(Debug, Clone)]
pub struct NewAttempt {
    /// Its id and generation.
    pub attempt: Attempt,
    /// When the host requested it.
    pub started: SystemTime,
    /// How long it may take from its begin.
    pub deadline: Duration,
    /// The number to call.
    pub number: StoredNumber,
    /// The process that drives it.
    pub owner: Owner,
    /// The name of the machine.
    pub node: Arc<str>,
}

/// The end of an attempt, for [`CallStore::end`](super::CallStore::end).
#[derive(Debug, Clone)]
pub struct EndRequest {
    /// Its id and generation.
    pub attempt: Attempt,
    /// The owner that it must have.
    pub owner: Owner,
    /// When it ended.
    pub at: SystemTime,
    /// Its outcome.
    pub outcome: Outcome,
    /// Whether its number is released: its phone certainly does not ring any more.
    pub release: bool,
    /// The limits by which a denial locks the number.
    pub denials: DenialLimits,
}

/// The result of [`CallStore::end`](super::CallStore::end).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Nothing changed: the attempt had ended before, belongs to another owner, or its approval came after the deadline.
    No,
    /// It ended with the given outcome.
    Yes {
        /// The end of the lock of its number, if this end caused one.
        locked_until: Option<SystemTime>,
    },
}

impl Ended {
    /// The attempt ended with the given outcome, without a lock.
    pub const UNLOCKED: Self = Self::Yes { locked_until: None };

    /// Returns whether the attempt ended with the given outcome.
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
    pub number: NumberHash,
    /// The number, masked.
    pub masked: Box<str>,
    /// The end of the lock.
    pub until: SystemTime,
}

/// A change of an attempt, with its time.
#[derive(Debug, Clone)]
pub struct RecordedChange {
    /// Its id and generation.
    pub attempt: Attempt,
    /// When it happened, by the wall clock of this machine.
    pub at: SystemTime,
    /// What happened.
    pub change: AttemptChange,
}

impl RecordedChange {
    /// Returns how long it has waited to be recorded.
    pub(super) fn waited(&self) -> Duration {
        SystemTime::now().duration_since(self.at).unwrap_or_default()
    }
}

/// An event of an attempt, as it is recorded.
#[derive(Debug, Clone)]
pub enum AttemptChange {
    /// A step for the audit. `Ringing` and `Answered` are also the attempt's progress. The backend of `BackendRefused` is
    /// the attempt's backend until another one has placed it.
    Step {
        /// What happened.
        event: CallEvent,
        /// The backend.
        backend: Option<Arc<str>>,
        /// A description, without personal data.
        text: Option<Box<str>>,
    },
    /// A backend has placed it. Also adds the step `placed`.
    Placed {
        /// The backend.
        backend: Arc<str>,
        /// The backend's reference to the call.
        reference: CallRef,
        /// What the user must press, if the call outlives its process. Secret: stored only while the attempt is pending
        /// (S18).
        attempts: Option<Arc<StoredAttempts>>,
    },
    /// It has failed: as [`CallStore::end`](super::CallStore::end).
    Ended {
        /// The owner that it must have.
        owner: Owner,
        /// Why it failed.
        failure: Failure,
        /// Whether its number is released.
        release: bool,
        /// The limits by which a denial locks the number.
        denials: DenialLimits,
    },
    /// Its phone does not ring any more: its number is released.
    Released,
    /// It was refused before it began. Recorded for the audit, and as the latest attempt of its id, unless another one is
    /// pending or has begun since (S6). If it has begun nevertheless, it is withdrawn: it ends, and counts for no limit
    /// (S7).
    Refused {
        /// The number that it would have called. `None` if the host gave no valid one.
        number: Option<StoredNumber>,
        /// The name of the machine.
        node: Arc<str>,
        /// Why it was refused.
        failure: Failure,
    },
}

/// The latest attempt of an id, which answers for it (S6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatestAttempt {
    /// Its id and generation.
    pub attempt: Attempt,
    /// The number that it calls. `None` if the host gave no valid one.
    pub number: Option<NumberHash>,
    /// Its state.
    pub state: AttemptState,
}

/// The state of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptState {
    /// An owner drives it, or it waits to be claimed.
    Pending {
        /// How long it may still take.
        left: Duration,
        /// How far it has come.
        progress: Progress,
    },
    /// It has ended.
    Ended {
        /// Its outcome.
        outcome: StoredOutcome,
        /// Its age since then. The greatest possible one if it is not known (S10).
        ago: Duration,
    },
}

/// A pending attempt whose owner's lease has expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Its id and generation.
    pub attempt: Attempt,
    /// The number that it calls.
    pub number: NumberHash,
    /// The number, masked.
    pub masked: Box<str>,
    /// How long it may still take.
    pub left: Duration,
    /// When the host requested it.
    pub started: SystemTime,
    /// The backend that has placed it and its reference, if they were recorded.
    pub placed: Option<(Box<str>, CallRef)>,
    /// What its user must press, if that was recorded.
    pub attempts: Option<Arc<StoredAttempts>>,
}
