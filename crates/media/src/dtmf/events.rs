//! Telephone events (RFC 4733): finds the digits in event packets, one for each press.
//!
//! A digit counts from the second packet of its event. A telephone sends at least three packets of each (section
//! 2.5.1.4), so that a lost one does not matter; a single forged packet does not press a digit. If another event begins
//! while only one packet of an event has come, the user may have pressed both: the first one is then reported as
//! [`DigitEvent::Unclear`], so that `0` and `#` never become `#` alone.
//!
//! Packets are ordered by sequence number. Timestamps only identify an event, as peers repeat them or let them jump back.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::Digit;

/// Timestamp units per second of a telephone event that is negotiated beside G.711.
const CLOCK_RATE: u32 = 8000;

/// Longest duration that one packet can name. A longer press continues in a new segment (RFC 4733, section 2.5.1.3).
const MAX_SEGMENT: u32 = 0xffff;

/// Maximum number of streams (SSRC) whose events are remembered. The one that was silent longest is forgotten first.
const MAX_STREAMS: usize = 8;

/// Maximum number of earlier events that are remembered for each stream.
const MAX_PAST_EVENTS: usize = 16;

/// A packet that is further behind, in sequence numbers, is not late: the peer has restarted its numbers (`MAX_MISORDER`
/// of RFC 3550, appendix A.1).
const MAX_LATE: i64 = 100;

/// Longest distance between packets of a press whose timestamp moves on, in sequence numbers: two packets may be lost.
const MAX_SHIFTED: i64 = 3;

/// The same in timestamp units, at 20 ms a packet.
const MAX_SHIFT: u32 = 480;

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

/// What event packets report.
///
/// `began` is when the press began, on the caller's clock: the arrival of its first packet less the duration which that
/// packet names.
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
    /// Only one packet of an event came before the next event, so an entry that contains it cannot be relied upon.
    Unclear {
        /// When the press began.
        began: Duration,
    },
}

/// Finds the digits in the event packets of one call.
///
/// Remembers at most 8 streams with 16 earlier events each.
#[derive(Default)]
pub struct EventDetector {
    /// The one that was heard last is at the back.
    streams: VecDeque<Stream>,
}

/// What was pressed stays out of logs.
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
    /// Timestamp of its latest segment.
    timestamp: u32,
    /// Lowest and highest sequence numbers seen, extended beyond 16 bits.
    lowest: i64,
    highest: i64,
    /// Longest duration seen in the latest segment.
    duration: u32,
    /// Whether a packet with the end bit came.
    has_ended: bool,
    began: Duration,
    /// Whether a second packet came, or the event was reported as unclear.
    is_reported: bool,
}

/// How a packet relates to the current event of its stream.
enum Relation {
    /// Another packet of the same event.
    Same,
    /// The next packet of the same press, with another timestamp.
    NextSegment,
    /// A copy, a late packet of an earlier event, or a contradiction.
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
    /// Returns a digit at the second packet of its event, and [`DigitEvent::Unclear`] at the first packet of an event
    /// that follows one of which only one packet came. Payloads shorter than 4 bytes and events above 15 are ignored.
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

    /// Discards the presses of which only one packet came: neither this packet nor later ones of the press are reported.
    pub fn discard_pending(&mut self) {
        self.report_unclear();
    }

    /// Marks all events of which only one packet came as reported, and returns the last of them.
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
        // A packet of an earlier event is behind, unless the peer has restarted its numbers since.
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

    /// Makes this the current event. Returns what the replaced one reports.
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

    /// Returns whether digit and timestamp are those of the event, and the sequence number is near. No packet is too far
    /// ahead of an event that has not ended: many may have been lost.
    fn may_contain(&self, packet: &Packet) -> bool {
        let is_near = packet.sequence >= self.lowest.saturating_sub(MAX_LATE)
            && (!self.has_ended || packet.sequence <= self.highest.saturating_add(MAX_LATE));
        packet.digit == self.digit && packet.timestamp == self.timestamp && is_near
    }

    /// Returns whether the packet begins a second press of the digit by a peer whose timestamp stands still: after the
    /// end of an event, its duration does not shrink and the end bit stays set.
    fn is_pressed_again_by(&self, packet: &Packet) -> bool {
        self.has_ended && packet.sequence > self.highest && !packet.is_end && packet.duration < self.duration
    }

    /// Returns whether the packet belongs to the next segment of this press, or to a later one if segments were lost.
    fn is_continued_by(&self, packet: &Packet) -> bool {
        let ahead = packet.timestamp.wrapping_sub(self.timestamp);
        let is_adjacent = ahead.is_multiple_of(MAX_SEGMENT) || (ahead == self.duration && ahead >= CLOCK_RATE);
        packet.digit == self.digit && !self.has_ended && ahead != 0 && is_adjacent
    }

    /// Returns whether the packet belongs to this press although its timestamp has moved on: some peers count it up with
    /// each packet, as they do for audio. No other press begins so soon, and with such a duration.
    fn is_shifted_by(&self, packet: &Packet) -> bool {
        let ahead = packet.timestamp.wrapping_sub(self.timestamp);
        let is_next = packet.sequence <= self.highest.saturating_add(MAX_SHIFTED);
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

    /// Adds a packet with a later timestamp. It is also the second packet of the press, if only one came before.
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
