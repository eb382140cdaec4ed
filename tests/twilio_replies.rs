//! Replies that Twilio does not document, and Executions that outlive their calls: neither approves a call.

mod support;

use std::time::Duration;

use phonegate::call::{CallStatus, FailureReason};
use serde_json::json;
use support::gate::TestGate;
use support::twilio::gate::{call, gate};
use support::twilio::{About, EditBody, Fault, Scenario, Twilio};
use support::wait_until;

#[test]
fn a_null_result_is_no_result() {
    let twilio = Twilio::start();
    twilio.play(Scenario { answered: true, result: Some(json!(null)), polls: Some(1), ..Scenario::rings() });
    assert_eq!(call(&gate(&twilio)).1, Some(FailureReason::CallEnded));
}

#[test]
fn null_in_a_reply_is_an_absent_key() {
    let edits: [(EditBody, Option<FailureReason>); 2] = [
        (|body| body.replace(r#""trigger":{}"#, r#""trigger":null,"parsed":null"#), None),
        (|body| body.replace(r#""digits":"""#, r#""digits":null"#), Some(FailureReason::WrongKey)),
    ];
    for (edit, expected) in edits {
        let twilio = Twilio::start();
        twilio.play(Scenario { polls: Some(0), ..Scenario::ends("APPROVED") });
        (0..2).for_each(|_| twilio.fail(About::Poll, Fault::Edit(edit)));
        assert_eq!(call(&gate(&twilio)).1, expected);
    }
    // A refusal without a message keeps its code.
    let twilio = Twilio::start();
    twilio.fail(About::Start, Fault::Reply(400, r#"{"code":21211,"message":null}"#.to_owned()));
    assert_eq!(call(&gate(&twilio)).1, Some(FailureReason::InvalidNumber));
}

#[test]
fn a_reply_with_a_duplicate_key_is_malformed() {
    let edits: [fn(String) -> String; 5] = [
        |body| body.replace(r#""result":"#, r#""result":"NO_KEY","result":"#),
        |body| body.replace(r#""result":"#, r#""result":"PRESSED","result":"#),
        |body| body.replace(r#""result":"#, r#""other":{"a":1,"a":2},"result":"#),
        |body| body.replace(r#""result":"#, r#""result":null,"result":"#),
        |body| body.replace(r#""status":"#, r#""status":"active","status":"#),
    ];
    for (n, edit) in edits.into_iter().enumerate() {
        let twilio = Twilio::start();
        twilio.play(Scenario { polls: Some(0), ..Scenario::ends("APPROVED") });
        (0..8).for_each(|_| twilio.fail(About::Poll, Fault::Edit(edit)));
        let (_, reason, text) = call(&gate(&twilio));
        assert_eq!(reason, Some(FailureReason::CannotPlace), "{n}: {text}");
        assert!(text.contains("makes no sense"), "{text}");
    }
}

#[test]
fn a_status_that_twilio_does_not_document_never_verifies() {
    for status in [202, 203, 206, 226, 299, 300] {
        let twilio = Twilio::start();
        twilio.play(Scenario { polls: Some(0), ..Scenario::ends("APPROVED") });
        (0..8).for_each(|_| twilio.fail(About::Poll, Fault::Status(status)));
        let (_, reason, text) = call(&gate(&twilio));
        assert_eq!(reason, Some(FailureReason::CannotPlace), "{status}: {text}");
        assert!(text.contains("makes no sense"), "{status}: {text}");
    }
}

#[test]
fn another_success_status_is_no_success() {
    let (first, second) = (Twilio::start(), Twilio::start());
    first.fail(About::Start, Fault::Status(202));
    let backends = json!({ "first": first.backend(), "second": second.backend() });
    let gate_of_two = TestGate::start(json!({ "use": ["first", "second"], "backends": backends }));
    let (status, _, text) = call(&gate_of_two);
    assert!(status == CallStatus::Failed && text.contains("makes no sense"), "{text}");
    assert_eq!(second.seen(About::Start).len(), 0, "the phone may be ringing");

    let twilio = Twilio::start();
    twilio.fail(About::Delete, Fault::Reply(200, String::new()));
    // The gate must outlive the deletion.
    let gate = gate(&twilio);
    assert_eq!(call(&gate), (CallStatus::Success, None, String::new()));
    wait_until("the deletion is repeated", || twilio.seen(About::Delete).len() == 2 && twilio.is_clean());
}

/// The Execution stays active after the user has hung up.
#[test]
fn an_execution_that_outlives_its_call_is_ended() {
    for word in [None, Some("APPROVED")] {
        let twilio = Twilio::start();
        twilio.play(Scenario::stuck(word));
        let gate = gate(&twilio);
        let (status, reason, text) = call(&gate);
        assert_eq!((status, reason), (CallStatus::Failed, Some(FailureReason::CallEnded)), "{word:?}: {text}");
        wait_until("the Execution is ended and deleted", || twilio.is_clean());
        let (polls, end) = (twilio.seen(About::Poll), &twilio.seen(About::End)[0]);
        // The third poll of the Execution is the first one that could show it.
        let executions: Vec<_> = polls.iter().filter(|look| !look.path.ends_with("/Context")).collect();
        let asked = executions.iter().filter(|look| look.at > executions[2].at).count();
        assert!(asked <= 14 && end.at > executions[2].at, "at a look each second, within 15 s: {asked}");
    }
}

/// The reply to the request that ends the Execution is late, but within the limit of a hang-up.
#[test]
fn the_outcome_of_an_ended_call_does_not_wait_for_its_end() {
    let twilio = Twilio::start();
    twilio.play(Scenario::stuck(None));
    twilio.fail(About::End, Fault::Slow(Duration::from_secs(9)));
    let gate = gate(&twilio);
    let (_, reason, text) = call(&gate);
    assert_eq!(twilio.ends(), 0, "the outcome is there before the reply");
    assert_eq!(reason, Some(FailureReason::CallEnded), "{text}");
    assert_eq!(twilio.seen(About::End).len(), 1, "it was asked to end the Execution");
    wait_until("the Execution is deleted", || twilio.is_clean());
}

#[test]
fn a_fraud_report_counts_if_the_execution_stays_active() {
    let twilio = Twilio::start();
    twilio.play(Scenario::stuck(Some("FRAUD")));
    assert_eq!(call(&gate(&twilio)).1, Some(FailureReason::FraudReported));
}

#[test]
fn a_refusal_that_quotes_the_codes_is_not_shown() {
    let twilio = Twilio::start();
    let quoting = r#"Parameters {"code_1":"471","spoken_1":"four, seven, one"} are not valid"#;
    twilio.fail(About::Start, Fault::Refuse(400, 20001, quoting, None));
    let (_, reason, text) = call(&gate(&twilio));
    assert_eq!(reason, Some(FailureReason::CannotPlace), "{text}");
    assert!(!text.contains("471") && !text.contains("four") && text.contains("left out"), "{text}");
}
