//! Joins the recordings of a prompt with the pauses of natural speech.

use std::fmt;
use std::sync::Arc;

use phonegate_approval::script::Piece;
use phonegate_media::sdp::Codec;

use super::{Recording, SAMPLE_RATE};

/// The silence before the first piece, in milliseconds: the first packets of a call may be lost.
const BEFORE_ALL: usize = 200;

/// The silence before and after a digit, in milliseconds.
const AT_DIGIT: usize = 250;

/// The silence between two sentences, in milliseconds.
const BETWEEN_SENTENCES: usize = 400;

/// Maximum length of a composition, in seconds. No call lasts longer.
const MAX_SECONDS: usize = 600;

/// The reason why pieces cannot be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// The language has no recording of a piece.
    #[error("has no recording of {}", .0.name())]
    Missing(Piece),
    /// It would be longer than any call.
    #[error("its prompt is longer than {MAX_SECONDS} seconds; shorten the recordings")]
    TooLong,
}

/// Recordings and the pauses between them.
///
/// It shares the samples with its language, so that many concurrent calls, each with its own code, need no memory for
/// them. Cheap to clone.
#[derive(Clone)]
pub struct Composition {
    /// Each recording with its start, in samples.
    recordings: Arc<[(usize, Recording)]>,
    len: usize,
}

/// Shows only the length: the recordings reveal a code.
impl fmt::Debug for Composition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Composition").field("samples", &self.len).finish_non_exhaustive()
    }
}

impl Composition {
    pub(super) fn new(
        pieces: impl IntoIterator<Item = Piece>,
        recording: impl Fn(Piece) -> Option<Recording>,
    ) -> Result<Self, ComposeError> {
        let mut recordings = Vec::new();
        let mut len: usize = 0;
        let mut before = None;
        for piece in pieces {
            let recording = recording(piece).ok_or(ComposeError::Missing(piece))?;
            let start = len.saturating_add(pause(before, piece) * SAMPLE_RATE as usize / 1_000);
            len = start.saturating_add(recording.len());
            if len > MAX_SECONDS * SAMPLE_RATE as usize {
                return Err(ComposeError::TooLong);
            }
            recordings.push((start, recording));
            before = Some(piece);
        }
        Ok(Self { recordings: recordings.into(), len })
    }

    /// Returns its length in samples.
    pub fn samples(&self) -> usize {
        self.len
    }

    /// Returns the start of a piece, in samples from the beginning. `None` after the last piece.
    pub fn start(&self, piece: usize) -> Option<usize> {
        self.recordings.get(piece).map(|(start, _)| *start)
    }

    /// Returns the recording of a piece. `None` after the last piece.
    pub(crate) fn recording(&self, piece: usize) -> Option<&Recording> {
        self.recordings.get(piece).map(|(_, recording)| recording)
    }

    /// Copies the samples from position `from` on into `out`, encoded, and leaves silence as it is. Looks at no piece before
    /// `piece`, which is 0 or a piece that begins at `from` or before.
    pub(crate) fn read_encoded(&self, codec: Codec, piece: usize, from: usize, out: &mut [u8]) {
        self.copy(piece, from, out, |recording| recording.encoded(codec));
    }

    /// Returns all samples.
    pub fn to_vec(&self) -> Vec<i16> {
        let mut samples = vec![0; self.len];
        self.copy(0, 0, &mut samples, |recording| recording);
        samples
    }

    fn copy<T: Copy>(&self, piece: usize, from: usize, out: &mut [T], content: impl Fn(&Recording) -> &[T]) {
        let to = from.saturating_add(out.len());
        let pieces = self.recordings.iter().skip(piece).take_while(|(start, _)| *start < to);
        for (start, recording) in pieces {
            let (begin, end) = (from.max(*start), to.min(start.saturating_add(recording.len())));
            if begin >= end {
                continue;
            }
            let source = content(recording).get(begin - start..end - start).unwrap_or_default();
            let target = out.get_mut(begin - from..end - from).unwrap_or_default();
            target.iter_mut().zip(source).for_each(|(target, sample)| *target = *sample);
        }
    }
}

/// Returns the silence between two pieces, or before the first one, in milliseconds.
fn pause(before: Option<Piece>, piece: Piece) -> usize {
    match before {
        None => BEFORE_ALL,
        // The code is repeated after its sentence.
        Some(Piece::ThenPound) => BETWEEN_SENTENCES,
        Some(before) if before.is_digit() || piece.is_digit() => AT_DIGIT,
        Some(_) => BETWEEN_SENTENCES,
    }
}
