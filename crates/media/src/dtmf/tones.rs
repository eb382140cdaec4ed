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
    rows: [Filter; 4],
    columns: [Filter; 4],
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

/// Measures the power of one frequency in a block (Goertzel algorithm).
#[derive(Clone, Copy, Debug)]
struct Filter {
    coefficient: f32,
    previous: f32,
    before: f32,
}

impl Default for ToneDetector {
    fn default() -> Self {
        Self::new()
    }
}

impl ToneDetector {
    /// Creates a detector.
    pub fn new() -> Self {
        Self {
            rows: ROWS.map(Filter::new),
            columns: COLUMNS.map(Filter::new),
            energy: 0.0,
            samples: 0,
            latest: None,
            blocks: 0,
            has_heard: false,
        }
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
        self.rows.iter_mut().chain(&mut self.columns).for_each(|filter| filter.add(sample));
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
        let (row, column) = (Peak::take(&mut self.rows), Peak::take(&mut self.columns));
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
    /// Returns the strongest frequency of a group if it is clearly stronger than the others. Resets the filters.
    fn take(group: &mut [Filter; 4]) -> Option<Self> {
        let powers = group.each_mut().map(Filter::take_power);
        let (index, power) = powers.into_iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
        let is_alone = powers.into_iter().enumerate().all(|(other, weaker)| other == index || weaker * RATIO <= power);
        is_alone.then_some(Self { index, power })
    }
}

/// Returns whether neither power is more than `ratio` times the other.
fn is_within(a: f32, b: f32, ratio: f32) -> bool {
    a <= b * ratio && b <= a * ratio
}

impl Filter {
    fn new(frequency: f32) -> Self {
        let coefficient = 2.0 * (std::f32::consts::TAU * frequency / SAMPLE_RATE).cos();
        Self { coefficient, previous: 0.0, before: 0.0 }
    }

    fn add(&mut self, sample: f32) {
        let next = sample + self.coefficient * self.previous - self.before;
        (self.previous, self.before) = (next, self.previous);
    }

    /// Returns the power of the frequency since the last call, and resets the filter.
    fn take_power(&mut self) -> f32 {
        let (previous, before) = (std::mem::take(&mut self.previous), std::mem::take(&mut self.before));
        previous * previous + before * before - self.coefficient * previous * before
    }
}

#[cfg(test)]
mod tests;
