//! The tasks that write raised alerts to the store and deliver those that wait there. Of the nodes that share a store,
//! one delivers each alert. No call waits for these tasks.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::direct::HourlyLimit;
use super::{Alert, AlertKind, DeliveryError, Destination};
use crate::call::GateEvent;
use crate::clock::Moment;
use crate::store::{
    AlertAdded, AlertStore, ClaimedAlert, DeliveryResult, MAX_ALERT_WAIT, Owner, QueuedAlert, StoreError,
    StoreErrorKind,
};
use crate::telemetry::{AlertResult, Log, LogEntry, Metrics};

/// Interval at which alerts are claimed from the store. They are also claimed when this process has added one.
const CLAIM_EVERY: Duration = Duration::from_secs(5);

/// Maximum time of a store operation.
const STORE_LIMIT: Duration = Duration::from_secs(5);

/// Pause before a store operation that failed is repeated.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// Pause before a delivery is repeated. It doubles with each failure, from the first value to the second.
const MIN_RETRY_PAUSE: Duration = Duration::from_secs(10);
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(15 * 60);

/// Minimum time between two log lines about the failures of one destination, or of the store.
const LOGGED_EVERY: Duration = Duration::from_secs(60 * 60);

/// Delivers alerts. [`Destination`] implements it, and tests do.
#[async_trait]
pub(super) trait Deliver: Send + Sync {
    fn wants(&self, kind: AlertKind) -> bool;
    fn fingerprint(&self) -> &str;
    fn name(&self) -> &str;
    async fn deliver(&self, alert: &Alert) -> Result<(), DeliveryError>;
}

#[async_trait]
impl Deliver for Destination {
    fn wants(&self, kind: AlertKind) -> bool {
        self.wants(kind)
    }

    fn fingerprint(&self) -> &str {
        self.fingerprint()
    }

    fn name(&self) -> &str {
        self.name()
    }

    async fn deliver(&self, alert: &Alert) -> Result<(), DeliveryError> {
        self.deliver(alert).await
    }
}

/// An alert that was raised. `about` is that of [`NewAlert`](super::NewAlert).
pub(super) struct Raised {
    pub(super) alert: Alert,
    pub(super) about: Box<str>,
}

impl Raised {
    fn subject(&self) -> Box<str> {
        format!("{}:{}", self.alert.kind.name(), self.about).into()
    }
}

/// The state that the tasks share.
pub(super) struct Outbox {
    destinations: Vec<Box<dyn Deliver>>,
    store: Arc<dyn AlertStore>,
    owner: Owner,
    /// Notified when the store has got an alert from this process.
    added: Notify,
    /// Alerts that were dropped since the last line `alerts_dropped`.
    dropped: AtomicU64,
    /// Time of the last line `alert_failed` of each destination, unless a delivery there has succeeded since.
    failure_logged: Mutex<HashMap<Box<str>, Instant>>,
    /// Time of the last line about a claim that failed.
    claim_logged: Mutex<Option<Instant>>,
    ending: CancellationToken,
    log: Log,
    metrics: Metrics,
}

impl Outbox {
    pub(super) fn new(
        destinations: Vec<Box<dyn Deliver>>,
        store: Arc<dyn AlertStore>,
        ending: CancellationToken,
        log: Log,
        metrics: Metrics,
    ) -> Self {
        Self {
            destinations,
            store,
            owner: Owner(Uuid::new_v4()),
            added: Notify::new(),
            dropped: AtomicU64::new(0),
            failure_logged: Mutex::default(),
            claim_logged: Mutex::default(),
            ending,
            log,
            metrics,
        }
    }

    pub(super) fn wants(&self, kind: AlertKind) -> bool {
        self.destinations.iter().any(|destination| destination.wants(kind))
    }

    pub(super) fn count(&self, kind: AlertKind, result: AlertResult) {
        self.metrics.alert(kind, result);
        if result == AlertResult::Dropped {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes raised alerts to the store. While the store cannot be used, they wait in the channel. Ends when the
    /// process shuts down and the channel is empty.
    pub(super) async fn store_raised(self: Arc<Self>, mut raised: Receiver<Raised>) {
        loop {
            let next = tokio::select! {
                biased;
                next = raised.recv() => next,
                () = self.ending.cancelled(), if !raised.is_closed() => {
                    raised.close();
                    continue;
                }
            };
            let Some(next) = next else { break };
            self.store_for_each(&next).await;
            self.added.notify_one();
            self.log_dropped();
        }
        self.log_dropped();
    }

    async fn store_for_each(&self, raised: &Raised) {
        for destination in self.destinations.iter().filter(|destination| destination.wants(raised.alert.kind)) {
            let alert = Alert { id: Uuid::new_v4(), ..raised.alert.clone() };
            let Ok(content) = serde_json::to_string(&alert) else { continue };
            let queued = QueuedAlert {
                id: alert.id,
                destination: destination.fingerprint().into(),
                about: raised.subject(),
                raised_at: alert.at,
                content: content.into(),
                is_urgent: alert.kind == AlertKind::Fraud,
            };
            match self.retry_until_stored(|| self.store.add_alert(&queued)).await {
                Some(AlertAdded::New | AlertAdded::Repeated) => {}
                Some(AlertAdded::Full) | None => self.count(alert.kind, AlertResult::Dropped),
            }
        }
    }

    fn log_dropped(&self) {
        let count = self.dropped.swap(0, Ordering::Relaxed);
        if count > 0 {
            let text =
                "too many alerts waited, or the store refused them, so some were dropped; see `phonegate alerts list`";
            let dropped = LogEntry::new(GateEvent::AlertsDropped);
            self.log.write(&LogEntry { count: Some(count), text: Some(text), ..dropped });
        }
    }

    /// Repeats a store operation until it succeeds. Returns `None` if the store refuses it.
    async fn retry_until_stored<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        operation: impl Fn() -> F,
    ) -> Option<T> {
        loop {
            match timeout(STORE_LIMIT, operation()).await {
                Ok(Ok(done)) => return Some(done),
                Ok(Err(error)) if error.kind() == StoreErrorKind::Refused => {
                    let refused = LogEntry::new(GateEvent::StoreRefused);
                    self.log.write(&LogEntry { text: Some(error.detail()), ..refused });
                    return None;
                }
                Ok(Err(_)) | Err(_) => sleep(STORE_RETRY).await,
            }
        }
    }

    /// Delivers the alerts that wait in the store, until the process shuts down. Each destination gets one at a time, so
    /// that one that does not answer delays no other.
    pub(super) async fn deliver_stored(self: Arc<Self>) {
        let mut deliveries = JoinSet::new();
        // The destinations of these tasks.
        let mut busy: HashMap<tokio::task::Id, Box<str>> = HashMap::new();
        loop {
            let is_free = |destination: &&str| !busy.values().any(|busy| **busy == **destination);
            let all = self.destinations.iter().map(|destination| destination.fingerprint());
            let free: Vec<Box<str>> = all.filter(is_free).map(Into::into).collect();
            for claimed in self.claim(&free).await {
                let destination = claimed.destination.clone();
                busy.insert(deliveries.spawn(Arc::clone(&self).deliver_claimed(claimed)).id(), destination);
            }
            tokio::select! {
                biased;
                () = self.ending.cancelled() => break,
                Some(ended) = deliveries.join_next_with_id() => {
                    busy.remove(&ended.map_or_else(|error| error.id(), |(task, ())| task));
                }
                () = self.added.notified() => {}
                () = sleep(CLAIM_EVERY) => {}
            }
        }
        while deliveries.join_next().await.is_some() {}
    }

    /// Claims an alert for each of these destinations, if one is due.
    async fn claim(&self, destinations: &[Box<str>]) -> Vec<ClaimedAlert> {
        if destinations.is_empty() {
            return Vec::new();
        }
        let claim = timeout(STORE_LIMIT, self.store.claim_alerts(self.owner, destinations, 1));
        match self.ending.run_until_cancelled(claim).await {
            Some(Ok(Ok(claimed))) => claimed,
            // If the store claimed some nevertheless, their lease expires.
            Some(Ok(Err(error))) => {
                self.log_failed_claim(&error);
                Vec::new()
            }
            Some(Err(_)) => {
                self.log_failed_claim(&format_args!("no answer within {STORE_LIMIT:?}"));
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// Logs, at most once an hour, that alerts could not be claimed from the store.
    fn log_failed_claim(&self, error: &dyn Display) {
        let mut logged = self.claim_logged.lock();
        if logged.is_some_and(|at| at.elapsed() < LOGGED_EVERY) {
            return;
        }
        *logged = Some(Instant::now());
        drop(logged);
        let text = format!("alerts that wait in the store cannot be delivered: {error}. PhoneGate keeps trying");
        self.log.write(&LogEntry { text: Some(&text), ..LogEntry::new(GateEvent::AlertFailed) });
    }

    async fn deliver_claimed(self: Arc<Self>, claimed: ClaimedAlert) {
        let Some(tried) = self.try_claimed(&claimed).await else { return };
        self.retry_until_stored(|| self.store.record_delivery(self.owner, claimed.id, &tried)).await;
    }

    async fn try_claimed(&self, claimed: &ClaimedAlert) -> Option<DeliveryResult> {
        let destination =
            self.destinations.iter().find(|destination| *destination.fingerprint() == *claimed.destination)?;
        let again_after = MIN_RETRY_PAUSE.saturating_mul(1 << claimed.failures.min(10)).min(MAX_RETRY_PAUSE);
        let Ok(alert) = serde_json::from_str::<Alert>(&claimed.content) else {
            let error = "this version of PhoneGate cannot read the alert".into();
            return Some(DeliveryResult::Failed { again_after: MAX_RETRY_PAUSE, error });
        };
        let delivered = tokio::select! {
            biased;
            delivered = destination.deliver(&alert) => delivered,
            () = self.ending.cancelled() => return Some(DeliveryResult::Returned),
        };
        Some(match delivered {
            Ok(()) => {
                self.sent(&**destination, &alert);
                DeliveryResult::Delivered
            }
            Err(error) => {
                let is_old = alert.at.elapsed().is_ok_and(|age| age >= MAX_ALERT_WAIT);
                let is_given_up = is_old || error.is_permanent();
                self.failed(&**destination, &alert, &error, (!is_given_up).then_some(again_after));
                let error = error.to_string().into();
                if is_given_up {
                    DeliveryResult::GivenUp { error }
                } else {
                    DeliveryResult::Failed { again_after, error }
                }
            }
        })
    }

    /// Delivers alerts without the store, each kind about the same at most once an hour. Ends when the process shuts
    /// down.
    pub(super) async fn deliver_directly(self: Arc<Self>, mut raised: Receiver<Raised>) {
        let mut limit = HourlyLimit::new();
        let mut deliveries = JoinSet::new();
        loop {
            let next = tokio::select! {
                biased;
                () = self.ending.cancelled() => break,
                _ = deliveries.join_next(), if !deliveries.is_empty() => continue,
                next = raised.recv() => next,
            };
            let Some(Raised { alert, about }) = next else { break };
            if limit.admits(alert.kind, &about, Moment::now()) {
                deliveries.spawn(Arc::clone(&self).deliver_once(alert));
            }
        }
    }

    async fn deliver_once(self: Arc<Self>, alert: Alert) {
        let wanting = self.destinations.iter().filter(|destination| destination.wants(alert.kind));
        let deliver = async |destination: &dyn Deliver| match destination.deliver(&alert).await {
            Ok(()) => self.sent(destination, &alert),
            Err(error) => self.failed(destination, &alert, &error, None),
        };
        join_all(wanting.map(|destination| deliver(&**destination))).await;
    }

    fn sent(&self, destination: &dyn Deliver, alert: &Alert) {
        self.metrics.alert(alert.kind, AlertResult::Delivered);
        self.failure_logged.lock().remove(destination.fingerprint());
        let text = format!("{} to {}", alert.kind.name(), destination.name());
        self.log.write(&LogEntry { text: Some(&text), ..entry(GateEvent::AlertSent, alert) });
    }

    /// Counts a failed delivery. Logs each that is given up, and any other once an hour for each destination.
    fn failed(&self, destination: &dyn Deliver, alert: &Alert, error: &DeliveryError, again_after: Option<Duration>) {
        let (kind, name) = (alert.kind.name(), destination.name());
        let Some(pause) = again_after else {
            self.metrics.alert(alert.kind, AlertResult::GivenUp);
            let text = format!("{kind} to {name}: {error}");
            return self.log.write(&LogEntry { text: Some(&text), ..entry(GateEvent::AlertGivenUp, alert) });
        };
        self.metrics.alert(alert.kind, AlertResult::Failed);
        let mut logged = self.failure_logged.lock();
        if logged.get(destination.fingerprint()).is_some_and(|at| at.elapsed() < LOGGED_EVERY) {
            return;
        }
        logged.insert(destination.fingerprint().into(), Instant::now());
        drop(logged);
        let text = format!(
            "{kind} to {name}: {error}. The delivery is repeated in {} s, then less often; after a correction, run \
             `phonegate alerts test`",
            pause.as_secs()
        );
        self.log.write(&LogEntry { text: Some(&text), ..entry(GateEvent::AlertFailed, alert) });
    }
}

fn entry(event: GateEvent, alert: &Alert) -> LogEntry<'_> {
    let (number, backend) = (alert.number.as_deref(), alert.backend.as_deref());
    LogEntry { id: alert.call, number, backend, ..LogEntry::new(event) }
}

#[cfg(test)]
mod tests;
