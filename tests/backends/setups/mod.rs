//! How each backend is set up for the scenarios, and its rig.

pub mod exec;
pub mod file;
pub mod http;
pub mod modem_bank;
pub mod simulated;
pub mod sip;
pub mod twilio_studio;

use phonegate::call::FailureReason;
use serde_json::Value;

use super::Setup;
use super::support::gate::TestGate;

/// A setup in which nothing is done once the call is on its way.
fn play(backend: Value, reason: impl Into<Option<FailureReason>>) -> Setup {
    Setup::Play { backend, then: Box::new(|_: &TestGate| {}), reason: reason.into() }
}
