//! Each alert reaches its destination once, even if the destination or nodes fail.

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::post;
use parking_lot::Mutex;
use phonegate::alerts::direct::Destinations;
use phonegate::alerts::{AlertKind, Alerts, NewAlert};
use phonegate::config::{AlertConfig, Level, NetworkConfig};
use phonegate::store::{
    AlertStore, CallStore, DeliveryResult, ListedAlert, MemoryStore, Owner, QueuedAlert, RedisConfig, RedisStore,
    SqliteStore,
};
use phonegate::telemetry::{Log, Metrics, Sinks};
use serde_json::json;
use support::alerts::SECRET;
use support::ports::free_port;
use support::redis::Redis;
use support::wait_until;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// A webhook that counts how often each alert arrived. It does not answer before `answers` is set.
struct Receiver {
    /// By the alert's id.
    arrived: Arc<Mutex<BTreeMap<String, u32>>>,
    answers: Arc<AtomicBool>,
    _runtime: Runtime,
}

impl Receiver {
    fn start(port: u16, answers: bool) -> Self {
        let runtime = Runtime::new().unwrap();
        let (arrived, answers) = (Arc::<Mutex<BTreeMap<String, u32>>>::default(), Arc::new(AtomicBool::new(answers)));
        let (counted, may_answer) = (Arc::clone(&arrived), Arc::clone(&answers));
        let take = async move |headers: HeaderMap| {
            let id = headers["webhook-id"].to_str().unwrap().to_owned();
            *counted.lock().entry(id).or_default() += 1;
            if !may_answer.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", port))).unwrap();
        let routes = Router::new().route("/alerts", post(take));
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { arrived, answers, _runtime: runtime }
    }

    /// How often each alert arrived.
    fn arrived(&self) -> Vec<u32> {
        self.arrived.lock().values().copied().collect()
    }
}

/// The alert tasks of a node, without the rest of its gate.
struct Node {
    alerts: Alerts,
    runtime: Runtime,
}

impl Node {
    fn start(store: Arc<dyn AlertStore>, port: u16) -> Self {
        let runtime = Runtime::new().unwrap();
        let url = format!("http://127.0.0.1:{port}/alerts");
        let element = json!({ "on": ["fraud", "backend_down"], "webhook": { "url": url, "key": SECRET } });
        let element: AlertConfig = serde_json::from_value(element).unwrap();
        let destinations = Destinations::build(&[element], &NetworkConfig::default(), Path::new("")).unwrap();
        let log = Log::start(Level::Info, Sinks::default()).unwrap();
        let alerts = Alerts::start(runtime.handle(), destinations, store, true, log, Metrics::new([]).unwrap());
        Self { alerts, runtime }
    }

    fn raise(&self, kind: AlertKind, about: &str) {
        let text = "What happened, and what to do.".into();
        self.alerts.raise(NewAlert { kind, about: about.into(), number: None, call: None, backend: None, text });
    }

    /// Ends the node as a kill does: it releases no claim.
    fn kill(self) {
        self.runtime.shutdown_background();
    }
}

fn listed(store: &dyn AlertStore) -> Vec<ListedAlert> {
    Runtime::new().unwrap().block_on(store.alerts()).unwrap()
}

fn all_delivered(store: &dyn AlertStore, count: usize) -> bool {
    let listed = listed(store);
    listed.len() == count && listed.iter().all(|alert| alert.delivered_at.is_some())
}

fn redis_store(redis: &Redis) -> Arc<RedisStore> {
    let config: RedisConfig = serde_json::from_value(json!({ "url": redis.url() })).unwrap();
    Arc::new(RedisStore::open(&config, &NetworkConfig::default(), Path::new("")).unwrap())
}

#[test]
fn an_alert_arrives_once_when_its_destination_is_back() {
    let (store, port) = (Arc::new(MemoryStore::default()), free_port());
    let node = Node::start(store.clone(), port);
    node.raise(AlertKind::Fraud, "number 1");
    wait_until("a delivery failed", || listed(&*store).iter().any(|alert| alert.failures > 0));
    assert!(listed(&*store)[0].error.is_some());
    let receiver = Receiver::start(port, true);
    wait_until("it is delivered", || all_delivered(&*store, 1));
    assert_eq!(receiver.arrived(), [1]);
}

#[test]
fn nodes_of_a_farm_send_each_alert_once() {
    let (redis, port) = (Redis::start(), free_port());
    let receiver = Receiver::start(port, true);
    let nodes: Vec<_> = (0..3).map(|_| Node::start(redis_store(&redis), port)).collect();
    for node in &nodes {
        // Each node notices the change.
        node.raise(AlertKind::BackendDown, "trunk");
    }
    for n in 0..20 {
        nodes[n % nodes.len()].raise(AlertKind::Fraud, &format!("number {n}"));
    }
    wait_until("all are delivered", || all_delivered(&*redis_store(&redis), 21));
    assert_eq!(receiver.arrived(), [1; 21]);
}

#[test]
fn an_alert_claimed_by_a_killed_node_is_sent_by_another() {
    // SAFETY: no other thread reads the environment yet.
    unsafe { std::env::set_var("PHONEGATE_FAULT", "store.alert_lease") };
    let (redis, port) = (Redis::start(), free_port());
    let receiver = Receiver::start(port, false);
    let killed = Node::start(redis_store(&redis), port);
    killed.raise(AlertKind::Fraud, "number 1");
    wait_until("the first node sends it", || receiver.arrived() == [1]);
    killed.kill();
    receiver.answers.store(true, Ordering::Relaxed);
    let _other = Node::start(redis_store(&redis), port);
    wait_until("the other one sends it", || all_delivered(&*redis_store(&redis), 1));
    assert_eq!(receiver.arrived(), [2], "it arrives again with the same id");
}

#[test]
fn an_alert_of_a_killed_process_is_sent_by_the_next_one() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let open = || Arc::new(SqliteStore::open(&folder.path().join("calls.db")).unwrap());
    let store = open();
    let killed = Node::start(store.clone(), port);
    killed.raise(AlertKind::Fraud, "number 1");
    wait_until("a delivery failed", || listed(&*store).iter().any(|alert| alert.failures > 0));
    killed.kill();
    drop(store);
    let receiver = Receiver::start(port, true);
    let store = open();
    let _next = Node::start(store.clone(), port);
    wait_until("it is delivered", || all_delivered(&*store, 1));
    assert_eq!(receiver.arrived(), [1]);
}

#[test]
fn a_shutdown_gives_back_what_is_being_sent() {
    let (store, port) = (Arc::new(MemoryStore::default()), free_port());
    let receiver = Receiver::start(port, false);
    let node = Node::start(store.clone(), port);
    node.raise(AlertKind::Fraud, "number 1");
    wait_until("it is being sent", || receiver.arrived() == [1]);
    node.raise(AlertKind::Fraud, "number 2");
    node.raise(AlertKind::Fraud, "number 3");
    let closed =
        node.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), node.alerts.close()).await });
    assert!(closed.is_ok(), "it ends although the receiver does not answer");
    receiver.answers.store(true, Ordering::Relaxed);
    let _next = Node::start(store.clone(), port);
    wait_until("all are delivered", || all_delivered(&*store, 3));
}

#[test]
fn redis_gives_up_old_alerts_and_removes_them() {
    let (redis, runtime) = (Redis::start(), Runtime::new().unwrap());
    let store = redis_store(&redis);
    let id = Uuid::from_u128;
    let owner = Owner(id(9));
    for n in 1..=2 {
        let (destination, about, content) = ("mail".into(), format!("fraud:{n}").into(), "{}".into());
        let raised_at = std::time::SystemTime::now();
        let queued = QueuedAlert { id: id(n), destination, about, raised_at, content, is_urgent: true };
        runtime.block_on(store.add_alert(&queued)).unwrap();
    }
    let claimed = runtime.block_on(store.claim_alerts(owner, &["mail".into()], 10)).unwrap();
    assert_eq!(claimed.len(), 2);
    assert!(runtime.block_on(store.record_delivery(owner, id(1), &DeliveryResult::Delivered)).unwrap());
    // As if both had happened long ago.
    let is_old = |list: &str, n: u128| redis.cli(&["ZADD", &format!("{{phonegate}}:{list}"), "1", &id(n).to_string()]);
    let sweep = || runtime.block_on(store.sweep(Duration::from_secs(90 * 86_400))).unwrap();
    is_old("alerts_ended", 1);
    is_old("alerts_waiting", 2);
    sweep();
    let left = listed(&*store);
    assert!(left.len() == 1 && left[0].id == id(2) && left[0].is_given_up && left[0].error.is_some(), "{left:?}");
    assert!(
        !runtime.block_on(store.record_delivery(owner, id(2), &DeliveryResult::Delivered)).unwrap(),
        "its claim ended"
    );
    is_old("alerts_ended", 2);
    sweep();
    assert_eq!(listed(&*store), []);
    let keys = redis.cli(&["KEYS", "*alert*"]);
    assert_eq!(keys.trim(), "", "nothing is left of them");
}
