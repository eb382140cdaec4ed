//! Produces the payload of each sent packet: a recording, a telephone event, or silence.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::LazyLock;
use std::time::Duration;

use audio_codec_algorithms::{encode_alaw, encode_ulaw};
use phonegate_approval::ivr::UNTIL_HEARD;
use phonegate_media::dtmf::Digit;
use phonegate_media::rtp::{CLOCK_RATE, PACKET_MILLISECONDS, PACKET_SAMPLES};
use phonegate_media::sdp::Codec;
use tokio::sync::{mpsc, oneshot};

use crate::prompts::{Composition, SAMPLE_RATE};

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

/// Maximum unhandled events of one recording. A prompt has fewer pieces.
const MAX_EVENTS: usize = 64;

/// The code of each sample in a codec, by the bits of the sample. Looking codes up is faster than computing them.
struct CodeTable(Box<[u8]>);

static PCMU: LazyLock<CodeTable> = LazyLock::new(|| CodeTable::new(encode_ulaw));
static PCMA: LazyLock<CodeTable> = LazyLock::new(|| CodeTable::new(encode_alaw));

impl CodeTable {
    fn new(encode: impl Fn(i16) -> u8) -> Self {
        Self((0..=u16::MAX).map(|bits| encode(bits.cast_signed())).collect())
    }

    fn encode(&self, sample: i16) -> u8 {
        self.0.get(usize::from(sample.cast_unsigned())).copied().unwrap_or_default()
    }
}

/// Returns the number of packets in this time.
const fn packets(milliseconds: u32) -> u16 {
    (milliseconds / PACKET_MILLISECONDS) as u16
}

/// Progress of a recording, and when it was made, on the clock of [`Media::now`](super::Media::now): the event may be read
/// later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend::sip) struct PlaybackEvent {
    pub(in crate::backend::sip) at: Duration,
    pub(in crate::backend::sip) progress: PlaybackProgress,
}

/// Progress of a recording. While the peer holds the call, there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend::sip) enum PlaybackProgress {
    /// The first sample of this piece was sent. The first piece is 0.
    PieceBegan(usize),
    /// The first second after the start of the first piece was sent.
    FirstSecondSent,
    /// The last sample was sent.
    Ended,
}

/// An item of the queue, and the receiver of its progress.
struct QueuedItem {
    content: Content,
    /// Number of its packets that were sent.
    sent: usize,
    observer: Observer,
}

enum Observer {
    Playback(mpsc::Sender<PlaybackEvent>),
    Digits(oneshot::Sender<()>),
}

enum Content {
    /// A recording, and the number of its pieces that have begun.
    Recording(Composition, usize),
    Digit(u8),
    Pause(u16),
}

/// The payload of one packet.
pub(super) enum Frame {
    Audio([u8; FRAME]),
    /// A telephone event. Its packets have the timestamp of the first one.
    Event {
        payload: [u8; 4],
        first: bool,
        age: u32,
    },
}

/// The queue of recordings, digits and pauses to send.
#[derive(Default)]
pub(super) struct Playout {
    queue: VecDeque<QueuedItem>,
}

impl Playout {
    /// Appends a recording. The receiver gets its progress, and `None` after its end or if it is stopped.
    pub(super) fn play(&mut self, recording: Composition) -> mpsc::Receiver<PlaybackEvent> {
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let observer = Observer::Playback(sender);
        self.queue.push_back(QueuedItem { content: Content::Recording(recording, 0), sent: 0, observer });
        events
    }

    /// Appends digits. A comma is a pause of half a second.
    pub(super) fn send_digits(&mut self, digits: &str) -> oneshot::Receiver<()> {
        for digit in digits.chars() {
            match Digit::from_char(digit) {
                Some(digit) => {
                    self.push(Content::Digit(digit.event_code()));
                    self.push(Content::Pause(GAP_FRAMES));
                }
                None => drop(self.push(Content::Pause(COMMA_FRAMES))),
            }
        }
        self.push(Content::Pause(1))
    }

    /// Drops everything that was not sent yet.
    pub(super) fn stop(&mut self) {
        self.queue.clear();
    }

    fn push(&mut self, content: Content) -> oneshot::Receiver<()> {
        let (done, is_done) = oneshot::channel();
        self.queue.push_back(QueuedItem { content, sent: 0, observer: Observer::Digits(done) });
        is_done
    }

    /// Returns the payload of the next packet, which is sent now. If the peer does not accept telephone events, digits are
    /// sent as silence.
    pub(super) fn next(&mut self, now: Duration, codec: Codec, accepts_events: bool) -> Frame {
        let codes: &CodeTable = match codec {
            Codec::Pcmu => &PCMU,
            Codec::Pcma => &PCMA,
        };
        let silence = || Frame::Audio([codes.encode(0); FRAME]);
        let Some(item) = self.queue.front_mut() else { return silence() };
        let frames = item.content.frames();
        let frame = match &mut item.content {
            Content::Recording(recording, begun) => {
                let mut samples = [0; FRAME];
                let from = item.sent * FRAME;
                recording.read(begun.saturating_sub(1), from, &mut samples);
                if let Observer::Playback(events) = &item.observer {
                    // If the receiver was dropped, the dialogue has ended.
                    progress(recording, begun, from..from + FRAME)
                        .for_each(|progress| _ = events.try_send(PlaybackEvent { at: now, progress }));
                }
                Frame::Audio(samples.map(|sample| codes.encode(sample)))
            }
            Content::Digit(code) if accepts_events => {
                let sent = u16::try_from(item.sent).unwrap_or(u16::MAX);
                let last = DIGIT_FRAMES - 1;
                let is_end = sent >= last;
                let duration = (sent.min(last) + 1) * FRAME as u16;
                let [high, low] = duration.to_be_bytes();
                let flags = if is_end { 0x80 | DIGIT_VOLUME } else { DIGIT_VOLUME };
                Frame::Event {
                    payload: [*code, flags, high, low],
                    first: sent == 0,
                    age: u32::from(sent) * FRAME as u32,
                }
            }
            Content::Digit(_) | Content::Pause(_) => silence(),
        };
        item.sent += 1;
        if item.sent >= frames {
            // The receiver may have been dropped.
            match self.queue.pop_front().map(|item| item.observer) {
                Some(Observer::Playback(events)) => {
                    _ = events.try_send(PlaybackEvent { at: now, progress: PlaybackProgress::Ended });
                }
                Some(Observer::Digits(done)) => _ = done.send(()),
                None => {}
            }
        }
        frame
    }
}

/// Returns the progress that sending these samples of a recording makes. `begun` counts the pieces that have begun.
fn progress(
    recording: &Composition,
    begun: &mut usize,
    samples: Range<usize>,
) -> impl Iterator<Item = PlaybackProgress> {
    let second = usize::try_from(UNTIL_HEARD.as_secs()).unwrap_or_default() * SAMPLE_RATE as usize;
    let is_heard = recording.start(0).is_some_and(|first| samples.contains(&(first + second)));
    let before = *begun;
    while recording.start(*begun).is_some_and(|start| start < samples.end) {
        *begun += 1;
    }
    (before..*begun).map(PlaybackProgress::PieceBegan).chain(is_heard.then_some(PlaybackProgress::FirstSecondSent))
}

impl Content {
    fn frames(&self) -> usize {
        match self {
            Self::Recording(recording, _) => recording.samples().div_ceil(FRAME).max(1),
            Self::Digit(_) => usize::from(DIGIT_FRAMES + END_PACKETS - 1),
            Self::Pause(frames) => usize::from(*frames),
        }
    }
}
