//! The chunks of a WAV file, including files whose writer omitted sizes or pad bytes.

use super::wav::WavError;

/// A chunk of this size or more has no known size: its writer could not seek back to enter it. sox writes 0x7FFF_F000,
/// less the rest of a frame, and FFmpeg writes 0xFFFF_FFFF. Files are far smaller than this.
const UNKNOWN_SIZE: u32 = 0x7FFF_0000;

/// The two chunks that a recording needs.
pub(super) struct Chunks<'a> {
    /// The body of the format chunk.
    pub(super) format: &'a [u8],
    /// The body of the data chunk.
    pub(super) data: &'a [u8],
    /// Whether the size of the data is unknown. The data are then the rest of the file.
    pub(super) is_streamed: bool,
}

/// Returns the chunks of a file.
///
/// The size of the file that its header gives is not read. A chunk of odd size is followed by a pad byte, but some
/// writers forget it.
pub(super) fn chunks(file: &[u8]) -> Result<Chunks<'_>, WavError> {
    let body = match file.split_first_chunk::<12>() {
        Some(([b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E'], body)) => body,
        None if file.starts_with(b"RIFF") => return Err(WavError::CutOff),
        _ => return Err(WavError::NotRead("it does not begin with RIFF and WAVE".to_owned())),
    };
    find(body, Padding::Even).or_else(|error| find(body, Padding::None).map_err(|_| error))
}

/// The position of the chunk after one of odd size.
#[derive(Clone, Copy)]
enum Padding {
    /// At the next even place, as it should.
    Even,
    /// Directly behind it.
    None,
}

fn find(body: &[u8], padding: Padding) -> Result<Chunks<'_>, WavError> {
    let (mut format, mut data) = (None, None);
    let mut rest = body;
    loop {
        match (format, data) {
            (Some(format), Some((data, is_streamed))) => return Ok(Chunks { format, data, is_streamed }),
            (None, _) if rest.is_empty() => {
                return Err(WavError::NotRead("it does not say how it is encoded (no fmt chunk)".to_owned()));
            }
            _ if rest.is_empty() => return Err(WavError::NotRead("it has no samples (no data chunk)".to_owned())),
            _ => {}
        }
        let (name, size, after) = header(rest).ok_or(WavError::CutOff)?;
        if name == b"data" && (size >= UNKNOWN_SIZE || size == 0 && !are_chunks(after)) {
            data = data.or(Some((after, true)));
            rest = &[];
            continue;
        }
        let (body, next) = split(after, size, padding).ok_or(WavError::CutOff)?;
        match name {
            b"fmt " => format = format.or(Some(body)),
            b"data" => data = data.or(Some((body, false))),
            _ => {}
        }
        rest = next;
    }
}

/// Returns whether `bytes` consists of chunks only, and so cannot be the samples of a data chunk without a size.
fn are_chunks(bytes: &[u8]) -> bool {
    [Padding::Even, Padding::None].into_iter().any(|padding| {
        let mut rest = bytes;
        while let Some((name, size, after)) = header(rest)
            && name.iter().all(|byte| matches!(byte, b' '..=b'~'))
            && let Some((_, next)) = split(after, size, padding)
        {
            rest = next;
        }
        rest.is_empty()
    })
}

/// Returns the name and the size of the first chunk, and the bytes after them.
fn header(chunks: &[u8]) -> Option<(&[u8; 4], u32, &[u8])> {
    let (name, rest) = chunks.split_first_chunk::<4>()?;
    let (size, rest) = rest.split_first_chunk::<4>()?;
    Some((name, u32::from_le_bytes(*size), rest))
}

/// Returns the body of a chunk of this size, and the bytes after it. The pad byte at the end of a file may be missing.
fn split(after_header: &[u8], size: u32, padding: Padding) -> Option<(&[u8], &[u8])> {
    let (body, rest) = after_header.split_at_checked(usize::try_from(size).ok()?)?;
    let pad = match padding {
        Padding::Even => body.len() % 2,
        Padding::None => 0,
    };
    Some((body, rest.get(pad..).unwrap_or_default()))
}
