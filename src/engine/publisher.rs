//! Publishes the outcomes and the steps of calls: to the registry, the log, the metrics and the store.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use super::active_calls::ActiveCall;
use super::failures::attempt_lost;
use super::store_client::StoreClient;
use crate::call::{Attempt, CallEvent, Failure, FailureReason, Outcome, PhoneNumber, StoredOutcome};
use crate::clock::Moment;
use crate::config::Level;
use crate::registry::Registry;
use crate::store::AttemptChange;
use crate::telemetry::{Log, LogEntry, Metrics};

/// Publishes outcomes and steps.
pub(super) struct Publisher {
    registry: Arc<Registry>,
    store: Arc<StoreClient>,
    log: Log,
    metrics: Metrics,
    /// Held to read while an outcome is published, so that [`Publisher::wait`] can wait for it.
    publishing: RwLock<()>,
}

impl Publisher {
    pub(super) fn new(registry: Arc<Registry>, store: Arc<StoreClient>, log: Log, metrics: Metrics) -> Self {
        Self { registry, store, log, metrics, publishing: RwLock::default() }
    }

    /// Records and publishes the failure of a call for which no phone rang, and releases its number.
    pub(super) fn reject(&self, call: &ActiveCall, number: &PhoneNumber, failure: Failure) {
        self.store.record_refusal(call.attempt, Some(number), failure.clone());
        self.registry.release(call.attempt, call.number);
        self.finish(call, None, Outcome::Failed(failure), Moment::now());
    }

    /// Publishes and counts the outcome of a call that this process has driven. `at` is when the backend reported it.
    /// Returns false if the call was published before.
    pub(super) fn finish(&self, call: &ActiveCall, backend: Option<&str>, outcome: Outcome, at: Moment) -> bool {
        let published = self.publish(call, backend, (&outcome).into(), (at, Duration::ZERO));
        if let Some(outcome) = &published {
            self.metrics.ended(outcome, backend, call.age());
        }
        published.is_some()
    }

    /// Publishes an outcome that was reported at `at`, and that the call has had for `ago` then. Every outcome reaches
    /// the registry and the log here. Returns it as the registry keeps it, `None` if the call was published before.
    pub(super) fn publish(
        &self,
        call: &ActiveCall,
        backend: Option<&str>,
        outcome: StoredOutcome,
        (at, ago): (Moment, Duration),
    ) -> Option<StoredOutcome> {
        let _publishing = self.publishing.read();
        if !call.mark_published() {
            return None;
        }
        // A repeat may have taken the place of a claimed call in the registry. The repeat is published from the store.
        let of_claimed = call.is_claimed().then(|| outcome.clone());
        let outcome = self.registry.end_earlier(call.attempt, outcome, ago, at).or(of_claimed)?;
        match &outcome {
            StoredOutcome::Verified(_) => self.log_step(call, CallEvent::Verified, backend),
            StoredOutcome::Failed(failure) => {
                let level = match failure.reason() {
                    FailureReason::Internal => Level::Error,
                    FailureReason::NotConfigured | FailureReason::CannotPlace | FailureReason::FraudReported => {
                        Level::Warn
                    }
                    _ => Level::Info,
                };
                let failed = entry(call, CallEvent::Failed, backend);
                self.log.write(&LogEntry { level, number: Some(&call.masked), failure: Some(failure), ..failed });
            }
        }
        Some(outcome)
    }

    /// Fails a call that was published as verified, because the store has lost its approval.
    pub(super) fn lose_approval(&self, approved: Attempt) {
        let failure = attempt_lost();
        if self.registry.lose_approval(approved, failure.clone()) {
            let failed = LogEntry::new(CallEvent::Failed);
            let attempt = Some(approved);
            self.log.write(&LogEntry { level: Level::Warn, attempt, failure: Some(&failure), ..failed });
        }
    }

    /// Leaves a call to the process that owns it: from now on its status is read from the store.
    pub(super) fn cede(&self, call: &ActiveCall) {
        self.registry.forget(call.attempt, call.number);
        call.mark_published();
        self.log_step(call, CallEvent::OwnershipLost, None);
    }

    /// Waits until every publication in progress is complete.
    pub(super) fn wait(&self) {
        drop(self.publishing.write());
    }

    /// Logs and records a step of a call.
    pub(super) fn step(&self, call: &ActiveCall, event: CallEvent, backend: Option<&Arc<str>>, text: Option<&str>) {
        let entry = entry(call, event, backend.map(|backend| &**backend));
        self.log.write(&LogEntry { text, ..entry });
        self.store.record(call.attempt, step(event, backend, text));
    }

    /// Logs, counts and records that a backend did not do what it was asked for.
    pub(super) fn backend_failed(&self, call: &ActiveCall, event: CallEvent, backend: &Arc<str>, failure: &Failure) {
        self.metrics.backend_failed(backend, failure.reason());
        let entry = entry(call, event, Some(backend));
        self.log.write(&LogEntry { level: Level::Warn, failure: Some(failure), ..entry });
        self.store.record(call.attempt, step(event, Some(backend), Some(failure.text())));
    }

    /// Counts that a phone was answered.
    pub(super) fn count_answered(&self, call: &ActiveCall, backend: &str) {
        self.metrics.answered(backend, call.age());
    }

    /// Logs a step of a call, which is not recorded.
    pub(super) fn log_step(&self, call: &ActiveCall, event: CallEvent, backend: Option<&str>) {
        self.log.write(&entry(call, event, backend));
    }

    /// Logs how the audio of a call went.
    pub(super) fn log_summary(&self, call: &ActiveCall, backend: &str, text: &str) {
        self.log.write(&LogEntry { text: Some(text), ..entry(call, CallEvent::Media, Some(backend)) });
    }
}

fn entry<'a>(call: &ActiveCall, event: CallEvent, backend: Option<&'a str>) -> LogEntry<'a> {
    let ms = Some(call.age().as_millis());
    LogEntry { attempt: Some(call.attempt), backend, ms, ..LogEntry::new(event) }
}

pub(super) fn step(event: CallEvent, backend: Option<&Arc<str>>, text: Option<&str>) -> AttemptChange {
    AttemptChange::Step { event, backend: backend.cloned(), text: text.map(Into::into) }
}
