//! The attempts of a store in memory: how they begin, end and are found.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use phonegate_approval::attempts::StoredAttempts;

use super::counters::{Day, Line, Pending, Times};
use super::limits::DenialsEntry;
use super::pins::PinEntry;
use crate::call::{Attempt, CallId, CallRef, Country, KeyFingerprint, NumberHash, Outcome, Progress};
use crate::store::{
    AttemptState, Begun, Block, BlockScope, DEADLINE_GRACE, EndRequest, Ended, LEASE, LatestAttempt, Limits,
    NewAttempt, Orphan, Owner, Query, Refusal, Row, RowOutcome, Step, StoreError, StoredNumber,
};

/// Maximum number of attempts. Beyond it, those that ended first are removed.
const MAX_ATTEMPTS: usize = 2_000;

/// The state of a store in memory, except for its alerts.
#[derive(Default)]
pub(super) struct Calls {
    /// The sequence of the last attempt.
    last: u64,
    pub(super) attempts: BTreeMap<u64, AttemptEntry>,
    pub(super) sequences: HashMap<Attempt, u64>,
    /// The attempt that answers for an id (S6).
    pub(super) latest: HashMap<CallId, u64>,
    /// The attempt that holds a number (S8).
    pub(super) ringing: HashMap<NumberHash, u64>,
    /// Pending attempts by deadline.
    pending: BTreeSet<(Instant, u64)>,
    pub(super) pending_in_time: Pending,
    /// Ended attempts, the first one first.
    pub(super) ended: VecDeque<u64>,
    /// Calls within a day, by number.
    pub(super) begun: HashMap<NumberHash, Times>,
    pub(super) lines: HashMap<NumberHash, Line>,
    /// All calls within a minute.
    pub(super) begun_in_minute: Times,
    pub(super) day: Day,
    /// Calls within a day, by country.
    pub(super) countries: BTreeMap<Country, Day>,
    pub(super) denials: HashMap<NumberHash, DenialsEntry>,
    /// When each owner last renewed its lease (S9).
    renewed: HashMap<Owner, Instant>,
    pub(super) blocks: HashMap<(NumberHash, BlockScope), Block>,
    /// The secrets with which numbers were hashed (S14).
    pub(super) number_keys: BTreeSet<KeyFingerprint>,
    pub(super) pins: HashMap<NumberHash, PinEntry>,
    /// When the store's clock began.
    pub(super) clock_since: Option<Instant>,
}

/// An attempt.
pub(super) struct AttemptEntry {
    pub(super) row: Row,
    pub(super) steps: Vec<Step>,
    pub(super) placed: Option<(Box<str>, CallRef)>,
    /// What the user must press, while the attempt is pending (S18).
    pub(super) attempts: Option<Arc<StoredAttempts>>,
    pub(super) progress: Progress,
    /// Its owner, while it is pending.
    pub(super) owner_now: Option<Owner>,
    /// The owner that ended it.
    pub(super) ended_by: Option<Owner>,
    pub(super) deadline: Instant,
    /// When it began, unless it counts for no limit.
    pub(super) begun: Option<Instant>,
    /// The owner that used up its approval (S16).
    pub(super) used_by: Option<Owner>,
    pub(super) ended_at: Option<Instant>,
}

impl Calls {
    /// Begins an attempt, or refuses it.
    pub(super) fn begin(&mut self, new: &NewAttempt, limits: &Limits, now: Instant) -> Result<Begun, StoreError> {
        self.rekey_number(&new.number)?;
        // S3: a repetition.
        if let Some(entry) = self.latest_of(new.attempt.id).filter(|entry| entry.owner_now.is_some()) {
            return Ok(match entry.row.number_hash == Some(new.number.hash) {
                true if entry.row.attempt == new.attempt => Begun::New,
                true => Begun::AlreadyOwned(entry.row.attempt.generation),
                false => Begun::Refused(Refusal::OtherNumber),
            });
        }
        if self.sequences.contains_key(&new.attempt) {
            return Err(StoreError::already_ended());
        }
        if let Some(refusal) = self.refusal(&new.number, limits, now) {
            return Ok(Begun::Refused(refusal));
        }
        let deadline = now + new.deadline;
        let row = row(new.attempt, new.started, &new.node, Some(&new.number));
        let sequence = self.insert(AttemptEntry {
            owner_now: Some(new.owner),
            begun: Some(now),
            ..AttemptEntry::new(row, deadline)
        });
        self.latest.insert(new.attempt.id, sequence);
        self.ringing.insert(new.number.hash, sequence);
        self.pending.insert((deadline, sequence));
        self.count(sequence, &new.number, deadline, now);
        self.renewed.insert(new.owner, now);
        Ok(Begun::New)
    }

    pub(super) fn insert(&mut self, entry: AttemptEntry) -> u64 {
        self.last += 1;
        self.sequences.insert(entry.row.attempt, self.last);
        self.attempts.insert(self.last, AttemptEntry { row: Row { sequence: self.last, ..entry.row }, ..entry });
        while self.attempts.len() > MAX_ATTEMPTS
            && let Some(oldest) = self.ended.pop_front()
        {
            self.remove(oldest);
        }
        self.last
    }

    fn remove(&mut self, sequence: u64) {
        self.release(sequence);
        let Some(entry) = self.attempts.remove(&sequence) else { return };
        let attempt = entry.row.attempt;
        self.sequences.remove(&attempt);
        if self.latest.get(&attempt.id) == Some(&sequence) {
            self.latest.remove(&attempt.id);
        }
    }

    pub(super) fn latest_of(&self, id: CallId) -> Option<&AttemptEntry> {
        self.attempts.get(self.latest.get(&id)?)
    }

    pub(super) fn end(&mut self, end: &EndRequest, now: Instant) -> Ended {
        match self.finish(end, now) {
            Some(sequence) => Ended::Yes { locked_until: self.count_denial(sequence, end, now) },
            None => Ended::No,
        }
    }

    /// Ends an attempt: once (S4), and as verified only before its deadline (S5). The caller counts the denial.
    pub(super) fn finish(&mut self, end: &EndRequest, now: Instant) -> Option<u64> {
        let sequence = *self.sequences.get(&end.attempt)?;
        let entry = self.attempts.get_mut(&sequence)?;
        let pending_in_time = !matches!(end.outcome, Outcome::Verified(_)) || entry.deadline > now;
        entry.ended_by = Some(entry.owner_now.take_if(|owner_now| *owner_now == end.owner && pending_in_time)?);
        entry.ended_at = Some(now);
        entry.row.ended = Some(end.at);
        entry.row.outcome = (&end.outcome).into();
        if let Outcome::Verified(approval) = &end.outcome {
            entry.row.judged_by = Some(approval.judged_by());
        }
        entry.attempts = None;
        self.pending.remove(&(entry.deadline, sequence));
        self.subtract_pending(sequence);
        self.ended.push_back(sequence);
        if end.release {
            self.release(sequence);
        }
        Some(sequence)
    }

    /// Uses up an approval (S16).
    pub(super) fn use_approval(&mut self, attempt: Attempt, owner: Owner) -> bool {
        let current = self.latest.get(&attempt.id).and_then(|sequence| self.attempts.get_mut(sequence));
        let is_approved =
            |entry: &&mut AttemptEntry| entry.row.attempt == attempt && entry.row.outcome == RowOutcome::Verified;
        current.filter(is_approved).is_some_and(|entry| *entry.used_by.get_or_insert(owner) == owner)
    }

    /// Releases the number of an attempt (S8).
    pub(super) fn release(&mut self, sequence: u64) {
        let number = self.attempts.get(&sequence).and_then(|entry| entry.row.number_hash);
        if let Some(number) = number.filter(|number| self.ringing.get(number) == Some(&sequence)) {
            self.ringing.remove(&number);
        }
    }

    /// Finds the latest attempt of an id.
    pub(super) fn find(&self, id: CallId, now: Instant) -> Option<LatestAttempt> {
        let entry = self.latest_of(id)?;
        let state = match entry.row.ended() {
            None => {
                let left = entry.deadline.saturating_duration_since(now);
                AttemptState::Pending { left, progress: entry.progress }
            }
            Some(outcome) => {
                let ago = entry.ended_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
                AttemptState::Ended { outcome, ago }
            }
        };
        Some(LatestAttempt { attempt: entry.row.attempt, number: entry.row.number_hash, state })
    }

    /// Claims orphans (S9).
    pub(super) fn claim_orphans(&mut self, owner: Owner, limit: usize, now: Instant) -> Vec<Orphan> {
        self.renew(owner, now);
        let renewed = &self.renewed;
        let has_expired =
            |owner: &Owner| renewed.get(owner).is_none_or(|at| now.saturating_duration_since(*at) >= LEASE);
        let mut orphans = Vec::new();
        for (deadline, sequence) in &self.pending {
            let Some(entry) = self.attempts.get_mut(sequence).filter(|_| orphans.len() < limit) else { continue };
            // If an attempt is still pending this long after its deadline, its end was lost, even if its owner is
            // alive.
            let is_orphaned = |owner_now: &Owner| {
                (*owner_now != owner && has_expired(owner_now)) || *deadline + DEADLINE_GRACE <= now
            };
            let Some(owner_now) = entry.owner_now.as_mut().filter(|owner_now| is_orphaned(owner_now)) else {
                continue;
            };
            let Some(number) = entry.row.number_hash else { continue };
            *owner_now = owner;
            orphans.push(Orphan {
                attempt: entry.row.attempt,
                number,
                masked: entry.row.number.clone().unwrap_or_default(),
                left: deadline.saturating_duration_since(now),
                started: entry.row.started,
                placed: entry.placed.clone(),
                attempts: entry.attempts.clone(),
            });
        }
        orphans
    }

    pub(super) fn renew(&mut self, owner: Owner, now: Instant) {
        self.renewed.insert(owner, now);
    }

    pub(super) fn block(&mut self, block: Block) {
        self.blocks.insert((block.number, block.scope), block);
    }

    pub(super) fn unblock(&mut self, number: NumberHash) -> bool {
        let scopes = [BlockScope::Number, BlockScope::Line];
        let removed: Vec<_> = scopes.iter().filter_map(|scope| self.blocks.remove(&(number, *scope))).collect();
        removed.iter().any(|block| !block.has_expired(SystemTime::now()))
    }

    pub(super) fn blocks(&self) -> Vec<Block> {
        let now = SystemTime::now();
        let mut blocks: Vec<_> = self.blocks.values().filter(|block| !block.has_expired(now)).cloned().collect();
        blocks.sort_by_key(|block| std::cmp::Reverse(block.since));
        blocks
    }

    pub(super) fn rows(&self, query: &Query) -> Vec<Row> {
        let rows = self.attempts.values().map(|entry| &entry.row).filter(|row| query.matches(row));
        match query.newest_first {
            true => rows.rev().take(query.limit).cloned().collect(),
            false => rows.take(query.limit).cloned().collect(),
        }
    }

    pub(super) fn steps(&self, attempt: Attempt) -> Vec<Step> {
        let entry = self.sequences.get(&attempt).and_then(|sequence| self.attempts.get(sequence));
        let mut steps = entry.map(|entry| entry.steps.clone()).unwrap_or_default();
        steps.sort_by_key(|step| step.at);
        steps
    }

    /// Removes what has expired (S17).
    pub(super) fn sweep(&mut self, keep: Duration, now: Instant) {
        let is_old = |entry: &AttemptEntry| entry.ended_at.is_some_and(|at| now.saturating_duration_since(at) >= keep);
        while let Some(oldest) = self.ended.front().copied()
            && self.attempts.get(&oldest).is_none_or(is_old)
        {
            self.ended.pop_front();
            self.remove(oldest);
        }
        self.sweep_limits(now);
        self.renewed.retain(|_, at| now.saturating_duration_since(*at) < LEASE);
        let wall = SystemTime::now();
        self.blocks.retain(|_, block| block.until.is_none_or(|until| !is_older(until, keep, wall)));
    }
}

impl AttemptEntry {
    pub(super) fn new(row: Row, deadline: Instant) -> Self {
        let progress = Progress::Dialling;
        Self {
            row,
            steps: Vec::new(),
            placed: None,
            attempts: None,
            progress,
            owner_now: None,
            ended_by: None,
            deadline,
            begun: None,
            used_by: None,
            ended_at: None,
        }
    }
}

/// Returns whether `time` is at least `age` ago.
fn is_older(time: SystemTime, age: Duration, now: SystemTime) -> bool {
    now.duration_since(time).is_ok_and(|ago| ago >= age)
}

pub(super) fn row(attempt: Attempt, started: SystemTime, node: &str, number: Option<&StoredNumber>) -> Row {
    Row {
        sequence: 0,
        attempt,
        number: number.map(|number| number.masked.clone()),
        full_number: number.and_then(|number| number.full.clone()),
        number_hash: number.map(|number| number.hash),
        line_hash: number.map(|number| number.line_hash),
        node: node.into(),
        backend: None,
        started,
        placed: None,
        ringing: None,
        answered: None,
        ended: None,
        outcome: RowOutcome::Pending,
        judged_by: None,
        country: number.and_then(|number| number.country),
        locked_until: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::call::{Failure, FailureReason};
    use crate::store::{AttemptChange, RecordedChange};

    #[test]
    fn an_evicted_attempt_leaves_nothing_behind() {
        let (mut calls, now) = (Calls::default(), Instant::now());
        let hash = NumberHash::parse(&format!("{:032x}", 1)).unwrap();
        let number = StoredNumber {
            hash,
            line_hash: hash,
            fingerprint: KeyFingerprint::UNKEYED,
            otherwise: Box::default(),
            masked: "+1******1212".into(),
            full: None,
            country: None,
        };
        let attempt = |n: usize| Attempt { id: CallId::parse(&format!("{:032x}", n + 1)).unwrap(), generation: 1 };
        let entry = AttemptEntry {
            owner_now: Some(Owner(uuid::Uuid::nil())),
            ..AttemptEntry::new(row(attempt(0), SystemTime::now(), "web1", Some(&number)), now)
        };
        let sequence = calls.insert(entry);
        calls.latest.insert(attempt(0).id, sequence);
        calls.ringing.insert(hash, sequence);
        let failure = Failure::new(FailureReason::DeadlinePassed, "It took too long.");
        // It ends without a release: its phone may ring.
        let ended = AttemptChange::Ended {
            owner: Owner(uuid::Uuid::nil()),
            failure: failure.clone(),
            release: false,
            denials: crate::store::DenialLimits { count: 9, window: Duration::ZERO, lock: Duration::ZERO },
        };
        calls.record(&RecordedChange { attempt: attempt(0), at: SystemTime::now(), change: ended }, now);
        assert_eq!(calls.ringing.len(), 1);
        for n in 1..=MAX_ATTEMPTS {
            let refused = AttemptChange::Refused { number: None, node: "web1".into(), failure: failure.clone() };
            calls.record(&RecordedChange { attempt: attempt(n), at: SystemTime::now(), change: refused }, now);
        }
        assert!(!calls.attempts.contains_key(&sequence) && calls.attempts.len() == MAX_ATTEMPTS);
        assert_eq!(calls.ringing.len(), 0);
    }
}
