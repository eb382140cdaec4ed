//! What a call's task does with a backend, or a store, that answers late or not at all.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
use async_trait::async_trait;
use parking_lot::Mutex;
use phonegate_approval::policy::{Method, Policy};
use phonegate_approval::verdict::ProviderVerdicts;
use uuid::Uuid;

use super::*;
use crate::admission::Admission;
use crate::approval::Approver;
use crate::approval::tests::{attempts, verified};
use crate::backend::{MayRing, PlaceError, StepSink, TelephonyBackend};
use crate::call::{CallId, CallRef, CallStatus, FailureReason};
use crate::clock::Deadline;
use crate::config::{Level, NumbersConfig};
use crate::registry::Begun;
use crate::store::MemoryStore;
use crate::telemetry::{Metrics, Sinks};

mod faulty;
mod store;

/// Places calls as a test says.
struct Scripted {
    takes: Duration,
    answer: Result<CallRef, PlaceError>,
    outcome: Outcome,
    /// Is the outcome there only when the call is hung up?
    is_late: bool,
    hang_up: Result<(), Failure>,
    placed: Mutex<usize>,
    hung_up: Mutex<usize>,
    cleaned_up: Mutex<usize>,
}

impl Scripted {
    /// A phone on which the right key is pressed.
    fn new(takes: Duration, answer: Result<CallRef, PlaceError>) -> Self {
        Self {
            takes,
            answer,
            outcome: verified(),
            is_late: false,
            hang_up: Ok(()),
            placed: Mutex::default(),
            hung_up: Mutex::default(),
            cleaned_up: Mutex::default(),
        }
    }

    /// One that is placed at once, and fails so.
    fn that_fails(reason: FailureReason) -> Self {
        let outcome = Outcome::Failed(Failure::new(reason, "So it was told."));
        Self { outcome, ..Self::new(Duration::ZERO, Ok(CallRef::new("failing"))) }
    }
}

#[async_trait]
impl TelephonyBackend for Scripted {
    async fn place(&self, _: &Call, _: StepSink<'_>) -> Result<CallRef, PlaceError> {
        *self.placed.lock() += 1;
        tokio::time::sleep(self.takes).await;
        self.answer.clone()
    }

    async fn follow(&self, _: &CallRef, _: &Approver, _: StepSink<'_>) -> Outcome {
        while self.is_late && *self.hung_up.lock() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.outcome.clone()
    }

    async fn hang_up(&self, _: &CallRef) -> Result<(), Failure> {
        *self.hung_up.lock() += 1;
        self.hang_up.clone()
    }

    async fn clean_up(&self, _: &CallRef) -> Result<(), Failure> {
        *self.cleaned_up.lock() += 1;
        Ok(())
    }

    fn outlives_its_process(&self) -> bool {
        true
    }

    async fn check(&self) -> Result<String, Failure> {
        Ok(String::new())
    }
}

/// A engine with a scripted backend, which it has twice, and its log.
struct Bench {
    backend: Arc<Scripted>,
    registry: Arc<Registry>,
    engine: Engine,
    lines: Arc<Mutex<Vec<String>>>,
}

const SECOND: Duration = Duration::from_secs(1);

fn id(n: u128) -> CallId {
    CallId::new(Uuid::from_u128(n)).unwrap()
}

fn ambiguous() -> Result<CallRef, PlaceError> {
    let failure = Failure::new(FailureReason::CannotPlace, "The connection was lost.");
    Err(PlaceError { may_ring: MayRing::Yes, failure })
}

impl Bench {
    fn new(takes: Duration, answer: Result<CallRef, PlaceError>) -> Self {
        Self::on(Arc::new(MemoryStore::default()), takes, answer)
    }

    fn on(store: Arc<impl CallStore + 'static>, takes: Duration, answer: Result<CallRef, PlaceError>) -> Self {
        Self::with(store, Scripted::new(takes, answer))
    }

    fn with(store: Arc<impl CallStore + 'static>, scripted: Scripted) -> Self {
        let backend = Arc::new(scripted);
        let registry = Arc::new(Registry::new(Duration::from_secs(60)));
        let named = ["scripted", "again"].map(|name| NamedBackend {
            name: name.into(),
            backend: Arc::<Scripted>::clone(&backend),
            provider_verdicts: ProviderVerdicts::Refused,
        });
        let lines = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&lines);
        let tee = Arc::new(move |_, line: &str| told.lock().push(line.to_owned()));
        let log = Log::start(Level::Debug, Sinks { tee: Some(tee), ..Sinks::default() }).unwrap();
        let engine = Engine::start(
            Handle::current(),
            named.into(),
            Arc::clone(&registry),
            (store, StorePolicy::of(&config(), Policy::default().with_method(Method::Pound), true)),
            (log, Metrics::new(["scripted"]).unwrap(), Alerts::none()),
        );
        Self { backend, registry, engine, lines }
    }

    fn begin(&self, n: u128, span: Duration) -> Begun {
        let number = number();
        let deadline = Deadline::after(Moment::now(), span);
        let begun = self.registry.begin(id(n), Ok(number.clone()), deadline);
        if let Begun::New(attempt) = begun {
            let call = Call { attempt, number, deadline, language: None, attempts: attempts(Method::Pound) };
            self.engine.drive(self.engine.track(&call), call);
        }
        begun
    }

    async fn until(&self, what: impl Fn(&Self) -> bool) {
        while !what(self) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The figures of calls that have ended, without those at zero.
    fn counted(&self) -> Vec<String> {
        let text = self.engine.metrics.to_text(0, 0).unwrap();
        let calls = text.lines().filter(|line| line.starts_with("phonegate_calls_total{") && !line.ends_with(" 0"));
        calls.map(str::to_owned).collect()
    }

    fn told(&self, words: &str) -> bool {
        self.lines.lock().iter().any(|line| line.contains(words))
    }
}

fn config() -> crate::config::Config {
    let backends = r#"{ "phone": { "type": "simulated" } }"#;
    let limits = r#"{ "calls_per_minute": 1000000, "calls_per_number": 1000000 }"#;
    let text =
        format!(r#"{{ "use": ["phone"], "allow_test_backends": true, "backends": {backends}, "limits": {limits} }}"#);
    crate::config::parse(&text, &crate::TYPES).unwrap()
}

fn number() -> crate::call::PhoneNumber {
    let numbers = NumbersConfig { default_country: Some("US".to_owned()), ..NumbersConfig::default() };
    Admission::new(&numbers).unwrap().admit("+1 4255551212").unwrap()
}

#[tokio::test]
async fn nobody_is_rung_for_a_call_that_is_over_already() {
    for (ended, span, rung) in [(true, 60 * SECOND, 0), (false, Duration::ZERO, 0), (false, 60 * SECOND, 1)] {
        let bench = Bench::new(Duration::ZERO, Ok(CallRef::new("counted")));
        if ended {
            bench.engine.shut_down().await;
        }
        bench.begin(1, span);
        bench.until(|bench| bench.registry.status(id(1)) != Some(CallStatus::Pending)).await;
        assert_eq!(*bench.backend.placed.lock(), rung, "ended: {ended}, {span:?}");
    }
}

#[tokio::test]
async fn a_phone_that_may_ring_is_not_rung_by_another_call_before_the_deadline() {
    let bench = Bench::new(Duration::ZERO, ambiguous());
    bench.begin(1, 3 * SECOND);
    bench.until(|bench| bench.registry.status(id(1)) == Some(CallStatus::Failed)).await;
    let Begun::Refused(failure, _) = bench.begin(2, SECOND) else { panic!("the number is free") };
    assert_eq!(failure.reason(), FailureReason::AlreadyInProgress);
    bench.until(|bench| matches!(bench.begin(3, SECOND), Begun::New(_))).await;
}

#[tokio::test]
async fn the_end_of_the_gate_does_not_wait_for_a_phone_that_may_ring() {
    let store = Arc::new(MemoryStore::default());
    let bench = Bench::on(Arc::clone(&store), Duration::ZERO, ambiguous());
    bench.begin(1, 600 * SECOND);
    bench.until(|bench| bench.registry.status(id(1)) == Some(CallStatus::Failed)).await;
    bench.engine.shut_down().await;
    bench.until(|bench| bench.told("The connection was lost.")).await;
    // The next gate does not ring it either.
    let next = Bench::on(store, Duration::ZERO, Ok(CallRef::new("counted")));
    next.begin(2, SECOND);
    next.until(|next| next.registry.status(id(2)) == Some(CallStatus::Failed)).await;
    let failure = next.registry.snapshot(id(2)).unwrap().failure.unwrap();
    assert_eq!((failure.reason(), *next.backend.placed.lock()), (FailureReason::AlreadyInProgress, 0));
}

#[tokio::test]
async fn a_phone_that_may_ring_after_all_keeps_its_number_although_the_gate_ends() {
    let lost = Scripted::new(SECOND, ambiguous());
    let hang_up = Err(Failure::new(FailureReason::CannotPlace, "Nobody answers."));
    let ringing = Scripted { hang_up, is_late: true, ..Scripted::new(Duration::ZERO, Ok(CallRef::new("on"))) };
    let hung_up = Scripted { is_late: true, ..Scripted::new(Duration::ZERO, Ok(CallRef::new("off"))) };
    for (phone, is_free) in [(lost, false), (ringing, false), (hung_up, true)] {
        let store = Arc::new(MemoryStore::default());
        let bench = Bench::with(Arc::clone(&store), phone);
        bench.begin(1, 600 * SECOND);
        bench.until(|bench| *bench.backend.placed.lock() == 1).await;
        bench.engine.shut_down().await;
        let next = Bench::on(store, Duration::ZERO, Ok(CallRef::new("next")));
        next.begin(2, 60 * SECOND);
        next.until(|next| next.registry.status(id(2)) != Some(CallStatus::Pending)).await;
        assert_eq!(*next.backend.placed.lock() == 1, is_free, "{:?}", bench.backend.hang_up);
    }
}

#[tokio::test]
async fn a_fraud_that_was_reported_right_before_the_deadline_is_not_lost() {
    let store = Arc::new(MemoryStore::default());
    let bench = Bench::with(
        Arc::clone(&store),
        Scripted { is_late: true, ..Scripted::that_fails(FailureReason::FraudReported) },
    );
    bench.begin(1, SECOND);
    bench.until(|bench| *bench.backend.cleaned_up.lock() == 1).await;
    let failure = bench.registry.snapshot(id(1)).unwrap().failure.unwrap();
    assert_eq!(failure.reason(), FailureReason::DeadlinePassed, "what was told stays so");
    let blocked: Vec<_> = store.blocks().await.unwrap().into_iter().map(|block| block.number).collect();
    assert_eq!(blocked, [number().key()]);
}

#[tokio::test]
async fn what_a_backend_says_after_the_deadline_is_logged_or_hung_up() {
    let bench = Bench::new(2 * SECOND, ambiguous());
    bench.begin(1, SECOND);
    bench.until(|bench| bench.told("The connection was lost.")).await;
    assert_eq!(bench.registry.snapshot(id(1)).unwrap().failure.unwrap().reason(), FailureReason::DeadlinePassed);

    let bench = Bench::new(2 * SECOND, Ok(CallRef::new("late")));
    bench.begin(1, SECOND);
    bench.until(|bench| *bench.backend.hung_up.lock() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_never_says_is_told_of_in_the_log() {
    let bench = Bench::new(3600 * SECOND, Ok(CallRef::new("never")));
    bench.begin(1, SECOND);
    bench.until(|bench| *bench.backend.placed.lock() == 1).await;
    // The deadline asks the clocks of the machine, which the paused time of the runtime does not move.
    std::thread::sleep(SECOND);
    bench.until(|bench| bench.told("may ring on")).await;
}

#[tokio::test]
async fn a_call_that_another_process_drives_is_counted_there_alone() {
    let store = Arc::new(MemoryStore::default());
    let driving = Bench::on(Arc::clone(&store), SECOND, Ok(CallRef::new("one")));
    let watching = Bench::on(store, SECOND, Ok(CallRef::new("none")));
    driving.begin(1, 60 * SECOND);
    driving.until(|bench| *bench.backend.placed.lock() == 1).await;
    watching.begin(1, 60 * SECOND);
    watching.until(|bench| bench.registry.status(id(1)) == Some(CallStatus::Success)).await;
    let verified = r#"phonegate_calls_total{backend="scripted",outcome="verified",reason="none"} 1"#;
    driving.until(|bench| bench.counted() == [verified]).await;
    watching.until(|bench| bench.told("verified")).await;
    watching.engine.shut_down().await;
    assert_eq!((watching.counted(), *watching.backend.placed.lock()), (Vec::<String>::new(), 0));
}

#[tokio::test]
async fn a_call_of_another_process_is_watched_once_however_often_it_is_repeated() {
    let store = Arc::new(MemoryStore::default());
    let driving = Bench::on(Arc::clone(&store), 600 * SECOND, ambiguous());
    let watching = Bench::on(store, SECOND, ambiguous());
    driving.begin(1, 600 * SECOND);
    driving.until(|bench| *bench.backend.placed.lock() == 1).await;
    let others = watching.engine.tasks.len();
    for n in 1..=20 {
        watching.begin(1, 600 * SECOND);
        let watched = || watching.lines.lock().iter().filter(|line| line.contains("\"elsewhere\"")).count();
        watching.until(|_| watched() == n).await;
    }
    watching.until(|bench| bench.engine.tasks.len() <= others + 1).await;
    assert_eq!(*watching.backend.placed.lock(), 0);
}
