//! The calls of a store in memory, and the rules by which they begin and end.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use phonegate_approval::attempts::StoredAttempts;

use super::counters::{Day, Line, Pending, Times};
use super::limits::KeptDenials;
use super::pins::KeptPin;
use crate::call::{
    Attempt, CallEvent, CallId, CallRef, Country, FailureReason, KeyFingerprint, NumberKey, Outcome, Progress,
};
use crate::store::{
    AttemptChange, AttemptState, Begun, Block, BlockScope, DEADLINE_GRACE, DenialLimits, EndRequest, Ended, LEASE,
    LatestAttempt, Limits, Lockout, NewAttempt, Orphan, Owner, Query, RecordedChange, Refusal, Row, RowOutcome, Step,
    StoreError, StoredNumber,
};

/// Maximum number of attempts. Beyond it, those that ended first are removed.
const MAX_ATTEMPTS: usize = 2_000;

#[derive(Default)]
pub(super) struct Calls {
    last: u64,
    pub(super) attempts: BTreeMap<u64, Kept>,
    sequences: HashMap<Attempt, u64>,
    current: HashMap<CallId, u64>,
    pub(super) ringing: HashMap<NumberKey, u64>,
    /// Pending ones by their deadline.
    pending: BTreeSet<(Instant, u64)>,
    pub(super) in_time: Pending,
    /// Ended ones in the order of their end.
    ended: VecDeque<u64>,
    /// Calls within a day, by number.
    pub(super) begun: HashMap<NumberKey, Times>,
    pub(super) lines: HashMap<NumberKey, Line>,
    /// All calls within a minute.
    pub(super) begun_lately: Times,
    pub(super) day: Day,
    /// In the order of their codes.
    pub(super) countries: BTreeMap<Country, Day>,
    pub(super) denials: HashMap<NumberKey, KeptDenials>,
    heard_of: HashMap<Owner, Instant>,
    pub(super) blocks: HashMap<(NumberKey, BlockScope), Block>,
    /// The keys that numbers were hashed with.
    pub(super) number_keys: BTreeSet<KeyFingerprint>,
    pub(super) pins: HashMap<NumberKey, KeptPin>,
    /// When the store's clock began.
    pub(super) clock_since: Option<Instant>,
}

pub(super) struct Kept {
    pub(super) row: Row,
    steps: Vec<Step>,
    placed: Option<(Box<str>, CallRef)>,
    /// Of a pending one.
    attempts: Option<Arc<StoredAttempts>>,
    progress: Progress,
    /// Who drives it, while it is pending.
    drive: Option<Owner>,
    /// Who ended it.
    ended_by: Option<Owner>,
    pub(super) deadline: Instant,
    /// When it began, unless it counts for no limit.
    pub(super) begun: Option<Instant>,
    /// The owner that used up its approval.
    used_by: Option<Owner>,
    ended_at: Option<Instant>,
}

impl Calls {
    pub(super) fn begin(&mut self, new: &NewAttempt, limits: &Limits, now: Instant) -> Result<Begun, StoreError> {
        self.bring_up_to_date(&new.number)?;
        if let Some(kept) = self.current_of(new.attempt.id).filter(|kept| kept.drive.is_some()) {
            return Ok(match kept.row.number_key == Some(new.number.key) {
                true if kept.row.attempt == new.attempt => Begun::New,
                true => Begun::AlreadyOwned(kept.row.attempt.generation),
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
        let sequence = self.keep(Kept { drive: Some(new.owner), begun: Some(now), ..Kept::new(row, deadline) });
        self.current.insert(new.attempt.id, sequence);
        self.ringing.insert(new.number.key, sequence);
        self.pending.insert((deadline, sequence));
        self.count(sequence, &new.number, deadline, now);
        self.heard_of.insert(new.owner, now);
        Ok(Begun::New)
    }

    fn keep(&mut self, kept: Kept) -> u64 {
        self.last += 1;
        self.sequences.insert(kept.row.attempt, self.last);
        self.attempts.insert(self.last, Kept { row: Row { sequence: self.last, ..kept.row }, ..kept });
        while self.attempts.len() > MAX_ATTEMPTS
            && let Some(oldest) = self.ended.pop_front()
        {
            self.forget(oldest);
        }
        self.last
    }

    fn forget(&mut self, sequence: u64) {
        let Some(kept) = self.attempts.remove(&sequence) else { return };
        let attempt = kept.row.attempt;
        self.sequences.remove(&attempt);
        if self.current.get(&attempt.id) == Some(&sequence) {
            self.current.remove(&attempt.id);
        }
    }

    fn current_of(&self, id: CallId) -> Option<&Kept> {
        self.attempts.get(self.current.get(&id)?)
    }

    pub(super) fn end(&mut self, end: &EndRequest, now: Instant) -> Ended {
        match self.finish(end, now) {
            Some(sequence) => Ended::Yes { locked_until: self.judge(sequence, end, now) },
            None => Ended::No,
        }
    }

    /// Ends an attempt, if `end` may end it. The caller counts the denial.
    fn finish(&mut self, end: &EndRequest, now: Instant) -> Option<u64> {
        let sequence = *self.sequences.get(&end.attempt)?;
        let kept = self.attempts.get_mut(&sequence)?;
        let in_time = !matches!(end.outcome, Outcome::Verified(_)) || kept.deadline > now;
        kept.ended_by = Some(kept.drive.take_if(|drive| *drive == end.owner && in_time)?);
        kept.ended_at = Some(now);
        kept.row.ended = Some(end.at);
        kept.row.outcome = (&end.outcome).into();
        if let Outcome::Verified(approval) = &end.outcome {
            kept.row.judged_by = Some(approval.judged_by());
        }
        kept.attempts = None;
        self.pending.remove(&(kept.deadline, sequence));
        self.is_pending_no_more(sequence);
        self.ended.push_back(sequence);
        if end.release {
            self.release(sequence);
        }
        Some(sequence)
    }

    pub(super) fn use_approval(&mut self, attempt: Attempt, owner: Owner) -> bool {
        let current = self.current.get(&attempt.id).and_then(|sequence| self.attempts.get_mut(sequence));
        let is_approved = |kept: &&mut Kept| kept.row.attempt == attempt && kept.row.outcome == RowOutcome::Verified;
        current.filter(is_approved).is_some_and(|kept| *kept.used_by.get_or_insert(owner) == owner)
    }

    fn release(&mut self, sequence: u64) {
        let number = self.attempts.get(&sequence).and_then(|kept| kept.row.number_key);
        if let Some(number) = number.filter(|number| self.ringing.get(number) == Some(&sequence)) {
            self.ringing.remove(&number);
        }
    }

    pub(super) fn record(&mut self, update: &RecordedChange, now: Instant) -> Option<Lockout> {
        let RecordedChange { attempt, at, change } = update;
        let sequence = self.sequences.get(attempt).copied();
        match change {
            AttemptChange::Ended { owner, failure, release, denials } => {
                let outcome = Outcome::Failed(failure.clone());
                let end = EndRequest {
                    attempt: *attempt,
                    owner: *owner,
                    at: *at,
                    outcome,
                    release: *release,
                    denials: *denials,
                };
                self.end(&end, now);
                return self.attempts.get(&sequence?)?.lockout(*owner, failure.reason());
            }
            AttemptChange::Released => sequence.into_iter().for_each(|sequence| self.release(sequence)),
            AttemptChange::Refused { number, node, failure } => match sequence {
                Some(sequence) => {
                    let owner = self.attempts.get(&sequence).and_then(|kept| kept.drive)?;
                    let outcome = Outcome::Failed(failure.clone());
                    // No phone rang, so this is no denial.
                    let denials = DenialLimits { count: 0, window: Duration::ZERO, lock: Duration::ZERO };
                    let end = EndRequest { attempt: *attempt, owner, at: *at, outcome, release: true, denials };
                    let given_up = self.finish(&end, now)?;
                    self.count_no_more(given_up);
                }
                None => {
                    let mut row = row(*attempt, *at, node, number.as_ref());
                    row.ended = Some(*at);
                    row.outcome = RowOutcome::Failed(failure.clone());
                    let is_older = |kept: &Kept| {
                        kept.drive.is_none() && kept.begun.is_none_or(|begun| begun + update.waited() <= now)
                    };
                    let is_current = self.current_of(attempt.id).is_none_or(is_older);
                    let sequence = self.keep(Kept { ended_at: Some(now), ..Kept::new(row, now) });
                    self.ended.push_back(sequence);
                    if is_current {
                        self.current.insert(attempt.id, sequence);
                    }
                }
            },
            AttemptChange::Step { event, backend, text } => {
                let step = Step {
                    at: *at,
                    name: event.name().into(),
                    backend: backend.as_deref().map(Into::into),
                    text: text.clone(),
                };
                if let Some(kept) = sequence.and_then(|sequence| self.attempts.get_mut(&sequence)) {
                    kept.take(*event, step);
                }
            }
            AttemptChange::Placed { backend, reference, attempts } => {
                let (event, backend) = (CallEvent::Placed, Box::<str>::from(&**backend));
                let step = Step { at: *at, name: event.name().into(), backend: Some(backend.clone()), text: None };
                if let Some(kept) = sequence.and_then(|sequence| self.attempts.get_mut(&sequence)) {
                    kept.row.backend = Some(backend.clone());
                    kept.placed = Some((backend, reference.clone()));
                    kept.attempts = attempts.clone().filter(|_| kept.drive.is_some());
                    kept.take(event, step);
                }
            }
        }
        None
    }

    pub(super) fn find(&self, id: CallId, now: Instant) -> Option<LatestAttempt> {
        let kept = self.current_of(id)?;
        let state = match kept.row.ended() {
            None => {
                let left = kept.deadline.saturating_duration_since(now);
                AttemptState::Pending { left, progress: kept.progress }
            }
            Some(outcome) => {
                let ago = kept.ended_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
                AttemptState::Ended { outcome, ago }
            }
        };
        Some(LatestAttempt { attempt: kept.row.attempt, number: kept.row.number_key, state })
    }

    pub(super) fn claim_orphans(&mut self, owner: Owner, limit: usize, now: Instant) -> Vec<Orphan> {
        self.renew(owner, now);
        let heard_of = &self.heard_of;
        let is_gone = |owner: &Owner| heard_of.get(owner).is_none_or(|at| now.saturating_duration_since(*at) >= LEASE);
        let mut orphans = Vec::new();
        for (deadline, sequence) in &self.pending {
            let Some(kept) = self.attempts.get_mut(sequence).filter(|_| orphans.len() < limit) else { continue };
            // Long after its deadline nobody drives it any more, whoever is alive.
            let is_left = |drive: &Owner| (*drive != owner && is_gone(drive)) || *deadline + DEADLINE_GRACE <= now;
            let Some(drive) = kept.drive.as_mut().filter(|drive| is_left(drive)) else {
                continue;
            };
            let Some(number) = kept.row.number_key else { continue };
            *drive = owner;
            orphans.push(Orphan {
                attempt: kept.row.attempt,
                number,
                masked: kept.row.number.clone().unwrap_or_default(),
                left: deadline.saturating_duration_since(now),
                started: kept.row.started,
                placed: kept.placed.clone(),
                attempts: kept.attempts.clone(),
            });
        }
        orphans
    }

    pub(super) fn renew(&mut self, owner: Owner, now: Instant) {
        self.heard_of.insert(owner, now);
    }

    pub(super) fn block(&mut self, block: Block) {
        self.blocks.insert((block.number, block.scope), block);
    }

    pub(super) fn unblock(&mut self, number: NumberKey) -> bool {
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
        let rows = self.attempts.values().map(|kept| &kept.row).filter(|row| query.wants(row));
        match query.newest_first {
            true => rows.rev().take(query.limit).cloned().collect(),
            false => rows.take(query.limit).cloned().collect(),
        }
    }

    pub(super) fn steps(&self, attempt: Attempt) -> Vec<Step> {
        let kept = self.sequences.get(&attempt).and_then(|sequence| self.attempts.get(sequence));
        let mut steps = kept.map(|kept| kept.steps.clone()).unwrap_or_default();
        steps.sort_by_key(|step| step.at);
        steps
    }

    pub(super) fn sweep(&mut self, keep: Duration, now: Instant) {
        let is_old = |kept: &Kept| kept.ended_at.is_some_and(|at| now.saturating_duration_since(at) >= keep);
        while let Some(oldest) = self.ended.front().copied()
            && self.attempts.get(&oldest).is_none_or(is_old)
        {
            self.ended.pop_front();
            self.forget(oldest);
        }
        self.sweep_limits(now);
        self.heard_of.retain(|_, at| now.saturating_duration_since(*at) < LEASE);
        let wall = SystemTime::now();
        self.blocks.retain(|_, block| block.until.is_none_or(|until| !has_been(until, keep, wall)));
    }
}

impl Kept {
    fn new(row: Row, deadline: Instant) -> Self {
        let progress = Progress::Dialling;
        Self {
            row,
            steps: Vec::new(),
            placed: None,
            attempts: None,
            progress,
            drive: None,
            ended_by: None,
            deadline,
            begun: None,
            used_by: None,
            ended_at: None,
        }
    }

    /// Returns the lock that its end caused, if this owner ended it for this reason.
    fn lockout(&self, owner: Owner, reason: FailureReason) -> Option<Lockout> {
        let Row { attempt, number, number_key, outcome, locked_until, .. } = &self.row;
        let is_same = matches!(outcome, RowOutcome::Failed(failure) if failure.reason() == reason);
        (is_same && self.ended_by == Some(owner)).then_some(())?;
        let masked = number.clone().unwrap_or_default();
        Some(Lockout { attempt: *attempt, number: (*number_key)?, masked, until: (*locked_until)? })
    }

    fn take(&mut self, event: CallEvent, step: Step) {
        let progress = match event {
            CallEvent::Placed => Some((&mut self.row.placed, Progress::Dialling)),
            CallEvent::Ringing => Some((&mut self.row.ringing, Progress::Ringing)),
            CallEvent::Answered => Some((&mut self.row.answered, Progress::Answered)),
            _ => None,
        };
        if let Some((time, progress)) = progress {
            time.get_or_insert(step.at);
            self.progress = self.progress.max(progress);
        }
        if event == CallEvent::BackendRefused && self.placed.is_none() {
            self.row.backend = step.backend.clone();
        }
        if !self.steps.contains(&step) {
            self.steps.push(step);
        }
    }
}

/// Was it so long ago?
fn has_been(time: SystemTime, long: Duration, now: SystemTime) -> bool {
    now.duration_since(time).is_ok_and(|ago| ago >= long)
}

fn row(attempt: Attempt, started: SystemTime, node: &str, number: Option<&StoredNumber>) -> Row {
    Row {
        sequence: 0,
        attempt,
        number: number.map(|number| number.masked.clone()),
        full_number: number.and_then(|number| number.full.clone()),
        number_key: number.map(|number| number.key),
        line_key: number.map(|number| number.line),
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
