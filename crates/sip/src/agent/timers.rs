//! Timers of calls, registrations and transactions.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::event::{CallId, RegistrationId, RequestId};
use crate::transaction::ClientKey;

/// The owner of a timer. Each has at most one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TimerKey {
    Client(ClientKey),
    Server(RequestId),
    Call(CallId),
    Registration(RegistrationId),
}

/// The timers of an agent, in order of time.
#[derive(Default)]
pub(crate) struct Timers {
    by_time: BTreeSet<(Duration, TimerKey)>,
    by_owner: HashMap<TimerKey, Duration>,
}

impl Timers {
    /// Sets the timer of this owner, or removes it if `at` is `None`.
    pub(crate) fn set(&mut self, owner: TimerKey, at: Option<Duration>) {
        let before = match at {
            Some(at) => self.by_owner.insert(owner, at),
            None => self.by_owner.remove(&owner),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, owner));
        }
        if let Some(at) = at {
            self.by_time.insert((at, owner));
        }
    }

    /// Returns the time of the earliest timer.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Removes and returns the timers that are due, earliest first.
    pub(crate) fn take_due(&mut self, now: Duration) -> Vec<TimerKey> {
        let due: Vec<_> = self.by_time.iter().take_while(|(at, _)| *at <= now).map(|(_, owner)| *owner).collect();
        for owner in &due {
            self.set(*owner, None);
        }
        due
    }

    /// Returns the number of timers.
    pub(crate) fn len(&self) -> usize {
        self.by_time.len()
    }
}
