//! Changes of attempts, as arguments of scripts.

use serde::{Deserialize, Serialize, Serializer};

use super::attempt::{AttemptKey, AttemptRecord, Ending};
use super::owner;
use crate::call::{CallEvent, CallRef, Failure, Outcome};
use crate::store::millis::{from_unix, milliseconds, to_unix};
use crate::store::{AttemptChange, DenialLimits, EndRequest, RecordedChange, Step};

/// How an attempt ends.
#[derive(Serialize)]
pub(in crate::store::redis) struct EndArgs {
    #[serde(flatten)]
    key: AttemptKey,
    owner: String,
    #[serde(flatten)]
    ending: Ending,
    release: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    denials: Option<DenialLimitArgs>,
}

impl EndArgs {
    pub(in crate::store::redis) fn new(end: &EndRequest) -> Self {
        let EndRequest { attempt, owner: whose, at, outcome, release, denials } = end;
        let failure = match outcome {
            Outcome::Failed(failure) => Some(failure),
            Outcome::Verified(_) => None,
        };
        Self {
            key: AttemptKey::of(*attempt),
            owner: owner(*whose),
            ending: Ending::of(outcome, *at),
            release: *release,
            denials: failure.and_then(|failure| DenialLimitArgs::of(failure, denials)),
        }
    }
}

/// When a denial locks its number.
#[derive(Serialize)]
struct DenialLimitArgs {
    count: u64,
    window: i64,
    lock: i64,
}

impl DenialLimitArgs {
    /// `None` if the failure is no denial.
    fn of(failure: &Failure, limits: &DenialLimits) -> Option<Self> {
        let DenialLimits { count, window, lock } = *limits;
        failure.reason().is_denial().then(|| Self { count, window: milliseconds(window), lock: milliseconds(lock) })
    }
}

/// A change of an attempt.
#[derive(Serialize)]
pub(in crate::store::redis) struct ChangeArgs {
    #[serde(flatten)]
    key: AttemptKey,
    #[serde(flatten)]
    change: ChangeKind,
}

#[derive(Serialize)]
#[serde(tag = "change", rename_all = "lowercase")]
enum ChangeKind {
    Step {
        at: i64,
        name: Box<str>,
        /// The whole step as JSON, which is compared and stored unchanged.
        #[serde(serialize_with = "as_text")]
        step: StepRecord,
        #[serde(skip_serializing_if = "Option::is_none")]
        backend: Option<Box<str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        codes: Option<String>,
    },
    Ended {
        owner: String,
        #[serde(flatten)]
        ending: Ending,
        release: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        denials: Option<DenialLimitArgs>,
    },
    Released,
    Refused {
        /// How long the refusal has waited until it is recorded, in milliseconds (S6).
        waited: i64,
        /// The outcome of the attempt, if it has begun nevertheless.
        #[serde(flatten)]
        ending: Ending,
        release: bool,
        /// The row of the attempt, if it has not begun.
        row: Box<AttemptRecord>,
    },
}

impl ChangeArgs {
    pub(in crate::store::redis) fn new(recorded: &RecordedChange) -> Self {
        let RecordedChange { attempt, at, change } = recorded;
        let failed = |failure: &Failure| Ending::of(&Outcome::Failed(failure.clone()), *at);
        let step = |event: CallEvent, backend: Option<&str>, text: Option<&str>, placed: Option<(&CallRef, _)>| {
            let backend: Option<Box<str>> = backend.map(Into::into);
            let (at, name): (_, Box<str>) = (to_unix(*at), event.name().into());
            let step = StepRecord { at, name: name.clone(), backend: backend.clone(), text: text.map(Into::into) };
            let (reference, codes) = placed.unzip();
            let reference = reference.map(|reference| reference.as_str().to_owned());
            ChangeKind::Step { at, name, step, backend, reference, codes: codes.flatten() }
        };
        let change = match change {
            AttemptChange::Step { event, backend, text } => step(*event, backend.as_deref(), text.as_deref(), None),
            AttemptChange::Placed { backend, reference, attempts } => {
                let codes = attempts.as_ref().map(|attempts| attempts.as_text().to_owned());
                step(CallEvent::Placed, Some(backend), None, Some((reference, codes)))
            }
            AttemptChange::Ended { owner: whose, failure, release, denials } => ChangeKind::Ended {
                owner: owner(*whose),
                ending: failed(failure),
                release: *release,
                denials: DenialLimitArgs::of(failure, denials),
            },
            AttemptChange::Released => ChangeKind::Released,
            AttemptChange::Refused { number, node, failure } => ChangeKind::Refused {
                waited: milliseconds(recorded.waited()),
                ending: failed(failure),
                release: true,
                row: Box::new(AttemptRecord::refused(*attempt, *at, node, number.as_ref(), failure)),
            },
        };
        Self { key: AttemptKey::of(*attempt), change }
    }
}

/// A step of an attempt.
#[derive(Serialize, Deserialize)]
pub(in crate::store::redis) struct StepRecord {
    at: i64,
    name: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Box<str>>,
}

impl From<StepRecord> for Step {
    fn from(record: StepRecord) -> Self {
        Self { at: from_unix(record.at), name: record.name, backend: record.backend, text: record.text }
    }
}

fn as_text<S: Serializer>(step: &StepRecord, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&serde_json::to_string(step).map_err(serde::ser::Error::custom)?)
}
