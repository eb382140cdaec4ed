//! Backend health, derived from recent call results and from each backend's background task. The health of the store is
//! tracked in the same way.
//!
//! It is also the circuit breaker: calls skip a backend that is down if another one can be asked, but for one call in each
//! [`PROBE_EVERY`], which finds out whether the backend works again. They do so only once calls to several numbers have
//! failed in a row: otherwise one user whose number always fails could send the calls of all others to the next backend.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::notices::{Notices, Outage};
use crate::call::{Failure, FailureReason, NumberHash};
use crate::telemetry::Metrics;

/// Consecutive failures after which a backend counts as down. A single call may fail because of its number, and so may
/// all calls to one number: their failures are reported, but other calls skip nothing.
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
    /// The number of the first failed call. `None` if the failures are not those of calls.
    number: Option<NumberHash>,
    /// Whether calls to other numbers failed, too.
    has_several_numbers: bool,
    /// When a call may probe the backend, if it is down.
    probe_at: Instant,
}

/// Whether a call may ask a backend, if it can also ask another one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Availability {
    /// It may: the backend works, as far as known, or only calls to one number have failed.
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

    /// Records the result of a call to this number that a backend was asked for: `None` if the backend worked. Reports a
    /// change of its health.
    pub(super) fn record_call(&self, backend: &str, number: NumberHash, failure: Option<&Failure>) {
        self.record(backend, Some(number), failure, |is_up| self.metrics.backend_is_up(backend, is_up));
    }

    /// Records a result of the store, or of a part of a backend: `None` if it succeeded. Reports a change of its health.
    pub(super) fn record_result(&self, name: &str, failure: Option<&Failure>) {
        self.record(name, None, failure, |_| {});
    }

    fn record(&self, name: &str, number: Option<NumberHash>, failure: Option<&Failure>, on_change: impl FnOnce(bool)) {
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
                let first = Failures { count: 0, number, has_several_numbers: false, probe_at };
                let failures = failures.entry(name.to_owned()).or_insert(first);
                failures.count = failures.count.saturating_add(1);
                failures.has_several_numbers |= failures.number != number;
                failures.probe_at = probe_at;
                if failures.count >= DOWN_AFTER {
                    let is_first = failures.count == DOWN_AFTER;
                    if is_first {
                        on_change(false);
                    }
                    let has_one_number = number.is_some() && !failures.has_several_numbers;
                    self.notices.down(name, failure, Outage { is_first, has_one_number });
                }
            }
        }
    }

    /// Returns whether a call may ask a backend that it could leave out. [`Availability::Probe`] is returned once in each
    /// [`PROBE_EVERY`], to the call that probes the backend.
    pub(super) fn availability(&self, backend: &str) -> Availability {
        let mut failures = self.failures.lock();
        let is_down = |failures: &&mut Failures| failures.count >= DOWN_AFTER && failures.has_several_numbers;
        let Some(failures) = failures.get_mut(backend).filter(is_down) else { return Availability::Up };
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
