//! The preset for Infobip, against a stand-in that speaks as its public documentation says.

mod support;

use phonegate::backend::MayRing;
use phonegate::call::{CallStatus, FailureReason};
use serde_json::{Value, json};
use support::backend::TestBackend;
use support::gate::{TestGate, id};
use support::http_provider::infobip::Infobip;
use support::wait_until;

const NUMBER: &str = "+1 4255551212";

fn gate(infobip: &Infobip, deadline_s: u64) -> TestGate {
    TestGate::start(json!({
        "use": ["web"], "backends": { "web": infobip.settings() }, "call": { "deadline_s": deadline_s }
    }))
}

/// Places a call, and lets Infobip report these keys: `CODE` stands for the code that the scenario spoke.
fn call(infobip: &Infobip, gate: &TestGate, group: &str, keys: &Value) -> (CallStatus, Option<FailureReason>) {
    gate.initiate(id(1), NUMBER);
    wait_until("the scenario is launched", || !infobip.messages().is_empty());
    let code = infobip.messages()[0].code.replace(", ", "");
    let keys = keys.as_str().map_or(Value::Null, |keys| keys.replace("CODE", &code).into());
    infobip.report(group, &keys);
    let (status, _) = gate.ends(id(1));
    (status, gate.snapshot(id(1)).failure.map(|failure| failure.reason()))
}

#[test]
fn each_report_has_its_outcome() {
    for (group, keys, expected) in [
        ("DELIVERED", json!("CODE#"), None),
        ("DELIVERED", json!("CODE"), Some(FailureReason::WrongKey)),
        ("DELIVERED", json!("1CODE#"), Some(FailureReason::WrongKey)),
        ("DELIVERED", json!("0#"), Some(FailureReason::FraudReported)),
        ("DELIVERED", json!(""), Some(FailureReason::NoKeyPressed)),
        ("DELIVERED", Value::Null, Some(FailureReason::NoKeyPressed)),
        ("UNDELIVERABLE", Value::Null, Some(FailureReason::Unreachable)),
        ("EXPIRED", Value::Null, Some(FailureReason::Unreachable)),
        ("REJECTED", json!("CODE#"), Some(FailureReason::CannotPlace)),
        ("SOMETHING_NEW", json!("CODE#"), Some(FailureReason::CannotPlace)),
    ] {
        let infobip = Infobip::start();
        let found = call(&infobip, &gate(&infobip, 60), group, &keys);
        let status = if expected.is_none() { CallStatus::Success } else { CallStatus::Failed };
        assert_eq!(found, (status, expected), "{group} {keys}");
        assert_eq!(infobip.messages()[0].to, "14255551212");
        assert_eq!(infobip.messages()[0].callback_data.len(), 36, "a GUID of its own");
    }
}

/// A report can be read once, so its loss is the end of the call.
#[test]
fn a_lost_report_fails_the_call() {
    let infobip = Infobip::start();
    infobip.lose_report();
    let found = call(&infobip, &gate(&infobip, 12), "DELIVERED", &json!("CODE#"));
    assert_eq!(found, (CallStatus::Failed, Some(FailureReason::DeadlinePassed)));
    assert!(infobip.polls() >= 2, "it was asked for again");
}

#[test]
fn no_other_process_takes_over_a_call() {
    let infobip = Infobip::start();
    let backend = TestBackend::new(&infobip.settings());
    assert!(!backend.backend.outlives_its_process());
    let reference = backend.place(1, 1, NUMBER).unwrap();
    let failure = backend.runtime.block_on(backend.backend.hang_up(&reference)).unwrap_err();
    assert!(failure.text().contains("no request that ends a call"), "{failure}");
}

#[test]
fn an_extension_and_a_wrong_key_ring_no_phone() {
    let infobip = Infobip::start();
    let refused = TestBackend::new(&infobip.settings()).refused("+1 4255551212x77");
    assert_eq!((refused.may_ring, refused.failure.reason()), (MayRing::No, FailureReason::InvalidNumber));
    let mut settings = infobip.settings();
    settings["preset"]["infobip"]["api_key"] = json!("another-key");
    let refused = TestBackend::new(&settings).refused(NUMBER);
    assert_eq!((refused.may_ring, refused.failure.reason()), (MayRing::No, FailureReason::NotConfigured));
    assert!(refused.failure.text().contains("It reports \"UNAUTHORIZED\"."), "{}", refused.failure);
    assert!(infobip.messages().is_empty());
}
