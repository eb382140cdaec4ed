//! Odd but legal spelling, and bytes that decide nothing.

use phonegate_sip::agent::{CallEvent, EndCause, Reply};

use crate::net::scenario::{Scenario, TCP, UDP, both, each, request_uri, routes};
use crate::net::text::{Text, header, sdp};

/// In a reason phrase, a display name, Reason, and headers that decide nothing.
#[test]
fn bytes_that_are_not_utf8_hide_nothing() {
    each(|scenario| {
        let (_, invite) = scenario.invite();
        let ringing = scenario.in_dialog(&invite, "180 Ringing", "callee");
        scenario.send(&ringing.bytes(b"Server: B\xfcro").bytes(b"Alert-Info: <\xff>"));
        assert_eq!(scenario.progress(), 180, "the ringing is reported");
        let to = [b"To: \"B\xfcro\" <", request_uri(&invite).as_bytes(), b">"].concat();
        let mut busy = Text::reply(&invite, "486 Besetzt").tag("callee");
        busy = busy.bytes(b"Reason: Q.850;cause=17;text=\"Teilnehmer besch\xe4ftigt\"").bytes(b"X: \xff\xfe");
        let bytes = busy.build();
        let text = [b"SIP/2.0 486 Besch\xe4ftigt\r\n", &bytes[b"SIP/2.0 486 Besetzt\r\n".len()..]].concat();
        assert!(!to.is_empty());
        scenario.net.send(scenario.link, text);
        scenario.receive("ACK");
        let EndCause::Rejected(rejection) = scenario.ended().cause else { panic!("the phone is busy") };
        assert_eq!((rejection.status, rejection.q850), (486, Some(17)), "the cause is read");
        assert_eq!(rejection.phrase.as_bytes(), b"Besch\xe4ftigt", "the phrase is kept as it was written");
        scenario.nothing_left();
    });
}

/// RFC 3261, 18.3: the body is the rest of the datagram.
#[test]
fn a_datagram_needs_no_content_length() {
    let mut scenario = Scenario::new(UDP);
    let (call, invite) = scenario.invite();
    scenario.send(&scenario.in_dialog(&invite, "200 OK", "callee").sdp("callee").length(""));
    scenario.receive("ACK");
    assert_eq!(scenario.answered().description, Some(sdp("callee")), "the body is the rest");
    let mut dialog = scenario.dialog(&invite, "callee");
    scenario.send(&dialog.request("INFO").body("application/dtmf", "5").length(""));
    let CallEvent::Info { request, body, .. } = scenario.call_event() else { panic!("the INFO is reported") };
    assert_eq!(body, b"5", "the body is the rest");
    scenario.respond(request, Reply::Accept(None));
    scenario.receive("200 INFO");
    scenario.finish(call);
}

#[test]
fn content_length_may_be_spelled_in_all_ways() {
    for line in ["Content-Length : {}", "l : {}", "l\t:\t{}\t", "CONTENT-LENGTH:{}"] {
        both(|scenario| {
            let (call, invite) = scenario.invite();
            scenario.send(&scenario.in_dialog(&invite, "200 OK", "callee").sdp("callee").length(line));
            scenario.receive("ACK");
            assert_eq!(scenario.answered().description, Some(sdp("callee")), "{line}");
            scenario.finish(call);
        });
    }
}

/// Messages of one stream come in one piece, in single bytes, and with keep-alives between them.
#[test]
fn a_stream_may_be_cut_anywhere() {
    for piece in [1, 7, 1_000_000] {
        let mut scenario = Scenario::new(TCP);
        let (call, invite) = scenario.invite();
        let mut bytes = b"\r\n\r\n".to_vec();
        bytes.extend(scenario.in_dialog(&invite, "180 Ringing", "callee").build());
        bytes.extend(b"\r\n");
        bytes.extend(scenario.in_dialog(&invite, "200 OK", "callee").sdp("callee").build());
        let flow = scenario.net.links[scenario.link].id;
        for message in [
            scenario.in_dialog(&invite, "180 Ringing", "callee").build(),
            scenario.in_dialog(&invite, "200 OK", "callee").sdp("callee").build(),
        ] {
            let message = phonegate_sip::message::Message::from_datagram(&message, &Default::default()).unwrap();
            scenario.net.inspector.agent_received(&message);
        }
        for piece in bytes.chunks(piece) {
            scenario.net.act(|agent, now| agent.handle_stream(now, flow, piece));
        }
        assert_eq!(scenario.progress(), 180, "the ringing is read");
        scenario.receive("ACK");
        assert_eq!(scenario.answered().description, Some(sdp("callee")), "the answer is read");
        scenario.finish(call);
    }
}

/// What trunks put into the user part: trunk groups and ported numbers.
#[test]
fn user_parts_with_semicolons_keep_host_and_number() {
    for user in [
        "+14255550100;tgrp=tg1;trunk-context=example.com",
        "+14255550100;npdi;rn=+14255550199",
        "+14255550100?x",
        "%2B14255550100",
    ] {
        both(|scenario| {
            let mut call = scenario.call();
            call.target = format!("sip:{user}@192.0.2.7;user=phone");
            let call = scenario.place(call);
            let invite = scenario.receive("INVITE");
            assert_eq!(request_uri(&invite), format!("sip:{user}@192.0.2.7;user=phone"), "the Request-URI is right");
            let contact = format!("sip:{user}@192.0.2.7:5090;user=phone");
            let ok = Text::reply(&invite, "200 OK").tag("callee").line(format!("Contact: <{contact}>"));
            scenario.send(&ok.sdp("callee"));
            scenario.receive("ACK");
            scenario.answered();
            scenario.hang_up(call);
            let bye = scenario.receive("BYE");
            assert_eq!(request_uri(&bye), contact, "the BYE goes to the Contact");
            scenario.reply(&bye, "200 OK");
            scenario.ended();
            scenario.nothing_left();
        });
    }
}

/// RFC 3261, 12.2.1.1: parts that a Request-URI cannot have are omitted.
#[test]
fn a_contact_with_method_and_headers_becomes_a_request_uri() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        let contact =
            "Contact: \"Desk, 2nd\" <sip:callee@192.0.2.7:5080;method=INVITE;ob?Subject=x>;+sip.instance=\"<u>\"";
        scenario.send(&Text::reply(&invite, "200 OK").tag("callee").line(contact).sdp("callee"));
        let ack = scenario.receive("ACK");
        assert_eq!(request_uri(&ack), "sip:callee@192.0.2.7:5080;ob", "as RFC 3261, 19.1.1 says");
        scenario.answered();
        scenario.finish(call);
    });
}

#[test]
fn a_strict_router_is_the_request_uri_of_what_follows() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        let ok = Text::reply(&invite, "200 OK").tag("callee").line("Contact: <sip:callee@192.0.2.7:5080>");
        scenario.send(
            &ok.line("Record-Route: <sip:far.example.net;lr>").line("Record-Route: <sip:192.0.2.7:5070>").sdp("callee"),
        );
        let ack = scenario.receive("ACK");
        scenario.answered();
        scenario.hang_up(call);
        let bye = scenario.receive("BYE");
        for request in [&ack, &bye] {
            assert_eq!(request_uri(request), "sip:192.0.2.7:5070", "the strict router is the Request-URI");
            let expected = ["sip:far.example.net;lr", "sip:callee@192.0.2.7:5080"];
            assert_eq!(routes(request), expected, "the target is the last route");
        }
        scenario.reply(&bye, "200 OK");
        scenario.ended();
        scenario.nothing_left();
    });
}

#[test]
fn compact_and_folded_headers_are_read() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        let mut text = Text::new("SIP/2.0 200")
            .line(format!("v:\r\n {}", header(&invite, "Via")))
            .line(format!("f: {}", header(&invite, "From")))
            .line(format!("t: {} ;\r\n\ttag = callee", header(&invite, "To")))
            .line(format!("i: {}", header(&invite, "Call-ID")))
            .line(format!("CSEQ: {}", header(&invite, "CSeq").replace(' ', "   ")))
            .line("m: <sip:callee@192.0.2.7:5080>")
            .line("this is no header");
        text = text.body("application/sdp", sdp("callee")).replace("Content-Type", "c: Application/SDP");
        scenario.send(&text.length("l:{}"));
        scenario.receive("ACK");
        assert_eq!(scenario.answered().description, Some(sdp("callee")), "the body is the answer");
        scenario.finish(call);
    });
}

/// To and Record-Route are repeated in requests, and bytes in them that cannot be written must not keep the call up.
#[test]
fn unwritable_bytes_in_a_200_do_not_prevent_the_bye() {
    for bad in ['\0', '\r'] {
        both(|scenario| {
            let (call, invite) = scenario.invite();
            let ok = scenario.in_dialog(&invite, "200 OK", "callee").sdp("callee");
            let ok = String::from_utf8(ok.build()).unwrap();
            let ok = ok.replacen("To: ", &format!("To: \"De{bad}sk\" "), 1);
            let ok = ok.replacen("To: ", &format!("Record-Route: <sip:192.0.2.7;lr>;x=\"a{bad}b\"\r\nTo: "), 1);
            scenario.net.send(scenario.link, ok.into_bytes());
            scenario.receive("ACK");
            scenario.answered();
            scenario.finish(call);
        });
    }
}
