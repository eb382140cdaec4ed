//! What a backend's reference to a call is good for, and what it never is: verifying another call.

mod support;

use std::fs;
use std::time::Duration;

use phonegate::backend::CallRef;
use phonegate::call::{FailureReason, Outcome};
use serde_json::{Value, json};

use support::backend::Line;
use support::sipp::{Callee, Step};
use support::twilio::{About, Story, Twilio};
use tempfile::TempDir;

const NUMBER: &str = "+1 4255551212";

/// A backend with whoever answers its calls.
enum Rig {
    Simulated,
    File(TempDir),
    Twilio(Twilio),
}

impl Rig {
    fn all() -> [Self; 3] {
        [Self::Simulated, Self::File(tempfile::tempdir().unwrap()), Self::Twilio(Twilio::start())]
    }

    /// Those whose calls can end one so and one so.
    fn changing() -> impl Iterator<Item = Self> {
        Self::all().into_iter().filter(|rig| !matches!(rig, Self::Simulated))
    }

    fn line(&self) -> Line {
        Line::new(&match self {
            Self::Simulated => json!({ "type": "simulated", "answer_after_ms": 200, "press_after_ms": 0 }),
            Self::File(folder) => json!({ "type": "file", "path": folder.path().join("phone.txt") }),
            Self::Twilio(twilio) => twilio.backend(),
        })
    }

    /// Lets the calls that are not placed yet end so.
    fn prepare(&self, approved: bool) {
        if let Self::Twilio(twilio) = self {
            twilio.tell(Story::ends(if approved { "APPROVED" } else { "WRONG_KEY" }));
        }
    }

    /// Answers the calls that wait for it.
    fn answer(&self, approved: bool) {
        if let Self::File(folder) = self {
            let path = folder.path().join("phone.txt");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(path, text.replace(";0;", if approved { ";1;" } else { ";2;" })).unwrap();
        }
    }
}

#[test]
fn following_can_be_dropped_at_any_time_and_taken_up_by_another_process_where_the_phone_outlives_it() {
    for rig in Rig::all() {
        let line = rig.line();
        let reference = line.place(1, 1, NUMBER).unwrap();
        for ms in [0, 1, 20, 100] {
            let follow = line.backend.follow(&reference, &line.approver, &|_| {});
            let limit = Duration::from_millis(ms);
            assert!(line.runtime.block_on(async { tokio::time::timeout(limit, follow).await }).is_err());
        }
        rig.answer(true);
        let outlives = line.backend.outlives_its_process();
        assert_eq!(outlives, !matches!(rig, Rig::Simulated), "a simulated phone is gone with its process");
        let line = if outlives { rig.line() } else { line };
        assert!(matches!(line.follow(&reference), Outcome::Verified(_)));
    }
}

#[test]
fn a_reference_is_the_calls_own_and_holds_nothing_personal() {
    for rig in Rig::all() {
        let line = rig.line();
        let one = line.place(1, 1, "+1 4255551212x77777").unwrap();
        rig.answer(true);
        line.follow(&one);
        let other = line.place(1, 2, NUMBER).unwrap();
        assert_ne!(one, other);
        for personal in ["425555", "5551212", "77777"] {
            assert!(!one.as_str().contains(personal), "{one:?}");
        }
    }
}

#[test]
fn an_approval_never_verifies_a_later_attempt_of_the_same_request() {
    for rig in Rig::changing() {
        let line = rig.line();
        rig.prepare(true);
        let earlier = line.place(1, 1, NUMBER).unwrap();
        rig.answer(true);
        assert!(matches!(line.follow(&earlier), Outcome::Verified(_)));
        rig.prepare(false);
        let later = line.place(1, 2, NUMBER).unwrap();
        rig.answer(false);
        line.fails(&later);
    }
}

#[test]
fn a_reference_of_something_else_never_verifies() {
    for rig in Rig::changing() {
        let line = rig.line();
        let own = line.place(1, 1, NUMBER).unwrap();
        rig.answer(true);
        assert!(matches!(line.follow(&own), Outcome::Verified(_)));
        let cut = own.as_str().get(1..).unwrap();
        for text in ["", "/", "..", "?", "x#0", "FN00000000000000000000000000000000", cut] {
            line.fails(&CallRef::new(text));
        }
    }
}

#[test]
fn checking_rings_nobody() {
    for rig in Rig::all() {
        if let Rig::Twilio(twilio) = &rig {
            twilio.install(&json!({ "approval": { "method": "pound" } }));
        }
        let line = rig.line();
        let checked = line.runtime.block_on(line.backend.check());
        assert!(!checked.unwrap().is_empty());
        match rig {
            Rig::Simulated => {}
            Rig::File(folder) => assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0),
            Rig::Twilio(twilio) => assert_eq!(twilio.seen(About::Start).len(), 0),
        }
    }
}

/// Its dialog dies with its process, so another one never takes it up.
#[test]
fn a_sip_call_is_followed_by_its_own_process_alone() {
    let steps = [
        Step::Invite,
        Step::Answer(180, "Ringing", ""),
        // A conversation that has begun is not begun again, so following is dropped before the answer.
        Step::Wait(3000),
        Step::PickUp,
        Step::Wait(2000),
        Step::Press("#"),
        Step::Receive("BYE"),
    ];
    let callee = Callee::start(&steps, 1);
    let line = Line::new(&callee.trunk());
    let reference = line.place(1, 1, NUMBER).unwrap();
    assert!(!reference.as_str().contains("425555"), "{reference:?}");
    for ms in [0, 1, 20, 100] {
        let follow = line.backend.follow(&reference, &line.approver, &|_| {});
        let limit = Duration::from_millis(ms);
        assert!(line.runtime.block_on(async { tokio::time::timeout(limit, follow).await }).is_err());
    }
    let another = Line::new(&callee.trunk());
    for text in [reference.as_str(), "", "0", "2", "-1", "x"] {
        assert_eq!(another.fails(&CallRef::new(text)).reason(), FailureReason::Interrupted, "{text:?}");
    }
    assert!(matches!(line.follow(&reference), Outcome::Verified(_)));
    line.runtime.block_on(line.backend.clean_up(&reference)).unwrap();
    assert_eq!(line.fails(&reference).reason(), FailureReason::Interrupted, "it verifies once");
    callee.finish();
}

#[test]
fn each_kind_of_backend_is_tried() {
    let schema: Value = serde_json::from_str(&phonegate::config::schema(&phonegate::TYPES)).unwrap();
    let kinds = schema["$defs"]["BackendConfig"]["oneOf"].as_array().unwrap().len();
    // And SIP by itself.
    assert_eq!(Rig::all().len() + 1, kinds, "a new backend belongs into this file");
}
