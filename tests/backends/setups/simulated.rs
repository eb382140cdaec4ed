//! The scenarios of the simulated phone.

use phonegate::call::FailureReason;
use serde_json::{Value, json};

use super::play;
use crate::references::Rig;
use crate::{Scenario, Setup};

pub fn setup(scenario: Scenario) -> Setup {
    let phone =
        |press: &str| json!({ "type": "simulated", "answer_after_ms": 10, "press_after_ms": 10, "press": press });
    match scenario {
        Scenario::Verified => play(json!({ "type": "simulated", "answer_after_ms": 10, "press_after_ms": 10 }), None),
        Scenario::WrongKey => play(phone("5"), FailureReason::WrongKey),
        Scenario::NoKey => play(phone("none"), FailureReason::NoKeyPressed),
        Scenario::Busy => play(phone("busy"), FailureReason::Unreachable),
        Scenario::NoAnswer => play(phone("no_answer"), FailureReason::Unreachable),
        Scenario::HungUpByTheUser => play(phone("hang_up"), FailureReason::CallEnded),
        Scenario::Deadline => {
            play(json!({ "type": "simulated", "answer_after_ms": 600_000 }), FailureReason::DeadlinePassed)
        }
        Scenario::BadNumber | Scenario::RefusedCredentials | Scenario::RateLimited => {
            Setup::Cannot("there is no provider that could refuse")
        }
        Scenario::MalformedReply | Scenario::SlowReply => Setup::Cannot("there are no replies"),
        Scenario::LostWhilePlacing | Scenario::LostWhileFollowing => Setup::Cannot("there is no connection"),
    }
}

pub fn rig() -> Box<dyn Rig> {
    Box::new(Phone)
}

struct Phone;

impl Rig for Phone {
    fn settings(&self) -> Value {
        json!({ "type": "simulated", "answer_after_ms": 200, "press_after_ms": 0 })
    }

    fn garble_replies(&self) -> bool {
        false
    }

    fn hung_up_calls(&self) -> usize {
        0
    }

    /// No phone rings, and nothing else shows a call.
    fn placed_calls(&self) -> usize {
        0
    }

    fn can_refuse(&self) -> bool {
        false
    }

    fn outlives_its_process(&self) -> bool {
        false
    }
}
