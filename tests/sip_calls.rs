//! Calls over a SIP trunk to a callee that sipp plays: each end of a call, and its failure.

mod support;

use phonegate::call::FailureReason;
use serde_json::json;
use support::gate::{TestGate, id};
use support::sip::{NUMBER, config, ending, gate};
use support::sipp::{Callee, SDP, SDP_WITHOUT_EVENTS, Step, UNTIL_ASKED};

const RINGS: Step = Step::Answer(180, "Ringing", "");

/// Returns the steps of a callee that rings, picks up, does this, and receives BYE.
fn answers(then: &[Step]) -> Vec<Step> {
    let start = [Step::Invite, RINGS, Step::PickUp, UNTIL_ASKED];
    start.into_iter().chain(then.iter().cloned()).chain([Step::Receive("BYE")]).collect()
}

/// Places a call to this callee. Returns the reason of the failure, `None` if it was verified, and sipp's log.
fn call(steps: &[Step]) -> (Option<FailureReason>, String) {
    let callee = Callee::start(steps, 1);
    let gate = gate(callee.trunk());
    let ending = ending(&gate);
    gate.end();
    (ending.map(|(reason, _)| reason), callee.finish())
}

#[test]
fn the_pound_key_verifies() {
    let (reason, seen) = call(&answers(&[Step::Press("#")]));
    assert_eq!(reason, None);
    assert!(seen.contains("INVITE sip:+14255551212@127.0.0.1"), "{seen}");
}

/// Without a pound key, the pause of three seconds ends the entry; a second later the next prompt is heard.
#[test]
fn the_right_key_verifies_after_a_wrong_one() {
    assert_eq!(call(&answers(&[Step::Press("7"), Step::Wait(5000), Step::Press("#")])).0, None);
}

#[test]
fn a_wrong_key_and_then_silence_is_a_wrong_key() {
    assert_eq!(call(&answers(&[Step::Press("5#")])).0, Some(FailureReason::WrongKey));
}

#[test]
fn zero_and_the_pound_key_report_a_fraud() {
    assert_eq!(call(&answers(&[Step::Press("0#")])).0, Some(FailureReason::FraudReported));
}

#[test]
fn another_fraud_key_replaces_zero() {
    for (keys, reason) in [("9#", FailureReason::FraudReported), ("0#", FailureReason::WrongKey)] {
        let callee = Callee::start(&answers(&[Step::Press(keys)]), 1);
        let mut config = config(callee.trunk(), 60);
        config["fraud"] = json!({ "key": "9" });
        let gate = TestGate::start(config);
        assert_eq!(ending(&gate).unwrap().0, reason, "{keys}");
        gate.end();
        callee.finish();
    }
}

#[test]
fn a_call_without_a_key_fails() {
    assert_eq!(call(&answers(&[])).0, Some(FailureReason::NoKeyPressed));
}

#[test]
fn hanging_up_without_a_key_ends_the_call() {
    let steps = [Step::Invite, RINGS, Step::PickUp, Step::Wait(300), Step::HangUp];
    assert_eq!(call(&steps).0, Some(FailureReason::CallEnded));
}

/// Places a call that is rejected with this status line and these headers, before and after ringing. Checks the reason of
/// the failure and a part of its text.
fn is_rejected(code: u16, phrase: &'static str, headers: &'static str, reason: FailureReason, text_part: &str) {
    for rings in [false, true] {
        let mut steps = vec![Step::Invite];
        steps.extend(rings.then_some(RINGS));
        steps.extend([Step::Answer(code, phrase, headers), Step::Ack]);
        let callee = Callee::start(&steps, 1);
        let gate = gate(callee.trunk());
        let (found, text) = ending(&gate).expect("it fails");
        assert_eq!(found, reason, "{code}, rings: {rings}: {text}");
        assert!(text.contains(text_part), "{code}, rings: {rings}: {text}");
        callee.finish();
    }
}

#[test]
fn every_final_response_has_its_reason_and_its_text() {
    use FailureReason::{CannotPlace, InvalidNumber, NotConfigured, Throttled, Unreachable};
    for (code, phrase, reason, text_part) in [
        (486, "Busy Here", Unreachable, "The line is busy: the trunk answered 486 Busy Here, reason SIP;cause=600"),
        (600, "Busy Everywhere", Unreachable, "The line is busy"),
        (480, "Nobody Home", Unreachable, "The call was not answered: the trunk answered 480 Nobody Home"),
        (408, "Request Timeout", Unreachable, "The call was not answered"),
        (603, "Decline", Unreachable, "The call was rejected"),
        (
            403,
            "Outgoing Calls Barred",
            Unreachable,
            "The call was rejected: the trunk answered 403 Outgoing Calls Barred",
        ),
        (404, "Not Found", InvalidNumber, "The trunk does not know the number"),
        (484, "Address Incomplete", InvalidNumber, "The trunk does not know the number"),
        (604, "Does Not Exist Anywhere", InvalidNumber, "The trunk does not know the number"),
        (401, "Unauthorized", NotConfigured, "The trunk does not accept the user name and password"),
        (488, "Not Acceptable Here", CannotPlace, "The other side has no codec in common"),
        (500, "Server Internal Error", CannotPlace, "The trunk cannot place the call: the trunk answered 500"),
        (503, "No Channel +14255551212", CannotPlace, "503 No Channel +*******1212"),
        (429, "Too Many", Throttled, "The trunk takes no more calls now"),
        (420, "Bad Extension", CannotPlace, "The trunk refused the call"),
        (421, "Extension Required", CannotPlace, "for 100rel, set `support_prack`"),
    ] {
        is_rejected(code, phrase, "Reason: SIP;cause=600\n", reason, text_part);
    }
}

/// Asterisk, for example, answers 403 to a wrong password.
#[test]
fn a_403_before_ringing_names_its_likely_causes() {
    let password =
        " Perhaps the user name or password is wrong, or calls to this number are not allowed. (Unreachable, code 102)";
    let no_password = " Perhaps the trunk requires a user name and password, or calls from this address or to this number \
                       are not allowed. (Unreachable, code 102)";
    for (has_password, rings, causes) in [
        (true, false, password),
        (false, false, no_password),
        (true, true, " (Unreachable, code 102)"),
        (false, true, " (Unreachable, code 102)"),
    ] {
        let mut steps = vec![Step::Invite];
        steps.extend(rings.then_some(RINGS));
        steps.extend([Step::Answer(403, "Forbidden", ""), Step::Ack]);
        let callee = Callee::start(&steps, 1);
        let mut trunk = callee.trunk();
        if has_password {
            trunk["username"] = json!("mim");
            trunk["password"] = json!("wrong");
        }
        let gate = gate(trunk);
        let expected = format!("The call was rejected: the trunk answered 403 Forbidden.{causes}");
        assert_eq!(ending(&gate), Some((FailureReason::Unreachable, expected)), "rings: {rings}");
        callee.finish();
    }
}

/// The trunk works: the telephone network reports what the called party did.
#[test]
fn a_5xx_with_a_cause_of_the_network_has_the_meaning_of_the_cause() {
    use FailureReason::{CannotPlace, InvalidNumber, Unreachable};
    for (code, headers, reason, text_part) in [
        (503, "Reason: Q.850;cause=17\n", Unreachable, "The line is busy: the trunk answered 503 Failed, reason Q.850"),
        (500, "Reason: Q.850;cause=17\n", Unreachable, "The line is busy"),
        (503, "Reason: q.850 ; cause = 21 ; text=\"no\"\n", Unreachable, "The call was rejected"),
        (503, "Reason: SIP;cause=603, Q.850;cause=21\n", Unreachable, "The call was rejected"),
        (503, "Reason: Q.850;cause=19\n", Unreachable, "The call was not answered"),
        (502, "Reason: Q.850;cause=18\n", Unreachable, "The call was not answered"),
        (503, "Reason: Q.850;cause=16\n", Unreachable, "The call was not answered"),
        (503, "Reason: Q.850;cause=20\n", Unreachable, "The call was not answered"),
        (503, "Reason: Q.850;cause=1\n", InvalidNumber, "The trunk does not know the number"),
        (500, "Reason: Q.850;cause=28\n", InvalidNumber, "The trunk does not know the number"),
        (503, "Reason: Q.850;cause=34\n", CannotPlace, "The trunk cannot place the call"),
        (503, "Reason: Q.850;cause=27\n", CannotPlace, "The trunk cannot place the call"),
        (503, "Reason: Q.850;cause=twenty\n", CannotPlace, "The trunk cannot place the call"),
    ] {
        is_rejected(code, "Failed", headers, reason, text_part);
    }
}

#[test]
fn a_ringing_phone_is_cancelled_at_the_deadline() {
    let callee = Callee::start(&[Step::Invite, RINGS, Step::Cancelled], 1);
    let gate = TestGate::start(config(callee.trunk(), 4));
    assert_eq!(ending(&gate).unwrap().0, FailureReason::DeadlinePassed);
    gate.end();
    callee.finish();
}

#[test]
fn an_established_call_is_hung_up_at_the_deadline() {
    let callee = Callee::start(&answers(&[]), 1);
    let gate = TestGate::start(config(callee.trunk(), 4));
    assert_eq!(ending(&gate).unwrap().0, FailureReason::DeadlinePassed);
    gate.end();
    callee.finish();
}

#[test]
fn early_media_does_not_establish_a_call() {
    let early = Step::Answer(183, "Session Progress", "");
    let (reason, _) = call(&[Step::Invite, early, Step::Wait(300), Step::Answer(486, "Busy Here", ""), Step::Ack]);
    assert_eq!(reason, Some(FailureReason::Unreachable));
}

#[test]
fn only_the_right_password_passes_a_challenge() {
    let challenge = "WWW-Authenticate: Digest realm=\"sbc\", nonce=\"abc\", algorithm=MD5, qop=\"auth,auth-int\"\n";
    for (password, reason) in [("right", None), ("wrong", Some(FailureReason::NotConfigured))] {
        let mut steps = vec![Step::Invite, Step::Answer(401, "Unauthorized", challenge), Step::Ack];
        if reason.is_none() {
            steps.push(Step::Authorized("mim", "right"));
            steps.extend(answers(&[Step::Press("#")]).split_off(1));
        } else {
            steps.extend([Step::Invite, Step::Answer(401, "Unauthorized", challenge), Step::Ack]);
        }
        let callee = Callee::start(&steps, 1);
        let mut trunk = callee.trunk();
        trunk["username"] = json!("mim");
        trunk["password"] = json!(password);
        let gate = gate(trunk);
        assert_eq!(ending(&gate).map(|(reason, _)| reason), reason);
        let log = gate.end();
        assert!(log.iter().all(|line| !line.to_string().contains(password)), "{log:?}");
        callee.finish();
    }
}

#[test]
fn an_info_key_counts_without_telephone_events() {
    for (kind, body) in [("application/dtmf-relay", "Signal=#\r\nDuration=160\r\n"), ("application/dtmf", "11")] {
        let mut steps = answers(&[Step::Info(kind, body)]);
        steps[2] = Step::PickUpWith(SDP_WITHOUT_EVENTS.to_owned());
        assert_eq!(call(&steps).0, None, "{kind}");
    }
}

#[test]
fn a_key_sent_by_event_and_info_counts_once() {
    let info = |key| Step::InfoRefused("application/dtmf-relay", key);
    // If the key counted twice, the entry would be `00#`, which reports no fraud. If it comes only by INFO, none counts.
    for steps in [
        [Step::Press("0"), Step::Wait(300), info("Signal=0\r\n"), Step::Press("#")],
        [info("Signal=0\r\n"), Step::Press("0#"), Step::Wait(300), info("Signal=#\r\n")],
    ] {
        assert_eq!(call(&answers(&steps)).0, Some(FailureReason::FraudReported), "{steps:?}");
    }
}

#[test]
fn a_call_continues_after_a_hold() {
    let held = "v=0\no=callee 1 2 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio [media_port] RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000\na=inactive\n";
    for method in ["INVITE", "UPDATE"] {
        let steps = answers(&[
            Step::Offer(method, held.to_owned(), 200),
            Step::Wait(500),
            Step::Offer(method, SDP.to_owned(), 200),
            Step::Wait(200),
            Step::Press("#"),
        ]);
        let (reason, seen) = call(&steps);
        assert_eq!(reason, None, "{method}");
        assert!(seen.contains("a=inactive"), "{seen}");
    }
}

#[test]
fn an_unusable_offer_is_rejected_and_the_call_continues() {
    let video = "v=0\no=callee 1 2 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio [media_port] RTP/AVP 18\n";
    assert_eq!(call(&answers(&[Step::Offer("INVITE", video.to_owned(), 488), Step::Press("#")])).0, None);
}

#[test]
fn an_unusable_sdp_answer_ends_the_call_with_its_reason() {
    for (sdp, text_part) in [
        (
            "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 0 RTP/AVP 0\n",
            "it rejects the audio stream",
        ),
        (
            "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 4000 RTP/AVP 18\n",
            "no codec in common",
        ),
        (
            "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 pbx.example\nt=0 0\nm=audio 4000 RTP/AVP 0\n",
            "no usable IP address",
        ),
        (
            "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 4000 RTP/SAVP 0\n",
            "its transport is RTP/SAVP",
        ),
        ("nonsense", "it is malformed"),
    ] {
        let callee = Callee::start(&[Step::Invite, RINGS, Step::PickUpWith(sdp.to_owned()), Step::Receive("BYE")], 1);
        let gate = gate(callee.trunk());
        let (reason, text) = ending(&gate).expect("it fails");
        assert_eq!(reason, FailureReason::CannotPlace, "{text}");
        assert!(text.contains(text_part), "{text}");
        gate.end();
        callee.finish();
    }
}

#[test]
fn a_redirection_to_the_same_number_at_the_trunk_is_followed() {
    let callee = Callee::start(
        &[
            Step::Invite,
            Step::Answer(302, "Moved", "Contact: <sip:+14255551212@127.0.0.1:[local_port];tgrp=2>\n"),
            Step::Ack,
            Step::Invite,
            RINGS,
            Step::PickUp,
            UNTIL_ASKED,
            Step::Press("#"),
            Step::Receive("BYE"),
        ],
        1,
    );
    let gate = gate(callee.trunk());
    assert_eq!(ending(&gate), None);
    gate.end();
    let seen = callee.finish();
    assert!(seen.contains(";tgrp=2 SIP/2.0"), "{seen}");
}

#[test]
fn an_unreachable_trunk_is_reported_and_the_next_one_is_tried() {
    let callee = Callee::start(&answers(&[Step::Press("#")]), 1);
    let closed = format!("sip:{};transport=tcp", support::ports::unused_address());
    let mut trunk = callee.trunk();
    trunk["trunk"] = json!([closed]);
    let alone = gate(trunk.clone());
    let (reason, text) = ending(&alone).unwrap();
    assert_eq!(reason, FailureReason::CannotPlace);
    assert!(text.contains("The trunk cannot be reached: 127.0.0.1:"), "{text}");
    trunk["trunk"] = json!([closed, callee.uri()]);
    let both = gate(trunk);
    assert_eq!(ending(&both), None);
    both.end();
    callee.finish();
}

#[test]
fn the_next_trunk_is_tried_after_a_503() {
    let full = Callee::start(&[Step::Invite, Step::Answer(503, "Service Unavailable", ""), Step::Ack], 1);
    let callee = Callee::start(&answers(&[Step::Press("#")]), 1);
    let gate = gate(json!({ "type": "sip", "trunk": [full.uri(), callee.uri()] }));
    assert_eq!(ending(&gate), None);
    gate.end();
    full.finish();
    callee.finish();
}

#[test]
fn a_silent_trunk_fails_within_seconds() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let gate = gate(json!({ "type": "sip", "trunk": format!("sip:{}", silent.local_addr().unwrap()) }));
    let (reason, text) = ending(&gate).unwrap();
    assert_eq!(reason, FailureReason::CannotPlace);
    assert!(text.contains("no response to OPTIONS within 4 s"), "{text}");
}

#[test]
fn calls_work_over_tcp() {
    let callee = Callee::over("tcp", &answers(&[Step::Press("#")]), 1);
    let gate = gate(callee.trunk());
    assert_eq!(ending(&gate), None);
    gate.end();
    let seen = callee.finish();
    assert!(seen.contains("Via: SIP/2.0/TCP"), "{seen}");
}

#[test]
fn calls_work_over_ipv6() {
    for transport in ["udp", "tcp"] {
        let callee = Callee::on("::1", transport, &answers(&[Step::Press("#")]), 1);
        let gate = gate(callee.trunk());
        assert_eq!(ending(&gate), None, "{transport}");
        gate.end();
        let seen = callee.finish();
        assert!(seen.contains("c=IN IP6 ::1"), "{seen}");
    }
}

#[test]
fn an_extension_is_dialled_after_the_answer() {
    let callee = Callee::start(&answers(&[Step::Wait(6000), Step::Press("#")]), 1);
    let gate = gate(callee.trunk());
    gate.initiate(id(1), &format!("{NUMBER}x12"));
    assert_eq!(gate.ends(id(1)).1, "");
    gate.end();
    callee.finish();
}

/// A PBX that reads digit by digit takes the first ones for an emergency number: 112 of Delhi's area code without its
/// country code, 911 of the same number with it.
#[test]
fn no_trunk_dials_an_emergency_number_first() {
    for (format, country, number, user, rings, words) in [
        ("national", "IN", "+91 11 2345 6789", "1123456789", 0, "emergency number 112"),
        ("national", "IN", "+91 22 2345 6789", "2223456789", 1, "busy"),
        ("e164", "US", "+91 11 2345 6789", "911123456789", 0, "emergency number 911"),
        ("e164", "US", "+91 22 2345 6789", "912223456789", 1, "busy"),
        ("e164_plus", "US", "+91 11 2345 6789", "+911123456789", 1, "busy"),
    ] {
        let callee = Callee::start(&[Step::Invite, Step::Answer(486, "Busy Here", ""), Step::Ack], 1);
        let mut trunk = callee.trunk();
        trunk["number_format"] = json!(format);
        let mut config = config(trunk, 60);
        config["numbers"] = json!({ "default_country": country, "allowed_countries": ["IN"] });
        let gate = TestGate::start(config);
        gate.initiate(id(1), number);
        let text = gate.ends(id(1)).1;
        assert!(text.contains(words), "{format} {number}: {text}");
        gate.end();
        assert_eq!(callee.rings(user), rings, "{format} {number}");
    }
}

#[test]
fn numbers_and_caller_ids_follow_the_settings_of_the_trunk() {
    for (settings, text_part) in [
        (json!({ "number_format": "e164" }), vec!["INVITE sip:14255551212@"]),
        (json!({ "number_format": "national", "number_prefix": "9" }), vec!["INVITE sip:94255551212@"]),
        (json!({ "caller_id": "+14255550100", "username": "mim" }), vec!["From: <sip:+14255550100@127.0.0.1>"]),
        (
            json!({ "caller_id": "+14255550100", "username": "mim", "caller_id_header": "p_asserted_identity" }),
            vec!["From: <sip:mim@127.0.0.1>", "P-Asserted-Identity: <sip:+14255550100@127.0.0.1>"],
        ),
        (
            json!({ "caller_id": "+14255550100", "caller_id_header": "remote_party_id", "domain": "contoso.com" }),
            vec!["Remote-Party-ID: <sip:+14255550100@contoso.com>;party=calling", "From: <sip:phonegate@contoso.com>"],
        ),
    ] {
        let callee = Callee::start(&[Step::Invite, Step::Answer(486, "Busy Here", ""), Step::Ack], 1);
        let mut trunk = callee.trunk();
        trunk.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let gate = gate(trunk);
        assert!(ending(&gate).is_some());
        gate.end();
        let seen = callee.finish();
        for words in text_part {
            assert!(seen.contains(words), "{words} is not in {seen}");
        }
    }
}

#[test]
fn a_2xx_without_contact_is_used() {
    let acknowledged = Step::Raw("<recv request=\"ACK\" crlf=\"true\"/>\n".to_owned());
    let steps =
        [Step::Invite, Step::AnswerWithoutContact, acknowledged, UNTIL_ASKED, Step::Press("#"), Step::Receive("BYE")];
    let (ending, seen) = call(&steps);
    assert_eq!(ending, None, "{seen}");
    assert!(seen.contains("BYE sip:+14255551212@127.0.0.1"), "the BYE has the Request-URI of the INVITE: {seen}");
}
