//! Compares phonegate-sip with the parser of rsipstack: messages parsed per second, and allocations. Prints one table.
//!
//! Both parse the same messages in turn, and of each the headers that a user agent needs: Via, From, To, Call-ID, CSeq,
//! Contact, Record-Route and Content-Type, with the URIs in them.

use std::hint::black_box;
use std::time::Instant;

use allocation_counter::measure;
use phonegate_sip::message::{Limits, Message};
use rsipstack::sip::headers::ToTypedHeader;
use rsipstack::sip::{HeadersExt, SipMessage};

/// Number of rounds; the table has the median. In each round, each parser reads the message in turn.
const ROUNDS: usize = 101;

/// Number of times that a parser reads a message in a round.
const READS: u32 = 500;

const SDP: &str = "v=0\no=- 1481231235 1481231237 IN IP4 192.0.2.9\ns=Asterisk\nc=IN IP4 192.0.2.9\nt=0 0\n\
    m=audio 14512 RTP/AVP 0 8 101\na=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\na=rtpmap:101 telephone-event/8000\n\
    a=fmtp:101 0-16\na=ptime:20\na=maxptime:150\na=sendrecv\n";

/// The headers that a response copies from its request.
const REPEATED: &str = "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-5f1c9a2e7d;received=192.0.2.1;rport=5060\n\
    From: <sip:gate@example.com>;tag=8c1f0e6a\nTo: <sip:+14255550100@example.com>;tag=as5d2f7b10\n\
    Call-ID: 3f0c6b1e9a7d4c52@192.0.2.1\n";

/// The messages, with their names.
fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let request = |line: &str, method: &str, headers: &str, body: &str| {
        let text = format!(
            "{line} SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=z9hG4bKPj4f0c1d2a77\n\
             From: \"Front desk\" <sip:+14255550101@example.com>;tag=3b1c7e\nTo: <sip:gate@example.com>;tag=8c1f0e6a\n\
             Call-ID: 3f0c6b1e9a7d4c52@192.0.2.1\nCSeq: 21437 {method}\nMax-Forwards: 70\n\
             User-Agent: Asterisk PBX 22\n{headers}Content-Length: {}\n\n{body}",
            body.replace('\n', "\r\n").len(),
        );
        text.replace('\n', "\r\n").into_bytes()
    };
    let response = |line: &str, cseq: &str, headers: &str, body: &str| {
        let length = body.replace('\n', "\r\n").len();
        let text = format!("SIP/2.0 {line}\n{REPEATED}CSeq: {cseq}\n{headers}Content-Length: {length}\n\n{body}");
        text.replace('\n', "\r\n").into_bytes()
    };
    let contact = "Contact: <sip:+14255550100@192.0.2.9:5060>\n";
    let allow = "Allow: OPTIONS, REGISTER, SUBSCRIBE, NOTIFY, PUBLISH, INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO\n\
        Supported: 100rel, timer, replaces, norefersub\n";
    let sdp = "Content-Type: application/sdp\n";
    let routes = "Record-Route: <sip:edge.example.com;lr;ftag=8c1f0e6a>\nRecord-Route: <sip:192.0.2.8;transport=tcp;lr>\n\
        Require: 100rel\nRSeq: 9021\n";
    let challenges = "Proxy-Authenticate: Digest realm=\"example.com\", nonce=\"5f2a0c\", qop=\"auth\", algorithm=SHA-256\n\
        Proxy-Authenticate: Digest realm=\"example.com\", nonce=\"5f2a0c\", qop=\"auth\", algorithm=MD5\n";
    vec![
        (
            "INVITE",
            request(
                "INVITE sip:gate@192.0.2.1:5060",
                "INVITE",
                &format!("{contact}{allow}Session-Expires: 1800;refresher=uac\nMin-SE: 90\n{sdp}"),
                SDP,
            ),
        ),
        ("183", response("183 Session Progress", "2 INVITE", &format!("{routes}{contact}{allow}{sdp}"), SDP)),
        ("407", response("407 Proxy Authentication Required", "1 INVITE", challenges, "")),
        ("200", response("200 OK", "2 INVITE", &format!("{contact}{allow}{sdp}"), SDP)),
        ("BYE", request("BYE sip:gate@192.0.2.1:5060", "BYE", "Reason: Q.850;cause=16\n", "")),
        ("OPTIONS", request("OPTIONS sip:gate@192.0.2.1:5060", "OPTIONS", contact, "")),
    ]
}

/// The values that a parser found, without copies. Both must find the same, so that neither is fast because it skips
/// something.
#[derive(Debug, PartialEq)]
struct Found<'a> {
    branch: Option<&'a str>,
    tags: [Option<&'a str>; 2],
    call_id: &'a str,
    cseq: u32,
    contacts: usize,
    record_routes: usize,
    content_type: Option<&'a str>,
    body: &'a [u8],
}

/// Reads a message and passes on what it found. Returns `None` if it cannot read the message.
type Parser = fn(&[u8], &mut dyn FnMut(Found<'_>)) -> Option<()>;

const PARSERS: [Parser; 2] = [by_phonegate, by_rsipstack];

fn by_phonegate(bytes: &[u8], pass_on: &mut dyn FnMut(Found<'_>)) -> Option<()> {
    let message = Message::from_datagram(bytes, &Limits::default()).ok()?;
    let essentials = message.essentials().ok()?;
    let (contacts, record_routes) = (message.contacts().ok()?, message.record_routes().ok()?);
    for address in contacts.iter().chain(&record_routes).chain([&essentials.from, &essentials.to]) {
        black_box(address.uri().ok()?);
    }
    let content_type = message.content_type().ok()?;
    pass_on(Found {
        branch: essentials.via.branch(),
        tags: [essentials.from.tag(), essentials.to.tag()],
        call_id: essentials.call_id,
        cseq: essentials.cseq.number,
        contacts: contacts.len(),
        record_routes: record_routes.len(),
        content_type: content_type.as_ref().map(|it| it.media_type()),
        body: message.body(),
    });
    Some(())
}

fn by_rsipstack(bytes: &[u8], pass_on: &mut dyn FnMut(Found<'_>)) -> Option<()> {
    let message = SipMessage::try_from(bytes).ok()?;
    let via = message.via_header().ok()?.typed().ok()?;
    let from = message.from_header().ok()?.typed().ok()?;
    let to = message.to_header().ok()?.typed().ok()?;
    let cseq = message.cseq_header().ok()?.typed().ok()?;
    let contacts = message.typed_contact_headers().ok()?;
    let record_routes = message.typed_record_route_headers().ok()?;
    let content_type = message.header_value("Content-Type");
    black_box((&from, &to, &contacts, &record_routes));
    pass_on(Found {
        branch: via.branch().map(|branch| branch.value()),
        tags: [from.tag().map(|tag| tag.value()), to.tag().map(|tag| tag.value())],
        call_id: message.call_id_header().ok()?.value(),
        cseq: cseq.seq,
        contacts: contacts.len(),
        record_routes: record_routes.len(),
        content_type: content_type.as_deref(),
        body: match &message {
            SipMessage::Request(request) => request.body(),
            SipMessage::Response(response) => response.body(),
        },
    });
    Some(())
}

/// Parses a message and discards the result.
fn read(parse: Parser, bytes: &[u8]) {
    let read = parse(black_box(bytes), &mut |found| {
        black_box(found);
    });
    assert!(read.is_some(), "the message can be read");
}

fn main() {
    println!("{:<18}{:>34}{:>34}", "", "messages a second", "allocations (bytes)");
    println!(
        "{:<10}{:>8}{:>20}{:>14}{:>20}{:>14}",
        "message", "bytes", "phonegate-sip", "rsipstack", "phonegate-sip", "rsipstack"
    );
    for (name, bytes) in messages() {
        by_phonegate(&bytes, &mut |ours| {
            let read = by_rsipstack(&bytes, &mut |theirs| assert_eq!(ours, theirs, "{name}: both find the same"));
            assert!(read.is_some(), "{name}: both read it");
        });
        let allocated = PARSERS.map(|parse| measure(|| read(parse, &bytes)));
        let mut times = PARSERS.map(|_| Vec::with_capacity(ROUNDS));
        for _ in 0..ROUNDS {
            for (parse, times) in PARSERS.iter().zip(&mut times) {
                let start = Instant::now();
                for _ in 0..READS {
                    read(*parse, &bytes);
                }
                times.push(start.elapsed() / READS);
            }
        }
        let [ours, theirs] = times.map(|mut times| {
            times.sort();
            format!("{:.0}", 1.0 / times[ROUNDS / 2].as_secs_f64())
        });
        let [our_memory, their_memory] = allocated.map(|info| format!("{} ({})", info.count_total, info.bytes_total));
        println!("{name:<10}{:>8}{ours:>20}{theirs:>14}{our_memory:>20}{their_memory:>14}", bytes.len());
    }
}
