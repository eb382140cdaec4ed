//! Messages that try to send requests or credentials elsewhere, and forged requests without knowledge of the dialog.

use std::net::SocketAddr;
use std::time::Duration;

use phonegate_sip::agent::{CallEvent, EndCause, Reply, Transport};
use phonegate_sip::auth::{Algorithm, AuthError};

use crate::net::scenario::{Path, Scenario, TCP, UDP, both, remote};
use crate::net::text::{Text, header, sdp};

const FOREIGN: &str = "203.0.113.66";

/// Headers of a dialog that name a host which is not the trunk's.
const FOREIGN_HOSTS: &[&[&str]] = &[
    &["Contact: <sip:callee@203.0.113.66:5099>"],
    &["Contact: <sip:callee@evil.example.com>"],
    &["Contact: <sip:callee@192.0.2.7;maddr=203.0.113.66>"],
    &["Contact: <sip:callee@192.0.2.7>", "Record-Route: <sip:203.0.113.66:5099;lr>"],
    &["Contact: <sip:callee@192.0.2.7>", "Record-Route: <sip:203.0.113.66>"],
    &["Contact: <sip:callee@192.0.2.7>", "Record-Route: <sip:192.0.2.7;lr;maddr=203.0.113.66>"],
    &["Contact: <sip:callee@203.0.113.66>", "Record-Route: <sip:p.example.net;lr>, <sip:203.0.113.66:5070;lr>"],
];

/// The network fails the test if a request goes to another host than the flow's.
#[test]
fn no_request_follows_a_foreign_contact_or_route() {
    for lines in FOREIGN_HOSTS {
        both(|scenario| {
            let (call, invite) = scenario.invite();
            let challenge = "Proxy-Authenticate: Digest realm=\"trunk\", nonce=\"n1\", algorithm=SHA-256, qop=\"auth\"";
            scenario.send(&Text::reply(&invite, "407 Proxy Authentication Required").tag("x").line(challenge));
            scenario.receive("ACK");
            let invite = scenario.receive("INVITE");
            assert!(matches!(scenario.call_event(), CallEvent::Retried(_)), "the challenge is answered");
            let with = |text: Text| lines.iter().fold(text, |text, line| text.line(line));
            let ringing = with(Text::reply(&invite, "180 Ringing").tag("callee"));
            scenario.send(&ringing.line("Require: 100rel").line("RSeq: 1"));
            let prack = scenario.receive("PRACK");
            scenario.progress();
            scenario.reply(&prack, "200 OK");
            scenario.send(&with(Text::reply(&invite, "200 OK").tag("callee")).sdp("callee"));
            scenario.receive("ACK");
            scenario.answered();
            scenario.hang_up(call);
            let bye = scenario.receive_at("BYE");
            assert_eq!(bye.destination, remote(scenario.path), "not even the foreign port counts: {lines:?}");
            scenario.reply(&bye.message, "200 OK");
            assert!(!scenario.ended().may_still_ring, "the trunk confirmed the end");
            assert!(scenario.net.strays.is_empty(), "nothing went elsewhere");
            scenario.nothing_left();
        });
    }
}

/// A Via names the destination of a response, but nothing is sent to a host from which the request did not come.
#[test]
fn no_response_follows_a_foreign_via() {
    for via in [
        "SIP/2.0/UDP 203.0.113.66:5060;branch=z9hG4bKa1",
        "SIP/2.0/UDP 203.0.113.66:5060;branch=z9hG4bKa2;rport",
        "SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKa3;maddr=203.0.113.66",
        "SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKa4;received=203.0.113.66;rport=9",
        "SIP/2.0/UDP evil.example.com;branch=z9hG4bKa5",
    ] {
        let mut scenario = Scenario::new(UDP);
        let (call, mut dialog) = scenario.answered_call();
        scenario.send(&dialog.request("OPTIONS").replace("Via", format!("Via: {via}")));
        let response = scenario.receive_at("200 OPTIONS");
        assert_eq!(response.destination.ip(), remote(UDP).ip(), "{via}");
        assert!(scenario.net.strays.is_empty(), "nothing goes to {FOREIGN}");
        scenario.finish(call);
    }
}

/// `stale=true` does not excuse a weaker algorithm.
#[test]
fn a_digest_is_never_downgraded_in_an_invite() {
    for stale in ["", ", stale=true"] {
        both(|scenario| {
            let (_, invite) = scenario.invite();
            let challenge = |algorithm: &str, nonce: &str, stale: &str| {
                format!("Proxy-Authenticate: Digest realm=\"t\", nonce=\"{nonce}\", algorithm={algorithm}{stale}")
            };
            let first = Text::reply(&invite, "407 Proxy Authentication Required").tag("x");
            scenario.send(&first.line(challenge("SHA-256", "n1", "")));
            scenario.receive("ACK");
            let invite = scenario.receive("INVITE");
            assert!(matches!(scenario.call_event(), CallEvent::Retried(_)), "SHA-256 is answered");
            let second = Text::reply(&invite, "407 Proxy Authentication Required").tag("x");
            scenario.send(&second.line(challenge("MD5", "n2", stale)));
            scenario.receive("ACK");
            let EndCause::AuthenticationFailed(_, error) = scenario.ended().cause else {
                panic!("MD5 is not answered")
            };
            let weaker = AuthError::WeakerAlgorithm { offered: Algorithm::Md5, required: Algorithm::Sha256 };
            assert_eq!(error, weaker, "the end says why");
            scenario.nothing_left();
        });
    }
}

#[test]
fn a_challenge_other_than_digest_gets_no_credentials() {
    for challenge in
        ["Basic realm=\"trunk\"", "Digest realm=\"trunk\"", "Digest realm=\"t\", nonce=\"n\", algorithm=ROT13"]
    {
        both(|scenario| {
            scenario.place(scenario.call());
            let invite = scenario.receive("INVITE");
            let rejection = Text::reply(&invite, "401 Unauthorized").tag("x");
            scenario.send(&rejection.line(format!("WWW-Authenticate: {challenge}")));
            scenario.receive("ACK");
            let ended = scenario.ended();
            assert!(matches!(ended.cause, EndCause::AuthenticationFailed(..)), "{challenge}: {ended:?}");
            scenario.nothing_left();
        });
    }
}

/// A node that knows the Call-ID, but not the tags.
#[test]
fn a_request_with_wrong_tags_ends_nothing() {
    both(|scenario| {
        let (call, dialog) = scenario.answered_call();
        for (header, value) in [
            ("From", "From: <sip:callee@192.0.2.7>;tag=guess".to_owned()),
            ("From", "From: <sip:callee@192.0.2.7>".to_owned()),
            (
                "From",
                dialog.local.to_uppercase().replacen("TO:", "From:", 1).replace("TAG=", "tag=").replacen(
                    "<SIP",
                    "From: <SIP",
                    1,
                ),
            ),
            ("To", "To: <sip:gate@192.0.2.7>;tag=guess".to_owned()),
            ("Call-ID", format!("Call-ID: {}", dialog.call_id.to_uppercase() + "X")),
        ] {
            for method in ["BYE", "INVITE", "UPDATE", "INFO"] {
                let mut peer = dialog.clone();
                peer.local = dialog.local.clone();
                let mut branch = peer.request(method).replace(header, &value);
                let unique = format!("{}{}{}", header, value.len(), method);
                let transport = if scenario.is_udp() { "UDP" } else { "TCP" };
                branch =
                    branch.replace("Via", format!("Via: SIP/2.0/{transport} 192.0.2.7;branch=z9hG4bK{unique};rport"));
                scenario.send(&if method == "INVITE" || method == "UPDATE" { branch.sdp("evil") } else { branch });
                scenario.receive(&format!("481 {method}"));
            }
        }
        scenario.quiet(Duration::from_secs(40));
        let mut unread = Vec::new();
        scenario.take_new(&mut unread);
        scenario.finish(call);
    });
}

/// Call-ID, CSeq and both tags must be those of the request, whatever the branch says.
#[test]
fn a_response_to_another_dialog_changes_nothing() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        let (call_id, from) = (header(&invite, "Call-ID"), header(&invite, "From"));
        for (name, line) in [
            ("Call-ID", format!("Call-ID: {call_id}x")),
            ("Call-ID", format!("Call-ID: {}", call_id.to_uppercase())),
            ("From", format!("From: {from}x")),
            ("CSeq", "CSeq: 99 INVITE".to_owned()),
            ("CSeq", "CSeq: 1 OPTIONS".to_owned()),
        ] {
            for status in ["180 Ringing", "200 OK", "401 Unauthorized", "486 Busy Here"] {
                let forged = scenario.in_dialog(&invite, status, "evil").replace(name, &line).sdp("evil");
                scenario.net.send(scenario.link, forged.build());
            }
        }
        scenario.quiet(Duration::from_millis(300));
        scenario.answer(&invite, "callee");
        scenario.hang_up(call);
        let bye = scenario.receive("BYE");
        let to = header(&bye, "To");
        scenario.send(&Text::reply(&bye, "200 OK").replace("To", format!("To: {to}x")));
        scenario.quiet(Duration::from_millis(300));
        scenario.reply(&bye, "200 OK");
        scenario.ended();
        scenario.nothing_left();
    });
}

/// An attacker sends guessed messages, from its own address and from the trunk's.
#[test]
fn guessed_messages_end_no_call() {
    let stranger: SocketAddr = "203.0.113.66:5060".parse().expect("it is an address");
    for source in [stranger, remote(UDP)] {
        let mut scenario = Scenario::new(UDP);
        let (call, _) = scenario.answered_call();
        for (index, method) in ["BYE", "CANCEL", "INVITE", "ACK", "UPDATE", "INFO", "REGISTER"].into_iter().enumerate()
        {
            for tag in ["", ";tag=1"] {
                let text = Text::new(format!("{method} sip:gate@192.0.2.1:5060 SIP/2.0"))
                    .line(format!("Via: SIP/2.0/UDP {source};branch=z9hG4bKs{index}{}", tag.len()))
                    .line("From: <sip:+14255550100@192.0.2.7>;tag=1")
                    .line(format!("To: <sip:gate@192.0.2.7>{tag}"))
                    .line(format!("Call-ID: {index}"))
                    .line(format!("CSeq: 1 {method}"));
                scenario.net.send_from(scenario.link, source, text.build());
            }
        }
        scenario.wait(Duration::from_secs(40));
        let mut responses = Vec::new();
        scenario.take_new(&mut responses);
        scenario.quiet(Duration::from_secs(5));
        scenario.finish(call);
    }
}

#[test]
fn a_digest_is_never_downgraded_in_a_bye() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        let challenge = "Proxy-Authenticate: Digest realm=\"t\", nonce=\"n1\", algorithm=SHA-256, qop=\"auth\"";
        scenario.send(&Text::reply(&invite, "407 Proxy Authentication Required").tag("x").line(challenge));
        scenario.receive("ACK");
        let invite = scenario.receive("INVITE");
        assert!(matches!(scenario.call_event(), CallEvent::Retried(_)), "SHA-256 is answered");
        scenario.answer(&invite, "callee");
        scenario.hang_up(call);
        let bye = scenario.receive("BYE");
        let weaker = "Proxy-Authenticate: Digest realm=\"t\", nonce=\"n2\", algorithm=MD5, stale=true";
        scenario.send(&Text::reply(&bye, "407 Proxy Authentication Required").line(weaker));
        let ended = scenario.ended();
        assert_eq!(ended.cause, EndCause::HungUp, "the caller hung up");
        assert!(ended.may_still_ring, "the peer did not take the BYE");
        scenario.nothing_left();
    });
}

/// A node that knows all but the branch, which is the agent's secret.
#[test]
fn a_response_with_a_wrong_branch_changes_nothing() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        let via = header(&invite, "Via");
        let branch = invite.top_via().unwrap().branch().unwrap().to_owned();
        for guess in [
            "z9hG4bKguess".to_owned(),
            branch.to_uppercase(),
            format!("{branch}0"),
            branch[..branch.len() - 1].to_owned(),
        ] {
            let via = via.replace(&branch, &guess);
            for status in ["180 Ringing", "200 OK", "302 Moved", "486 Busy Here"] {
                let forged = scenario.in_dialog(&invite, status, "evil").replace("Via", format!("Via: {via}"));
                scenario.send(&forged.sdp("evil"));
            }
        }
        // A response with two Vias was meant for another node (RFC 3261, 8.1.3.3).
        let twice =
            scenario.in_dialog(&invite, "486 Busy Here", "evil").line("Via: SIP/2.0/UDP 203.0.113.66;branch=z9hG4bKb");
        scenario.send(&twice);
        let other = header(&invite, "CSeq").replace("INVITE", "BYE");
        scenario.send(&scenario.in_dialog(&invite, "486 Busy Here", "evil").replace("CSeq", format!("CSeq: {other}")));
        scenario.quiet(Duration::from_millis(300));
        scenario.answer(&invite, "callee");
        scenario.finish(call);
    });
}

/// Plays a scenario with another flow of the agent, by another transport or to another server.
fn with_another_flow(play: impl Fn(&mut Scenario, usize)) {
    let tls = Path { transport: Transport::Tls, ..UDP };
    let (server, other): (SocketAddr, SocketAddr) = (remote(UDP), "192.0.2.8:5060".parse().expect("an address"));
    for (path, transport, remote) in [
        (TCP, Transport::Udp, server),
        (tls, Transport::Udp, server),
        (tls, Transport::Tcp, server),
        (tls, Transport::Tls, other),
        (TCP, Transport::Tcp, other),
        (UDP, Transport::Tcp, server),
    ] {
        let mut scenario = Scenario::new(path);
        let other = scenario.net.open(transport, "192.0.2.1:5062".parse().expect("an address"), remote);
        play(&mut scenario, other);
    }
}

/// Anyone can forge the source of a datagram, so a datagram never belongs to a call over a connection, whatever it knows.
#[test]
fn a_request_on_another_flow_never_belongs_to_a_call() {
    with_another_flow(|scenario, other| {
        let (call, dialog) = scenario.answered_call();
        for method in ["BYE", "INVITE", "UPDATE", "INFO", "OPTIONS"] {
            let request = dialog.clone().request(method);
            let request = if matches!(method, "INVITE" | "UPDATE") { request.sdp("evil") } else { request };
            scenario.net.send(other, request.build());
            let status = if method == "OPTIONS" { "200" } else { "481" };
            assert_eq!(
                scenario.receive_at(&format!("{status} {method}")).link,
                other,
                "it is rejected where it came from"
            );
        }
        scenario.quiet(Duration::from_secs(5));
        scenario.finish(call);
    });
}

#[test]
fn an_ack_on_another_flow_never_answers_an_offer() {
    with_another_flow(|scenario, other| {
        let (call, mut dialog) = scenario.answered_call();
        let reinvite = dialog.request("INVITE");
        let ack = dialog.repeated("ACK", dialog.cseq);
        scenario.send(&reinvite);
        let (request, offer) = scenario.offer();
        assert_eq!(offer, None, "the peer asks for an offer");
        scenario.respond(request, Reply::Accept(Some(b"v=0\r\n".to_vec())));
        scenario.receive("200 INVITE");
        scenario.net.send(other, ack.clone().sdp("evil").build());
        scenario.wait(Duration::from_millis(100));
        scenario.send(&ack.sdp("callee"));
        let CallEvent::SdpAnswer { description: Some(answer), .. } = scenario.call_event() else {
            panic!("the ACK has the answer")
        };
        assert_eq!(answer, sdp("callee"), "that of the call's own flow");
        scenario.finish(call);
    });
}

#[test]
fn a_response_on_another_flow_never_belongs_to_a_call() {
    with_another_flow(|scenario, other| {
        let (call, invite) = scenario.invite();
        for status in ["180 Ringing", "200 OK", "302 Moved", "401 Unauthorized", "486 Busy Here"] {
            let forged = scenario.in_dialog(&invite, status, "evil").sdp("evil");
            scenario.net.send(other, forged.build());
        }
        scenario.quiet(Duration::from_millis(300));
        scenario.answer(&invite, "callee");
        scenario.net.send(other, scenario.in_dialog(&invite, "200 OK", "evil").sdp("evil").build());
        scenario.quiet(Duration::from_secs(1));
        scenario.hang_up(call);
        let bye = scenario.receive("BYE");
        scenario.net.send(other, Text::reply(&bye, "200 OK").build());
        scenario.quiet(Duration::from_millis(300));
        scenario.reply(&bye, "200 OK");
        assert!(!scenario.ended().may_still_ring, "the peer has confirmed the end");
        scenario.nothing_left();
    });
}
