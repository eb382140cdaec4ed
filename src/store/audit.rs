//! What an administrator asks a store.

use std::time::SystemTime;

use phonegate_approval::verdict::{JudgedBy, StoredApproval};

use crate::call::{Attempt, CallId, Country, Failure, FailureReason, NumberKey, Outcome, StoredOutcome};

/// Which attempts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Those that started then or later.
    pub since: Option<SystemTime>,
    /// Those that started earlier.
    pub until: Option<SystemTime>,
    /// Those of this id.
    pub id: Option<CallId>,
    /// Those to a number or line with one of these keys. Empty: to any number, or to none.
    pub numbers: Vec<NumberKey>,
    /// Those that ended for this reason.
    pub reason: Option<FailureReason>,
    /// Those of a higher [`Row::sequence`].
    pub after: u64,
    /// No more than so many.
    pub limit: usize,
    /// The last ones first, instead of the first ones.
    pub newest_first: bool,
}

/// An attempt as the audit has it. Times are by the wall clock of the machine that wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Counts the attempts as they came into the store.
    pub sequence: u64,
    /// Which one.
    pub attempt: Attempt,
    /// Its number, masked, where there was one.
    pub number: Option<Box<str>>,
    /// The whole number, where it is kept.
    pub full_number: Option<Box<str>>,
    /// By which the number is known again.
    pub number_key: Option<NumberKey>,
    /// The same for its line.
    pub line_key: Option<NumberKey>,
    /// The machine.
    pub node: Box<str>,
    /// The backend that placed it; where none has yet, the last one that refused it.
    pub backend: Option<Box<str>>,
    /// When the host asked for it.
    pub started: SystemTime,
    /// When a backend had placed it.
    pub placed: Option<SystemTime>,
    /// When it rang.
    pub ringing: Option<SystemTime>,
    /// When somebody answered.
    pub answered: Option<SystemTime>,
    /// When it ended.
    pub ended: Option<SystemTime>,
    /// How.
    pub outcome: RowOutcome,
    /// Who judged that it was approved, if it was and a version recorded it that records this.
    pub judged_by: Option<JudgedBy>,
    /// The country of its number, unless the number has none or a version recorded it that does not record this.
    pub country: Option<Country>,
    /// The end of the lock of its number that this attempt's end caused.
    pub locked_until: Option<SystemTime>,
}

impl Row {
    /// Returns the outcome of an attempt that has ended.
    pub(super) fn ended(&self) -> Option<StoredOutcome> {
        match &self.outcome {
            RowOutcome::Pending => None,
            RowOutcome::Verified => Some(StoredOutcome::Verified(StoredApproval { judged_by: self.judged_by })),
            RowOutcome::Failed(failure) => Some(StoredOutcome::Failed(failure.clone())),
        }
    }
}

/// How an attempt stands in the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowOutcome {
    /// It has not ended.
    Pending,
    /// It was approved.
    Verified,
    /// It failed so.
    Failed(Failure),
}

impl From<&Outcome> for RowOutcome {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Verified(_) => Self::Verified,
            Outcome::Failed(failure) => Self::Failed(failure.clone()),
        }
    }
}

/// A step of an attempt's story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When, by the wall clock of the machine that wrote it.
    pub at: SystemTime,
    /// The name of its [`CallEvent`](crate::call::CallEvent), or a name that only a newer version knows.
    pub name: Box<str>,
    /// The backend.
    pub backend: Option<Box<str>>,
    /// More about it.
    pub text: Option<Box<str>>,
}

impl Query {
    /// Does it ask for this row, its place and number aside?
    pub(super) fn wants(&self, row: &Row) -> bool {
        let reason = match &row.outcome {
            RowOutcome::Failed(failure) => Some(failure.reason()),
            RowOutcome::Pending | RowOutcome::Verified => None,
        };
        row.sequence > self.after
            && self.since.is_none_or(|since| row.started >= since)
            && self.until.is_none_or(|until| row.started < until)
            && self.id.is_none_or(|id| row.attempt.id == id)
            && (self.numbers.is_empty()
                || [row.number_key, row.line_key].into_iter().flatten().any(|key| self.numbers.contains(&key)))
            && self.reason.is_none_or(|wanted| reason == Some(wanted))
    }
}
