//! One call from request to outcome: failover, deadline, waiting, repeats, and shutdown.

mod support;

use std::sync::Arc;
use std::time::Duration;

use phonegate::call::CallStatus;
use phonegate::gate::CallRequest;
use phonegate::registry::Registry;
use serde_json::{Value, json};
use support::gate::{TestGate, id};
use support::wait_until;

const NUMBER: &str = "+1 4255551212";
const SLOW: u64 = 600_000;

/// Returns a configuration with these backends, in this order.
fn uses(backends: &[(&str, Value)], call: Value) -> Value {
    json!({
        "use": backends.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "allow_test_backends": true,
        "backends": backends.iter().cloned().map(|(name, backend)| (name.to_owned(), backend)).collect::<serde_json::Map<_, _>>(),
        "call": call,
    })
}

fn phone(answer_after_ms: u64) -> Value {
    json!({ "type": "simulated", "answer_after_ms": answer_after_ms, "press_after_ms": 0 })
}

/// A backend that refuses every call before a phone rings: its file is a folder.
fn broken() -> Value {
    json!({ "type": "file", "path": "." })
}

/// Returns the events of one call, each with its backend.
fn events(log: &[Value], id: phonegate::call::CallId) -> Vec<String> {
    let lines = log.iter().filter(|line| line["id"] == id.to_string());
    lines
        .map(|line| format!("{} {}", line["event"].as_str().unwrap(), line["backend"].as_str().unwrap_or("-")))
        .collect()
}

#[test]
fn a_call_that_did_not_ring_goes_to_the_next_backend() {
    let gate = TestGate::start(uses(&[("first", broken()), ("second", phone(0))], json!({})));
    gate.initiate(id(1), NUMBER);
    assert_eq!(gate.ends(id(1)).0, CallStatus::Success);
    let expected = [
        "started_call -",
        "dialling first",
        "backend_refused first",
        "dialling second",
        "placed second",
        "ringing second",
        "answered second",
        "verified second",
        "clean_up second",
    ];
    assert_eq!(events(&gate.end(), id(1)), expected);
}

#[test]
fn if_all_backends_refuse_the_message_has_each_reason() {
    let gate = TestGate::start(uses(&[("first", broken()), ("second", broken())], json!({})));
    gate.initiate(id(1), NUMBER);
    let (status, text) = gate.ends(id(1));
    assert_eq!(status, CallStatus::Failed);
    assert!(text.starts_with("first: The file of calls") && text.contains(" second: The file of calls"), "{text}");
    assert!(text.ends_with("(CannotPlace, code 117)"), "{text}");
}

#[test]
fn a_call_without_an_outcome_is_hung_up_at_its_deadline() {
    let gate = TestGate::start(uses(&[("demo", phone(SLOW))], json!({ "deadline_s": 1 })));
    gate.initiate(id(1), NUMBER);
    let (status, text) = gate.ends(id(1));
    assert_eq!((status, text.ends_with("(DeadlinePassed, code 11)")), (CallStatus::Failed, true), "{text}");
    wait_until("the number is released", || gate.initiate(id(2), NUMBER) == CallStatus::Pending);
    let events = events(&gate.end(), id(1));
    assert_eq!(events[events.len() - 3..], ["failed demo", "hang_up demo", "clean_up demo"]);
}

#[test]
fn initiate_waits_for_an_outcome_if_configured() {
    let gate = TestGate::start(uses(&[("demo", phone(200))], json!({ "initiate_wait_ms": 60_000 })));
    assert_eq!(gate.initiate(id(1), NUMBER), CallStatus::Success);
}

#[test]
fn initiate_returns_pending_when_its_wait_ends() {
    let gate = TestGate::start(uses(&[("demo", phone(SLOW))], json!({ "initiate_wait_ms": 50 })));
    assert_eq!(gate.initiate(id(1), NUMBER), CallStatus::Pending);
}

#[test]
fn a_status_waits_for_an_outcome_if_configured() {
    let gate = TestGate::start(uses(&[("demo", phone(2_000))], json!({ "status_wait_ms": 60_000 })));
    assert_eq!(gate.initiate(id(1), NUMBER), CallStatus::Pending);
    assert_eq!(gate.status(id(1)), CallStatus::Success);
}

#[test]
fn a_status_returns_pending_when_its_wait_ends() {
    let gate = TestGate::start(uses(&[("demo", phone(SLOW))], json!({ "status_wait_ms": 50 })));
    gate.initiate(id(1), NUMBER);
    assert_eq!(gate.status(id(1)), CallStatus::Pending);
}

#[test]
fn sixty_four_threads_with_one_request_dial_once() {
    let gate = TestGate::start(uses(&[("desk", json!({ "type": "file", "path": "phone.txt" }))], json!({})));
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| assert_eq!(gate.initiate(id(1), NUMBER), CallStatus::Pending));
        }
    });
    let path = gate.folder().join("phone.txt");
    wait_until("the call has a line", || path.exists());
    let log = gate.end();
    assert_eq!(log.iter().filter(|line| line["event"] == "repeated_call").count(), 63);
    assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1);
}

#[test]
fn a_request_for_a_ringing_number_is_refused_with_a_warning() {
    let gate = TestGate::start(uses(&[("demo", phone(SLOW))], json!({})));
    assert_eq!(gate.initiate(id(1), NUMBER), CallStatus::Pending);
    assert_eq!(gate.initiate(id(2), "+1 425 555 1212"), CallStatus::Failed);
    assert_eq!(gate.status(id(1)), CallStatus::Pending);
    let text = gate.snapshot(id(2)).failure.unwrap().text().to_owned();
    assert_eq!(text, "Another request is ringing +1******1212 now. (AlreadyInProgress, code 101)");
    let log = gate.end();
    let line = log.iter().find(|line| line["event"] == "refused").unwrap();
    assert_eq!((&line["level"], &line["id"]), (&json!("warn"), &json!(id(2).to_string())));
}

#[test]
fn a_number_may_ring_again_as_soon_as_its_outcome_is_seen() {
    let gate = TestGate::start(uses(&[("demo", phone(0))], json!({})));
    for n in 1..=500 {
        assert_ne!(gate.initiate(id(n), NUMBER), CallStatus::Failed, "{:?}", gate.snapshot(id(n)));
        while gate.status(id(n)) == CallStatus::Pending {
            std::thread::yield_now();
        }
    }
}

#[test]
fn shutdown_hangs_up_every_call_and_fails_it_as_interrupted() {
    let registry = Arc::new(Registry::new(Duration::from_secs(600)));
    let gate = TestGate::start_with(uses(&[("demo", phone(SLOW))], json!({})), Arc::clone(&registry));
    for n in 1..=50 {
        assert_eq!(gate.initiate(id(n), &format!("+1 425555{:04}", 1000 + n)), CallStatus::Pending);
    }
    wait_until("all ring", || gate.log().iter().filter(|line| line["event"] == "ringing").count() == 50);
    let log = gate.end();
    for n in 1..=50 {
        let failure = registry.snapshot(id(n)).unwrap().failure.unwrap();
        assert!(failure.text().ends_with("(Interrupted)"), "{failure}");
        let events = events(&log, id(n));
        assert_eq!(events[events.len() - 3..], ["failed demo", "hang_up demo", "clean_up demo"]);
    }
    let request = CallRequest { id: id(99), number: NUMBER, attributes: Vec::new(), language: None };
    assert_eq!(gate.gate().initiate(request), None, "a gate that is shut down places no call");

    // In the next gate, ended calls stay readable, and their numbers are released.
    let next = TestGate::start_with(uses(&[("demo", phone(0))], json!({})), registry);
    assert_eq!(next.status(id(1)), CallStatus::Failed);
    next.initiate(id(1), "+1 4255551001");
    assert_eq!(next.ends(id(1)).0, CallStatus::Success);
}

#[test]
fn a_shutdown_without_time_still_ends_every_call() {
    let registry = Arc::new(Registry::new(Duration::from_secs(600)));
    let gate = TestGate::start_with(uses(&[("demo", phone(SLOW))], json!({})), Arc::clone(&registry));
    for n in 1..=50 {
        gate.initiate(id(n), &format!("+1 425555{:04}", 1000 + n));
    }
    gate.gate().shut_down(Duration::ZERO);
    for n in 1..=50 {
        let failure = registry.snapshot(id(n)).unwrap().failure.unwrap();
        assert!(failure.text().ends_with("(Interrupted)"), "{failure}");
    }
    let failed = || gate.log().iter().filter(|line| line["event"] == "failed").count();
    wait_until("each call's end is logged", || failed() == 50);
}

#[test]
fn a_gate_dropped_without_shutdown_leaves_nothing_pending() {
    let registry = Arc::new(Registry::new(Duration::from_secs(600)));
    let gate = TestGate::start_with(uses(&[("demo", phone(SLOW))], json!({})), Arc::clone(&registry));
    gate.initiate(id(1), NUMBER);
    drop(gate);
    wait_until("the call has failed", || registry.status(id(1)) == Some(CallStatus::Failed));
    assert!(registry.snapshot(id(1)).unwrap().failure.unwrap().text().ends_with("(Interrupted)"));
}

#[test]
fn a_backend_that_goes_down_and_up_is_reported_once_each() {
    let calls = tempfile::tempdir().unwrap();
    let file = calls.path().join("calls.txt");
    let gate = TestGate::start(uses(&[("manual", json!({ "type": "file", "path": file }))], json!({})));
    // A folder in place of its file: every call is refused before a phone rings.
    std::fs::create_dir(&file).unwrap();
    for n in [1, 2] {
        gate.initiate(id(n), NUMBER);
        assert_eq!(gate.ends(id(n)).0, CallStatus::Failed);
    }
    std::fs::remove_dir(&file).unwrap();
    for n in [3, 4] {
        gate.initiate(id(n), NUMBER);
        wait_until("the call is in the file", || {
            std::fs::read_to_string(&file).is_ok_and(|text| text.contains(&id(n).to_string()))
        });
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace(";0;", ";1;")).unwrap();
        assert_eq!(gate.ends(id(n)).0, CallStatus::Success);
    }
    let log = gate.end();
    let reported: Vec<_> = log
        .iter()
        .filter(|line| line["event"].as_str().unwrap().starts_with("backend_") && line["event"] != "backend_refused")
        .map(|line| {
            (line["event"].as_str().unwrap(), line["backend"].as_str().unwrap(), line["level"].as_str().unwrap())
        })
        .collect();
    assert_eq!(reported, [("backend_down", "manual", "warn"), ("backend_up", "manual", "info")]);
}
