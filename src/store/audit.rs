//! The audit: queries of attempts and their steps.

use std::time::SystemTime;

use phonegate_approval::verdict::{JudgedBy, StoredApproval};

use crate::call::{Attempt, CallId, Country, Failure, FailureReason, NumberHash, Outcome, StoredOutcome};

/// A query of attempts. All of its conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Only attempts that started then or later.
    pub since: Option<SystemTime>,
    /// Only attempts that started earlier.
    pub until: Option<SystemTime>,
    /// Only attempts of this id.
    pub id: Option<CallId>,
    /// Only attempts to a number or line with one of these hashes. Empty: to any number, or to none.
    pub numbers: Vec<NumberHash>,
    /// Only attempts that failed for this reason.
    pub reason: Option<FailureReason>,
    /// Only attempts with a higher [`Row::sequence`].
    pub after: u64,
    /// Maximum number of attempts.
    pub limit: usize,
    /// Whether the last attempts come first, instead of the first ones.
    pub newest_first: bool,
}

/// An attempt in the audit. Times are by the wall clock of the machine that recorded them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Counts the attempts in the order in which the store recorded them.
    pub sequence: u64,
    /// Its id and generation.
    pub attempt: Attempt,
    /// Its number, masked, if it had one.
    pub number: Option<Box<str>>,
    /// The whole number, if it is kept.
    pub full_number: Option<Box<str>>,
    /// The hash of the number, extension included.
    pub number_hash: Option<NumberHash>,
    /// The hash of its line.
    pub line_hash: Option<NumberHash>,
    /// The name of the machine.
    pub node: Box<str>,
    /// The backend that placed it. Until one has, the last one that refused it.
    pub backend: Option<Box<str>>,
    /// When the host requested it.
    pub started: SystemTime,
    /// When a backend placed it.
    pub placed: Option<SystemTime>,
    /// When it rang.
    pub ringing: Option<SystemTime>,
    /// When it was answered.
    pub answered: Option<SystemTime>,
    /// When it ended.
    pub ended: Option<SystemTime>,
    /// Its outcome.
    pub outcome: RowOutcome,
    /// Who judged the approval, if it was approved and that was recorded.
    pub judged_by: Option<JudgedBy>,
    /// The country of its number, if it has one and that was recorded.
    pub country: Option<Country>,
    /// The end of the lock of its number that this attempt's end caused.
    pub locked_until: Option<SystemTime>,
}

impl Row {
    /// Returns the outcome, if the attempt has ended.
    pub(super) fn ended(&self) -> Option<StoredOutcome> {
        match &self.outcome {
            RowOutcome::Pending => None,
            RowOutcome::Verified => Some(StoredOutcome::Verified(StoredApproval { judged_by: self.judged_by })),
            RowOutcome::Failed(failure) => Some(StoredOutcome::Failed(failure.clone())),
        }
    }
}

/// The outcome of an attempt in the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowOutcome {
    /// It has not ended.
    Pending,
    /// It was approved.
    Verified,
    /// It failed.
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

/// A step of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When it happened, by the wall clock of the machine that recorded it.
    pub at: SystemTime,
    /// The name of its [`CallEvent`](crate::call::CallEvent), or a name that only a newer version knows.
    pub name: Box<str>,
    /// The backend.
    pub backend: Option<Box<str>>,
    /// A description.
    pub text: Option<Box<str>>,
}

impl Query {
    /// Returns whether a row meets the conditions, apart from `limit` and the order.
    pub(super) fn matches(&self, row: &Row) -> bool {
        let reason = match &row.outcome {
            RowOutcome::Failed(failure) => Some(failure.reason()),
            RowOutcome::Pending | RowOutcome::Verified => None,
        };
        row.sequence > self.after
            && self.since.is_none_or(|since| row.started >= since)
            && self.until.is_none_or(|until| row.started < until)
            && self.id.is_none_or(|id| row.attempt.id == id)
            && (self.numbers.is_empty()
                || [row.number_hash, row.line_hash].into_iter().flatten().any(|hash| self.numbers.contains(&hash)))
            && self.reason.is_none_or(|wanted| reason == Some(wanted))
    }
}
