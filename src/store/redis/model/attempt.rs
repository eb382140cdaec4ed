//! Attempts.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use phonegate_approval::attempts::StoredAttempts;
use phonegate_approval::verdict::{JudgedBy, StoredApproval};
use serde::{Deserialize, Serialize};

use super::{Clock, id, owner};
use crate::call::{
    Attempt, CallId, CallLimit, CallRef, Country, Failure, FailureReason, NumberHash, Outcome, Progress, StoredOutcome,
};
use crate::store::millis::{from_unix, span, to_unix};
use crate::store::{AttemptState, LatestAttempt, Lockout, NewAttempt, Orphan, Row, RowOutcome, StoredNumber};

/// The name of an outcome that is no failure.
const VERIFIED: &str = "Verified";

/// An attempt. The scripts add what is not known when it begins.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::store::redis) struct AttemptRecord {
    #[serde(flatten)]
    key: AttemptKey,
    #[serde(skip_serializing_if = "Option::is_none")]
    number_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    masked: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    full_number: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<Box<str>>,
    node: Box<str>,
    started_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(flatten)]
    ending: Ending,
    #[serde(skip_serializing)]
    sequence: String,
    #[serde(skip_serializing)]
    begun: i64,
    #[serde(skip_serializing)]
    deadline: i64,
    #[serde(skip_serializing)]
    ended: i64,
    #[serde(skip_serializing)]
    backend: Option<Box<str>>,
    #[serde(skip_serializing)]
    reference: Option<String>,
    #[serde(skip_serializing)]
    codes: Option<String>,
    #[serde(skip_serializing)]
    placed_at: Option<i64>,
    #[serde(skip_serializing)]
    ringing_at: Option<i64>,
    #[serde(skip_serializing)]
    answered_at: Option<i64>,
    #[serde(skip_serializing)]
    locked_until_at: Option<i64>,
}

#[derive(Default, Serialize, Deserialize)]
pub(in crate::store::redis) struct AttemptKey {
    id: String,
    generation: String,
}

/// How an attempt ended, if it did.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Ending {
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    judged_by: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<Box<str>>,
}

impl AttemptKey {
    pub(in crate::store::redis) fn of(attempt: Attempt) -> Self {
        Self { id: id(attempt.id), generation: attempt.generation.to_string() }
    }

    fn attempt(&self) -> Option<Attempt> {
        Some(Attempt { id: CallId::parse(&self.id).ok()?, generation: self.generation.parse().ok()? })
    }
}

impl Ending {
    pub(super) fn of(outcome: &Outcome, at: SystemTime) -> Self {
        let ended_at = Some(to_unix(at));
        match outcome {
            Outcome::Verified(approval) => Self {
                outcome: Some(VERIFIED.into()),
                ended_at,
                judged_by: Some(approval.judged_by().name().into()),
                ..Self::default()
            },
            Outcome::Failed(failure) => Self {
                outcome: Some(failure.reason().name().into()),
                text: Some(failure.text().into()),
                ended_at,
                limit: failure.limit().map(|limit| limit.name().into()),
                ..Self::default()
            },
        }
    }

    fn judged_by(&self) -> Option<JudgedBy> {
        JudgedBy::from_name(self.judged_by.as_deref()?)
    }

    fn ended(&self) -> Option<StoredOutcome> {
        match self.outcome() {
            RowOutcome::Pending => None,
            RowOutcome::Verified => Some(StoredOutcome::Verified(StoredApproval { judged_by: self.judged_by() })),
            RowOutcome::Failed(failure) => Some(StoredOutcome::Failed(failure)),
        }
    }

    fn outcome(&self) -> RowOutcome {
        match self.outcome.as_deref() {
            None => RowOutcome::Pending,
            Some(VERIFIED) => RowOutcome::Verified,
            Some(reason) => {
                // A newer version may know more of them.
                let reason = FailureReason::named(reason).unwrap_or(FailureReason::Internal);
                let limit = self.limit.as_deref().and_then(CallLimit::named);
                RowOutcome::Failed(Failure::verbatim(reason, self.text.clone().unwrap_or_default()).by_limit(limit))
            }
        }
    }
}

impl AttemptRecord {
    pub(in crate::store::redis) fn new(new: &NewAttempt) -> Self {
        let owner = Some(owner(new.owner));
        Self { owner, ..Self::row(new.attempt, new.started, &new.node, Some(&new.number)) }
    }

    fn row(attempt: Attempt, started: SystemTime, node: &str, number: Option<&StoredNumber>) -> Self {
        Self {
            key: AttemptKey::of(attempt),
            number_hash: number.map(|number| number.hash.to_string()),
            line_hash: number.map(|number| number.line_hash.to_string()),
            masked: number.map(|number| number.masked.clone()),
            full_number: number.and_then(|number| number.full.clone()),
            country: number.and_then(|number| number.country).map(|country| country.as_str().into()),
            node: node.into(),
            started_at: to_unix(started),
            ..Self::default()
        }
    }

    pub(super) fn refused(
        attempt: Attempt,
        at: SystemTime,
        node: &str,
        number: Option<&StoredNumber>,
        failure: &Failure,
    ) -> Self {
        let ending = Ending::of(&Outcome::Failed(failure.clone()), at);
        Self { ending, ..Self::row(attempt, at, node, number) }
    }

    fn number(&self) -> Option<NumberHash> {
        NumberHash::parse(self.number_hash.as_deref()?)
    }

    pub(in crate::store::redis) fn into_latest(self, clock: Clock) -> Option<LatestAttempt> {
        let state = match self.ending.ended() {
            Some(outcome) => AttemptState::Ended {
                outcome,
                ago: clock.age(self.ended, self.ending.ended_at.unwrap_or(self.started_at)),
            },
            None => {
                let progress = match (self.ringing_at, self.answered_at) {
                    (_, Some(_)) => Progress::Answered,
                    (Some(_), None) => Progress::Ringing,
                    (None, None) => Progress::Dialling,
                };
                AttemptState::Pending { left: self.left(clock), progress }
            }
        };
        Some(LatestAttempt { attempt: self.key.attempt()?, number: self.number(), state })
    }

    /// Returns the time until its deadline.
    fn left(&self, clock: Clock) -> Duration {
        span(self.deadline.saturating_sub(self.begun)).saturating_sub(clock.age(self.begun, self.started_at))
    }

    pub(in crate::store::redis) fn into_orphan(self, clock: Clock) -> Option<Orphan> {
        Some(Orphan {
            attempt: self.key.attempt()?,
            number: self.number()?,
            left: self.left(clock),
            started: from_unix(self.started_at),
            placed: self.backend.zip(self.reference.map(CallRef::new)),
            attempts: self.codes.map(|codes| Arc::new(StoredAttempts::from_text(codes))),
            masked: self.masked.unwrap_or_default(),
        })
    }

    /// Returns the lock that its end caused.
    pub(in crate::store::redis) fn into_lockout(self) -> Option<Lockout> {
        Some(Lockout {
            attempt: self.key.attempt()?,
            number: self.number()?,
            masked: self.masked.unwrap_or_default(),
            until: from_unix(self.locked_until_at?),
        })
    }

    pub(in crate::store::redis) fn into_row(self) -> Option<Row> {
        Some(Row {
            sequence: self.sequence.parse().ok()?,
            attempt: self.key.attempt()?,
            number_hash: self.number(),
            line_hash: self.line_hash.as_deref().and_then(NumberHash::parse),
            number: self.masked,
            full_number: self.full_number,
            node: self.node,
            backend: self.backend,
            started: from_unix(self.started_at),
            placed: self.placed_at.map(from_unix),
            ringing: self.ringing_at.map(from_unix),
            answered: self.answered_at.map(from_unix),
            ended: self.ending.ended_at.map(from_unix),
            outcome: self.ending.outcome(),
            judged_by: self.ending.judged_by(),
            country: self.country.as_deref().and_then(Country::parse),
            locked_until: self.locked_until_at.map(from_unix),
        })
    }
}

/// Returns whether an attempt, given as JSON, is verified.
pub(in crate::store::redis) fn is_verified(json: &[u8]) -> bool {
    serde_json::from_slice::<AttemptRecord>(json).is_ok_and(|record| record.ending.outcome() == RowOutcome::Verified)
}
