//! The lines of a message before its body.

use std::ops::Range;

use memchr::{memchr, memchr_iter};

use super::error::{HeaderProblem, MessageError};
use super::header::{self, Header};
use super::scan;

/// Finds the empty line that ends the headers, from `start` on. Returns the position at which the body begins.
///
/// A line ends with CR LF or with LF alone.
pub(crate) fn find_end(bytes: &[u8], start: usize) -> Option<usize> {
    let searched = bytes.get(start..)?;
    memchr_iter(b'\n', searched).find_map(|position| {
        let line = start.checked_add(position)?.checked_add(1)?;
        match bytes.get(line..)? {
            [b'\n', ..] => line.checked_add(1),
            [b'\r', b'\n', ..] => line.checked_add(2),
            _ => None,
        }
    })
}

/// Returns the number of CR and LF before the first line, which are ignored (RFC 3261, 7.5).
pub(crate) fn blank_lines(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()
}

/// Returns whether the first line is that of a response.
pub(crate) fn is_response(bytes: &[u8]) -> bool {
    bytes.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"))
}

/// Replaces the line ends of folded lines by blanks (RFC 3261, 7.3.1). The length stays.
pub(crate) fn unfold(head: &mut [u8]) {
    let mut start = 0_usize;
    while let Some(position) = head.get(start..).and_then(|rest| memchr(b'\n', rest)) {
        let end = start.saturating_add(position);
        start = end.saturating_add(1);
        if !matches!(head.get(start), Some(b' ' | b'\t')) {
            continue;
        }
        let cr = end.checked_sub(1).filter(|cr| head.get(*cr) == Some(&b'\r'));
        for end in [Some(end), cr].into_iter().flatten() {
            if let Some(byte) = head.get_mut(end) {
                *byte = b' ';
            }
        }
    }
}

/// The position of a header in the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderRange {
    name: Range<usize>,
    value: Range<usize>,
}

impl HeaderRange {
    pub(crate) fn read<'a>(&self, bytes: &'a [u8]) -> Option<Header<'a>> {
        Some(Header { name: bytes.get(self.name.clone())?, value: bytes.get(self.value.clone())? })
    }
}

/// Returns the positions of the lines of an unfolded head, without their ends.
pub(crate) fn lines(head: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = Some(0_usize);
    std::iter::from_fn(move || {
        let begin = start?;
        let rest = head.get(begin..)?;
        let length = memchr(b'\n', rest);
        start = length.and_then(|length| begin.checked_add(length)?.checked_add(1));
        let line = rest.get(..length.unwrap_or(rest.len()))?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Some(begin..begin.saturating_add(line.len()))
    })
}

/// Returns the positions of name and value in the line, or `None` if it is not a header line. Such a line is ignored.
pub(crate) fn header_in(head: &[u8], line: Range<usize>) -> Option<HeaderRange> {
    let text = head.get(line.clone())?;
    let colon = memchr(b':', text)?;
    let (name, value) = text.split_at_checked(colon)?;
    let value = value.get(1..)?;
    let name = scan::trim_bytes(name);
    if !scan::is_token(name) {
        return None;
    }
    // A name begins its line, because a line that begins with a blank was unfolded.
    let leading = value.len().saturating_sub(trim_start(value).len());
    let value_start = line.start.saturating_add(colon).saturating_add(1).saturating_add(leading);
    let value = scan::trim_bytes(value);
    Some(HeaderRange {
        name: line.start..line.start.saturating_add(name.len()),
        value: value_start..value_start.saturating_add(value.len()),
    })
}

fn trim_start(bytes: &[u8]) -> &[u8] {
    let blanks = bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    bytes.get(blanks..).unwrap_or_default()
}

/// Returns the headers of an unfolded head. Their number is not limited.
pub(crate) fn headers(head: &[u8]) -> impl Iterator<Item = Header<'_>> {
    lines(head).skip(1).filter_map(|line| header_in(head, line)?.read(head))
}

/// Reads Content-Length.
///
/// Returns `None` if the header is missing. Duplicates with the same number are accepted.
pub(crate) fn content_length<'a>(headers: impl Iterator<Item = Header<'a>>) -> Result<Option<usize>, MessageError> {
    let error = |problem| MessageError::header(header::CONTENT_LENGTH, problem);
    let mut length = None;
    for header in headers {
        if !header.is(header::CONTENT_LENGTH) {
            continue;
        }
        let text = std::str::from_utf8(header.value).map_err(|_| error(HeaderProblem::Malformed))?;
        let number = scan::number(text).map_err(|_| error(HeaderProblem::Malformed))?;
        let number = number.and_then(|number| usize::try_from(number).ok());
        let number = number.ok_or(error(HeaderProblem::OutOfRange))?;
        if length.is_some_and(|length| length != number) {
            return Err(error(HeaderProblem::Duplicated));
        }
        length = Some(number);
    }
    Ok(length)
}
