//! Detects digits in the packets of telephone events (RFC 4733), one for each press.
//!
//! A digit is reported at the second packet of its event. A telephone sends at least three packets of each event
//! (section 2.5.1.4), so a lost packet does not matter, and a single forged packet produces no digit. If another event
//! begins when only one packet of an event has arrived, the user may have pressed both keys: the first event is then
//! reported as [`DigitEvent::Unclear`], so that `0` and `#` never become `#` alone.
//!
//! Packets are ordered by sequence number. Timestamps only identify an event, because some peers repeat them or let
//! them jump back.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::Digit;
use crate::rtp::{CLOCK_RATE, PACKET_SAMPLES};

/// Longest duration in one packet. A longer press continues in a new segment (RFC 4733, section 2.5.1.3).
const MAX_SEGMENT: u32 = 0xffff;

/// Maximum number of streams (SSRC) whose events are remembered. The stream that was silent longest is evicted first.
const MAX_STREAMS: usize = 8;

/// Maximum number of earlier events that are remembered for each stream.
const MAX_PAST_EVENTS: usize = 16;

/// Maximum lateness of a packet, in sequence numbers. If a packet is further behind, the peer has restarted its numbers
/// (`MAX_MISORDER` of RFC 3550, appendix A.1).
const MAX_LATE: i64 = 100;

/// Longest distance between packets of a press whose timestamp advances, in sequence numbers: two packets may be lost.
const MAX_SHIFTED: u8 = 3;

/// `MAX_SHIFTED` in timestamp units, at 20 ms per packet.
const MAX_SHIFT: u32 = MAX_SHIFTED as u32 * PACKET_SAMPLES;

/// Position of an event packet in its stream, from its RTP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPosition {
    /// Synchronization source.
    pub ssrc: u32,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp, in units of 1/8000 s.
    pub timestamp: u32,
}

/// A result of telephone event packets.
///
/// `began` is when the press began, on the caller's clock: the arrival time of its first packet minus the duration in
/// that packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DigitEvent {
    /// A digit was pressed.
    Digit {
        /// The digit.
        digit: Digit,
        /// When the press began.
        began: Duration,
    },
    /// Only one packet of an event arrived before the next event, so the entered number is unreliable.
    Unclear {
        /// When the press began.
        began: Duration,
    },
}

/// Detects the digits in the event packets of one call.
///
/// Remembers at most 8 streams with 16 earlier events each.
#[derive(Default)]
pub struct EventDetector {
    /// Ordered by their latest packet, newest last.
    streams: VecDeque<Stream>,
}

/// Shows only the number of streams, so that no digits reach a log.
impl fmt::Debug for EventDetector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventDetector").field("streams", &self.streams.len()).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    current: Event,
    past: VecDeque<Event>,
}

/// An event packet, with its sequence number extended beyond 16 bits.
#[derive(Clone, Copy, Debug)]
struct Packet {
    sequence: i64,
    timestamp: u32,
    digit: Digit,
    is_end: bool,
    duration: u32,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    digit: Digit,
    /// Timestamp of the latest segment.
    timestamp: u32,
    /// Lowest and highest sequence numbers seen, extended beyond 16 bits.
    lowest: i64,
    highest: i64,
    /// Longest duration seen in the latest segment.
    duration: u32,
    /// Whether a packet with the end bit arrived.
    has_ended: bool,
    began: Duration,
    /// Whether the event was reported as a digit or as unclear, or was discarded.
    is_reported: bool,
}

/// Relation of a packet to the current event of its stream.
enum Relation {
    /// Another packet of the same event.
    Same,
    /// The next packet of the same press, with another timestamp.
    NextSegment,
    /// A duplicate, a late packet of an earlier event, or an inconsistent packet.
    Ignored,
    /// The first packet of another event.
    New,
}

impl EventDetector {
    /// Creates a detector that has seen no event.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the payload of an event packet that arrived at `now`, measured from any fixed origin.
    ///
    /// Returns a digit at the second packet of its event, and [`DigitEvent::Unclear`] at the first packet of an event,
    /// if only one packet of the previous event arrived. Payloads shorter than 4 bytes and events above 15 are ignored.
    pub fn read(&mut self, position: EventPosition, payload: &[u8], now: Duration) -> Option<DigitEvent> {
        let [code, flags, high, low] = *payload.first_chunk::<4>()?;
        let packet = Packet {
            sequence: position.sequence.into(),
            timestamp: position.timestamp,
            digit: Digit::from_event_code(code)?,
            is_end: flags & 0x80 != 0,
            duration: u16::from_be_bytes([high, low]).into(),
        };
        let known = self.streams.iter().position(|stream| stream.ssrc == position.ssrc);
        let Some(mut stream) = known.and_then(|index| self.streams.remove(index)) else {
            let unclear = self.report_unclear();
            if self.streams.len() >= MAX_STREAMS {
                self.streams.pop_front();
            }
            let current = Event::new(&packet, now);
            self.streams.push_back(Stream { ssrc: position.ssrc, current, past: VecDeque::new() });
            return unclear;
        };
        let packet = Packet { sequence: stream.extend(position.sequence), ..packet };
        let relation = stream.relation(&packet);
        let digit = match relation {
            Relation::Same => stream.current.add(&packet),
            Relation::NextSegment => stream.current.continue_with(&packet),
            Relation::Ignored | Relation::New => None,
        };
        let unclear = match relation {
            Relation::New => {
                let replaced = stream.begin(Event::new(&packet, now));
                replaced.or(self.report_unclear())
            }
            _ => None,
        };
        self.streams.push_back(stream);
        digit.or(unclear)
    }

    /// Discards presses of which only one packet has arrived: they are never reported, even if more packets follow.
    pub fn discard_pending(&mut self) {
        self.report_unclear();
    }

    /// Marks all events of which only one packet has arrived as reported, and returns the last of them.
    fn report_unclear(&mut self) -> Option<DigitEvent> {
        self.streams.iter_mut().filter_map(|stream| stream.current.report_unclear()).last()
    }
}

impl Stream {
    /// Extends a sequence number to the value nearest to the highest of the current event (RFC 3550, appendix A.1).
    fn extend(&self, sequence: u16) -> i64 {
        let ahead = sequence.wrapping_sub(self.current.highest as u16) as i16;
        self.current.highest.saturating_add(ahead.into())
    }

    fn relation(&self, packet: &Packet) -> Relation {
        let current = &self.current;
        if current.may_contain(packet) {
            return if current.is_pressed_again_by(packet) { Relation::New } else { Relation::Same };
        }
        let is_ahead = packet.sequence > current.highest;
        // A packet of an earlier event has a lower number, unless the peer has restarted its numbers since.
        let may_be_of = |event: &Event| !is_ahead || event.lowest > current.highest;
        if self.past.iter().any(|event| may_be_of(event) && event.may_contain(packet)) {
            return Relation::Ignored;
        }
        if is_ahead && (current.is_continued_by(packet) || current.is_shifted_by(packet)) {
            return Relation::NextSegment;
        }
        let is_restart = packet.sequence < current.lowest.saturating_sub(MAX_LATE);
        if is_ahead || is_restart { Relation::New } else { Relation::Ignored }
    }

    /// Makes this the current event. Returns [`DigitEvent::Unclear`] if the replaced one was not reported.
    fn begin(&mut self, event: Event) -> Option<DigitEvent> {
        let mut replaced = std::mem::replace(&mut self.current, event);
        let unclear = replaced.report_unclear();
        if self.past.len() >= MAX_PAST_EVENTS {
            self.past.pop_front();
        }
        self.past.push_back(replaced);
        unclear
    }
}

impl Event {
    fn new(packet: &Packet, now: Duration) -> Self {
        let elapsed = Duration::from_secs(packet.duration.into()) / CLOCK_RATE;
        Self {
            digit: packet.digit,
            timestamp: packet.timestamp,
            lowest: packet.sequence,
            highest: packet.sequence,
            duration: packet.duration,
            has_ended: packet.is_end,
            began: now.saturating_sub(elapsed),
            is_reported: false,
        }
    }

    /// Returns whether digit and timestamp match the event and the sequence number is near. For an event that has not
    /// ended, no packet is too far ahead: any number may have been lost.
    fn may_contain(&self, packet: &Packet) -> bool {
        let is_near = packet.sequence >= self.lowest.saturating_sub(MAX_LATE)
            && (!self.has_ended || packet.sequence <= self.highest.saturating_add(MAX_LATE));
        packet.digit == self.digit && packet.timestamp == self.timestamp && is_near
    }

    /// Returns whether the packet begins a second press of the digit, sent by a peer that does not change its
    /// timestamp: within one event, the duration never shrinks and the end bit stays set after the end.
    fn is_pressed_again_by(&self, packet: &Packet) -> bool {
        self.has_ended && packet.sequence > self.highest && !packet.is_end && packet.duration < self.duration
    }

    /// Returns whether the packet belongs to the next segment of this press, or to a later one if segments were lost.
    fn is_continued_by(&self, packet: &Packet) -> bool {
        let ahead = packet.timestamp.wrapping_sub(self.timestamp);
        let is_adjacent = ahead.is_multiple_of(MAX_SEGMENT) || (ahead == self.duration && ahead >= CLOCK_RATE);
        packet.digit == self.digit && !self.has_ended && ahead != 0 && is_adjacent
    }

    /// Returns whether the packet belongs to this press although its timestamp has advanced: some peers increase it
    /// with each packet, as for audio. Another press cannot begin so soon with such a duration.
    fn is_shifted_by(&self, packet: &Packet) -> bool {
        let ahead = packet.timestamp.wrapping_sub(self.timestamp);
        let is_next = packet.sequence <= self.highest.saturating_add(MAX_SHIFTED.into());
        let is_in_step = match self.has_ended {
            false => packet.duration > self.duration && packet.duration.wrapping_sub(self.duration) == ahead,
            true => packet.is_end && packet.duration == self.duration && ahead <= MAX_SHIFT,
        };
        packet.digit == self.digit && is_next && is_in_step
    }

    /// Adds a packet of the event. Returns the digit if this is the second one.
    fn add(&mut self, packet: &Packet) -> Option<DigitEvent> {
        let is_copy = packet.sequence == self.lowest || packet.sequence == self.highest;
        self.lowest = self.lowest.min(packet.sequence);
        self.highest = self.highest.max(packet.sequence);
        self.duration = self.duration.max(packet.duration);
        self.has_ended |= packet.is_end;
        if is_copy || self.is_reported {
            return None;
        }
        self.is_reported = true;
        Some(DigitEvent::Digit { digit: self.digit, began: self.began })
    }

    /// Adds a packet with a later timestamp. It may be the second packet of the press, which reports the digit.
    fn continue_with(&mut self, packet: &Packet) -> Option<DigitEvent> {
        self.timestamp = packet.timestamp;
        self.duration = packet.duration;
        self.add(packet)
    }

    fn report_unclear(&mut self) -> Option<DigitEvent> {
        if self.is_reported {
            return None;
        }
        self.is_reported = true;
        Some(DigitEvent::Unclear { began: self.began })
    }
}

#[cfg(test)]
mod tests;
