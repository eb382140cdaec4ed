//! Updates of attempts.

use serde::{Deserialize, Serialize, Serializer};

use super::attempt::{Kept, Verdict, Which};
use super::{at, milliseconds, owner, since_1970};
use crate::backend::CallRef;
use crate::call::{CallEvent, Failure, Outcome};
use crate::store::{AttemptChange, DenialLimits, EndRequest, RecordedChange, Step};

/// How an attempt is to end.
#[derive(Serialize)]
pub(in crate::store::redis) struct KeptEnd {
    #[serde(flatten)]
    which: Which,
    owner: String,
    #[serde(flatten)]
    verdict: Verdict,
    release: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    denials: Option<KeptDenialLimits>,
}

impl KeptEnd {
    pub(in crate::store::redis) fn new(end: &EndRequest) -> Self {
        let EndRequest { attempt, owner: whose, at, outcome, release, denials } = end;
        let failure = match outcome {
            Outcome::Failed(failure) => Some(failure),
            Outcome::Verified(_) => None,
        };
        Self {
            which: Which::of(*attempt),
            owner: owner(*whose),
            verdict: Verdict::of(outcome, *at),
            release: *release,
            denials: failure.and_then(|failure| KeptDenialLimits::of(failure, denials)),
        }
    }
}

/// When a denial locks its number.
#[derive(Serialize)]
struct KeptDenialLimits {
    count: u64,
    window: i64,
    lock: i64,
}

impl KeptDenialLimits {
    /// `None` if the failure is no denial.
    fn of(failure: &Failure, limits: &DenialLimits) -> Option<Self> {
        let DenialLimits { count, window, lock } = *limits;
        failure.reason().is_denial().then(|| Self { count, window: milliseconds(window), lock: milliseconds(lock) })
    }
}

/// An update of an attempt.
#[derive(Serialize)]
pub(in crate::store::redis) struct KeptUpdate {
    #[serde(flatten)]
    which: Which,
    #[serde(flatten)]
    change: KeptChange,
}

#[derive(Serialize)]
#[serde(tag = "change", rename_all = "lowercase")]
enum KeptChange {
    Step {
        at: i64,
        name: Box<str>,
        /// The whole step as JSON, which is compared and kept unchanged.
        #[serde(serialize_with = "as_text")]
        step: KeptStep,
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
        verdict: Verdict,
        release: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        denials: Option<KeptDenialLimits>,
    },
    Released,
    Refused {
        /// How long the update has waited to be recorded, in ms.
        waited: i64,
        /// The outcome of the attempt, if it has begun nevertheless.
        #[serde(flatten)]
        verdict: Verdict,
        release: bool,
        /// The row of the attempt, if it has not begun.
        row: Box<Kept>,
    },
}

impl KeptUpdate {
    pub(in crate::store::redis) fn new(update: &RecordedChange) -> Self {
        let RecordedChange { attempt, at, change } = update;
        let failed = |failure: &Failure| Verdict::of(&Outcome::Failed(failure.clone()), *at);
        let step = |event: CallEvent, backend: Option<&str>, text: Option<&str>, placed: Option<(&CallRef, _)>| {
            let backend: Option<Box<str>> = backend.map(Into::into);
            let (at, name): (_, Box<str>) = (since_1970(*at), event.name().into());
            let step = KeptStep { at, name: name.clone(), backend: backend.clone(), text: text.map(Into::into) };
            let (reference, codes) = placed.unzip();
            let reference = reference.map(|reference| reference.as_str().to_owned());
            KeptChange::Step { at, name, step, backend, reference, codes: codes.flatten() }
        };
        let change = match change {
            AttemptChange::Step { event, backend, text } => step(*event, backend.as_deref(), text.as_deref(), None),
            AttemptChange::Placed { backend, reference, attempts } => {
                let codes = attempts.as_ref().map(|attempts| attempts.as_text().to_owned());
                step(CallEvent::Placed, Some(backend), None, Some((reference, codes)))
            }
            AttemptChange::Ended { owner: whose, failure, release, denials } => KeptChange::Ended {
                owner: owner(*whose),
                verdict: failed(failure),
                release: *release,
                denials: KeptDenialLimits::of(failure, denials),
            },
            AttemptChange::Released => KeptChange::Released,
            AttemptChange::Refused { number, node, failure } => KeptChange::Refused {
                waited: milliseconds(update.waited()),
                verdict: failed(failure),
                release: true,
                row: Box::new(Kept::refused(*attempt, *at, node, number.as_ref(), failure)),
            },
        };
        Self { which: Which::of(*attempt), change }
    }
}

/// A step of an attempt.
#[derive(Serialize, Deserialize)]
pub(in crate::store::redis) struct KeptStep {
    at: i64,
    name: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Box<str>>,
}

impl From<KeptStep> for Step {
    fn from(kept: KeptStep) -> Self {
        Self { at: at(kept.at), name: kept.name, backend: kept.backend, text: kept.text }
    }
}

fn as_text<S: Serializer>(step: &KeptStep, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&serde_json::to_string(step).map_err(serde::ser::Error::custom)?)
}
