//! What lies behind one lock: the calls of a shard, by id, and in the order of their ends.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::Begun;
use crate::call::{Attempt, CallId, CallStatus, Failure, FailureReason, NumberKey, PhoneNumber, Progress};
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

pub(super) struct Entry {
    pub(super) generation: u64,
    /// The attempt's generation in the store, which differs where it stands for one of another process.
    pub(super) stored: u64,
    /// Another process drives it, and this one watches.
    pub(super) is_elsewhere: bool,
    pub(super) state: State,
}

pub(super) enum State {
    Pending(Box<Pending>),
    Verified(Verified),
    Failed(Failed),
}

pub(super) struct Failed {
    pub(super) failure: Failure,
    /// Whom it was to ring, where that was a number that may be called.
    pub(super) number: Option<NumberKey>,
}

pub(super) struct Verified {
    pub(super) at: Moment,
    /// How long it was to be kept then: a gate that is started anew cannot bring it back.
    pub(super) keep: Duration,
    pub(super) refused_repeat: Option<Box<Failure>>,
}

pub(super) struct Pending {
    pub(super) number: NumberKey,
    pub(super) deadline: Deadline,
    pub(super) progress: Progress,
    /// Why a repeat of this pending call was refused: the host will ask.
    pub(super) refused_repeat: Option<Box<Failure>>,
}

impl Entry {
    /// Was it refused, and not for this number? Then nothing that becomes of this number answers for it.
    pub(super) fn is_of_another_number(&self, number: Option<NumberKey>) -> bool {
        matches!(&self.state, State::Failed(failed) if failed.number.is_none() || failed.number != number)
    }
}

impl State {
    pub(super) fn pending(number: NumberKey, deadline: Deadline) -> Self {
        Self::Pending(Box::new(Pending { number, deadline, progress: Progress::Dialling, refused_repeat: None }))
    }
}

impl Calls {
    pub(super) fn insert(&mut self, attempt: Attempt, state: State) {
        let Attempt { id, generation } = attempt;
        self.by_id.insert(id, Entry { generation, stored: generation, is_elsewhere: false, state });
    }

    pub(super) fn pending(&mut self, attempt: Attempt) -> Option<&mut Pending> {
        match self.by_id.get_mut(&attempt.id)? {
            Entry { generation, state: State::Pending(pending), .. } if *generation == attempt.generation => {
                Some(pending)
            }
            _ => None,
        }
    }

    pub(super) fn status(&self, id: CallId, keep: Duration, now: impl FnOnce() -> Moment) -> Option<CallStatus> {
        match &self.by_id.get(&id)?.state {
            State::Pending(_) => Some(CallStatus::Pending),
            State::Failed(_) => Some(CallStatus::Failed),
            State::Verified(verified) if now().since(verified.at) < keep.min(verified.keep) => {
                Some(CallStatus::Success)
            }
            State::Verified(_) => None,
        }
    }

    pub(super) fn forget_oldest(&mut self) {
        let Some((attempt, _)) = self.by_end.pop_front() else { return };
        if self.by_id.get(&attempt.id).is_some_and(|entry| entry.generation == attempt.generation) {
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
