//! Limits of a gate: what the host gets, and what an administrator is notified of.

mod support;

use std::path::Path;

use phonegate::call::{CallLimit, CallStatus, FailureReason};
use phonegate::store::{LimitStore, SqliteStore};
use serde_json::{Value, json};
use support::gate::{TestGate, admitted, id, no_limits};

const NUMBER: &str = "+1 4255551212";

/// A gate whose phone presses this, with these limits. All other limits are so high that no test reaches them.
fn gate(file: &Path, press: Option<&str>, limits: Value) -> TestGate {
    let mut all = no_limits();
    all.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
    let mut phone = json!({ "type": "simulated", "answer_after_ms": 0, "press_after_ms": 0 });
    if let Some(press) = press {
        phone["press"] = json!(press);
    }
    TestGate::start(json!({
        "use": ["phone"],
        "allow_test_backends": true,
        "backends": { "phone": phone },
        "numbers": { "default_country": "US", "allowed_countries": ["US", "LV"] },
        "limits": all,
        "store": { "type": "sqlite", "path": file },
    }))
}

fn call(gate: &TestGate, n: u128, number: &str) -> (CallStatus, String) {
    gate.initiate(id(n), number);
    gate.ends(id(n))
}

fn is_refused_by(gate: &TestGate, n: u128, number: &str, limit: CallLimit) -> String {
    let (status, text) = call(gate, n, number);
    assert_eq!(status, CallStatus::Failed);
    let failure = gate.snapshot(id(n)).failure.unwrap();
    assert_eq!((failure.reason(), failure.limit()), (FailureReason::Throttled, Some(limit)), "{text}");
    assert!(text.contains(" It will work again in ") && text.ends_with(" UTC. (Throttled, code 150)"), "{text}");
    text
}

fn events(log: &[Value], event: &str) -> Vec<Value> {
    log.iter().filter(|line| line["event"] == event).cloned().collect()
}

fn text(line: &Value) -> &str {
    line["text"].as_str().unwrap()
}

#[test]
fn three_denials_lock_a_number_until_it_is_unlocked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls.db");
    let denials = json!({ "denials": { "count": 3 } });
    let denying = gate(&file, Some("5"), denials.clone());
    for n in 1..=3 {
        let (status, text) = call(&denying, n, NUMBER);
        assert_eq!(status, CallStatus::Failed);
        assert!(text.contains("(WrongKey"), "{text}");
    }
    let refused = is_refused_by(&denying, 4, NUMBER, CallLimit::Denials);
    assert!(refused.starts_with("+1******1212 is locked, because its last calls were not approved."), "{refused}");
    let log = denying.end();
    let locked = events(&log, "locked_out");
    assert_eq!(locked.len(), 1, "{locked:?}");
    assert_eq!((&locked[0]["id"], &locked[0]["level"]), (&json!(id(3).to_string()), &json!("warn")));
    assert_eq!(locked[0]["number"], "+1******1212");
    let how_to_unlock = format!("`phonegate limits unlock {}` ends the lock", id(3));
    assert!(text(&locked[0]).ends_with(&how_to_unlock), "{}", locked[0]);
    let refusal = log.iter().find(|line| line["id"] == id(4).to_string() && line["event"] == "failed").unwrap();
    assert_eq!(refusal["limit"], "denials", "{refusal}");

    let approving = gate(&file, None, denials);
    is_refused_by(&approving, 5, NUMBER, CallLimit::Denials);
    assert_eq!(call(&approving, 6, "+1 4255551212x7").0, CallStatus::Success, "an extension is another number");
    let store = SqliteStore::open(&file).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let locks = runtime.block_on(store.locks()).unwrap();
    assert_eq!(locks.iter().map(|lock| lock.number).collect::<Vec<_>>(), [admitted(NUMBER).hash()]);
    assert!(runtime.block_on(store.unlock(&[admitted(NUMBER).hash()])).unwrap());
    assert_eq!(call(&approving, 7, NUMBER).0, CallStatus::Success);
}

#[test]
fn an_approval_between_denials_keeps_the_number_open() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls.db");
    let denials = json!({ "denials": { "count": 3 } });
    for (round, press) in [Some("5"), None, Some("5"), None].into_iter().enumerate() {
        let gate = gate(&file, press, denials.clone());
        let first = 10 * round as u128 + 1;
        for n in [first, first + 1] {
            let expected = if press.is_none() { CallStatus::Success } else { CallStatus::Failed };
            let (status, text) = call(&gate, n, NUMBER);
            assert_eq!(status, expected, "{text}");
        }
        assert!(events(&gate.end(), "locked_out").is_empty());
    }
}

#[test]
fn a_daily_cap_is_reported_once_however_often_it_refuses() {
    let folder = tempfile::tempdir().unwrap();
    for (limits, limit, what) in [
        (json!({ "calls_per_day": 2 }), CallLimit::CallsPerDay, "all calls are refused"),
        (json!({ "by_country": { "US": { "per_day": 2 } } }), CallLimit::ByCountry, "calls to US are refused"),
        (
            json!({ "calls_per_number_per_day": 2 }),
            CallLimit::CallsPerNumberPerDay,
            "calls to +1******1212 are refused",
        ),
    ] {
        let gate = gate(&folder.path().join(format!("{}.db", limit.name())), None, limits);
        for n in [1, 2] {
            assert_eq!(call(&gate, n, NUMBER).0, CallStatus::Success);
        }
        for n in [3, 4, 5] {
            is_refused_by(&gate, n, NUMBER, limit);
        }
        let latvia = call(&gate, 6, "+371 2012 3456").0;
        assert_eq!(latvia == CallStatus::Failed, limit == CallLimit::CallsPerDay);
        let reached = events(&gate.end(), "cap_reached");
        assert_eq!(reached.len(), 1, "{reached:?}");
        assert_eq!(reached[0]["level"], "warn");
        let starts = format!("the daily limit limits.{} is reached, so {what} until 2", limit.name());
        assert!(text(&reached[0]).starts_with(&starts), "{}", reached[0]);
    }
}

#[test]
fn one_line_uses_at_most_a_fifth_of_the_calls_of_a_minute() {
    let folder = tempfile::tempdir().unwrap();
    let gate = gate(&folder.path().join("calls.db"), None, json!({ "calls_per_minute": 10 }));
    for n in [1, 2] {
        assert_eq!(call(&gate, n, &format!("{NUMBER}x{n}")).0, CallStatus::Success);
    }
    is_refused_by(&gate, 3, &format!("{NUMBER}x3"), CallLimit::CallsPerLine);
    is_refused_by(&gate, 4, NUMBER, CallLimit::CallsPerLine);
    assert_eq!(call(&gate, 5, "+1 4255551213").0, CallStatus::Success, "another line is called");
}
