//! Digits that are typed over a network which loses, doubles, reorders and delays packets, in virtual time.

use std::net::SocketAddr;
use std::time::Duration;

use phonegate_media::dtmf::DigitEvent;
use phonegate_media::receiver::{Protection, Receiver, Verdict};
use phonegate_media::rtp::RtpHeader;
use phonegate_media::sdp::{Encryption, LocalSession};
use proptest::prelude::*;

/// Milliseconds a packet.
const PACKET_TIME: u64 = 20;

/// What the network does to a packet.
#[derive(Clone, Debug)]
struct Fate {
    /// Delays of its copies, in milliseconds. None if it is lost.
    delays: Vec<u64>,
}

/// The packets of a call in which these digits are typed: 100 ms of audio before each press, and 3 ends a press.
fn packets_of(digits: &[u8], first_sequence: u16, first_timestamp: u32) -> Vec<(u64, Vec<u8>)> {
    let mut packets = Vec::new();
    let mut push = |payload_type, timestamp: u32, payload: &[u8]| {
        let n = packets.len();
        let header = RtpHeader {
            marker: false,
            payload_type,
            sequence: first_sequence.wrapping_add(n as u16),
            timestamp: first_timestamp.wrapping_add(timestamp),
            ssrc: 7,
        };
        packets.push((n as u64 * PACKET_TIME, header.write(payload)));
        n as u32 * 160
    };
    let mut timestamp = 0;
    for digit in digits {
        for _ in 0..5 {
            timestamp = push(0, timestamp, &[0xff; 160]) + 160;
        }
        let began = timestamp;
        for n in 1..=8u16 {
            let [high, low] = (n.min(6) * 160).to_be_bytes();
            timestamp = push(101, began, &[*digit, if n < 6 { 0x0a } else { 0x8a }, high, low]) + 160;
        }
    }
    packets
}

/// What the receiver reports; `?` is an unclear event.
fn received(packets: Vec<(u64, Vec<u8>)>, fates: &[Fate]) -> String {
    let sdp = b"v=0\r\nc=IN IP4 192.0.2.9\r\nm=audio 4000 RTP/AVP 0 101\r\n";
    let from: SocketAddr = ([192, 0, 2, 9], 4000).into();
    let mut local = LocalSession::new(([192, 0, 2, 1], 4002).into(), 1, Encryption::Off);
    let mut receiver = Receiver::new(false);
    receiver.set_remote(&local.judge_answer(sdp).expect("an answer as offered"));
    let mut arrivals: Vec<(u64, Vec<u8>)> = Vec::new();
    for ((sent, packet), fate) in packets.into_iter().zip(fates.iter().cycle()) {
        arrivals.extend(fate.delays.iter().map(|delay| (sent + delay, packet.clone())));
    }
    arrivals.sort_by_key(|(at, _)| *at);
    let mut digits = String::new();
    for (at, packet) in arrivals {
        match receiver.receive(Duration::from_millis(at), from, &packet, Protection::None) {
            Verdict::Event(Some(DigitEvent::Digit { digit, .. })) => digits.push(digit.as_char()),
            Verdict::Event(Some(_)) => digits.push('?'),
            Verdict::Event(None) | Verdict::Audio { .. } => {}
            other => panic!("a packet of the peer: {other:?}"),
        }
    }
    digits
}

fn as_chars(digits: &[u8]) -> String {
    digits.iter().map(|digit| char::from(b"0123456789*#ABCD"[usize::from(*digit)])).collect()
}

/// Fates of which at most `losses` of 10 packets are lost.
fn fates(losses: u32, max_delay: u64) -> impl Strategy<Value = Vec<Fate>> {
    let delivered = proptest::collection::vec(0..=max_delay, 1..3);
    let fate = prop_oneof![losses => Just(Vec::new()), 10 - losses => delivered];
    proptest::collection::vec(fate.prop_map(|delays| Fate { delays }), 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Delays up to the pause between two presses, and copies, change nothing.
    #[test]
    fn every_digit_arrives_once_if_nothing_is_lost(
        digits in proptest::collection::vec(0u8..16, 1..12),
        start in any::<(u16, u32)>(),
        fates in fates(0, 100),
    ) {
        prop_assert_eq!(received(packets_of(&digits, start.0, start.1), &fates), as_chars(&digits));
    }

    /// Whatever is lost and however late the rest comes: no digit is invented, doubled, or out of order.
    #[test]
    fn no_digit_is_invented(
        digits in proptest::collection::vec(0u8..16, 1..12),
        start in any::<(u16, u32)>(),
        fates in prop_oneof![fates(1, 300), fates(5, 100), fates(8, 1000)],
    ) {
        let reported = received(packets_of(&digits, start.0, start.1), &fates);
        let typed = as_chars(&digits);
        let mut typed_on = typed.chars();
        let is_in_order = reported.chars().all(|digit| typed_on.any(|typed| typed == digit || digit == '?'));
        prop_assert!(is_in_order, "typed {typed}, reported {reported}");
    }
}
