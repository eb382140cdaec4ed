//! Reading key events (RFC 4733): one key for each event, whatever of its packets is lost, doubled or late.

/// The keys by the number of their event (RFC 4733, section 3.2, table 3).
const KEYS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];

/// The longest span that one packet can tell of; a longer press goes on in a new segment (section 2.5.1.3).
const SEGMENT: u32 = 0xffff;

/// Finds the keys in the events of one stream.
#[derive(Default)]
pub(super) struct KeyReader {
    last: Option<Event>,
}

#[derive(Clone, Copy)]
struct Event {
    ssrc: u32,
    timestamp: u32,
    code: u8,
    duration: u32,
}

impl KeyReader {
    /// Takes the payload of an event packet. Says the key where this is the first packet of a new event.
    pub(super) fn read(&mut self, ssrc: u32, timestamp: u32, payload: &[u8]) -> Option<char> {
        let [code, _, high, low] = *payload.first_chunk::<4>()?;
        let key = *KEYS.get(usize::from(code))?;
        let event = Event { ssrc, timestamp, code, duration: u32::from(u16::from_be_bytes([high, low])) };
        let Some(last) = self.last.as_mut().filter(|last| last.ssrc == ssrc) else {
            self.last = Some(event);
            return Some(key);
        };
        match timestamp.wrapping_sub(last.timestamp) {
            0 => {
                last.duration = last.duration.max(event.duration);
                None
            }
            // Time stamps wrap: half of them lie behind, and tell of an event that is over.
            ahead if ahead > u32::MAX / 2 => None,
            ahead => {
                let continues = code == last.code && ahead == SEGMENT && last.duration == SEGMENT;
                *last = event;
                (!continues).then_some(key)
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
        packets.iter().filter_map(|(timestamp, payload)| reader.read(7, *timestamp, payload)).collect()
    }

    proptest! {
        /// Within a press packets may be lost, doubled and out of order; presses come one after the other.
        #[test]
        fn each_press_is_one_key_whatever_happens_to_its_packets(
            presses in proptest::collection::vec((0u8..12, proptest::collection::vec(0usize..12, 1..30)), 1..8),
            start in any::<u32>(),
        ) {
            let mut packets = Vec::new();
            let mut expected = String::new();
            for (n, (code, order)) in presses.iter().enumerate() {
                let whole = press(start.wrapping_add(n as u32 * 8000), *code);
                packets.extend(order.iter().map(|index| whole[*index]));
                expected.push(KEYS[usize::from(*code)]);
            }
            prop_assert_eq!(keys(&packets), expected);
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
    fn a_long_press_in_several_segments_is_one_key() {
        let segment = |n: u32| (n * SEGMENT, payload(POUND, false, 0xffff));
        assert_eq!(keys(&[segment(0), segment(1), segment(2)]), "#");
        assert_eq!(keys(&[(0, payload(POUND, true, 1600)), (SEGMENT, payload(POUND, true, 1600))]), "##");
    }

    #[test]
    fn other_events_and_short_packets_are_no_keys() {
        assert_eq!(keys(&[(0, payload(16, true, 1600)), (8000, payload(200, true, 1600))]), "");
        assert_eq!(KeyReader::default().read(7, 0, &[POUND, 0x8a, 0]), None);
    }
}
