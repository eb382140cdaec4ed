//! Plays one recording, packet by packet, and reports its progress.

use std::ops::Range;
use std::time::Duration;

use phonegate_approval::ivr::UNTIL_HEARD;
use phonegate_media::sdp::Codec;
use tokio::sync::mpsc;

use super::playout::FRAME;
use crate::prompts::{Composition, Recording, SAMPLE_RATE, encode_g711};

/// Maximum unhandled events of one recording. A prompt has fewer pieces.
const MAX_EVENTS: usize = 64;

/// The sample, after the start of the first piece, with which [`PlaybackProgress::FirstSecondSent`] is reported.
const FIRST_SECOND_SAMPLES: usize = UNTIL_HEARD.as_secs() as usize * SAMPLE_RATE as usize;

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

/// A recording that is played.
pub(super) struct Playback {
    recording: Composition,
    /// The number of its pieces that have begun.
    begun: usize,
    span: Option<PieceSpan>,
    events: mpsc::Sender<PlaybackEvent>,
}

/// A span of a piece. Packets within it need no search and report nothing: with many calls, memory access dominates the
/// cost of a tick.
struct PieceSpan {
    piece: Recording,
    /// The start of the piece, in samples of the whole recording.
    start: usize,
    /// In samples of the whole recording.
    samples: Range<usize>,
}

impl Playback {
    /// Returns the playback, and the receiver of its progress.
    pub(super) fn new(recording: Composition) -> (Self, mpsc::Receiver<PlaybackEvent>) {
        let (events, receiver) = mpsc::channel(MAX_EVENTS);
        (Self { recording, begun: 0, span: None, events }, receiver)
    }

    /// Returns the number of packets, at least one.
    pub(super) fn packets(&self) -> usize {
        self.recording.samples().div_ceil(FRAME).max(1)
    }

    /// Appends the payload of a packet, which is sent now, to `payload`. The first is 0.
    pub(super) fn packet(&mut self, now: Duration, codec: Codec, packet: usize, payload: &mut Vec<u8>) {
        let samples = packet * FRAME..(packet + 1) * FRAME;
        if let Some(bytes) = self.span.as_ref().and_then(|span| span.payload(codec, &samples)) {
            return payload.extend_from_slice(bytes);
        }
        let start = payload.len();
        payload.resize(start + FRAME, encode_g711(codec, 0));
        let bytes = payload.get_mut(start..).unwrap_or_default();
        self.recording.read_encoded(codec, self.begun.saturating_sub(1), samples.start, bytes);
        self.report(now, &samples);
        self.span = self.span_after(samples.end);
    }

    /// Reports that the last packet was sent.
    pub(super) fn end(self, now: Duration) {
        self.send(now, PlaybackProgress::Ended);
    }

    /// Reports the progress that sending these samples makes.
    fn report(&mut self, now: Duration, samples: &Range<usize>) {
        while self.recording.start(self.begun).is_some_and(|start| start < samples.end) {
            self.send(now, PlaybackProgress::PieceBegan(self.begun));
            self.begun += 1;
        }
        if self.first_second().is_some_and(|second| samples.contains(&second)) {
            self.send(now, PlaybackProgress::FirstSecondSent);
        }
    }

    /// Returns the span from this sample on, if there is one.
    fn span_after(&self, from: usize) -> Option<PieceSpan> {
        let piece = self.begun.checked_sub(1)?;
        let (start, recording) = (self.recording.start(piece)?, self.recording.recording(piece)?);
        let end = start + recording.len();
        let end = self.first_second().filter(|second| *second >= from).map_or(end, |second| end.min(second));
        (from < end).then(|| PieceSpan { piece: recording.clone(), start, samples: from..end })
    }

    fn first_second(&self) -> Option<usize> {
        self.recording.start(0).map(|first| first + FIRST_SECOND_SAMPLES)
    }

    fn send(&self, at: Duration, progress: PlaybackProgress) {
        // If the receiver was dropped, the dialogue has ended.
        _ = self.events.try_send(PlaybackEvent { at, progress });
    }
}

impl PieceSpan {
    /// Returns the payload of a packet. `None` if it is not within the span.
    fn payload(&self, codec: Codec, samples: &Range<usize>) -> Option<&[u8]> {
        if samples.start < self.samples.start || self.samples.end < samples.end {
            return None;
        }
        self.piece.encoded(codec).get(samples.start.checked_sub(self.start)?..samples.end.checked_sub(self.start)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::path::Path;

    use phonegate_approval::policy::Method;
    use phonegate_approval::script::{Piece, pieces};

    use super::*;
    use crate::config::PromptsConfig;
    use crate::prompts::Prompts;

    /// Plays a recording, each packet in its codec. Returns the payloads, and the progress with the packet that made it.
    fn play(recording: &Composition, codec: impl Fn(usize) -> Codec) -> (Vec<u8>, Vec<(usize, PlaybackProgress)>) {
        let (mut playback, mut events) = Playback::new(recording.clone());
        let (mut payloads, mut progress) = (Vec::new(), Vec::new());
        for packet in 0..playback.packets() {
            playback.packet(Duration::from_millis(20) * packet as u32, codec(packet), packet, &mut payloads);
            while let Ok(event) = events.try_recv() {
                assert_eq!(event.at, Duration::from_millis(20) * packet as u32);
                progress.push((packet, event.progress));
            }
        }
        (payloads, progress)
    }

    #[test]
    fn packets_are_the_recording_and_report_its_progress() {
        let prompts = Prompts::load(&PromptsConfig::default(), Method::Code, Path::new("")).unwrap();
        let language = prompts.language("en-US").unwrap();
        for recording in [
            language.compose(pieces(Method::Code, 1, "471")).unwrap(),
            language.compose([Piece::Digit(4)]).unwrap(),
            language.compose([]).unwrap(),
        ] {
            let codecs: [fn(usize) -> Codec; 3] = [
                |_| Codec::Pcmu,
                |_| Codec::Pcma,
                // The peer changes it by re-INVITEs.
                |packet| if packet / 7 % 2 == 0 { Codec::Pcmu } else { Codec::Pcma },
            ];
            for codec in codecs {
                let (payloads, progress) = play(&recording, codec);
                let mut samples = recording.to_vec();
                samples.resize(payloads.len(), 0);
                let sent = samples.iter().enumerate().map(|(n, sample)| encode_g711(codec(n / FRAME), *sample));
                assert!(payloads.into_iter().eq(sent));
                let starts = (0..).map_while(|piece| recording.start(piece));
                let mut expected: Vec<_> =
                    starts.enumerate().map(|(piece, at)| (at / FRAME, PlaybackProgress::PieceBegan(piece))).collect();
                let second = recording.start(0).map(|first| (first + FIRST_SECOND_SAMPLES) / FRAME);
                let heard = second.filter(|packet| packet * FRAME < samples.len());
                expected.extend(heard.map(|packet| (packet, PlaybackProgress::FirstSecondSent)));
                expected.sort_by_key(|(packet, progress)| (*packet, *progress == PlaybackProgress::FirstSecondSent));
                assert_eq!(progress, expected);
            }
        }
    }
}
