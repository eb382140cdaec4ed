//! The stories of a SIP trunk.

use phonegate::call::FailureReason;
use serde_json::json;

use super::play;
use crate::support::gate::TestGate;
use crate::support::sipp::{Callee, Step, UNTIL_ASKED};
use crate::{Scene, Story};

pub fn scene(story: Story) -> Scene {
    const RINGS: Step = Step::Answer(180, "Ringing", "");
    let answered = |then: &[Step]| {
        let start = [Step::Invite, RINGS, Step::PickUp, UNTIL_ASKED];
        start.into_iter().chain(then.iter().cloned()).collect::<Vec<_>>()
    };
    let refused = |code, phrase| vec![Step::Invite, Step::Answer(code, phrase, ""), Step::Ack];
    let (steps, reason) = match story {
        Story::Verified => (answered(&[Step::Press("#"), Step::Receive("BYE")]), None),
        Story::WrongKey => (answered(&[Step::Press("1#"), Step::Receive("BYE")]), Some(FailureReason::WrongKey)),
        Story::NoKey => (answered(&[Step::Receive("BYE")]), Some(FailureReason::NoKeyPressed)),
        Story::Busy => (refused(486, "Busy Here"), Some(FailureReason::Unreachable)),
        Story::NoAnswer => (refused(480, "Temporarily Unavailable"), Some(FailureReason::Unreachable)),
        Story::HungUpByTheUser => (answered(&[Step::HangUp]), Some(FailureReason::CallEnded)),
        Story::BadNumber => (refused(404, "Not Found"), Some(FailureReason::InvalidNumber)),
        Story::RefusedCredentials => (refused(401, "Unauthorized"), Some(FailureReason::NotConfigured)),
        Story::RateLimited => (refused(429, "Too Many Requests"), Some(FailureReason::Throttled)),
        Story::MalformedReply => (
            vec![Step::Invite, RINGS, Step::PickUpWith("nonsense".to_owned()), Step::Receive("BYE")],
            Some(FailureReason::CannotPlace),
        ),
        Story::SlowReply => {
            let mut steps = answered(&[Step::Press("#"), Step::Receive("BYE")]);
            steps.insert(1, Step::Wait(2000));
            (steps, None)
        }
        // A callee that disappears presses nothing.
        Story::LostWhileFollowing => (answered(&[]), Some(FailureReason::NoKeyPressed)),
        Story::LostWhilePlacing => {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let trunk = format!("sip:{};transport=tcp", listener.local_addr().unwrap());
            std::thread::spawn(move || listener.incoming().for_each(drop));
            return play(json!({ "type": "sip", "trunk": trunk }), FailureReason::CannotPlace);
        }
        Story::Deadline => (vec![Step::Invite, RINGS, Step::Cancelled], Some(FailureReason::DeadlinePassed)),
    };
    let callee = Callee::start(&steps, 1);
    let backend = callee.trunk();
    let stays = move |_: &TestGate| {
        // The closure owns the callee, which ends when it is dropped.
        let _: &Callee = &callee;
    };
    Scene::Play { backend, then: Box::new(stays), reason }
}
