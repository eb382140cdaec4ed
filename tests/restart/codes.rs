//! Calls by code whose process is killed: the next one judges them.

use serde_json::json;

use super::support::abi::{FAILED, SUCCESS};
use super::support::twilio::{About, Scenario, Twilio};
use super::support::wait_until;
use super::{Machine, settle};

/// The files of a store.
const FILES: [&str; 3] = ["calls.db", "calls.db-wal", "calls.db-journal"];

/// Returns whether a file of the store has this text.
fn has_text(machine: &Machine, text: &str) -> bool {
    FILES.iter().any(|name| {
        let bytes = std::fs::read(machine.path(name)).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

/// The library has one gate for each process, so each of these is a test of its own.
fn judged_by_the_next_process(does: &str, expected: i32, reason: &str) {
    let twilio = Twilio::start();
    twilio.play(Scenario { polls: Some(6), ..Scenario::ends(does) });
    let approval = json!({ "method": "code", "code_digits": 4 });
    let machine = Machine::with(twilio.backend(), json!({ "approval": approval, "prompts": { "attempts": 3 } }));
    let (host, call) = machine.call(does);
    machine.has_placed(&call);
    wait_until("it is polled", || !twilio.seen(About::Poll).is_empty());
    host.kill_after(0);
    assert!(!twilio.is_clean(), "the phone rings on");
    // Each code alone could be part of something else.
    let parameters = twilio.parameters(0);
    let code = |n: usize| parameters[format!("code_{n}")].as_str().unwrap().to_owned();
    let codes = [code(1), code(2), code(3)].join(" ");
    assert!(has_text(&machine, &codes), "the store keeps the codes while the call is in progress");

    let next = machine.next();
    let ends = settle(&next, std::slice::from_ref(&call), |call| twilio.starts_of(call.number()));
    assert_eq!(ends[0].0, expected, "{does}: {ends:?}");
    assert!(ends[0].1.contains(reason), "{does}: {ends:?}");
    wait_until("the Execution is deleted", || twilio.is_clean());
    wait_until("the store keeps no codes", || !has_text(&machine, &codes));
}

#[test]
fn the_process_that_claims_a_call_approves_its_code() {
    judged_by_the_next_process("APPROVED", SUCCESS, "");
}

#[test]
fn the_process_that_claims_a_call_denies_another_code() {
    judged_by_the_next_process("WRONG_KEY", FAILED, "(WrongKey");
}

#[test]
fn the_process_that_claims_a_call_handles_a_fraud_report() {
    judged_by_the_next_process("FRAUD", FAILED, "(FraudReported");
}
