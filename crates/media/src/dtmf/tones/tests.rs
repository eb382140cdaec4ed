//! Tones are detected as telephones and gateways send them, and nothing else is detected as a tone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::f32::consts::TAU;

use audio_codec_algorithms::{encode_alaw, encode_ulaw};

use super::*;

/// Amplitude of a sine of 0 dBm0.
const FULL: f32 = 22_300.0;

/// A source of uniform numbers from -1 to 1, the same in each run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * (self.next() + 1.0) / 2.0
    }
}

/// A sum of sines of these frequencies in Hz and levels in dBm0.
fn sines(parts: &[(f32, f32)], milliseconds: usize) -> Vec<f32> {
    let value = |n: usize, (frequency, level): &(f32, f32)| {
        FULL * 10f32.powf(level / 20.0) * (TAU * frequency * n as f32 / SAMPLE_RATE).sin()
    };
    (0..milliseconds * 8).map(|n| parts.iter().map(|part| value(n, part)).sum()).collect()
}

/// Returns whether a tone is detected in these samples, in packets of 20 ms.
fn is_heard(codec: Codec, samples: &[f32]) -> bool {
    let encode = match codec {
        Codec::Pcmu => encode_ulaw,
        Codec::Pcma => encode_alaw,
    };
    let mut detector = ToneDetector::new();
    for packet in samples.chunks(160) {
        let payload: Vec<u8> = packet.iter().map(|sample| encode(*sample as i16)).collect();
        detector.read(codec, &payload);
    }
    detector.has_heard()
}

/// Each digit, at the lowest and highest levels and deviations of telephones (Q.24), wherever it begins in a block.
#[test]
fn every_digit_is_heard_from_64_milliseconds_on() {
    for (row, column) in ROWS.into_iter().flat_map(|row| COLUMNS.map(|column| (row, column))) {
        for (deviation, row_level, column_level) in
            [(1.0, -10.0, -8.0), (1.015, -27.0, -27.0), (0.985, -6.0, -6.0), (1.0, -16.0, -10.0), (1.0, -10.0, -16.0)]
        {
            for (codec, pause) in [(Codec::Pcmu, 0), (Codec::Pcma, 3), (Codec::Pcmu, 7), (Codec::Pcma, 11)] {
                let mut samples = vec![0.0; pause * 8];
                samples.extend(sines(&[(row * deviation, row_level), (column * deviation, column_level)], 64));
                samples.extend([0.0; 200]);
                assert!(is_heard(codec, &samples), "{row} {column} {deviation} {row_level} {column_level} {pause}");
            }
        }
    }
}

#[test]
fn tones_are_heard_in_noise() {
    let mut noise = Noise(1);
    for _ in 0..100 {
        let mut samples = sines(&[(941.0, -13.0), (1477.0, -13.0)], 100);
        // White noise, 15 dB below the tones.
        let amplitude = FULL * 10f32.powf((-10.0 - 15.0) / 20.0) / 2f32.sqrt() * 3f32.sqrt();
        samples.iter_mut().for_each(|sample| *sample += amplitude * noise.next());
        assert!(is_heard(Codec::Pcmu, &samples));
    }
}

#[test]
fn short_tones_are_not_heard() {
    for pause in 0..20 {
        let mut samples = Vec::new();
        for _ in 0..20 {
            samples.extend(vec![0.0; 100 + pause * 8]);
            samples.extend(sines(&[(770.0, -10.0), (1336.0, -10.0)], 46));
        }
        assert!(!is_heard(Codec::Pcmu, &samples), "{pause}");
    }
    let changing: Vec<f32> =
        (ROWS.into_iter().cycle().take(100)).flat_map(|row| sines(&[(row, -10.0), (1336.0, -10.0)], 25)).collect();
    assert!(!is_heard(Codec::Pcmu, &changing));
}

#[test]
fn other_tones_are_not_heard() {
    for parts in [
        &[][..],
        &[(350.0, -13.0), (440.0, -13.0)],
        &[(440.0, -19.0), (480.0, -19.0)],
        &[(480.0, -24.0), (620.0, -24.0)],
        &[(425.0, -10.0)],
        &[(1100.0, -10.0)],
        &[(2100.0, -10.0)],
        &[(950.0, -10.0), (1400.0, -10.0), (1800.0, -10.0)],
        &[(697.0, -10.0)],
        &[(1336.0, -10.0)],
        &[(697.0, -10.0), (770.0, -10.0)],
        &[(697.0, -10.0), (770.0, -10.0), (1209.0, -10.0)],
        &[(697.0, -10.0), (770.0, -17.0), (1209.0, -10.0)],
        // Too uneven, too quiet, too far off, and with harmonics.
        &[(697.0, -10.0), (1209.0, -20.0)],
        &[(697.0, -20.0), (1209.0, -10.0)],
        &[(697.0, -41.0), (1209.0, -41.0)],
        &[(697.0 * 1.035, -10.0), (1209.0 * 1.035, -10.0)],
        &[(697.0 * 0.965, -10.0), (1209.0 * 0.965, -10.0)],
        &[(697.0, -10.0), (1209.0, -10.0), (1394.0, -13.0), (2418.0, -13.0)],
    ] {
        for codec in [Codec::Pcmu, Codec::Pcma] {
            assert!(!is_heard(codec, &sines(parts, 2000)), "{parts:?}");
        }
    }
    let sweep: Vec<f32> = (0..80_000).map(|n| 10_000.0 * (0.0001 * (n as f32).powi(2) / 8.0).sin()).collect();
    assert!(!is_heard(Codec::Pcmu, &sweep));
}

/// Pulses of a voice of changing pitch through three formants, with breath, and pauses between the syllables. 10 minutes
/// of vowels, of which each is held for 200 ms.
#[test]
fn speech_is_hardly_ever_heard_as_a_tone() {
    let mut mistaken = 0;
    for seed in 1..=15u64 {
        let mut noise = Noise(seed * 0x9e37_79b9);
        let mut samples = Vec::new();
        let mut phase = 0.0;
        for _ in 0..200 {
            let formants = [(270.0, 850.0), (850.0, 2300.0), (2200.0, 3000.0)];
            let formants = formants.map(|(low, high)| noise.between(low, high));
            let (pitch, glide) = (noise.between(80.0, 300.0), noise.between(0.05, 0.3) * noise.next().signum());
            let breath = if noise.next() > 0.6 { 0.8 } else { 0.05 };
            let mut state = [[0.0f32; 2]; 3];
            let mut jitter = 1.0;
            for n in 0..1600 {
                phase += jitter * pitch * (1.0 + glide * n as f32 / 1600.0) / SAMPLE_RATE;
                let pulse = if phase >= 1.0 { 40.0 } else { 0.0 };
                if phase >= 1.0 {
                    jitter = 1.0 + 0.01 * noise.next();
                }
                phase = phase.fract();
                let mut sample = pulse + breath * noise.next();
                for ((formant, width), state) in formants.iter().zip([80.0, 110.0, 160.0]).zip(&mut state) {
                    let radius = 1.0 - std::f32::consts::PI * width / SAMPLE_RATE;
                    let next = sample + 2.0 * radius * (TAU * formant / SAMPLE_RATE).cos() * state[0]
                        - radius * radius * state[1];
                    *state = [next, state[0]];
                    sample = next * 0.15;
                }
                let envelope = (std::f32::consts::PI * n as f32 / 1600.0).sin();
                samples.push(sample * 20_000.0 * envelope);
            }
        }
        let peak = samples.iter().fold(1.0f32, |peak, sample| peak.max(sample.abs()));
        samples.iter_mut().for_each(|sample| *sample *= 25_000.0 / peak);
        mistaken += usize::from(is_heard(Codec::Pcmu, &samples));
    }
    assert!(mistaken <= 1, "{mistaken} of 15 calls of 40 s");
}

/// Chords and melodies of instruments with four harmonics, at music-on-hold levels.
#[test]
fn music_is_not_heard_as_a_tone() {
    for seed in 1..=4u64 {
        let mut noise = Noise(seed * 0x51_7cc1);
        let mut samples = Vec::new();
        for _ in 0..300 {
            let root = noise.between(40.0, 80.0).floor();
            let thirds = [0.0, if noise.next() > 0.0 { 4.0 } else { 3.0 }, 7.0];
            let voices = if noise.next() > 0.3 { 1 } else { 3 };
            let parts: Vec<(f32, f32)> = (thirds.iter().take(voices))
                .map(|step| 440.0 * 2f32.powf((root + step - 69.0) / 12.0))
                .flat_map(|frequency| {
                    (1..=4).map(move |harmonic| (frequency * harmonic as f32, -16.0 - 6.0 * (harmonic - 1) as f32))
                })
                .filter(|(frequency, _)| *frequency < 3400.0)
                .collect();
            samples.extend(sines(&parts, 150));
        }
        assert!(!is_heard(Codec::Pcma, &samples), "{seed}");
    }
}

#[test]
fn noise_and_silence_are_not_heard_as_a_tone() {
    let mut noise = Noise(7);
    let white: Vec<f32> = (0..800_000).map(|_| 12_000.0 * noise.next()).collect();
    let mut level = 0.0;
    let brown: Vec<f32> = white.iter().map(|sample| (level = level * 0.98 + sample * 0.1, level).1).collect();
    for samples in [white, brown, vec![0.0; 80_000]] {
        assert!(!is_heard(Codec::Pcmu, &samples));
    }
    let mut detector = ToneDetector::new();
    for byte in 0..=255 {
        detector.read(Codec::Pcmu, &[byte; 700]);
        detector.read(Codec::Pcma, &[byte; 700]);
        detector.read(Codec::Pcmu, &[]);
    }
    assert!(!detector.has_heard());
}
