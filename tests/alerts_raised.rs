//! A gate raises alerts: each kind arrives at a webhook, with what happened and what to do.

mod support;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use parking_lot::Mutex;
use phonegate::call::CallStatus;
use serde_json::{Value, json};
use support::abi::{Abi, FAILED, fresh_id};
use support::alerts::SECRET;
use support::gate::{TestGate, id, no_limits};
use support::ports::free_port;
use support::redis::Redis;
use support::wait_until;
use tokio::runtime::Runtime;

const NUMBER: &str = "+1 4255551212";

/// A webhook that keeps what arrives.
struct Receiver {
    port: u16,
    arrived: Arc<Mutex<Vec<Value>>>,
    _runtime: Runtime,
}

impl Receiver {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let arrived = Arc::<Mutex<Vec<Value>>>::default();
        let kept = Arc::clone(&arrived);
        let take = async move |body: String| kept.lock().push(serde_json::from_str(&body).unwrap());
        let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let routes = Router::new().route("/alerts", post(take));
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { port, arrived, _runtime: runtime }
    }

    /// The element of `alerts` that leads here.
    fn destination(&self) -> Value {
        let url = format!("http://127.0.0.1:{}/alerts", self.port);
        let on = ["fraud", "lockout", "cap_reached", "backend_down", "backend_up", "configuration", "store_down"];
        json!({ "on": on, "webhook": { "url": url, "key": SECRET } })
    }

    /// Waits for the first alert of a kind.
    fn alert(&self, kind: &str) -> Value {
        let mut found = None;
        wait_until(&format!("an alert about {kind} arrives"), || {
            found = self.arrived.lock().iter().find(|alert| alert["kind"] == kind).cloned();
            found.is_some()
        });
        found.unwrap()
    }

    fn count(&self, kind: &str) -> usize {
        self.arrived.lock().iter().filter(|alert| alert["kind"] == kind).count()
    }
}

/// A gate whose phone presses this, and whose alerts go to the receiver.
fn gate(receiver: &Receiver, press: Option<&str>, limits: Value) -> TestGate {
    let mut phone = json!({ "type": "simulated", "answer_after_ms": 0, "press_after_ms": 0 });
    if let Some(press) = press {
        phone["press"] = json!(press);
    }
    gate_with(receiver, phone, limits, json!({ "type": "sqlite", "path": "calls.db" }))
}

fn gate_with(receiver: &Receiver, phone: Value, limits: Value, store: Value) -> TestGate {
    let mut all = no_limits();
    all.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
    TestGate::start(json!({
        "use": ["phone"],
        "allow_test_backends": true,
        "backends": { "phone": phone },
        "limits": all,
        "store": store,
        "alerts": [receiver.destination()],
    }))
}

fn text(alert: &Value) -> &str {
    alert["text"].as_str().unwrap()
}

#[test]
fn a_fraud_report_reaches_an_administrator() {
    let receiver = Receiver::start();
    let gate = gate(&receiver, Some("0"), json!({}));
    gate.initiate(id(1), NUMBER);
    assert_eq!(gate.ends(id(1)).0, CallStatus::Failed);
    let alert = receiver.alert("fraud");
    assert_eq!((&alert["call"], &alert["number"]), (&json!(id(1).to_string()), &json!("+1******1212")));
    assert!(text(&alert).contains(&format!("`phonegate blocks remove {}` lifts the block", id(1))), "{alert}");
    assert!(!alert.to_string().contains("4255551212"), "{alert}");
}

#[test]
fn a_lock_reaches_an_administrator_once() {
    let receiver = Receiver::start();
    let gate = gate(&receiver, Some("5"), json!({ "denials": { "count": 2 } }));
    for n in 1..=4 {
        gate.initiate(id(n), NUMBER);
        assert_eq!(gate.ends(id(n)).0, CallStatus::Failed);
    }
    let alert = receiver.alert("lockout");
    assert_eq!((&alert["call"], &alert["number"]), (&json!(id(2).to_string()), &json!("+1******1212")));
    assert!(text(&alert).contains(&format!("`phonegate limits unlock {}` ends the lock", id(2))), "{alert}");
    gate.end();
    assert_eq!(receiver.count("lockout"), 1);
}

#[test]
fn a_daily_limit_reaches_an_administrator_once() {
    let receiver = Receiver::start();
    let gate = gate(&receiver, None, json!({ "calls_per_day": 1 }));
    for n in 1..=3 {
        gate.initiate(id(n), NUMBER);
        gate.ends(id(n));
    }
    let alert = receiver.alert("cap_reached");
    assert!(text(&alert).contains("limits.calls_per_day is reached, so all calls are refused until 2"), "{alert}");
    gate.end();
    assert_eq!(receiver.count("cap_reached"), 1);
}

#[test]
fn a_backend_that_cannot_place_calls_reaches_an_administrator() {
    let receiver = Receiver::start();
    let phone = json!({
        "type": "sip", "trunk": format!("sip:127.0.0.1:{};transport=tcp", free_port()), "caller_id": "+14255550100",
    });
    let gate = gate_with(&receiver, phone, json!({}), json!({ "type": "memory" }));
    for n in 1..=2 {
        gate.initiate(id(n), NUMBER);
        assert_eq!(gate.ends(id(n)).0, CallStatus::Failed);
    }
    let alert = receiver.alert("backend_down");
    assert_eq!(alert["backend"], "phone");
    assert!(text(&alert).starts_with("PhoneGate cannot use phone: "), "{alert}");
    assert!(text(&alert).contains(" All calls that failed were to one number, which may be the cause, "), "{alert}");
    assert!(text(&alert).ends_with(" Run `phonegate check`."), "{alert}");
}

#[test]
fn a_store_that_is_down_is_reported_without_the_store() {
    let receiver = Receiver::start();
    let mut redis = Redis::start();
    let phone = json!({ "type": "simulated", "answer_after_ms": 0, "press_after_ms": 0 });
    let gate = gate_with(&receiver, phone, json!({}), json!({ "type": "redis", "url": redis.url() }));
    gate.initiate(id(1), NUMBER);
    assert_eq!(gate.ends(id(1)).0, CallStatus::Success);
    redis.kill();
    for n in 2..=3 {
        gate.initiate(id(n), NUMBER);
        assert_eq!(gate.ends(id(n)).0, CallStatus::Failed);
    }
    assert!(text(&receiver.alert("store_down")).starts_with("PhoneGate cannot use the store: "));
    redis.restart();
    wait_until("the store can be used again", || {
        gate.initiate(id(4), NUMBER);
        gate.ends(id(4)).0 == CallStatus::Success
    });
    assert_eq!(text(&receiver.alert("backend_up")), "PhoneGate can use the store again.");
}

#[test]
fn a_refused_configuration_reaches_an_administrator_once() {
    let receiver = Receiver::start();
    let abi = Abi::load(&json!({ "use": ["nothing"], "backends": {}, "alerts": [receiver.destination()] }));
    let call = fresh_id();
    assert_eq!(abi.status(Some(&call)), FAILED);
    let alert = receiver.alert("configuration");
    assert!(text(&alert).contains("use[0]: there is no backend `nothing`"), "{alert}");
    for _ in 0..3 {
        assert_eq!(abi.shut_down(60_000), 0);
        assert_eq!(abi.status(Some(&call)), FAILED);
    }
    assert_eq!(abi.shut_down(60_000), 0);
    assert_eq!(receiver.count("configuration"), 1);
}
