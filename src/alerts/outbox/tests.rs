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

/// What a destination does with its n-th delivery.
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
    key: &'static str,
    count: AtomicUsize,
    answer: Answer,
    began: UnboundedSender<(Instant, Alert)>,
}

#[async_trait]
impl Deliver for FakeDestination {
    fn wants(&self, kind: AlertKind) -> bool {
        matches!(kind, AlertKind::Fraud | AlertKind::BackendDown | AlertKind::StoreDown)
    }

    fn key(&self) -> &str {
        self.key
    }

    fn name(&self) -> &str {
        self.key
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

/// A store that can be away.
#[derive(Default)]
struct FakeStore {
    kept: MemoryStore,
    is_away: AtomicBool,
    looks: AtomicUsize,
}

impl FakeStore {
    fn answer(&self) -> Result<(), StoreError> {
        match self.is_away.load(Ordering::Relaxed) {
            true => Err(StoreError::unavailable("a test")),
            false => Ok(()),
        }
    }

    fn leave(&self) {
        self.is_away.store(true, Ordering::Relaxed);
    }

    fn come_back(&self) {
        self.is_away.store(false, Ordering::Relaxed);
    }
}

#[async_trait]
impl AlertStore for FakeStore {
    async fn add_alert(&self, alert: &QueuedAlert) -> Result<AlertAdded, StoreError> {
        self.answer()?;
        self.kept.add_alert(alert).await
    }

    async fn claim_alerts(
        &self,
        owner: Owner,
        destinations: &[Box<str>],
        most: usize,
    ) -> Result<Vec<ClaimedAlert>, StoreError> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.answer()?;
        self.kept.claim_alerts(owner, destinations, most).await
    }

    async fn record_delivery(&self, owner: Owner, id: Uuid, tried: &DeliveryResult) -> Result<bool, StoreError> {
        self.answer()?;
        self.kept.record_delivery(owner, id, tried).await
    }

    async fn alerts(&self) -> Result<Vec<ListedAlert>, StoreError> {
        self.kept.alerts().await
    }
}

/// Alerts with one destination, and all that a test sees of them.
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
        let destination = |(key, answer)| {
            Box::new(FakeDestination { key, count: AtomicUsize::new(0), answer, began: began.clone() }) as _
        };
        let lines = Arc::<Mutex<Vec<Value>>>::default();
        let written = Arc::clone(&lines);
        let tee = Arc::new(move |_, line: &str| written.lock().push(serde_json::from_str(line).unwrap()));
        let log = Log::start(Level::Info, Sinks { tee: Some(tee), ..Sinks::default() }).unwrap();
        let metrics = Metrics::new([]).unwrap();
        let destinations: Vec<Box<dyn Deliver>> = answers.into_iter().map(destination).collect();
        let kept = Arc::clone(&store) as Arc<dyn AlertStore>;
        let alerts = Alerts::start_with(&Handle::current(), destinations, kept, true, log.clone(), metrics.clone());
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

    /// The lines of the log about an event. Ends the log.
    fn logged(&self, event: &str) -> Vec<Value> {
        assert!(self.log.close(Duration::from_secs(60)));
        self.lines.lock().iter().filter(|line| line["event"] == event).cloned().collect()
    }

    fn counted(&self, kind: &str, result: &str) -> u64 {
        let text = self.metrics.to_text(0, 0).unwrap();
        let name = format!("phonegate_alerts_total{{kind=\"{kind}\",result=\"{result}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    }
}

/// An alert in the store, raised then.
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

#[tokio::test(start_paused = true)]
async fn an_alert_is_delivered_once_and_recorded() {
    let mut scene = Scene::new(|_| Behavior::Take);
    for _ in 0..3 {
        scene.raise(AlertKind::Fraud, "number 1");
    }
    let (_, alert) = scene.delivery().await;
    assert_eq!((alert.kind, &*alert.text), (AlertKind::Fraud, "about number 1"));
    assert_eq!(*alert.node, platform::machine_name());
    scene.waits_until(are_delivered).await;
    sleep(ALERT_LEASE * 3).await;
    assert!(scene.deliveries.try_recv().is_err(), "it is delivered once");
    assert_eq!(scene.counted("fraud", "delivered"), 1);
    let sent = scene.logged("alert_sent");
    assert_eq!((sent.len(), &sent[0]["text"]), (1, &Value::from("fraud to mail")));
}

#[tokio::test(start_paused = true)]
async fn failed_deliveries_are_repeated_with_growing_pauses() {
    let mut scene = Scene::new(|n| if n < 9 { Behavior::Fail } else { Behavior::Take });
    scene.raise(AlertKind::Fraud, "number 1");
    let (mut last, first) = scene.delivery().await;
    for seconds in [10, 20, 40, 80, 160, 320, 640, 900, 900] {
        let (at, alert) = scene.delivery().await;
        let (pause, expected) = (at - last, Duration::from_secs(seconds));
        assert!(pause >= expected && pause <= expected + LOOK_EVERY, "{pause:?} instead of {expected:?}");
        assert_eq!(alert.id, first.id, "each try has the same id");
        last = at;
    }
    scene.waits_until(are_delivered).await;
    assert_eq!((scene.counted("fraud", "failed"), scene.counted("fraud", "delivered")), (9, 1));
    // All tries together took less than an hour.
    let failed = scene.logged("alert_failed");
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0]["text"].as_str().unwrap().starts_with("fraud to mail: no answer. "), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_stays_away_is_logged_every_hour() {
    let scene = Scene::new(|_| Behavior::Fail);
    for n in 0..3 {
        scene.raise(AlertKind::Fraud, &format!("number {n}"));
    }
    // The next tries come up to a quarter of an hour after each full hour.
    sleep(Duration::from_secs(4 * 3600 + 3000)).await;
    let failed = scene.logged("alert_failed").len();
    assert!((4..=5).contains(&failed), "{failed}");
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_is_not_repeated() {
    let mut scene = Scene::new(|_| Behavior::Refuse);
    scene.raise(AlertKind::Fraud, "number 1");
    scene.delivery().await;
    scene.waits_until(|alerts| alerts.iter().any(|alert| alert.is_given_up)).await;
    sleep(LONGEST_PAUSE * 2).await;
    assert!(scene.deliveries.try_recv().is_err());
    assert_eq!(scene.counted("fraud", "given_up"), 1);
    assert_eq!(scene.logged("alert_given_up").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_alert_of_a_week_ago_is_given_up_when_it_fails() {
    let store = Arc::<FakeStore>::default();
    let a_week_ago = SystemTime::now() - MAX_ALERT_WAIT;
    let old = add(&store, a_week_ago, |alert| serde_json::to_string(alert).unwrap()).await;
    let mut scene = Scene::with_store(store, |_| Behavior::Fail);
    assert_eq!(scene.delivery().await.1.id, old.id);
    scene.waits_until(|alerts| alerts[0].is_given_up).await;
}

#[tokio::test(start_paused = true)]
async fn an_alert_of_another_version_waits_for_that_version() {
    let store = Arc::<FakeStore>::default();
    add(&store, SystemTime::now(), |_| "{\"kind\":\"unheard_of\"}".to_owned()).await;
    let mut scene = Scene::with_store(store, |_| Behavior::Take);
    scene.waits_until(|alerts| alerts[0].failures > 0).await;
    assert!(scene.deliveries.try_recv().is_err());
    let listed = scene.store.alerts().await.unwrap();
    assert!(!listed[0].is_given_up, "{listed:?}");
    assert_eq!(listed[0].error.as_deref(), Some("this version of PhoneGate cannot read the alert"));
}

#[tokio::test(start_paused = true)]
async fn alerts_wait_in_memory_while_the_store_is_away() {
    let mut scene = Scene::new(|_| Behavior::Take);
    scene.store.leave();
    for n in 0..300 {
        scene.raise(AlertKind::Fraud, &format!("number {n}"));
        // So that the task takes the first one out of the channel.
        tokio::task::yield_now().await;
    }
    sleep(Duration::from_secs(3600)).await;
    assert!(scene.deliveries.try_recv().is_err());
    let dropped = scene.counted("fraud", "dropped");
    assert_eq!(dropped, 300 - 257);
    scene.store.come_back();
    let mut about = BTreeSet::new();
    while about.len() < 257 {
        about.insert(scene.delivery().await.1.text);
    }
    scene.waits_until(are_delivered).await;
    assert!(scene.deliveries.try_recv().is_err(), "each is delivered once");
    let logged = scene.logged("alerts_dropped");
    assert_eq!((logged.len(), &logged[0]["count"]), (1, &Value::from(dropped)));
}

#[tokio::test(start_paused = true)]
async fn a_result_is_recorded_when_the_store_is_back() {
    let store = Arc::<FakeStore>::default();
    let leaving = Arc::clone(&store);
    let mut scene = Scene::with_store(store, move |_| {
        leaving.leave();
        Behavior::Take
    });
    scene.raise(AlertKind::Fraud, "number 1");
    scene.delivery().await;
    sleep(ALERT_LEASE * 3).await;
    scene.store.come_back();
    scene.waits_until(are_delivered).await;
    assert!(scene.deliveries.try_recv().is_err(), "it is not delivered again meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_destination_gets_one_delivery_at_a_time() {
    let mut scene = Scene::new(|n| if n == 1 { Behavior::Hang } else { Behavior::Take });
    for n in 0..5 {
        scene.raise(AlertKind::Fraud, &format!("number {n}"));
    }
    let both = [scene.delivery().await.1.text, scene.delivery().await.1.text];
    assert_ne!(both[0], both[1]);
    sleep(ALERT_LEASE * 3).await;
    assert!(scene.deliveries.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_hangs_delays_no_other() {
    let hang: Answer = Box::new(|_| Behavior::Hang);
    let take: Answer = Box::new(|_| Behavior::Take);
    let scene = Scene::with_destinations(Arc::default(), [("black hole", hang), ("mail", take)]);
    for n in 0..20 {
        scene.raise(AlertKind::Fraud, &format!("number {n}"));
    }
    let is_mail = |alert: &&ListedAlert| &*alert.destination == "mail" && alert.delivered_at.is_some();
    scene.waits_until(|alerts| alerts.iter().filter(is_mail).count() == 20).await;
    let listed = scene.store.alerts().await.unwrap();
    assert_eq!(listed.iter().filter(|alert| &*alert.destination == "black hole").count(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_returns_no_alerts_is_logged_every_hour() {
    let scene = Scene::new(|_| Behavior::Take);
    scene.store.leave();
    sleep(Duration::from_secs(4 * 3600 + 60)).await;
    let failed = scene.logged("alert_failed");
    assert_eq!(failed.len(), 5, "{failed:?}");
    assert!(failed[0]["text"].as_str().unwrap().contains("cannot be delivered: "), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_report_of_fraud_is_urgent() {
    let mut scene = Scene::new(|_| Behavior::Hang);
    scene.raise(AlertKind::Fraud, "number 1");
    scene.delivery().await;
    for (kind, n) in [(AlertKind::BackendDown, 2), (AlertKind::Fraud, 3)] {
        scene.raise(kind, &format!("{n}"));
    }
    scene.waits_until(|alerts| alerts.len() == 3).await;
    let claimed = scene.store.claim_alerts(Owner(Uuid::from_u128(1)), &["mail".into()], 1).await.unwrap();
    let claimed: Alert = serde_json::from_str(&claimed[0].content).unwrap();
    assert_eq!(claimed.kind, AlertKind::Fraud);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_delivery_delays_that_alert_alone() {
    let mut scene = Scene::new(|n| if n == 0 { Behavior::Panic } else { Behavior::Take });
    scene.raise(AlertKind::Fraud, "number 1");
    let (panicked_at, panicked) = scene.delivery().await;
    scene.raise(AlertKind::Fraud, "number 2");
    let (at, next) = scene.delivery().await;
    assert!(&*next.text == "about number 2" && at - panicked_at < ALERT_LEASE, "the other one does not wait");
    let (at, again) = scene.delivery().await;
    assert!(again.id == panicked.id && at - panicked_at >= ALERT_LEASE, "it is claimed again after its lease");
}

#[tokio::test(start_paused = true)]
async fn closing_keeps_alerts_and_gives_back_what_is_under_way() {
    let mut scene = Scene::new(|_| Behavior::Hang);
    scene.raise(AlertKind::Fraud, "number 1");
    scene.delivery().await;
    for n in 2..=20 {
        scene.raise(AlertKind::Fraud, &format!("number {n}"));
    }
    timeout(Duration::from_secs(1), scene.alerts.close()).await.unwrap();
    scene.raise(AlertKind::Fraud, "too late");
    assert_eq!(scene.counted("fraud", "dropped"), 1);
    let claimed = scene.store.claim_alerts(Owner(Uuid::from_u128(1)), &["mail".into()], 100).await.unwrap();
    assert_eq!(claimed.len(), 20, "another process can deliver all of them at once");
    assert!(claimed.iter().all(|alert| alert.failures == 0));
}

#[tokio::test(start_paused = true)]
async fn closing_waits_no_longer_than_its_caller_says() {
    let scene = Scene::new(|_| Behavior::Take);
    scene.store.leave();
    scene.raise(AlertKind::Fraud, "number 1");
    assert!(timeout(Duration::from_secs(5), scene.alerts.close()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_alert_about_the_store_needs_no_store() {
    let mut scene = Scene::new(|_| Behavior::Fail);
    scene.store.leave();
    for _ in 0..3 {
        scene.raise(AlertKind::StoreDown, "the store");
    }
    assert_eq!(scene.delivery().await.1.kind, AlertKind::StoreDown);
    sleep(Duration::from_secs(60)).await;
    assert!(scene.deliveries.try_recv().is_err(), "it is tried once an hour");
    assert_eq!((scene.counted("store_down", "given_up"), scene.logged("alert_given_up").len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_no_destination_wants_leaves_nothing_behind() {
    let scene = Scene::new(|_| Behavior::Take);
    assert!(scene.alerts.wants(AlertKind::Fraud) && !scene.alerts.wants(AlertKind::Lockout));
    scene.raise(AlertKind::Lockout, "number 1");
    sleep(LOOK_EVERY * 2).await;
    assert!(scene.store.alerts().await.unwrap().is_empty());
    assert_eq!(scene.counted("lockout", "dropped"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_node_asks_the_store_once_in_five_seconds() {
    let scene = Scene::new(|_| Behavior::Take);
    sleep(Duration::from_secs(600)).await;
    let looks = scene.store.looks.load(Ordering::Relaxed);
    assert!((119..=121).contains(&looks), "{looks}");
}

#[tokio::test(start_paused = true)]
async fn without_destinations_there_is_no_task() {
    let runtime = Handle::current();
    let before = runtime.metrics().num_alive_tasks();
    let log = Log::start(Level::Info, Sinks::default()).unwrap();
    let store = Arc::new(MemoryStore::default());
    let alerts = Alerts::start_with(&runtime, Vec::new(), store, true, log, Metrics::new([]).unwrap());
    assert_eq!(runtime.metrics().num_alive_tasks(), before);
    assert!(AlertKind::ALL.into_iter().all(|kind| !alerts.wants(kind)));
    alerts.close().await;
}
