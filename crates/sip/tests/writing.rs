//! Writes messages.

mod support;

use phonegate_sip::message::{BuildError, Limits, Message, MessageBuilder, Method};
use support::read;

#[test]
fn what_is_written_can_be_read() {
    let bytes = MessageBuilder::request(&Method::Invite, "sip:+14255550100@trunk.example.com")
        .header("v", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport")
        .header("CALL-ID", " c1 ")
        .header("X-Own", "caf\u{e9}")
        .body("application/sdp", "v=0\r\n")
        .build()
        .expect("the request can be written");
    let text = String::from_utf8(bytes.clone()).expect("it is UTF-8");
    assert_eq!(
        text,
        "INVITE sip:+14255550100@trunk.example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport\r\n\
         Call-ID: c1\r\nX-Own: caf\u{e9}\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"
    );
    let message = Message::from_datagram(&bytes, &Limits::default()).expect("the request is readable");
    assert_eq!(message.body(), b"v=0\r\n");
    assert_eq!(message.as_bytes(), bytes);
}

#[test]
fn line_ends_cannot_be_smuggled_in() {
    for evil in ["a\rb", "a\nb", "a\r\nTo: b", "a\0b", "\r\n"] {
        let request = || MessageBuilder::request(&Method::Bye, "sip:example.com");
        let value = Err(BuildError::HeaderValue { name: "Subject".to_owned() });
        assert_eq!(request().header("s", evil).build(), value, "value {evil:?}");
        assert_eq!(request().header(evil, "a").build(), Err(BuildError::HeaderName), "name {evil:?}");
        assert!(request().body(evil, "").build().is_err(), "type {evil:?}");
        let uri = MessageBuilder::request(&Method::Bye, &format!("sip:{evil}"));
        assert_eq!(uri.build(), Err(BuildError::RequestUri), "URI {evil:?}");
        assert_eq!(MessageBuilder::response(200, evil).build(), Err(BuildError::StatusLine), "reason {evil:?}");
    }
    for name in ["", "a b", "a:", "b\u{e4}d"] {
        let named = MessageBuilder::response(200, "OK").header(name, "x").build();
        assert_eq!(named, Err(BuildError::HeaderName), "{name}");
    }
    for uri in ["", "sip:a b", "sip:a SIP/2.0", "<sip:a>"] {
        assert_eq!(MessageBuilder::request(&Method::Bye, uri).build(), Err(BuildError::RequestUri), "{uri}");
    }
    assert_eq!(MessageBuilder::response(99, "").build(), Err(BuildError::StatusLine));
    assert_eq!(MessageBuilder::response(700, "").build(), Err(BuildError::StatusLine));
    for name in ["l", "content-length"] {
        assert_eq!(MessageBuilder::response(200, "OK").header(name, "0").build(), Err(BuildError::ContentLength));
    }
}

#[test]
fn what_is_written_stays_within_the_limits() {
    let large = MessageBuilder::response(200, "OK").body("text/plain", vec![b'x'; 65_500]);
    assert_eq!(large.build(), Err(BuildError::TooLong));
    let with = |count: usize| (0..count).fold(MessageBuilder::response(200, "OK"), |it, _| it.header("X", "y")).build();
    let most = with(199).expect("the limit is 200 with Content-Length");
    assert!(Message::from_datagram(&most, &Limits::default()).is_ok(), "what can be written can be read");
    assert_eq!(with(200), Err(BuildError::TooLong));
}

#[test]
fn a_response_echoes_what_identifies_the_request() {
    let request = "OPTIONS sip:a@192.0.2.1 SIP/2.0\nv: SIP/2.0/UDP 192.0.2.7;branch=b,\n SIP/2.0/TCP a.example.com\n\
                   Via: SIP/2.0/UDP 192.0.2.8\nf: <sip:x@example.com>;tag=1\nt: <sip:a@192.0.2.1>\ni: c\nCSeq: 5 OPTIONS\nX: y\n\n";
    let request = read(request).expect("the request is readable");
    let bytes = MessageBuilder::response_to(&request, 200, "OK", Some("mine")).build().expect("it can be written");
    assert_eq!(
        String::from_utf8_lossy(&bytes),
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=b,   SIP/2.0/TCP a.example.com\r\nVia: SIP/2.0/UDP 192.0.2.8\r\n\
         From: <sip:x@example.com>;tag=1\r\nTo: <sip:a@192.0.2.1>;tag=mine\r\nCall-ID: c\r\nCSeq: 5 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    let response = Message::from_datagram(&bytes, &Limits::default()).expect("the response is readable");
    let again = MessageBuilder::response_to(&response, 200, "OK", None);
    assert_eq!(again.build(), Err(BuildError::NotARequest));
}

#[test]
fn a_to_tag_that_is_there_stays() {
    let request = read("BYE sip:a@192.0.2.1 SIP/2.0\nTo: <sip:a@192.0.2.1>;tag=theirs\n\n").expect("readable");
    let bytes = MessageBuilder::response_to(&request, 481, "", Some("mine")).build().expect("it can be written");
    assert!(String::from_utf8_lossy(&bytes).contains("To: <sip:a@192.0.2.1>;tag=theirs\r\n"));
    let evil = read("BYE sip:a@192.0.2.1 SIP/2.0\nTo: <sip:a@192.0.2.1>\n\n").expect("readable");
    assert!(MessageBuilder::response_to(&evil, 481, "", Some("a\r\nX: y")).build().is_err());
}
