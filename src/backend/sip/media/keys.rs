//! Reads key events (RFC 4733): one key for each event, even if packets are duplicated or late.
//!
//! An event counts from its second packet on. A telephone sends at least three packets of each (section 2.5.1.4), so
//! that a lost one does not matter; a single forged packet does not press a key. But if a key follows an event of which
//! only one packet came, the user may have pressed both: that event is then reported as [`UNCLEAR_KEY`], so that `0` and
//! `#` never become `#` alone. A forged packet can make an entry wrong, but never right.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The keys by the number of their event (RFC 4733, section 3.2, table 3).
const KEYS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];

/// Reported for an event of which only one packet came before the next event. No DTMF key and no fraud key, so an entry
/// that contains it is never right.
pub(in crate::backend::sip) const UNCLEAR_KEY: char = '?';

/// The longest span that one packet can tell of; a longer press goes on in a new segment (section 2.5.1.3).
const SEGMENT: u32 = 0xffff;

/// Time stamp units in a second.
const RATE: u32 = 8000;

/// Of so many streams (SSRC) the last event is remembered: a packet of an earlier stream that comes late is no new key.
const STREAMS: usize = 4;

/// Finds the keys in the events of one call.
#[derive(Default)]
pub(super) struct KeyReader {
    last: VecDeque<Event>,
}

/// A key that was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Press {
    /// One of the DTMF keys, or [`UNCLEAR_KEY`].
    pub(super) key: char,
    /// Time since the key was pressed: the duration in the first packet that arrived, plus the time since its arrival.
    pub(super) ago: Duration,
}

/// Where a packet stands in its stream: SSRC, sequence number and time stamp.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    pub(super) ssrc: u32,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
}

#[derive(Clone, Copy)]
struct Event {
    /// The position of the first packet that arrived.
    at: Position,
    code: u8,
    ended: bool,
    /// When its first packet arrived, and the duration that this packet named.
    first: (Instant, Duration),
    /// Whether a second packet came, and the key was reported.
    is_pressed: bool,
}

impl Event {
    fn press(&self, key: char, now: Instant) -> Press {
        let (arrived, duration) = self.first;
        Press { key, ago: now.duration_since(arrived) + duration }
    }
}

impl KeyReader {
    /// Takes the payload of an event packet. Returns the key if this is the second packet of a new event, and
    /// [`UNCLEAR_KEY`] if it begins an event after one of which only one packet came.
    pub(super) fn read(&mut self, at: Position, payload: &[u8], now: Instant) -> Option<Press> {
        let [code, flags, high, low] = *payload.first_chunk::<4>()?;
        let key = *KEYS.get(usize::from(code))?;
        let duration = Duration::from_secs(u32::from(u16::from_be_bytes([high, low])).into()) / RATE;
        let event = Event { at, code, ended: flags & 0x80 != 0, first: (now, duration), is_pressed: false };
        let Some(last) = self.last.iter_mut().find(|last| last.at.ssrc == at.ssrc) else {
            self.last.push_back(event);
            if self.last.len() > STREAMS {
                self.last.pop_front();
            }
            return None;
        };
        match at.timestamp.wrapping_sub(last.at.timestamp) {
            // A duplicate has the same sequence number and does not count as the second packet.
            0 if at.sequence == last.at.sequence || code != last.code => None,
            0 => {
                last.ended |= event.ended;
                (!std::mem::replace(&mut last.is_pressed, true)).then(|| last.press(key, now))
            }
            // Timestamps wrap. The half of the range behind the current one belongs to earlier events.
            ahead if ahead > u32::MAX / 2 => None,
            ahead => {
                let continues = code == last.code && !last.ended && ahead.is_multiple_of(SEGMENT);
                if continues {
                    *last = Event { first: last.first, is_pressed: last.is_pressed, ..event };
                    return None;
                }
                let replaced = std::mem::replace(last, event);
                (!replaced.is_pressed).then(|| replaced.press(UNCLEAR_KEY, now))
            }
        }
    }
}

/// The number of a key's event.
pub(super) fn event_of(key: char) -> Option<u8> {
    KEYS.iter().position(|known| *known == key).and_then(|code| u8::try_from(code).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    const POUND: u8 = 11;

    fn payload(code: u8, end: bool, duration: u16) -> [u8; 4] {
        let [high, low] = duration.to_be_bytes();
        [code, if end { 0x8a } else { 0x0a }, high, low]
    }

    /// A packet: sequence number, time stamp and payload.
    type Packet = (u16, u32, [u8; 4]);

    /// The packets of one press: nine of growing length, and three ends.
    fn press(sequence: u16, timestamp: u32, code: u8) -> Vec<Packet> {
        let growing = (1..10).map(|n| payload(code, false, n * 160));
        let payloads = growing.chain([payload(code, true, 1600); 3]);
        (sequence..).zip(payloads).map(|(sequence, payload)| (sequence, timestamp, payload)).collect()
    }

    fn keys(packets: &[Packet]) -> String {
        let mut reader = KeyReader::default();
        let now = Instant::now();
        let read = |(sequence, timestamp, payload): &Packet| {
            reader.read(Position { ssrc: 7, sequence: *sequence, timestamp: *timestamp }, payload, now)
        };
        packets.iter().filter_map(read).map(|press| press.key).collect()
    }

    /// These payloads with these time stamps, one packet after the other.
    fn keys_of(packets: &[(u32, [u8; 4])]) -> String {
        let packets: Vec<_> =
            (0..).zip(packets).map(|(sequence, (stamp, payload))| (sequence, *stamp, *payload)).collect();
        keys(&packets)
    }

    proptest! {
        /// Within a press packets may be lost, doubled and out of order; presses come one after the other. A press of
        /// which only one packet arrives is an unclear key once another press follows, and otherwise no key.
        #[test]
        fn each_press_is_one_key_whatever_happens_to_its_packets(
            presses in proptest::collection::vec((0u8..12, proptest::collection::vec(0usize..12, 0..30)), 1..8),
            start in any::<u32>(),
        ) {
            let mut packets = Vec::new();
            let mut expected = String::new();
            let mut is_unclear = false;
            for (n, (code, order)) in presses.iter().enumerate() {
                let whole = press(n as u16 * 12, start.wrapping_add(n as u32 * 8000), *code);
                packets.extend(order.iter().map(|index| whole[*index]));
                if order.is_empty() {
                    continue;
                }
                if is_unclear {
                    expected.push(UNCLEAR_KEY);
                }
                is_unclear = order.iter().all(|index| *index == order[0]);
                if !is_unclear {
                    expected.push(KEYS[usize::from(*code)]);
                }
            }
            prop_assert_eq!(keys(&packets), expected);
        }

        /// However the packets of all presses are mixed, none is a key twice, clear or unclear, and none overtakes another.
        #[test]
        fn no_press_is_ever_two_keys(
            codes in proptest::collection::vec(0u8..12, 1..6),
            order in proptest::collection::vec((0usize..6, 0usize..12), 0..100),
            start in any::<u32>(),
        ) {
            let whole = |n: usize| press(n as u16 * 12, start.wrapping_add(n as u32 * 8000), codes[n]);
            let order = order.iter().filter(|(press, _)| *press < codes.len());
            let packets: Vec<_> = order.map(|(n, index)| whole(*n)[*index]).collect();
            let mut pressed = codes.iter().map(|code| KEYS[usize::from(*code)]);
            let keys = keys(&packets);
            let is_of = |key: char, pressed: char| key == pressed || key == UNCLEAR_KEY;
            prop_assert!(keys.chars().all(|key| pressed.any(|pressed| is_of(key, pressed))), "{}", keys);
        }

        #[test]
        fn garbage_is_no_crash(packets in proptest::collection::vec((any::<[u32; 2]>(), any::<u16>(), any::<Vec<u8>>()), 0..50)) {
            let mut reader = KeyReader::default();
            for ([ssrc, timestamp], sequence, payload) in packets {
                reader.read(Position { ssrc, sequence, timestamp }, &payload, Instant::now());
            }
        }
    }

    #[test]
    fn one_packet_is_no_key_and_neither_is_its_copy() {
        let end = payload(POUND, true, 1600);
        assert_eq!(keys_of(&[(1000, end)]), "");
        assert_eq!(keys(&[(5, 1000, end), (5, 1000, end), (5, 1000, payload(POUND, false, 160))]), "");
        assert_eq!(keys_of(&[(1000, payload(5, false, 160)), (1000, end)]), "", "two keys with one time stamp");
        assert_eq!(keys_of(&[(1000, end), (1000, end)]), "#");
    }

    /// The user may have pressed the fraud key, so the pound key must not stand alone.
    #[test]
    fn one_packet_before_another_press_is_an_unclear_key() {
        let zero = (0, 1000, payload(0, true, 1600));
        let pound = press(1, 9000, POUND);
        assert_eq!(keys(&[&[zero], &pound[..]].concat()), "?#");
        assert_eq!(keys(&[&[zero; 2], &pound[..]].concat()), "?#", "a doubled packet is one");
        assert_eq!(keys(&[&[zero], &pound[..1]].concat()), "?", "the second press is not confirmed yet");
        assert_eq!(keys(&[&[zero], &pound[..], &[(1, 1000, zero.2)]].concat()), "?#", "its second packet is late");
        assert_eq!(keys(&[&press(0, 1000, 0), &press(12, 9000, POUND)[..]].concat()), "0#");
    }

    /// The receiver ignores a key that began before keys counted, and an unclear one is reported late.
    #[test]
    fn an_unclear_key_has_the_age_of_its_own_press() {
        let mut reader = KeyReader::default();
        let (at, now) = (|timestamp| Position { ssrc: 7, sequence: 1, timestamp }, Instant::now());
        assert_eq!(reader.read(at(0), &payload(0, true, 1600), now), None);
        let press = reader.read(at(8000), &payload(POUND, false, 160), now + Duration::from_secs(1));
        assert_eq!(press, Some(Press { key: UNCLEAR_KEY, ago: Duration::from_millis(1200) }));
    }

    #[test]
    fn a_late_packet_of_an_earlier_press_is_no_key() {
        let five = (9000, payload(5, false, 160));
        let late = (1000, payload(POUND, true, 1600));
        assert_eq!(keys_of(&[five, five, late, late]), "5");
    }

    #[test]
    fn a_long_press_in_several_segments_is_one_key_whichever_are_lost() {
        let segment = |n: u32, duration| [(n * SEGMENT, payload(POUND, false, duration)); 2];
        assert_eq!(keys_of(&[segment(0, 0xffff), segment(1, 0xffff), segment(2, 160)].concat()), "#");
        assert_eq!(keys_of(&[segment(0, 160), segment(3, 320)].concat()), "#");
        assert_eq!(keys_of(&[&segment(0, 160)[..1], &segment(1, 320)].concat()), "#", "half of the first is lost");
        let end = |timestamp| [(timestamp, payload(POUND, true, 1600)); 2];
        assert_eq!(keys_of(&[end(0), end(SEGMENT)].concat()), "##");
    }

    #[test]
    fn a_late_packet_of_an_earlier_stream_is_no_new_key() {
        let mut reader = KeyReader::default();
        let (mut sequence, now) = (0, Instant::now());
        let mut read = |ssrc, timestamp| {
            sequence += 1;
            reader.read(Position { ssrc, sequence, timestamp }, &payload(POUND, true, 1600), now).is_some()
        };
        assert!(!read(1, 1000) && read(1, 1000) && !read(2, 500) && read(2, 500));
        assert!(!read(1, 1000) && !read(2, 500) && !read(1, 900) && !read(1, 900));
    }

    #[test]
    fn a_press_tells_how_long_ago_it_began() {
        let mut reader = KeyReader::default();
        let (at, now) = (|sequence| Position { ssrc: 7, sequence, timestamp: 0 }, Instant::now());
        assert_eq!(reader.read(at(1), &payload(POUND, true, 1600), now), None);
        let press = reader.read(at(2), &payload(POUND, true, 1600), now + Duration::from_millis(300));
        assert_eq!(press, Some(Press { key: '#', ago: Duration::from_millis(500) }));
    }

    #[test]
    fn other_events_and_short_packets_are_no_keys() {
        let other = [(0, payload(16, true, 1600)), (8000, payload(200, true, 1600))];
        assert_eq!(keys_of(&[other[0], other[0], other[1], other[1]]), "");
        let mut reader = KeyReader::default();
        for sequence in 0..3 {
            let at = Position { ssrc: 7, sequence, timestamp: 0 };
            assert_eq!(reader.read(at, &[POUND, 0x8a, 0], Instant::now()), None);
        }
    }
}
