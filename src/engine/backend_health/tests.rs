//! The circuit breaker, in virtual time.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::*;
use crate::alerts::Alerts;
use crate::config::Level;
use crate::telemetry::{CallCounts, Log, Sinks};

const SECOND: Duration = Duration::from_secs(1);

struct Bench {
    health: BackendHealth,
    metrics: Metrics,
    lines: Arc<Mutex<Vec<String>>>,
    /// How many numbers have failed.
    numbers: AtomicU8,
}

/// The number of the call that asks whether it may use the trunk.
fn probing() -> NumberHash {
    number(200)
}

fn number(n: u8) -> NumberHash {
    NumberHash::of_hash(&[n; 32])
}

impl Bench {
    fn new() -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&lines);
        let tee = Arc::new(move |_, line: &str| written.lock().push(line.to_owned()));
        let log = Log::start(Level::Debug, Sinks { tee: Some(tee), ..Sinks::default() }).unwrap();
        let metrics = Metrics::new(["trunk"]).unwrap();
        let health = BackendHealth::new(Notices::new(log, metrics.clone(), Alerts::none()), metrics.clone());
        Self { health, metrics, lines, numbers: AtomicU8::new(0) }
    }

    fn next_number(&self) -> NumberHash {
        number(self.numbers.fetch_add(1, Ordering::Relaxed))
    }

    /// A call to another number than those before cannot be placed, and that is the fault of the backend.
    fn fails_with(&self, reason: FailureReason) {
        self.fails_to(self.next_number(), reason);
    }

    fn fails_to(&self, number: NumberHash, reason: FailureReason) {
        self.health.record_refusal("trunk", number, &Failure::new(reason, "As scripted.").of_backend());
    }

    /// A call to this number cannot be placed, and the number may be the cause.
    fn refuses(&self, number: NumberHash) {
        self.health.record_refusal("trunk", number, &Failure::new(FailureReason::CannotPlace, "As scripted."));
    }

    fn ends_with(&self, failure: &Failure) {
        self.health.record_outcome("trunk", self.next_number(), Some(failure));
    }

    fn works_for(&self, number: NumberHash) {
        self.health.record_outcome("trunk", number, None);
    }

    /// Waits for the log, which has a thread of its own.
    async fn logs(&self, event: &str, times: usize) {
        while self.lines.lock().iter().filter(|line| line.contains(event)).count() != times {
            tokio::task::yield_now().await;
        }
    }

    fn availability(&self) -> Availability {
        self.health.availability("trunk", probing())
    }

    fn is_up(&self) -> bool {
        let text = self.metrics.to_text(CallCounts::default()).unwrap();
        text.contains("phonegate_backend_up{backend=\"trunk\"} 1")
    }

    /// A bench whose trunk is down since now.
    fn down() -> Self {
        let bench = Self::new();
        bench.fails_with(FailureReason::CannotPlace);
        assert_eq!((bench.availability(), bench.is_up()), (Availability::Up, true), "one failure may be the number's");
        bench.fails_with(FailureReason::NotConfigured);
        bench
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_down_gets_one_probe_a_minute() {
    let bench = Bench::down();
    assert_eq!(bench.availability(), Availability::Down { probe_in: PROBE_EVERY });
    assert!(!bench.is_up());
    for _ in 0..3 {
        tokio::time::advance(PROBE_EVERY - SECOND).await;
        assert_eq!(bench.availability(), Availability::Down { probe_in: SECOND });
        tokio::time::advance(SECOND).await;
        assert_eq!(bench.availability(), Availability::Probe);
        // Its result is not known yet, and may never be: it can end without one that counts.
        assert_eq!(bench.availability(), Availability::Down { probe_in: PROBE_EVERY });
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_starts_the_pause_again() {
    let bench = Bench::down();
    tokio::time::advance(PROBE_EVERY).await;
    assert_eq!(bench.availability(), Availability::Probe);
    tokio::time::advance(20 * SECOND).await;
    bench.fails_with(FailureReason::CannotPlace);
    assert_eq!(bench.availability(), Availability::Down { probe_in: PROBE_EVERY });
}

#[tokio::test(start_paused = true)]
async fn any_call_that_shows_that_a_backend_works_ends_the_pause() {
    for reason in [None, Some(FailureReason::WrongKey), Some(FailureReason::Unreachable)] {
        let bench = Bench::down();
        match reason {
            None => bench.works_for(number(0)),
            Some(reason) => bench.ends_with(&Failure::new(reason, "As scripted.")),
        }
        assert_eq!((bench.availability(), bench.is_up()), (Availability::Up, true), "{reason:?}");
        bench.fails_with(FailureReason::CannotPlace);
        assert_eq!(bench.availability(), Availability::Up, "the count starts again after {reason:?}");
        bench.logs("backend_up", 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_says_nothing_of_a_backend_changes_nothing() {
    let neutral =
        [FailureReason::Throttled, FailureReason::Interrupted, FailureReason::DeadlinePassed, FailureReason::Internal];
    let (bench, down) = (Bench::new(), Bench::down());
    for reason in neutral {
        bench.fails_with(FailureReason::CannotPlace);
        bench.works_for(number(0));
        (0..5).for_each(|_| bench.fails_with(reason));
        assert_eq!((bench.availability(), bench.is_up()), (Availability::Up, true), "{reason}");
        down.fails_with(reason);
        assert_eq!(down.availability(), Availability::Down { probe_in: PROBE_EVERY }, "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_number_alone_is_reported_but_makes_no_call_skip() {
    let bench = Bench::new();
    for _ in 0..10 {
        bench.fails_to(number(1), FailureReason::CannotPlace);
        assert_eq!(bench.availability(), Availability::Up);
        tokio::time::advance(PROBE_EVERY).await;
    }
    assert!(!bench.is_up());
    bench.logs("backend_down", 1).await;
    bench.fails_to(number(2), FailureReason::CannotPlace);
    assert_eq!(bench.availability(), Availability::Down { probe_in: PROBE_EVERY });
    bench.fails_to(number(2), FailureReason::CannotPlace);
    assert_eq!(bench.availability(), Availability::Down { probe_in: PROBE_EVERY });
    // A call that works ends it, also to the number that failed.
    bench.works_for(number(1));
    bench.fails_to(number(2), FailureReason::CannotPlace);
    bench.fails_to(number(2), FailureReason::CannotPlace);
    assert_eq!(bench.availability(), Availability::Up);
    bench.logs("backend_down", 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_number_that_fails_between_working_calls_is_no_outage() {
    let bench = Bench::new();
    for _ in 0..5 {
        bench.fails_to(number(1), FailureReason::CannotPlace);
        bench.works_for(number(2));
        assert_eq!((bench.availability(), bench.is_up()), (Availability::Up, true));
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_of_a_backend_that_is_down_leaves_the_backend_in_use() {
    let bench = Bench::new();
    let failure = Failure::new(FailureReason::CannotPlace, "As scripted.");
    (0..5).for_each(|_| bench.health.record_result("trunk (192.0.2.1:5060)", Some(&failure)));
    assert_eq!((bench.availability(), bench.is_up()), (Availability::Up, true));
    assert!(!bench.metrics.to_text(CallCounts::default()).unwrap().contains("192.0.2.1"));
}

#[tokio::test(start_paused = true)]
async fn failures_that_numbers_may_cause_make_no_call_skip() {
    let bench = Bench::new();
    for n in 1..=20 {
        bench.refuses(number(n));
        assert_eq!((bench.availability(), bench.is_up()), (Availability::Up, n < 5), "call {n}");
    }
    bench.logs("backend_down", 1).await;
    let after_answer = Bench::new();
    for n in 1..=20 {
        after_answer.health.record_placed("trunk");
        after_answer.ends_with(&Failure::new(FailureReason::CannotPlace, "As scripted.").of_backend());
        assert_eq!((after_answer.availability(), after_answer.is_up()), (Availability::Up, n < 2), "call {n}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_that_one_number_may_cause_are_no_outage() {
    let bench = Bench::new();
    (0..20).for_each(|_| bench.refuses(number(1)));
    assert_eq!((bench.availability(), bench.is_up()), (Availability::Up, true));
}

/// So a user whose number always fails cannot keep calls away from a backend that works again.
#[tokio::test(start_paused = true)]
async fn a_call_that_reaches_the_provider_ends_the_pause() {
    for is_placed in [true, false] {
        let bench = Bench::down();
        tokio::time::advance(PROBE_EVERY).await;
        assert_eq!(bench.availability(), Availability::Probe);
        if is_placed {
            bench.health.record_placed("trunk")
        } else {
            bench.refuses(probing())
        }
        assert_eq!((bench.availability(), bench.is_up()), (Availability::Up, false), "placed: {is_placed}");
        bench.fails_to(number(1), FailureReason::CannotPlace);
        assert_eq!(bench.availability(), Availability::Up, "the count starts again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_shows_nothing_is_followed_by_another() {
    for reason in [FailureReason::InvalidNumber, FailureReason::Throttled, FailureReason::DeadlinePassed] {
        let bench = Bench::down();
        tokio::time::advance(PROBE_EVERY).await;
        assert_eq!(bench.availability(), Availability::Probe);
        bench.fails_to(number(7), reason);
        assert_eq!(bench.availability(), Availability::Down { probe_in: PROBE_EVERY }, "{reason}: another call");
        bench.fails_to(probing(), reason);
        assert_eq!(bench.availability(), Availability::Probe, "{reason}");
    }
}
