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

    /// A call to another number than those before fails.
    fn fails_with(&self, reason: FailureReason) {
        let n = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.fails_to(number(n), reason);
    }

    fn fails_to(&self, number: NumberHash, reason: FailureReason) {
        self.health.record_call("trunk", number, Some(&Failure::new(reason, "As scripted.")));
    }

    fn works_for(&self, number: NumberHash) {
        self.health.record_call("trunk", number, None);
    }

    /// Waits for the log, which has a thread of its own.
    async fn logs(&self, event: &str, times: usize) {
        while self.lines.lock().iter().filter(|line| line.contains(event)).count() != times {
            tokio::task::yield_now().await;
        }
    }

    fn availability(&self) -> Availability {
        self.health.availability("trunk")
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
            Some(reason) => bench.fails_with(reason),
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
