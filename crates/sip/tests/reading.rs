//! Parses messages and their headers.

mod support;

use phonegate_sip::message::{
    CSeq, HeaderProblem, Limits, Message, MessageError, Method, RAck, Refresher, Rport, SessionExpires,
};
use support::{crlf, read, response};

fn problem<T>(result: Result<T, MessageError>) -> Option<(&'static str, HeaderProblem)> {
    match result {
        Err(MessageError::Header { name, problem }) => Some((name, problem)),
        _ => None,
    }
}

#[test]
fn a_request_has_its_parts() {
    let message = read(
        "INVITE sip:+14255550100@trunk.example.com SIP/2.0\n\
         Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport\n\
         From: \"Desk\" <sip:desk@example.com>;tag=f1\n\
         To: <sip:+14255550100@trunk.example.com>\n\
         Call-ID: c1@example.com\n\
         CSeq: 7 INVITE\n\
         Content-Type: application/sdp\n\
         Content-Length: 4\n\nv=0\nleft over",
    )
    .expect("the request is readable");
    assert_eq!(message.method(), Some(&Method::Invite));
    assert_eq!(message.status(), None);
    let uri = message.request_uri().expect("the Request-URI is readable").expect("a request has one");
    assert_eq!(uri.as_str(), "sip:+14255550100@trunk.example.com");
    assert_eq!(message.body(), b"v=0\r");
    let essentials = message.essentials().expect("all headers are there");
    assert_eq!(essentials.call_id, "c1@example.com");
    assert_eq!(essentials.cseq, CSeq { number: 7, method: Method::Invite });
    assert_eq!(essentials.from.tag(), Some("f1"));
    assert_eq!(essentials.from.display_name(), Some("Desk"));
    assert_eq!(essentials.to.tag(), None);
    assert_eq!(essentials.via.branch(), Some("z9hG4bK1"));
    assert_eq!(essentials.via.rport(), Rport::Requested);
}

#[test]
fn names_are_read_in_any_spelling() {
    let message = response(
        "v: SIP/2.0/TCP a.example.com;branch=b\nF : <sip:a@example.com>;tag=1\nT\t:\t<sip:b@example.com>;tag=2\n\
         i: c\ncSEQ:1 BYE\nM: <sip:c@example.com>\nk: timer, 100rel\nC: Application / SDP ;x=y\nX: 90;refresher=UAS\nl :\t0",
    );
    let essentials = message.essentials().expect("all headers are there");
    assert_eq!((essentials.from.tag(), essentials.to.tag()), (Some("1"), Some("2")));
    assert_eq!(message.contacts().map(|list| list.len()), Ok(1));
    assert!(message.has_option("100REL") && !message.has_option("100"));
    assert_eq!(
        message.content_type().ok().flatten().map(|it| it.media_type().to_owned()).as_deref(),
        Some("application/sdp")
    );
    assert_eq!(message.session_expires(), Ok(Some(SessionExpires { seconds: 90, refresher: Some(Refresher::Uas) })));
    assert_eq!(message.header_values("content-length").collect::<Vec<_>>(), [b"0"]);
}

#[test]
fn folded_lines_are_one_value() {
    let message = response("Subject: one\n two\n\tthree\nCSeq:\n  1\n  INVITE");
    assert_eq!(message.header_values("s").collect::<Vec<_>>(), [b"one   two  \tthree"]);
    assert_eq!(message.cseq(), Ok(CSeq { number: 1, method: Method::Invite }));
}

#[test]
fn lines_may_end_with_lf_alone() {
    let message = Message::from_datagram(b"\n\r\nSIP/2.0 486 Busy\nCSeq: 1 INVITE\r\n\nbody\n", &Limits::default());
    let message = message.expect("the message is readable");
    assert_eq!((message.status(), message.body()), (Some(486), &b"body\n"[..]));
}

#[test]
fn bytes_that_are_not_utf8_change_nothing_else() {
    let message = Message::from_datagram(
        b"SIP/2.0 486 Besetzt f\xfcr jetzt\r\nX-Note: \xff\xfe\r\nFrom: B\xfcro <sip:a@example.com>;tag=f\r\n\
          To: \"\xe4\" <sip:\xe4@example.com>;tag=t\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
          Via: SIP/2.0/UDP 192.0.2.1;branch=b;x=\xff\r\nReason: Q.850;cause=17;text=\"f\xfcr\"\r\n\
          Require: \xff\r\nMin-SE: \xff\r\n\r\n",
        &Limits::default(),
    )
    .expect("the message is readable");
    assert_eq!(message.status(), Some(486));
    assert_eq!(message.reason_phrase(), Some(&b"Besetzt f\xfcr jetzt"[..]));
    let essentials = message.essentials().expect("all headers are there");
    assert_eq!((essentials.from.tag(), essentials.to.tag()), (Some("f"), Some("t")));
    assert!(essentials.to.uri().is_err(), "a URI that is not UTF-8 is not guessed");
    assert_eq!(message.q850_cause(), Some(17));
    assert_eq!(problem(message.min_se()), Some(("Min-SE", HeaderProblem::NotUtf8)));
    assert_eq!(message.header_values("X-Note").next(), Some(&b"\xff\xfe"[..]));
}

#[test]
fn lines_that_are_no_headers_are_ignored() {
    let message = response("no colon here\n: no name\nb\u{e4}d: name\n@: no token\nCall-ID: c");
    assert_eq!(message.headers().count(), 1);
    assert_eq!(message.call_id(), Ok("c"));
}

#[test]
fn single_headers_must_not_occur_twice() {
    type Read = fn(&Message) -> Option<(&'static str, HeaderProblem)>;
    let readers: &[(&'static str, &str, Read)] = &[
        ("Call-ID", "a", |message| problem(message.call_id())),
        ("CSeq", "1 BYE", |message| problem(message.cseq())),
        ("From", "<sip:a@example.com>", |message| problem(message.from_header())),
        ("To", "<sip:a@example.com>", |message| problem(message.to_header())),
        ("RAck", "1 1 INVITE", |message| problem(message.rack())),
        ("RSeq", "1", |message| problem(message.rseq())),
        ("Session-Expires", "90", |message| problem(message.session_expires())),
        ("Min-SE", "90", |message| problem(message.min_se())),
        ("Expires", "90", |message| problem(message.expires())),
        ("Min-Expires", "90", |message| problem(message.min_expires())),
        ("Retry-After", "90", |message| problem(message.retry_after())),
        ("Content-Type", "a/b", |message| problem(message.content_type())),
    ];
    for &(name, value, reader) in readers {
        assert_eq!(reader(&response(&format!("{name}: {value}"))), None, "{name} once is accepted");
        let twice = response(&format!("{name}: {value}\nX: y\n{}: {value}", name.to_lowercase()));
        assert_eq!(reader(&twice), Some((name, HeaderProblem::Duplicated)), "{name} twice is rejected");
    }
}

#[test]
fn missing_mandatory_headers_are_reported() {
    let all = "Via: SIP/2.0/UDP 192.0.2.1\nFrom: <sip:a@example.com>\nTo: <sip:b@example.com>\nCall-ID: c\nCSeq: 1 BYE";
    assert!(response(all).essentials().is_ok());
    for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
        let without: Vec<_> = all.lines().filter(|line| !line.starts_with(name)).collect();
        let found = problem(response(&without.join("\n")).essentials());
        assert_eq!(found, Some((name, HeaderProblem::Missing)));
    }
}

#[test]
fn a_datagram_without_content_length_is_body_to_its_end() {
    for (line, body) in [
        ("X: y", Ok(&b"0123456789"[..])),
        ("Content-Length: 4", Ok(b"0123")),
        ("Content-Length : 4", Ok(b"0123")),
        ("l : 0", Ok(b"")),
        ("L:\t010", Ok(b"0123456789")),
        ("l: 4\nContent-Length: 4", Ok(b"0123")),
        ("Content-Length:\n 4", Ok(b"0123")),
        ("Content-Length: 11", Err(MessageError::BodyCutShort { length: 11, available: 10 })),
        ("l: 4\nContent-Length: 5", Err(length(HeaderProblem::Duplicated))),
        ("Content-Length: -4", Err(length(HeaderProblem::Malformed))),
        ("Content-Length: +4", Err(length(HeaderProblem::Malformed))),
        ("Content-Length: 4, 4", Err(length(HeaderProblem::Malformed))),
        ("Content-Length:", Err(length(HeaderProblem::Malformed))),
        ("Content-Length: 99999999999999999999", Err(length(HeaderProblem::OutOfRange))),
    ] {
        let message = read(&format!("SIP/2.0 200 OK\n{line}\n\n0123456789"));
        assert_eq!(message.as_ref().map(|message| message.body()), body.as_ref().map(|body| *body), "{line}");
    }
}

fn length(problem: HeaderProblem) -> MessageError {
    MessageError::Header { name: "Content-Length", problem }
}

#[test]
fn lists_are_split_at_their_commas_only() {
    let message = response(
        "Record-Route: <sip:a,b@p1.example.com;lr>, \"Proxy, \\\"two\\\"\" <sip:p2.example.com;lr>;x=\"1,2\" ,\n\
         Record-Route: sip:p3.example.com;lr\nContact: sip:c@example.com;q=1, *\nAllow: INVITE,, BYE ,\nRequire:",
    );
    let routes = message.record_routes().expect("the list is readable");
    let uris: Vec<_> = routes.iter().map(|route| route.uri_text()).collect();
    assert_eq!(uris, ["sip:a,b@p1.example.com;lr", "sip:p2.example.com;lr", "sip:p3.example.com;lr"]);
    assert!(
        routes.iter().all(|route| route.uri().is_ok_and(|uri| uri.as_sip().is_some_and(|sip| sip.is_loose_router())))
    );
    assert_eq!(routes.get(1).and_then(|route| route.display_name()), Some("Proxy, \"two\""));
    let contacts = message.contacts().expect("the list is readable");
    assert_eq!(contacts.iter().map(|contact| contact.uri_text()).collect::<Vec<_>>(), ["sip:c@example.com", "*"]);
    assert_eq!(contacts.first().and_then(|contact| contact.params().get("Q")), Some("1"));
    let quote =
        response("Contact: <sip:a\"@example.com>, <sip:b@example.com>").contacts().expect("the list is readable");
    assert_eq!(quote.len(), 2, "a quote in a URI begins no quoted string");
    assert_eq!(message.allow(), Ok(vec!["INVITE".to_owned(), "BYE".to_owned()]));
    assert_eq!(message.require(), Ok(vec![]));
}

/// A name-addr, and its display name, URI text and tag.
type NameAddrCase = (&'static str, Option<(Option<&'static str>, &'static str, Option<&'static str>)>);

const NAME_ADDRS: &[NameAddrCase] = &[
    ("sip:a@example.com;tag=1", Some((None, "sip:a@example.com", Some("1")))),
    ("<sip:a@example.com;x=1>;TAG = 1 ", Some((None, "sip:a@example.com;x=1", Some("1")))),
    ("caller<sip:a@example.com>;tag=1;;", Some((Some("caller"), "sip:a@example.com", Some("1")))),
    ("Bell, Alex <sip:a@example.com>", Some((Some("Bell, Alex"), "sip:a@example.com", None))),
    (
        "\"a \\\" <b> ;tag=9\" < sip:a@example.com >;tag=1",
        Some((Some("a \" <b> ;tag=9"), "sip:a@example.com", Some("1"))),
    ),
    ("\"\" <tel:+14255550100>", Some((None, "tel:+14255550100", None))),
    ("<sip:a@example.com>;x=\"a;tag=2\";tag=1", Some((None, "sip:a@example.com", Some("1")))),
    ("<sip:a@example.com>;tag=a@b!c", Some((None, "sip:a@example.com", Some("a@b!c")))),
    ("\"Mr. J. User <sip:a@example.com>", None),
    ("<sip:a@example.com", None),
    ("<>;tag=1", None),
    ("", None),
    (";tag=1", None),
    ("<sip:a@example.com> tag=1", None),
    ("<sip:a@example.com>;tag=1;tag=2", None),
    ("<sip:a@example.com>;tag=1;TAG=1", Some((None, "sip:a@example.com", Some("1")))),
    ("<sip:a@example.com>;tag=", None),
    ("<sip:a@example.com>;tag=\"1\"", None),
    ("<sip:a@example.com>;tag=1 2", None),
    ("<sip:a@example.com>;tag=1, <sip:b@example.com>;tag=2", None),
];

#[test]
fn addresses_have_their_parts() {
    for (text, expected) in NAME_ADDRS {
        let read = response(&format!("From: {text}")).from_header().ok();
        let parts = read.as_ref().map(|it| (it.display_name(), it.uri_text(), it.tag()));
        assert_eq!(parts, *expected, "{text}");
    }
}

#[test]
fn addresses_are_written_with_brackets_and_quotes() {
    for (text, written) in [
        ("a\\b <sip:a@example.com>;x=\"y\";lr", "\"a\\\\b\" <sip:a@example.com>;x=\"y\";lr"),
        ("\"5\\\" pipe\"<sip:a@example.com;lr>", "\"5\\\" pipe\" <sip:a@example.com;lr>"),
        ("sip:p1.example.com;lr", "<sip:p1.example.com;lr>"),
    ] {
        let routes = response(&format!("Record-Route: {text}")).record_routes().expect("the list is readable");
        assert_eq!(routes.iter().map(ToString::to_string).collect::<Vec<_>>(), [written]);
    }
}

#[test]
fn via_has_its_parts() {
    let via = |text: &str| response(&format!("Via: {text}")).top_via().ok();
    let spaced = via("SIP  / 2.0  / tcp \t pbx.example.com : 5070 ; branch = z9 ;received=192.0.2.9; rport=6000, junk")
        .expect("readable");
    assert_eq!(
        (spaced.transport(), spaced.host().to_string().as_str(), spaced.port()),
        ("TCP", "pbx.example.com", Some(5070))
    );
    assert_eq!((spaced.branch(), spaced.rport()), (Some("z9"), Rport::Port(6000)));
    assert_eq!(spaced.received(), "192.0.2.9".parse().ok());
    let v6 = via("SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=b;maddr=192.0.2.3;rport=")
        .expect("readable");
    assert_eq!((v6.host().to_string().as_str(), v6.port()), ("[2001:db8::9:1]", None));
    assert_eq!((v6.received(), v6.maddr()), ("2001:db8::9:255".parse().ok(), Some("192.0.2.3")));
    assert_eq!(v6.rport(), Rport::Requested, "an empty rport asks for the port, as `;rport` does");
    assert_eq!(via("SIP/2.0/UDP 192.0.2.1;rport=99999").map(|via| via.rport()), Some(Rport::Requested));
    assert_eq!(
        via("SIP/2.0/UDP 192.0.2.1").map(|via| (via.rport(), via.branch().is_none())),
        Some((Rport::Absent, true))
    );
    for malformed in [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0/UDP ;branch=b",
        "SIP/3.0/UDP a",
        "HTTP/2.0/UDP a",
        "SIP/2.0 a",
        "SIP/2.0/U(P a",
        "SIP/2.0/UDP a:b",
        "SIP/2.0/UDP 2001:db8::1",
        "SIP/2.0/UDP a;branch=",
        "SIP/2.0/UDP a;branch=b;branch=c",
        "SIP/2.0/UDP a;x=\"",
    ] {
        assert_eq!(via(malformed), None, "{malformed}");
    }
}

#[test]
fn numbers_have_their_ranges() {
    let cseq = |text: &str| response(&format!("CSeq: {text}")).cseq().ok().map(|it| it.to_string());
    assert_eq!(cseq("0009 \t INVITE").as_deref(), Some("9 INVITE"));
    assert_eq!(cseq("2147483647 *x!").as_deref(), Some("2147483647 *x!"));
    for malformed in ["2147483648 BYE", "36893488147419103232 BYE", "-1 BYE", "1", "BYE", "1BYE", "1 B YE", "1 ", ""] {
        assert_eq!(cseq(malformed), None, "{malformed}");
    }
    let rack = RAck { rseq: 776656, cseq: CSeq { number: 1, method: Method::Invite } };
    assert_eq!(rack.to_string(), "776656 1 INVITE");
    assert_eq!(response("RAck: 776656  1 INVITE").rack(), Ok(Some(rack)));
    assert_eq!(problem(response("RAck: 1 INVITE").rack()), Some(("RAck", HeaderProblem::Malformed)));
    assert_eq!(problem(response("RSeq: 4294967296").rseq()), Some(("RSeq", HeaderProblem::OutOfRange)));
    let retry = |text: &str| response(&format!("Retry-After: {text}")).retry_after().ok().flatten();
    assert_eq!(retry("120 (in a meeting, \"perhaps)"), Some(120));
    assert_eq!(retry("18000;duration=3600"), Some(18000));
    assert_eq!(retry("99999999999"), Some(u32::MAX));
    assert_eq!(retry("soon"), None);
    assert_eq!(retry("12x"), None);
    let expires = |text: &str| response(&format!("x: {text}")).session_expires().ok().flatten();
    assert_eq!(expires("1800 ; foo ; refresher = uac").map(|it| it.refresher), Some(Some(Refresher::Uac)));
    assert_eq!(expires("1800;refresher=me"), None);
    assert_eq!(response("Min-SE: 90;x=y").min_se(), Ok(Some(90)));
    assert_eq!(response("Subject: none").min_se(), Ok(None));
}

#[test]
fn the_cause_of_q850_is_found() {
    for (lines, cause) in [
        ("Reason: Q.850;cause=21;text=\"Call rejected\"", Some(21)),
        ("Reason: SIP;cause=480, q.850 ; cause = \"17\"", Some(17)),
        ("Reason: SIP;cause=503\nReason: Q.850;cause=19", Some(19)),
        ("Reason: ;;, Q.850;cause=1", Some(1)),
        ("Reason: Q.850", None),
        ("Reason: Q.850;cause=x", None),
        ("Reason: Q.850;cause=1;text=\"open", None),
        ("Subject: Q.850;cause=1", None),
    ] {
        assert_eq!(response(lines).q850_cause(), cause, "{lines}");
    }
}

#[test]
fn forwarding_is_listed() {
    let message = response(
        "Diversion: <sip:+14255550101@example.com>;reason=no-answer, \"x\" <tel:+14255550102>;reason=deflection\n\
         History-Info: <sip:a@example.com?Reason=SIP%3Bcause%3D302>;index=1",
    );
    let reasons: Vec<_> =
        message.diversions().expect("readable").iter().map(|it| it.params().get("reason").map(str::to_owned)).collect();
    assert_eq!(reasons, [Some("no-answer".to_owned()), Some("deflection".to_owned())]);
    assert_eq!(message.history().map(|list| list.len()), Ok(1));
}

#[test]
fn limits_of_messages_and_headers_hold() {
    let limits = Limits::default();
    let body = |start: &str, length: usize| [start.as_bytes(), b"\r\n\r\n", &vec![b'x'; length]].concat();
    let read = |bytes: &[u8]| Message::from_datagram(bytes, &limits).map(|_| ());
    let (request, response_line) = ("OPTIONS sip:a SIP/2.0", "SIP/2.0 200 OK");
    assert_eq!(read(&body(request, 8000)), Ok(()));
    assert_eq!(read(&body(request, 8192)), Err(MessageError::TooLong { limit: 8192 }));
    assert_eq!(read(&body(response_line, 60_000)), Ok(()));
    assert_eq!(read(&body(response_line, 65_536)), Err(MessageError::TooLong { limit: 65_536 }));
    let headers = |count: usize| crlf(&format!("{response_line}\n{}\n", "no header\n".repeat(count)));
    assert_eq!(read(&headers(200)), Ok(()));
    assert_eq!(read(&headers(201)), Err(MessageError::TooManyHeaders { limit: 200 }));
    let list =
        |count: usize| response(&format!("Supported: {}", "a,".repeat(count))).supported().map(|list| list.len());
    assert_eq!(list(64), Ok(64));
    assert_eq!(problem(list(65)), Some(("Supported", HeaderProblem::TooMany)));
    let call_id = |length: usize| problem(response(&format!("i: {}", "a".repeat(length))).call_id());
    assert_eq!(call_id(1024), None);
    assert_eq!(call_id(1025), Some(("Call-ID", HeaderProblem::TooLong)));
    let tag = |length: usize| problem(response(&format!("t: <a>;tag={}", "a".repeat(length))).to_header());
    assert_eq!(tag(1025), Some(("To", HeaderProblem::TooLong)));
    let params = |count: usize| problem(response(&format!("t: <a>{}", ";a".repeat(count))).to_header());
    assert_eq!((params(64), params(65)), (None, Some(("To", HeaderProblem::TooMany))));
}

#[test]
fn debug_output_has_no_personal_data() {
    let message = b"INVITE sip:+14255550100@a SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\
        From: \"Secret\" <sip:+14255550101@a>;tag=1\r\nTo: <sip:+14255550102@a>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\
        X-Number: +14255550103\r\n\r\n+14255550104";
    let message = Message::from_datagram(message, &Limits::default()).unwrap();
    let shown = format!(
        "{message:?} {:?} {:?} {:?}",
        message.essentials().unwrap(),
        message.request_uri().unwrap(),
        message.headers().collect::<Vec<_>>()
    );
    assert!(!shown.contains("4255550") && !shown.contains("Secret"), "{shown}");
}
