//! Records changes of attempts in memory, each at most once (S7).

use std::time::{Duration, Instant};

use super::calls::{AttemptEntry, Calls, row};
use crate::call::{CallEvent, Failure, FailureReason, Outcome, Progress};
use crate::store::{
    AttemptChange, DenialLimits, EndRequest, Lockout, Owner, RecordedChange, Row, RowOutcome, Step, StoredNumber,
};

impl Calls {
    /// Records a change (S7).
    pub(super) fn record(&mut self, recorded: &RecordedChange, now: Instant) -> Option<Lockout> {
        let RecordedChange { attempt, at, change } = recorded;
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
                Some(sequence) => self.withdraw(sequence, recorded, failure, now),
                None => self.record_refusal(recorded, number.as_ref(), node, failure, now),
            },
            AttemptChange::Step { event, backend, text } => {
                let step = Step {
                    at: *at,
                    name: event.name().into(),
                    backend: backend.as_deref().map(Into::into),
                    text: text.clone(),
                };
                if let Some(entry) = sequence.and_then(|sequence| self.attempts.get_mut(&sequence)) {
                    entry.apply(*event, step);
                }
            }
            AttemptChange::Placed { backend, reference, attempts } => {
                let event = CallEvent::Placed;
                let step = Step { at: *at, name: event.name().into(), backend: Some((**backend).into()), text: None };
                if let Some(entry) = sequence.and_then(|sequence| self.attempts.get_mut(&sequence)) {
                    entry.row.backend = Some((**backend).into());
                    entry.placed = Some(((**backend).into(), reference.clone()));
                    entry.attempts = attempts.clone().filter(|_| entry.owner_now.is_some());
                    entry.apply(event, step);
                }
            }
        }
        None
    }

    /// Ends an attempt that has begun although it was refused, so that it counts for no limit (S12).
    fn withdraw(&mut self, sequence: u64, recorded: &RecordedChange, failure: &Failure, now: Instant) {
        let Some(owner) = self.attempts.get(&sequence).and_then(|entry| entry.owner_now) else { return };
        let outcome = Outcome::Failed(failure.clone());
        // No phone rang, so it does not count as a denial.
        let denials = DenialLimits { count: 0, window: Duration::ZERO, lock: Duration::ZERO };
        let RecordedChange { attempt, at, .. } = *recorded;
        let end = EndRequest { attempt, owner, at, outcome, release: true, denials };
        if let Some(withdrawn) = self.finish(&end, now) {
            self.subtract_withdrawn(withdrawn);
        }
    }

    /// Records a refusal for the audit, and as the latest attempt of its id if no other attempt is (S6).
    fn record_refusal(
        &mut self,
        recorded: &RecordedChange,
        number: Option<&StoredNumber>,
        node: &str,
        failure: &Failure,
        now: Instant,
    ) {
        let mut row = row(recorded.attempt, recorded.at, node, number);
        row.ended = Some(recorded.at);
        row.outcome = RowOutcome::Failed(failure.clone());
        let is_older = |entry: &AttemptEntry| {
            entry.owner_now.is_none() && entry.begun.is_none_or(|begun| begun + recorded.waited() <= now)
        };
        let is_latest = self.latest_of(recorded.attempt.id).is_none_or(is_older);
        let sequence = self.insert(AttemptEntry { ended_at: Some(now), ..AttemptEntry::new(row, now) });
        self.ended.push_back(sequence);
        if is_latest {
            self.latest.insert(recorded.attempt.id, sequence);
        }
    }
}

impl AttemptEntry {
    /// Returns the lock that its end caused, if this owner ended it for this reason (S7).
    fn lockout(&self, owner: Owner, reason: FailureReason) -> Option<Lockout> {
        let Row { attempt, number, number_hash, outcome, locked_until, .. } = &self.row;
        let is_same = matches!(outcome, RowOutcome::Failed(failure) if failure.reason() == reason);
        (is_same && self.ended_by == Some(owner)).then_some(())?;
        let masked = number.clone().unwrap_or_default();
        Some(Lockout { attempt: *attempt, number: (*number_hash)?, masked, until: (*locked_until)? })
    }

    fn apply(&mut self, event: CallEvent, step: Step) {
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
