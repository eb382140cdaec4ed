//! WAV files of the usual kinds, converted to what a telephone carries.

use std::io::Cursor;

use audio_codec_algorithms::{decode_alaw, decode_ulaw};
use hound::{Error, SampleFormat, WavReader, WavSpec};
use rubato::audioadapter_buffers::owned::InterleavedOwned;
use rubato::{Async, FixedAsync, Resampler, SincInterpolationParameters, WindowFunction, calculate_cutoff};

use super::{Recording, SAMPLE_RATE};

/// The longest recording, in seconds.
const MAX_SECONDS: u64 = 60;

/// The highest rate that is read.
const MAX_RATE: u32 = 192_000;

/// A file whose samples are all below this is silent: -60 dB of full scale.
const SILENT: f32 = 0.001;

/// Frames that the resampler takes at once.
const CHUNK: usize = 1024;

/// The length of the filter against what a telephone cannot carry, in samples of the telephone, and its form.
const TAPS: usize = 128;
const WINDOW: WindowFunction = WindowFunction::BlackmanHarris;

/// Points of the filter between two samples; there is interpolation between these.
const OVERSAMPLING: usize = 32;

/// Why a file is no recording.
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
            // In memory, nothing else can go wrong.
            Error::IoError(_) => Self::CutOff,
            Error::FormatError(problem) => Self::NotRead(problem.to_owned()),
            error => Self::NotRead(error.to_string()),
        }
    }
}

/// The recording in a file's bytes: one channel, at the telephone's rate.
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
    // Limits to what an i16 holds, as casts from floats do.
    Ok(samples.into_iter().map(|sample| (sample * 32_768.0).round() as i16).collect())
}

/// The rate, and the samples of all channels together.
fn decode(bytes: &[u8]) -> Result<(u32, Vec<f32>), WavError> {
    if bytes.is_empty() {
        return Err(WavError::Empty);
    }
    if !bytes.starts_with(b"RIFF") {
        return Err(WavError::NotRead("it does not begin with RIFF".to_owned()));
    }
    let (format, data) = (chunk(bytes, b"fmt ")?, chunk(bytes, b"data")?);
    let (rate, channels, samples) = match g711(format, data) {
        Some(decoded) => decoded,
        None => pcm(format, data)?,
    };
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

/// The body of a chunk.
fn chunk<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Result<&'a [u8], WavError> {
    let mut rest = bytes.get(12..).ok_or(WavError::CutOff)?;
    loop {
        let (header, body) = rest.split_first_chunk::<8>().ok_or(WavError::CutOff)?;
        let [a, b, c, d, size @ ..] = *header;
        let size = u32::from_le_bytes(size) as usize;
        if [a, b, c, d] == *name {
            return body.get(..size).ok_or(WavError::CutOff);
        }
        // Chunks begin at even places.
        rest = body.get(size.saturating_add(size % 2)..).ok_or(WavError::CutOff)?;
    }
}

/// Rate, channels and samples of A-law and µ-law, which `hound` does not read. The tags are those of RFC 2361.
fn g711(format: &[u8], data: &[u8]) -> Option<(u32, u16, Vec<f32>)> {
    let ([t0, t1, c0, c1, r0, r1, r2, r3], _) = format.split_first_chunk::<8>()?;
    let decode = match u16::from_le_bytes([*t0, *t1]) {
        6 => decode_alaw,
        7 => decode_ulaw,
        _ => return None,
    };
    let samples = data.iter().map(|byte| f32::from(decode(*byte)) / 32_768.0).collect();
    Some((u32::from_le_bytes([*r0, *r1, *r2, *r3]), u16::from_le_bytes([*c0, *c1]), samples))
}

/// Rate, channels and samples of PCM and float. `hound` sees no other chunk, since it stumbles over one of odd length.
fn pcm(format: &[u8], data: &[u8]) -> Result<(u32, u16, Vec<f32>), WavError> {
    let mut file = b"RIFF\0\0\0\0WAVE".to_vec();
    for (name, body) in [(b"fmt ", format), (b"data", data)] {
        file.extend(name);
        file.extend((body.len() as u32).to_le_bytes());
        file.extend(body);
    }
    let reader = WavReader::new(Cursor::new(file))?;
    let WavSpec { channels, sample_rate, bits_per_sample, sample_format } = reader.spec();
    let full_scale = 2_f32.powi(i32::from(bits_per_sample) - 1);
    let samples: Result<_, _> = match sample_format {
        SampleFormat::Float => reader.into_samples::<f32>().collect(),
        SampleFormat::Int => {
            reader.into_samples::<i32>().map(|sample| sample.map(|sample| sample as f32 / full_scale)).collect()
        }
    };
    Ok((sample_rate, channels, samples?))
}

fn resample(samples: Vec<f32>, rate: u32) -> Result<Vec<f32>, WavError> {
    let failed = |error: &dyn std::fmt::Display| WavError::NotConverted(error.to_string());
    let frames = samples.len();
    // The filter is as steep at every rate only if it is as long in time.
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
