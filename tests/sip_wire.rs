//! Promises of the SIP trunk that are visible only on the wire or in the log, shown by the built library over real sockets:
//! OPTIONS, the address of CANCEL, retries after ringing, the marks of packets, and odd bytes.

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use phonegate::call::FailureReason;
use serde_json::{Value, json};
use support::handset::Handset;
use support::ports::{free_port, unused_address};
use support::service::Service;
use support::sip::{NUMBER, config};
use support::sip_server::{Reply, SipServer, status, verify};
use support::sipp::{Callee, Step, UNTIL_ASKED, answer_with, request_with};
use support::trunk::Trunk;

const RINGS: Step = Step::Answer(180, "Ringing", "");

fn server(transport: &'static str, replies: Vec<Reply>) -> SipServer {
    SipServer::start(transport, ([127, 0, 0, 1], free_port()).into(), replies)
}

fn service(trunk: Value) -> Service {
    Service::start(config(trunk, 60))
}

/// Sends OPTIONS outside of all dialogs to the service until it responds. Returns the response.
fn response_to_options(to: SocketAddr) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let from = socket.local_addr().unwrap();
    let options = format!(
        "OPTIONS sip:phonegate@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {from};rport;branch=z9hG4bKwire\r\nMax-Forwards: 70\r\n\
         From: <sip:pbx@{from}>;tag=pbx\r\nTo: <sip:phonegate@{to}>\r\nCall-ID: wire\r\nCSeq: 7 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let mut response = String::new();
    support::wait_until("OPTIONS is answered", || {
        socket.send_to(options.as_bytes(), to).unwrap();
        let mut buffer = [0; 65_536];
        let received = socket.recv_from(&mut buffer).map(|(length, source)| {
            assert_eq!(source, to, "the response comes from the socket that was asked");
            response = String::from_utf8_lossy(&buffer[..length]).into_owned();
        });
        received.is_ok()
    });
    response
}

/// Checks that a response to [`response_to_options`] is a 200 of the same transaction that names the accepted methods.
fn is_answer_to_options(response: &str) {
    assert!(response.starts_with("SIP/2.0 200 "), "{response}");
    for words in ["branch=z9hG4bKwire", "Call-ID: wire\r\n", "CSeq: 7 OPTIONS\r\n", "Allow: "] {
        assert!(response.contains(words), "{words} in {response}");
    }
}

#[test]
fn options_to_a_fixed_local_port_is_answered_without_a_call() {
    let (server, port) = (server("udp", verify()), free_port());
    let _service = service(json!({ "type": "sip", "trunk": server.uri(), "local_port": port }));
    is_answer_to_options(&response_to_options(([127, 0, 0, 1], port).into()));
    assert_eq!(server.rings(), 0);
}

#[test]
fn options_to_the_socket_of_a_call_is_answered() {
    let server = server("udp", vec![status(180), Reply::PickUp]);
    let service = service(json!({ "type": "sip", "trunk": server.uri() }));
    let id = service.initiate(NUMBER);
    let invite = server.receives("INVITE", 1).remove(0);
    server.receives("ACK", 1);
    is_answer_to_options(&response_to_options(invite.from));
    server.press();
    assert_eq!(service.ends(&id), None);
}

#[test]
fn options_within_a_call_is_answered_and_the_call_verifies() {
    for transport in ["udp", "tcp"] {
        let options = request_with("OPTIONS", "", "", "");
        let answered = Step::Raw("<recv response=\"200\"/>\n".to_owned());
        let before = [Step::Invite, RINGS, Step::PickUp, UNTIL_ASKED];
        let steps: Vec<_> =
            before.into_iter().chain([options, answered, Step::Press("#"), Step::Receive("BYE")]).collect();
        let callee = Callee::over(transport, &steps, 1);
        let service = service(callee.trunk());
        assert_eq!(service.ending(NUMBER), None, "{transport}");
        service.end();
        callee.finish();
    }
}

/// The first server answers 503, so the second one's phone rings, until the deadline.
#[test]
fn cancel_goes_to_the_second_server_after_a_failover() {
    for transport in ["udp", "tcp"] {
        let first = server(transport, vec![status(503)]);
        let second = server(transport, vec![status(180)]);
        let trunk = json!({ "type": "sip", "trunk": [first.uri(), second.uri()] });
        let service = Service::start(config(trunk, 4));
        let (reason, text) = service.ending(NUMBER).expect("it fails");
        assert_eq!(reason, FailureReason::DeadlinePassed, "{text}");
        let cancel = second.receives("CANCEL", 1).remove(0);
        service.end();
        let invite = second.requests("INVITE").remove(0);
        assert_eq!(cancel.from, invite.from, "{transport}: from the socket of the INVITE");
        for header in ["Via", "Call-ID", "From", "To"] {
            assert_eq!(cancel.header(header), invite.header(header), "{transport}: {header}");
        }
        assert_eq!((first.rings(), first.requests("CANCEL").len()), (1, 0), "{transport}");
        assert_eq!((second.rings(), second.requests("CANCEL").len()), (1, 1), "{transport}");
    }
}

/// Places a call to this callee, with credentials. Returns the log of sipp.
fn verified(steps: &[Step]) -> String {
    let callee = Callee::start(steps, 1);
    let mut trunk = callee.trunk();
    trunk["username"] = json!("mim");
    trunk["password"] = json!("right");
    let service = service(trunk);
    assert_eq!(service.ending(NUMBER), None);
    service.end();
    callee.finish()
}

/// Returns the INVITEs in a log of sipp, with each retransmission.
fn invites(messages: &str) -> Vec<&str> {
    let from_start = messages.split("INVITE sip:").skip(1);
    from_start.map(|rest| rest.split("\r\n\r\n").next().unwrap_or_default()).collect()
}

#[test]
fn a_407_after_ringing_is_answered_and_the_call_verifies() {
    let challenge = "Proxy-Authenticate: Digest realm=\"proxy\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"\n";
    let challenged = answer_with(407, "Proxy Authentication Required", challenge, "");
    let accepted = [Step::Invite, RINGS, Step::PickUp, UNTIL_ASKED, Step::Press("#"), Step::Receive("BYE")];
    let seen = verified(&[&[Step::Invite, RINGS, challenged][..], &accepted].concat());
    let invites = invites(&seen);
    let first = invites.first().unwrap();
    assert!(!first.contains("Proxy-Authorization:"), "{first}");
    let last = invites.last().unwrap();
    assert!(last.contains("Proxy-Authorization: Digest username=\"mim\""), "{last}");
}

#[test]
fn two_422_raise_the_interval_twice_and_the_call_verifies() {
    let refused = |interval| answer_with(422, "Session Interval Too Small", interval, "");
    let accepted = [Step::Invite, RINGS, Step::PickUp, UNTIL_ASKED, Step::Press("#"), Step::Receive("BYE")];
    let before = [Step::Invite, RINGS, refused("Min-SE: 600\n"), Step::Invite, RINGS, refused("Min-SE: 1200\n")];
    let seen = verified(&[&before[..], &accepted].concat());
    let invites = invites(&seen);
    for interval in [600, 1200] {
        let raised = |invite: &&str| {
            invite.contains(&format!("Session-Expires: {interval}")) && invite.contains(&format!("Min-SE: {interval}"))
        };
        assert!(invites.iter().any(raised), "{interval} in {invites:#?}");
    }
}

/// RFC 4594, section 3: EF, which is 46, for audio.
#[test]
fn packets_of_audio_are_marked_as_ef() {
    let (trunk, handset) = (Trunk::over("udp"), Handset::on("127.0.0.1"));
    let service = service(trunk.settings());
    let id = service.initiate(NUMBER);
    trunk.rings(NUMBER).pick_up(&handset);
    for _ in 0..20 {
        assert_eq!(handset.hear_traffic_class(), 46 << 2);
    }
    handset.press(handset.hear_prompt().from, '#');
    assert_eq!(service.ends(&id), None);
}

#[test]
fn an_sdp_answer_that_ends_with_a_nul_is_read() {
    for transport in ["udp", "tcp"] {
        let (trunk, handset) = (Trunk::over(transport), Handset::on("127.0.0.1"));
        let service = service(trunk.settings());
        let id = service.initiate(NUMBER);
        trunk.rings(NUMBER).pick_up_with(&(handset.sdp("0 101") + "\0"));
        handset.press(handset.hear_prompt().from, '#');
        assert_eq!(service.ends(&id), None, "{transport}");
    }
}

#[test]
fn a_start_warns_of_keys_that_are_not_authenticated() {
    for (transport, warns) in [("tcp", true), ("tls", false)] {
        let uri = format!("sip:{};transport={transport}", unused_address());
        let service = service(json!({ "type": "sip", "trunk": uri }));
        service.end();
        let log = service.log();
        let is_warning = |line: &&Value| {
            let text = line["text"].as_str().unwrap_or_default();
            line["event"] == "configuration" && text.starts_with("backends.trunk: keys are not authenticated: ")
        };
        assert_eq!(log.iter().filter(is_warning).count(), usize::from(warns), "{transport}: {log:#?}");
    }
}
