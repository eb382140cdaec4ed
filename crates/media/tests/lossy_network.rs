//! Digits typed over a network that loses, duplicates, reorders and delays packets, in virtual time.

mod support;

use std::time::Duration;

use phonegate_media::rtp::RtpHeader;
use proptest::prelude::*;

use support::*;

/// Milliseconds a packet.
const PACKET_MILLISECONDS: u64 = 20;

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
        packets.push((n as u64 * PACKET_MILLISECONDS, header.write(payload)));
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

/// What a call reports; `?` is an unclear event.
fn received(mut call: Call, packets: Vec<(u64, Vec<u8>)>, fates: &[Fate]) -> String {
    let mut arrivals: Vec<(u64, Vec<u8>)> = Vec::new();
    for ((sent, packet), fate) in packets.into_iter().zip(fates.iter().cycle()) {
        let packet = match &mut call.srtp {
            Some(srtp) => srtp.protect_rtp(&packet).unwrap(),
            None => packet,
        };
        arrivals.extend(fate.delays.iter().map(|delay| (sent + delay, packet.clone())));
    }
    arrivals.sort_by_key(|(at, _)| *at);
    for (at, packet) in arrivals {
        call.now = Duration::from_millis(at);
        call.deliver(port(NAMED), &packet);
    }
    call.digits
}

/// A call without encryption, and for one of four numbers one with it, which takes longer.
fn calls(number: u16) -> impl Iterator<Item = Call> {
    let encrypted = number.is_multiple_of(4).then(Call::encrypted);
    [Call::answered(PLAIN)].into_iter().chain(encrypted)
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
        for call in calls(start.0) {
            prop_assert_eq!(received(call, packets_of(&digits, start.0, start.1), &fates), as_chars(&digits));
        }
    }

    /// Whatever is lost and however late the rest comes: no digit is invented, doubled, or out of order.
    #[test]
    fn no_digit_is_invented(
        digits in proptest::collection::vec(0u8..16, 1..12),
        start in any::<(u16, u32)>(),
        fates in prop_oneof![fates(1, 300), fates(5, 100), fates(8, 1000)],
    ) {
        let typed = as_chars(&digits);
        for call in calls(start.0) {
            let reported = received(call, packets_of(&digits, start.0, start.1), &fates);
            let mut typed_on = typed.chars();
            let is_in_order = reported.chars().all(|digit| typed_on.any(|typed| typed == digit || digit == '?'));
            prop_assert!(is_in_order, "typed {typed}, reported {reported}");
        }
    }
}
