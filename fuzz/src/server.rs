//! A server that responds to an agent, correctly or not.

use arbitrary::Arbitrary;
use phonegate_sip::message::{Message, Method};

/// A response of the server.
#[derive(Arbitrary, Debug)]
pub struct Reply {
    status: u8,
    tag: u8,
    /// The RSeq of a reliable provisional response.
    rseq: Option<u8>,
    has_body: bool,
    contact: u8,
    route: u8,
    challenge: u8,
    expires: Option<u8>,
    cseq: CSeqChoice,
}

#[derive(Arbitrary, Debug)]
enum CSeqChoice {
    Right,
    Wrong(u8),
    OtherMethod,
}

const STATUSES: [u16; 28] = [
    100, 180, 181, 183, 199, 200, 202, 299, 300, 302, 401, 404, 405, 407, 408, 420, 422, 423, 480, 481, 486, 487, 488,
    491, 500, 503, 600, 603,
];

const TAGS: [&str; 6] = ["", ";tag=a", ";tag=b", ";tag=c", ";tag=d", ";tag="];

const CONTACTS: [&str; 7] = [
    "",
    "Contact: <sip:pbx@192.0.2.9:5080>\r\n",
    "Contact: <sip:+14255550100@trunk.example.com:5090>\r\n",
    "Contact: <sip:+14255550199@trunk.example.com>\r\n",
    "Contact: <sip:thief@198.51.100.66;maddr=198.51.100.66>\r\n",
    "Contact: <sip:gate@192.0.2.1:5070>;expires=60, <sip:other@192.0.2.7>;expires=9\r\n",
    "Contact: \"\r\n",
];

const ROUTES: [&str; 5] = [
    "",
    "Record-Route: <sip:192.0.2.9;lr>\r\n",
    "Record-Route: <sip:192.0.2.9>, <sip:198.51.100.7;lr>\r\n",
    "Record-Route: <sip:198.51.100.66:5060>\r\n",
    "Record-Route: <tel:+1>\r\n",
];

const CHALLENGES: [&str; 6] = [
    "",
    "WWW-Authenticate: Digest realm=\"r\", nonce=\"1\", algorithm=SHA-256, qop=\"auth\"\r\n",
    "WWW-Authenticate: Digest realm=\"r\", nonce=\"2\", algorithm=SHA-256, qop=\"auth\", stale=true\r\n",
    "Proxy-Authenticate: Digest realm=\"p\", nonce=\"3\"\r\n",
    "WWW-Authenticate: Digest realm=\"r\", nonce=\"4\", algorithm=MD5\r\n",
    "Proxy-Authenticate: Basic realm=\"p\"\r\n",
];

const METHODS: [&str; 14] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "UPDATE",
    "INFO",
    "OPTIONS",
    "PRACK",
    "REFER",
    "NOTIFY",
    "MESSAGE",
    "PING",
    "REGISTER",
    "SUBSCRIBE",
];

const BODIES: [(&str, &str); 5] = [
    ("", ""),
    ("application/sdp", "v=0\r\n"),
    ("application/dtmf-relay", "Signal=#\r\n"),
    ("multipart/mixed;boundary=b", "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b--\r\n"),
    ("text/plain", "#"),
];

fn pick<T: Copy>(list: &[T], index: u8) -> T {
    list[usize::from(index) % list.len()]
}

fn header(message: &Message, name: &str) -> String {
    String::from_utf8_lossy(message.header_values(name).next().unwrap_or_default()).into_owned()
}

/// Writes a response to a request.
pub fn write_response(request: &Message, reply: &Reply) -> String {
    let to = header(request, "To");
    let tag = if to.contains(";tag=") { "" } else { pick(&TAGS, reply.tag) };
    let cseq = match reply.cseq {
        CSeqChoice::Right => header(request, "CSeq"),
        CSeqChoice::Wrong(number) => format!("{number} INVITE"),
        CSeqChoice::OtherMethod => header(request, "CSeq").replace("INVITE", "BYE"),
    };
    let reliable = reply.rseq.map(|rseq| format!("Require: 100rel\r\nRSeq: {rseq}\r\n")).unwrap_or_default();
    let expires = reply.expires.map(|seconds| {
        format!("Expires: {seconds}\r\nSession-Expires: {seconds};refresher=uac\r\nMin-SE: {seconds}\r\nMin-Expires: {seconds}\r\n")
    });
    let (content, body) = if reply.has_body { ("Content-Type: application/sdp\r\n", "v=0\r\n") } else { ("", "") };
    format!(
        "SIP/2.0 {} Any\r\nVia: {}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {cseq}\r\n{}{}{}{reliable}{}\
         Allow: UPDATE\r\n{content}Content-Length: {}\r\n\r\n{body}",
        pick(&STATUSES, reply.status),
        header(request, "Via"),
        header(request, "From"),
        header(request, "Call-ID"),
        pick(&CONTACTS, reply.contact),
        pick(&ROUTES, reply.route),
        pick(&CHALLENGES, reply.challenge),
        expires.unwrap_or_default(),
        body.len(),
    )
}

/// Writes a request within the call of a request of the agent.
pub fn write_request(sent: &Message, method: u8, cseq: u8, tag: u8, body: u8) -> String {
    let method = pick(&METHODS, method);
    let (content_type, body) = pick(&BODIES, body);
    let to = header(sent, "To");
    let tag = if to.contains(";tag=") || sent.method() == Some(&Method::Register) { "" } else { pick(&TAGS, tag) };
    let content = if body.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") };
    format!(
        "{method} sip:gate@192.0.2.1:5070 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK{method}{cseq}\r\n\
         From: {to}{tag}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n\
         Session-Expires: 90;refresher=uas\r\n{content}Content-Length: {}\r\n\r\n{body}",
        header(sent, "From"),
        header(sent, "Call-ID"),
        body.len(),
    )
}
