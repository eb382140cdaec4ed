//! The calls of a store in memory, and the rules by which they begin and end.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use phonegate_approval::attempts::StoredAttempts;

use super::pins::KeptPin;
use crate::backend::Reference;
use crate::call::{Attempt, CallId, Failure, KeyFingerprint, NumberKey, Outcome, Progress};
use crate::store::{
    Begun, Block, Change, Current, CurrentState, End, HOLD, LEASE, Limits, NewAttempt, Orphan, Owner, Query, Refusal,
    Row, RowOutcome, Step, StoreError, StoredNumber, Update,
};

/// The most attempts that are kept; beyond it the oldest ended ones are forgotten.
const MAX_ATTEMPTS: usize = 2_000;

const MINUTE: Duration = Duration::from_secs(60);

/// The longest window in which calls to a number may be counted.
const LONGEST_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Default)]
pub(super) struct Calls {
    last: u64,
    pub(super) attempts: BTreeMap<u64, Kept>,
    sequences: HashMap<Attempt, u64>,
    current: HashMap<CallId, u64>,
    pub(super) ringing: HashMap<NumberKey, u64>,
    /// Pending ones by their deadline.
    pending: BTreeSet<(Instant, u64)>,
    /// Those of them whose deadline had not passed when the last call asked to begin.
    in_time: BTreeSet<(Instant, u64)>,
    /// Ended ones in the order of their end.
    ended: VecDeque<u64>,
    /// When attempts began, by number and in all.
    pub(super) begun: HashMap<NumberKey, VecDeque<Instant>>,
    begun_lately: VecDeque<Instant>,
    heard_of: HashMap<Owner, Instant>,
    pub(super) blocks: HashMap<NumberKey, Block>,
    /// The keys that numbers were hashed with.
    pub(super) number_keys: BTreeSet<KeyFingerprint>,
    pub(super) pins: HashMap<NumberKey, KeptPin>,
    /// When the clock of the locks began.
    pub(super) pins_since: Option<Instant>,
}

pub(super) struct Kept {
    pub(super) row: Row,
    steps: Vec<Step>,
    placed: Option<(Box<str>, Reference)>,
    /// Of a pending one.
    attempts: Option<Arc<StoredAttempts>>,
    progress: Progress,
    /// Who drives it, while it is pending.
    drive: Option<Owner>,
    deadline: Instant,
    begun: Option<Instant>,
    ended_at: Option<Instant>,
}

impl Calls {
    pub(super) fn begin(&mut self, new: &NewAttempt, limits: &Limits, now: Instant) -> Result<Begun, StoreError> {
        self.bring_up_to_date(&new.number)?;
        if let Some(kept) = self.current_of(new.attempt.id).filter(|kept| kept.drive.is_some()) {
            return Ok(match kept.row.number_key == Some(new.number.key) {
                true if kept.row.attempt == new.attempt => Begun::New,
                true => Begun::Elsewhere(kept.row.attempt.generation),
                false => Begun::Refused(Refusal::OtherNumber),
            });
        }
        if self.sequences.contains_key(&new.attempt) {
            return Err(StoreError::over());
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
        self.in_time.insert((deadline, sequence));
        self.begun.entry(new.number.key).or_default().push_back(now);
        self.begun_lately.push_back(now);
        self.heard_of.insert(new.owner, now);
        Ok(Begun::New)
    }

    fn refusal(&mut self, number: &StoredNumber, limits: &Limits, now: Instant) -> Option<Refusal> {
        let wall = SystemTime::now();
        let blocks = [number.key, number.line].into_iter().filter_map(|key| self.blocks.get(&key));
        if let Some(block) = blocks.into_iter().find(|block| !block.has_expired(wall)) {
            return Some(Refusal::Blocked { reason: block.reason.clone(), until: block.until });
        }
        let ringing = self.ringing.get(&number.key).and_then(|sequence| self.attempts.get(sequence));
        if ringing.is_some_and(|kept| kept.deadline + HOLD > now) {
            return Some(Refusal::InProgress);
        }
        let begun = self.begun.entry(number.key).or_default();
        if let Some(after) = wait(begun, limits.calls_per_number, limits.per_number_window, now) {
            return Some(Refusal::NumberLimit { after });
        }
        if let Some(after) = wait(&mut self.begun_lately, limits.calls_per_minute, MINUTE, now) {
            return Some(Refusal::MinuteLimit { after });
        }
        while self.in_time.first().is_some_and(|(deadline, _)| *deadline <= now) {
            self.in_time.pop_first();
        }
        let most = usize::try_from(limits.concurrent_calls).unwrap_or(usize::MAX);
        // There are more than that only where the limit was higher before.
        let last_to_wait_for = self.in_time.len().checked_sub(most).and_then(|excess| self.in_time.iter().nth(excess));
        last_to_wait_for
            .map(|(deadline, _)| Refusal::ConcurrentLimit { after: deadline.saturating_duration_since(now) })
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

    pub(super) fn end(&mut self, end: &End, now: Instant) -> bool {
        let Some(&sequence) = self.sequences.get(&end.attempt) else { return false };
        let Some(kept) = self.attempts.get_mut(&sequence) else { return false };
        let in_time = !matches!(end.outcome, Outcome::Verified(_)) || kept.deadline > now;
        if kept.drive.take_if(|drive| *drive == end.owner && in_time).is_none() {
            return false;
        }
        kept.ended_at = Some(now);
        kept.row.ended = Some(end.at);
        kept.row.outcome = (&end.outcome).into();
        if let Outcome::Verified(approval) = &end.outcome {
            kept.row.judged_by = Some(approval.judged_by());
        }
        kept.attempts = None;
        self.pending.remove(&(kept.deadline, sequence));
        self.in_time.remove(&(kept.deadline, sequence));
        self.ended.push_back(sequence);
        if end.release {
            self.release(sequence);
        }
        true
    }

    fn release(&mut self, sequence: u64) {
        let number = self.attempts.get(&sequence).and_then(|kept| kept.row.number_key);
        if let Some(number) = number.filter(|number| self.ringing.get(number) == Some(&sequence)) {
            self.ringing.remove(&number);
        }
    }

    pub(super) fn record(&mut self, update: &Update, now: Instant) {
        let Update { attempt, at, change } = update;
        let sequence = self.sequences.get(attempt).copied();
        match change {
            Change::Ended { owner, failure, release } => {
                self.fail(update, *owner, failure, *release, now);
            }
            Change::Released => sequence.into_iter().for_each(|sequence| self.release(sequence)),
            Change::Refused { number, node, failure } => match sequence {
                Some(sequence) => {
                    let owner = self.attempts.get(&sequence).and_then(|kept| kept.drive);
                    if owner.is_some_and(|owner| self.fail(update, owner, failure, true, now)) {
                        self.count_no_more(sequence);
                    }
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
            Change::Step { name, backend, text } => {
                let step = Step {
                    at: *at,
                    name: name.clone(),
                    backend: backend.as_deref().map(Into::into),
                    text: text.clone(),
                };
                if let Some(kept) = sequence.and_then(|sequence| self.attempts.get_mut(&sequence)) {
                    kept.take(step);
                }
            }
            Change::Placed { backend, reference, attempts } => {
                let step = Step { at: *at, name: "placed".into(), backend: Some((**backend).into()), text: None };
                if let Some(kept) = sequence.and_then(|sequence| self.attempts.get_mut(&sequence)) {
                    kept.row.backend = Some((**backend).into());
                    kept.placed = Some(((**backend).into(), reference.clone()));
                    kept.attempts = attempts.clone().filter(|_| kept.drive.is_some());
                    kept.take(step);
                }
            }
        }
    }

    fn fail(&mut self, update: &Update, owner: Owner, failure: &Failure, release: bool, now: Instant) -> bool {
        let outcome = Outcome::Failed(failure.clone());
        self.end(&End { attempt: update.attempt, owner, at: update.at, outcome, release }, now)
    }

    fn count_no_more(&mut self, sequence: u64) {
        let Some(kept) = self.attempts.get_mut(&sequence) else { return };
        let (Some(begun), number) = (kept.begun.take(), kept.row.number_key) else { return };
        let to_number = number.and_then(|number| self.begun.get_mut(&number));
        for counted in to_number.into_iter().chain([&mut self.begun_lately]) {
            // Of several that began at the same instant, any one will do.
            if let Ok(index) = counted.binary_search(&begun) {
                counted.remove(index);
            }
        }
    }

    pub(super) fn find(&self, id: CallId, now: Instant) -> Option<Current> {
        let kept = self.current_of(id)?;
        let state = match kept.row.ended() {
            None => {
                let left = kept.deadline.saturating_duration_since(now);
                CurrentState::Pending { left, progress: kept.progress }
            }
            Some(outcome) => {
                let ago = kept.ended_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
                CurrentState::Ended { outcome, ago }
            }
        };
        Some(Current { attempt: kept.row.attempt, number: kept.row.number_key, state })
    }

    pub(super) fn take_up(&mut self, owner: Owner, most: usize, now: Instant) -> Vec<Orphan> {
        self.renew(owner, now);
        let heard_of = &self.heard_of;
        let is_gone = |owner: &Owner| heard_of.get(owner).is_none_or(|at| now.saturating_duration_since(*at) >= LEASE);
        let mut orphans = Vec::new();
        for (deadline, sequence) in &self.pending {
            let Some(kept) = self.attempts.get_mut(sequence).filter(|_| orphans.len() < most) else { continue };
            // Long after its deadline nobody drives it any more, whoever is alive.
            let is_left = |drive: &Owner| (*drive != owner && is_gone(drive)) || *deadline + HOLD <= now;
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
        self.blocks.insert(block.number, block);
    }

    pub(super) fn unblock(&mut self, number: NumberKey) -> bool {
        self.blocks.remove(&number).is_some_and(|block| !block.has_expired(SystemTime::now()))
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
            true => rows.rev().take(query.most).cloned().collect(),
            false => rows.take(query.most).cloned().collect(),
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
        self.begun
            .retain(|_, begun| begun.back().is_some_and(|last| now.saturating_duration_since(*last) < LONGEST_WINDOW));
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
            deadline,
            begun: None,
            ended_at: None,
        }
    }

    fn take(&mut self, step: Step) {
        let progress = match &*step.name {
            "placed" => Some((&mut self.row.placed, Progress::Dialling)),
            "ringing" => Some((&mut self.row.ringing, Progress::Ringing)),
            "answered" => Some((&mut self.row.answered, Progress::Answered)),
            _ => None,
        };
        if let Some((time, progress)) = progress {
            time.get_or_insert(step.at);
            self.progress = self.progress.max(progress);
        }
        if &*step.name == "backend_refused" && self.placed.is_none() {
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
    }
}

/// How long until one more of these may come, if not now. Forgets the old ones.
fn wait(begun: &mut VecDeque<Instant>, most: u64, window: Duration, now: Instant) -> Option<Duration> {
    while begun.front().is_some_and(|at| now.saturating_duration_since(*at) >= window) {
        begun.pop_front();
    }
    let of_most = begun.len().checked_sub(usize::try_from(most).ok()?)?;
    begun.get(of_most).map(|at| (*at + window).saturating_duration_since(now))
}
