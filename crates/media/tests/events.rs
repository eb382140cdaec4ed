//! The packets of a press as real peers send them, in virtual time: one press is one digit.

mod support;

use phonegate_media::rtp::RtpHeader;

use support::*;

/// Packets with growing durations, 20 ms apart, as a key is held.
fn held(packets: usize) -> Vec<(u16, bool)> {
    (1..=packets).map(|n| ((n * 160).min(0xffff) as u16, false)).collect()
}

#[test]
fn a_press_counts_from_any_two_of_its_packets() {
    for first in 0..PRESS.len() {
        for second in first + 1..PRESS.len() {
            let mut call = Call::answered(PLAIN);
            call.talk(5);
            let timestamp = call.timestamp;
            for (n, packet) in PRESS.iter().enumerate() {
                if n == first || n == second {
                    call.press_as('7', timestamp, &[*packet]);
                } else {
                    call.sequence += 1;
                    call.pass();
                }
            }
            assert_eq!(std::mem::take(&mut call.digits), "7", "packets {first} and {second}");
            call.check_keys("the next ones");
        }
    }
}

/// The end of an event is sent three times (RFC 4733, section 2.5.1.4). Some peers send nothing else.
#[test]
fn a_press_of_end_packets_alone_counts_once() {
    for ends in 2..10 {
        let mut call = Call::answered(PLAIN);
        call.talk(5);
        call.press_as('9', call.timestamp, &vec![(800, true); ends]);
        call.talk(5);
        call.press_as('9', call.timestamp, &vec![(800, true); ends]);
        assert_eq!(call.digits, "99", "{ends}");
    }
}

/// One packet of a press may be forged, or the only one that arrived.
#[test]
fn one_packet_of_a_press_makes_the_entry_unclear() {
    for packet in PRESS {
        let mut call = Call::answered(PLAIN);
        call.press_as('9', call.timestamp, &[packet]);
        assert_eq!(call.digits, "");
        call.press('#');
        assert_eq!(call.digits, "?#", "{packet:?}");
    }
}

#[test]
fn duplicate_packets_add_no_digit() {
    for copies in 2..5 {
        let mut call = Call::answered(PLAIN);
        for digit in ['1', '1', '#'] {
            call.talk(5);
            let timestamp = call.timestamp;
            for (duration, is_end) in PRESS {
                let packet = call.packet(101, timestamp, &event(digit, duration, is_end));
                for _ in 0..copies {
                    call.deliver(call.from, &packet);
                }
                call.pass();
            }
        }
        assert_eq!(call.digits, "11#", "{copies} copies");
        let mut single = Call::answered(PLAIN);
        let packet = single.packet(101, 0, &event('1', 160, false));
        for _ in 0..copies {
            single.deliver(single.from, &packet);
        }
        assert_eq!(single.digits, "", "copies of one packet are one packet");
    }
}

/// A duration has 16 bits, which is 8.2 s. Then RFC 4733, section 2.5.1.3, begins a segment with another timestamp;
/// other peers stay at the longest duration, or let it wrap.
#[test]
fn a_long_press_is_one_digit() {
    let with_ends = |mut packets: Vec<(u16, bool)>, duration| {
        packets.extend([(duration, true); 3]);
        packets
    };
    let segmented = vec![(0, held(409)), (0, vec![(0xffff, false)]), (0xffff, with_ends(held(200), 32_000))];
    let staying = vec![(0, with_ends(held(700), 0xffff))];
    let wrapping = vec![(0, with_ends((1..700u32).map(|n| ((n * 160) as u16, false)).collect(), 46_464))];
    for (way, segments) in [("segmented", segmented), ("staying", staying), ("wrapping", wrapping)] {
        for timestamp in [0, 50_000, u32::MAX - 1000] {
            let mut call = Call::answered(PLAIN);
            call.talk(5);
            for (ahead, packets) in &segments {
                call.press_as('8', timestamp.wrapping_add(*ahead), packets);
            }
            assert_eq!(std::mem::take(&mut call.digits), "8", "{way} from {timestamp}");
            call.check_keys("the next ones");
        }
    }
}

/// Section 2.5.1.2 of RFC 4733 forbids it, and peers do it.
#[test]
fn a_press_whose_timestamps_advance_is_one_digit() {
    let mut call = Call::answered(PLAIN);
    for digit in ['4', '4', '#'] {
        call.talk(5);
        for (duration, is_end) in PRESS {
            call.press_as(digit, call.timestamp, &[(duration, is_end)]);
        }
    }
    assert_eq!(call.digits, "44#");
}

#[test]
fn marker_bits_change_nothing() {
    for markers in
        [[false; 6], [true; 6], [true, false, false, false, false, false], [false, false, false, true, true, true]]
    {
        let mut call = Call::answered(PLAIN);
        call.talk(5);
        let timestamp = call.timestamp;
        for ((duration, is_end), marker) in PRESS.into_iter().zip(markers) {
            let (sequence, ssrc) = (call.sequence, call.ssrc);
            let header = RtpHeader { marker, payload_type: 101, sequence, timestamp, ssrc };
            call.deliver(call.from, &header.write(&event('3', duration, is_end)));
            call.sequence += 1;
            call.pass();
        }
        assert_eq!(std::mem::take(&mut call.digits), "3", "{markers:?}");
        call.check_keys("the next ones");
    }
}

/// Comfort noise (RFC 3389), audio of both codecs, and an empty packet that keeps a NAT binding open.
#[test]
fn other_packets_between_those_of_a_press_change_nothing() {
    let mut call = Call::answered("m=audio 4000 RTP/AVP 0 13 101\r\n");
    for digit in ['1', '2', '2', '#'] {
        let timestamp = call.timestamp;
        for (n, packet) in PRESS.into_iter().enumerate() {
            call.press_as(digit, timestamp, &[packet]);
            match n % 4 {
                0 => call.send(13, call.timestamp, &[60]),
                1 => call.send(0, call.timestamp, &[0xff; 160]),
                2 => call.send(8, timestamp, &[0xd5; 160]),
                _ => call.send(0, call.timestamp, &[]),
            }
        }
        call.timestamp = call.timestamp.wrapping_add(160);
    }
    assert_eq!(call.digits, "122#");
    assert_eq!(call.summary().dropped.payload_type, 8);
}

/// Packets of 10 to 60 ms, events before any audio, and a first duration of 0.
#[test]
fn every_packet_time_is_accepted() {
    for step in [80u16, 160, 240, 320, 480] {
        let mut call = Call::answered(PLAIN);
        for digit in ['6', '#'] {
            let timestamp = call.timestamp;
            let updates: Vec<(u16, bool)> = (0..5).map(|n| (n * step, false)).collect();
            call.press_as(digit, timestamp, &updates);
            call.press_as(digit, timestamp, &[(5 * step, true); 3]);
        }
        assert_eq!(call.digits, "6#", "{step}");
    }
}

/// The reserved bit, every volume, and more bytes than an event has.
#[test]
fn unused_bits_and_bytes_of_events_are_ignored() {
    for (flags, rest) in [(0x40, &[][..]), (0x3f, &[]), (0x7f, &[0, 0, 0, 0]), (0, &[1])] {
        let mut call = Call::answered(PLAIN);
        let timestamp = call.timestamp;
        for (duration, is_end) in PRESS {
            let mut payload = event('D', duration, is_end).to_vec();
            payload[1] = payload[1] & 0x80 | flags;
            payload.extend(rest);
            call.send(101, timestamp, &payload);
        }
        assert_eq!(call.digits, "D", "{flags:x}");
    }
    let mut call = Call::answered(PLAIN);
    for payload in [&[16, 10, 0, 160][..], &[255, 10, 0, 160], &[5, 10, 0], &[]] {
        for _ in 0..6 {
            call.send(101, 7, payload);
        }
    }
    assert_eq!(call.digits, "", "flash, other events, and less than an event");
}
