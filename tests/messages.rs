//! `messages`: whether a host gets the full message of a failure, or only its reason.

mod support;

use phonegate::call::{CallStatus, FailureReason};
use serde_json::{Value, json};
use support::abi::{Abi, FAILED, fresh_id, is_busy};
use support::gate::{TestGate, id};
use support::redis::Redis;
use support::twilio::{About, Fault, Twilio};
use support::wait_until;

const NUMBER: &str = "+1 4255551212";

/// The brief message.
const CANNOT_PLACE: &str = "The call could not be placed. (CannotPlace, code 117)";

/// The message of the provider.
const WORDS: &str = "Account of Contoso suspended in Latvia";

/// A gate whose provider refuses every call.
fn refused(messages: Value, store: Value) -> (TestGate, Twilio) {
    let twilio = Twilio::start();
    for _ in 0..9 {
        twilio.fail(About::Start, Fault::Refuse(400, 20999, WORDS, None));
    }
    let gate = TestGate::start(json!({
        "use": ["cloud"], "backends": { "cloud": twilio.backend() }, "messages": messages, "store": store,
    }));
    (gate, twilio)
}

#[test]
fn a_host_gets_the_full_text_unless_messages_are_brief() {
    for (messages, expected) in [("full", WORDS), ("brief", CANNOT_PLACE)] {
        let (gate, _twilio) = refused(json!(messages), json!({ "type": "memory" }));
        gate.initiate(id(1), NUMBER);
        gate.ends(id(1));
        let message = gate.gate().failure_message(id(1));
        assert!(message.contains(expected), "{message}");
        assert_eq!(message.contains(WORDS), messages == "full", "{message}");
        let log = gate.end();
        let failed = log.iter().find(|line| line["event"] == "failed").expect("the failure is logged");
        assert!(failed["text"].as_str().unwrap().contains(WORDS), "the log has it all: {failed}");
    }
}

#[test]
fn a_brief_message_has_only_the_reasons_own_sentence() {
    for reason in FailureReason::ALL {
        let failure = phonegate::call::Failure::new(reason, format!("{WORDS} +14255551212 US ☎"));
        let brief = failure.brief();
        let (sentence, code) = brief.split_once(" (").expect("the reason follows");
        assert_eq!(code, format!("{reason})"));
        let is_plain = |c: char| c.is_ascii_alphabetic() || matches!(c, ' ' | '.' | ',' | ':' | '\'');
        assert!(sentence.ends_with('.') && sentence.len() > 15 && sentence.chars().all(is_plain), "{brief}");
        for word in ["Twilio", "SIP", "Latvia", "US ", "country"] {
            assert!(!sentence.contains(word), "{brief}");
        }
    }
}

/// Failures by admission, of a repeat while its id is pending, and of an id that no process knows.
#[test]
fn refusals_are_brief_too() {
    let gate = TestGate::start(json!({
        "use": ["demo"], "allow_test_backends": true, "messages": "brief",
        "backends": { "demo": { "type": "simulated", "answer_after_ms": 600_000 } },
    }));
    gate.initiate(id(1), "+371 20000000");
    let told = |n| gate.gate().failure_message(id(n));
    assert_eq!(told(1), "This number cannot be called. (CountryNotAllowed, code 103)");
    assert_eq!(gate.initiate(id(2), NUMBER), CallStatus::Pending);
    assert_eq!(told(2), "The call has not failed: it is still in progress.");
    assert_eq!(gate.initiate(id(2), "+1 4255551213"), CallStatus::Failed);
    assert_eq!(told(2), "Another request is in progress. (AlreadyInProgress, code 101)");
    assert_eq!(told(3), "There is no such call. (UnknownCall)");
}

#[test]
fn messages_of_another_process_or_node_are_brief_too() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start();
    for store in [
        json!({ "type": "sqlite", "path": folder.path().join("calls.db") }),
        json!({ "type": "redis", "url": redis.url() }),
    ] {
        let (first, _twilio) = refused(json!("full"), store.clone());
        first.initiate(id(1), NUMBER);
        assert!(first.ends(id(1)).1.contains(WORDS));
        first.end();
        let (second, _twilio) = refused(json!("brief"), store);
        wait_until("it is found", || second.gate().failure_message(id(1)) == CANNOT_PLACE);
        assert_eq!(second.status(id(1)), CallStatus::Failed);
    }
}

#[test]
fn messages_are_brief_even_if_the_gate_cannot_start() {
    let abi = Abi::load(&json!({
        "use": ["trunk"], "messages": "brief", "numbers": { "default_country": "US" },
        "backends": { "trunk": {
            "type": "sip", "trunk": "sip:127.0.0.1", "username": "mim", "password": { "file": "missing.txt" },
        } },
    }));
    let id = fresh_id();
    assert_eq!(abi.initiate(Some(c"+1 4255551212"), Some(&id), None), FAILED);
    assert_eq!(abi.message(&id), "The telephone service is not set up. (NotConfigured)");
}

/// Also after a shutdown, when the configuration cannot be read any more.
#[test]
fn the_export_is_brief_whatever_it_is_asked() {
    let mut config = is_busy();
    config["messages"] = json!("brief");
    let abi = Abi::load(&config);
    let (first, second) = (fresh_id(), fresh_id());
    abi.initiate(Some(c"+1 4255551212"), Some(&first), None);
    assert_eq!(abi.outcome(&first), FAILED);
    let busy = "The phone could not be reached. (Unreachable, code 102)";
    assert_eq!(abi.message(&first), busy);
    assert_eq!(abi.message(c"no GUID"), "There is no such call. (UnknownCall)");
    abi.shut_down(60_000);
    abi.configure(&json!({ "use": [] }));
    assert_eq!(abi.initiate(Some(c"+1 4255551212"), Some(&second), None), FAILED);
    let not_configured = "The telephone service is not set up. (NotConfigured)";
    assert_eq!((abi.message(&first).as_str(), abi.message(&second).as_str()), (busy, not_configured));
}
