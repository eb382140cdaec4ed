//! The scenarios of a web service that the configuration declares.

use std::time::Duration;

use phonegate::call::FailureReason;
use serde_json::Value;

use super::play;
use crate::references::Rig;
use crate::support::http_provider::{About, Auth, Fault, Provider, Script};
use crate::{Scenario, Setup};

pub fn setup(scenario: Scenario) -> Setup {
    let provider = Provider::start(Auth::Bearer);
    let plays = |script| provider.play(script);
    let replies = |status, body: &str| provider.fail(About::Start, Fault::Reply(status, body.to_owned(), None));
    let reason = match scenario {
        Scenario::Verified => {
            plays(Script::Presses { right: true });
            None
        }
        Scenario::WrongKey => {
            plays(Script::Presses { right: false });
            Some(FailureReason::WrongKey)
        }
        Scenario::NoKey => {
            plays(Script::Silence);
            Some(FailureReason::NoKeyPressed)
        }
        Scenario::Busy => {
            plays(Script::Ends("busy"));
            Some(FailureReason::Unreachable)
        }
        Scenario::NoAnswer => {
            plays(Script::Ends("no_answer"));
            Some(FailureReason::Unreachable)
        }
        Scenario::HungUpByTheUser => {
            plays(Script::Ends("hung_up"));
            Some(FailureReason::CallEnded)
        }
        Scenario::BadNumber => {
            replies(422, r#"{"error":"bad_number"}"#);
            Some(FailureReason::InvalidNumber)
        }
        Scenario::RefusedCredentials => {
            replies(401, r#"{"error":"bad_credentials"}"#);
            Some(FailureReason::NotConfigured)
        }
        Scenario::RateLimited => {
            for _ in 0..3 {
                replies(429, r#"{"error":"too_many"}"#);
            }
            Some(FailureReason::Throttled)
        }
        Scenario::MalformedReply => {
            replies(201, "<html>");
            Some(FailureReason::CannotPlace)
        }
        Scenario::SlowReply => {
            provider.fail(About::Start, Fault::Slow(Duration::from_secs(2)));
            None
        }
        Scenario::LostWhilePlacing => {
            provider.fail(About::Start, Fault::Close);
            Some(FailureReason::CannotPlace)
        }
        Scenario::LostWhileFollowing => {
            provider.fail(About::Poll, Fault::Close);
            None
        }
        Scenario::Deadline => {
            plays(Script::Rings);
            Some(FailureReason::DeadlinePassed)
        }
    };
    play(provider.settings(), reason)
}

pub fn rig() -> Box<dyn Rig> {
    let provider = Provider::start(Auth::Bearer);
    provider.play(Script::Rings);
    Box::new(provider)
}

impl Rig for Provider {
    fn settings(&self) -> Value {
        Provider::settings(self)
    }

    fn prepare(&self, _: bool) {
        self.play(Script::Rings);
    }

    fn answer(&self, approved: bool) {
        self.play(Script::Presses { right: approved });
    }

    fn garble_replies(&self) -> bool {
        (0..3).for_each(|_| self.fail(About::Poll, Fault::Reply(200, "<html>".to_owned(), None)));
        true
    }

    fn hung_up_calls(&self) -> usize {
        self.ended()
    }

    fn placed_calls(&self) -> usize {
        self.placed()
    }
}
