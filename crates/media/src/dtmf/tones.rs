//! Detects DTMF tones in the audio (ITU-T Q.23 and Q.24). They are a hint for the administrator and never become
//! digits, because anyone who can speak into the call can play them.

use audio_codec_algorithms::{decode_alaw, decode_ulaw};

use crate::rtp::CLOCK_RATE;
use crate::sdp::Codec;

/// Samples a second.
const SAMPLE_RATE: f32 = CLOCK_RATE as f32;

/// Frequencies of the rows and of the columns of a keypad, in Hz.
const ROWS: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
const COLUMNS: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];

/// Samples in a block: 12.5 ms, which gives a frequency resolution of 80 Hz, about the distance of the rows.
const BLOCK: u8 = 100;

/// Minimum number of consecutive blocks with the same two frequencies at a steady power that make a tone.
const MIN_BLOCKS: u8 = 4;

/// Highest ratio of the powers of two consecutive blocks of a tone: 1.5 dB. Speech is rarely so steady.
const STEADY: f32 = 1.41;

/// Lowest mean square of a block: -36 dBm0, well below what telephones send.
const MIN_MEAN_SQUARE: f32 = 62_500.0;

/// Lowest share of the two frequencies in the energy of a block. Speech and music also have harmonics. It also limits
/// the deviation from the frequencies: 1.5 % passes, 3.5 % does not.
const MIN_SHARE: f32 = 0.77;

/// 8 dB: lowest ratio of the strongest frequency of a group to any other frequency of the group, and highest ratio
/// between the two groups.
const RATIO: f32 = 6.3;

/// Detects DTMF tones in G.711 audio.
///
/// A tone of 46 ms or less is never detected; a clean one of 64 ms or more always is. Memory use is constant.
#[derive(Clone, Debug)]
pub struct ToneDetector {
    filters: Filters,
    /// Sum of the squares of the samples in the current block, and the number of samples.
    energy: f32,
    samples: u8,
    /// The tone in the latest block, if any.
    latest: Option<Tone>,
    /// Number of consecutive blocks of that tone.
    blocks: u8,
    has_heard: bool,
}

/// The two keypad frequencies in a block.
#[derive(Clone, Copy, Debug)]
struct Tone {
    row: Peak,
    column: Peak,
}

/// The strongest frequency of a group.
#[derive(Clone, Copy, Debug)]
struct Peak {
    index: usize,
    power: f32,
}

/// Measures the power of each frequency in a block (Goertzel algorithm): first the rows, then the columns. The compiler
/// turns the arrays into vector registers.
#[derive(Clone, Debug)]
struct Filters {
    coefficients: [f32; FREQUENCIES],
    previous: [f32; FREQUENCIES],
    before: [f32; FREQUENCIES],
}

/// Frequencies of a keypad.
const FREQUENCIES: usize = ROWS.len() + COLUMNS.len();

impl Default for ToneDetector {
    fn default() -> Self {
        Self::new()
    }
}

impl ToneDetector {
    /// Creates a detector.
    pub fn new() -> Self {
        Self { filters: Filters::new(), energy: 0.0, samples: 0, latest: None, blocks: 0, has_heard: false }
    }

    /// Processes the payload of the next packet.
    pub fn read(&mut self, codec: Codec, payload: &[u8]) {
        let decode = match codec {
            Codec::Pcmu => decode_ulaw,
            Codec::Pcma => decode_alaw,
        };
        if !self.has_heard {
            payload.iter().for_each(|sample| self.add(decode(*sample).into()));
        }
    }

    /// Returns whether a tone was detected at any time.
    pub fn has_heard(&self) -> bool {
        self.has_heard
    }

    fn add(&mut self, sample: f32) {
        self.energy += sample * sample;
        self.filters.add(sample);
        self.samples = self.samples.saturating_add(1);
        if self.samples >= BLOCK {
            let tone = self.judge_block();
            let goes_on = matches!((tone, self.latest), (Some(tone), Some(before)) if tone.goes_on_from(&before));
            self.blocks = if goes_on { self.blocks.saturating_add(1) } else { 1 };
            self.latest = tone;
            self.has_heard |= tone.is_some() && self.blocks >= MIN_BLOCKS;
            self.energy = 0.0;
            self.samples = 0;
        }
    }

    /// Returns the tone in the block, if any, and resets the filters.
    fn judge_block(&mut self) -> Option<Tone> {
        let (rows, columns) = self.filters.take_powers();
        let (row, column) = (Peak::find(rows), Peak::find(columns));
        let tone = Tone { row: row?, column: column? };
        let length = f32::from(BLOCK);
        // A sine of amplitude A has the power (A · length / 2)², and its squares the sum A² · length / 2.
        let share = tone.power() * 2.0 / length / self.energy;
        let is_loud = self.energy >= MIN_MEAN_SQUARE * length;
        let is_balanced = is_within(tone.row.power, tone.column.power, RATIO);
        (is_loud && is_balanced && share >= MIN_SHARE).then_some(tone)
    }
}

impl Tone {
    fn goes_on_from(&self, before: &Self) -> bool {
        let is_same = (self.row.index, self.column.index) == (before.row.index, before.column.index);
        is_same && is_within(self.power(), before.power(), STEADY)
    }

    fn power(&self) -> f32 {
        self.row.power + self.column.power
    }
}

impl Peak {
    /// Returns the strongest frequency of a group if it is clearly stronger than the others.
    fn find(powers: [f32; 4]) -> Option<Self> {
        let (index, power) = powers.into_iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
        let is_alone = powers.into_iter().enumerate().all(|(other, weaker)| other == index || weaker * RATIO <= power);
        is_alone.then_some(Self { index, power })
    }
}

/// Returns whether neither power is more than `ratio` times the other.
fn is_within(a: f32, b: f32, ratio: f32) -> bool {
    a <= b * ratio && b <= a * ratio
}

impl Filters {
    fn new() -> Self {
        let coefficient = |frequency: f32| 2.0 * (std::f32::consts::TAU * frequency / SAMPLE_RATE).cos();
        let [a, b, c, d] = ROWS.map(coefficient);
        let [e, f, g, h] = COLUMNS.map(coefficient);
        let zero = [0.0; FREQUENCIES];
        Self { coefficients: [a, b, c, d, e, f, g, h], previous: zero, before: zero }
    }

    fn add(&mut self, sample: f32) {
        let filters = self.coefficients.iter().zip(&mut self.previous).zip(&mut self.before);
        for ((coefficient, previous), before) in filters {
            let next = sample + coefficient * *previous - *before;
            (*previous, *before) = (next, *previous);
        }
    }

    /// Returns the powers of the rows and of the columns since the last call, and resets the filters.
    fn take_powers(&mut self) -> ([f32; 4], [f32; 4]) {
        let [previous, before] = [&mut self.previous, &mut self.before].map(std::mem::take);
        let filters = self.coefficients.iter().zip(previous).zip(before);
        let mut powers = [0.0; FREQUENCIES];
        for (power, ((coefficient, previous), before)) in powers.iter_mut().zip(filters) {
            *power = previous * previous + before * before - coefficient * previous * before;
        }
        let [a, b, c, d, e, f, g, h] = powers;
        ([a, b, c, d], [e, f, g, h])
    }
}

#[cfg(test)]
mod tests;
