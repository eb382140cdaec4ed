//! Attacks on calls over a SIP trunk by an attacker who knows everything about the call. None of them approves the
//! call, ends it, diverts it, or obtains an answer to a challenge.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use phonegate::call::FailureReason;
use serde_json::{Value, json};
use support::attacker::{Attacker, Dialog};
use support::handset::{EVENTS, Handset, SSRC, event};
use support::ports::free_ports;
use support::service::{Ending, Service};
use support::sip::{NUMBER, config};
use support::sipp::{Callee, SDP, Step, UNTIL_ASKED, answer_with, request_with};

const RINGS: Step = Step::Answer(180, "Ringing", "");

/// The service in the built library, with this trunk.
fn service(trunk: Value) -> Service {
    Service::start(config(trunk, 60))
}

/// Returns the reason and the text of a failure: `None` and empty if the call was verified.
fn parts(ending: Ending) -> (Option<FailureReason>, String) {
    ending.map_or((None, String::new()), |(reason, text)| (Some(reason), text))
}

/// Runs an established call in which keys count, with an attack on its signalling. Returns how it ended.
fn attacked(
    handset: &Handset,
    callee: Callee,
    trunk: Value,
    attack: impl FnOnce(&Dialog, SocketAddr),
) -> (Option<FailureReason>, String) {
    let service = service(trunk);
    let call = service.initiate(NUMBER);
    let service_audio = handset.hear_prompt().from;
    attack(&Dialog::of(&callee), service_audio);
    let ending = service.ends(&call);
    service.end();
    parts(ending)
}

#[test]
fn an_info_from_another_address_never_approves() {
    let handset = Handset::on("127.0.0.1");
    let callee = handset.callee("0");
    let trunk = callee.trunk();
    let (reason, text) = attacked(&handset, callee, trunk, |dialog, _| {
        let response = Attacker::on("127.0.0.2").sends(dialog, "INFO", "application/dtmf-relay", "Signal=#\r\n");
        assert_eq!(response, None, "nobody answers it");
    });
    assert_eq!(reason, Some(FailureReason::NoKeyPressed), "{text}");
}

#[test]
fn a_re_invite_from_another_address_never_moves_the_audio() {
    let (handset, theirs) = (Handset::on("127.0.0.1"), Handset::on("127.0.0.2"));
    let callee = handset.callee("0 101");
    let trunk = callee.trunk();
    let (reason, text) = attacked(&handset, callee, trunk, |dialog, to| {
        let response = Attacker::on("127.0.0.2").sends(dialog, "INVITE", "application/sdp", &theirs.sdp("0 101"));
        assert_eq!(response, None, "nobody answers it");
        theirs.press(to, '#');
    });
    assert_eq!(reason, Some(FailureReason::NoKeyPressed), "{text}");
}

#[test]
fn a_bye_from_another_address_never_ends_a_call() {
    let handset = Handset::on("127.0.0.1");
    let callee = handset.callee("0 101");
    let trunk = callee.trunk();
    let (reason, text) = attacked(&handset, callee, trunk, |dialog, to| {
        assert_eq!(Attacker::on("127.0.0.2").sends(dialog, "BYE", "", ""), None, "no response");
        handset.press(to, '#');
    });
    assert_eq!(reason, None, "{text}");
}

/// An address that `signalling_addresses` names is the trunk's, whether it is named by number or by name.
#[test]
fn an_address_in_signalling_addresses_is_accepted() {
    for (at, named, from) in [
        ("127.0.0.1", json!(["127.0.0.3", "127.0.0.2"]), "127.0.0.2"),
        ("127.0.0.2", json!(["localhost"]), "127.0.0.1"),
    ] {
        let handset = Handset::on("127.0.0.1");
        let steps = [Step::Invite, RINGS, Step::PickUpWith(handset.sdp("0 101")), Step::Receive("BYE")];
        let callee = Callee::on(at, "udp", &steps, 1);
        let mut trunk = callee.trunk();
        trunk["signalling_addresses"] = named.clone();
        trunk["local_address"] = json!("127.0.0.1");
        let (reason, text) = attacked(&handset, callee, trunk, |dialog, _| {
            let response = Attacker::on(from).sends(dialog, "BYE", "", "");
            assert!(response.is_some_and(|response| response.starts_with("SIP/2.0 200")), "{named}");
        });
        assert_eq!(reason, Some(FailureReason::CallEnded), "{text}");
    }
}

/// Responses from an address that the trunk's name does not have are dropped, and the failure says what to do.
#[test]
fn a_response_from_another_address_is_named_in_the_failure() {
    let trunk = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = trunk.local_addr().unwrap();
    std::thread::spawn(move || {
        let elsewhere = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
        let mut buffer = [0; 65_536];
        while let Ok((length, from)) = trunk.recv_from(&mut buffer) {
            let invite = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let copied = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
            let headers = invite.lines().filter(|line| copied.iter().any(|name| line.starts_with(name)));
            let headers: String = headers.map(|line| format!("{line}\r\n")).collect();
            let busy = format!("SIP/2.0 486 Busy Here\r\n{headers}Content-Length: 0\r\n\r\n");
            let _ = elsewhere.send_to(busy.as_bytes(), from);
        }
    });
    let service = service(json!({ "type": "sip", "trunk": format!("sip:{address}") }));
    let (reason, text) = service.ending(NUMBER).unwrap();
    assert_eq!(reason, FailureReason::CannotPlace, "{text}");
    assert!(
        text.contains("no response to OPTIONS within 4 s") && text.contains("the last one from 127.0.0.2"),
        "{text}"
    );
    assert!(text.contains("`signalling_addresses`"), "{text}");
}

/// Audio in sequence and whole trains of key events to 100 pairs of ports, from the address of the audio and from another
/// one, before the callee has sent anything and after. With `learn_media_port`, another port of the callee's own address
/// would be heard before it has: that case is omitted.
#[test]
fn audio_and_events_sprayed_over_every_port_never_approve() {
    const PAIRS: u16 = 100;
    for (from, speaks, learns) in [
        ("127.0.0.1", false, false),
        ("127.0.0.1", true, false),
        ("127.0.0.1", true, true),
        ("127.0.0.2", false, true),
        ("127.0.0.2", true, false),
    ] {
        let handset = Handset::on("127.0.0.1");
        let callee = handset.callee("0 101");
        let first = free_ports(2 * PAIRS);
        let mut trunk = callee.trunk();
        trunk["rtp_ports"] = json!({ "first": first, "last": first + 2 * PAIRS - 1 });
        trunk["learn_media_port"] = json!(learns);
        let (reason, text) = attacked(&handset, callee, trunk, |_, to| {
            if speaks {
                handset.talk(to, 1);
                handset.wait(Duration::from_millis(100));
            }
            let attacker = Handset::on(from);
            for port in (first..first + 2 * PAIRS).step_by(2) {
                let to = SocketAddr::new(to.ip(), port);
                for _ in 0..20 {
                    attacker.send(to, 0, 160, &[0xff; 160]);
                }
                attacker.press(to, '#');
                // As close to the callee's own audio as possible.
                attacker.press_in(SSRC + 1, to, '#');
            }
        });
        assert_eq!(reason, Some(FailureReason::NoKeyPressed), "from {from}, {speaks}, {learns}: {text}");
    }
}

#[test]
fn a_single_event_packet_never_approves() {
    let handset = Handset::on("127.0.0.1");
    let callee = handset.callee("0 101");
    let trunk = callee.trunk();
    let (reason, text) = attacked(&handset, callee, trunk, |_, to| {
        handset.send(to, EVENTS, handset.next_event(), &event('#', true, 1280));
    });
    assert_eq!(reason, Some(FailureReason::NoKeyPressed), "{text}");
}

/// The network loses the rest of the fraud key's packets: the user meant to report a fraud.
#[test]
fn a_pound_key_after_one_packet_of_the_fraud_key_never_approves() {
    let handset = Handset::on("127.0.0.1");
    let callee = handset.callee("0 101");
    let trunk = callee.trunk();
    let (reason, text) = attacked(&handset, callee, trunk, |_, to| {
        handset.send(to, EVENTS, handset.next_event(), &event('0', true, 1280));
        handset.press(to, '#');
    });
    assert_eq!(reason, Some(FailureReason::WrongKey), "{text}");
}

/// From the address and port of the audio, but of another SSRC.
#[test]
fn events_of_another_stream_than_the_audio_never_approve() {
    let handset = Handset::on("127.0.0.1");
    let callee = handset.callee("0 101");
    let trunk = callee.trunk();
    let (reason, text) = attacked(&handset, callee, trunk, |_, to| {
        handset.send(to, 0, 160, &[0xff; 160]);
        handset.press_in(78, to, '#');
        // Audio of that stream makes no difference.
        handset.send_in(78, to, 0, 320, &[0xff; 160]);
        handset.press_in(78, to, '#');
    });
    assert_eq!(reason, Some(FailureReason::NoKeyPressed), "{text}");
}

#[test]
fn a_stray_packet_before_the_first_audio_has_no_effect() {
    let handset = Handset::on("127.0.0.1");
    let callee = handset.callee("0 101");
    let trunk = callee.trunk();
    let (reason, text) = attacked(&handset, callee, trunk, |_, to| {
        Handset::on("127.0.0.1").send(to, 0, 160, &[0xff; 160]);
        handset.wait(Duration::from_millis(100));
        handset.press(to, '#');
    });
    assert_eq!(reason, None, "{text}");
}

/// From the trunk itself: with telephone events, INFO digits do not count.
#[test]
fn an_info_never_approves_with_telephone_events() {
    let info = Step::InfoRefused("application/dtmf-relay", "Signal=#\r\n");
    let callee = Callee::start(&[Step::Invite, RINGS, Step::PickUp, UNTIL_ASKED, info, Step::Receive("BYE")], 1);
    let service = service(callee.trunk());
    assert_eq!(service.ending(NUMBER).map(|(reason, _)| reason), Some(FailureReason::NoKeyPressed));
    service.end();
    callee.finish();
}

#[test]
fn a_redirection_to_another_number_is_not_followed() {
    for number in ["+14255550199", "+14255551213", "+14255551212x1"] {
        let moved = format!("Contact: <sip:{number}@127.0.0.1:[local_port]>\n");
        let steps = [Step::Invite, answer_with(302, "Moved", &moved, ""), Step::Wait(500)];
        let callee = Callee::start(&steps, 1);
        let mut config = config(callee.trunk(), 60);
        config["numbers"] = json!({ "default_country": "US", "blocked": ["+14255550199"] });
        let service = Service::start(config);
        let (reason, text) = service.ending(NUMBER).expect("it fails");
        service.end();
        assert_eq!(reason, FailureReason::CannotPlace, "{text}");
        assert!(text.contains("to another number") && text.contains("302 Moved"), "{text}");
        assert_eq!(callee.rings(number), 0, "{number}");
        callee.finish();
    }
}

const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"sbc\", nonce=\"abc\", algorithm=MD5, qop=\"auth\"\n";

fn with_password(callee: &Callee) -> Value {
    let mut trunk = callee.trunk();
    trunk["username"] = json!("mim");
    trunk["password"] = json!("right");
    trunk
}

/// The 200 of the callee, with these headers and this Contact.
fn ok(headers: &str, contact: &str) -> String {
    let Step::Raw(answer) = answer_with(200, "OK", headers, SDP) else { unreachable!() };
    let usual = "<sip:callee@[local_ip]:[local_port];transport=[transport]>";
    assert!(answer.contains(usual), "{answer}");
    if contact.is_empty() { answer } else { answer.replace(usual, contact) }
}

/// The trunk names another host in its 200, and again in a re-INVITE. It repeats its 200, and challenges requests of the
/// call. Nothing arrives at the other host.
#[test]
fn a_foreign_contact_or_route_never_gets_credentials() {
    let spy = Attacker::on("127.0.0.2");
    let elsewhere = format!("<sip:callee@{}>", spy.address());
    let route = format!("Record-Route: <sip:{};lr>\n", spy.address());
    let behind = format!("Record-Route: <sip:127.0.0.1:[local_port];lr>, <sip:{};lr>\n", spy.address());
    let refresh = request_with("INVITE", "", "application/sdp", SDP);
    let Step::Raw(refresh) = refresh else { unreachable!() };
    let refresh = refresh.replace("<sip:callee@[local_ip]:[local_port];transport=[transport]>", &elsewhere);
    let Step::Raw(ack) = request_with("ACK", "", "", "") else { unreachable!() };
    let refresh = refresh + "<recv response=\"200\"/>\n" + &ack.replace(" retrans=\"500\"", "");
    for (what, headers, contact, refresh) in [
        ("Contact", "", &*elsewhere, ""),
        ("Contact by name", "", "<sip:callee@attacker.invalid>", ""),
        ("Record-Route", &*route, "", ""),
        ("Record-Route before the trunk's", &*behind, "", ""),
        ("Contact of a re-INVITE", "", "", &*refresh),
    ] {
        let answer = ok(headers, contact);
        // Sent again after its ACK, which is then repeated.
        let again = answer.split("<recv").next().unwrap().replace(" retrans=\"500\"", "");
        let again = again.replace("[last_CSeq:]", "CSeq: 2 INVITE").replace("[last_Via:]", "Via:[$via]");
        let again = again.replace("[last_To:];tag=callee[call_number]", "[last_To:]");
        let steps = [
            Step::Invite,
            answer_with(401, "Unauthorized", CHALLENGE, ""),
            Step::Invite,
            RINGS,
            Step::Raw(answer),
            Step::Wait(200),
            Step::Raw(again),
            UNTIL_ASKED,
            Step::Raw(refresh.to_owned()),
            Step::Press("#"),
            Step::Receive("BYE"),
        ];
        let callee = Callee::start(&steps, 1);
        let service = service(with_password(&callee));
        let ended = service.ending(NUMBER);
        service.end();
        assert_eq!(spy.receives(), None, "{what}");
        assert_eq!(ended, None, "{what}: {}", callee.messages());
        callee.finish();
    }
}

const STRONG: &str = "WWW-Authenticate: Digest realm=\"sbc\", nonce=\"abc\", algorithm=SHA-256, qop=\"auth\"\n";

#[test]
fn a_weaker_algorithm_within_a_call_gets_no_credentials() {
    let strong = || [Step::Invite, answer_with(401, "Unauthorized", STRONG, "")];
    let moved = "Contact: <sip:+14255551212@127.0.0.1:[local_port]>\n";
    for weaker in [
        "WWW-Authenticate: Digest realm=\"sbc\", nonce=\"d\", algorithm=MD5, qop=\"auth\", stale=true\n",
        "WWW-Authenticate: Digest realm=\"sbc\", nonce=\"d\", stale=true\n",
        "WWW-Authenticate: Digest realm=\"other\", nonce=\"d\", algorithm=MD5, qop=\"auth\"\n",
    ] {
        for redirected in [false, true] {
            let mut steps = strong().to_vec();
            if redirected {
                steps.extend([Step::Invite, answer_with(302, "Moved", moved, "")]);
            }
            // sipp runs for a while longer, and would log a response.
            steps.extend([Step::Invite, answer_with(401, "Unauthorized", weaker, ""), Step::Wait(500)]);
            let callee = Callee::start(&steps, 1);
            let service = service(with_password(&callee));
            let (reason, text) = service.ending(NUMBER).expect("it fails");
            service.end();
            let seen = callee.finish();
            assert_eq!(seen.matches("nonce=\"d\"").count(), 1, "in the challenge alone: {seen}");
            assert_eq!(reason, FailureReason::NotConfigured, "{text}");
            assert!(text.contains("weaker"), "{text}");
        }
    }
}

#[test]
fn a_weaker_algorithm_for_the_bye_gets_no_credentials() {
    let weaker = "WWW-Authenticate: Digest realm=\"sbc\", nonce=\"d\", algorithm=MD5, qop=\"auth\", stale=true\n";
    let steps = [
        Step::Invite,
        answer_with(401, "Unauthorized", STRONG, ""),
        Step::Invite,
        RINGS,
        Step::PickUp,
        UNTIL_ASKED,
        Step::Press("#"),
        Step::Raw("<recv request=\"BYE\" crlf=\"true\"/>\n".to_owned()),
        Step::Answer(401, "Unauthorized", weaker),
        Step::Wait(1000),
    ];
    let callee = Callee::start(&steps, 1);
    let service = service(with_password(&callee));
    assert_eq!(service.ending(NUMBER), None);
    service.end();
    let seen = callee.finish();
    assert_eq!(seen.matches("nonce=\"d\"").count(), 1, "in the challenge alone: {seen}");
}
