//! The circuit breaker, in virtual time.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use super::*;
use crate::alerts::Alerts;
use crate::config::Level;
use crate::telemetry::{CallCounts, Log, Sinks};

const SECOND: Duration = Duration::from_secs(1);

struct Bench {
    health: BackendHealth,
    metrics: Metrics,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    fn new() -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&lines);
        let tee = Arc::new(move |_, line: &str| written.lock().push(line.to_owned()));
        let log = Log::start(Level::Debug, Sinks { tee: Some(tee), ..Sinks::default() }).unwrap();
        let metrics = Metrics::new(["trunk"]).unwrap();
        let health = BackendHealth::new(Notices::new(log, metrics.clone(), Alerts::none()), metrics.clone());
        Self { health, metrics, lines }
    }

    fn fails_with(&self, reason: FailureReason) {
        self.health.record_call("trunk", Some(&Failure::new(reason, "As scripted.")));
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
            None => bench.health.record_call("trunk", None),
            Some(reason) => bench.fails_with(reason),
        }
        assert_eq!((bench.availability(), bench.is_up()), (Availability::Up, true), "{reason:?}");
        bench.fails_with(FailureReason::CannotPlace);
        assert_eq!(bench.availability(), Availability::Up, "the count starts again after {reason:?}");
        while bench.lines.lock().iter().filter(|line| line.contains("backend_up")).count() != 1 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_says_nothing_of_a_backend_changes_nothing() {
    let neutral =
        [FailureReason::Throttled, FailureReason::Interrupted, FailureReason::DeadlinePassed, FailureReason::Internal];
    let (bench, down) = (Bench::new(), Bench::down());
    for reason in neutral {
        bench.fails_with(FailureReason::CannotPlace);
        bench.health.record_call("trunk", None);
        (0..5).for_each(|_| bench.fails_with(reason));
        assert_eq!((bench.availability(), bench.is_up()), (Availability::Up, true), "{reason}");
        down.fails_with(reason);
        assert_eq!(down.availability(), Availability::Down { probe_in: PROBE_EVERY }, "{reason}");
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
