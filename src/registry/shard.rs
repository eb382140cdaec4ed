//! The calls behind one lock, by id and in the order of their ends.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::Begun;
use crate::call::{Attempt, CallId, CallStatus, Failure, FailureReason, NumberHash, PhoneNumber, Progress};
use crate::clock::{Deadline, Moment};
use crate::sync::{Condvar, Mutex};

#[derive(Default)]
pub(super) struct Shard {
    pub(super) calls: Mutex<Calls>,
    pub(super) ended: Condvar,
}

#[derive(Default)]
pub(super) struct Calls {
    pub(super) by_id: HashMap<CallId, Entry, foldhash::fast::RandomState>,
    /// Ended attempts in the order of their end: the first is forgotten first.
    pub(super) by_end: VecDeque<(Attempt, Moment)>,
}

/// The state of an id's latest attempt. The variant is its status, so that a poll reads only the map, unless the call
/// is verified.
pub(super) enum Entry {
    Pending(Box<Pending>),
    Verified(Box<Verified>),
    Failed(Box<Failed>),
}

/// Identifies the attempt in this process and in the store.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub(super) generation: u64,
    /// The attempt's generation in the store. Differs from `generation` if the entry mirrors an attempt of another
    /// process.
    pub(super) stored: u64,
    /// Whether another process drives it and this one mirrors it.
    pub(super) is_remote: bool,
}

pub(super) struct Failed {
    pub(super) origin: Origin,
    pub(super) failure: Failure,
    /// The number that it was to ring, if it may be called.
    pub(super) number: Option<NumberHash>,
}

pub(super) struct Verified {
    pub(super) origin: Origin,
    /// The number that approved, if it is known here.
    pub(super) number: Option<NumberHash>,
    pub(super) at: Moment,
    /// How long the gate that recorded it keeps calls. A later gate cannot keep it longer.
    pub(super) keep: Duration,
    pub(super) refused_repeat: Option<Box<Failure>>,
    /// Identifies this entry to the store, once it has asked for the approval.
    pub(super) ticket: Option<u128>,
    /// Whether the store granted the approval to the ticket.
    pub(super) is_granted: bool,
}

pub(super) struct Pending {
    pub(super) origin: Origin,
    pub(super) number: NumberHash,
    pub(super) deadline: Deadline,
    pub(super) progress: Progress,
    /// Why a repeat of this pending call was refused, for the host's question about it.
    pub(super) refused_repeat: Option<Box<Failure>>,
}

impl Origin {
    /// An attempt of this process.
    pub(super) fn here(generation: u64) -> Self {
        Self { generation, stored: generation, is_remote: false }
    }
}

impl Verified {
    /// An approval that is kept for `keep` from `at`.
    pub(super) fn new(
        origin: Origin,
        number: Option<NumberHash>,
        (at, keep): (Moment, Duration),
        refused_repeat: Option<Box<Failure>>,
    ) -> Self {
        Self { origin, number, at, keep, refused_repeat, ticket: None, is_granted: false }
    }
}

impl Entry {
    pub(super) fn pending(origin: Origin, number: NumberHash, deadline: Deadline) -> Self {
        Self::Pending(Box::new(Pending {
            origin,
            number,
            deadline,
            progress: Progress::Dialling,
            refused_repeat: None,
        }))
    }

    pub(super) fn failed(origin: Origin, failure: Failure, number: Option<NumberHash>) -> Self {
        Self::Failed(Box::new(Failed { origin, failure, number }))
    }

    pub(super) fn origin(&self) -> &Origin {
        match self {
            Self::Pending(pending) => &pending.origin,
            Self::Verified(verified) => &verified.origin,
            Self::Failed(failed) => &failed.origin,
        }
    }

    pub(super) fn origin_mut(&mut self) -> &mut Origin {
        match self {
            Self::Pending(pending) => &mut pending.origin,
            Self::Verified(verified) => &mut verified.origin,
            Self::Failed(failed) => &mut failed.origin,
        }
    }

    /// Returns whether it failed for another number than this one. An outcome of this number is then not its outcome.
    pub(super) fn is_of_another_number(&self, number: Option<NumberHash>) -> bool {
        matches!(self, Self::Failed(failed) if failed.number.is_none() || failed.number != number)
    }
}

impl Calls {
    pub(super) fn pending(&mut self, attempt: Attempt) -> Option<&mut Pending> {
        match self.by_id.get_mut(&attempt.id)? {
            Entry::Pending(pending) if pending.origin.generation == attempt.generation => Some(pending),
            _ => None,
        }
    }

    pub(super) fn status(&self, id: CallId, keep: Duration, now: impl FnOnce() -> Moment) -> Option<CallStatus> {
        match self.by_id.get(&id)? {
            Entry::Pending(_) => Some(CallStatus::Pending),
            Entry::Failed(_) => Some(CallStatus::Failed),
            Entry::Verified(verified) if now().since(verified.at) < keep.min(verified.keep) => {
                Some(CallStatus::Success)
            }
            Entry::Verified(_) => None,
        }
    }

    pub(super) fn forget_oldest(&mut self) {
        let Some((attempt, _)) = self.by_end.pop_front() else { return };
        if self.by_id.get(&attempt.id).is_some_and(|entry| entry.origin().generation == attempt.generation) {
            self.by_id.remove(&attempt.id);
        }
    }
}

impl Pending {
    pub(super) fn repeat(&mut self, admitted: Result<PhoneNumber, Failure>, attempt: Attempt) -> Begun {
        let failure = match admitted {
            Ok(number) if number.is_known_as(self.number) => return Begun::StillPending(attempt),
            Ok(_) => Failure::new(
                FailureReason::AlreadyInProgress,
                "This request is already calling another number; that call goes on.",
            ),
            Err(failure) => failure,
        };
        self.refused_repeat = Some(Box::new(failure.clone()));
        Begun::RefusedRepeat(failure, attempt)
    }
}
