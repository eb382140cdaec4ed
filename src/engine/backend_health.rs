//! Backend health, derived from recent call results and from each backend's background task. The health of the store is
//! tracked in the same way.
//!
//! It is also the circuit breaker: calls skip a backend that is down if another one can be asked, but for one call in each
//! [`PROBE_EVERY`], which finds out whether the backend works again.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::notices::Notices;
use crate::call::{Failure, FailureReason};
use crate::telemetry::Metrics;

/// Consecutive failures after which a backend counts as down. A single call may fail because of its number.
const DOWN_AFTER: u32 = 2;

/// The time after a failure until a call probes a backend that is down, and the minimum time between two probes.
const PROBE_EVERY: Duration = Duration::from_secs(60);

/// The health of the backends of a gate, and of its store.
pub(super) struct BackendHealth {
    notices: Notices,
    metrics: Metrics,
    /// The failures of each backend since it last worked. The lock is held while a change is logged, which never waits, so
    /// that log lines have the order of the changes.
    failures: Mutex<BTreeMap<String, Failures>>,
}

/// Consecutive failures of a backend.
struct Failures {
    count: u32,
    /// When a call may probe the backend, if it is down.
    probe_at: Instant,
}

/// Whether a call may ask a backend, if it can also ask another one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Availability {
    /// It may: the backend works, as far as known.
    Up,
    /// It may, and no other call for the next [`PROBE_EVERY`]: the backend is down, and this call finds out whether it still
    /// is.
    Probe,
    /// It may not: the backend is down. The next probe is due after this time.
    Down { probe_in: Duration },
}

impl BackendHealth {
    pub(super) fn new(notices: Notices, metrics: Metrics) -> Self {
        Self { notices, metrics, failures: Mutex::default() }
    }

    /// Records the result of a call that a backend was asked for: `None` if the backend worked. Reports a change of its
    /// health.
    pub(super) fn record_call(&self, backend: &str, failure: Option<&Failure>) {
        self.record(backend, failure, |is_up| self.metrics.backend_is_up(backend, is_up));
    }

    /// Records a result of the store, or of a part of a backend: `None` if it succeeded. Reports a change of its health.
    pub(super) fn record_result(&self, name: &str, failure: Option<&Failure>) {
        self.record(name, failure, |_| {});
    }

    fn record(&self, name: &str, failure: Option<&Failure>, on_change: impl FnOnce(bool)) {
        let problem = match failure.map(Failure::reason) {
            Some(FailureReason::CannotPlace | FailureReason::NotConfigured) => failure,
            // These failures say nothing about the backend: a limit was exceeded, or PhoneGate itself failed.
            Some(
                FailureReason::Throttled
                | FailureReason::Interrupted
                | FailureReason::DeadlinePassed
                | FailureReason::Internal,
            ) => return,
            _ => None,
        };
        let mut failures = self.failures.lock();
        match problem {
            None => {
                if failures.remove(name).is_some_and(|failures| failures.count >= DOWN_AFTER) {
                    on_change(true);
                    self.notices.up(name);
                }
            }
            Some(failure) => {
                let probe_at = Instant::now() + PROBE_EVERY;
                let failures = failures.entry(name.to_owned()).or_insert(Failures { count: 0, probe_at });
                *failures = Failures { count: failures.count.saturating_add(1), probe_at };
                if failures.count >= DOWN_AFTER {
                    let is_first = failures.count == DOWN_AFTER;
                    if is_first {
                        on_change(false);
                    }
                    self.notices.down(name, failure, is_first);
                }
            }
        }
    }

    /// Returns whether a call may ask a backend that it could leave out. [`Availability::Probe`] is returned once in each
    /// [`PROBE_EVERY`], to the call that probes the backend.
    pub(super) fn availability(&self, backend: &str) -> Availability {
        let mut failures = self.failures.lock();
        let Some(failures) = failures.get_mut(backend).filter(|failures| failures.count >= DOWN_AFTER) else {
            return Availability::Up;
        };
        let now = Instant::now();
        let probe_in = failures.probe_at.saturating_duration_since(now);
        if !probe_in.is_zero() {
            return Availability::Down { probe_in };
        }
        failures.probe_at = now + PROBE_EVERY;
        Availability::Probe
    }
}

#[cfg(test)]
mod tests;
