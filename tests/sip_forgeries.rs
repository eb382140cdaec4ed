//! Forged SIP messages about a call. Those from the trunk's own address lack one part of the call's identity; those from
//! another address have all of it. None of them answers the call, ends it, moves its audio or approves it.
//!
//! Over UDP, a sender with the trunk's own address and the whole identity of a call cannot be distinguished from the
//! trunk: docs/security.md.

mod support;

use std::net::SocketAddr;

use serde_json::json;
use support::attacker::{Attacker, Dialog};
use support::handset::Handset;
use support::service::{Ending, Service};
use support::sip::{NUMBER, config};
use support::trunk::{RingingCall, Trunk, response};

/// The trunk's address, and another one.
const TRUNK: &str = "127.0.0.1";
const ELSEWHERE: &str = "127.0.0.2";

/// Returns the attackers, and what each knows of a call.
fn forgers(dialog: &Dialog) -> [(&'static str, Attacker, Dialog); 4] {
    [
        ("another callee", Attacker::on(TRUNK), dialog.with_another_callee()),
        ("another caller", Attacker::on(TRUNK), dialog.with_another_caller()),
        ("two others", Attacker::on(TRUNK), dialog.with_another_callee().with_another_caller()),
        ("everything, from elsewhere", Attacker::on(ELSEWHERE), dialog.clone()),
    ]
}

fn is_at_trunk(attacker: &Attacker) -> bool {
    attacker.address().ip().to_string() == TRUNK
}

/// Returns the audio socket of an attacker, and a description that names it.
fn diverted() -> (Handset, String) {
    let theirs = Handset::on(TRUNK);
    let sdp = theirs.sdp("0 101");
    (theirs, sdp)
}

/// A service that asks for a long time.
fn service(trunk: &Trunk) -> Service {
    let mut config = config(trunk.settings(), 60);
    config["prompts"]["repeat"] = json!(10);
    Service::start(config)
}

/// A call that rings at a trunk over UDP, and is answered after `ringing`; then its first prompt is heard, and `asked`
/// happens. How it ends, and that the trunk has got the only ACK and the only BYE.
fn call(ringing: impl FnOnce(&Dialog), asked: impl FnOnce(&Handset, SocketAddr, &Dialog)) -> Ending {
    let (trunk, handset) = (Trunk::over("udp"), Handset::on(TRUNK));
    let service = service(&trunk);
    let id = service.initiate(NUMBER);
    let call = trunk.rings(NUMBER);
    service.logs(&id, "ringing");
    ringing(&call.dialog());
    assert!(service.is_pending(&id), "nothing has answered or ended it");
    call.pick_up(&handset);
    let audio = handset.hear_prompt().from;
    asked(&handset, audio, &call.dialog());
    let ending = service.ends(&id);
    service.end();
    for method in ["ACK", "BYE"] {
        let tags = tags(&call, method);
        assert!(tags.iter().all(|tag| tag == "trunk") && !tags.is_empty(), "{method} to {tags:?}");
    }
    assert_eq!(trunk.calls(), 1, "no other phone was rung");
    ending
}

/// The callee's tags in the requests of this method.
fn tags(call: &RingingCall<'_>, method: &str) -> Vec<String> {
    let to = |request: &String| request.lines().find(|line| line.starts_with("To:")).unwrap_or_default().to_owned();
    let tag = |to: String| to.split(";tag=").nth(1).unwrap_or_default().to_owned();
    call.requests(method).iter().map(to).map(tag).collect()
}

#[test]
fn forged_responses_never_establish_or_end_a_ringing_call() {
    let (theirs, sdp) = diverted();
    let answered = call(
        |dialog| {
            let forgers = [
                ("another branch", Attacker::on(TRUNK), dialog.with_another_branch()),
                ("another caller", Attacker::on(TRUNK), dialog.with_another_caller()),
                ("everything, from elsewhere", Attacker::on(ELSEWHERE), dialog.clone()),
            ];
            for (knows, attacker, dialog) in forgers {
                for status in ["200 OK", "180 Ringing", "302 Moved", "401 Unauthorized", "486 Busy", "487 Cancelled"] {
                    attacker.responds(&dialog, status, &sdp);
                    attacker.responds(&dialog.with_another_callee(), status, &sdp);
                }
                assert_eq!(attacker.receives(), None, "{knows}: no ACK and nothing else");
            }
        },
        |handset, audio, _| handset.press(audio, '#'),
    );
    assert_eq!(answered, None);
    assert!(!theirs.has_heard(), "no audio went to the attacker");
}

#[test]
fn forged_responses_never_change_an_established_call() {
    let (theirs, sdp) = diverted();
    let answered = call(
        |_| {},
        |handset, audio, dialog| {
            let forgers = [
                ("another branch", Attacker::on(TRUNK), dialog.with_another_branch()),
                ("another caller", Attacker::on(TRUNK), dialog.with_another_caller()),
                ("everything, from elsewhere", Attacker::on(ELSEWHERE), dialog.with_another_callee()),
            ];
            for (knows, attacker, dialog) in forgers {
                for status in ["200 OK", "486 Busy", "487 Cancelled", "503 Overloaded"] {
                    attacker.responds(&dialog, status, &sdp);
                }
                assert_eq!(attacker.receives(), None, "{knows}: no ACK and nothing else");
            }
            // Rejections of the INVITE after its 2xx have no effect.
            let late = Attacker::on(TRUNK);
            for status in ["486 Busy", "487 Cancelled", "503 Overloaded"] {
                late.responds(dialog, status, "");
            }
            handset.press(audio, '#');
        },
    );
    assert_eq!(answered, None);
    assert!(!theirs.has_heard(), "no audio went to the attacker");
}

#[test]
fn forged_requests_never_change_a_call() {
    let (theirs, sdp) = diverted();
    let answered = call(
        |_| {},
        |handset, audio, dialog| {
            for (knows, attacker, dialog) in forgers(dialog) {
                for (method, kind, body) in [
                    ("BYE", "", ""),
                    ("CANCEL", "", ""),
                    ("INVITE", "application/sdp", &*sdp),
                    ("UPDATE", "application/sdp", &*sdp),
                    ("INFO", "application/dtmf-relay", "Signal=0\r\n"),
                ] {
                    attacker.requests(&dialog, method, kind, body);
                    if is_at_trunk(&attacker) {
                        let response = attacker.receives().unwrap_or_default();
                        assert!(response.starts_with("SIP/2.0 481 "), "{knows}: {method}: {response}");
                    }
                }
                if !is_at_trunk(&attacker) {
                    assert_eq!(attacker.receives(), None, "{knows}");
                }
            }
            // If it counted, the entry would report a fraud.
            theirs.press(audio, '0');
            handset.press(audio, '#');
        },
    );
    assert_eq!(answered, None);
    assert!(!theirs.has_heard(), "no audio went to the attacker");
}

/// A 200 of another phone is hung up, and the call that was established first continues.
#[test]
fn a_second_2xx_never_takes_the_call() {
    let (trunk, handset, theirs) = (Trunk::over("udp"), Handset::on(TRUNK), Handset::on(TRUNK));
    let service = service(&trunk);
    let id = service.initiate(NUMBER);
    let call = trunk.rings(NUMBER);
    call.pick_up(&handset);
    let audio = handset.hear_prompt().from;
    let (second, dialog) = (Attacker::on(TRUNK), call.dialog().with_another_callee());
    second.responds(&dialog, "200 OK", &theirs.sdp("0 101"));
    support::wait_until("the second phone is hung up on", || {
        let request = second.receives().unwrap_or_default();
        let is_bye = request.starts_with("BYE ");
        if is_bye {
            second.send(&dialog, response(&request, "200 OK", "").as_bytes());
        }
        is_bye
    });
    // If it counted, the entry would report a fraud.
    theirs.press(audio, '0');
    handset.press(audio, '#');
    assert_eq!(service.ends(&id), None);
    service.end();
    assert!(!theirs.has_heard(), "no audio went to the second phone");
}

/// A phone that rang but did not get the call knows the whole identity of the call, except the tag of the phone that has
/// it. Its keys do not count.
#[test]
fn an_info_of_another_ringing_phone_never_counts() {
    let (trunk, handset) = (Trunk::over("udp"), Handset::on(TRUNK));
    let service = service(&trunk);
    let id = service.initiate(NUMBER);
    let call = trunk.rings(NUMBER);
    let (phone, other, dialog) = (Attacker::on(TRUNK), Attacker::on(TRUNK), call.dialog());
    let others = dialog.with_another_callee();
    other.responds(&others, "180 Ringing", "");
    // Without key events, keys come by INFO.
    call.pick_up_with(&handset.sdp("0"));
    handset.hear_prompt();
    // If it counted, the entry would report a fraud.
    let response = other.sends(&others, "INFO", "application/dtmf-relay", "Signal=0\r\n").unwrap_or_default();
    assert!(response.starts_with("SIP/2.0 481 "), "{response}");
    let response = phone.sends(&dialog, "INFO", "application/dtmf-relay", "Signal=#\r\n").unwrap_or_default();
    assert!(response.starts_with("SIP/2.0 200 "), "{response}");
    assert_eq!(service.ends(&id), None);
    service.end();
}

/// A datagram with the address of a trunk over UDP never belongs to a call over a connection, whatever its sender knows:
/// sources of datagrams can be forged.
#[test]
fn a_datagram_never_belongs_to_a_call_over_a_connection() {
    let (trunk, second, handset) = (Trunk::over("tcp"), Attacker::on(TRUNK), Handset::on(TRUNK));
    let mut settings = trunk.settings();
    let first = settings["trunk"].take();
    settings["trunk"] = json!([first, format!("sip:{};transport=udp", second.address())]);
    let mut config = config(settings, 60);
    config["prompts"]["repeat"] = json!(10);
    let service = Service::start(config);
    let id = service.initiate(NUMBER);
    let call = trunk.rings(NUMBER);
    let (theirs, sdp) = diverted();
    call.pick_up_with(&handset.sdp("0"));
    handset.hear_prompt();
    // The second trunk is probed, so PhoneGate has a socket for datagrams.
    let options =
        std::iter::repeat_with(|| second.receives()).flatten().find(|request| request.starts_with("OPTIONS "));
    let dialog = call.dialog();
    let forged = dialog.at_sender_of(&options.expect("a probe"));
    for (method, kind, body) in [
        ("INFO", "application/dtmf-relay", "Signal=0\r\n"),
        ("BYE", "", ""),
        ("INVITE", "application/sdp", &*sdp),
        ("UPDATE", "application/sdp", &*sdp),
    ] {
        second.requests(&forged, method, kind, body);
        // OPTIONS may come in between.
        let mut received = std::iter::repeat_with(|| second.receives().expect("a response"));
        let response = received.find(|message| message.starts_with("SIP/2.0 ")).unwrap();
        assert!(response.starts_with("SIP/2.0 481 "), "{method}: {response}");
    }
    let info = dialog.request(("TCP", second.address()), 1, "INFO");
    let info = format!("{info}Content-Type: application/dtmf-relay\r\nContent-Length: 10\r\n\r\nSignal=#\r\n");
    trunk.connection().write(info.as_bytes()).unwrap();
    assert_eq!(service.ends(&id), None);
    service.end();
    assert!(!theirs.has_heard(), "no audio went to the attacker");
}
