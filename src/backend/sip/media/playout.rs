//! What is sent, packet by packet: a recording, key events, or silence.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use audio_codec_algorithms::{encode_alaw, encode_ulaw};
use phonegate_approval::ivr::UNTIL_HEARD;
use phonegate_media::dtmf::Digit;
use phonegate_media::sdp::Codec;
use tokio::sync::{mpsc, oneshot};

use crate::prompts::{Composition, SAMPLE_RATE};

/// Samples in a packet: 20 ms at 8 kHz.
pub(super) const FRAME: usize = 160;

/// So many packets make up a key, and so many the pause after it: 160 ms and 100 ms.
const KEY_FRAMES: u16 = 8;
const GAP_FRAMES: u16 = 5;

/// The end of a key is told three times (RFC 4733, section 2.5.1.4).
const END_PACKETS: u16 = 3;

/// Volume of a key event in -dBm0.
const KEY_VOLUME: u8 = 10;

/// Maximum events of one recording that wait to be handled: more than a prompt has pieces.
const MAX_EVENTS: usize = 64;

/// How far a recording was sent, and when, by [`Media::now`](super::Media::now): the report may be read later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend::sip) struct SpeechEvent {
    pub(in crate::backend::sip) at: Duration,
    pub(in crate::backend::sip) progress: SpeechProgress,
}

/// How far a recording was sent. While the other side holds the call, nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend::sip) enum SpeechProgress {
    /// The first sample of this piece was sent. Counts from 0.
    PieceBegan(usize),
    /// The first second of it was sent, from its first piece on.
    SecondSent,
    /// The last sample was sent.
    Ended,
}

/// Something to be sent, and who waits for it.
struct Item {
    what: What,
    /// Packets sent of it.
    sent: usize,
    observer: Observer,
}

enum Observer {
    Speech(mpsc::Sender<SpeechEvent>),
    Keys(oneshot::Sender<()>),
}

enum What {
    Recording(Composition),
    Key(u8),
    Pause(u16),
}

/// The payload of one packet.
pub(super) enum Frame {
    Audio([u8; FRAME]),
    /// A key event. Its packets bear the time stamp of its first.
    Event {
        payload: [u8; 4],
        first: bool,
        age: u32,
    },
}

/// The queue of what is to be sent.
#[derive(Default)]
pub(super) struct Playout {
    queue: VecDeque<Item>,
}

impl Playout {
    /// Appends a recording. The receiver gets its events, and `None` after the last or if it is stopped.
    pub(super) fn say(&mut self, recording: Composition) -> mpsc::Receiver<SpeechEvent> {
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let observer = Observer::Speech(sender);
        self.queue.push_back(Item { what: What::Recording(recording), sent: 0, observer });
        events
    }

    /// Appends keys. A comma is a pause of half a second.
    pub(super) fn press(&mut self, keys: &str) -> oneshot::Receiver<()> {
        for key in keys.chars() {
            match Digit::from_char(key) {
                Some(digit) => {
                    self.push(What::Key(digit.event_code()));
                    self.push(What::Pause(GAP_FRAMES));
                }
                None => drop(self.push(What::Pause(25))),
            }
        }
        self.push(What::Pause(1))
    }

    /// Drops all that is not sent yet.
    pub(super) fn stop(&mut self) {
        self.queue.clear();
    }

    fn push(&mut self, what: What) -> oneshot::Receiver<()> {
        let (done, is_done) = oneshot::channel();
        self.queue.push_back(Item { what, sent: 0, observer: Observer::Keys(done) });
        is_done
    }

    /// The next packet's payload, which is sent now. Keys need a receiver that takes them, and are silence without one.
    pub(super) fn next(&mut self, now: Duration, codec: Codec, takes_keys: bool) -> Frame {
        let encode = match codec {
            Codec::Pcmu => encode_ulaw,
            Codec::Pcma => encode_alaw,
        };
        let silence = || Frame::Audio([encode(0); FRAME]);
        let Some(item) = self.queue.front_mut() else { return silence() };
        let frames = item.what.frames();
        let frame = match &item.what {
            What::Recording(recording) => {
                let mut samples = [0; FRAME];
                let from = item.sent * FRAME;
                recording.read(from, &mut samples);
                if let Observer::Speech(events) = &item.observer {
                    // A conversation that does not read them has ended.
                    progress(recording, from..from + FRAME)
                        .for_each(|progress| _ = events.try_send(SpeechEvent { at: now, progress }));
                }
                Frame::Audio(samples.map(encode))
            }
            What::Key(code) if takes_keys => {
                let sent = u16::try_from(item.sent).unwrap_or(u16::MAX);
                let last = KEY_FRAMES - 1;
                let is_end = sent >= last;
                let duration = (sent.min(last) + 1) * FRAME as u16;
                let [high, low] = duration.to_be_bytes();
                let flags = if is_end { 0x80 | KEY_VOLUME } else { KEY_VOLUME };
                Frame::Event {
                    payload: [*code, flags, high, low],
                    first: sent == 0,
                    age: u32::from(sent) * FRAME as u32,
                }
            }
            What::Key(_) | What::Pause(_) => silence(),
        };
        item.sent += 1;
        if item.sent >= frames {
            // The receiver may have been dropped.
            match self.queue.pop_front().map(|item| item.observer) {
                Some(Observer::Speech(events)) => {
                    _ = events.try_send(SpeechEvent { at: now, progress: SpeechProgress::Ended });
                }
                Some(Observer::Keys(done)) => _ = done.send(()),
                None => {}
            }
        }
        frame
    }
}

/// What these samples of a recording begin or complete.
fn progress(recording: &Composition, samples: Range<usize>) -> impl Iterator<Item = SpeechProgress> {
    let second = usize::try_from(UNTIL_HEARD.as_secs()).unwrap_or_default() * SAMPLE_RATE as usize;
    let is_heard = recording.starts().next().is_some_and(|first| samples.contains(&(first + second)));
    let begun = recording.starts().enumerate().filter(move |(_, at)| samples.contains(at));
    begun.map(|(index, _)| SpeechProgress::PieceBegan(index)).chain(is_heard.then_some(SpeechProgress::SecondSent))
}

impl What {
    fn frames(&self) -> usize {
        match self {
            Self::Recording(recording) => recording.samples().div_ceil(FRAME).max(1),
            Self::Key(_) => usize::from(KEY_FRAMES + END_PACKETS - 1),
            Self::Pause(frames) => usize::from(*frames),
        }
    }
}
