//! Transactions of the peer's requests in virtual time (RFC 3261, 17.2; RFC 6026).

#[path = "support/wire.rs"]
mod wire;

use std::time::Duration;

use phonegate_sip::agent::{Config, EndCause, Reply, Transport};
use phonegate_sip::message::{Message, Method};
use wire::{LOCAL, SERVER, Wire, ended, reinvited, request, seconds, times};

/// The times of retransmissions whose interval doubles up to T2, in milliseconds.
const CAPPED: [u128; 10] = [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];

/// The ACK of a rejection has the branch of its INVITE.
fn ack_of_rejection(invite: &Message, cseq: u32) -> Vec<u8> {
    let ack = String::from_utf8(request(invite, "ACK", cseq, "", "")).unwrap();
    ack.replace("z9hG4bKACK", "z9hG4bKINVITE").into_bytes()
}

fn accept() -> Reply {
    Reply::Accept(Some(b"v=0\r\n".to_vec()))
}

/// A 2xx of this side is repeated until its ACK comes, with doubling up to T2, over UDP and over streams (13.3.1.4).
#[test]
fn success_is_repeated_until_its_ack() {
    for mut wire in [Wire::udp(), Wire::tcp()] {
        let (_, invite, _) = wire.establish(wire::call(), "Contact: <sip:pbx@192.0.2.9>\r\n");
        wire.run(seconds(40));
        let success = reinvited(&mut wire, &invite, 1, accept());
        let sent = wire.run(seconds(12));
        assert_eq!(times(&sent), CAPPED[..5]);
        assert!(sent.iter().all(|(_, message)| *message == success));
        wire.receive(&request(&invite, "ACK", 1, "", ""));
        assert!(wire.run(seconds(100)).is_empty());
        assert!(wire.events().is_empty());

        reinvited(&mut wire, &invite, 2, accept());
        let sent = wire.run(seconds(32));
        assert_eq!(times(&sent)[..10], CAPPED);
        assert_eq!(sent.last().map(|(at, message)| (*at, message.method())), Some((seconds(32), Some(&Method::Bye))));
        assert_eq!(ended(&mut wire), Some(EndCause::SessionLost), "without ACK the session ends");
        wire.assert_empty();
    }
}

/// Timers G and H: over UDP a rejection is repeated until its ACK comes, over streams never (17.2.1).
#[test]
fn rejection_is_repeated_until_its_ack_over_udp() {
    for (transport, expected) in [(Transport::Udp, &CAPPED[..]), (Transport::Tcp, &[])] {
        let mut wire = Wire::between(transport, LOCAL, SERVER);
        let (_, invite, _) = wire.establish(wire::call(), "Contact: <sip:pbx@192.0.2.9>\r\n");
        wire.run(seconds(40));
        let rejection = reinvited(&mut wire, &invite, 1, Reply::Reject(488));
        let sent = wire.run(seconds(33));
        assert_eq!(times(&sent), expected);
        assert!(sent.iter().all(|(_, message)| *message == rejection));
        assert_eq!(wire.agent.usage().server_transactions, 0, "timer H ends it");

        reinvited(&mut wire, &invite, 2, Reply::Reject(488));
        wire.receive(&ack_of_rejection(&invite, 2));
        assert!(wire.run(seconds(100)).is_empty());
        assert!(wire.events().is_empty(), "the call continues");
    }
}

/// How long a server transaction is kept: timers I and J, which are 0 over streams.
#[test]
fn server_transactions_are_kept_as_long_as_needed() {
    let cases = [
        ("OPTIONS", Transport::Udp, 32_000),
        ("OPTIONS", Transport::Tcp, 0),
        ("INVITE", Transport::Udp, 5_000),
        ("INVITE", Transport::Tcp, 0),
    ];
    for (method, transport, kept) in cases {
        let mut wire = Wire::between(transport, LOCAL, SERVER);
        let (_, invite, _) = wire.establish(wire::call(), "Contact: <sip:pbx@192.0.2.9>\r\n");
        if method == "INVITE" {
            reinvited(&mut wire, &invite, 1, Reply::Reject(488));
            wire.receive(&ack_of_rejection(&invite, 1));
        } else {
            wire.receive(&request(&invite, method, 1, "", ""));
        }
        if let Some(before) = Duration::from_millis(kept).checked_sub(Duration::from_millis(1)) {
            wire.run(before);
            assert_eq!(wire.agent.usage().server_transactions, 1, "{method} {transport:?}");
            wire.run(Duration::from_millis(1));
        }
        wire.agent.handle_timeout(wire.now);
        assert_eq!(wire.agent.usage().server_transactions, 0, "{method} {transport:?}");
    }
}

/// A repeated request gets the same response and is handled once.
#[test]
fn repeated_request_gets_the_same_response() {
    let mut wire = Wire::udp();
    let (_, invite, _) = wire.establish(wire::call(), "Contact: <sip:pbx@192.0.2.9>\r\n");
    for (method, status) in [("OPTIONS", 200), ("REFER", 405), ("BYE", 200)] {
        let bytes = request(&invite, method, u32::from(status) + 1, "", "");
        wire.receive(&bytes);
        let first = wire.sent_one();
        assert_eq!(first.status(), Some(if method == "BYE" { 500 } else { status }));
        for _ in 0..10 {
            wire.receive(&bytes);
            assert_eq!(wire.sent_one(), first);
        }
    }
    wire.receive(&request(&invite, "BYE", 1_000, "", ""));
    wire.receive(&request(&invite, "BYE", 1_000, "", ""));
    assert_eq!(wire.sent().len(), 2);
    assert_eq!(wire.events().len(), 1, "the end is reported once");
}

/// A retransmitted re-INVITE gets 100 if the caller has not responded yet (RFC 3261, 17.2.1).
#[test]
fn retransmitted_reinvite_gets_100_before_the_response() {
    let mut wire = Wire::udp();
    let (_, invite, _) = wire.establish(wire::call(), "");
    let reinvite = request(&invite, "INVITE", 1, "Content-Type: application/sdp\r\n", "v=0\r\n");
    wire.receive(&reinvite);
    wire.advance(Duration::from_millis(500));
    wire.receive(&reinvite);
    assert_eq!(wire.sent_one().status(), Some(100));
}

/// Many requests of the peer leave room for its BYE, so that the end of the call is noticed.
#[test]
fn bye_is_accepted_after_many_requests() {
    let mut wire = Wire::udp();
    let (_, invite, _) = wire.establish(wire::call(), "");
    for cseq in 1..=200 {
        wire.receive(&request(&invite, "OPTIONS", cseq, "", ""));
    }
    wire.sent();
    wire.receive(&request(&invite, "BYE", 1_000, "", ""));
    assert_eq!(wire.sent_one().status(), Some(200));
    assert_eq!(wire.events().len(), 1);
    wire.assert_empty();
}

/// Requests beyond the limit of their bytes are rejected, except for a BYE. There is room again when they have expired.
#[test]
fn long_requests_are_rejected_beyond_the_limit_of_bytes() {
    let config = Config { max_server_bytes: 10_000, ..Config::default() };
    let mut wire = Wire::with_config(Transport::Udp, LOCAL, SERVER, config);
    let (_, invite, _) = wire.establish(wire::call(), "");
    let long = "x".repeat(3_000);
    let statuses = |wire: &mut Wire, from: u32| {
        (from..from + 5)
            .map(|cseq| {
                wire.receive(&request(&invite, "OPTIONS", cseq, "", &long));
                wire.sent_one().status().unwrap()
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(statuses(&mut wire, 1), [200, 200, 200, 503, 503]);
    wire.run(seconds(40));
    assert_eq!(statuses(&mut wire, 6), [200, 200, 200, 503, 503]);
    wire.receive(&request(&invite, "BYE", 1_000, "", &long));
    assert_eq!(wire.sent_one().status(), Some(200), "the BYE is accepted");
    assert_eq!(wire.events().len(), 1, "the end is reported");
    wire.assert_empty();
}
