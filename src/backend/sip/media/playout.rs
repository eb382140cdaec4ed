//! Produces the payload of each sent packet: a recording, a telephone event, or silence.

use std::collections::VecDeque;
use std::time::Duration;

use phonegate_media::dtmf::Digit;
use phonegate_media::rtp::{CLOCK_RATE, PACKET_MILLISECONDS, PACKET_SAMPLES};
use phonegate_media::sdp::Codec;
use tokio::sync::{mpsc, oneshot};

use super::playback::{Playback, PlaybackEvent};
use crate::prompts::{Composition, SAMPLE_RATE, encode_g711};

/// Samples in a packet.
pub(super) const FRAME: usize = PACKET_SAMPLES as usize;

const _: () = assert!(SAMPLE_RATE == CLOCK_RATE, "recordings are sent at the rate at which they are kept");

/// Duration of a digit in packets: 160 ms.
const DIGIT_FRAMES: u16 = packets(160);

/// Pause after a digit in packets: 100 ms.
const GAP_FRAMES: u16 = packets(100);

/// Pause of a comma in packets: 500 ms.
const COMMA_FRAMES: u16 = packets(500);

/// Transmissions of the last packet of an event (RFC 4733, section 2.5.1.4).
const END_PACKETS: u16 = 3;

/// Volume of a telephone event, in -dBm0.
const DIGIT_VOLUME: u8 = 10;

/// Returns the number of packets in this time.
const fn packets(milliseconds: u32) -> u16 {
    (milliseconds / PACKET_MILLISECONDS) as u16
}

/// An item of the queue.
struct QueuedItem {
    content: Content,
    /// Number of its packets that were sent.
    sent: usize,
}

enum Content {
    Recording(Playback),
    Digit(u8),
    /// Packets of silence. The receiver is notified after the last one.
    Pause(u16, Option<oneshot::Sender<()>>),
}

/// The kind of a packet's payload.
pub(super) enum Frame {
    Audio,
    /// A telephone event. Its packets have the timestamp of the first one.
    Event {
        first: bool,
        age: u32,
    },
}

/// The recordings, digits and pauses to send.
#[derive(Default)]
pub(super) struct Playout {
    current: Option<QueuedItem>,
    queue: VecDeque<QueuedItem>,
}

impl Playout {
    /// Appends a recording. The receiver gets its progress, and `None` after its end or if it is stopped.
    pub(super) fn play(&mut self, recording: Composition) -> mpsc::Receiver<PlaybackEvent> {
        let (playback, events) = Playback::new(recording);
        self.push(Content::Recording(playback));
        events
    }

    /// Appends digits. A comma is a pause of half a second. The receiver is notified when the last digit was sent.
    pub(super) fn send_digits(&mut self, digits: &str) -> oneshot::Receiver<()> {
        for digit in digits.chars() {
            match Digit::from_char(digit) {
                Some(digit) => {
                    self.push(Content::Digit(digit.event_code()));
                    self.push(Content::Pause(GAP_FRAMES, None));
                }
                None => self.push(Content::Pause(COMMA_FRAMES, None)),
            }
        }
        let (done, is_done) = oneshot::channel();
        self.push(Content::Pause(1, Some(done)));
        is_done
    }

    /// Drops everything that was not sent yet.
    pub(super) fn stop(&mut self) {
        self.current = None;
        self.queue.clear();
    }

    fn push(&mut self, content: Content) {
        let item = QueuedItem { content, sent: 0 };
        match self.current {
            None => self.current = Some(item),
            Some(_) => self.queue.push_back(item),
        }
    }

    /// Appends the payload of the next packet, which is sent now, to `payload`. If the peer does not accept telephone
    /// events, digits are sent as silence.
    pub(super) fn next(&mut self, now: Duration, codec: Codec, accepts_events: bool, payload: &mut Vec<u8>) -> Frame {
        let silence = |payload: &mut Vec<u8>| {
            payload.resize(payload.len() + FRAME, encode_g711(codec, 0));
            Frame::Audio
        };
        let Some(item) = &mut self.current else { return silence(payload) };
        let frame = match &mut item.content {
            Content::Recording(playback) => {
                playback.packet(now, codec, item.sent, payload);
                Frame::Audio
            }
            Content::Digit(code) if accepts_events => {
                let sent = u16::try_from(item.sent).unwrap_or(u16::MAX);
                let last = DIGIT_FRAMES - 1;
                let is_end = sent >= last;
                let duration = (sent.min(last) + 1) * FRAME as u16;
                let [high, low] = duration.to_be_bytes();
                let flags = if is_end { 0x80 | DIGIT_VOLUME } else { DIGIT_VOLUME };
                payload.extend([*code, flags, high, low]);
                Frame::Event { first: sent == 0, age: u32::from(sent) * FRAME as u32 }
            }
            Content::Digit(_) | Content::Pause(..) => silence(payload),
        };
        item.sent += 1;
        if item.sent >= item.content.packets() {
            let ended = std::mem::replace(&mut self.current, self.queue.pop_front());
            ended.into_iter().for_each(|item| item.content.end(now));
        }
        frame
    }
}

impl Content {
    fn packets(&self) -> usize {
        match self {
            Self::Recording(playback) => playback.packets(),
            Self::Digit(_) => usize::from(DIGIT_FRAMES + END_PACKETS - 1),
            Self::Pause(packets, _) => usize::from(*packets),
        }
    }

    /// Notifies the receiver, which may have been dropped.
    fn end(self, now: Duration) {
        match self {
            Self::Recording(playback) => playback.end(now),
            Self::Pause(_, Some(done)) => _ = done.send(()),
            Self::Digit(_) | Self::Pause(_, None) => {}
        }
    }
}
