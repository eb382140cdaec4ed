//! Calls over a SIP trunk to a callee that sipp plays: each ending, and what it is told as.

mod support;

use phonegate::call::CallStatus;
use serde_json::json;
use support::gate::{TestGate, id};
use support::sipp::{Callee, Step};

const NUMBER: &str = "+1 4255551212";

fn gate(trunk: serde_json::Value) -> TestGate {
    TestGate::start(json!({ "use": ["trunk"], "backends": { "trunk": trunk } }))
}

#[test]
fn who_answers_and_presses_the_pound_key_is_verified() {
    let callee = Callee::start(
        &[Step::Invite, Step::Answer(180, "Ringing", ""), Step::PickUp, Step::Wait(500), Step::Press("#"), Step::Receive("BYE")],
        1,
    );
    let gate = gate(callee.trunk());
    gate.initiate(id(1), NUMBER);
    let ended = gate.ends(id(1));
    println!("{:#?}", gate.log());
    assert_eq!(ended, (CallStatus::Success, String::new()));
    println!("{}", callee.finish());
}
