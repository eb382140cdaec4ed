//! Reading WAV files of any usual kind into what a telephone can carry.

use std::io::Cursor;

use audio_codec_algorithms::{decode_alaw, decode_ulaw};
use hound::{SampleFormat, WavReader, WavSpec};
use rubato::audioadapter_buffers::owned::InterleavedOwned;
use rubato::{Fft, FixedSync, Resampler};

use super::{Recording, SAMPLE_RATE};

/// The longest recording, in seconds.
const MAX_SECONDS: u32 = 60;

/// Frames that the resampler takes at once.
const CHUNK: usize = 1024;

/// From a byte of G.711 to a sample.
type Decode = fn(u8) -> i16;

/// The format tags of G.711 (RFC 2361): A-law and mu-law, which `hound` does not read.
const G711: [(u16, Decode); 2] = [(6, decode_alaw), (7, decode_ulaw)];

/// Why a file is no recording.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum WavError {
    #[error("is not a WAV file, or of a kind that is not read (PCM of 8 to 32 bits, float, G.711): {0}")]
    Unreadable(String),
    #[error("has {0} samples a second; 8,000 to 192,000 are read")]
    Rate(u32),
    #[error("has {0} channels; one or two are read")]
    Channels(u16),
    #[error("is empty or silent")]
    Silent,
    #[error("is longer than {MAX_SECONDS} seconds")]
    TooLong,
    #[error("cannot be converted: {0}")]
    Conversion(String),
}

/// The recording in a WAV file: mixed to one channel, and converted to the telephone's rate.
pub(super) fn decode(bytes: &[u8]) -> Result<Recording, WavError> {
    let (rate, samples) = match g711(bytes) {
        Some(found) => found?,
        None => pcm(bytes)?,
    };
    if !(SAMPLE_RATE..=192_000).contains(&rate) {
        return Err(WavError::Rate(rate));
    }
    if samples.len() as u64 > u64::from(rate) * u64::from(MAX_SECONDS) {
        return Err(WavError::TooLong);
    }
    if samples.iter().all(|sample| sample.abs() < 0.001) {
        return Err(WavError::Silent);
    }
    let samples = if rate == SAMPLE_RATE { samples } else { resampled(samples, rate)? };
    #[expect(clippy::cast_possible_truncation, reason = "limited to what an i16 holds")]
    let to_i16 = |sample: &f32| (sample * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16;
    Ok(samples.iter().map(to_i16).collect())
}

fn pcm(bytes: &[u8]) -> Result<(u32, Vec<f32>), WavError> {
    let unreadable = |error: hound::Error| WavError::Unreadable(error.to_string());
    let reader = WavReader::new(Cursor::new(bytes)).map_err(unreadable)?;
    let WavSpec { channels, sample_rate, bits_per_sample, sample_format } = reader.spec();
    if u64::from(reader.duration()) > u64::from(sample_rate) * u64::from(MAX_SECONDS) {
        return Err(WavError::TooLong);
    }
    let samples: Result<Vec<f32>, _> = match sample_format {
        SampleFormat::Float => reader.into_samples::<f32>().collect(),
        SampleFormat::Int => {
            let full = (1u64 << bits_per_sample.clamp(1, 32).saturating_sub(1)) as f32;
            reader.into_samples::<i32>().map(|sample| sample.map(|sample| sample as f32 / full)).collect()
        }
    };
    Ok((sample_rate, mono(samples.map_err(unreadable)?, channels)?))
}

/// The samples of a G.711 file, or None where it is of another kind.
fn g711(bytes: &[u8]) -> Option<Result<(u32, Vec<f32>), WavError>> {
    let mut chunks = bytes.strip_prefix(b"RIFF")?.get(4..)?.strip_prefix(b"WAVE")?;
    let mut format = None;
    while let Some((header, rest)) = chunks.split_at_checked(8) {
        let (name, size) = header.split_at_checked(4)?;
        let size = u32::from_le_bytes(size.try_into().ok()?) as usize;
        let body = rest.get(..size.min(rest.len()))?;
        match name {
            b"fmt " => {
                let [t0, t1, c0, c1, r0, r1, r2, r3, ..] = *body else { return None };
                let tag = u16::from_le_bytes([t0, t1]);
                let (_, decode) = G711.into_iter().find(|(g711, _)| *g711 == tag)?;
                format = Some((decode, u16::from_le_bytes([c0, c1]), u32::from_le_bytes([r0, r1, r2, r3])));
            }
            b"data" => {
                let (decode, channels, rate) = format?;
                let samples = body.iter().map(|byte| f32::from(decode(*byte)) / 32_768.0).collect();
                return Some(mono(samples, channels).map(|samples| (rate, samples)));
            }
            _ => {}
        }
        // Chunks begin at even places.
        chunks = rest.get(size.saturating_add(size % 2)..)?;
    }
    None
}

fn mono(samples: Vec<f32>, channels: u16) -> Result<Vec<f32>, WavError> {
    match channels {
        1 => Ok(samples),
        2 => Ok(samples.chunks(2).map(|frame| frame.iter().sum::<f32>() / 2.0).collect()),
        other => Err(WavError::Channels(other)),
    }
}

fn resampled(samples: Vec<f32>, rate: u32) -> Result<Vec<f32>, WavError> {
    let failed = |error: &dyn std::fmt::Display| WavError::Conversion(error.to_string());
    let frames = samples.len();
    let mut resampler = Fft::<f32>::new(rate as usize, SAMPLE_RATE as usize, CHUNK, 1, FixedSync::Both)
        .map_err(|error| failed(&error))?;
    let input = InterleavedOwned::new_from(samples, 1, frames).map_err(|error| failed(&error))?;
    Ok(resampler.process_all(&input, frames, None).map_err(|error| failed(&error))?.take_data())
}
