#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
use serde_json::json;

use super::super::redaction::HiddenSecrets;

use super::*;

const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

/// The rules of a service, with other values for some keys.
fn rules(others: Value) -> Result<Rules, ConfigError> {
    let mut config = json!({
        "reference": "/id",
        "poll": {
            "url": "https://a.example", "names": { "reference": "/id", "call_id": "/ours" }, "state": "/state",
            "pending": { "ringing": "ringing", "talking": "answered" }
        },
        "pressed": {
            "state": "pressed", "digits": "/digits", "attempt": "/attempt",
            "ended_by": { "pointer": "/end", "pound": "pound", "pause": "pause", "full": "full" }
        },
        "failed": { "busy": "Unreachable", "machine": "Voicemail" }
    });
    config.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
    let config: HttpConfig = serde_json::from_value(config).unwrap();
    Rules::new("b", &config, config.poll.as_ref().unwrap())
}

/// Reads a reply about the call with this reference.
fn read_of(rules: &Rules, reply: &Value, reference: &str) -> Report {
    rules.read(reply, &HttpRef { call_id: ID, reference: Some(reference) }, HiddenSecrets::default().with_token(None))
}

/// What a reply says, in a word: `pending`, `answered`, `entry N KEYS END`, `approved`, `failed REASON` or `unusable`.
fn read(rules: &Rules, reply: Value) -> String {
    match read_of(rules, &reply, "r1") {
        Report::Pending(Some(Progress::Answered)) => "answered".to_owned(),
        Report::Pending(_) => "pending".to_owned(),
        Report::Answered(Reported { answer: Answer::ProviderApproved, .. }) => "approved".to_owned(),
        Report::Answered(Reported { answer: Answer::Entry { attempt, digits, ended_by }, problem }) => {
            assert_eq!(problem.is_some(), attempt == NO_ATTEMPT, "{problem:?}");
            let none = if digits.is_empty() { " none" } else { "" };
            format!("entry {attempt}{none} {ended_by:?}")
        }
        Report::Failed(failure) => format!("failed {}", failure.reason().name()),
        Report::Unusable(failure) => {
            assert_eq!(failure.reason(), FailureReason::CannotPlace);
            "unusable".to_owned()
        }
    }
}

fn reply(others: Value) -> Value {
    let mut reply =
        json!({ "id": "r1", "ours": ID, "state": "pressed", "digits": "071", "attempt": 2, "end": "pound" });
    reply.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
    reply
}

#[test]
fn each_state_has_its_report() {
    let rules = rules(json!({})).unwrap();
    for (others, expected) in [
        (json!({}), "entry 2 Pound"),
        (json!({ "attempt": "1", "end": "pause" }), "entry 1 Pause"),
        (json!({ "digits": "", "end": "full" }), "entry 2 none Full"),
        (json!({ "digits": null }), "entry 1 none Pause"),
        (json!({ "state": "ringing" }), "pending"),
        (json!({ "state": "talking" }), "answered"),
        (json!({ "state": "busy" }), "failed Unreachable"),
        (json!({ "state": "machine" }), "failed Voicemail"),
    ] {
        assert_eq!(read(&rules, reply(others.clone())), expected, "{others}");
    }
}

#[test]
fn what_is_not_declared_is_never_an_answer() {
    let rules = rules(json!({})).unwrap();
    for others in [
        json!({ "state": "Pressed" }),
        json!({ "state": "pressed " }),
        json!({ "state": "approved" }),
        json!({ "state": null }),
        json!({ "state": 1 }),
        json!({ "state": ["pressed"] }),
    ] {
        assert_eq!(read(&rules, reply(others.clone())), "unusable", "{others}");
    }
    for missing in ["id", "ours", "state"] {
        let mut reply = reply(json!({}));
        reply.as_object_mut().unwrap().remove(missing);
        assert_eq!(read(&rules, reply), "unusable", "without {missing}");
    }
    for other in [json!([]), json!(null), json!("pressed"), json!({})] {
        assert_eq!(read(&rules, other.clone()), "unusable", "{other}");
    }
}

/// The call was answered and has ended, so it counts for `limits.denials`.
#[test]
fn an_unusable_entry_of_an_ended_call_is_a_denial() {
    let rules = rules(json!({})).unwrap();
    for others in [
        json!({ "digits": 71 }),
        json!({ "digits": ["0", "7", "1"] }),
        json!({ "digits": true }),
        json!({ "end": null }),
        json!({ "end": "#" }),
        json!({ "end": "Pound" }),
    ] {
        assert_eq!(read(&rules, reply(others.clone())), "failed WrongKey", "{others}");
    }
    for (missing, expected) in
        [("digits", "failed NoKeyPressed"), ("attempt", "entry 0 Pound"), ("end", "failed WrongKey")]
    {
        let mut reply = reply(json!({}));
        reply.as_object_mut().unwrap().remove(missing);
        assert_eq!(read(&rules, reply), expected, "without {missing}");
    }
    assert_eq!(read(&rules, reply(json!({ "digits": "", "end": "odd" }))), "failed NoKeyPressed");
}

/// It may be a fraud report, which counts in any attempt.
#[test]
fn an_entry_without_its_attempt_has_one_that_no_call_has() {
    let rules = rules(json!({})).unwrap();
    for attempt in [json!(null), json!("one"), json!(1.5), json!(257), json!(-1)] {
        let with = |others: Value| {
            let mut reply = reply(others);
            reply["attempt"] = attempt.clone();
            read(&rules, reply)
        };
        assert_eq!(with(json!({})), "entry 0 Pound", "{attempt}");
        assert_eq!(with(json!({ "digits": "", "end": "pause" })), "entry 0 none Pause", "{attempt}");
    }
}

#[test]
fn a_reply_about_another_call_is_unusable_in_any_state() {
    let rules = rules(json!({})).unwrap();
    for others in [
        json!({ "id": "r2" }),
        json!({ "id": "R1" }),
        json!({ "id": ["r1"] }),
        json!({ "id": null }),
        json!({ "ours": "r1" }),
        json!({ "ours": ID.to_uppercase() }),
        json!({ "ours": null }),
    ] {
        for state in ["pressed", "busy", "ringing"] {
            let mut reply = reply(others.clone());
            reply["state"] = json!(state);
            assert_eq!(read(&rules, reply), "unusable", "{others} {state}");
        }
    }
}

#[test]
fn an_id_may_be_a_whole_number() {
    let poll = json!({ "url": "https://a.example", "names": { "reference": "/id" }, "state": "/state" });
    let rules = rules(json!({ "poll": poll })).unwrap();
    assert_eq!(rules.reference(&json!({ "id": 42 })).unwrap(), "42");
    for other in [json!({ "id": 4.2 }), json!({ "id": null }), json!({ "id": true }), json!({})] {
        assert!(rules.reference(&other).is_err(), "{other}");
    }
    let report = |id: Value| read_of(&rules, &reply(json!({ "id": id })), "42");
    assert!(matches!(report(json!(42)), Report::Answered(_)) && matches!(report(json!("42")), Report::Answered(_)));
    assert!(matches!(report(json!(42.0)), Report::Unusable(_)) && matches!(report(json!(43)), Report::Unusable(_)));
}

/// Without `ended_by`, the keys say it.
#[test]
fn keys_without_their_pound_approve_nothing() {
    let rules = rules(json!({ "pressed": { "state": "pressed", "digits": "/digits" } })).unwrap();
    for (digits, expected) in [
        ("071#", "entry 1 Pound"),
        ("#", "entry 1 none Pound"),
        ("071", "entry 1 Pause"),
        ("", "entry 1 none Pause"),
        ("071# ", "entry 1 Pause"),
    ] {
        assert_eq!(read(&rules, reply(json!({ "digits": digits }))), expected, "{digits}");
    }
}

#[test]
fn an_empty_list_means_that_the_call_goes_on() {
    let poll = json!({
        "url": "https://a.example", "names": { "reference": "/list/0/id" }, "state": "/list/0/state", "empty": "/list"
    });
    let pressed = json!({ "state": "pressed", "digits": "/list/0/call/digits" });
    let rules = rules(json!({ "poll": poll, "pressed": pressed })).unwrap();
    for (reply, expected) in [
        (json!({ "list": [] }), "pending"),
        (json!({ "list": null }), "unusable"),
        (json!({ "list": {} }), "unusable"),
        (json!({}), "unusable"),
        (json!({ "list": [{ "id": "r2", "state": "pressed", "call": { "digits": "1#" } }] }), "unusable"),
        (json!({ "list": [{ "id": "r1", "state": "pressed", "call": { "digits": "1#" } }] }), "entry 1 Pound"),
        (json!({ "list": [{ "id": "r1", "state": "pressed", "call": null }] }), "entry 1 none Pause"),
        (json!({ "list": [{ "id": "r1", "state": "pressed", "call": {} }] }), "failed NoKeyPressed"),
    ] {
        assert_eq!(read(&rules, reply.clone()), expected, "{reply}");
    }
}

#[test]
fn only_the_exact_verdict_of_an_ended_call_approves() {
    let approved = json!({ "pointer": "/verdict", "text": "yes", "state": "done" });
    let rules = rules(json!({ "pressed": null, "approved": approved })).unwrap();
    for (state, verdict, expected) in [
        ("done", json!("yes"), "approved"),
        ("done", json!("Yes"), "failed WrongKey"),
        ("done", json!("no"), "failed WrongKey"),
        ("done", json!("machine"), "failed Voicemail"),
        ("done", json!(true), "failed WrongKey"),
        ("done", json!(null), "failed NoKeyPressed"),
        ("ended", json!("yes"), "unusable"),
        ("busy", json!("yes"), "failed Unreachable"),
        ("ringing", json!("yes"), "pending"),
    ] {
        let reply = reply(json!({ "state": state, "verdict": verdict }));
        assert_eq!(read(&rules, reply), expected, "{state} {verdict}");
    }
}

#[test]
fn an_unknown_text_is_shown_without_its_digits() {
    let rules = rules(json!({})).unwrap();
    let reply = reply(json!({ "state": "4, 7, 1\u{1b} odd" }));
    let Report::Unusable(failure) = read_of(&rules, &reply, "r1") else {
        panic!("it is unusable");
    };
    assert!(failure.text().contains("reports \"*, *, *  odd\" at /state"), "{failure}");
}

#[test]
fn tables_that_cannot_work_are_refused_with_their_path() {
    let poll = |others: Value| {
        let mut poll = json!({ "url": "https://a.example", "names": { "reference": "/id" }, "state": "/state" });
        poll.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
        json!({ "poll": poll })
    };
    let approved = |approved: Value| json!({ "pressed": null, "approved": approved });
    for (others, expected) in [
        (json!({ "reference": "id" }), "b.reference: must be a JSON pointer"),
        (json!({ "reference": "/a~2" }), "b.reference: must be a JSON pointer"),
        (json!({ "reference": null }), "b.poll.names.reference: needs the key `reference`"),
        (poll(json!({ "state": "" })), "b.poll.state: must be a JSON pointer"),
        (poll(json!({ "names": {} })), "b.poll.names: must have `reference` or `call_id`"),
        (poll(json!({ "names": { "call_id": "x" } })), "b.poll.names.call_id: must be a JSON pointer"),
        (poll(json!({ "empty": "x" })), "b.poll.empty: must be a JSON pointer"),
        (poll(json!({ "pending": { "busy": "ringing" } })), "b.failed: has the text `busy`"),
        (json!({ "failed": { "pressed": "CallEnded" } }), "b.pressed.state: has a text that"),
        (json!({ "pressed": { "state": "x", "digits": "x" } }), "b.pressed.digits: must be a JSON pointer"),
        (json!({ "pressed": null }), "b: needs either `pressed`"),
        (json!({ "approved": { "pointer": "/state", "text": "x" } }), "b: needs either `pressed`"),
        (approved(json!({ "pointer": "/verdict", "text": "x" })), "b.approved.state: is missing"),
        (approved(json!({ "pointer": "/state", "text": "x", "state": "y" })), "b.approved.state: is not needed"),
        (
            approved(json!({ "pointer": "/v", "text": "busy", "state": "y" })),
            "b.approved.text: is a text that `failed`",
        ),
        (
            json!({ "pressed": { "state": "x", "digits": "/d", "ended_by": { "pointer": "/e", "pound": "a", "full": "a" } } }),
            "b.pressed.ended_by: has the same text twice",
        ),
    ] {
        let error = rules(others.clone()).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.starts_with(expected), "{others}: {error}");
    }
}
