//! The stories of the simulated phone.

use phonegate::call::FailureReason;
use serde_json::{Value, json};

use super::play;
use crate::references::Rig;
use crate::{Scene, Story};

pub fn scene(story: Story) -> Scene {
    let phone =
        |press: &str| json!({ "type": "simulated", "answer_after_ms": 10, "press_after_ms": 10, "press": press });
    match story {
        Story::Verified => play(json!({ "type": "simulated", "answer_after_ms": 10, "press_after_ms": 10 }), None),
        Story::WrongKey => play(phone("5"), FailureReason::WrongKey),
        Story::NoKey => play(phone("none"), FailureReason::NoKeyPressed),
        Story::Busy => play(phone("busy"), FailureReason::Unreachable),
        Story::NoAnswer => play(phone("no_answer"), FailureReason::Unreachable),
        Story::HungUpByTheUser => play(phone("hang_up"), FailureReason::CallEnded),
        Story::Deadline => {
            play(json!({ "type": "simulated", "answer_after_ms": 600_000 }), FailureReason::DeadlinePassed)
        }
        Story::BadNumber | Story::RefusedCredentials | Story::RateLimited => {
            Scene::Cannot("there is no provider that could refuse")
        }
        Story::MalformedReply | Story::SlowReply => Scene::Cannot("there are no replies"),
        Story::LostWhilePlacing | Story::LostWhileFollowing => Scene::Cannot("there is no connection"),
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

    fn can_refuse(&self) -> bool {
        false
    }

    fn outlives_its_process(&self) -> bool {
        false
    }
}
