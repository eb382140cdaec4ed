//! Hostile input: nothing panics, and the limits hold.

mod support;

use phonegate_sip::message::{BuildError, Limits, Message, MessageBuilder, Method, NameAddr, Uri, limits};
use proptest::prelude::*;
use support::crlf;

const INVITE: &str = "INVITE sip:+14255550100;tgrp=a;trunk-context=b@[2001:db8::7]:5061;transport=tls?X=y SIP/2.0\n\
    Via: SIP/2.0/TLS [2001:db8::1]:5061;branch=z9hG4bK1;rport=5062;received=2001:db8::2, SIP/2.0/UDP a.example.com;maddr=b\n\
    Record-Route: <sip:p1.example.com;lr>,\n \"Proxy, \\\"2\\\"\" <sip:p2.example.com>;x=\"y;z\"\n\
    Route: sip:p3.example.com;lr\nFrom: \"Desk <1>\" <sip:desk@example.com>;tag=f1\n\
    To: sip:+14255550100@trunk.example.com;tag=t%41\nCall-ID: c1@example.com\nCSeq: 7 INVITE\n\
    Contact: <sip:desk@192.0.2.1:5060;method=X;%6C%72?Subject=%20>;q=0.5, *\nRAck: 1 7 INVITE\nRSeq: 5\n\
    x: 1800;refresher=uac\nMin-SE: 90\nExpires: 300\nMin-Expires: 5\nRetry-After: 12 (soon);duration=3\n\
    Reason: Q.850 ;cause=16;text=\"a, b\", SIP;cause=200\nSupported: timer,100rel\nRequire: x\nAllow: INVITE, ACK\n\
    Diversion: <tel:+14255550101>;reason=x\nHistory-Info: <sip:a@example.com>;index=1\n\
    Content-Type: application/sdp;charset=\"utf-8\"\nContent-Length: 5\n\nv=0\n";

/// Reads everything that can be read, and checks what is promised of all results.
fn read_everything(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(message) = Message::from_datagram(bytes, &Limits::default()) else { return Ok(()) };
    prop_assert!(message.as_bytes().len() <= bytes.len());
    prop_assert!(message.as_bytes().ends_with(message.body()));
    prop_assert!(message.headers().count() <= limits::HEADERS);
    prop_assert!(message.headers().all(|header| !header.value.contains(&b'\n') && !header.name.is_empty()));
    prop_assert_ne!(message.is_request(), message.status().is_some());
    if let Some(status) = message.status() {
        prop_assert!((100..=699).contains(&status) && message.reason_phrase().is_some());
    }
    if let Ok(Some(uri)) = message.request_uri() {
        check_uri(&uri)?;
    }
    if let Ok(essentials) = message.essentials() {
        prop_assert!(!essentials.call_id.is_empty() && essentials.call_id.len() <= limits::IDENTIFIER);
        prop_assert!(essentials.cseq.number < 1 << 31);
    }
    let addresses =
        [message.contacts(), message.routes(), message.record_routes(), message.diversions(), message.history()];
    for list in addresses.into_iter().flatten() {
        prop_assert!(list.len() <= limits::LIST);
        for address in list {
            prop_assert!(address.params().iter().count() <= limits::PARAMETERS);
            prop_assert!(address.tag().is_none_or(|tag| tag.bytes().all(|byte| byte.is_ascii_graphic())));
            if let Ok(uri) = address.uri() {
                check_uri(&uri)?;
                let again = NameAddr::parse(&address.to_string());
                prop_assert_eq!(again.as_ref().map(|it| it.tag()), Ok(address.tag()));
                prop_assert_eq!(again.as_ref().map(|it| it.uri()), Ok(Ok(uri)));
            }
        }
    }
    for list in [message.supported(), message.require(), message.allow()].into_iter().flatten() {
        prop_assert!(list.len() <= limits::LIST);
    }
    for via in message.vias().into_iter().flatten() {
        let _ = (via.rport(), via.received(), via.maddr());
        prop_assert!(via.branch().is_none_or(|branch| branch.len() <= limits::IDENTIFIER));
    }
    let _ = (message.from_header(), message.to_header(), message.top_via(), message.rack(), message.rseq());
    let _ = (message.session_expires(), message.min_se(), message.expires(), message.min_expires());
    let _ = (message.retry_after(), message.content_type(), message.q850_cause(), message.has_option("timer"));
    let again = Message::from_datagram(message.as_bytes(), &Limits::default());
    prop_assert_eq!(again.as_ref(), Ok(&message), "what was read is read the same again");
    let response = MessageBuilder::response_to(&message, 486, "Busy Here", Some("mine"));
    if let Ok(bytes) = response.build() {
        let response = Message::from_datagram(&bytes, &Limits::default());
        prop_assert!(response.is_ok_and(|response| response.call_id() == message.call_id()));
    }
    Ok(())
}

/// A URI that was read is read the same again, and can be put into a request.
fn check_uri(uri: &Uri) -> Result<(), TestCaseError> {
    prop_assert!(uri.as_str().len() <= limits::URI);
    let again = Uri::parse(uri.as_str());
    prop_assert_eq!(again.as_ref(), Ok(uri));
    let Some(sip) = uri.as_sip() else { return Ok(()) };
    prop_assert!(sip.params().iter().count() <= limits::PARAMETERS);
    let text = sip.to_request_uri();
    let target = Uri::parse(&text);
    let target = target.as_ref().ok().and_then(Uri::as_sip);
    prop_assert_eq!(target.map(|it| (it.user(), it.host(), it.port())), Some((sip.user(), sip.host(), sip.port())));
    prop_assert!(target.is_some_and(|it| it.headers().is_none() && !it.params().has("method")));
    let request = MessageBuilder::request(&Method::Bye, &text).build().expect("a URI that was read can be written");
    let request = Message::from_datagram(&request, &Limits::default());
    prop_assert_eq!(request.as_ref().ok().and_then(Message::request_uri_bytes), Some(text.as_bytes()));
    Ok(())
}

/// A change to a message: the position, the number of removed bytes, and the bytes that replace them.
fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, usize, Vec<u8>)>> {
    let pieces = prop::sample::select(vec![
        &b"\r\n"[..],
        b"\n ",
        b"\r",
        b"\0",
        b"\"",
        b"\\",
        b"<",
        b">",
        b";",
        b",",
        b"?",
        b"@",
        b":",
        b"=",
        b"%",
        b"%00",
        b"[",
        b"]",
        b"/",
        b" ",
        b"\t",
        b"\xff",
        b"\xc3",
        b"\xe2\x82\xac",
        b"99999999999",
        b"-1",
        b"\r\n\r\n",
        b"To: a\r\n",
        b"l:1\r\n",
    ]);
    let inserted = prop_oneof![
        3 => pieces.prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..4),
        1 => (any::<u8>(), 1_usize..6000).prop_map(|(byte, count)| vec![byte; count]),
        1 => (prop::sample::select(vec![";a", ",", ", <sip:a@b>;c", "%41", "\r\nX:y"]), 1_usize..300)
            .prop_map(|(piece, count)| piece.repeat(count).into_bytes()),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), 0_usize..6, inserted), 1..6)
}

fn edited(text: &str, edits: Vec<(prop::sample::Index, usize, Vec<u8>)>) -> Vec<u8> {
    let mut bytes = crlf(text);
    for (index, removed, inserted) in edits {
        let start = index.index(bytes.len() + 1);
        let end = (start + removed).min(bytes.len());
        bytes.splice(start..end, inserted);
    }
    bytes
}

#[test]
fn the_unchanged_message_keeps_the_promises() {
    let message = Message::from_datagram(&crlf(INVITE), &Limits::default()).expect("it is readable");
    assert!(message.essentials().is_ok());
    read_everything(&crlf(INVITE)).expect("all promises hold");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_changed_request_keeps_the_promises(edits in edits()) {
        read_everything(&edited(INVITE, edits))?;
    }

    #[test]
    fn a_changed_response_keeps_the_promises(edits in edits()) {
        let (_, headers) = INVITE.split_once('\n').expect("there is a first line");
        read_everything(&edited(&format!("SIP/2.0 183 Session ProvisionalResponse\n{headers}"), edits))?;
    }

    #[test]
    fn garbage_keeps_the_promises(
        start in prop::sample::select(vec!["", "SIP/2.0 200 OK\r\n", "BYE sip:a SIP/2.0\r\n", "To: "]),
        bytes in prop::collection::vec(prop_oneof![4 => any::<u8>(), 1 => Just(b'\n'), 1 => Just(b':'), 1 => Just(b' ')], 0..600),
        end in prop::sample::select(vec!["", "\r\n\r\n"]),
    ) {
        read_everything(&[start.as_bytes(), &bytes, end.as_bytes()].concat())?;
    }

    #[test]
    fn any_text_is_a_uri_or_an_error(
        text in prop_oneof!["\\PC{0,60}", "sips?:[a-z0-9;?@:%=&\\[\\].+-]{0,60}", "sip:[a-z;]{0,9}@[a-z0-9.\\[\\]:]{0,20}(;[a-z%=]{0,9}){0,70}"],
    ) {
        if let Ok(uri) = Uri::parse(&text) {
            check_uri(&uri)?;
        }
    }

    #[test]
    fn a_value_is_written_as_it_is_or_rejected(
        name in "[A-Za-z-]{2,20}",
        value in prop::collection::vec(prop_oneof![20 => any::<u8>(), 1 => Just(b'\r'), 1 => Just(b'\n'), 1 => Just(0)], 0..40),
        body in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let evil = value.iter().any(|byte| b"\r\n\0".contains(byte));
        let built = MessageBuilder::response(200, "OK").header(&name, &value).body("a/b", body.clone()).build();
        match built {
            Ok(bytes) => {
                prop_assert!(!evil);
                let message = Message::from_datagram(&bytes, &Limits::default()).expect("what is written can be read");
                prop_assert_eq!(message.headers().count(), 3);
                prop_assert_eq!(message.body(), body);
                let read = message.header_values(&name).next().expect("the header is there");
                prop_assert_eq!(read, trimmed(&value));
            }
            Err(BuildError::HeaderValue { .. }) => prop_assert!(evil),
            Err(BuildError::ContentLength) => prop_assert!(name.eq_ignore_ascii_case("content-length")),
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}

/// Removes blanks and tabs at both ends.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = bytes.iter().position(is_text).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(is_text).map_or(start, |last| last + 1);
    bytes.get(start..end).unwrap_or_default()
}
