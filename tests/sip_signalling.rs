//! Less usual SIP, by callees that sipp plays: challenges of each request, responses that cross, session timers, and
//! reasons that a trunk gives.

mod support;

use phonegate::call::FailureReason;
use serde_json::json;
use support::gate::{TestGate, id};
use support::sip::{NUMBER, config, ending, gate};
use support::sipp::{Callee, SDP, Step, UNTIL_ASKED, answer_with, request_with};

const RINGS: Step = Step::Answer(180, "Ringing", "");

const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"sbc\", nonce=\"abc\", algorithm=MD5, qop=\"auth\"\n";

fn answers(then: &[Step]) -> Vec<Step> {
    let start = [Step::Invite, RINGS, Step::PickUp, UNTIL_ASKED];
    start.into_iter().chain(then.iter().cloned()).chain([Step::Receive("BYE")]).collect()
}

/// Places a call to this callee. Returns the reason and text of the failure, `None` if it was verified, and sipp's log.
fn call(steps: &[Step]) -> (Option<(FailureReason, String)>, String) {
    let callee = Callee::start(steps, 1);
    let mut trunk = callee.trunk();
    trunk["username"] = json!("mim");
    trunk["password"] = json!("right");
    let gate = gate(trunk);
    let ending = ending(&gate);
    gate.end();
    (ending, callee.finish())
}

/// A realm may have any letters, and names any case.
#[test]
fn a_challenge_is_read_in_any_script_and_spelling() {
    for challenge in [
        "WWW-Authenticate: Digest realm=\"АТС Москва\", nonce=\"abc\", qop=\"auth\"\n",
        "WWW-Authenticate: digest realm=\"sbc\",nonce=abc,algorithm=md5,qop=\"token,auth-int,auth\",stale=FALSE\n",
    ] {
        let challenged = [Step::Invite, answer_with(401, "Unauthorized", challenge, "")];
        let mut steps = challenged.to_vec();
        steps.push(Step::Authorized("mim", "right"));
        steps.extend(answers(&[Step::Press("#")]).split_off(1));
        assert_eq!(call(&steps).0, None, "{challenge}");
    }
}

#[test]
fn a_proxy_and_the_server_behind_it_both_get_credentials() {
    let proxy = "Proxy-Authenticate: Digest realm=\"proxy\", nonce=\"p\", algorithm=SHA-256, qop=\"auth\"\n";
    let mut steps = vec![Step::Invite, answer_with(407, "Proxy Authentication Required", proxy, "")];
    steps.extend([Step::Invite, answer_with(401, "Unauthorized", CHALLENGE, "")]);
    steps.extend(answers(&[Step::Press("#")]));
    let (ending, seen) = call(&steps);
    assert_eq!(ending, None);
    let last = seen.rfind("INVITE sip:").map(|at| &seen[at..]).unwrap();
    let last = &last[..last.find("\r\n\r\n").unwrap_or(last.len())];
    assert!(last.contains("Proxy-Authorization: Digest") && last.contains("algorithm=SHA-256"), "{last}");
    assert!(last.contains("\nAuthorization: Digest"), "{last}");
}

#[test]
fn a_challenged_bye_ends_the_call() {
    let stale = "WWW-Authenticate: Digest realm=\"sbc\", nonce=\"second\", stale=true, qop=\"auth\"\n";
    let mut steps = vec![Step::Invite, answer_with(401, "Unauthorized", CHALLENGE, "")];
    steps.extend(answers(&[Step::Press("#")]));
    steps.pop();
    steps.extend([
        Step::Raw("<recv request=\"BYE\" crlf=\"true\"/>\n".to_owned()),
        Step::Answer(401, "Unauthorized", stale),
        Step::ReceiveWith("BYE", "nonce=.second.*nc=00000001"),
    ]);
    assert_eq!(call(&steps).0, None);
}

#[test]
fn the_reason_of_a_bye_is_in_the_failure() {
    let bye = request_with("BYE", "Reason: Q.850;cause=16;text=\"Bye +14255551212\"\n", "", "");
    let hangs_up = Step::Raw("<recv response=\"200\"/>\n".to_owned());
    let (ending, _) = call(&[Step::Invite, RINGS, Step::PickUp, Step::Wait(300), bye, hangs_up]);
    let (reason, text) = ending.unwrap();
    assert_eq!(reason, FailureReason::CallEnded);
    assert!(text.contains("Q.850;cause=16;text=\"Bye +*******1212\""), "{text}");
}

#[test]
fn an_update_while_the_phone_rings_does_not_end_the_call() {
    for (body, code) in [("", 200), (SDP, 491)] {
        let kind = if body.is_empty() { "" } else { "application/sdp" };
        let Step::Raw(update) = request_with("UPDATE", "", kind, body) else { unreachable!() };
        // The response to the INVITE follows the response to the UPDATE.
        let Step::Raw(answer) = answer_with(200, "OK", "", SDP) else { unreachable!() };
        let answer = answer.replace("[last_CSeq:]", "CSeq: 1 INVITE").replace("[last_Via:]", "Via:[$via]");
        let answer = answer.replace("[last_From:]", "From:[$from]").replace("[last_To:]", "To:[$to]");
        let steps = [
            Step::Invite,
            RINGS,
            Step::Raw(update + &format!("<recv response=\"{code}\"/>\n")),
            Step::Raw(answer),
            UNTIL_ASKED,
            Step::Press("#"),
            Step::Receive("BYE"),
        ];
        let (ending, seen) = call(&steps);
        assert_eq!(ending, None, "{seen}");
    }
}

/// RFC 3262, section 5: a reliable provisional response may have the SDP answer, and the 200 then need not.
#[test]
fn the_sdp_answer_of_a_reliable_response_is_used() {
    let early = answer_with(183, "Session Progress", "", SDP);
    let answer = answer_with(200, "OK", "", "");
    let steps = [Step::Invite, early, Step::Wait(200), answer, UNTIL_ASKED, Step::Press("#"), Step::Receive("BYE")];
    assert_eq!(call(&steps).0, None);
}

#[test]
fn a_2xx_that_crosses_the_cancel_is_hung_up() {
    let Step::Raw(answer) = answer_with(200, "OK", "", SDP) else { unreachable!() };
    let answer = answer.replace("[last_CSeq:]", "CSeq: 1 INVITE");
    let cancel = "<recv request=\"CANCEL\" crlf=\"true\"/>\n";
    let crossed = cancel.to_owned() + &answer;
    let steps = [Step::Invite, RINGS, Step::Raw(crossed), Step::Receive("BYE")];
    let callee = Callee::start(&steps, 1);
    let gate = TestGate::start(config(callee.trunk(), 4));
    assert_eq!(ending(&gate).unwrap().0, FailureReason::DeadlinePassed);
    gate.end();
    callee.finish();
}

/// After a 100 only, no phone is known to ring, and `place` is dropped at the deadline.
#[test]
fn a_2xx_after_the_deadline_is_hung_up_even_after_a_100_only() {
    let trying = Step::Answer(100, "Trying", "");
    let Step::Raw(answer) = answer_with(200, "OK", "", SDP) else { unreachable!() };
    let answer = answer.replace("[last_CSeq:]", "CSeq: 1 INVITE");
    let crossed = "<recv request=\"CANCEL\" crlf=\"true\"/>\n".to_owned() + &answer;
    let callee = Callee::start(&[Step::Invite, trying, Step::Raw(crossed), Step::Receive("BYE")], 1);
    let gate = TestGate::start(config(callee.trunk(), 4));
    assert_eq!(ending(&gate).unwrap().0, FailureReason::DeadlinePassed);
    callee.finish();
    gate.end();
}

#[test]
fn too_short_session_intervals_are_raised_or_rejected() {
    let refused = answer_with(422, "Session Interval Too Small", "Min-SE: 600\n", "");
    let offer = [
        Step::Header("Session-Expires: 30;refresher=uac"),
        Step::Offer("UPDATE", SDP.to_owned(), 422),
        Step::Press("#"),
    ];
    let mut steps = vec![Step::Invite, refused];
    steps.extend(answers(&offer));
    let (ending, seen) = call(&steps);
    assert_eq!(ending, None, "{seen}");
    assert!(seen.contains("Min-SE: 600") && seen.contains("Session-Expires: 600"), "{seen}");
    assert!(seen.contains("Min-SE: 90"), "{seen}");
}

#[test]
fn a_peer_without_update_is_refreshed_by_re_invite() {
    let refresh = "<recv request=\"INVITE\" crlf=\"true\"/>\n".to_owned();
    let Step::Raw(answer) = answer_with(200, "OK", "", SDP) else { unreachable!() };
    for (headers, first) in [
        ("Session-Expires: 4;refresher=uac\nAllow: INVITE, ACK, BYE\n", ""),
        (
            "Session-Expires: 4;refresher=uac\nAllow: INVITE, ACK, BYE, UPDATE\n",
            "<recv request=\"UPDATE\" crlf=\"true\"/>\n",
        ),
    ] {
        let mut steps = vec![Step::Invite, RINGS, answer_with(200, "OK", headers, SDP)];
        if !first.is_empty() {
            steps.extend([Step::Raw(first.to_owned()), Step::Answer(405, "Method Not Allowed", "")]);
        }
        let ours = answer.replace("Content-Type", "Session-Expires: 1800;refresher=uac\nContent-Type");
        steps.extend([Step::Raw(refresh.clone() + &ours), Step::Press("#"), Step::Receive("BYE")]);
        let (ending, seen) = call(&steps);
        assert_eq!(ending, None, "{seen}");
    }
}

#[test]
fn no_other_trunk_is_tried_after_a_connection_was_lost() {
    let taken = [Step::Invite, Step::Answer(100, "Trying", ""), Step::Wait(500)];
    let broken = Callee::over("tcp", &taken, 1);
    let next = Callee::start(&answers(&[Step::Press("#")]), 1);
    let gate = gate(json!({ "type": "sip", "trunk": [broken.uri(), next.uri()] }));
    let (reason, text) = ending(&gate).expect("the next trunk is not asked");
    assert_eq!(reason, FailureReason::CannotPlace, "{text}");
    assert!(text.contains("The connection was lost after the trunk had accepted the call"), "{text}");
    gate.end();
    broken.finish();
}

#[test]
fn the_preferred_contact_of_a_redirection_is_tried_first() {
    let contacts = "Contact: <sip:+14255551212@elsewhere.example;n=1>;q=1, \
                    <sip:+14255551212@127.0.0.1:[local_port];n=2>;q=0.2\n\
                    Contact: \"a, b\" <sip:+14255551212@127.0.0.1:[local_port];n=3>;q=0.7, \
                    <sip:+14255550100@127.0.0.1:[local_port];n=4>;q=0.9\n";
    let moved = || answer_with(302, "Moved", contacts, "");
    let mut steps = vec![Step::Invite, moved(), Step::Invite, moved()];
    steps.extend(answers(&[Step::Press("#")]));
    let (ending, seen) = call(&steps);
    assert_eq!(ending, None, "{seen}");
    let place = |target: &str| {
        let lines = || seen.lines().filter(|line| line.starts_with("INVITE sip:"));
        lines().position(|line| line.contains(target)).unwrap_or(usize::MAX)
    };
    let (third, second) = (place(";n=3"), place(";n=2"));
    assert!(third < second && second < usize::MAX, "{seen}");
    assert_eq!((place(";n=1"), place(";n=4")), (usize::MAX, usize::MAX), "{seen}");
}

fn registered(callee: &Callee) -> TestGate {
    let mut trunk = callee.trunk();
    trunk["username"] = json!("mim");
    trunk["password"] = json!("right");
    trunk["register"] = json!(true);
    gate(trunk)
}

/// All attempts have one Call-ID, so sipp takes them for one call.
#[test]
fn a_registration_is_challenged_and_its_lifetime_raised() {
    let receive = || Step::Raw("<recv request=\"REGISTER\" crlf=\"true\"/>\n".to_owned());
    let longer = "<recv request=\"REGISTER\" crlf=\"true\"><action><ereg regexp=\"Expires: 700\" search_in=\"msg\" \
                  check_it=\"true\" assign_to=\"seen\"/></action></recv>\n";
    let callee = Callee::start(
        &[
            receive(),
            Step::Answer(401, "Unauthorized", CHALLENGE),
            receive(),
            Step::Answer(423, "Interval Too Brief", "Min-Expires: 700\n"),
            Step::Raw(longer.to_owned()),
            Step::Answer(200, "OK", "Expires: 700\n"),
        ],
        1,
    );
    let gate = registered(&callee);
    let seen = callee.finish();
    assert!(seen.contains("Authorization: Digest username=\"mim\"") && seen.contains("SIP/2.0 423"), "{seen}");
    assert!(seen.contains("SIP/2.0 200 OK"), "{seen}");
    gate.end();
}

#[test]
fn a_short_registration_is_refreshed_in_time() {
    let steps = [
        Step::Raw("<recv request=\"REGISTER\" crlf=\"true\"/>\n".to_owned()),
        Step::Answer(200, "OK", "Expires: 10\n"),
    ];
    let callee = Callee::start(&[steps.clone(), steps].concat(), 1);
    let gate = registered(&callee);
    let seen = callee.finish();
    assert!(seen.matches("REGISTER sip:").count() >= 2, "{seen}");
    gate.end();
}

#[test]
fn a_failed_call_names_the_failed_registration() {
    let refused = "<recv request=\"REGISTER\" crlf=\"true\"/>\n".to_owned();
    let registrar = Callee::start(&[Step::Raw(refused), Step::Answer(403, "Unknown Device", "")], 1);
    let gate = registered(&registrar);
    registrar.finish();
    let (reason, text) = ending(&gate).unwrap();
    assert_eq!(reason, FailureReason::CannotPlace);
    assert!(text.contains("PhoneGate is not registered at 127.0.0.1: the trunk answered 403 Unknown Device"), "{text}");
}

/// One attempt takes 4 s. One after the other, the last of these calls would miss its deadline.
#[test]
fn concurrent_calls_share_one_attempt_to_connect() {
    const CALLS: u128 = 8;
    // It accepts connections and sends nothing.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("sip:{};transport=tls", dead.local_addr().unwrap());
    let callee = Callee::start(&answers(&[Step::Press("#")]), CALLS as u32);
    let mut trunk = callee.trunk();
    trunk["trunk"] = json!([silent, callee.uri()]);
    let gate = TestGate::start(config(trunk, 20));
    for n in 1..=CALLS {
        gate.initiate(id(n), &format!("{}{n}", &NUMBER[..NUMBER.len() - 1]));
    }
    for n in 1..=CALLS {
        assert_eq!(gate.ends(id(n)).1, "", "call {n}");
    }
    gate.end();
    callee.finish();
}

#[test]
fn support_prack_acknowledges_reliable_responses() {
    let reliable = Step::Answer(180, "Ringing", "Require: 100rel\nRSeq: 1\n");
    let mut steps = answers(&[Step::Press("#")]);
    steps.splice(1..2, [reliable, Step::Receive("PRACK")]);
    // The 200 is the response to the INVITE, not to the PRACK.
    let pick_up = steps.iter().position(|step| matches!(step, Step::PickUp)).unwrap();
    steps[pick_up] = Step::PickUpAs("CSeq: 1 INVITE");
    let callee = Callee::start(&steps, 1);
    let mut trunk = callee.trunk();
    trunk["support_prack"] = json!(true);
    let gate = gate(trunk);
    assert_eq!(ending(&gate), None);
    gate.end();
    let seen = callee.finish();
    assert!(seen.contains("RAck: 1 1 INVITE") && seen.contains("Supported: 100rel"), "{seen}");
}

/// A PRACK would fail the test: sipp's scenario does not expect it.
#[test]
fn reliable_responses_are_ordinary_by_default() {
    let mut steps = answers(&[Step::Press("#")]);
    steps[1] = Step::Answer(180, "Ringing", "Require: 100rel\nRSeq: 1\n");
    let (reason, seen) = call(&steps);
    assert_eq!(reason, None, "{seen}");
    let invite = &seen[..seen.find("\r\n\r\n").unwrap()];
    assert!(!invite.contains("100rel") && !invite.contains("PRACK"), "{invite}");
}

#[test]
fn a_session_is_refreshed_by_the_refresher() {
    let mut steps = answers(&[Step::Receive("UPDATE"), Step::Press("#")]);
    steps[2] = Step::PickUpAs("Session-Expires: 8;refresher=uac\nSupported: timer\nAllow: INVITE, ACK, BYE, UPDATE");
    assert_eq!(call(&steps).0, None);
}

#[test]
fn a_refresh_of_the_peer_is_accepted_with_its_interval() {
    for method in ["INVITE", "UPDATE"] {
        let offer = Step::Offer(method, SDP.to_owned(), 200);
        let (reason, seen) =
            call(&answers(&[Step::Header("Session-Expires: 90;refresher=uac"), offer, Step::Press("#")]));
        assert_eq!(reason, None, "{method}");
        assert!(seen.matches("Session-Expires: 90").count() >= 2, "{seen}");
    }
}
