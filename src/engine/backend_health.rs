//! Backend health, derived from recent call results and from each backend's background task. The health of the store is
//! tracked in the same way.
//!
//! It is also the circuit breaker: calls skip a backend that is down if another one can be asked, but for one call in each
//! [`PROBE_EVERY`], which finds out whether the backend works again. No user may send the calls of others to the next
//! backend by failures of numbers that the user chooses. So calls skip a backend only if it could not place calls to
//! several numbers in a row, each for a reason that no number can cause ([`Failure::is_of_backend`]). Any other result of a
//! call shows that it can be asked, even if that is no proof that it works. Failures that a number may have caused are only
//! reported.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::notices::{Notices, Outage};
use crate::call::{Failure, FailureReason, NumberHash};
use crate::telemetry::Metrics;

/// Consecutive failures of the backend itself after which it counts as down.
const DOWN_AFTER: u32 = 2;

/// Consecutive failures after which a backend counts as down although the called numbers may be the cause, if there are
/// several numbers.
const UNCLEAR_DOWN_AFTER: u32 = 5;

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
    /// The number of those that no called number can have caused.
    of_backend: u32,
    /// The number of the first failed call. `None` if the failures are not those of calls.
    number: Option<NumberHash>,
    /// Whether calls to other numbers failed, too.
    has_several_numbers: bool,
    is_reported: bool,
    unplaced: Unplaced,
    /// When a call may probe the backend, if calls skip it.
    probe_at: Instant,
    /// The number of the call that probes it.
    probed_by: Option<NumberHash>,
}

/// The latest calls in a row that the backend could not place by its own fault.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unplaced {
    None,
    ToOneNumber(NumberHash),
    /// Calls skip the backend.
    ToSeveralNumbers,
}

/// What the result of a call shows of a backend.
enum Effect<'a> {
    Works,
    Nothing,
    Failed(&'a Failure),
}

/// Whether a call may ask a backend, if it can also ask another one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Availability {
    /// It may: the backend works, as far as known, or the numbers of the failed calls may be the cause.
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

    /// Records that a backend accepted a call.
    pub(super) fn record_placed(&self, backend: &str) {
        if let Some(failures) = self.failures.lock().get_mut(backend) {
            failures.unplaced = Unplaced::None;
        }
    }

    /// Records that a backend did not place a call to this number. Reports a change of its health.
    pub(super) fn record_refusal(&self, backend: &str, number: NumberHash, failure: &Failure) {
        let effect = match failure.reason() {
            // A backend may know without its provider that it cannot dial a number.
            FailureReason::InvalidNumber => Effect::Nothing,
            _ => effect(Some(failure)),
        };
        self.record(backend, Some(number), &effect, true);
    }

    /// Records the outcome of a call to this number that a backend had placed: `None` if it was approved. Reports a change
    /// of its health.
    pub(super) fn record_outcome(&self, backend: &str, number: NumberHash, failure: Option<&Failure>) {
        self.record(backend, Some(number), &effect(failure), false);
    }

    /// Records a result of the store, or of a part of a backend: `None` if it succeeded. Reports a change of its health.
    pub(super) fn record_result(&self, name: &str, failure: Option<&Failure>) {
        self.record(name, None, &effect(failure), false);
    }

    /// `number` is that of the call, if the result is one of a call.
    fn record(&self, name: &str, number: Option<NumberHash>, effect: &Effect<'_>, is_refusal: bool) {
        let mut all = self.failures.lock();
        let failure = match effect {
            Effect::Nothing => {
                if let Some(failures) = all.get_mut(name) {
                    failures.return_probe(number);
                }
                return;
            }
            Effect::Works => {
                if all.remove(name).is_some_and(|failures| failures.is_reported) {
                    self.set_up(name, number, true);
                    self.notices.up(name);
                }
                return;
            }
            Effect::Failed(failure) => failure,
        };
        let failures = all.entry(name.to_owned()).or_insert_with(|| Failures::new(number));
        failures.add(number, failure, is_refusal);
        if failures.is_down() {
            let is_first = !std::mem::replace(&mut failures.is_reported, true);
            if is_first {
                self.set_up(name, number, false);
            }
            let may_be_number = number.is_some() && failures.unplaced != Unplaced::ToSeveralNumbers;
            let has_one_number = !failures.has_several_numbers;
            self.notices.down(name, failure, Outage { is_first, may_be_number, has_one_number });
        }
    }

    /// Sets the metric of a backend. The store and the parts of backends have none.
    fn set_up(&self, name: &str, number: Option<NumberHash>, is_up: bool) {
        if number.is_some() {
            self.metrics.backend_is_up(name, is_up);
        }
    }

    /// Returns whether a call to this number may ask a backend that it could leave out. [`Availability::Probe`] is returned
    /// once in each [`PROBE_EVERY`], to the call that probes the backend, and again if that call shows nothing.
    pub(super) fn availability(&self, backend: &str, number: NumberHash) -> Availability {
        let mut failures = self.failures.lock();
        let is_skipped = |failures: &&mut Failures| failures.unplaced == Unplaced::ToSeveralNumbers;
        let Some(failures) = failures.get_mut(backend).filter(is_skipped) else { return Availability::Up };
        let now = Instant::now();
        let probe_in = failures.probe_at.saturating_duration_since(now);
        if !probe_in.is_zero() {
            return Availability::Down { probe_in };
        }
        failures.probe_at = now + PROBE_EVERY;
        failures.probed_by = Some(number);
        Availability::Probe
    }
}

impl Failures {
    fn new(number: Option<NumberHash>) -> Self {
        Self {
            count: 0,
            of_backend: 0,
            number,
            has_several_numbers: false,
            is_reported: false,
            unplaced: Unplaced::None,
            probe_at: Instant::now(),
            probed_by: None,
        }
    }

    fn add(&mut self, number: Option<NumberHash>, failure: &Failure, is_refusal: bool) {
        let is_of_backend = number.is_none() || failure.is_of_backend();
        self.count = self.count.saturating_add(1);
        self.of_backend = self.of_backend.saturating_add(u32::from(is_of_backend));
        self.has_several_numbers |= self.number != number;
        self.probe_at = Instant::now() + PROBE_EVERY;
        self.probed_by = None;
        if let Some(number) = number.filter(|_| is_refusal) {
            self.unplaced = match self.unplaced {
                _ if !is_of_backend => Unplaced::None,
                Unplaced::None => Unplaced::ToOneNumber(number),
                Unplaced::ToOneNumber(first) if first == number => Unplaced::ToOneNumber(first),
                Unplaced::ToOneNumber(_) | Unplaced::ToSeveralNumbers => Unplaced::ToSeveralNumbers,
            };
        }
    }

    fn is_down(&self) -> bool {
        self.is_reported
            || self.of_backend >= DOWN_AFTER
            || (self.has_several_numbers && self.count >= UNCLEAR_DOWN_AFTER)
    }

    /// Lets the next call probe the backend, if the probe was the call to this number, which has shown nothing.
    fn return_probe(&mut self, number: Option<NumberHash>) {
        if number.is_some() && self.probed_by == number {
            self.probed_by = None;
            self.probe_at = Instant::now();
        }
    }
}

/// Returns what the result of a call shows: `None` if the call was approved.
fn effect(failure: Option<&Failure>) -> Effect<'_> {
    let Some(failure) = failure else { return Effect::Works };
    match failure.reason() {
        FailureReason::CannotPlace | FailureReason::NotConfigured => Effect::Failed(failure),
        // A limit was exceeded, or PhoneGate itself failed.
        FailureReason::Throttled
        | FailureReason::Interrupted
        | FailureReason::DeadlinePassed
        | FailureReason::Internal => Effect::Nothing,
        _ => Effect::Works,
    }
}

#[cfg(test)]
mod tests;
