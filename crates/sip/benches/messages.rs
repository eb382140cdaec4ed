//! Measures the parser: messages parsed per second, and allocations. Prints one table.
//!
//! Of each message it reads what a user agent needs: Via, From, To, Call-ID, CSeq, Contact, Record-Route and Content-Type,
//! with the URIs in them.

use std::hint::black_box;
use std::time::Instant;

use allocation_counter::measure;
use phonegate_sip::message::{Limits, Message};

/// Number of rounds; the table has the median.
const ROUNDS: usize = 101;

/// Number of times that the message is read in a round.
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
        (
            "183",
            response("183 Session ProvisionalResponse", "2 INVITE", &format!("{routes}{contact}{allow}{sdp}"), SDP),
        ),
        ("407", response("407 Proxy Authentication Required", "1 INVITE", challenges, "")),
        ("200", response("200 OK", "2 INVITE", &format!("{contact}{allow}{sdp}"), SDP)),
        ("BYE", request("BYE sip:gate@192.0.2.1:5060", "BYE", "Reason: Q.850;cause=16\n", "")),
        ("OPTIONS", request("OPTIONS sip:gate@192.0.2.1:5060", "OPTIONS", contact, "")),
    ]
}

/// Reads a message. Returns `None` if it cannot be read.
fn read(bytes: &[u8]) -> Option<()> {
    let message = Message::from_datagram(black_box(bytes), &Limits::default()).ok()?;
    let essentials = message.essentials().ok()?;
    let (contacts, record_routes) = (message.contacts().ok()?, message.record_routes().ok()?);
    for address in contacts.iter().chain(&record_routes).chain([&essentials.from, &essentials.to]) {
        black_box(address.uri().ok()?);
    }
    let content_type = message.content_type().ok()?;
    black_box((essentials.via.branch(), essentials.from.tag(), essentials.to.tag()));
    black_box((essentials.call_id, essentials.cseq.number));
    black_box((content_type.as_ref().map(|it| it.media_type()), message.body()));
    Some(())
}

fn main() {
    println!("{:<10}{:>8}{:>20}{:>22}", "message", "bytes", "messages a second", "allocations (bytes)");
    for (name, bytes) in messages() {
        assert!(read(&bytes).is_some(), "{name}: the message can be read");
        let allocated = measure(|| _ = black_box(read(&bytes)));
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for _ in 0..READS {
                black_box(read(&bytes));
            }
            times.push(start.elapsed() / READS);
        }
        times.sort();
        let a_second = 1.0 / times[ROUNDS / 2].as_secs_f64();
        let memory = format!("{} ({})", allocated.count_total, allocated.bytes_total);
        println!("{name:<10}{:>8}{a_second:>20.0}{memory:>22}", bytes.len());
    }
}
