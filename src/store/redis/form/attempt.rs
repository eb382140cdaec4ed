//! Attempts.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use phonegate_approval::attempts::StoredAttempts;
use phonegate_approval::verdict::{JudgedBy, StoredApproval};
use serde::{Deserialize, Serialize};

use super::{Clock, at, key, owner, since_1970, span};
use crate::call::{
    Attempt, CallId, CallLimit, CallRef, Country, Failure, FailureReason, NumberKey, Outcome, Progress, StoredOutcome,
};
use crate::store::{AttemptState, LatestAttempt, Lockout, NewAttempt, Orphan, Row, RowOutcome, StoredNumber};

/// The name of an outcome that is no failure.
const VERIFIED: &str = "Verified";

/// An attempt. The scripts add what is not known when it begins.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::store::redis) struct Kept {
    #[serde(flatten)]
    which: Which,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    masked: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    full: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<Box<str>>,
    node: Box<str>,
    started: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(flatten)]
    verdict: Verdict,
    #[serde(skip_serializing)]
    sequence: String,
    #[serde(skip_serializing)]
    begun: i64,
    #[serde(skip_serializing)]
    deadline: i64,
    #[serde(skip_serializing)]
    ended_at: i64,
    #[serde(skip_serializing)]
    backend: Option<Box<str>>,
    #[serde(skip_serializing)]
    reference: Option<String>,
    #[serde(skip_serializing)]
    codes: Option<String>,
    #[serde(skip_serializing)]
    placed: Option<i64>,
    #[serde(skip_serializing)]
    ringing: Option<i64>,
    #[serde(skip_serializing)]
    answered: Option<i64>,
    #[serde(skip_serializing)]
    locked_until: Option<i64>,
}

#[derive(Default, Serialize, Deserialize)]
pub(in crate::store::redis) struct Which {
    id: String,
    generation: String,
}

/// How an attempt ended, if it did.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Verdict {
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    judged_by: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<Box<str>>,
}

impl Which {
    pub(in crate::store::redis) fn of(attempt: Attempt) -> Self {
        Self { id: key(attempt.id), generation: attempt.generation.to_string() }
    }

    fn attempt(&self) -> Option<Attempt> {
        Some(Attempt { id: CallId::parse(&self.id).ok()?, generation: self.generation.parse().ok()? })
    }
}

impl Verdict {
    pub(super) fn of(outcome: &Outcome, at: SystemTime) -> Self {
        let ended = Some(since_1970(at));
        match outcome {
            Outcome::Verified(approval) => Self {
                outcome: Some(VERIFIED.into()),
                ended,
                judged_by: Some(approval.judged_by().name().into()),
                ..Self::default()
            },
            Outcome::Failed(failure) => Self {
                outcome: Some(failure.reason().name().into()),
                text: Some(failure.text().into()),
                ended,
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

impl Kept {
    pub(in crate::store::redis) fn new(new: &NewAttempt) -> Self {
        let owner = Some(owner(new.owner));
        Self { owner, ..Self::row(new.attempt, new.started, &new.node, Some(&new.number)) }
    }

    fn row(attempt: Attempt, started: SystemTime, node: &str, number: Option<&StoredNumber>) -> Self {
        Self {
            which: Which::of(attempt),
            number: number.map(|number| number.key.to_string()),
            line: number.map(|number| number.line.to_string()),
            masked: number.map(|number| number.masked.clone()),
            full: number.and_then(|number| number.full.clone()),
            country: number.and_then(|number| number.country).map(|country| country.as_str().into()),
            node: node.into(),
            started: since_1970(started),
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
        let verdict = Verdict::of(&Outcome::Failed(failure.clone()), at);
        Self { verdict, ..Self::row(attempt, at, node, number) }
    }

    fn number(&self) -> Option<NumberKey> {
        NumberKey::parse(self.number.as_deref()?)
    }

    pub(in crate::store::redis) fn into_current(self, clock: Clock) -> Option<LatestAttempt> {
        let state = match self.verdict.ended() {
            Some(outcome) => AttemptState::Ended {
                outcome,
                ago: clock.since(self.ended_at, self.verdict.ended.unwrap_or(self.started)),
            },
            None => {
                let progress = match (self.ringing, self.answered) {
                    (_, Some(_)) => Progress::Answered,
                    (Some(_), None) => Progress::Ringing,
                    (None, None) => Progress::Dialling,
                };
                AttemptState::Pending { left: self.left(clock), progress }
            }
        };
        Some(LatestAttempt { attempt: self.which.attempt()?, number: self.number(), state })
    }

    /// Returns the time until its deadline.
    fn left(&self, clock: Clock) -> Duration {
        span(self.deadline - self.begun).saturating_sub(clock.since(self.begun, self.started))
    }

    pub(in crate::store::redis) fn into_orphan(self, clock: Clock) -> Option<Orphan> {
        Some(Orphan {
            attempt: self.which.attempt()?,
            number: self.number()?,
            left: self.left(clock),
            started: at(self.started),
            placed: self.backend.zip(self.reference.map(CallRef::new)),
            attempts: self.codes.map(|codes| Arc::new(StoredAttempts::from_text(codes))),
            masked: self.masked.unwrap_or_default(),
        })
    }

    /// Returns the lock that its end caused.
    pub(in crate::store::redis) fn into_lockout(self) -> Option<Lockout> {
        Some(Lockout {
            attempt: self.which.attempt()?,
            number: self.number()?,
            masked: self.masked.unwrap_or_default(),
            until: at(self.locked_until?),
        })
    }

    pub(in crate::store::redis) fn into_row(self) -> Option<Row> {
        Some(Row {
            sequence: self.sequence.parse().ok()?,
            attempt: self.which.attempt()?,
            number_key: self.number(),
            line_key: self.line.as_deref().and_then(NumberKey::parse),
            number: self.masked,
            full_number: self.full,
            node: self.node,
            backend: self.backend,
            started: at(self.started),
            placed: self.placed.map(at),
            ringing: self.ringing.map(at),
            answered: self.answered.map(at),
            ended: self.verdict.ended.map(at),
            outcome: self.verdict.outcome(),
            judged_by: self.verdict.judged_by(),
            country: self.country.as_deref().and_then(Country::parse),
            locked_until: self.locked_until.map(at),
        })
    }
}

/// Returns whether an attempt, given as JSON, is verified.
pub(in crate::store::redis) fn is_verified(text: &str) -> bool {
    serde_json::from_str::<Kept>(text).is_ok_and(|kept| kept.verdict.outcome() == RowOutcome::Verified)
}
