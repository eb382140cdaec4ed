//! The scenarios of the example backend.

use phonegate::call::FailureReason;
use serde_json::Value;

use super::play;
use crate::modem_bank::stand_in::{Bank, Script};
use crate::references::Rig;
use crate::{Scenario, Setup};

pub fn setup(scenario: Scenario) -> Setup {
    let (script, reason) = match scenario {
        Scenario::Verified => (Script::Presses { right: true }, None),
        Scenario::WrongKey => (Script::Presses { right: false }, Some(FailureReason::WrongKey)),
        Scenario::NoKey => (Script::Silence, Some(FailureReason::NoKeyPressed)),
        Scenario::Busy => (Script::Fails("BUSY"), Some(FailureReason::Unreachable)),
        Scenario::NoAnswer => (Script::Fails("NO-ANSWER"), Some(FailureReason::Unreachable)),
        Scenario::HungUpByTheUser => (Script::Fails("HUNG-UP"), Some(FailureReason::CallEnded)),
        Scenario::BadNumber => (Script::Replies("REFUSED NUMBER"), Some(FailureReason::InvalidNumber)),
        Scenario::RefusedCredentials => (Script::Replies("REFUSED TOKEN"), Some(FailureReason::NotConfigured)),
        Scenario::RateLimited => (Script::Replies("REFUSED FULL"), Some(FailureReason::Throttled)),
        Scenario::MalformedReply => (Script::Replies("+++ATH0"), Some(FailureReason::CannotPlace)),
        Scenario::SlowReply => (Script::SlowReply, None),
        Scenario::LostWhilePlacing => (Script::CallLost, Some(FailureReason::CannotPlace)),
        Scenario::LostWhileFollowing => (Script::FollowLost, None),
        Scenario::Deadline => (Script::Rings, Some(FailureReason::DeadlinePassed)),
    };
    play(Bank::start(script).settings(), reason)
}

pub fn rig() -> Box<dyn Rig> {
    Box::new(Bank::start(Script::Rings))
}

impl Rig for Bank {
    fn settings(&self) -> Value {
        Bank::settings(self)
    }

    fn prepare(&self, _: bool) {
        self.set(Script::Rings);
    }

    fn answer(&self, approved: bool) {
        self.set(Script::Presses { right: approved });
    }

    fn garble_replies(&self) -> bool {
        self.set(Script::FollowGarbled);
        true
    }

    fn hung_up_calls(&self) -> usize {
        self.ended_calls()
    }

    fn placed_calls(&self) -> usize {
        self.calls()
    }
}
