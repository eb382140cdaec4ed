//! What happens to a call before it is established, in the log and the store: retries, redirections, failed servers,
//! forwarding.

mod support;

use phonegate::call::FailureReason;
use serde_json::{Value, json};
use support::gate::TestGate;
use support::ports::unused_address;
use support::sip::{config, ending, gate};
use support::sipp::{Callee, SDP, Step, UNTIL_ASKED, answer_with};

const RINGS: Step = Step::Answer(180, "Ringing", "");

/// Steps of a callee: these, then the answer, `#` and the end.
fn then_verified(steps: &[Step]) -> Vec<Step> {
    let end = [Step::PickUp, UNTIL_ASKED, Step::Press("#"), Step::Receive("BYE")];
    steps.iter().cloned().chain(end).collect()
}

/// The texts of the log's lines of this event.
fn texts(log: &[Value], event: &str) -> Vec<String> {
    let lines = log.iter().filter(|line| line["event"] == event);
    lines.map(|line| line["text"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_redirection_is_logged_with_the_server_and_without_the_number() {
    let moved = Step::Answer(302, "Moved", "Contact: <sip:+14255551212@127.0.0.1:[local_port]>\n");
    let callee = Callee::start(&then_verified(&[Step::Invite, moved, Step::Ack, Step::Invite, RINGS]), 1);
    let gate = gate(callee.trunk());
    assert_eq!(ending(&gate), None);
    let log = gate.end();
    assert_eq!(texts(&log, "redirected"), [format!("127.0.0.1:{} over udp", callee.port)]);
    callee.finish();
}

#[test]
fn a_redirection_after_the_phone_rang_is_followed() {
    let moved = Step::Answer(302, "Moved", "Contact: <sip:+14255551212@127.0.0.1:[local_port]>\n");
    let callee = Callee::start(&then_verified(&[Step::Invite, RINGS, moved, Step::Ack, Step::Invite, RINGS]), 1);
    let gate = gate(callee.trunk());
    assert_eq!(ending(&gate), None);
    assert_eq!(texts(&gate.end(), "redirected").len(), 1);
    callee.finish();
}

#[test]
fn a_redirection_to_a_dead_server_is_reported() {
    let dead = unused_address();
    let contact: &'static str = format!("Contact: <sip:+14255551212@{dead};transport=tcp>\n").leak();
    let callee = Callee::start(&[Step::Invite, Step::Answer(302, "Moved", contact), Step::Ack], 1);
    let gate = gate(callee.trunk());
    let (reason, text) = ending(&gate).unwrap();
    assert_eq!(reason, FailureReason::CannotPlace);
    let expected = format!("The trunk redirected the call to a server that cannot be reached: {dead}: ");
    assert!(text.starts_with(&expected), "{text}");
    gate.end();
    callee.finish();
}

#[test]
fn a_failed_server_is_logged_and_the_next_one_is_tried() {
    let callee = Callee::start(&then_verified(&[Step::Invite, RINGS]), 1);
    let dead = unused_address();
    let mut trunk = callee.trunk();
    trunk["trunk"] = json!([format!("sip:{dead};transport=tcp"), callee.uri()]);
    let gate = gate(trunk);
    assert_eq!(ending(&gate), None);
    let failed = texts(&gate.end(), "server_failed");
    assert!(matches!(&failed[..], [text] if text.contains(&dead.to_string())), "{failed:?}");
    callee.finish();
}

#[test]
fn a_challenge_is_logged_as_a_retry() {
    let challenge = "WWW-Authenticate: Digest realm=\"sbc\", nonce=\"a\", qop=\"auth\"\n";
    let steps = [Step::Invite, Step::Answer(401, "Unauthorized", challenge), Step::Ack, Step::Invite, RINGS];
    let callee = Callee::start(&then_verified(&steps), 1);
    let mut trunk = callee.trunk();
    (trunk["username"], trunk["password"]) = (json!("mim"), json!("secret"));
    let gate = gate(trunk);
    assert_eq!(ending(&gate), None);
    assert_eq!(texts(&gate.end(), "retried"), ["The trunk asked for the password."]);
    callee.finish();
}

const FORWARDED: &str = "Diversion: <sip:+14255550101@127.0.0.1>;reason=unconditional\n";

#[test]
fn a_forwarded_call_is_logged_once_and_continues() {
    let steps = [
        Step::Invite,
        Step::Answer(181, "Call Is Being Forwarded", FORWARDED),
        Step::Answer(180, "Ringing", FORWARDED),
    ];
    let callee = Callee::start(&then_verified(&steps), 1);
    let gate = gate(callee.trunk());
    assert_eq!(ending(&gate), None);
    let log = gate.end();
    assert_eq!(texts(&log, "forwarded").len(), 1, "{log:#?}");
    assert!(!log.iter().any(|line| line.to_string().contains("5550101")), "no number of the other phone");
    callee.finish();
}

#[test]
fn refuse_forwarded_ends_the_call_before_and_after_the_answer() {
    let before = vec![Step::Invite, Step::Answer(181, "Call Is Being Forwarded", ""), Step::Cancelled];
    let answered = answer_with(200, "OK", FORWARDED, SDP);
    let after = vec![Step::Invite, RINGS, answered, Step::Receive("BYE")];
    for steps in [before, after] {
        let callee = Callee::start(&steps, 1);
        let mut trunk = callee.trunk();
        trunk["refuse_forwarded"] = json!(true);
        let gate = TestGate::start(config(trunk, 60));
        let (reason, text) = ending(&gate).unwrap();
        assert_eq!(reason, FailureReason::Unreachable);
        assert!(text.contains("forwarded to another phone, and `refuse_forwarded` is set"), "{text}");
        let log = gate.end();
        assert_eq!(texts(&log, "answered").len(), 0, "no call is answered: {log:#?}");
        callee.finish();
    }
}
