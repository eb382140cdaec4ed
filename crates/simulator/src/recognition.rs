//! Understands what a prompt asks for, by comparing its audio with PhoneGate's recordings.
//!
//! On the way from the recordings to a telephone of the simulator, no sample is changed: both sides use PCMU. So blocks of
//! 64 samples of each recording are looked up in the audio by a rolling hash, at any alignment, and compared byte by
//! byte. A recording was spoken if at least half of its blocks were found where they belong. Lost packets cost only the
//! blocks in them.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use audio_codec_algorithms::encode_ulaw;
use phonegate_approval::script::Piece;

use crate::exchange::Heard;

/// Samples of a block. A packet of 20 ms has two whole ones at any alignment.
const BLOCK: usize = 64;

/// A block with fewer different samples is silence, or nearly, and says nothing.
const MIN_VALUES: u32 = 12;

/// Places of one block that are kept. A recording repeats no block of speech; a tone does.
const MAX_PLACES: usize = 8;

/// Maximum number of recordings that are followed at once.
const MAX_CANDIDATES: usize = 64;

/// The longest silence between two pieces that follow each other, in samples. PhoneGate's pauses are 250 and 400 ms, and a
/// digit between them lasts longer than the rest.
const MAX_PAUSE: i64 = 3_600;

/// The overlap of two pieces that is no contradiction, in samples.
const MAX_OVERLAP: i64 = 80;

/// Maximum number of digits of a code.
const MAX_DIGITS: usize = 16;

/// The base of the rolling hash: an odd number with bits everywhere.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

/// The recordings of prompts, in all languages. Share it between calls.
pub struct Recordings {
    languages: usize,
    pieces: Vec<Recording>,
    /// The places of each block, by its hash.
    places: HashMap<u64, Vec<Place>>,
    /// `BASE` to the power of `BLOCK`.
    power: u64,
}

struct Recording {
    language: usize,
    piece: Piece,
    /// PCMU.
    samples: Vec<u8>,
    /// Number of its blocks in `places`.
    blocks: usize,
}

#[derive(Clone, Copy)]
struct Place {
    recording: usize,
    offset: usize,
}

impl Recordings {
    /// Prepares the recordings of languages: linear PCM at 8,000 samples a second, by piece. Pieces that ask for nothing
    /// may be left out.
    pub fn new<L, R, S>(languages: L) -> Self
    where
        L: IntoIterator<Item = R>,
        R: IntoIterator<Item = (Piece, S)>,
        S: Deref<Target = [i16]>,
    {
        let power = (0..BLOCK).fold(1_u64, |power, _| power.wrapping_mul(BASE));
        let mut recordings = Self { languages: 0, pieces: Vec::new(), places: HashMap::new(), power };
        for language in languages {
            for (piece, samples) in language {
                if is_used(piece) {
                    recordings.add(piece, samples.iter().map(|sample| encode_ulaw(*sample)).collect());
                }
            }
            recordings.languages += 1;
        }
        recordings
    }

    fn add(&mut self, piece: Piece, samples: Vec<u8>) {
        let recording = self.pieces.len();
        let mut blocks = 0;
        for (n, block) in samples.chunks_exact(BLOCK).enumerate() {
            if values(block) < MIN_VALUES {
                continue;
            }
            let places = self.places.entry(hash(block)).or_default();
            if places.len() < MAX_PLACES {
                places.push(Place { recording, offset: n * BLOCK });
                blocks += 1;
            }
        }
        self.pieces.push(Recording { language: self.languages, piece, samples, blocks });
    }
}

/// Returns whether a piece helps to understand what is asked for.
fn is_used(piece: Piece) -> bool {
    !matches!(piece, Piece::Intro | Piece::Verified | Piece::FraudReported | Piece::Goodbye)
}

/// Returns the number of different samples.
fn values(block: &[u8]) -> u32 {
    let mut seen = [0_u128; 2];
    for sample in block {
        if let Some(half) = seen.get_mut(usize::from(sample >> 7)) {
            *half |= 1 << (sample & 0x7f);
        }
    }
    seen.map(u128::count_ones).iter().sum()
}

fn hash(block: &[u8]) -> u64 {
    block.iter().fold(0, |hash, sample| roll(hash, *sample))
}

fn roll(hash: u64, sample: u8) -> u64 {
    // 1 is added, so that zeros count.
    hash.wrapping_mul(BASE).wrapping_add(u64::from(sample) + 1)
}

/// Listens to one call.
pub struct Recognizer {
    recordings: Arc<Recordings>,
    /// The last `BLOCK` samples, as a ring.
    window: [u8; BLOCK],
    /// The hash of `window`.
    hash: u64,
    /// Number of samples that were heard.
    position: i64,
    candidates: Vec<Candidate>,
    /// By language.
    listeners: Vec<Listener>,
    last: Option<Heard>,
}

/// A recording that may be spoken.
struct Candidate {
    recording: usize,
    start: i64,
    /// Number of its blocks that were found.
    found: usize,
}

impl Recognizer {
    /// Listens from the beginning of a call.
    pub fn new(recordings: Arc<Recordings>) -> Self {
        let listeners = (0..recordings.languages).map(|_| Listener::default()).collect();
        let window = [0; BLOCK];
        Self { recordings, hash: hash(&window), window, position: 0, candidates: Vec::new(), listeners, last: None }
    }

    /// Hears the next audio in PCMU. Returns what the prompt asks for, once that was said; what was returned last is
    /// returned again only after a wrong entry.
    pub fn hear(&mut self, pcmu: &[u8]) -> Option<Heard> {
        let mut heard = None;
        for sample in pcmu {
            self.add(*sample);
        }
        let position = self.position;
        let mut ended: Vec<_> = Vec::new();
        let pieces = &self.recordings.pieces;
        let end_of = |candidate: &Candidate| {
            let length = pieces.get(candidate.recording).map_or(0, |recording| recording.samples.len());
            candidate.start.saturating_add(length as i64)
        };
        self.candidates.retain(|candidate| {
            let end = end_of(candidate);
            if end <= position {
                ended.push((end, candidate.start, candidate.recording, candidate.found));
            }
            end > position
        });
        ended.sort_unstable();
        for (end, start, recording, found) in ended {
            let Some(recording) = pieces.get(recording).filter(|recording| found * 2 >= recording.blocks) else {
                continue;
            };
            if recording.piece == Piece::WrongKey {
                self.last = None;
            }
            if let Some(listener) = self.listeners.get_mut(recording.language) {
                heard = listener.hear(recording.piece, start, end).or(heard);
            }
        }
        let new = heard.filter(|heard| self.last.as_ref() != Some(heard))?;
        self.last = Some(new.clone());
        Some(new)
    }

    fn add(&mut self, sample: u8) {
        let slot = usize::try_from(self.position).unwrap_or_default() % BLOCK;
        let Some(oldest) = self.window.get_mut(slot) else { return };
        let removed = u64::from(*oldest) + 1;
        *oldest = sample;
        self.hash = roll(self.hash, sample).wrapping_sub(removed.wrapping_mul(self.recordings.power));
        self.position = self.position.saturating_add(1);
        let Some(places) = self.recordings.places.get(&self.hash) else { return };
        let (newer, older) = self.window.split_at_checked(slot.saturating_add(1)).unwrap_or_default();
        for place in places {
            let Some(recording) = self.recordings.pieces.get(place.recording) else { continue };
            let block = recording.samples.get(place.offset..place.offset.saturating_add(BLOCK)).unwrap_or_default();
            if !block.iter().eq(older.iter().chain(newer)) {
                continue;
            }
            let start = self.position.saturating_sub(place.offset.saturating_add(BLOCK) as i64);
            let is_known =
                |candidate: &&mut Candidate| (candidate.recording, candidate.start) == (place.recording, start);
            match self.candidates.iter_mut().find(is_known) {
                Some(candidate) => candidate.found += 1,
                None => {
                    if self.candidates.len() == MAX_CANDIDATES {
                        self.candidates.remove(0);
                    }
                    self.candidates.push(Candidate { recording: place.recording, start, found: 1 });
                }
            }
        }
    }
}

/// Follows the pieces of one language.
#[derive(Default)]
struct Listener {
    /// The piece that a code continues.
    opening: Option<Piece>,
    digits: String,
    /// Whether no digit of the code can be missing.
    is_whole: bool,
    /// The end of the last piece.
    end: i64,
}

impl Listener {
    /// Hears a piece. Returns what is asked for if it is the end of that.
    fn hear(&mut self, piece: Piece, start: i64, end: i64) -> Option<Heard> {
        let pause = start.saturating_sub(self.end);
        if pause < -MAX_OVERLAP {
            return None;
        }
        self.end = end;
        self.is_whole &= pause <= MAX_PAUSE;
        match piece {
            Piece::PressCode | Piece::EnterPinThen => {
                self.begin(Some(piece));
                None
            }
            Piece::Digit(digit) => {
                if self.digits.len() < MAX_DIGITS {
                    self.digits.extend(char::from_digit(digit.into(), 10));
                }
                None
            }
            // A code is said again after "then the pound key", before how to report a fraud.
            Piece::ThenPound => self.end_code(self.opening),
            Piece::NotYou => self.end_code(None),
            Piece::PressPound => {
                self.begin(None);
                Some(Heard::Pound)
            }
            Piece::EnterPin => {
                self.begin(None);
                Some(Heard::Pin)
            }
            _ => {
                self.begin(None);
                None
            }
        }
    }

    fn begin(&mut self, opening: Option<Piece>) {
        self.opening = opening;
        self.digits.clear();
        self.is_whole = true;
    }

    /// Returns the code that ends here, and begins with the next one.
    fn end_code(&mut self, next: Option<Piece>) -> Option<Heard> {
        let digits = std::mem::take(&mut self.digits);
        let is_code = self.is_whole && !digits.is_empty();
        let heard = match self.opening.filter(|_| is_code) {
            Some(Piece::EnterPinThen) => Some(Heard::PinAndCode(digits)),
            Some(_) => Some(Heard::Code(digits)),
            None => None,
        };
        self.begin(next);
        heard
    }
}

/// Says what was understood, for those who hear no sound.
pub fn sentence(heard: &Heard) -> String {
    let spoken = |code: &str| code.chars().map(String::from).collect::<Vec<_>>().join(", ");
    match heard {
        Heard::Code(code) => format!("The prompt asks for {}, then #.", spoken(code)),
        Heard::Pound => "The prompt asks for #.".to_owned(),
        Heard::Pin => "The prompt asks for the PIN, then #.".to_owned(),
        Heard::PinAndCode(code) => format!("The prompt asks for the PIN, then {}, then #.", spoken(code)),
    }
}

#[cfg(test)]
mod tests;
