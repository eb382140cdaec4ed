//! Responses to requests of the peer: the headers that they copy, and where they are sent (RFC 3261, 8.2.6 and 18.2;
//! RFC 3581).

#[path = "support/wire.rs"]
mod wire;

use std::net::SocketAddr;

use phonegate_sip::agent::Transport;
use phonegate_sip::message::Message;
use wire::{Wire, parse, value, values};

/// An OPTIONS with these Via lines, written with LF.
fn options(vias: &str) -> String {
    format!(
        "OPTIONS sip:gate@192.0.2.1 SIP/2.0\n{vias}From: <sip:a@b>;tag=1\nTo: <sip:c@d>\nCall-ID: 1\nCSeq: 1 OPTIONS\n\n"
    )
}

/// Sends a request from an address, and returns the response and its destination.
fn answered(local: &str, source: &str, bytes: &[u8]) -> Option<(SocketAddr, Message)> {
    let mut wire = Wire::between(Transport::Udp, local, source);
    wire.receive(bytes);
    let transmit = wire.transmits().pop()?;
    Some((transmit.destination, parse(&transmit.bytes)))
}

#[test]
fn received_and_rport_follow_rfc_3581() {
    let (v4, v6) = ("192.0.2.9:40000", "[2001:db8::9]:40000");
    let cases = [
        // sent-by, the parameters in the request, those in the response, and the port that it goes to
        (v4, "192.0.2.9:5080", "", "", 5_080),
        (v4, "192.0.2.9", "", "", 5_060),
        (v4, "192.0.2.9:0", "", "", 5_060),
        (v4, "10.0.0.1:5080", "", ";received=192.0.2.9", 5_080),
        (v4, "pbx.example.com", "", ";received=192.0.2.9", 5_060),
        (v4, "192.0.2.9:5080", ";rport", ";received=192.0.2.9;rport=40000", 40_000),
        (v4, "192.0.2.9:5080", ";rport=", ";received=192.0.2.9;rport=40000", 40_000),
        (v4, "192.0.2.9:5080", ";RPORT=5080", ";received=192.0.2.9;rport=40000", 40_000),
        (v4, "10.0.0.1", ";received=198.51.100.1;rport", ";received=192.0.2.9;rport=40000", 40_000),
        (v4, "192.0.2.9", ";received=198.51.100.1", "", 5_060),
        (v4, "10.0.0.1", ";maddr=198.51.100.1;ttl=1", ";maddr=198.51.100.1;ttl=1;received=192.0.2.9", 5_060),
        (v4, "PBX.Example.com : 5080", ";X=\"a;rport;b\";y", ";X=\"a;rport;b\";y;received=192.0.2.9", 5_080),
        (v6, "[2001:db8::9]:5080", "", "", 5_080),
        (v6, "[2001:DB8:0::9]", "", "", 5_060),
        (v6, "[2001:db8::1]", "", ";received=2001:db8::9", 5_060),
        (v6, "[2001:db8::9]", ";rport", ";received=2001:db8::9;rport=40000", 40_000),
        ("[::ffff:192.0.2.9]:40000", "192.0.2.9", "", "", 5_060),
        ("[fe80::9%7]:40000", "[fe80::9]", "", "", 5_060),
    ];
    for (source, sent_by, asked, stamped, port) in cases {
        let via = |params: &str| format!("SIP/2.0/UDP {sent_by};branch=z9hG4bK1{params}");
        let request = options(&format!("Via: {}\n", via(asked)));
        let (destination, response) = answered("192.0.2.1:5060", source, request.as_bytes()).unwrap();
        let mut expected: SocketAddr = source.parse().unwrap();
        expected.set_port(port);
        assert_eq!(destination, expected, "{sent_by}{asked} from {source}");
        assert_eq!(values(&response, "Via"), [via(stamped)], "{sent_by}{asked} from {source}");
    }
}

/// All but the parameters of RFC 3581 stays byte for byte: also what is not UTF-8, and what cannot be read.
#[test]
fn lower_vias_stay_byte_for_byte() {
    let top = b"SIP/2.0/udp 192.0.2.9;branch=z9hG4bK1;x=\xff".as_slice();
    let cases: [&[u8]; 5] = [
        b",SIP/2.0/UDP  a.example.com;branch=1;rport;received=1.2.3.4",
        b" , \t SIP / 2.0 / TCP b;x=\xfe\xff;rport , junk",
        b",\"unbalanced",
        b",,",
        b"\r\nVia: c;rport;received=1\r\nv: SIP/2.0/UDP d;rport",
    ];
    for below in cases {
        let mut bytes = b"OPTIONS sip:gate@192.0.2.1 SIP/2.0\r\nVia: ".to_vec();
        bytes.extend([top, below].concat());
        bytes.extend(b"\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n");
        let (_, response) = answered("192.0.2.1:5060", "192.0.2.9:5060", &bytes).unwrap();
        let lines: Vec<_> = response.header_values("Via").collect();
        let lines = lines.join(&b"\r\nVia: "[..]);
        let expected = [top, below].concat();
        let expected = String::from_utf8_lossy(&expected).replace("\r\nv: ", "\r\nVia: ");
        assert_eq!(String::from_utf8_lossy(&lines), expected, "{}", String::from_utf8_lossy(below));
    }
}

/// A To with a tag stays; another gets one, always the same (RFC 3261, 8.2.6.2 and 8.2.7).
#[test]
fn tag_is_added_to_a_to_without_one() {
    let mut wire = Wire::udp();
    let mut tags = Vec::new();
    let with_to = |to: &str| options("Via: SIP/2.0/UDP h;branch=z9hG4bK1;rport\n").replace("<sip:c@d>", to);
    for to in ["<sip:c@d>", "sip:c@d", "\"a;tag=x\" <sip:c@d;tag=y>;z"] {
        wire.receive_text(&with_to(to));
        let response = wire.sent_one();
        let written = value(&response, "To");
        let tag = written.strip_prefix(to).and_then(|rest| rest.strip_prefix(";tag=")).unwrap().to_owned();
        assert!(tag.len() >= 16, "a tag is random: {tag}");
        tags.push(tag);
    }
    tags.dedup();
    assert_eq!(tags.len(), 1, "responses outside of calls have one tag");
    for to in ["<sip:c@d>;tag=1", "<sip:c@d>;TAG=1"] {
        wire.receive_text(&with_to(to));
        let response = wire.sent_one();
        assert_eq!((value(&response, "To"), response.status()), (to.to_owned(), Some(200)));
    }
}

/// A request that lacks what every request has gets 400 (RFC 3261, 8.2), if its Via names the sender.
#[test]
fn malformed_request_gets_400() {
    let good = options("Via: SIP/2.0/UDP h;branch=z9hG4bK1;rport\n");
    let cases = [
        ("From: <sip:a@b>;tag=1\n", ""),
        ("To: <sip:c@d>\n", ""),
        ("Call-ID: 1\n", ""),
        ("CSeq: 1 OPTIONS\n", ""),
        ("1 OPTIONS", "1 INFO"),
        ("1 OPTIONS", "2147483648 OPTIONS"),
        ("1 OPTIONS", "x OPTIONS"),
        ("From: ", "From: <sip:e@f>;tag=2\nFrom: "),
        ("tag=1", "tag=1;tag=2"),
        ("<sip:c@d>", "<sip:c@d"),
    ];
    for (part, instead) in cases {
        let mut wire = Wire::udp();
        wire.receive_text(&good.replace(part, instead));
        let response = wire.sent_one();
        assert_eq!(response.status(), Some(400), "{part:?} replaced by {instead:?}");
        assert_eq!(wire.agent.drops().malformed, 1);
        wire.receive_text(&good.replace(part, instead).replace("OPTIONS sip", "ACK sip"));
        assert!(wire.sent().is_empty(), "an ACK is never answered");
    }
    for via in ["", "Via: SIP/2.0/UDP\n", "Via: x\n"] {
        let mut wire = Wire::udp();
        wire.receive_text(&options(via));
        assert!(wire.sent().is_empty(), "a request without Via is not answered: {via:?}");
    }
}

/// An ACK is never answered, whatever it is for.
#[test]
fn ack_is_never_answered() {
    let mut wire = Wire::udp();
    let (_, invite, _) = wire.establish(wire::call(), "");
    let stray = options("Via: SIP/2.0/UDP h;branch=z9hG4bK1\n").replace("OPTIONS", "ACK");
    wire.receive_text(&stray);
    wire.receive_text(&stray.replace("<sip:c@d>", "<sip:c@d>;tag=9"));
    wire.receive_text(&stray.replace("CSeq", "Require: unknown\nCSeq"));
    wire.receive(&wire::request(&invite, "ACK", 7, "Require: unknown\r\n", ""));
    assert!(wire.sent().is_empty() && wire.events().is_empty());
}

/// Requests outside of calls, and their responses.
#[test]
fn requests_outside_of_calls_get_the_status_of_the_rfc() {
    let cases = [
        ("OPTIONS", "", 200),
        ("INVITE", "", 403),
        ("BYE", ";tag=2", 481),
        ("BYE", "", 481),
        ("INFO", ";tag=2", 481),
        ("INVITE", ";tag=2", 481),
        ("CANCEL", "", 481),
        ("UPDATE", ";tag=2", 481),
        ("PRACK", "", 481),
        ("NOTIFY", ";tag=2", 481),
        ("NOTIFY", "", 405),
        ("REGISTER", "", 405),
        ("MESSAGE", "", 405),
        ("REFER", "", 405),
        ("PING", "", 501),
        ("options", "", 501),
    ];
    for transport in [Transport::Udp, Transport::Tcp] {
        for (method, tag, status) in cases {
            let mut wire = Wire::between(transport, wire::LOCAL, wire::SERVER);
            let request = options("Via: SIP/2.0/UDP h;branch=z9hG4bK1;rport\n").replace("OPTIONS", method);
            let request = request.replace("<sip:c@d>", &format!("<sip:c@d>{tag}")).replace("CSeq", "l: 0\nCSeq");
            wire.receive_text(&request);
            let response = wire.sent_one();
            assert_eq!(response.status(), Some(status), "{method}{tag}");
            let needs_allow = matches!(status, 200 | 405 | 501);
            assert_eq!(response.has_header("Allow"), needs_allow, "{method}: {status}");
            wire.assert_empty();
        }
    }
}

/// An unknown extension is rejected by name (RFC 3261, 8.2.2.3).
#[test]
fn required_extension_that_is_unknown_gets_420() {
    let mut wire = Wire::udp();
    let vias = "Via: SIP/2.0/UDP h;branch=z9hG4bK1;rport\nRequire: timer, foo\nRequire: 100rel\n";
    wire.receive_text(&options(vias));
    let response = wire.sent_one();
    assert_eq!((response.status(), value(&response, "Unsupported")), (Some(420), "foo, 100rel".into()));
}
