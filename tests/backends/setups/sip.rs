//! The scenarios of a SIP trunk.

use phonegate::call::FailureReason;
use serde_json::json;

use super::play;
use crate::support::gate::TestGate;
use crate::support::sipp::{Callee, Step, UNTIL_ASKED};
use crate::{Scenario, Setup};

pub fn setup(scenario: Scenario) -> Setup {
    const RINGS: Step = Step::Answer(180, "Ringing", "");
    let answered = |then: &[Step]| {
        let start = [Step::Invite, RINGS, Step::PickUp, UNTIL_ASKED];
        start.into_iter().chain(then.iter().cloned()).collect::<Vec<_>>()
    };
    let refused = |code, phrase| vec![Step::Invite, Step::Answer(code, phrase, ""), Step::Ack];
    let (steps, reason) = match scenario {
        Scenario::Verified => (answered(&[Step::Press("#"), Step::Receive("BYE")]), None),
        Scenario::WrongKey => (answered(&[Step::Press("1#"), Step::Receive("BYE")]), Some(FailureReason::WrongKey)),
        Scenario::NoKey => (answered(&[Step::Receive("BYE")]), Some(FailureReason::NoKeyPressed)),
        Scenario::Busy => (refused(486, "Busy Here"), Some(FailureReason::Unreachable)),
        Scenario::NoAnswer => (refused(480, "Temporarily Unavailable"), Some(FailureReason::Unreachable)),
        Scenario::HungUpByTheUser => (answered(&[Step::HangUp]), Some(FailureReason::CallEnded)),
        Scenario::BadNumber => (refused(404, "Not Found"), Some(FailureReason::InvalidNumber)),
        Scenario::RefusedCredentials => (refused(401, "Unauthorized"), Some(FailureReason::NotConfigured)),
        Scenario::RateLimited => (refused(429, "Too Many Requests"), Some(FailureReason::Throttled)),
        Scenario::MalformedReply => (
            vec![Step::Invite, RINGS, Step::PickUpWith("nonsense".to_owned()), Step::Receive("BYE")],
            Some(FailureReason::CannotPlace),
        ),
        Scenario::SlowReply => {
            let mut steps = answered(&[Step::Press("#"), Step::Receive("BYE")]);
            steps.insert(1, Step::Wait(2000));
            (steps, None)
        }
        // A callee that disappears presses nothing.
        Scenario::LostWhileFollowing => (answered(&[]), Some(FailureReason::NoKeyPressed)),
        Scenario::LostWhilePlacing => {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let trunk = format!("sip:{};transport=tcp", listener.local_addr().unwrap());
            std::thread::spawn(move || listener.incoming().for_each(drop));
            return play(json!({ "type": "sip", "trunk": trunk }), FailureReason::CannotPlace);
        }
        Scenario::Deadline => (vec![Step::Invite, RINGS, Step::Cancelled], Some(FailureReason::DeadlinePassed)),
    };
    let callee = Callee::start(&steps, 1);
    let backend = callee.trunk();
    let stays = move |_: &TestGate| {
        // The closure owns the callee, which ends when it is dropped.
        let _: &Callee = &callee;
    };
    Setup::Play { backend, then: Box::new(stays), reason }
}
