//! The state of every call, readable by any thread at any time.
//!
//! Calls are kept in shards. The lock of a shard is held for work in memory only. Each change of a call names its
//! attempt, so a late change for an earlier attempt of the same id has no effect.

mod remote;
mod shard;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::call::{
    Attempt, CallId, CallStatus, Failure, FailureReason, NumberHash, PhoneNumber, Progress, StoredOutcome,
};
use crate::clock::{Deadline, Moment};
use crate::sync::Mutex;
pub use remote::{Adopted, AttemptEnd};
use shard::{Calls, Entry, Origin, Shard, Verified};

const SHARDS: usize = 64;

/// Maximum calls, pending and ended. Beyond it the calls that ended first are forgotten early.
pub const MAX_CALLS: usize = 1 << 20;

/// Maximum pending calls. Beyond it new ones fail as Throttled.
pub const MAX_PENDING: usize = 10_000;

/// Leading zero bits of the first generation: JSON readers that use floating-point numbers hold 53 bits.
const GENERATION_SPARE_BITS: u32 = 12;

/// All calls of this process.
pub struct Registry {
    shards: Box<[Shard]>,
    /// The attempt that rings each number. Locked only under the lock of a shard, or alone.
    ringing: Mutex<HashMap<NumberHash, Attempt>>,
    generations: AtomicU64,
    pending: AtomicUsize,
    keep_finished_s: AtomicU32,
    max_pending: usize,
    max_ended_per_shard: usize,
}

/// The result of [`Registry::begin`].
#[derive(Debug, PartialEq)]
pub enum Begun {
    /// A new attempt, to be placed.
    New(Attempt),
    /// A repeat of this attempt, which is pending.
    StillPending(Attempt),
    /// Refused. The refusal is kept as this attempt.
    Refused(Failure, Attempt),
    /// Refused. This attempt of the same id is pending and goes on.
    RefusedRepeat(Failure, Attempt),
}

/// An approval that is about to be used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApprovalToUse {
    /// The attempt, with its generation in the store.
    pub attempt: Attempt,
    /// Identifies the entry of the registry. An entry that was forgotten and read from the store again has another ticket.
    pub ticket: u128,
    /// Whether the store has granted the approval to this ticket.
    pub is_granted: bool,
}

/// The state of a call at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The status for the host.
    pub status: CallStatus,
    /// The progress, while pending.
    pub progress: Option<Progress>,
    /// Why it failed, or why a repeat of it was refused.
    pub failure: Option<Failure>,
}

impl Registry {
    /// An empty registry that forgets ended calls after `keep_finished`.
    pub fn new(keep_finished: Duration) -> Self {
        Self::with_bounds(keep_finished, MAX_PENDING, MAX_CALLS)
    }

    /// As [`Registry::new`], with other maxima of pending calls and of all calls.
    pub fn with_bounds(keep_finished: Duration, max_pending: usize, max_calls: usize) -> Self {
        let registry = Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            ringing: Mutex::default(),
            // Random, so that two processes hardly ever use the same generation.
            generations: AtomicU64::new(RandomState::new().hash_one(std::process::id()) >> GENERATION_SPARE_BITS),
            pending: AtomicUsize::new(0),
            keep_finished_s: AtomicU32::new(0),
            max_pending,
            max_ended_per_shard: (max_calls / SHARDS).max(1),
        };
        registry.keep_finished_for(keep_finished);
        registry
    }

    /// Sets how long ended calls are kept, in whole seconds.
    pub fn keep_finished_for(&self, keep: Duration) {
        let seconds = u32::try_from(keep.as_secs()).unwrap_or(u32::MAX);
        self.keep_finished_s.store(seconds, Ordering::Relaxed);
    }

    /// Begins a call, given its admitted number or the refusal.
    pub fn begin(&self, id: CallId, admitted: Result<PhoneNumber, Failure>, deadline: Deadline) -> Begun {
        let now = deadline.start();
        let mut calls = self.shard(id).calls.lock();
        self.forget_old(&mut calls, now);
        if admitted.is_ok() {
            self.drop_remote(&mut calls, id);
        }
        if let Some(Entry::Pending(pending)) = calls.by_id.get_mut(&id) {
            let generation = pending.origin.generation;
            return pending.repeat(admitted, Attempt { id, generation });
        }
        let attempt = Attempt { id, generation: self.generations.fetch_add(1, Ordering::Relaxed) };
        let origin = Origin::here(attempt.generation);
        let number = admitted.as_ref().ok().map(PhoneNumber::hash);
        match admitted.and_then(|number| self.claim(attempt, &number)) {
            Ok(number) => {
                calls.by_id.insert(id, Entry::pending(origin, number, deadline));
                Begun::New(attempt)
            }
            Err(failure) => {
                calls.by_id.insert(id, Entry::failed(origin, failure.clone(), number));
                self.remember_end(&mut calls, attempt, now);
                Begun::Refused(failure, attempt)
            }
        }
    }

    /// Records the progress of a pending attempt. Returns whether that changed it.
    pub fn advance(&self, attempt: Attempt, progress: Progress) -> bool {
        let mut calls = self.shard(attempt.id).calls.lock();
        match calls.pending(attempt) {
            Some(pending) if progress > pending.progress => {
                pending.progress = progress;
                true
            }
            _ => false,
        }
    }

    /// Ends a pending attempt. Its number stays claimed until [`Registry::release`]. Returns the outcome as it is kept: an
    /// approval after the deadline is kept as DeadlinePassed. Returns `None` if the attempt is not pending.
    pub fn end(&self, attempt: Attempt, outcome: StoredOutcome, now: Moment) -> Option<StoredOutcome> {
        self.end_earlier(attempt, outcome, Duration::ZERO, now)
    }

    /// As [`Registry::end`], for an attempt that ended in another process, `ago` before now.
    pub fn end_earlier(
        &self,
        attempt: Attempt,
        outcome: StoredOutcome,
        ago: Duration,
        now: Moment,
    ) -> Option<StoredOutcome> {
        let shard = self.shard(attempt.id);
        let mut calls = shard.calls.lock();
        let pending = calls.pending(attempt)?;
        let (origin, number, deadline) = (pending.origin, pending.number, pending.deadline);
        let refused_repeat = pending.refused_repeat.take();
        let outcome = match outcome {
            StoredOutcome::Verified(_) if deadline.passed(now) => StoredOutcome::Failed(Failure::new(
                FailureReason::DeadlinePassed,
                "The approval came after the call's deadline.",
            )),
            outcome => outcome,
        };
        let entry = match &outcome {
            StoredOutcome::Verified(_) => {
                let keep = self.keep_finished().saturating_sub(ago);
                Entry::Verified(Box::new(Verified::new(origin, Some(number), (now, keep), refused_repeat)))
            }
            StoredOutcome::Failed(failure) => Entry::failed(origin, failure.clone(), Some(number)),
        };
        calls.by_id.insert(attempt.id, entry);
        self.pending.fetch_sub(1, Ordering::Relaxed);
        self.remember_end(&mut calls, attempt, now);
        shard.ended.notify_all();
        Some(outcome)
    }

    /// Returns the approval of a call that is verified here and kept, to be used up. `new_ticket` returns a random number,
    /// by which this entry of the registry asks the store for the approval.
    pub fn approval_to_use(&self, id: CallId, new_ticket: impl FnOnce() -> u128) -> Option<ApprovalToUse> {
        let mut calls = self.shard(id).calls.lock();
        if calls.status(id, self.keep_finished(), Moment::now) != Some(CallStatus::Success) {
            return None;
        }
        let Some(Entry::Verified(verified)) = calls.by_id.get_mut(&id) else { return None };
        let ticket = *verified.ticket.get_or_insert_with(new_ticket);
        let attempt = Attempt { id, generation: verified.origin.stored };
        Some(ApprovalToUse { attempt, ticket, is_granted: verified.is_granted })
    }

    /// Records that the store granted an approval to the ticket of its entry.
    pub fn grant(&self, approval: &ApprovalToUse) {
        let mut calls = self.shard(approval.attempt.id).calls.lock();
        if let Some(Entry::Verified(verified)) = calls.by_id.get_mut(&approval.attempt.id)
            && verified.ticket == Some(approval.ticket)
        {
            verified.is_granted = true;
        }
    }

    /// Uses up an approval: from then on its call has failed as [`FailureReason::AlreadyUsed`]. Returns true in one thread
    /// only.
    pub fn use_up(&self, approval: &ApprovalToUse) -> bool {
        let mut calls = self.shard(approval.attempt.id).calls.lock();
        let Some(entry) = calls.by_id.get_mut(&approval.attempt.id) else { return false };
        let Entry::Verified(verified) = entry else { return false };
        if verified.ticket != Some(approval.ticket) {
            return false;
        }
        let failure = Failure::new(
            FailureReason::AlreadyUsed,
            "The approval has been used: Success is returned once for each call (call.single_use).",
        );
        *entry = Entry::failed(verified.origin, failure, verified.number);
        true
    }

    /// Returns whether this attempt is pending here.
    pub fn is_pending(&self, attempt: Attempt) -> bool {
        self.shard(attempt.id).calls.lock().pending(attempt).is_some()
    }

    /// Releases the attempt's number: its phone no longer rings.
    pub fn release(&self, attempt: Attempt, number: NumberHash) {
        let mut ringing = self.ringing.lock();
        if ringing.get(&number) == Some(&attempt) {
            ringing.remove(&number);
        }
    }

    /// Returns the status of a call, `None` if it is unknown or forgotten.
    pub fn status(&self, id: CallId) -> Option<CallStatus> {
        self.status_at(id, Moment::now)
    }

    /// As [`Registry::status`], with the caller's clocks. They are read only if the call is verified.
    pub fn status_at(&self, id: CallId, now: impl FnOnce() -> Moment) -> Option<CallStatus> {
        self.shard(id).calls.lock().status(id, self.keep_finished(), now)
    }

    /// Like [`Registry::status`], but waits for the end of a pending call: until `until`, or until `is_over` is set and
    /// [`Registry::wake`] is called.
    pub fn wait(&self, id: CallId, until: Instant, is_over: &AtomicBool) -> Option<CallStatus> {
        self.wait_while(id, until, |_| true, || is_over.load(Ordering::Acquire))
    }

    /// Wakes all waiting callers, so that they check whether their wait is over.
    pub fn wake(&self) {
        for shard in &self.shards {
            // The lock ensures that no caller is between that check and its wait.
            drop(shard.calls.lock());
            shard.ended.notify_all();
        }
    }

    /// As [`Registry::wait`], for one attempt. Returns `None` if another attempt has taken its place.
    pub fn wait_for(&self, attempt: Attempt, until: Instant) -> Option<CallStatus> {
        self.wait_while(attempt.id, until, |entry| entry.origin().generation == attempt.generation, || false)
    }

    fn wait_while(
        &self,
        id: CallId,
        until: Instant,
        is_awaited: impl Fn(&Entry) -> bool,
        is_over: impl Fn() -> bool,
    ) -> Option<CallStatus> {
        let shard = self.shard(id);
        let mut calls = shard.calls.lock();
        let mut in_time = true;
        loop {
            let status = match calls.by_id.get(&id) {
                Some(entry) if is_awaited(entry) => calls.status(id, self.keep_finished(), Moment::now),
                _ => None,
            };
            if status != Some(CallStatus::Pending) || !in_time || is_over() {
                return status;
            }
            in_time = !shard.ended.wait_until(&mut calls, until).timed_out();
        }
    }

    /// Returns what is known of a call.
    pub fn snapshot(&self, id: CallId) -> Option<Snapshot> {
        let calls = self.shard(id).calls.lock();
        let status = calls.status(id, self.keep_finished(), Moment::now)?;
        let (progress, failure) = match calls.by_id.get(&id)? {
            Entry::Pending(pending) => (Some(pending.progress), pending.refused_repeat.as_deref()),
            Entry::Verified(verified) => (None, verified.refused_repeat.as_deref()),
            Entry::Failed(failed) => (None, Some(&failed.failure)),
        };
        Some(Snapshot { status, progress, failure: failure.cloned() })
    }

    /// Forgets calls that ended longer ago than they are kept.
    pub fn sweep(&self, now: Moment) {
        for shard in &self.shards {
            self.forget_old(&mut shard.calls.lock(), now);
        }
    }

    /// Returns the number of calls, pending and ended.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.calls.lock().by_id.len()).sum()
    }

    /// Returns the number of pending calls.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Returns whether there is no call.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn keep_finished(&self) -> Duration {
        Duration::from_secs(self.keep_finished_s.load(Ordering::Relaxed).into())
    }

    #[expect(clippy::indexing_slicing, reason = "there are SHARDS shards, and the index is below SHARDS")]
    fn shard(&self, id: CallId) -> &Shard {
        // The last byte of a GUID is among the most random ones.
        &self.shards[usize::from(id.to_bytes()[15]) % SHARDS]
    }

    /// Claims the number for the attempt, unless another attempt rings it or too many calls are pending.
    fn claim(&self, attempt: Attempt, number: &PhoneNumber) -> Result<NumberHash, Failure> {
        let hash = number.hash();
        let mut ringing = self.ringing.lock();
        if ringing.contains_key(&hash) {
            return Err(Failure::new(
                FailureReason::AlreadyInProgress,
                format_args!("Another request is ringing {number} now."),
            ));
        }
        if self.pending.load(Ordering::Relaxed) >= self.max_pending {
            return Err(Failure::new(
                FailureReason::Throttled,
                format_args!("{} calls are in progress, the most there may be. Try again later.", self.max_pending),
            ));
        }
        self.pending.fetch_add(1, Ordering::Relaxed);
        ringing.insert(hash, attempt);
        Ok(hash)
    }

    fn remember_end(&self, calls: &mut Calls, attempt: Attempt, now: Moment) {
        calls.by_end.push_back((attempt, now));
        if calls.by_end.len() > self.max_ended_per_shard {
            calls.forget_oldest();
        }
    }

    fn forget_old(&self, calls: &mut Calls, now: Moment) {
        let keep = self.keep_finished();
        while calls.by_end.front().is_some_and(|(_, end)| now.since(*end) >= keep) {
            calls.forget_oldest();
        }
    }
}
