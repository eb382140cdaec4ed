//! The outcome of each report of Twilio Studio about a call, and the flows that PhoneGate refuses.

mod support;

use phonegate::call::{CallLimit, CallStatus, FailureReason};
use serde_json::{Value, json};
use support::gate::{TestGate, id};
use support::twilio::flow::{Act, Callee};
use support::twilio::gate::{call, gate};
use support::twilio::{About, EditBody, FLOW, Fault, Scenario, Twilio};
use support::wait_until;

/// Tests each case in a thread of its own: the call of each waits between its polls.
fn for_each<C: Send>(cases: impl IntoIterator<Item = C>, test: impl Fn(C) + Sync) {
    std::thread::scope(|threads| {
        for case in cases {
            threads.spawn(|| test(case));
        }
    });
}

#[test]
fn each_result_of_the_flow_has_its_reason() {
    let cases = [
        ("APPROVED", None),
        ("WRONG_KEY", Some(FailureReason::WrongKey)),
        ("FRAUD", Some(FailureReason::FraudReported)),
        ("NO_KEY", Some(FailureReason::NoKeyPressed)),
        ("BUSY", Some(FailureReason::Unreachable)),
        ("NO_ANSWER", Some(FailureReason::Unreachable)),
        ("FAILED", Some(FailureReason::CannotPlace)),
        ("MACHINE", Some(FailureReason::Voicemail)),
        ("pressed", Some(FailureReason::CannotPlace)),
        ("PRESSED ", Some(FailureReason::CannotPlace)),
        ("", Some(FailureReason::CannotPlace)),
        ("YES\u{1b}[2J", Some(FailureReason::CannotPlace)),
    ];
    for_each(cases, |(result, reason)| {
        let twilio = Twilio::start();
        twilio.play(Scenario::ends(result));
        // A gate that is dropped cuts the deletion short.
        let gate = gate(&twilio);
        let (status, seen, text) = call(&gate);
        assert_eq!((status == CallStatus::Success, seen), (reason.is_none(), reason), "{result}: {text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        wait_until("the Execution is deleted", || twilio.is_clean());
    });
}

#[test]
fn an_unknown_result_is_in_the_text() {
    let twilio = Twilio::start();
    twilio.play(Scenario::ends("MAYBE"));
    let (_, _, text) = call(&gate(&twilio));
    assert!(text.contains("the result \"MAYBE\""), "{text}");
}

/// Even if everything that an approval needs is there too.
#[test]
fn a_result_of_an_earlier_flow_does_not_count() {
    for_each(["APPROVED", "WRONG_KEY", "FRAUD"], |result| {
        let twilio = Twilio::start();
        twilio.play(Scenario::writes(json!({ "result": result })));
        let (_, reason, text) = call(&gate(&twilio));
        assert_eq!(reason, Some(FailureReason::NotConfigured), "{result}");
        assert!(text.contains("install it again: phonegate twilio install-flow"), "{text}");
    });
}

/// The flow says that the user made an entry, in a call that was answered and has ended. Otherwise the entry is right: the
/// key `#`, without digits.
#[test]
fn a_malformed_entry_is_a_denial() {
    use FailureReason::{CannotPlace, FraudReported, NoKeyPressed, WrongKey};
    let cases = [
        (json!({ "attempt": 1 }), None),
        (json!({ "attempt": null }), Some(WrongKey)),
        (json!({ "attempt": "one" }), Some(WrongKey)),
        (json!({ "attempt": 1.5 }), Some(WrongKey)),
        (json!({ "attempt": 257 }), Some(WrongKey)),
        (json!({ "attempt": "3" }), Some(WrongKey)),
        (json!({ "attempt": 0 }), Some(WrongKey)),
        (json!({ "attempt": null, "digits": "0" }), Some(FraudReported)),
        (json!({ "attempt": "3", "digits": "0" }), Some(FraudReported)),
        (json!({ "digits": null }), Some(WrongKey)),
        (json!({ "digits": null, "ended_by": "pause" }), Some(NoKeyPressed)),
        (json!({ "digits": 0 }), Some(WrongKey)),
        (json!({ "ended_by": null }), Some(NoKeyPressed)),
        (json!({ "ended_by": null, "digits": "0" }), Some(WrongKey)),
        (json!({ "ended_by": "#" }), Some(NoKeyPressed)),
        (json!({ "ended_by": "Pound" }), Some(NoKeyPressed)),
        (json!({ "ended_by": "full", "digits": "1" }), Some(WrongKey)),
        (json!({ "ended_by": "pause" }), Some(NoKeyPressed)),
        // Not known to be an entry of this call.
        (json!({ "nonce": null }), Some(CannotPlace)),
        (json!({ "nonce": "" }), Some(CannotPlace)),
        (json!({ "nonce": "0".repeat(32) }), Some(CannotPlace)),
        (json!({ "result": true }), Some(CannotPlace)),
        (json!({ "result": ["PRESSED"] }), Some(CannotPlace)),
    ];
    for_each(cases, |(variables, expected)| {
        let twilio = Twilio::start();
        twilio.play(Scenario::writes(variables.clone()));
        assert_eq!(call(&gate(&twilio)).1, expected, "{variables}");
    });
}

/// So a flow that others have changed does not ring a user again and again.
#[test]
fn malformed_entries_lock_the_number() {
    let twilio = Twilio::start();
    twilio.play(Scenario::writes(json!({ "attempt": null })));
    let settings = json!({ "approval": { "method": "pound" }, "limits": { "denials": { "count": 1 } } });
    let gate = TestGate::start(twilio.configuration(&settings));
    let (_, reason, text) = call(&gate);
    assert_eq!(reason, Some(FailureReason::WrongKey));
    assert!(text.contains("install it again: phonegate twilio install-flow"), "{text}");
    gate.initiate(id(2), "+1 4255551212");
    gate.ends(id(2));
    assert_eq!(gate.snapshot(id(2)).failure.and_then(|failure| failure.limit()), Some(CallLimit::Denials));
    assert_eq!(twilio.seen(About::Start).len(), 1);
}

/// The Execution, its flow, its number and its nonce must be those of the call.
#[test]
fn the_result_of_another_execution_never_counts() {
    let edits: [(EditBody, Option<FailureReason>); 6] = [
        (|body| body, None),
        (|body| body.replace(r#""sid":"FN"#, r#""sid":"FNf"#), Some(FailureReason::CannotPlace)),
        (|body| body.replace(r#""execution_sid":"FN0"#, r#""execution_sid":"FNf"#), Some(FailureReason::CannotPlace)),
        (|body| body.replace(r#""flow_sid":"FW0"#, r#""flow_sid":"FWf"#), Some(FailureReason::CannotPlace)),
        (
            |body| body.replace(r#""contact":{"channel":{"address":"+1"#, r#""contact":{"channel":{"address":"+4"#),
            Some(FailureReason::CannotPlace),
        ),
        (
            |body| body.replace(r#""CallStatus":"#, r#""To":"+44255551212","CallStatus":"#),
            Some(FailureReason::CannotPlace),
        ),
    ];
    for_each(edits.into_iter().enumerate(), |(n, (edit, expected))| {
        let twilio = Twilio::start();
        twilio.play(Scenario { polls: Some(0), ..Scenario::ends("APPROVED") });
        (0..8).for_each(|_| twilio.fail(About::Poll, Fault::Edit(edit)));
        let (_, reason, text) = call(&gate(&twilio));
        assert_eq!(reason, expected, "{n}: {text}");
    });
}

#[test]
fn a_start_that_rings_another_number_is_ended_and_not_followed() {
    let edits: [fn(String) -> String; 2] = [
        |body| body.replace(r#""contact_channel_address":"+1"#, r#""contact_channel_address":"+4"#),
        |body| body.replace(r#""flow_sid":"FW0"#, r#""flow_sid":"FWf"#),
    ];
    for edit in edits {
        let (first, second) = (Twilio::start(), Twilio::start());
        first.fail(About::Start, Fault::Edit(edit));
        let backends = json!({ "first": first.backend(), "second": second.backend() });
        let gate = TestGate::start(json!({ "use": ["first", "second"], "backends": backends }));
        let (_, reason, text) = call(&gate);
        assert_eq!(reason, Some(FailureReason::CannotPlace), "{text}");
        assert_eq!((first.ends(), first.seen(About::Poll).len(), second.seen(About::Start).len()), (1, 0, 0), "{text}");
    }
}

/// Returns why the call of this user fails, through the flow that is installed for these settings.
fn walked(settings: &Value, callee: Callee) -> Option<FailureReason> {
    let twilio = Twilio::start();
    twilio.install(settings);
    twilio.play(Scenario::walks(callee));
    let gate = TestGate::start(twilio.configuration(settings));
    let (_, reason, text) = call(&gate);
    assert!(reason.is_some() || text.is_empty(), "{text}");
    reason
}

/// From the installation of the flow to the outcome.
#[test]
fn a_call_by_code_ends_as_the_user_acts() {
    use Act::{HangsUp, Heard, Keys, Nothing};
    let cases: [(Callee, Option<FailureReason>); 15] = [
        (Callee::Answers(&[Heard("", "#")]), None),
        (Callee::Answers(&[Heard("1", "#"), Heard("", "#")]), None),
        (Callee::Answers(&[Heard("", ""), Heard("", "#")]), None),
        (Callee::Answers(&[Heard("", "1#"), Heard("1", "#")]), Some(FailureReason::WrongKey)),
        (Callee::Answers(&[Heard("", ""), Heard("", "")]), Some(FailureReason::WrongKey)),
        (Callee::Answers(&[Heard("0", "#"), Heard("*", "#")]), Some(FailureReason::WrongKey)),
        (Callee::Answers(&[Keys("#")]), Some(FailureReason::NoKeyPressed)),
        (Callee::Answers(&[Keys("0#")]), Some(FailureReason::FraudReported)),
        (Callee::Answers(&[Heard("1", "#"), Keys("0#")]), Some(FailureReason::FraudReported)),
        (Callee::Answers(&[Nothing]), Some(FailureReason::NoKeyPressed)),
        (Callee::Answers(&[HangsUp]), Some(FailureReason::CallEnded)),
        (Callee::Machine, Some(FailureReason::Voicemail)),
        (Callee::Busy, Some(FailureReason::Unreachable)),
        (Callee::NoAnswer, Some(FailureReason::Unreachable)),
        (Callee::Unobtainable, Some(FailureReason::CannotPlace)),
    ];
    for_each(cases, |(callee, expected)| {
        assert_eq!(walked(&json!({ "approval": { "method": "code" } }), callee), expected, "{callee:?}");
    });
}

#[test]
fn a_call_by_pound_ends_as_the_user_acts() {
    use Act::Keys;
    let cases = [
        (&[Keys("#")][..], None),
        (&[Keys("5"), Keys("#")], None),
        (&[Keys("5"), Keys("5")], Some(FailureReason::WrongKey)),
        (&[Keys("0#")], Some(FailureReason::FraudReported)),
    ];
    for_each(cases, |(acts, expected)| {
        let pound = json!({ "approval": { "method": "pound" } });
        assert_eq!(walked(&pound, Callee::Answers(acts)), expected, "{acts:?}");
    });
}

#[test]
fn codes_are_spoken_and_heard_in_each_language() {
    let languages = [("en-GB", 1), ("de-DE", 4), ("fr-FR", 3), ("es-ES", 3), ("it-IT", 2), ("pt-BR", 3), ("pl-PL", 3)];
    for_each(languages, |(tag, digits)| {
        let settings = json!({
            "approval": { "method": "code", "code_digits": digits }, "prompts": { "language": tag, "attempts": 10 },
        });
        let wrong = Act::Heard("1", "#");
        let acts = Vec::leak(vec![wrong, wrong, wrong, wrong, wrong, wrong, wrong, wrong, wrong, Act::Heard("", "#")]);
        assert_eq!(walked(&settings, Callee::Answers(acts)), None, "{tag}");
    });
}

/// The codes of a call are its parameters. The log does not show them.
#[test]
fn codes_are_parameters_and_not_logged() {
    let twilio = Twilio::start();
    let settings = json!({
        "approval": { "method": "code", "code_digits": 4 }, "prompts": { "attempts": 3 }, "log": { "level": "debug" },
    });
    let gate = TestGate::start(twilio.configuration(&settings));
    assert_eq!(call(&gate).0, CallStatus::Success);
    let parameters = twilio.parameters(0);
    let keys: Vec<_> = parameters.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "code_1",
        "code_2",
        "code_3",
        "fraud_key",
        "language",
        "nonce",
        "send_digits",
        "spoken_1",
        "spoken_2",
        "spoken_3",
    ];
    assert_eq!(keys, expected);
    let log = serde_json::to_string(&gate.end()).unwrap();
    for n in 1..=3 {
        let code = parameters[format!("code_{n}")].as_str().unwrap();
        assert!(code.len() == 4 && code.bytes().all(|digit| digit.is_ascii_digit() && digit != b'0'), "{code}");
        let spoken = parameters[format!("spoken_{n}")].as_str().unwrap();
        assert_eq!(spoken.split(", ").count(), 4, "{spoken}");
        assert!(!log.contains(&format!("\"{code}\"")) && !log.contains(spoken), "{log}");
    }
}

/// Returns the result of `check` with the settings `configured`, if the flow was installed for `installed`.
fn checked(installed: &Value, configured: &Value) -> Result<String, String> {
    let [installed, configured] = [installed, configured].map(|settings| {
        let mut settings = settings.clone();
        settings["approval"] = json!({ "method": "code" });
        settings
    });
    let twilio = Twilio::start();
    twilio.install(&installed);
    let gate = TestGate::start(twilio.configuration(&configured));
    gate.gate().check().remove(0).1.map_err(|failure| {
        assert_eq!(failure.reason(), FailureReason::NotConfigured);
        failure.text().to_owned()
    })
}

#[test]
fn a_check_refuses_a_flow_for_other_settings() {
    let german = json!({ "prompts": { "by_country": { "DE": "de-DE" } } });
    let nine = json!({ "fraud": { "key": "9" } });
    let three = json!({ "prompts": { "attempts": 3 } });
    for (installed, configured, expected) in [
        (&json!({}), &german, "has no de-DE;"),
        (&json!({}), &nine, "was made for fraud.key 0, which is 9 now;"),
        (&json!({}), &three, "was made for prompts.attempts 2, which is 3 now;"),
        (&three, &json!({}), "was made for prompts.attempts 3, which is 2 now;"),
    ] {
        let problem = checked(installed, configured).unwrap_err();
        assert!(problem.contains(expected), "{problem}");
        assert!(problem.contains("install it again: phonegate twilio install-flow."), "{problem}");
    }
    for (installed, configured) in [(&german, &german), (&nine, &nine), (&three, &three), (&german, &json!({}))] {
        assert_eq!(checked(installed, configured).unwrap(), "flow \"PhoneGate\", revision 1, published");
    }
}

#[test]
fn a_check_refuses_a_flow_of_another_version_or_author() {
    let edits: [(EditBody, &str); 3] = [
        (|body| body.replace("version=2", "version=1"), "is of another version of PhoneGate;"),
        (
            |body| body.replace("PhoneGate flow:", "PhoneGate: rings a user"),
            "is not PhoneGate's, or of an earlier version;",
        ),
        (|body| body.replace("languages=", "tongues="), "has no en-US;"),
    ];
    for (edit, expected) in edits {
        let twilio = Twilio::start();
        twilio.install(&json!({ "approval": { "method": "pound" } }));
        let gate = gate(&twilio);
        twilio.fail(About::Flow, Fault::Edit(edit));
        let problem = gate.gate().check().remove(0).1.unwrap_err();
        assert!(problem.text().contains(expected), "{problem}");
        assert!(problem.text().contains("install it again"), "{problem}");
    }
}

#[test]
fn the_flow_is_installed_once_and_then_replaced() {
    let twilio = Twilio::start();
    let first = twilio.install(&json!({}));
    assert_eq!((first.sid.as_str(), first.created, first.revision), (FLOW, true, 1));
    let second = twilio.install(&json!({}));
    assert_eq!((second.sid.as_str(), second.created, second.revision), (FLOW, false, 2));
    assert_eq!(twilio.seen(About::Flow).iter().filter(|seen| seen.path.ends_with("/Validate")).count(), 2);
}
