//! The state of every call, readable by any thread at any time.
//!
//! Calls lie in shards, each behind a lock that is held for memory work alone. Two things change a call once it has
//! begun: [`Registry::advance`] and [`Registry::settle`]. Both name the attempt, so what arrives late for an earlier
//! attempt of the same id changes nothing.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::call::{Attempt, CallId, CallStatus, Failure, FailureReason, NumberKey, Outcome, PhoneNumber, Progress};
use crate::clock::{Deadline, Moment};
use crate::sync::{Condvar, Mutex};

const SHARDS: usize = 64;

/// The most calls that are known at once, in all; beyond it the oldest ended ones are forgotten early.
pub const MAX_CALLS: usize = 1 << 20;

/// The most calls that are pending at once; beyond it new ones are Throttled.
pub const MAX_PENDING: usize = 10_000;

/// So many bits of a generation are zero when counting begins: every reader of JSON holds the other 52.
const GENERATION_SPARE_BITS: u32 = 12;

/// All calls of this process.
pub struct Registry {
    shards: Box<[Shard]>,
    /// Who rings which number. Taken only under a shard's lock, or alone.
    ringing: Mutex<HashMap<NumberKey, Attempt>>,
    generations: AtomicU64,
    pending: AtomicUsize,
    keep_finished_s: AtomicU32,
    max_pending: usize,
    max_ended_per_shard: usize,
}

#[derive(Default)]
struct Shard {
    calls: Mutex<Calls>,
    ended: Condvar,
}

#[derive(Default)]
struct Calls {
    by_id: HashMap<CallId, Entry, foldhash::fast::RandomState>,
    /// Ended attempts in the order of their end: the first is forgotten first.
    by_end: VecDeque<(Attempt, Moment)>,
}

struct Entry {
    generation: u64,
    /// The attempt's generation in the store, which differs where it stands for one of another process.
    stored: u64,
    /// Another process drives it, and this one watches.
    is_elsewhere: bool,
    state: State,
}

/// What became of [`Registry::adopt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// It is pending here now, or was already.
    Pending,
    /// Another attempt of its id is pending here.
    Overtaken,
    /// This process knows of its end, or of that of a later one.
    Ended,
}

enum State {
    Pending(Box<Pending>),
    Verified(Verified),
    Failed(Failure),
}

struct Verified {
    at: Moment,
    /// How long it was to be kept then: a gate that is started anew cannot bring it back.
    keep: Duration,
    refused_repeat: Option<Box<Failure>>,
}

struct Pending {
    number: NumberKey,
    deadline: Deadline,
    progress: Progress,
    /// Why a repeat of this pending call was refused: the host will ask.
    refused_repeat: Option<Box<Failure>>,
}

/// What became of [`Registry::begin`].
#[derive(Debug, PartialEq)]
pub enum Begun {
    /// A new attempt: place it.
    New(Attempt),
    /// A repeat of this attempt, which is pending: nothing to do.
    StillPending(Attempt),
    /// Refused, as this attempt, which is remembered.
    Refused(Failure, Attempt),
    /// Refused, while this attempt of the same id is pending and goes on.
    RefusedRepeat(Failure, Attempt),
}

/// What one look at a call shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// What the host is told.
    pub status: CallStatus,
    /// How far it has come, while pending.
    pub progress: Option<Progress>,
    /// Why it failed, or why a repeat of it was refused.
    pub failure: Option<Failure>,
}

impl Registry {
    /// An empty registry that forgets ended calls after `keep_finished`.
    pub fn new(keep_finished: Duration) -> Self {
        Self::with_bounds(keep_finished, MAX_PENDING, MAX_CALLS)
    }

    /// As [`Registry::new`], with bounds of one's own.
    pub fn with_bounds(keep_finished: Duration, max_pending: usize, max_calls: usize) -> Self {
        let registry = Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            ringing: Mutex::default(),
            // Another process counts from elsewhere.
            generations: AtomicU64::new(RandomState::new().hash_one(std::process::id()) >> GENERATION_SPARE_BITS),
            pending: AtomicUsize::new(0),
            keep_finished_s: AtomicU32::new(0),
            max_pending,
            max_ended_per_shard: (max_calls / SHARDS).max(1),
        };
        registry.keep_finished_for(keep_finished);
        registry
    }

    /// Sets after what time ended calls are forgotten, in whole seconds.
    pub fn keep_finished_for(&self, keep: Duration) {
        let seconds = u32::try_from(keep.as_secs()).unwrap_or(u32::MAX);
        self.keep_finished_s.store(seconds, Ordering::Relaxed);
    }

    /// Begins a call, given what admission thinks of its number. The call rings nobody yet.
    pub fn begin(&self, id: CallId, admitted: Result<PhoneNumber, Failure>, deadline: Deadline) -> Begun {
        let now = deadline.start();
        let mut calls = self.shard(id).calls.lock();
        self.forget_old(&mut calls, now);
        self.let_go(&mut calls, id);
        if let Some(Entry { generation, state: State::Pending(pending), .. }) = calls.by_id.get_mut(&id) {
            return pending.repeat(admitted, Attempt { id, generation: *generation });
        }
        let attempt = Attempt { id, generation: self.generations.fetch_add(1, Ordering::Relaxed) };
        match admitted.and_then(|number| self.claim(attempt, &number)) {
            Ok(number) => {
                calls.insert(attempt, State::pending(number, deadline));
                Begun::New(attempt)
            }
            Err(failure) => {
                calls.insert(attempt, State::Failed(failure.clone()));
                self.remember_end(&mut calls, attempt, now);
                Begun::Refused(failure, attempt)
            }
        }
    }

    /// Notes how far a pending attempt has come. False where it is not pending (any more), or not news.
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

    /// Ends a pending attempt, once. Its number stays claimed until [`Registry::release`]. Returns the outcome as it
    /// was kept, which is DeadlinePassed where approval came too late, or None where the attempt is not pending.
    pub fn settle(&self, attempt: Attempt, outcome: Outcome, now: Moment) -> Option<Outcome> {
        let shard = self.shard(attempt.id);
        let mut calls = shard.calls.lock();
        let pending = calls.pending(attempt)?;
        let (deadline, refused_repeat) = (pending.deadline, pending.refused_repeat.take());
        let outcome = match outcome {
            Outcome::Verified if deadline.passed(now) => Outcome::Failed(Failure::new(
                FailureReason::DeadlinePassed,
                "The approval came after the call's deadline.",
            )),
            outcome => outcome,
        };
        let state = match &outcome {
            Outcome::Verified => State::Verified(Verified { at: now, keep: self.keep_finished(), refused_repeat }),
            Outcome::Failed(failure) => State::Failed(failure.clone()),
        };
        if let Some(entry) = calls.by_id.get_mut(&attempt.id) {
            entry.state = state;
        }
        self.pending.fetch_sub(1, Ordering::Relaxed);
        self.remember_end(&mut calls, attempt, now);
        shard.ended.notify_all();
        Some(outcome)
    }

    /// Gives the attempt's number free: its phone does not ring any more.
    pub fn release(&self, attempt: Attempt, number: NumberKey) {
        let mut ringing = self.ringing.lock();
        if ringing.get(&number) == Some(&attempt) {
            ringing.remove(&number);
        }
    }

    /// Lets a pending attempt stand for the one that the store has for its id, which another process drives.
    pub fn stand_for(&self, attempt: Attempt, stored: u64) {
        let mut calls = self.shard(attempt.id).calls.lock();
        if let Some(entry) = calls.by_id.get_mut(&attempt.id).filter(|entry| entry.generation == attempt.generation) {
            (entry.stored, entry.is_elsewhere) = (stored, true);
        }
    }

    /// Takes in a pending attempt that the store has, and that this process drives from now on or, if it `is_elsewhere`,
    /// watches.
    pub fn adopt(&self, attempt: Attempt, number: NumberKey, deadline: Deadline, is_elsewhere: bool) -> Adopted {
        let mut calls = self.shard(attempt.id).calls.lock();
        match calls.by_id.get_mut(&attempt.id) {
            Some(entry) if entry.stored == attempt.generation => match entry.state {
                State::Pending(_) => {
                    entry.is_elsewhere &= is_elsewhere;
                    Adopted::Pending
                }
                _ => Adopted::Ended,
            },
            Some(Entry { state: State::Pending(_), .. }) => Adopted::Overtaken,
            _ => {
                self.pending.fetch_add(1, Ordering::Relaxed);
                self.ringing.lock().entry(number).or_insert(attempt);
                calls.insert(attempt, State::pending(number, deadline));
                if let Some(entry) = calls.by_id.get_mut(&attempt.id) {
                    entry.is_elsewhere = is_elsewhere;
                }
                Adopted::Pending
            }
        }
    }

    /// Lets go of what another process drives: whether a repeat is one of that, the store alone can tell.
    fn let_go(&self, calls: &mut Calls, id: CallId) {
        if let Some(Entry { is_elsewhere: true, generation, state: State::Pending(pending), .. }) = calls.by_id.get(&id)
        {
            let attempt = Attempt { id, generation: *generation };
            self.release(attempt, pending.number);
            calls.by_id.remove(&id);
            self.pending.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Takes in the end of an attempt, which the store has as the last one of its id, `ago` before `now`. False where
    /// this process knows of another one by now than of `known`, of which it knew when the store was asked.
    pub fn adopt_end(
        &self,
        attempt: Attempt,
        outcome: Outcome,
        ago: Duration,
        now: Moment,
        known: Option<u64>,
    ) -> bool {
        let mut calls = self.shard(attempt.id).calls.lock();
        let is_other = |entry: &Entry| matches!(entry.state, State::Pending(_)) || Some(entry.stored) != known;
        if calls.by_id.get(&attempt.id).is_some_and(is_other) {
            return false;
        }
        let keep = self.keep_finished().saturating_sub(ago);
        calls.insert(
            attempt,
            match outcome {
                Outcome::Verified => State::Verified(Verified { at: now, keep, refused_repeat: None }),
                Outcome::Failed(failure) => State::Failed(failure),
            },
        );
        self.remember_end(&mut calls, attempt, now);
        true
    }

    /// The generation that the store has for the call as it is known here.
    pub fn stored_generation(&self, id: CallId) -> Option<u64> {
        self.shard(id).calls.lock().by_id.get(&id).map(|entry| entry.stored)
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

    /// The status of a call, or None where it is unknown or forgotten.
    pub fn status(&self, id: CallId) -> Option<CallStatus> {
        self.status_at(id, Moment::now)
    }

    /// As [`Registry::status`], with clocks of one's own. They are read only where they matter.
    pub fn status_at(&self, id: CallId, now: impl FnOnce() -> Moment) -> Option<CallStatus> {
        self.shard(id).calls.lock().status(id, self.keep_finished(), now)
    }

    /// As [`Registry::status`], but a pending call is waited for until `until`.
    pub fn wait(&self, id: CallId, until: Instant) -> Option<CallStatus> {
        self.wait_while(id, until, |_| true)
    }

    /// As [`Registry::wait`], for one attempt alone: None where another one has taken its place.
    pub fn wait_for(&self, attempt: Attempt, until: Instant) -> Option<CallStatus> {
        self.wait_while(attempt.id, until, |entry| entry.generation == attempt.generation)
    }

    fn wait_while(&self, id: CallId, until: Instant, is_meant: impl Fn(&Entry) -> bool) -> Option<CallStatus> {
        let shard = self.shard(id);
        let mut calls = shard.calls.lock();
        let mut in_time = true;
        loop {
            let status = match calls.by_id.get(&id) {
                Some(entry) if is_meant(entry) => calls.status(id, self.keep_finished(), Moment::now),
                _ => None,
            };
            if status != Some(CallStatus::Pending) || !in_time {
                return status;
            }
            in_time = !shard.ended.wait_until(&mut calls, until).timed_out();
        }
    }

    /// All that is known of a call.
    pub fn snapshot(&self, id: CallId) -> Option<Snapshot> {
        let calls = self.shard(id).calls.lock();
        let status = calls.status(id, self.keep_finished(), Moment::now)?;
        let (progress, failure) = match &calls.by_id.get(&id)?.state {
            State::Pending(pending) => (Some(pending.progress), pending.refused_repeat.as_deref()),
            State::Verified(verified) => (None, verified.refused_repeat.as_deref()),
            State::Failed(failure) => (None, Some(failure)),
        };
        Some(Snapshot { status, progress, failure: failure.cloned() })
    }

    /// Forgets what ended longer ago than is kept.
    pub fn sweep(&self, now: Moment) {
        for shard in &self.shards {
            self.forget_old(&mut shard.calls.lock(), now);
        }
    }

    /// Forgets successes, which the store has: whoever is asked next looks there whether they hold still.
    pub fn forget_successes(&self) {
        for shard in &self.shards {
            shard.calls.lock().by_id.retain(|_, entry| !matches!(entry.state, State::Verified(_)));
        }
    }

    /// How many calls are known, pending ones included.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.calls.lock().by_id.len()).sum()
    }

    /// How many calls are pending.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Is no call known?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn keep_finished(&self) -> Duration {
        Duration::from_secs(self.keep_finished_s.load(Ordering::Relaxed).into())
    }

    #[expect(clippy::indexing_slicing, reason = "there are SHARDS shards, and the index is below SHARDS")]
    fn shard(&self, id: CallId) -> &Shard {
        // The last byte of a GUID is among its most random ones.
        &self.shards[usize::from(id.as_bytes()[15]) % SHARDS]
    }

    /// Claims the number for the attempt, unless another attempt rings it or too many calls are pending.
    fn claim(&self, attempt: Attempt, number: &PhoneNumber) -> Result<NumberKey, Failure> {
        let key = number.key();
        let mut ringing = self.ringing.lock();
        if ringing.contains_key(&key) {
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
        ringing.insert(key, attempt);
        Ok(key)
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

impl State {
    fn pending(number: NumberKey, deadline: Deadline) -> Self {
        Self::Pending(Box::new(Pending { number, deadline, progress: Progress::Dialling, refused_repeat: None }))
    }
}

impl Calls {
    fn insert(&mut self, attempt: Attempt, state: State) {
        let Attempt { id, generation } = attempt;
        self.by_id.insert(id, Entry { generation, stored: generation, is_elsewhere: false, state });
    }

    fn pending(&mut self, attempt: Attempt) -> Option<&mut Pending> {
        match self.by_id.get_mut(&attempt.id)? {
            Entry { generation, state: State::Pending(pending), .. } if *generation == attempt.generation => {
                Some(pending)
            }
            _ => None,
        }
    }

    fn status(&self, id: CallId, keep: Duration, now: impl FnOnce() -> Moment) -> Option<CallStatus> {
        match &self.by_id.get(&id)?.state {
            State::Pending(_) => Some(CallStatus::Pending),
            State::Failed(_) => Some(CallStatus::Failed),
            State::Verified(verified) if now().since(verified.at) < keep.min(verified.keep) => {
                Some(CallStatus::Success)
            }
            State::Verified(_) => None,
        }
    }

    fn forget_oldest(&mut self) {
        let Some((attempt, _)) = self.by_end.pop_front() else { return };
        if self.by_id.get(&attempt.id).is_some_and(|entry| entry.generation == attempt.generation) {
            self.by_id.remove(&attempt.id);
        }
    }
}

impl Pending {
    fn repeat(&mut self, admitted: Result<PhoneNumber, Failure>, attempt: Attempt) -> Begun {
        let failure = match admitted {
            Ok(number) if number.key() == self.number => return Begun::StillPending(attempt),
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
