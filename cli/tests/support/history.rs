//! Generates weeks of calls in a store of SQLite, as in a company: more on workdays than on Sundays, more in the morning
//! than at night, and some that fail.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use futures_util::future::join_all;
use phonegate::admission::Admission;
use phonegate::backend::CallRef;
use phonegate::call::{Attempt, CallEvent, CallId, CallLimit, Failure, FailureReason, Outcome, PhoneNumber};
use phonegate::store::{
    AttemptChange, Begun, CallStore, DenialLimits, EndRequest, NewAttempt, Owner, RecordedChange, SqliteStore,
    StoredNumber,
};
use phonegate_approval::attempts::Attempts;
use phonegate_approval::policy::{Method, Policy};
use phonegate_approval::secret::Entry;
use phonegate_approval::verdict::{Answer, EndedBy, ProviderVerdicts, Verdict};
use uuid::Uuid;

use crate::support::limits::NO_LIMITS;
use crate::support::tool;

const DAY: u64 = 24 * 60 * 60;

/// Number of calls that are written at once.
const BATCH: usize = 500;

/// Two calls in a row that are not approved lock a number.
const TWICE: DenialLimits =
    DenialLimits { count: 2, window: Duration::from_secs(3600), lock: Duration::from_secs(3600) };

/// Fills a file with `count` calls of the last `days` days. The same arguments make the same calls, except for their ids.
pub fn fill(file: &Path, days: u64, count: usize) {
    let store = SqliteStore::open(file).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut history = History::new(days);
    let mut calls: Vec<_> = (0..count).map(|_| history.call()).collect();
    calls.sort_by_key(|call| call.started);
    for batch in calls.chunks(BATCH) {
        runtime.block_on(write(&store, batch));
    }
    drop(store);
    // The store counts by its own clock: a lock ends an hour after the call that caused it.
    let ends = "UPDATE attempts SET locked_until_at = ended_at + 3600000 WHERE locked_until_at IS NOT NULL";
    assert!(tool("sqlite3", "sqlite3").arg(file).arg(ends).status().unwrap().success());
}

struct Call {
    attempt: Attempt,
    number: StoredNumber,
    node: Arc<str>,
    backend: Arc<str>,
    started: SystemTime,
    /// The time until the answer, if it was answered.
    answered: Option<Duration>,
    /// The time until the end. `None`: the gate refused the call.
    ended: Option<Duration>,
    outcome: Outcome,
}

impl Call {
    fn is_placed(&self) -> bool {
        !matches!(&self.outcome, Outcome::Failed(failure) if failure.reason() == FailureReason::CannotPlace)
    }
}

struct History {
    random: Rng,
    admission: Admission,
    now: SystemTime,
    days: u64,
}

impl History {
    fn new(days: u64) -> Self {
        let numbers = serde_json::from_str(r#"{ "default_country": "US" }"#).unwrap();
        Self { random: Rng::with_seed(5), admission: Admission::new(&numbers).unwrap(), now: SystemTime::now(), days }
    }

    fn number(&mut self, of: u32) -> PhoneNumber {
        let line = self.random.u32(0..of);
        self.admission.read(&format!("+1425{:07}", 5_550_000 + line)).unwrap()
    }

    fn started(&mut self) -> (u64, SystemTime) {
        loop {
            let ago = self.random.u64(60..self.days * DAY);
            let time = self.now - Duration::from_secs(ago);
            let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            // 1 January 1970 was a Thursday.
            let weekday = (since_epoch / DAY + 3) % 7;
            let by_hour = [1, 1, 0, 0, 1, 3, 12, 45, 90, 80, 60, 50, 40, 58, 62, 55, 42, 30, 16, 10, 8, 6, 4, 2];
            let weight =
                by_hour[(since_epoch % DAY / 3600) as usize] * if weekday >= 5 { 12 } else { 100 - weekday * 8 };
            if self.random.u64(0..9000) < weight {
                return (ago / DAY, time);
            }
        }
    }

    fn call(&mut self) -> Call {
        let (days_ago, started) = self.started();
        // The trunk was out of order for three days, not all of a weekend, and an attacker tried numbers on another day.
        let outage = (self.days / 3..self.days / 3 + 3).contains(&days_ago);
        let attack = days_ago == self.days / 5;
        let chance = self.random.u32(0..1000);
        let seconds = |random: &mut Rng, from: f64, mean: f64| from - mean * (1.0 - random.f64()).ln();
        let answered = seconds(&mut self.random, 2.5, 5.0).min(45.0);
        let pressed = answered + seconds(&mut self.random, 2.0, 5.0).min(40.0);
        let failed = |reason, text: &str| Outcome::Failed(Failure::new(reason, text));
        let mut number = self.number(2_000);
        let (answered, ended, outcome) = match chance {
            0..350 if outage => (None, Some(0.4), failed(FailureReason::CannotPlace, "The trunk refused: 503.")),
            0..420 if attack => {
                number = self.number(3);
                let failure = match self.random.u32(0..4) {
                    0 => Failure::new(FailureReason::AlreadyInProgress, "Another request is ringing this number now."),
                    1 => Failure::limited(CallLimit::Denials, "It is locked."),
                    2 => Failure::limited(CallLimit::CallsPerNumberPerDay, "There were too many calls."),
                    _ => Failure::limited(CallLimit::CallsPerNumber, "There were too many calls."),
                };
                (None, None, Outcome::Failed(failure))
            }
            0..770 => (Some(answered), Some(pressed), verified()),
            770..830 => (Some(answered), Some(pressed + 30.0), failed(FailureReason::NoKeyPressed, "No key.")),
            830..880 => (None, Some(40.0), failed(FailureReason::Unreachable, "The call was not answered.")),
            880..905 => (Some(answered), Some(pressed), failed(FailureReason::CallEnded, "Hung up.")),
            905..918 => (Some(answered), Some(pressed + 9.0), failed(FailureReason::WrongKey, "Another key.")),
            918..930 => (Some(answered), Some(answered + 2.0), failed(FailureReason::Voicemail, "A machine.")),
            930..938 => (Some(answered), Some(90.0), failed(FailureReason::DeadlinePassed, "Too late.")),
            938..962 => (None, None, failed(FailureReason::InvalidNumber, "The phone number is not valid.")),
            962..974 => (None, None, failed(FailureReason::CountryNotAllowed, "This country is not allowed.")),
            974..984 => {
                let limit = if days_ago % 9 == 4 { CallLimit::CallsPerDay } else { CallLimit::CallsPerNumber };
                (None, None, Outcome::Failed(Failure::limited(limit, "There were too many calls.")))
            }
            984..992 => (None, None, failed(FailureReason::Blocked, "It is on the block list.")),
            992..996 => (None, Some(0.8), failed(FailureReason::CannotPlace, "The trunk refused: 486.")),
            996..998 => (Some(answered), Some(20.0), failed(FailureReason::Interrupted, "The service stopped.")),
            _ => (Some(answered), Some(pressed), failed(FailureReason::FraudReported, "The user reported a fraud.")),
        };
        Call {
            attempt: Attempt { id: CallId::new(Uuid::new_v4()).unwrap(), generation: self.random.u64(1..1 << 50) },
            number: StoredNumber::new(&number, false),
            node: if self.random.bool() { "MIM01" } else { "MIM02" }.into(),
            backend: if self.random.u32(0..10) < 9 { "trunk" } else { "cloud" }.into(),
            started,
            answered: answered.map(Duration::from_secs_f64),
            ended: ended.map(Duration::from_secs_f64),
            outcome,
        }
    }
}

const OWNER: Owner = Owner(Uuid::from_u128(1));

async fn write(store: &SqliteStore, calls: &[Call]) {
    let (begun, refused): (Vec<_>, Vec<_>) = calls.iter().partition(|call| call.ended.is_some());
    let begins = begun.iter().map(|call| async {
        let new = NewAttempt {
            attempt: call.attempt,
            started: call.started,
            deadline: Duration::from_secs(600),
            number: call.number.clone(),
            owner: OWNER,
            node: Arc::clone(&call.node),
        };
        // Two generated calls may ring one number at the same time: the store refuses the second one.
        store.begin(&new, &NO_LIMITS).await.unwrap() == Begun::New
    });
    let began = join_all(begins).await;
    let begun: Vec<_> = begun.into_iter().zip(began).filter_map(|(call, began)| began.then_some(call)).collect();
    let mut updates = Vec::new();
    for call in &begun {
        let mut step = |after: Duration, change| {
            updates.push(RecordedChange { attempt: call.attempt, at: call.started + after, change });
        };
        let backend = || Some(Arc::clone(&call.backend));
        let event = |event: CallEvent| AttemptChange::Step { event, backend: backend(), text: None };
        step(Duration::from_millis(2), event(CallEvent::Dialling));
        if call.is_placed() {
            let placed = AttemptChange::Placed {
                backend: Arc::clone(&call.backend),
                reference: CallRef::new("1"),
                attempts: None,
            };
            step(Duration::from_millis(300), placed);
        } else {
            step(Duration::from_millis(300), event(CallEvent::BackendRefused));
        }
        if let Some(answered) = call.answered {
            step(Duration::from_millis(1400), event(CallEvent::Ringing));
            step(answered, event(CallEvent::Answered));
        }
    }
    for call in refused {
        let Outcome::Failed(failure) = call.outcome.clone() else { unreachable!("a refusal fails") };
        let change =
            AttemptChange::Refused { number: Some(call.number.clone()), node: Arc::clone(&call.node), failure };
        updates.push(RecordedChange { attempt: call.attempt, at: call.started, change });
    }
    store.record(&updates).await.unwrap();
    let ends = begun.iter().map(|call| async {
        let end = EndRequest {
            attempt: call.attempt,
            owner: OWNER,
            at: call.started + call.ended.unwrap(),
            outcome: call.outcome.clone(),
            release: true,
            denials: TWICE,
        };
        assert!(store.end(&end).await.unwrap().is_done());
    });
    join_all(ends).await;
}

fn verified() -> Outcome {
    let policy = Policy::default().with_method(Method::Pound);
    let attempts = Attempts::new(policy, |_| Ok::<_, std::convert::Infallible>(())).unwrap();
    let pound = Answer::Entry { attempt: 1, digits: Entry::default(), ended_by: EndedBy::Pound };
    match attempts.judge(ProviderVerdicts::Refused, &pound) {
        Verdict::Approved(approval) => Outcome::Verified(approval),
        Verdict::CheckPin(_) | Verdict::Denied(_) => unreachable!("the method `pound` is approved by #"),
    }
}
