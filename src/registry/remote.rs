//! Calls of the store that other processes drive, or have driven.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Registry;
use super::shard::{Calls, Entry, Origin, Verified};
use crate::call::{Attempt, CallId, CallStatus, Failure, NumberHash, StoredOutcome};
use crate::clock::{Deadline, Moment};

/// The result of [`Registry::adopt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// It was not known, and is pending here now.
    Pending,
    /// It was pending here already.
    Known,
    /// Another attempt of its id is pending here, or was refused for another number. The registry keeps that attempt.
    Overtaken,
    /// It has ended, as far as this process knows.
    Ended,
}

/// The final state of an attempt, as read from the store.
pub struct AttemptEnd {
    /// The attempt.
    pub attempt: Attempt,
    /// The number that it rang, or was to ring.
    pub number: Option<NumberHash>,
    /// The outcome.
    pub outcome: StoredOutcome,
    /// The time since its end.
    pub ago: Duration,
}

impl Registry {
    /// Marks a pending attempt as an alias of the one of this generation in the store, which another process drives.
    pub fn alias_to(&self, attempt: Attempt, stored: u64) {
        let mut calls = self.shard(attempt.id).calls.lock();
        if let Some(origin) = calls.by_id.get_mut(&attempt.id).map(Entry::origin_mut)
            && origin.generation == attempt.generation
        {
            (origin.stored, origin.is_remote) = (stored, true);
        }
    }

    /// Adds a pending attempt of the store. This process mirrors it if it `is_remote`, and drives it otherwise.
    pub fn adopt(&self, attempt: Attempt, number: NumberHash, deadline: Deadline, is_remote: bool) -> Adopted {
        let mut calls = self.shard(attempt.id).calls.lock();
        match calls.by_id.get_mut(&attempt.id) {
            Some(entry) if entry.origin().stored == attempt.generation => match entry {
                Entry::Pending(pending) => {
                    pending.origin.is_remote &= is_remote;
                    Adopted::Known
                }
                _ => Adopted::Ended,
            },
            Some(Entry::Pending(_)) => Adopted::Overtaken,
            Some(entry) if entry.is_of_another_number(Some(number)) => Adopted::Overtaken,
            _ => {
                self.pending.fetch_add(1, Ordering::Relaxed);
                self.ringing.lock().entry(number).or_insert(attempt);
                let origin = Origin { is_remote, ..Origin::here(attempt.generation) };
                calls.by_id.insert(attempt.id, Entry::pending(origin, number, deadline));
                Adopted::Pending
            }
        }
    }

    /// Forgets a pending attempt that another process drives. After that, only the store knows whether a request
    /// repeats it.
    pub(super) fn drop_remote(&self, calls: &mut Calls, id: CallId) {
        if let Some(Entry::Pending(pending)) = calls.by_id.get(&id)
            && pending.origin.is_remote
        {
            let attempt = Attempt { id, generation: pending.origin.generation };
            self.release(attempt, pending.number);
            calls.by_id.remove(&id);
            self.pending.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Records the final state of an id's latest attempt, as read from the store. Returns false, and changes nothing, if the
    /// local entry changed since the read (`known` is its generation in the store at that time), or refused another number.
    pub fn adopt_end(&self, ended: AttemptEnd, now: Moment, known: Option<u64>) -> bool {
        let AttemptEnd { attempt, number, outcome, ago } = ended;
        let mut calls = self.shard(attempt.id).calls.lock();
        let is_kept = |entry: &Entry| {
            matches!(entry, Entry::Pending(_))
                || Some(entry.origin().stored) != known
                || entry.is_of_another_number(number)
        };
        if calls.by_id.get(&attempt.id).is_some_and(is_kept) {
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

    /// Returns the attempt of an id that is verified here and kept, with its generation in the store.
    pub fn approved(&self, id: CallId) -> Option<Attempt> {
        let calls = self.shard(id).calls.lock();
        let is_kept = calls.status(id, self.keep_finished(), Moment::now) == Some(CallStatus::Success);
        let entry = calls.by_id.get(&id).filter(|_| is_kept)?;
        Some(Attempt { id, generation: entry.origin().stored })
    }

    /// Fails an attempt that is verified here, because the store has lost its approval. Returns false, and changes nothing,
    /// if another attempt has taken its place.
    pub fn lose_approval(&self, approved: Attempt, failure: Failure) -> bool {
        let mut calls = self.shard(approved.id).calls.lock();
        let Some(entry) = calls.by_id.get_mut(&approved.id) else { return false };
        let Entry::Verified(verified) = entry else { return false };
        if verified.origin.stored != approved.generation {
            return false;
        }
        *entry = Entry::failed(verified.origin, failure, verified.number);
        true
    }

    /// Returns the generation in the store of the attempt that is known here.
    pub fn stored_generation(&self, id: CallId) -> Option<u64> {
        self.shard(id).calls.lock().by_id.get(&id).map(|entry| entry.origin().stored)
    }

    /// Forgets a pending attempt, which another process owns: the next poll reads the store.
    pub fn forget(&self, attempt: Attempt, number: NumberHash) {
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

    /// Forgets successes, so that the next poll reads from the store whether they are still valid.
    pub fn forget_successes(&self) {
        for shard in &self.shards {
            shard.calls.lock().by_id.retain(|_, entry| !matches!(entry, Entry::Verified(_)));
        }
    }
}
