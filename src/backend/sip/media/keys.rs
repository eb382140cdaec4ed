//! Reading key events (RFC 4733): one key for each event, whatever of its packets is lost, doubled or late.

use std::collections::VecDeque;
use std::time::Duration;

/// The keys by the number of their event (RFC 4733, section 3.2, table 3).
const KEYS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];

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

/// A key that was pressed, so long ago as its first packet to arrive tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Press {
    pub(super) key: char,
    pub(super) ago: Duration,
}

#[derive(Clone, Copy)]
struct Event {
    ssrc: u32,
    timestamp: u32,
    code: u8,
    ended: bool,
}

impl KeyReader {
    /// Takes the payload of an event packet. Says the key where this is the first packet of a new event.
    pub(super) fn read(&mut self, ssrc: u32, timestamp: u32, payload: &[u8]) -> Option<Press> {
        let [code, flags, high, low] = *payload.first_chunk::<4>()?;
        let key = *KEYS.get(usize::from(code))?;
        let event = Event { ssrc, timestamp, code, ended: flags & 0x80 != 0 };
        let duration = u32::from(u16::from_be_bytes([high, low]));
        let press = Press { key, ago: Duration::from_secs(duration.into()) / RATE };
        let Some(last) = self.last.iter_mut().find(|last| last.ssrc == ssrc) else {
            self.last.push_back(event);
            if self.last.len() > STREAMS {
                self.last.pop_front();
            }
            return Some(press);
        };
        match timestamp.wrapping_sub(last.timestamp) {
            0 => {
                last.ended |= event.ended;
                None
            }
            // Time stamps wrap: half of them lie behind, and tell of an event that is over.
            ahead if ahead > u32::MAX / 2 => None,
            ahead => {
                let continues = code == last.code && !last.ended && ahead.is_multiple_of(SEGMENT);
                *last = event;
                (!continues).then_some(press)
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

    /// The packets of one press: nine of growing length, and three ends.
    fn press(timestamp: u32, code: u8) -> Vec<(u32, [u8; 4])> {
        let growing = (1..10).map(|n| (timestamp, payload(code, false, n * 160)));
        growing.chain([(timestamp, payload(code, true, 1600)); 3]).collect()
    }

    fn keys(packets: &[(u32, [u8; 4])]) -> String {
        let mut reader = KeyReader::default();
        let read = |(timestamp, payload): &(u32, [u8; 4])| reader.read(7, *timestamp, payload);
        packets.iter().filter_map(read).map(|press| press.key).collect()
    }

    proptest! {
        /// Within a press packets may be lost, doubled and out of order; presses come one after the other. A press of
        /// which every packet is lost is none.
        #[test]
        fn each_press_is_one_key_whatever_happens_to_its_packets(
            presses in proptest::collection::vec((0u8..12, proptest::collection::vec(0usize..12, 0..30)), 1..8),
            start in any::<u32>(),
        ) {
            let mut packets = Vec::new();
            let mut expected = String::new();
            for (n, (code, order)) in presses.iter().enumerate() {
                let whole = press(start.wrapping_add(n as u32 * 8000), *code);
                packets.extend(order.iter().map(|index| whole[*index]));
                if !order.is_empty() {
                    expected.push(KEYS[usize::from(*code)]);
                }
            }
            prop_assert_eq!(keys(&packets), expected);
        }

        /// However the packets of all presses are mixed, none is a key twice, and none overtakes another.
        #[test]
        fn no_press_is_ever_two_keys(
            codes in proptest::collection::vec(0u8..12, 1..6),
            order in proptest::collection::vec((0usize..6, 0usize..12), 0..100),
            start in any::<u32>(),
        ) {
            let at = |n: usize| start.wrapping_add(n as u32 * 8000);
            let order = order.iter().filter(|(press, _)| *press < codes.len());
            let packets: Vec<_> = order.map(|(n, index)| press(at(*n), codes[*n])[*index]).collect();
            let mut pressed = codes.iter().map(|code| KEYS[usize::from(*code)]);
            let keys = keys(&packets);
            prop_assert!(keys.chars().all(|key| pressed.any(|other| other == key)), "{}", keys);
        }

        #[test]
        fn garbage_is_no_crash(packets in proptest::collection::vec((any::<u32>(), any::<u32>(), any::<Vec<u8>>()), 0..50)) {
            let mut reader = KeyReader::default();
            for (ssrc, timestamp, payload) in packets {
                reader.read(ssrc, timestamp, &payload);
            }
        }
    }

    #[test]
    fn an_end_alone_is_a_key_and_a_late_packet_of_an_earlier_press_is_none() {
        assert_eq!(keys(&[(1000, payload(POUND, true, 1600))]), "#");
        assert_eq!(keys(&[(9000, payload(5, false, 160)), (1000, payload(POUND, true, 1600))]), "5");
    }

    #[test]
    fn a_long_press_in_several_segments_is_one_key_whichever_are_lost() {
        let segment = |n: u32, duration| (n * SEGMENT, payload(POUND, false, duration));
        assert_eq!(keys(&[segment(0, 0xffff), segment(1, 0xffff), segment(2, 160)]), "#");
        assert_eq!(keys(&[segment(0, 160), segment(3, 320)]), "#");
        assert_eq!(keys(&[(0, payload(POUND, true, 1600)), (SEGMENT, payload(POUND, true, 1600))]), "##");
    }

    #[test]
    fn a_late_packet_of_an_earlier_stream_is_no_new_key() {
        let mut reader = KeyReader::default();
        let mut read = |ssrc, timestamp| reader.read(ssrc, timestamp, &payload(POUND, true, 1600)).is_some();
        assert!(read(1, 1000) && read(2, 500));
        assert!(!read(1, 1000) && !read(2, 500) && !read(1, 900));
    }

    #[test]
    fn a_press_tells_how_long_ago_it_began() {
        let press = KeyReader::default().read(7, 0, &payload(POUND, true, 1600));
        assert_eq!(press, Some(Press { key: '#', ago: Duration::from_millis(200) }));
    }

    #[test]
    fn other_events_and_short_packets_are_no_keys() {
        assert_eq!(keys(&[(0, payload(16, true, 1600)), (8000, payload(200, true, 1600))]), "");
        assert_eq!(KeyReader::default().read(7, 0, &[POUND, 0x8a, 0]), None);
    }
}
