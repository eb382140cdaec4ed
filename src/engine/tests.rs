//! Calls with a scripted backend, which may answer late or not at all.
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
use crate::call::{CallId, CallRef, CallStatus, FailureReason, GateEvent, PhoneNumber};
use crate::clock::Deadline;
use crate::config::{Level, NumbersConfig};
use crate::registry::Begun;
use crate::store::MemoryStore;
use crate::telemetry::{LogEntry, Metrics, Sinks};

mod breaker;
mod faulty;
mod store;
mod takeover;

/// A backend that answers as a test says.
struct Scripted {
    place_takes: Duration,
    placed_as: Mutex<Result<CallRef, PlaceError>>,
    outcome: Outcome,
    /// Whether the outcome is reported only after the call is hung up.
    is_late: bool,
    hang_up: Result<(), Failure>,
    placed: Mutex<usize>,
    hung_up: Mutex<usize>,
    cleaned_up: Mutex<usize>,
}

impl Scripted {
    /// A backend whose users press the right key.
    fn new(place_takes: Duration, placed_as: Result<CallRef, PlaceError>) -> Self {
        Self {
            place_takes,
            placed_as: Mutex::new(placed_as),
            outcome: verified(),
            is_late: false,
            hang_up: Ok(()),
            placed: Mutex::default(),
            hung_up: Mutex::default(),
            cleaned_up: Mutex::default(),
        }
    }

    /// A backend that places each call at once and reports this failure.
    fn failing_with(reason: FailureReason) -> Self {
        let outcome = Outcome::Failed(Failure::new(reason, "As scripted."));
        Self { outcome, ..Self::new(Duration::ZERO, Ok(CallRef::new("failing"))) }
    }
}

#[async_trait]
impl TelephonyBackend for Scripted {
    async fn place(&self, _: &Call, _: StepSink<'_>) -> Result<CallRef, PlaceError> {
        *self.placed.lock() += 1;
        tokio::time::sleep(self.place_takes).await;
        self.placed_as.lock().clone()
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

/// An engine with two scripted backends, which are the same unless a test says otherwise, and its log.
struct Bench {
    backend: Arc<Scripted>,
    registry: Arc<Registry>,
    engine: Engine,
    log: Log,
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
    fn new(place_takes: Duration, placed_as: Result<CallRef, PlaceError>) -> Self {
        Self::on(Arc::new(MemoryStore::default()), place_takes, placed_as)
    }

    fn on(store: Arc<impl CallStore + 'static>, place_takes: Duration, placed_as: Result<CallRef, PlaceError>) -> Self {
        Self::with(store, Scripted::new(place_takes, placed_as))
    }

    fn with(store: Arc<impl CallStore + 'static>, scripted: Scripted) -> Self {
        let backend = Arc::new(scripted);
        Self::with_both(store, Arc::clone(&backend), backend)
    }

    /// The first backend is the one of the bench.
    fn with_both(store: Arc<impl CallStore + 'static>, backend: Arc<Scripted>, second: Arc<Scripted>) -> Self {
        Self::judged_by(store, [(backend, ProviderVerdicts::Refused), (second, ProviderVerdicts::Refused)])
    }

    fn judged_by(store: Arc<impl CallStore + 'static>, backends: [(Arc<Scripted>, ProviderVerdicts); 2]) -> Self {
        let registry = Arc::new(Registry::new(Duration::from_secs(60)));
        let backend = Arc::clone(&backends[0].0);
        let mut names = ["scripted", "again"].into_iter();
        let named = backends.map(|(backend, provider_verdicts)| NamedBackend {
            name: names.next().unwrap().into(),
            backend,
            provider_verdicts,
        });
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&lines);
        let tee = Arc::new(move |_, line: &str| written.lock().push(line.to_owned()));
        let log = Log::start(Level::Debug, Sinks { tee: Some(tee), ..Sinks::default() }).unwrap();
        let engine = Engine::start(
            Handle::current(),
            (named.to_vec(), Routes::of(&config(), &named)),
            Arc::clone(&registry),
            (store, StorePolicy::of(&config(), Policy::default().with_method(Method::Pound), true)),
            (log.clone(), Metrics::new(["scripted"]).unwrap(), Alerts::none()),
        );
        Self { backend, registry, engine, log, lines }
    }

    fn begin(&self, n: u128, span: Duration) -> Begun {
        self.begin_to(number(), n, span)
    }

    fn begin_to(&self, number: PhoneNumber, n: u128, span: Duration) -> Begun {
        let deadline = Deadline::after(Moment::now(), span);
        let begun = self.registry.begin(id(n), Ok(number.clone()), deadline);
        if let Begun::New(attempt) = begun {
            let call =
                Call { attempt, number, deadline, language: None, caller_id: None, attempts: attempts(Method::Pound) };
            self.engine.drive(self.engine.track(&call), call);
        }
        begun
    }

    async fn until(&self, what: impl Fn(&Self) -> bool) {
        while !what(self) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Returns the metrics of ended calls that are not zero.
    fn counted(&self) -> Vec<String> {
        let text = self.engine.metrics.to_text(crate::telemetry::CallCounts::default()).unwrap();
        let calls = text.lines().filter(|line| line.starts_with("phonegate_calls_total{") && !line.ends_with(" 0"));
        calls.map(str::to_owned).collect()
    }

    /// Returns whether a line with this text has been written so far. The log has a thread of its own, so use it to wait
    /// for a line, or [`Self::logged`].
    fn logs(&self, text: &str) -> bool {
        self.lines.lock().iter().any(|line| line.contains(text))
    }

    /// Returns the lines that were queued before and contain this text.
    async fn logged(&self, text: &str) -> Vec<String> {
        let marker = Uuid::new_v4().to_string();
        self.log.write(&LogEntry { text: Some(&marker), ..LogEntry::new(GateEvent::Configuration) });
        self.until(|bench| bench.logs(&marker)).await;
        self.lines.lock().iter().filter(|line| line.contains(text)).cloned().collect()
    }
}

fn config() -> crate::config::Config {
    let backends = r#"{ "scripted": { "type": "simulated" }, "again": { "type": "simulated" } }"#;
    let limits = r#"{ "calls_per_minute": 1000000, "calls_per_number": 1000000 }"#;
    let text = format!(
        r#"{{ "use": ["scripted", "again"], "allow_test_backends": true, "backends": {backends}, "limits": {limits} }}"#
    );
    crate::config::parse(&text, &crate::TYPES).unwrap()
}

fn number() -> PhoneNumber {
    number_of(1212)
}

/// The number with these last four digits.
fn number_of(subscriber: u128) -> PhoneNumber {
    let numbers = NumbersConfig { default_country: Some("US".to_owned()), ..NumbersConfig::default() };
    Admission::new(&numbers).unwrap().admit(&format!("+1 425555{subscriber}")).unwrap()
}

#[tokio::test]
async fn no_phone_rings_for_a_call_that_has_ended() {
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
async fn a_number_that_may_ring_is_held_until_the_deadline() {
    let bench = Bench::new(Duration::ZERO, ambiguous());
    bench.begin(1, 3 * SECOND);
    bench.until(|bench| bench.registry.status(id(1)) == Some(CallStatus::Failed)).await;
    let Begun::Refused(failure, _) = bench.begin(2, SECOND) else { panic!("the number was released") };
    assert_eq!(failure.reason(), FailureReason::AlreadyInProgress);
    bench.until(|bench| matches!(bench.begin(3, SECOND), Begun::New(_))).await;
}

#[tokio::test]
async fn shutdown_does_not_wait_for_a_phone_that_may_ring() {
    let store = Arc::new(MemoryStore::default());
    let bench = Bench::on(Arc::clone(&store), Duration::ZERO, ambiguous());
    bench.begin(1, 600 * SECOND);
    bench.until(|bench| bench.registry.status(id(1)) == Some(CallStatus::Failed)).await;
    bench.engine.shut_down().await;
    bench.until(|bench| bench.logs("The connection was lost.")).await;
    // The store holds the number for the next gate.
    let next = Bench::on(store, Duration::ZERO, Ok(CallRef::new("counted")));
    next.begin(2, SECOND);
    next.until(|next| next.registry.status(id(2)) == Some(CallStatus::Failed)).await;
    let failure = next.registry.snapshot(id(2)).unwrap().failure.unwrap();
    assert_eq!((failure.reason(), *next.backend.placed.lock()), (FailureReason::AlreadyInProgress, 0));
}

#[tokio::test]
async fn a_number_that_may_ring_is_held_beyond_shutdown() {
    let lost = Scripted::new(SECOND, ambiguous());
    let hang_up = Err(Failure::new(FailureReason::CannotPlace, "The provider does not answer."));
    let ringing = Scripted { hang_up, is_late: true, ..Scripted::new(Duration::ZERO, Ok(CallRef::new("on"))) };
    let hung_up = Scripted { is_late: true, ..Scripted::new(Duration::ZERO, Ok(CallRef::new("off"))) };
    for (phone, is_released) in [(lost, false), (ringing, false), (hung_up, true)] {
        let store = Arc::new(MemoryStore::default());
        let bench = Bench::with(Arc::clone(&store), phone);
        bench.begin(1, 600 * SECOND);
        bench.until(|bench| *bench.backend.placed.lock() == 1).await;
        bench.engine.shut_down().await;
        let next = Bench::on(store, Duration::ZERO, Ok(CallRef::new("next")));
        next.begin(2, 60 * SECOND);
        next.until(|next| next.registry.status(id(2)) != Some(CallStatus::Pending)).await;
        assert_eq!(*next.backend.placed.lock() == 1, is_released, "{:?}", bench.backend.hang_up);
    }
}

#[tokio::test]
async fn fraud_reported_right_before_the_deadline_is_not_lost() {
    let store = Arc::new(MemoryStore::default());
    let bench = Bench::with(
        Arc::clone(&store),
        Scripted { is_late: true, ..Scripted::failing_with(FailureReason::FraudReported) },
    );
    bench.begin(1, SECOND);
    bench.until(|bench| *bench.backend.cleaned_up.lock() == 1).await;
    let failure = bench.registry.snapshot(id(1)).unwrap().failure.unwrap();
    assert_eq!(failure.reason(), FailureReason::DeadlinePassed, "the published outcome stays");
    let blocked: Vec<_> = store.blocks().await.unwrap().into_iter().map(|block| block.number).collect();
    assert_eq!(blocked, [number().hash()]);
}

#[tokio::test]
async fn a_late_answer_to_a_place_request_is_logged_or_hung_up() {
    let bench = Bench::new(2 * SECOND, ambiguous());
    bench.begin(1, SECOND);
    bench.until(|bench| bench.logs("The connection was lost.")).await;
    assert_eq!(bench.registry.snapshot(id(1)).unwrap().failure.unwrap().reason(), FailureReason::DeadlinePassed);

    let bench = Bench::new(2 * SECOND, Ok(CallRef::new("late")));
    bench.begin(1, SECOND);
    bench.until(|bench| *bench.backend.hung_up.lock() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_place_request_without_an_answer_is_logged() {
    let bench = Bench::new(3600 * SECOND, Ok(CallRef::new("never")));
    bench.begin(1, SECOND);
    bench.until(|bench| *bench.backend.placed.lock() == 1).await;
    // The deadline uses the machine's clocks, which the runtime's paused time does not move.
    std::thread::sleep(SECOND);
    bench.until(|bench| bench.logs("may still ring")).await;
}

#[tokio::test]
async fn a_remote_call_is_counted_by_its_owner_only() {
    let store = Arc::new(MemoryStore::default());
    let owner = Bench::on(Arc::clone(&store), SECOND, Ok(CallRef::new("one")));
    let mirror = Bench::on(store, SECOND, Ok(CallRef::new("none")));
    owner.begin(1, 60 * SECOND);
    owner.until(|bench| *bench.backend.placed.lock() == 1).await;
    mirror.begin(1, 60 * SECOND);
    mirror.until(|bench| bench.registry.status(id(1)) == Some(CallStatus::Success)).await;
    let verified = r#"phonegate_calls_total{backend="scripted",outcome="verified",reason="none"} 1"#;
    owner.until(|bench| bench.counted() == [verified]).await;
    mirror.until(|bench| bench.logs("verified")).await;
    mirror.engine.shut_down().await;
    assert_eq!((mirror.counted(), *mirror.backend.placed.lock()), (Vec::<String>::new(), 0));
}

#[tokio::test]
async fn a_remote_call_that_is_repeated_is_mirrored_once() {
    let store = Arc::new(MemoryStore::default());
    let owner = Bench::on(Arc::clone(&store), 600 * SECOND, ambiguous());
    let mirror = Bench::on(store, SECOND, ambiguous());
    owner.begin(1, 600 * SECOND);
    owner.until(|bench| *bench.backend.placed.lock() == 1).await;
    let before = mirror.engine.tasks.len();
    for n in 1..=20 {
        mirror.begin(1, 600 * SECOND);
        let mirrored = || mirror.lines.lock().iter().filter(|line| line.contains("\"remote\"")).count();
        mirror.until(|_| mirrored() == n).await;
    }
    mirror.until(|bench| bench.engine.tasks.len() <= before + 1).await;
    assert_eq!(*mirror.backend.placed.lock(), 0);
}
