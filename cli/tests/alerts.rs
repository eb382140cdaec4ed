//! `phonegate alerts`: tests destinations, and lists alerts.

mod support;

use std::time::SystemTime;

use phonegate::alerts::{Alert, AlertKind, Destination};
use phonegate::config;
use phonegate::store::{AlertStore, DeliveryResult, Owner, QueuedAlert, SqliteStore};
use serde_json::{Value, json};
use support::ports::unused_address;
use support::{HIDDEN, MASKED, Place, kept};
use tokio::runtime::Runtime;
use uuid::Uuid;
use wiremock::matchers::{header_exists, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

const KEY: &str = "whsec_aHVzaC1odXNoLWh1c2gtaHVzaC1odXNoLWh1c2g=";

/// A part of a URL that must never be shown.
const TOKEN: &str = "token-of-the-url";

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn webhook(address: &str) -> Value {
    json!({ "on": ["fraud"], "webhook": { "url": format!("{address}/{TOKEN}"), "key": KEY } })
}

fn with_alerts(alerts: Value) -> Value {
    let mut config = kept(None);
    config["alerts"] = alerts;
    config
}

/// A receiver that accepts every alert.
fn receiver(runtime: &Runtime) -> MockServer {
    runtime.block_on(async {
        let server = MockServer::start().await;
        let take = Mock::given(method("POST")).and(path(format!("/{TOKEN}"))).and(header_exists("webhook-signature"));
        take.respond_with(ResponseTemplate::new(204)).mount(&server).await;
        server
    })
}

fn received(runtime: &Runtime, server: &MockServer) -> Vec<Value> {
    let requests = runtime.block_on(server.received_requests()).unwrap();
    requests.iter().map(|request| request.body_json().unwrap()).collect()
}

#[test]
fn a_test_alert_goes_to_every_destination() {
    let runtime = runtime();
    let servers = [receiver(&runtime), receiver(&runtime)];
    // No store is there, and none is made.
    let place = Place::with(&with_alerts(json!([webhook(&servers[0].uri()), webhook(&servers[1].uri())])));
    let ran = place.run(&["alerts", "test"]).exits(0);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.ends_with(": delivered")), "{}", ran.stdout);
    assert!(!ran.all().contains(TOKEN), "{}", ran.all());
    let [first, second] = servers.each_ref().map(|server| received(&runtime, server));
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_eq!((&first[0]["kind"], &first[0]["id"]), (&json!("test"), &second[0]["id"]));
    assert!(first[0]["text"].as_str().unwrap().contains("nothing else to do"), "{}", first[0]);
    assert!(!place.path().join("calls.db").exists());
}

#[test]
fn a_destination_that_rejects_a_test_alert_is_named() {
    let runtime = runtime();
    let server = receiver(&runtime);
    let silent = format!("http://{}", unused_address());
    let place = Place::with(&with_alerts(json!([webhook(&silent), webhook(&server.uri())])));
    let ran = place.run(&["alerts", "test", "--json"]).exits(1);
    let records = ran.records();
    let events: Vec<_> = records.iter().map(|record| (&record["event"], &record["index"])).collect();
    assert_eq!(events, [(&json!("failed"), &json!(0)), (&json!("delivered"), &json!(1))]);
    assert!(records[0]["text"].as_str().is_some_and(|text| !text.is_empty()), "{}", records[0]);
    assert!(!ran.all().contains(TOKEN) && !ran.all().contains(KEY), "{}", ran.all());
    let ran = place.run(&["alerts", "test"]).exits(1);
    assert!(ran.stdout.starts_with("alerts[0] ") && ran.stdout.contains(": failed: "), "{}", ran.stdout);
}

#[test]
fn without_a_destination_a_test_says_what_is_missing() {
    let place = Place::with_store(&kept(None));
    let ran = place.run(&["alerts", "test"]).exits(2);
    assert!(ran.stderr.contains("`alerts` names no destination"), "{}", ran.stderr);
    let ran = place.run(&["alerts", "list"]).exits(0);
    assert!(ran.stderr.starts_with("No alert waits, and none ended in the last day.\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("warning: `alerts`"), "{}", ran.stderr);
}

/// Adds an alert to the store.
fn add(store: &SqliteStore, runtime: &Runtime, n: u128, destination: &str) -> Alert {
    let alert = Alert {
        id: Uuid::from_u128(n),
        kind: AlertKind::Fraud,
        at: SystemTime::now(),
        node: "WEB1".into(),
        number: Some(MASKED.into()),
        call: None,
        backend: None,
        text: "A user reported fraud.".into(),
    };
    let queued = QueuedAlert {
        id: alert.id,
        destination: destination.into(),
        about: format!("fraud:{n}").into(),
        raised_at: alert.at,
        content: serde_json::to_string(&alert).unwrap().into(),
        is_urgent: true,
    };
    runtime.block_on(store.add_alert(&queued)).unwrap();
    alert
}

#[test]
fn alerts_are_listed_with_their_destination_and_state() {
    let runtime = runtime();
    let element = webhook("http://127.0.0.1:9");
    let place = Place::with_store(&with_alerts(json!([element])));
    let loaded = config::load(&place.config(), &phonegate::TYPES).unwrap();
    let built = Destination::build(0, &loaded.config.alerts[0], &loaded.config.network, &loaded.base).unwrap();
    let store = SqliteStore::open(&place.path().join("calls.db")).unwrap();
    for n in 1..=3 {
        add(&store, &runtime, n, built.fingerprint());
    }
    add(&store, &runtime, 4, "0123456789abcdef");
    let owner = Owner(Uuid::from_u128(1));
    let claimed = runtime.block_on(store.claim_alerts(owner, &[built.fingerprint().into()], 10)).unwrap();
    assert_eq!(claimed.len(), 3);
    let failed = DeliveryResult::Failed { again_after: std::time::Duration::from_secs(60), error: "no answer".into() };
    for (n, tried) in
        [(1, DeliveryResult::Delivered), (2, failed), (3, DeliveryResult::GivenUp { error: "gone".into() })]
    {
        assert!(runtime.block_on(store.record_delivery(owner, Uuid::from_u128(n), &tried)).unwrap());
    }
    drop(store);

    let ran = place.run(&["alerts", "list", "--json"]).exits(0);
    let records = ran.records();
    let of = |n: u128| {
        let id = json!(Uuid::from_u128(n).to_string());
        records.iter().find(|record| record["id"] == id).unwrap_or_else(|| panic!("{n} is missing: {}", ran.stdout))
    };
    let shown = [1, 2, 3, 4].map(|n| {
        let Value::Object(record) = of(n) else { panic!("{}", of(n)) };
        (record["state"].as_str().unwrap(), record["failures"].as_u64().unwrap(), record.get("error").cloned())
    });
    assert_eq!(shown[0], ("delivered", 0, None));
    assert_eq!(shown[1], ("waiting", 1, Some(json!("no answer"))));
    assert_eq!(shown[2], ("given_up", 1, Some(json!("gone"))));
    assert_eq!(shown[3], ("waiting", 0, None));
    assert_eq!((&of(1)["destination"], &of(4)["destination"]), (&json!(built.name()), &json!("removed")));
    assert_eq!((&of(1)["number"], &of(1)["kind"], &of(1)["node"]), (&json!(MASKED), &json!("fraud"), &json!("WEB1")));
    assert!(of(1)["delivered"].is_string());

    let ran = place.run(&["alerts", "list"]).exits(0);
    for words in ["RAISED", "KIND", "STATE", "LAST ERROR", MASKED, built.name(), "removed", "given_up", "no answer"] {
        assert!(ran.stdout.contains(words), "{words} in\n{}", ran.stdout);
    }
    assert!(!ran.all().contains(TOKEN) && !ran.all().contains(HIDDEN), "{}", ran.all());
}

#[test]
fn a_store_in_memory_has_no_list_of_alerts() {
    let mut config = with_alerts(json!([webhook("http://127.0.0.1:9")]));
    config["store"] = json!({ "type": "memory" });
    let ran = Place::with(&config).run(&["alerts", "list"]).exits(2);
    assert!(ran.stderr.contains("memory"), "{}", ran.stderr);
}
