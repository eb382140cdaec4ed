//! The protocol with Twilio Studio, against a stand-in that keeps state and refuses as the service does.

mod support;

use base64::Engine;
use phonegate::call::{CallStatus, FailureReason};
use serde_json::{Value, json};
use support::gate::{TestGate, id};
use support::ports::unused_address;
use support::twilio::gate::{NUMBER, call, gate};
use support::twilio::{ACCOUNT, About, FLOW, FROM, Fault, KEY, SECRET, Scenario, TOKEN, Twilio};
use support::wait_until;

/// The first Execution of a stand-in.
const OWN: &str = "FN00000000000000000000000000000001";

/// A gate with two accounts: the second one is the next backend.
fn gate_of_two(first: Value, second: &Twilio) -> TestGate {
    TestGate::start(json!({ "use": ["first", "second"], "backends": { "first": first, "second": second.backend() } }))
}

/// A valid reply, made too long.
fn padded(reply: String) -> String {
    let mut reply: Value = serde_json::from_str(&reply).unwrap();
    reply["padding"] = json!("x".repeat(2_000_000));
    reply.to_string()
}

fn verified() -> (CallStatus, Option<FailureReason>, String) {
    (CallStatus::Success, None, String::new())
}

#[test]
fn a_start_names_the_number_the_caller_and_the_extension() {
    let twilio = Twilio::start();
    let gate = gate(&twilio);
    gate.initiate(id(1), "+1 4255551234X12345");
    assert_eq!(gate.ends(id(1)).0, CallStatus::Success);
    let start = &twilio.seen(About::Start)[0];
    assert_eq!(start.path, format!("/v2/Flows/{FLOW}/Executions"));
    assert_eq!((start.form["To"].as_str(), start.form["From"].as_str()), ("+14255551234", FROM));
    let expected = |send_digits: &str, nonce: &Value| json!({ "fraud_key": "0", "language": "en-US", "send_digits": send_digits, "nonce": nonce });
    let first = twilio.parameters(0);
    assert_eq!(first, expected("wwww12345", &first["nonce"]));
    assert_eq!(start.user, ACCOUNT);

    gate.initiate(id(2), NUMBER);
    assert_eq!(gate.ends(id(2)).0, CallStatus::Success);
    let second = twilio.parameters(1);
    assert_eq!(second, expected("", &second["nonce"]));
    assert_ne!(first["nonce"], second["nonce"]);
    for nonce in [first, second].map(|parameters| parameters["nonce"].as_str().unwrap().to_owned()) {
        assert!(nonce.len() == 32 && nonce.bytes().all(|byte| byte.is_ascii_hexdigit()), "128 bits: {nonce}");
    }
}

#[test]
fn an_api_key_authenticates() {
    let twilio = Twilio::start();
    let mut backend = twilio.backend();
    backend.as_object_mut().unwrap().remove("auth_token");
    backend["api_key_sid"] = json!(KEY);
    backend["api_key_secret"] = json!(SECRET);
    let gate = TestGate::start(json!({ "use": ["cloud"], "backends": { "cloud": backend } }));
    assert_eq!(call(&gate), verified());
    assert_eq!(twilio.seen(About::Start)[0].user, KEY);
}

#[test]
fn refused_credentials_are_reported_with_twilios_message() {
    let twilio = Twilio::start();
    let mut backend = twilio.backend();
    backend["auth_token"] = json!("of another account");
    let gate = TestGate::start(json!({ "use": ["cloud"], "backends": { "cloud": backend } }));
    let (_, reason, text) = call(&gate);
    assert_eq!(reason, Some(FailureReason::NotConfigured));
    assert_eq!(text, "Twilio refused with status 401, error 20003: Authenticate. (NotConfigured)");
    assert!(twilio.is_clean(), "no Execution was made");
}

#[test]
fn a_start_that_may_ring_is_never_repeated_anywhere() {
    let faults = [
        Fault::Close,
        Fault::Hang,
        Fault::Refuse(500, 20500, "Internal Server Error", None),
        Fault::Refuse(503, 20503, "Service Unavailable", Some("1")),
        Fault::Reply(201, String::new()),
        Fault::Reply(201, r#"{"sid":"FN1","status":"active"}"#.to_owned()),
        Fault::Edit(padded),
        Fault::Redirect("/v2/Flows".to_owned()),
        Fault::Refuse(409, 20409, "An Execution is already active for this contact", None),
    ];
    for fault in faults {
        let (first, second) = (Twilio::start(), Twilio::start());
        first.fail(About::Start, fault.clone());
        let (status, _, text) = call(&gate_of_two(first.backend(), &second));
        assert_eq!(status, CallStatus::Failed, "{fault:?}");
        assert!(!text.is_empty());
        assert_eq!(first.seen(About::Start).len(), 1, "{fault:?}");
        assert_eq!(first.seen(About::Flow).len(), 0, "a redirect is not followed");
        assert_eq!(second.seen(About::Start).len(), 0, "{fault:?}");
    }
}

#[test]
fn an_approval_in_a_reply_of_two_megabytes_never_verifies() {
    let twilio = Twilio::start();
    twilio.play(Scenario { polls: Some(0), ..Scenario::ends("APPROVED") });
    (0..8).for_each(|_| twilio.fail(About::Poll, Fault::Edit(padded)));
    assert_eq!(call(&gate(&twilio)).1, Some(FailureReason::CannotPlace));
}

#[test]
fn no_redirect_is_followed() {
    let elsewhere = Twilio::start();
    for about in [About::Start, About::Poll, About::End, About::Delete] {
        let twilio = Twilio::start();
        twilio.play(Scenario::rings());
        for _ in 0..3 {
            let target = format!("{}/v2/Flows/{FLOW}/Executions/{OWN}", elsewhere.base_url);
            twilio.fail(about, Fault::Redirect(target));
        }
        let backends = json!({ "cloud": twilio.backend() });
        let gate = TestGate::start(json!({ "use": ["cloud"], "backends": backends, "call": { "deadline_s": 3 } }));
        assert_eq!(call(&gate).0, CallStatus::Failed, "{about:?}");
        gate.end();
        assert!(!twilio.seen(about).is_empty(), "{about:?}");
    }
    assert!(elsewhere.all().is_empty(), "{:?}", elsewhere.all());
}

#[test]
fn a_start_that_did_not_ring_goes_to_the_next_account() {
    for fault in [
        Fault::Refuse(401, 20003, "Authenticate", None),
        Fault::Refuse(404, 20404, "The requested resource was not found", None),
        Fault::Refuse(400, 21212, "The 'From' number is not valid", None),
    ] {
        let (first, second) = (Twilio::start(), Twilio::start());
        first.fail(About::Start, fault);
        assert_eq!(call(&gate_of_two(first.backend(), &second)), verified());
        assert_eq!(second.seen(About::Start).len(), 1);
    }
}

#[test]
fn an_unreachable_account_is_followed_by_the_next_one() {
    let second = Twilio::start();
    let mut first = second.backend();
    first["base_url"] = json!(format!("http://{}", unused_address()));
    assert_eq!(call(&gate_of_two(first, &second)), verified());
}

#[test]
fn a_throttled_start_is_sent_again_after_retry_after() {
    let twilio = Twilio::start();
    twilio.fail(About::Start, Fault::Refuse(429, 20429, "Too many requests", Some("2")));
    let start = std::time::Instant::now();
    assert_eq!(call(&gate(&twilio)), verified());
    assert!(start.elapsed().as_secs() >= 2, "no sooner than it said");
    assert_eq!(twilio.seen(About::Start).len(), 2);
}

#[test]
fn an_account_that_keeps_throttling_is_followed_by_the_next() {
    let (first, second) = (Twilio::start(), Twilio::start());
    for _ in 0..3 {
        first.fail(About::Start, Fault::Refuse(429, 20429, "Too many requests", None));
    }
    assert_eq!(call(&gate_of_two(first.backend(), &second)), verified());
    assert_eq!(first.seen(About::Start).len(), 3);
}

#[test]
fn transient_errors_do_not_end_a_followed_call() {
    let twilio = Twilio::start();
    twilio.fail(About::Poll, Fault::Refuse(503, 20503, "Service Unavailable", None));
    twilio.fail(About::Poll, Fault::Refuse(429, 20429, "Too many requests", Some("1")));
    twilio.fail(About::Poll, Fault::Close);
    twilio.fail(About::Poll, Fault::Reply(200, "not JSON".to_owned()));
    assert_eq!(call(&gate(&twilio)), verified());
    assert_eq!(twilio.seen(About::Start).len(), 1);
}

#[test]
fn revoked_credentials_end_the_call_with_twilios_message() {
    let twilio = Twilio::start();
    twilio.play(Scenario::rings());
    twilio.fail(About::Poll, Fault::Refuse(401, 20003, "Authenticate +14255551212", None));
    let (_, reason, text) = call(&gate(&twilio));
    assert_eq!(reason, Some(FailureReason::NotConfigured));
    assert_eq!(text, "Twilio refused with status 401, error 20003: Authenticate +*******1212. (NotConfigured)");
    assert_eq!(twilio.seen(About::End).len(), 1, "no process follows it, so it must be ended");
}

#[test]
fn a_call_past_its_deadline_is_ended_and_then_deleted() {
    let twilio = Twilio::start();
    twilio.play(Scenario::rings());
    let backends = json!({ "cloud": twilio.backend() });
    let gate = TestGate::start(json!({ "use": ["cloud"], "backends": backends, "call": { "deadline_s": 6 } }));
    assert_eq!(call(&gate).1, Some(FailureReason::DeadlinePassed));
    wait_until("the Execution is deleted", || twilio.is_clean());
    let end = &twilio.seen(About::End)[0];
    assert_eq!(end.form["Status"], "ended");
    let deletions = twilio.seen(About::Delete);
    assert!(deletions.len() == 1 && end.at < deletions[0].at, "{end:?} {deletions:?}");
}

#[test]
fn shutdown_ends_the_call_at_twilio() {
    let twilio = Twilio::start();
    twilio.play(Scenario::rings());
    let gate = gate(&twilio);
    gate.initiate(id(1), NUMBER);
    wait_until("the call is placed", || gate.log().iter().any(|line| line["event"] == "placed"));
    gate.end();
    assert!(twilio.is_clean());
    assert_eq!(twilio.seen(About::End).len(), 1);
}

#[test]
fn shutdown_waits_until_a_finished_call_is_deleted() {
    let twilio = Twilio::start();
    twilio.fail(About::Delete, Fault::Slow(std::time::Duration::from_secs(2)));
    let gate = gate(&twilio);
    assert_eq!(call(&gate), verified());
    gate.end();
    assert!(twilio.is_clean());
}

#[test]
fn a_provider_that_hangs_does_not_delay_shutdown() {
    let twilio = Twilio::start();
    twilio.play(Scenario::rings());
    twilio.fail(About::End, Fault::Hang);
    let gate = gate(&twilio);
    gate.initiate(id(1), NUMBER);
    wait_until("the call is placed", || gate.log().iter().any(|line| line["event"] == "placed"));
    assert!(!gate.gate().shut_down(std::time::Duration::from_millis(500)), "the hang-up was cut short");
    assert_eq!(gate.snapshot(id(1)).failure.unwrap().reason(), FailureReason::Interrupted);
}

#[test]
fn a_reference_after_the_deadline_is_hung_up() {
    let twilio = Twilio::start();
    twilio.play(Scenario::rings());
    twilio.fail(About::Start, Fault::Slow(std::time::Duration::from_secs(3)));
    let backends = json!({ "cloud": twilio.backend() });
    let gate = TestGate::start(json!({ "use": ["cloud"], "backends": backends, "call": { "deadline_s": 1 } }));
    assert_eq!(call(&gate).1, Some(FailureReason::DeadlinePassed));
    wait_until("the late call is ended", || twilio.seen(About::End).len() == 1);
    wait_until("the Execution is deleted", || twilio.is_clean());
}

#[test]
fn the_log_has_no_numbers_and_no_secrets() {
    let twilio = Twilio::start();
    twilio.fail(
        About::Start,
        Fault::Refuse(400, 21211, "The 'To' number +14255551212 is not valid for hush-hush-token.", None),
    );
    let gate = gate(&twilio);
    let (_, _, text) = call(&gate);
    assert!(text.contains("error 21211") && !text.contains("555121"), "{text}");
    gate.initiate(id(2), NUMBER);
    gate.ends(id(2));
    let log = serde_json::to_string(&gate.end()).unwrap();
    let credentials = base64::prelude::BASE64_STANDARD.encode(format!("{ACCOUNT}:{TOKEN}"));
    for hidden in ["555121", "hush", &credentials] {
        assert!(!log.contains(hidden), "{hidden}");
    }
}

#[test]
fn a_check_rings_no_phone_and_reports_what_is_wrong() {
    let twilio = Twilio::start();
    twilio.install(&json!({ "approval": { "method": "pound" } }));
    let gate = gate(&twilio);
    let [(_, well)] = &gate.gate().check()[..] else { panic!("one backend") };
    assert_eq!(well.as_ref().unwrap(), "flow \"PhoneGate\", revision 1, published");
    for (key, value, words) in [
        ("auth_token", "of another account", "status 401, error 20003: Authenticate."),
        ("flow_sid", "FW000000000000000000000000000000ff", "status 404, error 20404: The requested resource"),
    ] {
        let mut backend = twilio.backend();
        backend[key] = json!(value);
        let gate = TestGate::start(json!({ "use": ["cloud"], "backends": { "cloud": backend } }));
        let [(_, refused)] = &gate.gate().check()[..] else { panic!("one backend") };
        let failure = refused.as_ref().unwrap_err();
        assert_eq!(failure.reason(), FailureReason::NotConfigured);
        assert!(failure.text().contains(words) && !failure.text().contains(value), "{failure}");
        assert_eq!(twilio.seen(About::Start).len(), 0);
    }
}

#[test]
fn another_fraud_key_is_a_parameter_of_the_call() {
    let twilio = Twilio::start();
    let gate = TestGate::start(twilio.configuration(&json!({ "fraud": { "key": "9" } })));
    assert_eq!(call(&gate), verified());
    assert_eq!(twilio.parameters(0)["fraud_key"], "9");
}
