//! Unusual messages modelled on RFC 4475 and RFC 5118: each is accepted or rejected as they say.

mod support;

use phonegate_sip::framing::{StreamEvent, StreamReader};
use phonegate_sip::message::{HeaderProblem, Limits, Message, MessageError, UriError};
use support::{crlf, read};

/// Reads all that a user agent needs to process a message, and each list that it would use.
fn judge(text: &str) -> Result<Message, MessageError> {
    let message = read(text)?;
    message.request_uri()?;
    message.essentials()?;
    for list in [message.contacts()?, message.routes()?, message.record_routes()?] {
        for address in list.iter().filter(|address| address.uri_text() != "*") {
            address.uri().map_err(|error| header("Contact", HeaderProblem::Uri(error)))?;
        }
    }
    message.vias()?;
    message.supported()?;
    message.require()?;
    message.content_type()?;
    message.expires()?;
    message.retry_after()?;
    Ok(message)
}

fn header(name: &'static str, problem: HeaderProblem) -> MessageError {
    MessageError::Header { name, problem }
}

/// A request with these lines, and what every message needs as far as `lines` does not have it.
fn request(line: &str, lines: &str) -> String {
    let method = line.split(' ').next().unwrap_or_default();
    complete(line, lines, method)
}

fn complete(line: &str, lines: &str, method: &str) -> String {
    let mut text = format!("{line}\n");
    for (names, usual) in [
        (["via", "v"], "Via: SIP/2.0/UDP 192.0.2.15;branch=z9hG4bKkdjuw"),
        (["from", "f"], "From: <sip:caller@example.com>;tag=1918181833n"),
        (["to", "t"], "To: <sip:user@example.com>"),
        (["call-id", "i"], "Call-ID: odd.0ha0isndaksdj@192.0.2.15"),
        (["cseq", "cseq"], &format!("CSeq: 8 {method}")),
    ] {
        let has = |line: &str| {
            let name = line.split(':').next().unwrap_or_default().trim().to_lowercase();
            names.contains(&name.as_str())
        };
        if !lines.lines().any(has) {
            text.push_str(usual);
            text.push('\n');
        }
    }
    format!("{text}{lines}\n\n")
}

fn accepted() -> Vec<(&'static str, String)> {
    let long = "longvalue".repeat(30);
    let options = "OPTIONS sip:user@example.com SIP/2.0";
    let register = "REGISTER sip:example.com SIP/2.0";
    vec![
        (
            "blanks and folds wherever they may be",
            "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\n\
             TO :\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\n\
             from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\n  ;\n  tag = 98asjd8\n\
             MaX-fOrWaRdS: 0068\nCall-ID: wsinv.ndaksdj@192.0.2.1\nContent-Length   : 5\ncseq: 0009\n  INVITE\n\
             Via  : SIP  /   2.0\n /UDP\n    192.0.2.2;branch=390skdjuw\ns :\n\
             NewFangledHeader:   newfangled value\n continued newfangled value\n\
             UnknownHeaderWithUnusualValue: ;;,,;;,;\nContent-Type: application/sdp\n\
             Route:\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\n\
             v:  SIP  / 2.0  / TCP     spindle.example.com   ;\n  branch  =   z9hG4bK9ikj8  ,\n SIP  /    2.0   / UDP  192.168.255.111   ; branch=\n z9hG4bK30239\n\
             m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =\n      newvalue ;\n  secondparam ; q = 0.33\n\nv=0\n"
                .to_owned(),
        ),
        (
            "all characters that may be in a method, a user part and a tag",
            request(
                "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0",
                "From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"\u{442}\u{435}\u{441}\u{442}\";tag=_token~1'+`*%!-.\nextensionHeader-!.%*+_`'~:\u{fffd}\u{442}",
            ),
        ),
        ("an escaped @ in a user part", request("INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0", "Contact: <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>")),
        ("an escaped NUL in a user part", request(register, "Contact: <sip:%00@host5.example.com>, <sip:%00%00@host5.example.com>\nTo: sip:null-%00-null@example.com")),
        ("a percent sign in a method is no escape", request("RE%47IST%45R sip:registrar.example.com SIP/2.0", "Contact: <sip:alias1@host1.example.com>")),
        ("no blank before the angle bracket", request(options, "From: caller<sip:caller@example.com>;tag=323")),
        ("long values", request(&format!("INVITE sip:user@example.com;unknown={long} SIP/2.0"), &format!("{long}: {long}\nTo: \"I have a {long}\" <sip:user@example.com:6000;unknownparam1=very{long};longparam{long}>\nFrom: sip:{long}@example.com;tag={long}\nCall-ID: longreq.{long}\nRoute: {}", ["<sip:longhost.example.com;lr>"; 34].join(",\n ")))),
        ("a second message in the datagram", format!("{}INVITE sip:joe@example.com SIP/2.0\n\n", request(register, "Content-Length: 0"))),
        ("a semicolon in a user part", request("OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0", "Accept: application/sdp")),
        ("unknown transports", request(options, "Via: SIP/2.0/UDP t1.example.com;branch=z9hG4bKkdjuw\nVia: SIP/2.0/UNKNOWN t2.example.com;branch=x\nv: SIP/2.0/SCTP t3.example.com")),
        ("a body of several parts with binary", request("MESSAGE sip:kumiko@example.org SIP/2.0", "Content-Type: multipart/mixed;boundary=7a9cbec02ceef655")),
        ("a reason phrase beyond ASCII", complete("SIP/2.0 200 = 2**3 * 5**2 \u{43d}\u{43e} \u{441}\u{442}\u{43e}", "Contact: <sip:user@host198.example.com>", "INVITE")),
        ("an empty reason phrase", complete("SIP/2.0 100 ", "", "INVITE")),
        ("no blank after the status", complete("SIP/2.0 100", "", "INVITE")),
        ("blanks between the parts of the first line", request("INVITE  sip:user@example.com  SIP/2.0", "CSeq: 8 INVITE")),
        ("blanks after the first line", request("OPTIONS sip:remote-target@example.com SIP/2.0  ", "")),
        ("headers in the Request-URI", request("INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0", "")),
        ("a date that is none", request(options, "Date: Fri, 01 Jan 2010 16:00:00 EST")),
        ("characters in a display name that ought to be quoted", request(options, "From: Bell, Alexander <sip:a.g.bell@bell-tel.example.com>;tag=43")),
        ("blanks inside of angle brackets", request(options, "To: \"Watson, Thomas\" < sip:t.watson@example.org >")),
        ("a branch of the magic cookie only", request(options, "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK")),
        ("an unknown scheme", request("OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0", "")),
        ("a known scheme that is not SIP", request("OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0", "To: isbn:2983792873;tag=z")),
        ("unknown extensions", request(options, "Require: nothingSupportsThis, nothingSupportsThisEither\nProxy-Require: nothingSupportsThis")),
        ("a body of an unknown type", request("INVITE sip:user@example.com SIP/2.0", "Content-Type: application/unknownformat")),
        ("credentials of an unknown scheme", request(register, "Authorization: NoOneKnowsThisScheme opaque-data=here")),
        ("a response to another address", complete("SIP/2.0 200 OK", "Via: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923\nVia: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23", "INVITE")),
        ("no more hops", request(options, "Max-Forwards: 0")),
        ("parameters of a contact without angle brackets", request(register, "Contact: sip:+14255550100@gw1.example.net;unknownparam")),
        ("parameters of a URI in angle brackets", request(register, "Contact: <sip:+14255550100@gw1.example.net;unknownparam>")),
        ("escaped headers of a contact", request(register, "Contact: <sip:user@example.com?Route=%3Csip:sip.example.com%3E>")),
        ("all contacts", request(register, "Contact: *\nExpires: 0")),
        ("an Accept that has nothing to do with SDP", request("INVITE sip:user@example.com SIP/2.0", "Accept: text/nobodyKnowsThis")),
        ("a peer of RFC 2543", request("INVITE sip:UserB@example.com SIP/2.0", "Via: SIP/2.0/UDP iftgw.example.com\nFrom: <sip:+14255550100@ift.example.net;user=phone>")),
        ("out-of-range numbers in headers that are not needed", request(register, "Max-Forwards: 300\nExpires: 10000000000000000000000\nContact: <sip:user@host129.example.com>;expires=280297596632815")),
        ("an IPv6 address", request("REGISTER sip:[2001:db8::10] SIP/2.0", "Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111\nContact: <sip:caller@[2001:db8::1]>")),
        ("what might be a port is part of the IPv6 address", request("REGISTER sip:[2001:db8::10:5070] SIP/2.0", "")),
        ("an IPv6 address and a port", request("REGISTER sip:[2001:db8::10]:5070 SIP/2.0", "")),
        ("received with brackets", request("BYE sip:[2001:db8::10] SIP/2.0", "Via: SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111")),
        ("received without brackets", request("BYE sip:[2001:db8::10] SIP/2.0", "Via: SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKas3-111")),
        ("an IPv4 address in an IPv6 address", request("INVITE sip:user@example.com SIP/2.0", "Via: SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKbh19\nContact: \"T\" <sip:t@[::ffff:192.0.2.10]:19823>")),
    ]
}

fn rejected() -> Vec<(&'static str, String, MessageError)> {
    use HeaderProblem::{Duplicated, Malformed, MethodMismatch, Missing, OutOfRange};
    let options = "OPTIONS sip:user@example.com SIP/2.0";
    let register = "REGISTER sip:example.com SIP/2.0";
    let uri = |error| header("Contact", HeaderProblem::Uri(error));
    vec![
        ("semicolons and commas without values", request("INVITE sip:user@example.com SIP/2.0", "Via: SIP/2.0/UDP 192.0.2.15;;,;,,"), header("Via", Malformed)),
        ("Content-Length beyond the datagram", request(options, "Content-Length: 9999"), MessageError::BodyCutShort { length: 9999, available: 0 }),
        ("a negative Content-Length", request(options, "Content-Length: -999"), header("Content-Length", Malformed)),
        ("a CSeq of more than 64 bits", request(register, "CSeq: 36893488147419103232 REGISTER"), header("CSeq", OutOfRange)),
        ("a CSeq of 32 bits in a response", complete("SIP/2.0 503 Service Unavailable", "CSeq: 9292394834772304023312 OPTIONS\nRetry-After: 949302838503028349304023988", "OPTIONS"), header("CSeq", OutOfRange)),
        ("a quoted string without an end", request("INVITE sip:user@example.com SIP/2.0", "To: \"Mr. J. User <sip:j.user@example.com>"), header("To", Malformed)),
        ("angle brackets round the Request-URI", request("INVITE <sip:user@example.com> SIP/2.0", ""), MessageError::RequestUri(UriError::Character)),
        ("blanks in the Request-URI", request("INVITE sip:user@example.com; lr SIP/2.0", ""), MessageError::StartLine),
        ("no URI", request("INVITE SIP/2.0", ""), MessageError::StartLine),
        ("no version", request("INVITE sip:user@example.com", ""), MessageError::StartLine),
        ("a blank before the method", request(" INVITE sip:user@example.com SIP/2.0", "CSeq: 8 INVITE"), MessageError::StartLine),
        ("headers of a contact without angle brackets", request(register, "Contact: sip:user@example.com?Route=%3Csip:sip.example.com%3E"), uri(UriError::Character)),
        ("another version", request("OPTIONS sip:user@example.com SIP/7.0", ""), MessageError::Version),
        ("another version in a response", complete("SIP/2.1 200 OK", "", "OPTIONS"), MessageError::Version),
        ("a CSeq of another method", request(options, "CSeq: 8 INVITE"), header("CSeq", MethodMismatch)),
        ("a CSeq of another, unknown method", request("NEWMETHOD sip:user@example.com SIP/2.0", "CSeq: 8 INVITE"), header("CSeq", MethodMismatch)),
        ("a CSeq in lower case", request(options, "CSeq: 8 options"), header("CSeq", MethodMismatch)),
        ("a status that is too great", complete("SIP/2.0 4294967301 better not break the receiver", "", "INVITE"), MessageError::StartLine),
        ("a status that is too small", complete("SIP/2.0 099 Too small", "", "INVITE"), MessageError::StartLine),
        ("a status of an unknown class", complete("SIP/2.0 700 Too great", "", "INVITE"), MessageError::StartLine),
        ("a Call-ID of two words", request(options, "Call-ID: one two"), header("Call-ID", Malformed)),
        ("an empty Call-ID", request(options, "Call-ID:"), header("Call-ID", Malformed)),
        ("no From, To and Call-ID", "INVITE sip:user@example.com SIP/2.0\nCSeq: 193942 INVITE\nVia: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKkdj.insuf\n\n".to_owned(), header("Call-ID", Missing)),
        ("two of each", request("INVITE sip:user@example.com SIP/2.0", "CSeq: 5 INVITE\ncseq: 59 INVITE\nFrom: <sip:a@example.com>;tag=1\nf: <sip:b@example.com>;tag=2"), header("CSeq", Duplicated)),
        ("two Call-IDs", request(options, "Call-ID: one\ni: two"), header("Call-ID", Duplicated)),
        ("two Tos", request(options, "To: <sip:a@example.com>\nt: <sip:b@example.com>"), header("To", Duplicated)),
        ("two Content-Lengths", format!("{}There's no way to know", request(options, "Content-Length: 13\nl: 5")), header("Content-Length", Duplicated)),
        ("an IPv6 address without brackets", request("REGISTER sip:2001:db8::10 SIP/2.0", ""), MessageError::RequestUri(UriError::Host)),
        ("three colons in an IPv6 address", request("OPTIONS sip:user@[2001:db8:::192.0.2.1] SIP/2.0", ""), MessageError::RequestUri(UriError::Host)),
        ("an IPv6 address without brackets in Via", request(options, "Via: SIP/2.0/UDP 2001:db8::9:1;branch=b"), header("Via", HeaderProblem::Uri(UriError::Host))),
        ("no empty line", format!("{options}\nCSeq: 8 OPTIONS\n"), MessageError::HeadersNotEnded),
        ("line ends only", "\n\n\n".to_owned(), MessageError::Empty),
        ("nothing", String::new(), MessageError::Empty),
    ]
}

#[test]
fn odd_messages_are_accepted() {
    for (name, text) in accepted() {
        assert_eq!(judge(&text).map(|_| ()), Ok(()), "{name}");
    }
}

#[test]
fn broken_messages_are_rejected() {
    for (name, text, error) in rejected() {
        assert_eq!(judge(&text).map(|_| ()), Err(error), "{name}");
    }
}

/// On a stream, each is followed by an ordinary message, which must be read if the end of the odd one is known.
#[test]
fn odd_messages_do_not_end_a_stream() {
    let texts = accepted().into_iter().chain(rejected().into_iter().map(|(name, text, _)| (name, text)));
    let mut read = 0;
    for (name, text) in texts {
        let Some((head, body)) = text.split_once("\n\n").filter(|(head, _)| !head.is_empty()) else { continue };
        // The end of these is unknown, or something that is no message follows it.
        if name.contains("Content-Length") || name.contains("second message") {
            continue;
        }
        let has_length = head.to_lowercase().contains("content-length");
        let length = crlf(body).len();
        let odd = if has_length { text.clone() } else { format!("{head}\nl: {length}\n\n{body}") };
        let stream = [crlf(&odd), b"BYE sip:last@example.com SIP/2.0\r\nContent-Length: 0\r\n\r\n".to_vec()].concat();
        let mut reader = StreamReader::new(Limits::default());
        reader.push(&stream).expect("the bytes are taken");
        let mut last = None;
        while let Some(event) = reader.next_event().unwrap_or_else(|error| panic!("{name}: {error}")) {
            last = Some(event);
        }
        let Some(StreamEvent::Message(last)) = last else { panic!("{name}: no message at the end") };
        assert_eq!(last.request_uri_bytes(), Some(&b"sip:last@example.com"[..]), "{name}");
        read += 1;
    }
    assert!(read > 60, "nearly all are tried, not {read}");
}
