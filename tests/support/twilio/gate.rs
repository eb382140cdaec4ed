//! A gate that calls through the stand-in, and a call of it.

use phonegate::call::{CallStatus, FailureReason};
use serde_json::json;

use super::super::gate::{TestGate, id};
use super::Twilio;

/// The number that is called.
pub const NUMBER: &str = "+1 4255551212";

/// A gate whose calls ask for `#`.
pub fn gate(twilio: &Twilio) -> TestGate {
    TestGate::start(twilio.configuration(&json!({ "approval": { "method": "pound" } })))
}

/// Places a call, and returns its end.
pub fn call(gate: &TestGate) -> (CallStatus, Option<FailureReason>, String) {
    gate.initiate(id(1), NUMBER);
    let (status, text) = gate.ends(id(1));
    (status, gate.snapshot(id(1)).failure.map(|failure| failure.reason()), text)
}
