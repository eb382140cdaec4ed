//! What a registry holds of calls that the store has and other processes drive, or have driven.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Registry;
use super::shard::{Calls, Entry, Origin, Verified};
use crate::call::{Attempt, CallId, NumberKey, StoredOutcome};
use crate::clock::{Deadline, Moment};

/// What became of [`Registry::adopt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// It is pending here now.
    Pending,
    /// It was already.
    Known,
    /// Another attempt of its id is pending here, or was refused for another number: that one answers for the id here.
    Overtaken,
    /// This process knows of its end, or of that of a later one.
    Ended,
}

/// How an attempt ended, as the store has it.
pub struct AttemptEnd {
    /// Which one.
    pub attempt: Attempt,
    /// Whom it rang, or was to ring.
    pub number: Option<NumberKey>,
    /// How.
    pub outcome: StoredOutcome,
    /// How long ago.
    pub ago: Duration,
}

impl Registry {
    /// Lets a pending attempt stand for the one that the store has for its id, which another process drives.
    pub fn alias_to(&self, attempt: Attempt, stored: u64) {
        let mut calls = self.shard(attempt.id).calls.lock();
        if let Some(origin) = calls.by_id.get_mut(&attempt.id).map(Entry::origin_mut)
            && origin.generation == attempt.generation
        {
            (origin.stored, origin.is_elsewhere) = (stored, true);
        }
    }

    /// Takes in a pending attempt that the store has, and that this process drives from now on or, if it `is_elsewhere`,
    /// watches.
    pub fn adopt(&self, attempt: Attempt, number: NumberKey, deadline: Deadline, is_elsewhere: bool) -> Adopted {
        let mut calls = self.shard(attempt.id).calls.lock();
        match calls.by_id.get_mut(&attempt.id) {
            Some(entry) if entry.origin().stored == attempt.generation => match entry {
                Entry::Pending(pending) => {
                    pending.origin.is_elsewhere &= is_elsewhere;
                    Adopted::Known
                }
                _ => Adopted::Ended,
            },
            Some(Entry::Pending(_)) => Adopted::Overtaken,
            Some(entry) if entry.is_of_another_number(Some(number)) => Adopted::Overtaken,
            _ => {
                self.pending.fetch_add(1, Ordering::Relaxed);
                self.ringing.lock().entry(number).or_insert(attempt);
                let origin = Origin { is_elsewhere, ..Origin::here(attempt.generation) };
                calls.by_id.insert(attempt.id, Entry::pending(origin, number, deadline));
                Adopted::Pending
            }
        }
    }

    /// Lets go of what another process drives: whether a repeat is one of that, the store alone can tell.
    pub(super) fn let_go(&self, calls: &mut Calls, id: CallId) {
        if let Some(Entry::Pending(pending)) = calls.by_id.get(&id)
            && pending.origin.is_elsewhere
        {
            let attempt = Attempt { id, generation: pending.origin.generation };
            self.release(attempt, pending.number);
            calls.by_id.remove(&id);
            self.pending.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Takes in the end of an attempt, which the store has as the last one of its id. False where this process knows of
    /// another one by now than of `known`, of which it knew when the store was asked, or has refused another number.
    pub fn adopt_end(&self, ended: AttemptEnd, now: Moment, known: Option<u64>) -> bool {
        let AttemptEnd { attempt, number, outcome, ago } = ended;
        let mut calls = self.shard(attempt.id).calls.lock();
        let stands = |entry: &Entry| {
            matches!(entry, Entry::Pending(_))
                || Some(entry.origin().stored) != known
                || entry.is_of_another_number(number)
        };
        if calls.by_id.get(&attempt.id).is_some_and(stands) {
            return false;
        }
        let keep = self.keep_finished().saturating_sub(ago);
        let origin = Origin::here(attempt.generation);
        let entry = match outcome {
            StoredOutcome::Verified(_) => Entry::Verified(Box::new(Verified::new(origin, number, (now, keep), None))),
            StoredOutcome::Failed(failure) => Entry::failed(origin, failure, number),
        };
        calls.by_id.insert(attempt.id, entry);
        self.remember_end(&mut calls, attempt, now);
        true
    }

    /// The generation that the store has for the call as it is known here.
    pub fn stored_generation(&self, id: CallId) -> Option<u64> {
        self.shard(id).calls.lock().by_id.get(&id).map(|entry| entry.origin().stored)
    }

    /// Forgets an attempt that is pending in another process alone: the next question for it looks into the store.
    pub fn forget(&self, attempt: Attempt, number: NumberKey) {
        let shard = self.shard(attempt.id);
        let mut calls = shard.calls.lock();
        if calls.pending(attempt).is_some() {
            calls.by_id.remove(&attempt.id);
            self.pending.fetch_sub(1, Ordering::Relaxed);
            shard.ended.notify_all();
        }
        drop(calls);
        self.release(attempt, number);
    }

    /// Forgets successes, which the store has: whoever is asked next looks there whether they hold still.
    pub fn forget_successes(&self) {
        for shard in &self.shards {
            shard.calls.lock().by_id.retain(|_, entry| !matches!(entry, Entry::Verified(_)));
        }
    }
}
