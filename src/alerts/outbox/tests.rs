//! The outbox with destinations and a store that a test scripts.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::SystemTime;

use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::super::{Alerts, NewAlert};
use super::*;
use crate::config::Level;
use crate::platform;
use crate::store::{ALERT_LEASE, ListedAlert, MemoryStore};
use crate::telemetry::Sinks;

mod deliveries;
mod store;

/// The scripted result of a destination's n-th delivery.
type Answer = Box<dyn Fn(usize) -> Behavior + Send + Sync>;

enum Behavior {
    Take,
    Fail,
    Refuse,
    Hang,
    Panic,
}

/// A destination that reports when each delivery began.
struct FakeDestination {
    fingerprint: &'static str,
    count: AtomicUsize,
    answer: Answer,
    began: UnboundedSender<(Instant, Alert)>,
}

#[async_trait]
impl Deliver for FakeDestination {
    fn wants(&self, kind: AlertKind) -> bool {
        matches!(kind, AlertKind::Fraud | AlertKind::BackendDown | AlertKind::StoreDown)
    }

    fn fingerprint(&self) -> &str {
        self.fingerprint
    }

    fn name(&self) -> &str {
        self.fingerprint
    }

    async fn deliver(&self, alert: &Alert) -> Result<(), DeliveryError> {
        self.began.send((Instant::now(), alert.clone())).unwrap();
        match (self.answer)(self.count.fetch_add(1, Ordering::Relaxed)) {
            Behavior::Take => Ok(()),
            Behavior::Fail => Err(DeliveryError::new("no answer")),
            Behavior::Refuse => Err(DeliveryError::permanent("gone")),
            Behavior::Hang => std::future::pending().await,
            Behavior::Panic => panic!("a defect"),
        }
    }
}

/// A store that can be unreachable.
#[derive(Default)]
struct FakeStore {
    memory: MemoryStore,
    is_unreachable: AtomicBool,
    claims: AtomicUsize,
}

impl FakeStore {
    fn answer(&self) -> Result<(), StoreError> {
        match self.is_unreachable.load(Ordering::Relaxed) {
            true => Err(StoreError::unavailable("a test")),
            false => Ok(()),
        }
    }

    fn disconnect(&self) {
        self.is_unreachable.store(true, Ordering::Relaxed);
    }

    fn reconnect(&self) {
        self.is_unreachable.store(false, Ordering::Relaxed);
    }
}

#[async_trait]
impl AlertStore for FakeStore {
    async fn add_alert(&self, alert: &QueuedAlert) -> Result<AlertAdded, StoreError> {
        self.answer()?;
        self.memory.add_alert(alert).await
    }

    async fn claim_alerts(
        &self,
        owner: Owner,
        destinations: &[Box<str>],
        most: usize,
    ) -> Result<Vec<ClaimedAlert>, StoreError> {
        self.claims.fetch_add(1, Ordering::Relaxed);
        self.answer()?;
        self.memory.claim_alerts(owner, destinations, most).await
    }

    async fn record_delivery(&self, owner: Owner, id: Uuid, tried: &DeliveryResult) -> Result<bool, StoreError> {
        self.answer()?;
        self.memory.record_delivery(owner, id, tried).await
    }

    async fn alerts(&self) -> Result<Vec<ListedAlert>, StoreError> {
        self.memory.alerts().await
    }
}

/// Alerts with their destinations, as a test sees them.
struct Scene {
    alerts: Alerts,
    store: Arc<FakeStore>,
    deliveries: UnboundedReceiver<(Instant, Alert)>,
    metrics: Metrics,
    log: Log,
    lines: Arc<Mutex<Vec<Value>>>,
}

impl Scene {
    fn new(answer: impl Fn(usize) -> Behavior + Send + Sync + 'static) -> Self {
        Self::with_store(Arc::default(), answer)
    }

    fn with_store(store: Arc<FakeStore>, answer: impl Fn(usize) -> Behavior + Send + Sync + 'static) -> Self {
        Self::with_destinations(store, [("mail", Box::new(answer) as Answer)])
    }

    fn with_destinations<const N: usize>(store: Arc<FakeStore>, answers: [(&'static str, Answer); N]) -> Self {
        let (began, deliveries) = unbounded_channel();
        let destination = |(fingerprint, answer)| {
            Box::new(FakeDestination { fingerprint, count: AtomicUsize::new(0), answer, began: began.clone() }) as _
        };
        let lines = Arc::<Mutex<Vec<Value>>>::default();
        let written = Arc::clone(&lines);
        let tee = Arc::new(move |_, line: &str| written.lock().push(serde_json::from_str(line).unwrap()));
        let log = Log::start(Level::Info, Sinks { tee: Some(tee), ..Sinks::default() }).unwrap();
        let metrics = Metrics::new([]).unwrap();
        let destinations: Vec<Box<dyn Deliver>> = answers.into_iter().map(destination).collect();
        let alert_store = Arc::clone(&store) as Arc<dyn AlertStore>;
        let alerts =
            Alerts::start_with(&Handle::current(), destinations, alert_store, true, log.clone(), metrics.clone());
        Self { alerts, store, deliveries, metrics, log, lines }
    }

    fn raise(&self, kind: AlertKind, about: &str) {
        let text = format!("about {about}").into();
        self.alerts.raise(NewAlert { kind, about: about.into(), number: None, call: None, backend: None, text });
    }

    async fn delivery(&mut self) -> (Instant, Alert) {
        self.deliveries.recv().await.unwrap()
    }

    async fn waits_until(&self, what: impl Fn(&[ListedAlert]) -> bool) {
        while !what(&self.store.alerts().await.unwrap()) {
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns the lines of the log about an event. Closes the log.
    fn logged(&self, event: &str) -> Vec<Value> {
        assert!(self.log.close(Duration::from_secs(60)));
        self.lines.lock().iter().filter(|line| line["event"] == event).cloned().collect()
    }

    fn counted(&self, kind: &str, result: &str) -> u64 {
        let text = self.metrics.to_text(crate::telemetry::CallCounts::default()).unwrap();
        let name = format!("phonegate_alerts_total{{kind=\"{kind}\",result=\"{result}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    }
}

/// Adds an alert that was raised at this time to the store.
async fn add(store: &FakeStore, at: SystemTime, content: impl FnOnce(&Alert) -> String) -> Alert {
    let alert = Alert {
        id: Uuid::from_u128(1),
        kind: AlertKind::Fraud,
        at,
        node: "web1".into(),
        number: None,
        call: None,
        backend: None,
        text: "text".into(),
    };
    let content = content(&alert).into();
    let about = "fraud:1".into();
    let queued =
        QueuedAlert { id: alert.id, destination: "mail".into(), about, raised_at: at, content, is_urgent: true };
    assert_eq!(store.add_alert(&queued).await, Ok(AlertAdded::New));
    alert
}

fn are_delivered(alerts: &[ListedAlert]) -> bool {
    !alerts.is_empty() && alerts.iter().all(|alert| alert.delivered_at.is_some())
}
