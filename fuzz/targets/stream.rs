//! The input is three bytes, which select the limits and how the stream is cut, and the stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phonegate_sip::framing::{StreamError, StreamEvent, StreamReader};
use phonegate_sip::message::{Limits, Message};

fuzz_target!(|input: &[u8]| {
    let Some(([choice, cuts @ ..], stream)) = input.split_first_chunk::<3>() else { return };
    let limits = match choice & 1 {
        0 => Limits::default(),
        _ => Limits { message: 200, datagram_request: 100, headers: 5 },
    };
    let mut state = u16::from_be_bytes(*cuts) | 1;
    let arbitrary_cut = || {
        // Marsaglia's xorshift; lengths from 0 to 31, and occasionally a longer one.
        state ^= state << 7;
        state ^= state >> 9;
        state ^= state << 8;
        usize::from(if state & 0xe000 == 0 { state >> 4 } else { state & 31 })
    };
    let whole = read(stream, &limits, || limits.message);
    assert_eq!(read(stream, &limits, arbitrary_cut), whole, "cut anywhere");
    assert_eq!(read(stream, &limits, || 1), whole, "cut everywhere");
    for event in &whole.0 {
        let StreamEvent::Message(message) = event else { continue };
        assert!(message.as_bytes().len() <= limits.message);
        let again =
            Message::from_datagram(message.as_bytes(), &Limits { datagram_request: limits.message, ..limits.clone() });
        assert_eq!(again.as_ref(), Ok(message), "a datagram with the message is read the same");
    }
});

/// Reads a stream in pieces. Returns the events, the error that ended it, if any, and whether it ends within a message.
fn read(
    stream: &[u8],
    limits: &Limits,
    mut next_cut: impl FnMut() -> usize,
) -> (Vec<StreamEvent>, Option<StreamError>, bool) {
    let mut reader = StreamReader::new(limits.clone());
    let mut events = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(next_cut().min(limits.message).min(rest.len()));
        rest = after;
        reader.push(piece).expect("a piece is taken if the reader wants more");
        loop {
            match reader.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!((reader.next_event(), reader.push(b"x")), (Err(error.clone()), Err(error.clone())));
                    assert_eq!(reader.unread_len(), 0, "nothing is kept of a stream that failed");
                    return (events, Some(error), false);
                }
            }
            assert!(events.len() <= stream.len(), "each event consumes something");
        }
        assert!(reader.unread_len() <= limits.message, "what is kept has a limit");
    }
    (events, None, reader.is_in_message())
}
