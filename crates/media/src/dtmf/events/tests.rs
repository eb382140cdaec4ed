//! Detection of digits in telephone events.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use proptest::prelude::*;

use super::super::DIGITS;
use super::*;

const POUND: u8 = 11;

fn payload(code: u8, is_end: bool, duration: u16) -> [u8; 4] {
    let [high, low] = duration.to_be_bytes();
    [code, if is_end { 0x8a } else { 0x0a }, high, low]
}

/// SSRC, sequence number, timestamp and payload.
type Sent = (u32, u16, u32, [u8; 4]);

/// The packets of one press: nine of growing duration, and three ends.
fn press(sequence: u16, timestamp: u32, code: u8) -> Vec<Sent> {
    let growing = (1..10).map(|n| payload(code, false, n * 160));
    let payloads = growing.chain([payload(code, true, 1600); 3]);
    (0..).zip(payloads).map(|(n, payload)| (7, sequence.wrapping_add(n), timestamp, payload)).collect()
}

/// What is reported: digits by their character, and `?` for an unclear event.
fn detect(packets: &[Sent]) -> String {
    let mut detector = EventDetector::new();
    let read = |&(ssrc, sequence, timestamp, payload): &Sent| match detector.read(
        EventPosition { ssrc, sequence, timestamp },
        &payload,
        Duration::ZERO,
    )? {
        DigitEvent::Digit { digit, .. } => Some(digit.as_char()),
        DigitEvent::Unclear { .. } => Some('?'),
    };
    packets.iter().filter_map(read).collect()
}

fn presses(presses: &[(u16, u32, u8)]) -> Vec<Sent> {
    presses.iter().flat_map(|&(sequence, timestamp, code)| press(sequence, timestamp, code)).collect()
}

#[test]
fn one_packet_is_no_digit_and_neither_is_its_copy() {
    let end = payload(POUND, true, 1600);
    let start = payload(POUND, false, 160);
    for (packets, expected) in [
        (vec![(7, 5, 1000, end)], ""),
        (vec![(7, 5, 1000, end), (7, 5, 1000, end)], ""),
        (vec![(7, 5, 1000, end), (7, 5, 1000, start)], ""),
        (vec![(7, 5, 1000, start), (7, 6, 1000, start)], "#"),
        (vec![(7, 5, 1000, start), (7, 6, 1000, end)], "#"),
        (vec![(7, 5, 1000, end), (7, 6, 1000, end)], "#"),
        (vec![(7, 6, 1000, end), (7, 5, 1000, start)], "#"),
        (vec![(7, 5, 1000, start), (8, 6, 1000, end)], "?"),
    ] {
        assert_eq!(detect(&packets), expected, "{packets:?}");
    }
}

/// The user may have pressed `0`, so `#` must not stand alone.
#[test]
fn a_lone_packet_before_another_press_is_unclear() {
    let lone = (7, 5, 1000, payload(0, true, 1600));
    let mut packets = vec![lone];
    packets.extend(press(8, 9000, POUND));
    assert_eq!(detect(&packets), "?#");
    // Its other packets come too late to count.
    packets.push((7, 6, 1000, payload(0, true, 1600)));
    assert_eq!(detect(&packets), "?#");
    let mut in_another_stream = vec![(9, 5, 1000, payload(0, true, 1600))];
    in_another_stream.extend(press(8, 9000, POUND));
    assert_eq!(detect(&in_another_stream), "?#");
    let mut between = press(0, 1000, 1);
    between.push((9, 5, 1000, payload(0, true, 1600)));
    between.extend(press(12, 9000, POUND));
    assert_eq!(detect(&between), "1?#", "the stream of the next press is known already");
}

#[test]
fn packets_are_ordered_by_sequence_and_not_by_timestamp() {
    for (sent, expected) in [
        (vec![(0, 1000, 1), (12, 1000, 2)], "12"),
        (vec![(0, 1000, 1), (12, 1000, 2), (24, 1000, 1)], "121"),
        (vec![(0, 1000, 1), (12, 1000, 1)], "11"),
        (vec![(0, 800_000, 1), (12, 1000, 2), (24, 500, 2)], "122"),
        (vec![(0, 1000, 1), (500, u32::MAX, 1), (600, 7, 1)], "111"),
        (vec![(65_530, u32::MAX, 1), (6, 8000, 2)], "12"),
        // The peer restarts its sequence numbers.
        (vec![(30_000, 1000, 1), (5, 9000, 2), (17, 17_000, 3)], "123"),
        (vec![(5, 1000, 1), (60_000, 9000, 2), (60_012, 17_000, 3)], "123"),
        (vec![(30_000, 800_000, 1), (10, 1000, 1), (22, 500, 2)], "112"),
    ] {
        assert_eq!(detect(&presses(&sent)), expected, "{sent:?}");
    }
}

#[test]
fn late_packets_of_earlier_presses_are_no_digits() {
    let mut packets = presses(&[(0, 0, 1), (12, 8000, 2), (24, 16_000, 3)]);
    packets.extend(presses(&[(0, 0, 1), (12, 8000, 2)]));
    assert_eq!(detect(&packets), "123");
    let mut later = presses(&[(30_000, 1000, 1), (5, 9000, 2)]);
    later.extend(press(30_000, 1000, 1));
    assert_eq!(detect(&later), "12", "copies from before a restart");
    let mut long_after = presses(&[(0, 0, 1), (300, 8000, 2)]);
    long_after.extend(press(0, 0, 1));
    assert_eq!(detect(&long_after), "12", "copies that are older than any late packet");
}

#[test]
fn a_long_press_in_segments_is_one_digit() {
    let segment = |sequence, timestamp, is_end, duration| (7, sequence, timestamp, payload(5, is_end, duration));
    let long = [
        segment(0, 1000, false, 160),
        segment(1, 1000, false, 320),
        segment(410, 1000, false, 0xffff),
        segment(411, 1000 + 0xffff, false, 160),
        segment(412, 1000 + 0xffff, false, 320),
        // A whole segment is lost.
        segment(1240, 1000 + 3 * 0xffff, false, 160),
        segment(1241, 1000 + 3 * 0xffff, true, 320),
    ];
    assert_eq!(detect(&long), "5");
    let short = [segment(0, 0, false, 8000), segment(1, 8000, false, 160), segment(2, 8000, true, 320)];
    assert_eq!(detect(&short), "5", "segments of one second");
    let mut then_another = long.to_vec();
    then_another.extend(press(1300, 900_000, 5));
    assert_eq!(detect(&then_another), "55");
    let ended = [segment(0, 0, false, 160), segment(1, 0, true, 320), segment(9, 0xffff, false, 160)];
    assert_eq!(detect(&[&ended[..], &[segment(10, 0xffff, true, 320)]].concat()), "55", "the first press had ended");
}

#[test]
fn presses_are_distinguished_by_their_ends() {
    let packet = |sequence, timestamp, is_end, duration| (7, sequence, timestamp, payload(5, is_end, duration));
    for (packets, expected) in [
        (vec![packet(0, 0, false, 320), packet(1, 0, false, 160), packet(2, 0, true, 160)], "5"),
        // The timestamp stands still, and of the second press only the end comes.
        (
            vec![
                packet(0, 0, false, 160),
                packet(1, 0, true, 320),
                packet(300, 0, true, 320),
                packet(301, 0, true, 320),
            ],
            "55",
        ),
        // What was lost may be the end, unless the press has the length of a segment.
        (vec![packet(0, 0, false, 800), packet(20, 800, false, 160), packet(21, 800, false, 320)], "?5"),
    ] {
        assert_eq!(detect(&packets), expected, "{packets:?}");
    }
}

/// Some peers count the timestamp up with each packet of an event.
#[test]
fn a_press_whose_timestamp_moves_on_is_one_digit() {
    let shifted = |sequence: u16, ends_move_on: u32| {
        press(sequence, 0, 5).into_iter().map(move |(ssrc, sequence, _, payload)| {
            let (base, n) = (sequence / 20 * 20, u32::from(sequence % 20));
            (ssrc, sequence, u32::from(base) * 160 + n.min(9 + 2 * ends_move_on) * 160, payload)
        })
    };
    for ends_move_on in [0, 1] {
        let mut packets: Vec<Sent> = shifted(20, ends_move_on).collect();
        assert_eq!(detect(&packets), "5");
        packets.extend(shifted(40, ends_move_on));
        assert_eq!(detect(&packets), "55", "two presses");
        packets.remove(5);
        packets.remove(5);
        assert_eq!(detect(&packets), "55", "two packets are lost");
    }
    // Two short presses of one digit, of whose packets most are lost, stay two.
    let lossy = [press(0, 0, 5)[..2].to_vec(), press(14, 2240, 5)[..2].to_vec()].concat();
    assert_eq!(detect(&lossy), "55");
    let apart = [(7, 0, 0, payload(5, false, 160)), (7, 10, 1600, payload(5, false, 1760))];
    assert_eq!(detect(&apart), "?", "more packets are lost than between packets of one press");
}

#[test]
fn streams_are_separate_and_bounded() {
    let mut packets = Vec::new();
    for ssrc in 0..100 {
        packets.extend(
            press(0, 0, 1).into_iter().map(|(_, sequence, timestamp, payload)| (ssrc, sequence, timestamp, payload)),
        );
    }
    assert_eq!(detect(&packets), "1".repeat(100));
    let mut detector = EventDetector::new();
    for ssrc in 0..10_000u32 {
        let position = EventPosition { ssrc: ssrc % 20, sequence: (ssrc / 20 * 200) as u16, timestamp: ssrc };
        detector.read(position, &payload((ssrc % 16) as u8, false, 1), Duration::ZERO);
    }
    assert!(detector.streams.len() <= MAX_STREAMS);
    assert!(detector.streams.iter().all(|stream| stream.past.len() <= MAX_PAST_EVENTS));
}

#[test]
fn a_press_says_when_it_began() {
    let mut detector = EventDetector::new();
    let at = |sequence| EventPosition { ssrc: 7, sequence, timestamp: 0 };
    let payload = payload(POUND, true, 1600);
    assert_eq!(detector.read(at(1), &payload, Duration::from_millis(900)), None);
    let event = detector.read(at(2), &payload, Duration::from_millis(1500));
    let digit = Digit::from_char('#').unwrap();
    assert_eq!(event, Some(DigitEvent::Digit { digit, began: Duration::from_millis(700) }));
}

#[test]
fn other_events_and_short_payloads_are_no_digits() {
    let other = |n| (7, n, 0, payload(16, true, 1600));
    assert_eq!(detect(&[other(0), other(1), other(2)]), "");
    let mut detector = EventDetector::new();
    for sequence in 0..3 {
        let position = EventPosition { ssrc: 7, sequence, timestamp: 0 };
        assert_eq!(detector.read(position, &[POUND, 0x8a, 0], Duration::ZERO), None);
    }
}

proptest! {
    /// Packets of a press may be lost, doubled and reordered; presses come one after the other. A press of which only
    /// one packet comes is unclear if another one follows, and otherwise nothing. Timestamps say nothing.
    #[test]
    fn each_press_is_one_digit(
        presses in proptest::collection::vec((0u8..16, proptest::collection::vec(0usize..12, 0..30)), 1..8),
        start in any::<u16>(),
        timestamps in proptest::collection::vec(any::<u32>(), 8),
    ) {
        let (mut packets, mut expected, mut is_unclear) = (Vec::new(), String::new(), false);
        for (n, (code, order)) in presses.iter().enumerate() {
            let whole = press(start.wrapping_add(n as u16 * 12), timestamps[n], *code);
            packets.extend(order.iter().map(|index| whole[*index]));
            if order.is_empty() {
                continue;
            }
            if is_unclear {
                expected.push('?');
            }
            is_unclear = order.iter().all(|index| *index == order[0]);
            if !is_unclear {
                expected.push(DIGITS[usize::from(*code)]);
            }
        }
        prop_assert_eq!(detect(&packets), expected);
    }

    /// However the packets of all presses are mixed, none counts twice, and none overtakes another.
    #[test]
    fn no_press_is_two_digits(
        codes in proptest::collection::vec(0u8..16, 1..6),
        order in proptest::collection::vec((0usize..6, 0usize..12), 0..100),
        start in any::<(u16, u32)>(),
    ) {
        let whole = |n: usize| press(start.0.wrapping_add(n as u16 * 12), start.1.wrapping_add(n as u32 * 8000), codes[n]);
        let order = order.iter().filter(|(press, _)| *press < codes.len());
        let packets: Vec<_> = order.map(|(n, index)| whole(*n)[*index]).collect();
        let mut pressed = codes.iter().map(|code| DIGITS[usize::from(*code)]);
        let detected = detect(&packets);
        let is_of = |reported: char, pressed: char| reported == pressed || reported == '?';
        prop_assert!(detected.chars().all(|reported| pressed.any(|pressed| is_of(reported, pressed))), "{}", detected);
    }

    #[test]
    fn no_packet_panics(packets in proptest::collection::vec((0u32..12, any::<u16>(), any::<u32>(), any::<Vec<u8>>()), 0..200)) {
        let mut detector = EventDetector::new();
        for (ssrc, sequence, timestamp, payload) in packets {
            detector.read(EventPosition { ssrc, sequence, timestamp }, &payload, Duration::ZERO);
            prop_assert!(detector.streams.len() <= MAX_STREAMS);
        }
    }
}
