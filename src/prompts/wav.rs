//! Reads WAV files of the common kinds, and converts them to the rate of a telephone.

use std::io::Cursor;

use audio_codec_algorithms::{decode_alaw, decode_ulaw};
use hound::{Error, SampleFormat, WavReader, WavSpec};
use rubato::audioadapter_buffers::owned::InterleavedOwned;
use rubato::{Async, FixedAsync, Resampler, SincInterpolationParameters, WindowFunction, calculate_cutoff};

use super::riff::{self, Chunks};
use super::{Recording, SAMPLE_RATE};

/// Maximum length of a recording, in seconds.
const MAX_SECONDS: u64 = 60;

/// Maximum rate of a file, in samples per second.
const MAX_RATE: u32 = 192_000;

/// A file is silent if all samples are below this: -60 dB of full scale.
const SILENT: f32 = 0.001;

/// Frames that the resampler processes at once.
const CHUNK: usize = 1024;

/// The length of the low-pass filter, in samples at the telephone's rate, and its window.
const TAPS: usize = 128;
const WINDOW: WindowFunction = WindowFunction::BlackmanHarris;

/// Points of the filter between two samples. The resampler interpolates between them.
const OVERSAMPLING: usize = 32;

/// The format tags of RFC 2361.
const PCM: u16 = 1;
const FLOAT: u16 = 3;
const A_LAW: u16 = 6;
const MU_LAW: u16 = 7;
const EXTENSIBLE: u16 = 0xFFFE;

/// The bytes after the tag in the sub-format of WAVE_FORMAT_EXTENSIBLE: the GUID XXXX0000-0000-0010-8000-00AA00389B71.
const SUB_FORMAT: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71];

/// The reason why a file cannot be used as a recording.
#[derive(Debug, thiserror::Error)]
pub(super) enum WavError {
    #[error("is not a WAV file of PCM (8 to 32 bits), float (32 bits), A-law or µ-law: {0}")]
    NotRead(String),
    #[error("is shorter than its header says; save or convert it again")]
    CutOff,
    #[error("has {0} samples a second; {SAMPLE_RATE} to {MAX_RATE} are read")]
    Rate(u32),
    #[error("has {0} channels; one or two are read")]
    Channels(u16),
    #[error("has samples that are no numbers")]
    NoNumbers,
    #[error("is empty")]
    Empty,
    #[error("is silent")]
    Silent,
    #[error("is longer than {MAX_SECONDS} seconds")]
    TooLong,
    #[error("cannot be converted: {0}")]
    NotConverted(String),
}

impl From<Error> for WavError {
    fn from(error: Error) -> Self {
        match error {
            // Reading from memory has no other error.
            Error::IoError(_) => Self::CutOff,
            Error::FormatError(problem) => Self::NotRead(problem.to_owned()),
            error => Self::NotRead(error.to_string()),
        }
    }
}

/// Returns the recording in a file's bytes: one channel, at the telephone's rate.
pub(super) fn read(bytes: &[u8]) -> Result<Recording, WavError> {
    let (rate, samples) = decode(bytes)?;
    if samples.is_empty() {
        return Err(WavError::Empty);
    }
    if samples.iter().any(|sample| !sample.is_finite()) {
        return Err(WavError::NoNumbers);
    }
    if samples.iter().all(|sample| sample.abs() < SILENT) {
        return Err(WavError::Silent);
    }
    let samples = if rate == SAMPLE_RATE { samples } else { resample(samples, rate)? };
    // The cast saturates.
    Ok(Recording::new(samples.into_iter().map(|sample| (sample * 32_768.0).round() as i16).collect()))
}

/// Returns the rate, and the samples with all channels mixed.
fn decode(bytes: &[u8]) -> Result<(u32, Vec<f32>), WavError> {
    if bytes.is_empty() {
        return Err(WavError::Empty);
    }
    let Chunks { format, mut data, is_streamed } = riff::chunks(bytes)?;
    let format = Format::read(format)?;
    if is_streamed {
        // The last chunk may end with a pad byte.
        let whole = data.len() - data.len() % usize::from(format.block.max(1));
        data = data.get(..whole).unwrap_or(data);
    }
    let samples = match format.tag {
        A_LAW => g711(data, decode_alaw),
        MU_LAW => g711(data, decode_ulaw),
        _ => linear(&format, data)?,
    };
    let Format { rate, channels, .. } = format;
    if !(SAMPLE_RATE..=MAX_RATE).contains(&rate) {
        return Err(WavError::Rate(rate));
    }
    if !(1..=2).contains(&channels) {
        return Err(WavError::Channels(channels));
    }
    let mix = |frame: &[f32]| frame.iter().sum::<f32>() / f32::from(channels);
    let samples: Vec<f32> = samples.chunks(usize::from(channels)).map(mix).collect();
    match samples.len() as u64 > u64::from(rate) * MAX_SECONDS {
        true => Err(WavError::TooLong),
        false => Ok((rate, samples)),
    }
}

/// The format chunk (`WAVEFORMATEX` and `WAVEFORMATEXTENSIBLE` in Microsoft's mmreg.h).
struct Format {
    /// The encoding. Never `EXTENSIBLE`, which refers to another one.
    tag: u16,
    channels: u16,
    /// Frames per second.
    rate: u32,
    bytes_per_second: u32,
    /// Bytes of a frame, which has one sample of each channel.
    block: u16,
    /// Bits of a sample's container.
    bits: u16,
}

impl Format {
    fn read(chunk: &[u8]) -> Result<Self, WavError> {
        let (fields, extension) = chunk.split_first_chunk::<16>().ok_or(WavError::CutOff)?;
        let [t0, t1, c0, c1, r0, r1, r2, r3, s0, s1, s2, s3, a0, a1, b0, b1] = *fields;
        let mut format = Self {
            tag: u16::from_le_bytes([t0, t1]),
            channels: u16::from_le_bytes([c0, c1]),
            rate: u32::from_le_bytes([r0, r1, r2, r3]),
            bytes_per_second: u32::from_le_bytes([s0, s1, s2, s3]),
            block: u16::from_le_bytes([a0, a1]),
            bits: u16::from_le_bytes([b0, b1]),
        };
        if format.tag == EXTENSIBLE {
            // The size of the extension, valid bits, the channels' places, the encoding.
            let (fields, _) = extension.split_first_chunk::<24>().ok_or(WavError::CutOff)?;
            let [_, _, v0, v1, _, _, _, _, t0, t1, sub_format @ ..] = *fields;
            if sub_format != SUB_FORMAT {
                return Err(WavError::NotRead("its encoding is not known".to_owned()));
            }
            format.tag = u16::from_le_bytes([t0, t1]);
            let valid = u16::from_le_bytes([v0, v1]);
            if valid > format.bits {
                return Err(WavError::NotRead(format!("it says that {valid} of {} bits are valid", format.bits)));
            }
        }
        match format.tag {
            PCM | FLOAT | A_LAW | MU_LAW => Ok(format),
            _ => Err(WavError::NotRead("its encoding is not known".to_owned())),
        }
    }
}

/// Decodes A-law and µ-law, which `hound` does not read.
fn g711(data: &[u8], decode: fn(u8) -> i16) -> Vec<f32> {
    data.iter().map(|byte| f32::from(decode(*byte)) / 32_768.0).collect()
}

/// Decodes PCM and float.
///
/// `hound` gets a header of the plain kind, with the whole container as the sample. It would take valid bits from the
/// low end of the container, but they are at the high end, and the bits below them are zero.
fn linear(format: &Format, data: &[u8]) -> Result<Vec<f32>, WavError> {
    let &Format { tag, channels, rate, bytes_per_second, block, bits } = format;
    if u32::from(block) * 8 != u32::from(channels) * u32::from(bits) {
        let problem = format!("its samples of {bits} bits are in blocks of {block} bytes for {channels} channels");
        return Err(WavError::NotRead(problem));
    }
    let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0".to_vec();
    file.extend([tag, channels].map(u16::to_le_bytes).as_flattened());
    file.extend([rate, bytes_per_second].map(u32::to_le_bytes).as_flattened());
    file.extend([block, bits].map(u16::to_le_bytes).as_flattened());
    file.extend(b"data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    let reader = WavReader::new(Cursor::new(file))?;
    let WavSpec { bits_per_sample, sample_format, .. } = reader.spec();
    let full_scale = 2_f32.powi(i32::from(bits_per_sample) - 1);
    let samples: Result<_, _> = match sample_format {
        SampleFormat::Float => reader.into_samples::<f32>().collect(),
        SampleFormat::Int => {
            reader.into_samples::<i32>().map(|sample| sample.map(|sample| sample as f32 / full_scale)).collect()
        }
    };
    Ok(samples?)
}

fn resample(samples: Vec<f32>, rate: u32) -> Result<Vec<f32>, WavError> {
    let failed = |error: &dyn std::fmt::Display| WavError::NotConverted(error.to_string());
    let frames = samples.len();
    // The filter has the same steepness at every rate if it has the same length in time.
    let taps = TAPS * rate.div_ceil(SAMPLE_RATE) as usize;
    let filter = SincInterpolationParameters::new(taps, WINDOW)
        .f_cutoff(calculate_cutoff(TAPS, WINDOW))
        .oversampling_factor(OVERSAMPLING);
    let ratio = f64::from(SAMPLE_RATE) / f64::from(rate);
    let mut resampler =
        Async::<f32>::new_sinc(ratio, 1.0, &filter, CHUNK, 1, FixedAsync::Input).map_err(|error| failed(&error))?;
    let input = InterleavedOwned::new_from(samples, 1, frames).map_err(|error| failed(&error))?;
    Ok(resampler.process_all(&input, frames, None).map_err(|error| failed(&error))?.take_data())
}
