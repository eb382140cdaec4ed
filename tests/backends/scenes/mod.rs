//! How each backend is brought into the scenarios.

pub mod file;
pub mod modem_bank;
pub mod simulated;
pub mod sip;
pub mod twilio_studio;

use phonegate::call::FailureReason;
use serde_json::Value;

use super::Scene;
use super::support::gate::TestGate;

/// A scene in which nothing is done once the call is on its way.
fn play(backend: Value, reason: impl Into<Option<FailureReason>>) -> Scene {
    Scene::Play { backend, then: Box::new(|_: &TestGate| {}), reason: reason.into() }
}
