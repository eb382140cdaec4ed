//! The conformance suite: every backend goes through the same stories, through a running gate. A new backend gets
//! them all by one line in `BACKENDS`.

mod support;

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use phonegate::call::{CallStatus, FailureReason};
use serde_json::{Value, json};
use support::calls::Calls;
use support::gate::{TestGate, id};
use support::service::Service;
use support::sipp::{Callee, Step, UNTIL_ASKED};
use support::twilio::{About, Fault, Story as Flow, Twilio};

type Scenes = fn(Story) -> Scene;

const BACKENDS: &[(&str, Scenes)] =
    &[("simulated", simulated), ("file", file), ("twilio_studio", twilio_studio), ("sip", sip)];

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Story {
    Verified,
    WrongKey,
    NoKey,
    Busy,
    NoAnswer,
    HungUpByTheUser,
    BadNumber,
    RefusedCredentials,
    RateLimited,
    MalformedReply,
    SlowReply,
    LostWhilePlacing,
    LostWhileFollowing,
    Deadline,
}

/// How a backend is brought into a story.
enum Scene {
    /// With this configuration, and what is done once the call is on its way. It then ends as `reason` tells, verified
    /// where there is none.
    Play { backend: Value, then: Box<dyn Fn(&TestGate)>, reason: Option<FailureReason> },
    /// This cannot happen to it, and why.
    Cannot(&'static str),
}

fn play(backend: Value, reason: impl Into<Option<FailureReason>>) -> Scene {
    Scene::Play { backend, then: Box::new(|_| {}), reason: reason.into() }
}

fn simulated(story: Story) -> Scene {
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
        Story::BadNumber | Story::RefusedCredentials | Story::RateLimited => Scene::Cannot("nobody could refuse"),
        Story::MalformedReply | Story::SlowReply => Scene::Cannot("there are no replies"),
        Story::LostWhilePlacing | Story::LostWhileFollowing => Scene::Cannot("there is no line"),
    }
}

fn file(story: Story) -> Scene {
    let backend = json!({ "type": "file", "path": "phone.txt" });
    let edited = |by: fn(&str) -> String, reason: Option<FailureReason>| {
        let then = Box::new(move |gate: &TestGate| {
            let path = gate.folder().join("phone.txt");
            let text = || std::fs::read_to_string(&path).unwrap_or_default();
            support::wait_until("the call has a line", || text().ends_with('\n'));
            std::fs::write(&path, by(&text())).unwrap();
        });
        Scene::Play { backend: backend.clone(), then, reason }
    };
    match story {
        Story::Verified => edited(|text| text.replace(";0;", ";1;"), None),
        Story::MalformedReply => edited(|text| text.replace(";0;", ";yes;"), Some(FailureReason::CannotPlace)),
        Story::LostWhileFollowing => edited(|_| String::new(), Some(FailureReason::CannotPlace)),
        Story::LostWhilePlacing => play(json!({ "type": "file", "path": "." }), FailureReason::CannotPlace),
        Story::Deadline => play(backend, FailureReason::DeadlinePassed),
        Story::WrongKey | Story::NoKey | Story::Busy | Story::NoAnswer | Story::HungUpByTheUser => {
            Scene::Cannot("who answers knows only yes and no")
        }
        Story::BadNumber | Story::RefusedCredentials | Story::RateLimited => Scene::Cannot("a file refuses nobody"),
        Story::SlowReply => Scene::Cannot("an answer may always take its time"),
    }
}

fn twilio_studio(story: Story) -> Scene {
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

fn sip(story: Story) -> Scene {
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
        // A callee that is gone without a word presses nothing.
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
        // The whole callee, which ends when it is dropped, is there until the story is told.
        let _: &Callee = &callee;
    };
    Scene::Play { backend, then: Box::new(stays), reason }
}

const NUMBER: &str = "+1 4255551212";
const PIN: &str = "739104";

/// How the built library, as its host sees it, ends a call by this method to a simulated phone with these settings. The
/// number has the PIN `PIN`, if it `has_pin`.
fn simulated_call(method: &str, phone: Value, has_pin: bool) -> Option<FailureReason> {
    let folder = tempfile::tempdir().unwrap();
    let mut backend = json!({ "type": "simulated", "answer_after_ms": 0, "press_after_ms": 0 });
    backend.as_object_mut().unwrap().extend(phone.as_object().unwrap().clone());
    let config = json!({
        "use": ["phone"],
        "allow_test_backends": true,
        "backends": { "phone": backend },
        "numbers": { "default_country": "US" },
        "limits": support::gate::no_limits(),
        "approval": { "method": method, "pin": { "pepper": "not-a-real-pepper-0123456789abcdef" } },
        "store": { "type": "sqlite", "path": folder.path().join("calls.db") },
        "log": { "level": "trace", "directory": "log" }
    });
    if has_pin {
        // By the tool: the test must not use SQLite itself beside the library.
        let file = folder.path().join("phonegate.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let mut set = Calls::of(&file).command(&["pins", "set", NUMBER, "--pin-stdin"]);
        let mut set = set.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        set.stdin.take().unwrap().write_all(PIN.as_bytes()).unwrap();
        assert!(set.wait().unwrap().success(), "the PIN is set");
    }
    let service = Service::start(config);
    let ending = service.ending(NUMBER);
    service.end();
    for line in service.log() {
        assert!(!line.to_string().contains(PIN), "no PIN in the log: {line}");
    }
    ending.map(|(reason, _)| reason)
}

#[test]
fn a_simulated_phone_approves_by_each_method() {
    for method in ["code", "pound", "pin", "pin_and_code"] {
        assert_eq!(simulated_call(method, json!({ "pin": PIN }), true), None, "{method}");
    }
}

#[test]
fn a_simulated_phone_with_another_pin_never_approves() {
    for method in ["pin", "pin_and_code"] {
        let wrong = simulated_call(method, json!({ "pin": "862057" }), true);
        assert_eq!(wrong, Some(FailureReason::WrongKey), "{method}: another PIN");
        let pound = simulated_call(method, json!({ "pin": PIN, "press": "#" }), true);
        assert_eq!(pound, Some(FailureReason::WrongKey), "{method}: # alone");
        let none = simulated_call(method, json!({ "pin": PIN }), false);
        assert_eq!(none, Some(FailureReason::PinNotSet), "{method}: the number has no PIN");
    }
}

/// Lets every backend go through the story.
fn tell(story: Story) {
    let mut played = 0;
    for (name, scene) in BACKENDS {
        let (backend, then, reason) = match scene(story) {
            Scene::Play { backend, then, reason } => (backend, then, reason),
            Scene::Cannot(why) => {
                println!("{name}: {why}");
                continue;
            }
        };
        let deadline_s = if story == Story::Deadline { 4 } else { 60 };
        let gate = TestGate::start(json!({
            "use": ["only"],
            "allow_test_backends": matches!(*name, "simulated" | "file"),
            "backends": { "only": backend },
            "call": { "deadline_s": deadline_s },
            "prompts": support::sip::prompts(),
        }));
        gate.initiate(id(1), "+1 4255551212");
        then(&gate);
        let (status, text) = gate.ends(id(1));
        let expected = if reason.is_none() { CallStatus::Success } else { CallStatus::Failed };
        assert_eq!(status, expected, "{name}: {text}");
        let failure = gate.snapshot(id(1)).failure;
        assert_eq!(failure.map(|failure| failure.reason()), reason, "{name}: {text}");
        assert_eq!(text.is_empty(), reason.is_none(), "{name}: a failure has a text");
        // The digits of a time and of an attempt may be any.
        let texts = gate.end().into_iter().flat_map(|line| match line {
            Value::Object(line) => line.into_iter().filter(|(key, _)| key != "time" && key != "attempt"),
            other => panic!("{other}"),
        });
        for (key, text) in texts {
            assert!(!text.to_string().contains("555121"), "{name}: no number in the log: {key} {text}");
        }
        played += 1;
    }
    assert!(played > 0);
}

#[test]
fn each_kind_of_backend_goes_through_the_stories() {
    let schema: Value = serde_json::from_str(&phonegate::config::schema(&phonegate::TYPES)).unwrap();
    let kinds = schema["$defs"]["BackendConfig"]["oneOf"].as_array().unwrap();
    let kinds: BTreeSet<_> = kinds.iter().map(|kind| kind["properties"]["type"]["const"].as_str().unwrap()).collect();
    assert_eq!(kinds, BACKENDS.iter().map(|(name, _)| *name).collect());
}

macro_rules! stories {
    ($($test:ident: $story:ident,)*) => {
        $(#[test]
        fn $test() {
            tell(Story::$story);
        })*
    };
}

stories! {
    the_right_key_verifies: Verified,
    another_key_is_a_wrong_key: WrongKey,
    no_key_is_no_key_pressed: NoKey,
    a_busy_phone_is_unreachable: Busy,
    an_unanswered_phone_is_unreachable: NoAnswer,
    who_hangs_up_without_a_key_has_ended_the_call: HungUpByTheUser,
    a_number_that_the_provider_refuses_is_invalid: BadNumber,
    refused_credentials_are_not_configured: RefusedCredentials,
    a_provider_that_is_asked_too_often_throttles: RateLimited,
    a_reply_that_makes_no_sense_never_verifies: MalformedReply,
    a_slow_reply_is_waited_for: SlowReply,
    a_connection_lost_while_placing_fails_the_call: LostWhilePlacing,
    a_connection_lost_while_following_never_invents_an_outcome: LostWhileFollowing,
    the_deadline_ends_a_call_without_an_outcome: Deadline,
}
