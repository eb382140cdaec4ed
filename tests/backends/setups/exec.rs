//! The scenarios of a program.

use phonegate::call::FailureReason;
use serde_json::{Value, json};

use crate::references::Rig;
use crate::support::exec::Program;
use crate::support::gate::TestGate;
use crate::{Scenario, Setup};

pub fn setup(scenario: Scenario) -> Setup {
    let ringing = json!({ "say": { "event": "ringing" } });
    let answered = json!({ "say": { "event": "answered" } });
    let fails = |reason: &str| json!([ringing, { "say": { "event": "failed", "reason": reason } }]);
    let refuses =
        |reason: &str| json!([{ "say": { "event": "failed", "reason": reason, "may_ring": false, "text": "no" } }]);
    let silence = json!({ "event": "pressed", "attempt": 1, "digits": "", "ended_by": "pause" });
    let (plan, reason) = match scenario {
        Scenario::Verified => (json!([ringing, answered, { "press": "right" }]), None),
        Scenario::WrongKey => (json!([ringing, answered, { "press": "wrong" }]), Some(FailureReason::WrongKey)),
        Scenario::NoKey => (json!([ringing, answered, { "say": silence }]), Some(FailureReason::NoKeyPressed)),
        Scenario::Busy => (fails("Busy"), Some(FailureReason::Unreachable)),
        Scenario::NoAnswer => (fails("NoAnswer"), Some(FailureReason::Unreachable)),
        Scenario::HungUpByTheUser => (fails("CallEnded"), Some(FailureReason::CallEnded)),
        Scenario::BadNumber => (refuses("InvalidNumber"), Some(FailureReason::InvalidNumber)),
        Scenario::RefusedCredentials => (refuses("NotConfigured"), Some(FailureReason::NotConfigured)),
        Scenario::RateLimited => (refuses("Throttled"), Some(FailureReason::Throttled)),
        Scenario::MalformedReply => (json!([{ "write": "<html>\n" }]), Some(FailureReason::CannotPlace)),
        Scenario::SlowReply => (json!([{ "sleep": 2 }, ringing, { "press": "right" }]), None),
        Scenario::LostWhilePlacing => (json!([{ "kill": true }]), Some(FailureReason::CannotPlace)),
        Scenario::LostWhileFollowing => (json!([ringing, { "kill": true }]), Some(FailureReason::CannotPlace)),
        Scenario::Deadline => (json!([ringing, { "answer": true }]), Some(FailureReason::DeadlinePassed)),
    };
    let program = Program::new(&plan);
    let backend = program.settings();
    let stays = move |_: &TestGate| {
        // The closure owns the program's folder, which is removed when it is dropped.
        let _: &Program = &program;
    };
    Setup::Play { backend, then: Box::new(stays), reason }
}

pub fn rig() -> Box<dyn Rig> {
    Box::new(Program::new(&json!([{ "say": { "event": "ringing" } }, { "answer": true }])))
}

impl Rig for Program {
    fn settings(&self) -> Value {
        Program::settings(self)
    }

    fn prepare(&self, _: bool) {
        Program::answer(self, "");
    }

    fn answer(&self, approved: bool) {
        Program::answer(self, if approved { "right" } else { "wrong" });
    }

    fn garble_replies(&self) -> bool {
        Program::answer(self, "garbled");
        true
    }

    fn hung_up_calls(&self) -> usize {
        self.lines("hung_up").len()
    }

    fn outlives_its_process(&self) -> bool {
        false
    }

    fn placed_calls(&self) -> usize {
        self.calls().len()
    }
}
