//! What a call's task does with a backend, or a store, that answers late or not at all.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
use async_trait::async_trait;
use parking_lot::Mutex;
use uuid::Uuid;

use super::*;
use crate::admission::Admission;
use crate::backend::{OnProgress, PlaceError, Rang, TelephonyBackend};
use crate::call::{CallId, CallStatus};
use crate::clock::Deadline;
use crate::config::{Level, NumbersConfig};
use crate::registry::Begun;
use crate::store::{CurrentState, MemoryStore};
use crate::telemetry::{Metrics, Sinks};

mod faulty;
use faulty::Faulty;

/// Places calls as a test says.
struct Scripted {
    takes: Duration,
    answer: Result<Reference, PlaceError>,
    outcome: Outcome,
    placed: Mutex<usize>,
    hung_up: Mutex<usize>,
}

#[async_trait]
impl TelephonyBackend for Scripted {
    async fn place(&self, _: &Call) -> Result<Reference, PlaceError> {
        *self.placed.lock() += 1;
        tokio::time::sleep(self.takes).await;
        self.answer.clone()
    }

    async fn follow(&self, _: &Reference, _: OnProgress<'_>) -> Outcome {
        self.outcome.clone()
    }

    async fn hang_up(&self, _: &Reference) -> Result<(), Failure> {
        *self.hung_up.lock() += 1;
        Ok(())
    }

    fn outlives_its_process(&self) -> bool {
        true
    }

    async fn check(&self) -> Result<String, Failure> {
        Ok(String::new())
    }
}

/// A dispatcher with one scripted backend, and its log.
struct Bench {
    backend: Arc<Scripted>,
    registry: Arc<Registry>,
    dispatcher: Dispatcher,
    lines: Arc<Mutex<Vec<String>>>,
}

const SECOND: Duration = Duration::from_secs(1);

fn id(n: u128) -> CallId {
    CallId::new(Uuid::from_u128(n)).unwrap()
}

fn ambiguous() -> Result<Reference, PlaceError> {
    let failure = Failure::new(FailureReason::CannotPlace, "The connection was lost.");
    Err(PlaceError { rang: Rang::Perhaps, failure })
}

impl Bench {
    fn new(takes: Duration, answer: Result<Reference, PlaceError>) -> Self {
        Self::on(Arc::new(MemoryStore::default()), takes, answer)
    }

    fn on(store: Arc<impl CallStore + 'static>, takes: Duration, answer: Result<Reference, PlaceError>) -> Self {
        Self::that_ends(store, takes, answer, Outcome::Verified)
    }

    fn that_ends(
        store: Arc<impl CallStore + 'static>,
        takes: Duration,
        answer: Result<Reference, PlaceError>,
        outcome: Outcome,
    ) -> Self {
        let backend = Arc::new(Scripted { takes, answer, outcome, placed: Mutex::new(0), hung_up: Mutex::new(0) });
        let registry = Arc::new(Registry::new(Duration::from_secs(60)));
        let named = Named { name: "scripted".into(), backend: Arc::<Scripted>::clone(&backend) };
        let lines = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&lines);
        let tee = Arc::new(move |_, line: &str| told.lock().push(line.to_owned()));
        let log = Log::start(Level::Debug, Sinks { tee: Some(tee), ..Sinks::default() }).unwrap();
        let dispatcher = Dispatcher::new(
            Handle::current(),
            vec![named],
            Arc::clone(&registry),
            (store, Rules::of(&config(), true)),
            log,
            Metrics::new(["scripted"]).unwrap(),
        );
        Self { backend, registry, dispatcher, lines }
    }

    fn begin(&self, n: u128, span: Duration) -> Begun {
        let number = number();
        let deadline = Deadline::after(Moment::now(), span);
        let begun = self.registry.begin(id(n), Ok(number.clone()), deadline);
        if let Begun::New(attempt) = begun {
            let held = self.dispatcher.hold(attempt, &number, deadline);
            self.dispatcher.start(held, Call { attempt, number, deadline, language: None });
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
        let text = self.dispatcher.shared.metrics.to_text(0, 0).unwrap();
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
    crate::config::parse(&text).unwrap()
}

fn number() -> crate::call::PhoneNumber {
    let numbers = NumbersConfig { default_country: Some("US".to_owned()), ..NumbersConfig::default() };
    Admission::new(&numbers).unwrap().admit("+1 4255551212").unwrap()
}

#[tokio::test]
async fn nobody_is_rung_for_a_call_that_is_over_already() {
    for (ended, span, rung) in [(true, 60 * SECOND, 0), (false, Duration::ZERO, 0), (false, 60 * SECOND, 1)] {
        let bench = Bench::new(Duration::ZERO, Ok(Reference::new("counted")));
        if ended {
            bench.dispatcher.end().await;
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
    bench.dispatcher.end().await;
    bench.until(|bench| bench.told("The connection was lost.")).await;
    // The next gate does not ring it either.
    let next = Bench::on(store, Duration::ZERO, Ok(Reference::new("counted")));
    next.begin(2, SECOND);
    next.until(|next| next.registry.status(id(2)) == Some(CallStatus::Failed)).await;
    let failure = next.registry.snapshot(id(2)).unwrap().failure.unwrap();
    assert_eq!((failure.reason(), *next.backend.placed.lock()), (FailureReason::AlreadyInProgress, 0));
}

#[tokio::test]
async fn what_a_backend_says_after_the_deadline_is_logged_or_hung_up() {
    let bench = Bench::new(2 * SECOND, ambiguous());
    bench.begin(1, SECOND);
    bench.until(|bench| bench.told("The connection was lost.")).await;
    assert_eq!(bench.registry.snapshot(id(1)).unwrap().failure.unwrap().reason(), FailureReason::DeadlinePassed);

    let bench = Bench::new(2 * SECOND, Ok(Reference::new("late")));
    bench.begin(1, SECOND);
    bench.until(|bench| *bench.backend.hung_up.lock() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_never_says_is_told_of_in_the_log() {
    let bench = Bench::new(3600 * SECOND, Ok(Reference::new("never")));
    bench.begin(1, SECOND);
    bench.until(|bench| *bench.backend.placed.lock() == 1).await;
    // The deadline asks the clocks of the machine, which the paused time of the runtime does not move.
    std::thread::sleep(SECOND);
    bench.until(|bench| bench.told("may ring on")).await;
}

#[tokio::test]
async fn a_call_that_another_process_drives_is_counted_there_alone() {
    let store = Arc::new(MemoryStore::default());
    let driving = Bench::on(Arc::clone(&store), SECOND, Ok(Reference::new("one")));
    let watching = Bench::on(store, SECOND, Ok(Reference::new("none")));
    driving.begin(1, 60 * SECOND);
    driving.until(|bench| *bench.backend.placed.lock() == 1).await;
    watching.begin(1, 60 * SECOND);
    watching.until(|bench| bench.registry.status(id(1)) == Some(CallStatus::Success)).await;
    let verified = r#"phonegate_calls_total{backend="scripted",outcome="verified",reason="none"} 1"#;
    driving.until(|bench| bench.counted() == [verified]).await;
    watching.until(|bench| bench.told("verified")).await;
    watching.dispatcher.end().await;
    assert_eq!((watching.counted(), *watching.backend.placed.lock()), (Vec::<String>::new(), 0));
}

fn note(name: &str) -> Change {
    step(name, None, None)
}

async fn kept_steps(store: &Faulty, attempt: Attempt) -> Vec<Box<str>> {
    store.steps(attempt).await.unwrap().into_iter().map(|step| step.name).collect()
}

#[tokio::test]
async fn what_the_store_never_takes_costs_nothing_else_and_is_told() {
    let store = Arc::new(Faulty::that_refuses("strange"));
    let bench = Bench::on(Arc::clone(&store), Duration::ZERO, ambiguous());
    let Begun::New(attempt) = bench.begin(1, 60 * SECOND) else { panic!("it is new") };
    bench.until(|bench| bench.registry.status(id(1)) == Some(CallStatus::Failed)).await;
    // They wait for each other, and so are recorded at once.
    let names = ["first", "second", "strange", "fourth", "fifth"];
    names.into_iter().for_each(|name| bench.dispatcher.shared.ledger.note(attempt, note(name)));
    bench.dispatcher.recorded().await;
    let kept = kept_steps(&store, attempt).await;
    let kept: Vec<_> = names.into_iter().filter(|name| kept.iter().any(|kept| **kept == **name)).collect();
    assert_eq!(kept, ["first", "second", "fourth", "fifth"]);
    bench.until(|bench| bench.told("store_refused")).await;
}

#[tokio::test]
async fn the_reference_of_a_call_is_kept_however_much_waits_for_the_store() {
    let store = Arc::new(Faulty::that_waits());
    let bench = Bench::on(Arc::clone(&store), SECOND, Ok(Reference::new("kept")));
    let ledger = &bench.dispatcher.shared.ledger;
    let Begun::New(attempt) = bench.begin(1, 60 * SECOND) else { panic!("it is new") };
    bench.until(|bench| *bench.backend.placed.lock() == 1).await;
    let unknown = Attempt { id: id(2), ..attempt };
    (0..60_000).for_each(|_| ledger.note(unknown, note("ringing")));
    ledger.note(attempt, note("left_out"));
    bench.until(|bench| bench.told("\"placed\"")).await;
    store.go_on();
    bench.dispatcher.recorded().await;
    let kept = kept_steps(&store, attempt).await;
    assert!(kept.iter().any(|name| **name == *"placed"), "{kept:?}");
    assert!(!kept.iter().any(|name| **name == *"left_out"), "there is an end to what waits");
}

#[tokio::test]
async fn who_reports_a_fraud_is_blocked_before_the_call_ends() {
    let store = Arc::new(Faulty::that_waits());
    let fraud = Failure::new(FailureReason::FraudReported, "The user pressed the fraud key.");
    let reference = Ok(Reference::new("reported"));
    let bench = Bench::that_ends(Arc::clone(&store), Duration::ZERO, reference, Outcome::Failed(fraud));
    let Begun::New(attempt) = bench.begin(1, 60 * SECOND) else { panic!("it is new") };
    // Whoever kills the process now leaves a call that the next one takes up, and asks the provider about.
    bench.until(|_| *store.asked_to_block.lock() > 0).await;
    let current = store.find(id(1)).await.unwrap().unwrap();
    assert!(current.attempt == attempt && matches!(current.state, CurrentState::Pending { .. }), "{current:?}");
    assert_eq!(bench.registry.status(id(1)), Some(CallStatus::Pending));
    store.go_on();
    bench.until(|bench| bench.registry.status(id(1)) == Some(CallStatus::Failed)).await;
    let blocked: Vec<_> = store.blocks().await.unwrap().into_iter().map(|block| block.number).collect();
    assert_eq!(blocked, [number().key()]);
}
