//! The scenarios of Twilio Studio.

use std::time::Duration;

use phonegate::call::FailureReason;
use serde_json::{Value, json};

use super::play;
use crate::references::Rig;
use crate::support::twilio::{About, Fault, Scenario as Flow, Twilio};
use crate::{Scenario, Setup};

pub fn setup(scenario: Scenario) -> Setup {
    let twilio = Twilio::start();
    let ends = |word| twilio.play(Flow::ends(word));
    let fails = |fault| twilio.fail(About::Start, fault);
    let reason = match scenario {
        Scenario::Verified => {
            ends("APPROVED");
            None
        }
        Scenario::WrongKey => {
            ends("WRONG_KEY");
            Some(FailureReason::WrongKey)
        }
        Scenario::NoKey => {
            ends("NO_KEY");
            Some(FailureReason::NoKeyPressed)
        }
        Scenario::Busy => {
            ends("BUSY");
            Some(FailureReason::Unreachable)
        }
        Scenario::NoAnswer => {
            ends("NO_ANSWER");
            Some(FailureReason::Unreachable)
        }
        Scenario::HungUpByTheUser => {
            twilio.play(Flow { answered: true, polls: Some(1), ..Flow::rings() });
            Some(FailureReason::CallEnded)
        }
        Scenario::BadNumber => {
            fails(Fault::Refuse(400, 21211, "The 'To' number is not a valid phone number.", None));
            Some(FailureReason::InvalidNumber)
        }
        Scenario::RefusedCredentials => {
            fails(Fault::Refuse(401, 20003, "Authenticate", None));
            Some(FailureReason::NotConfigured)
        }
        Scenario::RateLimited => {
            for _ in 0..3 {
                fails(Fault::Refuse(429, 20429, "Too many requests", None));
            }
            Some(FailureReason::Throttled)
        }
        Scenario::MalformedReply => {
            fails(Fault::Reply(201, "<html>".to_owned()));
            Some(FailureReason::CannotPlace)
        }
        Scenario::SlowReply => {
            fails(Fault::Slow(Duration::from_secs(2)));
            None
        }
        Scenario::LostWhilePlacing => {
            fails(Fault::Close);
            Some(FailureReason::CannotPlace)
        }
        Scenario::LostWhileFollowing => {
            twilio.fail(About::Poll, Fault::Close);
            None
        }
        Scenario::Deadline => {
            twilio.play(Flow::rings());
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
        self.play(Flow::ends(if approved { "APPROVED" } else { "WRONG_KEY" }));
    }

    fn prepare_check(&self) {
        self.install(&json!({ "approval": { "method": "pound" } }));
    }

    fn garble_replies(&self) -> bool {
        (0..3).for_each(|_| self.fail(About::Poll, Fault::Reply(200, "<html>".to_owned())));
        true
    }

    fn hung_up_calls(&self) -> usize {
        self.seen(About::End).len()
    }

    fn placed_calls(&self) -> usize {
        self.seen(About::Start).len()
    }
}
