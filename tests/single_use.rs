//! With `call.single_use`, an approval is reported once: by one thread, one process, one node.

mod support;

use std::path::Path;
use std::sync::Barrier;

use phonegate::call::CallStatus;
use serde_json::{Value, json};
use support::abi::{Abi, FAILED, PENDING, SUCCESS, fresh_id};
use support::gate::{TestGate, id, no_limits, with_test_defaults};
use support::wait_until;

const NUMBER: &str = "+1 4255551212";

const MANY: usize = 16;

fn config(store: Value, initiate_wait_ms: u32) -> Value {
    json!({
        "use": ["phone"],
        "allow_test_backends": true,
        "backends": { "phone": { "type": "simulated", "answer_after_ms": 0, "press_after_ms": 0 } },
        "call": { "single_use": true, "initiate_wait_ms": initiate_wait_ms },
        "limits": no_limits(),
        "store": store,
    })
}

fn gate(file: &Path) -> TestGate {
    TestGate::start(config(json!({ "type": "sqlite", "path": file }), 0))
}

/// Waits until the store has the approval, which no poll has used up.
fn approve(gate: &TestGate, n: u128) {
    gate.initiate(id(n), NUMBER);
    wait_until("it is approved", || gate.log().iter().any(|line| line["event"] == "verified"));
}

/// Polls until the call is not pending, and returns the status of that poll.
fn poll(gate: &TestGate, n: u128) -> CallStatus {
    let mut status = CallStatus::Pending;
    wait_until("a poll has an answer", || {
        status = gate.status(id(n));
        status != CallStatus::Pending
    });
    status
}

fn is_used_up(gate: &TestGate, n: u128) {
    assert_eq!(gate.status(id(n)), CallStatus::Failed);
    let text = gate.gate().failure_message(id(n));
    assert!(text.starts_with("The approval has been used") && text.ends_with("(AlreadyUsed)"), "{text}");
}

#[test]
fn one_of_many_threads_gets_the_success() {
    for store in [json!({ "type": "memory" }), json!({ "type": "sqlite", "path": "calls.db" })] {
        let gate = TestGate::start(config(store, 0));
        approve(&gate, 1);
        let start = Barrier::new(MANY);
        let poll_with_the_others = || {
            start.wait();
            poll(&gate, 1)
        };
        let statuses: Vec<_> = std::thread::scope(|scope| {
            let polls: Vec<_> = (0..MANY).map(|_| scope.spawn(poll_with_the_others)).collect();
            polls.into_iter().map(|poll| poll.join().unwrap()).collect()
        });
        let successes = statuses.iter().filter(|status| **status == CallStatus::Success).count();
        assert_eq!(successes, 1, "{statuses:?}");
        is_used_up(&gate, 1);
    }
}

#[test]
fn a_used_approval_stays_used_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls.db");
    let first = gate(&file);
    approve(&first, 1);
    assert_eq!(poll(&first, 1), CallStatus::Success);
    first.end();
    let second = gate(&file);
    assert_eq!(poll(&second, 1), CallStatus::Failed);
    is_used_up(&second, 1);
}

#[test]
fn an_unused_approval_can_be_used_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls.db");
    let first = gate(&file);
    approve(&first, 1);
    first.end();
    let second = gate(&file);
    assert_eq!(poll(&second, 1), CallStatus::Success);
    is_used_up(&second, 1);
}

#[test]
fn a_call_that_waits_for_its_outcome_leaves_success_to_the_poll() {
    let gate = TestGate::start(config(json!({ "type": "memory" }), 10_000));
    assert_eq!(gate.initiate(id(1), NUMBER), CallStatus::Pending);
    assert_eq!(poll(&gate, 1), CallStatus::Success);
    is_used_up(&gate, 1);
}

#[test]
fn a_repeat_after_a_used_approval_calls_again() {
    let gate = TestGate::start(config(json!({ "type": "sqlite", "path": "calls.db" }), 0));
    approve(&gate, 1);
    assert_eq!(poll(&gate, 1), CallStatus::Success);
    gate.initiate(id(1), NUMBER);
    assert_eq!(poll(&gate, 1), CallStatus::Success, "it was approved again");
    is_used_up(&gate, 1);
}

#[test]
fn an_approval_is_not_reported_while_no_gate_can_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(json!({ "type": "sqlite", "path": folder.path().join("calls.db") }), 0);
    config["numbers"] = json!({ "default_country": "US" });
    let config = with_test_defaults(config);
    let abi = Abi::load(&config);
    let call = fresh_id();
    assert_eq!(abi.initiate(Some(support::abi::NUMBER), Some(&call), None), PENDING);
    let file = folder.path().join("calls.db");
    let calls = support::calls::Calls::of(&abi.path("phonegate.json"));
    let records = || calls.records(&["calls", "--id", call.to_str().unwrap()]);
    let is_verified = || records().iter().any(|record| record["outcome"] == "verified");
    wait_until("the store has the approval", || file.exists() && is_verified());
    assert_eq!(abi.shut_down(60_000), 0);
    abi.configure(&json!({}));
    for _ in 0..2 {
        assert_eq!(abi.status(Some(&call)), FAILED);
        assert!(abi.message(&call).contains("(NotConfigured)"), "{}", abi.message(&call));
    }
    abi.configure(&config);
    let poll = || {
        let mut status = PENDING;
        wait_until("a poll has an answer", || {
            status = abi.status(Some(&call));
            status != PENDING
        });
        status
    };
    wait_until("the gate has started", || !abi.message(&call).contains("(NotConfigured)"));
    assert_eq!([poll(), poll()], [SUCCESS, FAILED]);
}
