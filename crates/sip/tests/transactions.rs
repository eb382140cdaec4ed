//! Transactions of this side in virtual time (RFC 3261, 17.1; RFC 6026): what is retransmitted, when, and for how long.

#[path = "support/wire.rs"]
mod wire;

use std::time::Duration;

use phonegate_sip::agent::{
    CallEvent, CallId, Config, EndCause, Event, OutboundCall, ProbeResult, Reply, TimerValues, Transport,
};
use phonegate_sip::message::{Message, Method};
use wire::{LOCAL, OFFER, SERVER, Wire, ended, parse, reinvited, request, response, seconds, times, value, values};

/// The times of retransmissions whose interval doubles up to T2, in milliseconds.
const CAPPED: [u128; 10] = [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];

fn probed(wire: &mut Wire) -> Message {
    wire.agent.probe(wire.now, wire.flow, "sip:trunk.example.com", seconds(60), None).unwrap();
    wire.sent_one()
}

fn accept() -> Reply {
    Reply::Accept(Some(b"v=0\r\n".to_vec()))
}

/// Timer A doubles without a cap; timer B ends the transaction after 32 s (17.1.1.2).
#[test]
fn invite_is_repeated_with_doubling_over_udp() {
    let mut wire = Wire::udp();
    let (_, invite) = wire.place(wire::call());
    let sent = wire.run(Duration::from_millis(31_999));
    assert_eq!(times(&sent), [500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    assert!(sent.iter().all(|(_, message)| *message == invite), "a repetition is the same message");
    assert_eq!(ended(&mut wire), None);
    wire.run(Duration::from_millis(1));
    assert_eq!(ended(&mut wire), Some(EndCause::NoResponse));
}

/// Timer E doubles up to T2; timer F ends the transaction after 32 s (17.1.2.2).
#[test]
fn other_requests_are_repeated_up_to_t2_over_udp() {
    let mut wire = Wire::udp();
    probed(&mut wire);
    assert_eq!(times(&wire.run(Duration::from_millis(31_999))), CAPPED);
    assert!(wire.events().is_empty());
    wire.run(Duration::from_millis(1));
    assert!(matches!(wire.events().as_slice(), [Event::Probe(_, ProbeResult::NoResponse)]));
    wire.assert_empty();
}

/// After a provisional response, timer E fires once at its current interval and then every T2. Timer F does not change.
#[test]
fn provisional_response_slows_repetitions_to_t2() {
    let mut wire = Wire::udp();
    let options = probed(&mut wire);
    wire.advance(Duration::from_millis(600));
    wire.agent.handle_timeout(wire.now);
    wire.sent();
    wire.reply(&options, 100, "", "");
    let expected: Vec<u128> = (0..8).map(|n| 1_000 + 4_000 * n).collect();
    assert_eq!(times(&wire.run(Duration::from_millis(31_399))), expected);
    wire.run(Duration::from_millis(1));
    assert!(matches!(wire.events().as_slice(), [Event::Probe(_, ProbeResult::NoResponse)]));
}

/// A provisional response stops timers A and B. Then only [`Config::max_ringing`] limits the call.
#[test]
fn provisional_response_ends_repetitions_of_invite() {
    let mut wire = Wire::udp();
    let (_, invite) = wire.place(wire::call());
    wire.reply(&invite, 100, "", "");
    assert!(wire.run(seconds(179)).is_empty());
    assert_eq!(ended(&mut wire), None);
}

/// On a stream nothing is repeated, and timers B and F are the same.
#[test]
fn nothing_is_repeated_on_streams() {
    let mut wire = Wire::tcp();
    wire.place(wire::call());
    probed(&mut wire);
    assert!(wire.run(Duration::from_millis(31_999)).is_empty());
    assert!(wire.events().is_empty());
    wire.run(Duration::from_millis(1));
    assert_eq!(wire.events().len(), 2);
}

/// The ACK of a rejection has the INVITE's Request-URI, Via, Route, From, Call-ID and CSeq number, and the response's To
/// (17.1.1.3).
#[test]
fn ack_of_rejection_is_written_from_the_invite() {
    for mut wire in [Wire::udp(), Wire::tcp()] {
        let routes = vec!["sip:proxy.example.com;lr".into(), "sip:second.example.com;lr".into()];
        let (_, invite) = wire.place(OutboundCall { routes, ..wire::call() });
        wire.reply(&invite, 486, "Contact: <sip:elsewhere>\r\nRecord-Route: <sip:other;lr>\r\n", "");
        let ack = wire.sent_one();
        assert_eq!(ack.method(), Some(&Method::Ack));
        assert_eq!(ack.request_uri_bytes(), invite.request_uri_bytes());
        for name in ["Via", "Route", "From", "Call-ID", "Max-Forwards"] {
            assert_eq!(values(&ack, name), values(&invite, name), "{name}");
        }
        assert_eq!(value(&ack, "CSeq"), "1 ACK");
        assert_eq!(value(&ack, "To"), format!("{};tag=peer", value(&invite, "To")));
        assert!(ack.body().is_empty() && !ack.has_header("Contact"));
    }
}

/// For 32 s, each retransmission of the rejection gets the same ACK, and only the first one is delivered to the call.
/// Over UDP, the transaction does that (timer D); over streams, the call.
#[test]
fn each_repeated_rejection_is_acknowledged() {
    for mut wire in [Wire::udp(), Wire::tcp()] {
        let (_, invite) = wire.place(wire::call());
        wire.reply(&invite, 486, "", "");
        let ack = wire.sent_one();
        assert!(ended(&mut wire).is_some());
        for _ in 0..15 {
            assert!(wire.run(seconds(2)).is_empty(), "the ACK itself is not repeated");
            wire.reply(&invite, 486, "", "");
            assert_eq!(wire.sent_one(), ack);
            assert!(wire.events().is_empty());
        }
        wire.run(seconds(40));
        wire.reply(&invite, 486, "", "");
        assert!(wire.sent().is_empty(), "in the end, the call is removed");
        wire.assert_empty();
    }
}

/// How long a client transaction is kept after the final response: timers D, K and M (RFC 3261, 17.1; RFC 6026, 7.2).
#[test]
fn client_transactions_are_kept_as_long_as_needed() {
    // (method, status, transport, milliseconds)
    let cases = [
        (Method::Invite, 486, Transport::Udp, 32_000),
        (Method::Invite, 486, Transport::Tcp, 0),
        (Method::Invite, 200, Transport::Udp, 32_000),
        (Method::Invite, 200, Transport::Tls, 32_000),
        (Method::Options, 200, Transport::Udp, 5_000),
        (Method::Options, 404, Transport::Tcp, 0),
    ];
    for (method, status, transport, kept) in cases {
        let mut wire = Wire::between(transport, LOCAL, SERVER);
        let request = if method == Method::Invite { wire.place(wire::call()).1 } else { probed(&mut wire) };
        wire.reply(&request, status, "", "");
        if let Some(before) = Duration::from_millis(kept).checked_sub(Duration::from_millis(1)) {
            wire.run(before);
            assert_eq!(wire.agent.usage().client_transactions, 1, "{method} {status} {transport:?}");
            wire.run(Duration::from_millis(1));
        }
        wire.agent.handle_timeout(wire.now);
        assert_eq!(wire.agent.usage().client_transactions, 0, "{method} {status} {transport:?}");
    }
}

/// A 2xx that is repeated gets its ACK again, also over streams, as long as the transaction lasts.
#[test]
fn each_repeated_success_is_acknowledged() {
    for mut wire in [Wire::udp(), Wire::tcp()] {
        let (_, invite, ack) = wire.establish(wire::call(), "Contact: <sip:pbx@192.0.2.9>\r\n");
        assert_ne!(value(&ack, "Via"), value(&invite, "Via"), "the ACK of a 2xx has a branch of its own");
        for _ in 0..5 {
            wire.run(seconds(4));
            wire.reply(&invite, 200, OFFER, "v=0\r\n");
            assert_eq!(wire.sent_one(), ack);
        }
        assert!(wire.events().is_empty());
    }
}

/// CANCEL has the INVITE's Request-URI, Via with branch, Route, From, To, Call-ID and CSeq number, and no other header
/// (9.1).
#[test]
fn cancel_is_written_from_the_invite() {
    let mut wire = Wire::udp();
    let routes = vec!["sip:proxy.example.com;lr".into()];
    let (id, invite) = wire.place(OutboundCall { routes, ..wire::call() });
    wire.agent.hang_up(wire.now, id);
    assert!(wire.sent().is_empty(), "without provisional response, CANCEL waits");
    wire.reply(&invite, 100, "", "");
    let cancel = wire.sent_one();
    assert_eq!(cancel.method(), Some(&Method::Cancel));
    assert_eq!(cancel.request_uri_bytes(), invite.request_uri_bytes());
    for name in ["Via", "Route", "From", "To", "Call-ID"] {
        assert_eq!(values(&cancel, name), values(&invite, name), "{name}");
    }
    assert_eq!(value(&cancel, "CSeq"), "1 CANCEL");
    for name in ["Contact", "Require", "Proxy-Require", "Supported", "Content-Type"] {
        assert!(!cancel.has_header(name), "{name}");
    }
    assert_eq!(times(&wire.run(seconds(4))), CAPPED[..3], "CANCEL is repeated as other requests are");
    wire.reply(&cancel, 200, "", "");
    assert!(wire.run(seconds(4)).is_empty());
    wire.reply(&invite, 487, "", "");
    let ack = wire.sent_one();
    assert_eq!((ack.method(), value(&ack, "Via")), (Some(&Method::Ack), value(&invite, "Via")));
    assert_eq!(ended(&mut wire), Some(EndCause::Cancelled));
    wire.assert_empty();
}

/// A response that does not match the request of its branch is dropped and counted.
#[test]
fn response_that_does_not_match_its_branch_is_dropped() {
    let mut wire = Wire::udp();
    let (_, invite) = wire.place(wire::call());
    let tag = value(&invite, "From").split(";tag=").nth(1).unwrap().to_owned();
    let call_id = value(&invite, "Call-ID");
    let via = format!("Via: {}\r\n", value(&invite, "Via"));
    let cases = [
        ("1 INVITE", "2 INVITE".to_owned()),
        ("1 INVITE", "0 INVITE".to_owned()),
        ("1 INVITE", "1 OPTIONS".to_owned()),
        ("1 INVITE", "1 CANCEL".to_owned()),
        ("1 INVITE", "1 invite".to_owned()),
        (&tag, "other".to_owned()),
        (&format!(";tag={tag}"), String::new()),
        (&call_id, "other".to_owned()),
        (&via, format!("{via}Via: SIP/2.0/UDP other;branch=z9hG4bK1\r\n")),
        (&via, via.replace("\r\n", ", SIP/2.0/UDP other;branch=z9hG4bK1\r\n")),
        (&via, String::new()),
    ];
    for (count, (part, instead)) in (1..).zip(cases) {
        let text = String::from_utf8(response(&invite, 486, "", "")).unwrap();
        assert!(text.contains(part), "{part:?} is in the response");
        let text = text.replace(part, &instead);
        wire.receive(text.as_bytes());
        let drops = wire.agent.drops().clone();
        assert_eq!(drops.unmatched + drops.malformed, count, "{part:?} replaced by {instead:?}");
        assert!(wire.sent().is_empty() && wire.events().is_empty());
    }
    wire.reply(&invite, 486, "", "");
    assert!(ended(&mut wire).is_some());
}

/// A response whose branch is not that of the open INVITE is ignored (RFC 3261, 17.1.3).
#[test]
fn rejection_with_another_branch_is_dropped() {
    let mut wire = Wire::udp();
    let (_, invite) = wire.place(wire::call());
    let branch = value(&invite, "Via").split("branch=").nth(1).unwrap().split(';').next().unwrap().to_owned();
    for other in [format!("{branch}0"), branch.to_uppercase(), "z9hG4bK".to_owned()] {
        for status in [404, 180] {
            let text = String::from_utf8(response(&invite, status, "", "")).unwrap().replace(&branch, &other);
            wire.receive(text.as_bytes());
            assert!(wire.sent().is_empty() && wire.events().is_empty(), "{status} with {other}");
        }
    }
}

/// A response with more than one Via is dropped, even if the second is malformed (RFC 3261, 8.1.3.3).
#[test]
fn response_with_malformed_second_via_is_dropped() {
    let mut wire = Wire::udp();
    let (_, invite) = wire.place(wire::call());
    for second in ["Via: x\r\n", "Via: \"\r\n"] {
        wire.reply(&invite, 486, second, "");
        assert!(wire.sent().is_empty() && wire.events().is_empty(), "{second:?}");
    }
}

/// Endless reliable responses do not create an unbounded number of PRACK transactions.
#[test]
fn prack_transactions_are_bounded() {
    let mut wire = Wire::udp();
    let (_, invite) = wire.place(wire::call());
    for rseq in 1..=2_000 {
        wire.reply(&invite, 183, &format!("Require: 100rel\r\nRSeq: {rseq}\r\n"), "");
        for prack in wire.sent() {
            wire.reply(&prack, 200, "", "");
        }
        wire.events();
    }
    assert!(wire.agent.usage().client_transactions < 200, "{:?}", wire.agent.usage());
}

/// A response to a BYE needs the To tag of its dialog.
#[test]
fn response_with_another_to_tag_is_dropped_in_a_dialog() {
    let mut wire = Wire::udp();
    let (id, _, _) = wire.establish(wire::call(), "");
    wire.agent.hang_up(wire.now, id);
    let bye = wire.sent_one();
    let to = value(&bye, "To");
    for other in [to.replace("peer", "other"), to.replace(";tag=peer", "")] {
        wire.receive(&wire::response_to(&bye, &other, 200, "", ""));
        assert_eq!(ended(&mut wire), None);
    }
    wire.reply(&bye, 200, "", "");
    assert_eq!(ended(&mut wire), Some(EndCause::HungUp));
}

/// While the driver does not poll, received messages are dropped. Their retransmissions are handled when it polls
/// again.
#[test]
fn full_queue_drops_what_arrives() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let config = Config { max_queue: 100, ..Config::default() };
        let mut wire = Wire::with_config(transport, LOCAL, SERVER, config);
        let (_, invite) = wire.place(wire::call());
        let options = "OPTIONS sip:a SIP/2.0\nVia: SIP/2.0/UDP h;branch=z9hG4bK1;rport\nFrom: <sip:a@b>;tag=1\n\
                       To: <sip:c@d>\nCall-ID: 1\nCSeq: 1 OPTIONS\nl: 0\n\n";
        for _ in 0..1_000 {
            wire.receive_text(options);
            wire.receive(b"\r\n\r\n");
        }
        let usage = wire.agent.usage();
        assert!(usage.transmits <= 101 && usage.events <= 101, "{usage:?}");
        assert!(wire.agent.drops().full >= 900);
        wire.reply(&invite, 486, "", "");
        assert_eq!(wire.events().len(), 0, "the 486 is dropped, too");
        wire.transmits();
        wire.reply(&invite, 486, "", "");
        assert!(ended(&mut wire).is_some(), "its repetition is not");
        wire.assert_empty();
    }
}

/// Extreme timer values never keep a call open beyond the time that they allow.
#[test]
fn odd_timer_values_end() {
    let (zero, long) = (Duration::ZERO, Duration::MAX);
    let values = [(seconds(1), zero, zero), (zero, zero, zero), (zero, long, long), (seconds(9), seconds(1), zero)];
    for (t1, t2, t4) in values {
        let config = Config { timers: TimerValues { t1, t2, t4 }, ..Config::default() };
        let mut wire = Wire::with_config(Transport::Udp, LOCAL, SERVER, config);
        let options = probed(&mut wire);
        wire.reply(&options, 100, "", "");
        wire.place(wire::call());
        wire.assert_empty();
        assert_eq!(wire.events().len(), 2, "T1 {t1:?}, T2 {t2:?}, T4 {t4:?}");
    }
}

/// Time jumps by hours, back, or to the maximum: each request is retransmitted or ended once, and everything ends.
#[test]
fn jumps_of_time_cause_no_flood() {
    let jumps = [seconds(10), seconds(36_000), seconds(5), Duration::MAX, Duration::ZERO, Duration::MAX];
    let mut wire = Wire::udp();
    let (_, invite, _) = wire.establish(wire::call(), "");
    reinvited(&mut wire, &invite, 1, accept());
    wire.place(wire::call());
    probed(&mut wire);
    for now in jumps {
        wire.agent.handle_timeout(now);
        assert!(wire.sent().len() <= 4, "at {now:?}");
    }
    wire.agent.handle_timeout(Duration::MAX);
    wire.assert_empty();
}

/// Commands with the ids of an ended call, a request with a response, and a closed flow.
#[test]
fn stale_ids_change_nothing() {
    let mut wire = Wire::udp();
    let (id, invite, _) = wire.establish(wire::call(), "");
    wire.receive(&request(&invite, "INFO", 1, "", "x"));
    let Some(Event::Call(_, CallEvent::Info { request: info, .. })) = wire.agent.poll_event() else {
        panic!("the INFO is reported")
    };
    let probe = probed(&mut wire);
    let transmits: Vec<_> = wire.transmits();
    assert!(transmits.is_empty());
    wire.agent.respond(wire.now, info, Reply::Reject(415));
    let transmit = wire.transmits().remove(0);
    assert_eq!(parse(&transmit.bytes).status(), Some(415));
    wire.reply(&probe, 200, "", "");
    wire.receive(&request(&invite, "BYE", 2, "", ""));
    let old = wire.flow;
    wire.flow = wire.open("192.0.2.1:5071");
    wire.agent.close_flow(wire.now, old);
    wire.events();
    wire.sent();
    for round in 0..2 {
        stale(&mut wire, (id, info), (old, transmit.id));
        assert!(wire.sent().is_empty() && wire.events().is_empty(), "round {round}");
        wire.assert_empty();
    }
}

/// Calls each method with ids that are no longer known.
fn stale(
    wire: &mut Wire,
    (call, info): (CallId, phonegate_sip::agent::RequestId),
    (flow, transmit): (phonegate_sip::agent::FlowId, phonegate_sip::agent::TransmitId),
) {
    let now = wire.now;
    for reply in [accept(), Reply::Accept(None), Reply::Reject(0), Reply::Reject(u16::MAX)] {
        wire.agent.respond(now, info, reply);
    }
    wire.agent.hang_up(now, call);
    let current = wire.flow;
    assert!(wire.agent.follow_redirect(now, call, current).is_err());
    assert!(wire.agent.follow_redirect(now, call, flow).is_err());
    wire.agent.handle_send_failure(now, transmit);
    wire.agent.close_flow(now, flow);
    wire.agent.replace_flow(now, flow, flow);
    wire.agent.replace_flow(now, current, flow);
    wire.agent.replace_flow(now, flow, current);
    wire.agent.handle_datagram(now, flow, wire.server, b"x");
    wire.agent.handle_stream(now, flow, b"x");
    wire.agent.handle_stream(now, current, b"a stream on a flow of datagrams");
    assert!(wire.agent.place_call(now, flow, wire::call()).is_err());
    assert!(wire.agent.probe(now, flow, "sip:a", seconds(1), None).is_err());
}
