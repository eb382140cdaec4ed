//! The stories of the example backend.

use phonegate::call::FailureReason;
use serde_json::Value;

use super::play;
use crate::modem_bank::stand_in::{Bank, Script};
use crate::references::Rig;
use crate::{Scene, Story};

pub fn scene(story: Story) -> Scene {
    let (script, reason) = match story {
        Story::Verified => (Script::Presses { right: true }, None),
        Story::WrongKey => (Script::Presses { right: false }, Some(FailureReason::WrongKey)),
        Story::NoKey => (Script::Silence, Some(FailureReason::NoKeyPressed)),
        Story::Busy => (Script::Fails("BUSY"), Some(FailureReason::Unreachable)),
        Story::NoAnswer => (Script::Fails("NO-ANSWER"), Some(FailureReason::Unreachable)),
        Story::HungUpByTheUser => (Script::Fails("HUNG-UP"), Some(FailureReason::CallEnded)),
        Story::BadNumber => (Script::Replies("REFUSED NUMBER"), Some(FailureReason::InvalidNumber)),
        Story::RefusedCredentials => (Script::Replies("REFUSED TOKEN"), Some(FailureReason::NotConfigured)),
        Story::RateLimited => (Script::Replies("REFUSED FULL"), Some(FailureReason::Throttled)),
        Story::MalformedReply => (Script::Replies("+++ATH0"), Some(FailureReason::CannotPlace)),
        Story::SlowReply => (Script::SlowReply, None),
        Story::LostWhilePlacing => (Script::CallLost, Some(FailureReason::CannotPlace)),
        Story::LostWhileFollowing => (Script::FollowLost, None),
        Story::Deadline => (Script::Rings, Some(FailureReason::DeadlinePassed)),
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

    fn placed_calls(&self) -> usize {
        self.calls()
    }
}
