//! If a user reports that a call was not theirs, no process calls the number again until the block ends or an
//! administrator removes it.

mod support;

use std::path::Path;
use std::time::SystemTime;

use phonegate::call::CallStatus;
use phonegate::store::{Block, BlockScope, CallStore, SqliteStore, StoredNumber};
use serde_json::json;
use support::gate::{TestGate, admitted, id, no_limits};
use support::twilio::{About, Scenario, Twilio};

const NUMBER: &str = "+1 4255551212";

fn gate(twilio: &Twilio, file: &Path) -> TestGate {
    TestGate::start(json!({
        "use": ["cloud"],
        "backends": { "cloud": twilio.backend() },
        "fraud": { "block_for_days": 7 },
        "limits": no_limits(),
        "store": { "type": "sqlite", "path": file },
    }))
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_number_from_which_a_fraud_was_reported_is_not_called_until_it_is_taken_off_the_list() {
    let twilio = Twilio::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls.db");
    twilio.play(Scenario::ends("FRAUD"));
    let first = gate(&twilio, &file);
    first.initiate(id(1), NUMBER);
    let (status, text) = first.ends(id(1));
    assert_eq!(status, CallStatus::Failed);
    assert!(text.ends_with("(FraudReported, code 112)"), "{text}");

    twilio.play(Scenario::ends("APPROVED"));
    let refused = |gate: &TestGate, n: u128, number: &str| {
        gate.initiate(id(n), number);
        let (status, text) = gate.ends(id(n));
        assert_eq!(status, CallStatus::Failed);
        assert!(text.starts_with("+1******1212") && text.contains(" is on the block list until 2"), "{text}");
        assert!(text.ends_with(" UTC: the user reported a fraud. (Blocked, code 14)"), "{text}");
    };
    refused(&first, 2, NUMBER);
    first.initiate(id(3), "+1 4255551212x12");
    assert_eq!(first.ends(id(3)).0, CallStatus::Success, "an extension of the number is called");
    first.initiate(id(4), "+1 4255551213");
    assert_eq!(first.ends(id(4)).0, CallStatus::Success, "another number is called");
    let log = first.end();
    let of_fraud: Vec<_> = log.iter().filter(|line| line["id"] == id(1).to_string()).collect();
    let blocked = of_fraud.iter().find(|line| line["event"] == "blocked").unwrap();
    let how_to_lift = format!("`phonegate blocks remove {}` lifts the block", id(1));
    assert!(blocked["text"].as_str().unwrap().ends_with(&how_to_lift), "{blocked}");
    assert_eq!((&blocked["level"], &blocked["number"]), (&json!("warn"), &json!("+1******1212")));
    assert!(of_fraud.iter().any(|line| line["reason"] == "FraudReported" && line["level"] == "warn"), "{of_fraud:?}");

    let second = gate(&twilio, &file);
    refused(&second, 5, NUMBER);
    assert_eq!(twilio.seen(About::Start).len(), 3, "no other phone rang");

    let store = SqliteStore::open(&file).unwrap();
    let block = wait(store.blocks()).unwrap().remove(0);
    let days = block.until.unwrap().duration_since(block.since).unwrap().as_secs() / 86_400;
    assert_eq!((&*block.masked, days), ("+1******1212", 7));
    assert!(wait(store.unblock(admitted(NUMBER).hash())).unwrap());
    second.initiate(id(6), NUMBER);
    assert_eq!(second.ends(id(6)).0, CallStatus::Success);
}

#[test]
fn a_report_of_fraud_does_not_shorten_what_an_administrator_has_blocked() {
    let twilio = Twilio::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls.db");
    let gate = gate(&twilio, &file);
    let store = SqliteStore::open(&file).unwrap();
    twilio.play(Scenario { polls: Some(3), ..Scenario::ends("FRAUD") });
    gate.initiate(id(1), NUMBER);
    support::wait_until("it rings", || !twilio.seen(About::Poll).is_empty());
    let number = StoredNumber::new(&admitted(NUMBER), false);
    let reason = "left the company".into();
    let block = Block {
        number: number.hash,
        scope: BlockScope::Number,
        masked: number.masked,
        reason,
        since: SystemTime::now(),
        until: None,
    };
    wait(store.block(&block)).unwrap();
    let (_, text) = gate.ends(id(1));
    assert!(text.ends_with("(FraudReported, code 112)"), "{text}");
    let blocks = wait(store.blocks()).unwrap();
    let kept: Vec<_> = blocks.iter().map(|block| (&*block.reason, block.until)).collect();
    assert_eq!(kept, [("left the company", None)]);
}

#[test]
fn a_simulated_phone_reports_a_fraud_by_the_key_for_it() {
    let folder = tempfile::tempdir().unwrap();
    for (n, press, reason) in
        [(1, "0", "(WrongKey"), (2, "5", "(FraudReported, code 112)"), (3, "#", "(Blocked, code 14)")]
    {
        let gate = TestGate::start(json!({
            "use": ["phone"],
            "allow_test_backends": true,
            "backends": { "phone": { "type": "simulated", "answer_after_ms": 0, "press_after_ms": 0, "press": press } },
            "fraud": { "key": "5" },
            "limits": no_limits(),
            "store": { "type": "sqlite", "path": folder.path().join("calls.db") },
        }));
        gate.initiate(id(n), NUMBER);
        let (_, text) = gate.ends(id(n));
        assert!(text.contains(reason), "{text}");
        gate.end();
    }
}
