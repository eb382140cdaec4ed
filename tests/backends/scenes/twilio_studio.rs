//! The stories of Twilio Studio.

use std::time::Duration;

use phonegate::call::FailureReason;
use serde_json::{Value, json};

use super::play;
use crate::references::Rig;
use crate::support::twilio::{About, Fault, Story as Flow, Twilio};
use crate::{Scene, Story};

pub fn scene(story: Story) -> Scene {
    let twilio = Twilio::start();
    let ends = |word| twilio.tell(Flow::ends(word));
    let fails = |fault| twilio.fail(About::Start, fault);
    let reason = match story {
        Story::Verified => {
            ends("APPROVED");
            None
        }
        Story::WrongKey => {
            ends("WRONG_KEY");
            Some(FailureReason::WrongKey)
        }
        Story::NoKey => {
            ends("NO_KEY");
            Some(FailureReason::NoKeyPressed)
        }
        Story::Busy => {
            ends("BUSY");
            Some(FailureReason::Unreachable)
        }
        Story::NoAnswer => {
            ends("NO_ANSWER");
            Some(FailureReason::Unreachable)
        }
        Story::HungUpByTheUser => {
            twilio.tell(Flow { answered: true, looks: Some(1), ..Flow::rings() });
            Some(FailureReason::CallEnded)
        }
        Story::BadNumber => {
            fails(Fault::Refuse(400, 21211, "The 'To' number is not a valid phone number.", None));
            Some(FailureReason::InvalidNumber)
        }
        Story::RefusedCredentials => {
            fails(Fault::Refuse(401, 20003, "Authenticate", None));
            Some(FailureReason::NotConfigured)
        }
        Story::RateLimited => {
            for _ in 0..3 {
                fails(Fault::Refuse(429, 20429, "Too many requests", None));
            }
            Some(FailureReason::Throttled)
        }
        Story::MalformedReply => {
            fails(Fault::Reply(201, "<html>".to_owned()));
            Some(FailureReason::CannotPlace)
        }
        Story::SlowReply => {
            fails(Fault::Slow(Duration::from_secs(2)));
            None
        }
        Story::LostWhilePlacing => {
            fails(Fault::Close);
            Some(FailureReason::CannotPlace)
        }
        Story::LostWhileFollowing => {
            twilio.fail(About::Look, Fault::Close);
            None
        }
        Story::Deadline => {
            twilio.tell(Flow::rings());
            Some(FailureReason::DeadlinePassed)
        }
    };
    play(twilio.backend(), reason)
}

pub fn rig() -> Box<dyn Rig> {
    Box::new(Twilio::start())
}

impl Rig for Twilio {
    fn settings(&self) -> Value {
        self.backend()
    }

    fn prepare(&self, approved: bool) {
        self.tell(Flow::ends(if approved { "APPROVED" } else { "WRONG_KEY" }));
    }

    fn prepare_check(&self) {
        self.install(&json!({ "approval": { "method": "pound" } }));
    }

    fn placed_calls(&self) -> usize {
        self.seen(About::Start).len()
    }
}
