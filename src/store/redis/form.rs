//! What is kept, in JSON: the scripts beside this read and write it, too. Times are in milliseconds since 1970.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use phonegate_approval::attempts::StoredAttempts;
use phonegate_approval::verdict::{JudgedBy, StoredApproval};

use serde::{Deserialize, Serialize, Serializer};

use crate::backend::Reference;
use crate::call::{Attempt, CallId, Failure, FailureReason, HashedNumber, NumberKey, Outcome, Progress, StoredOutcome};
use crate::store::{
    Block, Change, Current, CurrentState, End, NewAttempt, Orphan, Owner, Row, RowOutcome, Step, StoredNumber, Update,
};

/// By how much the clocks of two machines of a domain may differ: Kerberos bears no more
/// (<https://learn.microsoft.com/en-us/previous-versions/windows/it-pro/windows-10/security/threat-protection/security-policy-settings/maximum-tolerance-for-computer-clock-synchronization>).
const SKEW: Duration = Duration::from_secs(5 * 60);

/// The name of an outcome that is no failure.
const VERIFIED: &str = "Verified";

/// An attempt. The scripts add what is not known when it begins.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Kept {
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
}

#[derive(Default, Serialize, Deserialize)]
struct Which {
    id: String,
    generation: String,
}

/// How an attempt ended, if it did.
#[derive(Default, Serialize, Deserialize)]
struct Verdict {
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    judged_by: Option<Box<str>>,
}

impl Which {
    fn of(attempt: Attempt) -> Self {
        Self { id: key(attempt.id), generation: attempt.generation.to_string() }
    }

    fn attempt(&self) -> Option<Attempt> {
        Some(Attempt { id: CallId::parse(&self.id).ok()?, generation: self.generation.parse().ok()? })
    }
}

impl Verdict {
    fn of(outcome: &Outcome, at: SystemTime) -> Self {
        let (outcome, text, judged_by) = match outcome {
            Outcome::Verified(approval) => (VERIFIED, None, Some(approval.judged_by().name().into())),
            Outcome::Failed(failure) => (failure.reason().name(), Some(failure.text().into()), None),
        };
        Self { outcome: Some(outcome.into()), text, ended: Some(since_1970(at)), judged_by }
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
                RowOutcome::Failed(Failure::verbatim(reason, self.text.clone().unwrap_or_default()))
            }
        }
    }
}

impl Kept {
    pub(super) fn new(new: &NewAttempt) -> Self {
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
            node: node.into(),
            started: since_1970(started),
            ..Self::default()
        }
    }

    fn refused(attempt: Attempt, at: SystemTime, node: &str, number: Option<&StoredNumber>, failure: &Failure) -> Self {
        let verdict = Verdict::of(&Outcome::Failed(failure.clone()), at);
        Self { verdict, ..Self::row(attempt, at, node, number) }
    }

    fn number(&self) -> Option<NumberKey> {
        NumberKey::parse(self.number.as_deref()?)
    }

    pub(super) fn into_current(self, clock: Clock) -> Option<Current> {
        let state = match self.verdict.ended() {
            Some(outcome) => CurrentState::Ended {
                outcome,
                ago: clock.since(self.ended_at, self.verdict.ended.unwrap_or(self.started)),
            },
            None => {
                let progress = match (self.ringing, self.answered) {
                    (_, Some(_)) => Progress::Answered,
                    (Some(_), None) => Progress::Ringing,
                    (None, None) => Progress::Dialling,
                };
                CurrentState::Pending { left: self.left(clock), progress }
            }
        };
        Some(Current { attempt: self.which.attempt()?, number: self.number(), state })
    }

    /// How long it may still take.
    fn left(&self, clock: Clock) -> Duration {
        span(self.deadline - self.begun).saturating_sub(clock.since(self.begun, self.started))
    }

    pub(super) fn into_orphan(self, clock: Clock) -> Option<Orphan> {
        Some(Orphan {
            attempt: self.which.attempt()?,
            number: self.number()?,
            left: self.left(clock),
            started: at(self.started),
            placed: self.backend.zip(self.reference.map(Reference::new)),
            attempts: self.codes.map(|codes| Arc::new(StoredAttempts::from_text(codes))),
            masked: self.masked.unwrap_or_default(),
        })
    }

    pub(super) fn into_row(self) -> Option<Row> {
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
        })
    }
}

/// The store's clock.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    pub(super) now: i64,
    /// How long ago anything was that was not later than this is not known: the server's clock was set back.
    pub(super) doubt: i64,
}

impl Clock {
    /// How long ago something was that a node told with its own time.
    fn since(self, time: i64, told: i64) -> Duration {
        if time <= self.doubt {
            return Duration::MAX;
        }
        // The server may have been away for longer than its clock knows.
        let by_this_machine = SystemTime::now().duration_since(at(told)).unwrap_or_default();
        span(self.now - time).max(by_this_machine.saturating_sub(SKEW))
    }
}

/// Does this attempt's text say that it is verified?
pub(super) fn is_verified(text: &str) -> bool {
    serde_json::from_str::<Kept>(text).is_ok_and(|kept| kept.verdict.outcome() == RowOutcome::Verified)
}

/// A number's hash by one key.
#[derive(Serialize)]
pub(super) struct Hashed {
    fingerprint: String,
    number: String,
    line: String,
}

/// A number's hashes by all keys, the current one first.
pub(super) fn hashes(number: &StoredNumber) -> Vec<Hashed> {
    let current = HashedNumber { fingerprint: number.fingerprint, number: number.key, line: number.line };
    let hashed = |hashed: &HashedNumber| Hashed {
        fingerprint: hashed.fingerprint.to_string(),
        number: hashed.number.to_string(),
        line: hashed.line.to_string(),
    };
    std::iter::once(&current).chain(&number.otherwise).map(hashed).collect()
}

/// How an attempt is to end.
#[derive(Serialize)]
pub(super) struct KeptEnd {
    #[serde(flatten)]
    which: Which,
    owner: String,
    #[serde(flatten)]
    verdict: Verdict,
    release: bool,
}

impl KeptEnd {
    pub(super) fn new(end: &End) -> Self {
        let End { attempt, owner: whose, at, outcome, release } = end;
        Self { which: Which::of(*attempt), owner: owner(*whose), verdict: Verdict::of(outcome, *at), release: *release }
    }
}

/// Something that happened.
#[derive(Serialize)]
pub(super) struct KeptUpdate {
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
        /// The whole of it: compared and kept as it is.
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
    },
    Released,
    Refused {
        /// How long it has been waiting to be told.
        waited: i64,
        /// If it has begun all the same.
        #[serde(flatten)]
        verdict: Verdict,
        release: bool,
        /// If not.
        row: Box<Kept>,
    },
}

impl KeptUpdate {
    pub(super) fn new(update: &Update) -> Self {
        let Update { attempt, at, change } = update;
        let failed = |failure: &Failure| Verdict::of(&Outcome::Failed(failure.clone()), *at);
        let step = |name: &str, backend: Option<&str>, text: Option<&str>, placed: Option<(&Reference, _)>| {
            let backend: Option<Box<str>> = backend.map(Into::into);
            let (at, name): (_, Box<str>) = (since_1970(*at), name.into());
            let step = KeptStep { at, name: name.clone(), backend: backend.clone(), text: text.map(Into::into) };
            let (reference, codes) = placed.unzip();
            let reference = reference.map(|reference| reference.as_str().to_owned());
            KeptChange::Step { at, name, step, backend, reference, codes: codes.flatten() }
        };
        let change = match change {
            Change::Step { name, backend, text } => step(name, backend.as_deref(), text.as_deref(), None),
            Change::Placed { backend, reference, attempts } => {
                let codes = attempts.as_ref().map(|attempts| attempts.as_text().to_owned());
                step("placed", Some(backend), None, Some((reference, codes)))
            }
            Change::Ended { owner: whose, failure, release } => {
                KeptChange::Ended { owner: owner(*whose), verdict: failed(failure), release: *release }
            }
            Change::Released => KeptChange::Released,
            Change::Refused { number, node, failure } => KeptChange::Refused {
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
pub(super) struct KeptStep {
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

/// A number that is not called.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptBlock {
    number: String,
    masked: Box<str>,
    reason: Box<str>,
    since: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
}

impl KeptBlock {
    pub(super) fn new(block: &Block) -> Self {
        Self {
            number: block.number.to_string(),
            masked: block.masked.clone(),
            reason: block.reason.clone(),
            since: since_1970(block.since),
            until: block.until.map(since_1970),
        }
    }

    pub(super) fn into_block(self) -> Option<Block> {
        Some(Block {
            number: NumberKey::parse(&self.number)?,
            masked: self.masked,
            reason: self.reason,
            since: at(self.since),
            until: self.until.map(at),
        })
    }
}

/// An id as it stands in keys.
pub(super) fn key(id: CallId) -> String {
    id.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn owner(owner: Owner) -> String {
    owner.0.as_simple().to_string()
}

pub(super) fn milliseconds(span: Duration) -> i64 {
    span.as_millis().try_into().unwrap_or(i64::MAX)
}

pub(super) fn span(milliseconds: i64) -> Duration {
    Duration::from_millis(milliseconds.try_into().unwrap_or_default())
}

pub(super) fn since_1970(time: SystemTime) -> i64 {
    milliseconds(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

pub(super) fn at(milliseconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(span(milliseconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}
