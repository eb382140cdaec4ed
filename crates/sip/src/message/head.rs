//! The part of a message before its body, as lines.

use std::ops::Range;

use super::error::{HeaderProblem, MessageError};
use super::header::{self, Header};
use super::scan;

/// Finds the empty line that ends the headers, from `start` on. Returns where the body begins.
///
/// A line ends with CR LF or with LF alone.
pub(crate) fn find_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at_line_start = false;
    let mut after_cr = false;
    for (position, &byte) in bytes.iter().enumerate().skip(start) {
        match byte {
            b'\n' if at_line_start => return position.checked_add(1),
            b'\n' => {
                at_line_start = true;
                after_cr = false;
            }
            b'\r' if at_line_start && !after_cr => after_cr = true,
            _ => at_line_start = false,
        }
    }
    None
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
    let mut previous_cr = None;
    let mut position = 0_usize;
    while let Some(&byte) = head.get(position) {
        let next = position.saturating_add(1);
        if byte == b'\n' && matches!(head.get(next), Some(b' ' | b'\t')) {
            for end in [Some(position), previous_cr].into_iter().flatten() {
                if let Some(byte) = head.get_mut(end) {
                    *byte = b' ';
                }
            }
        }
        previous_cr = (byte == b'\r').then_some(position);
        position = next;
    }
}

/// Where a header is in the message.
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

/// Returns where the lines of an unfolded head are, without their ends.
pub(crate) fn lines(head: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0_usize;
    head.split(|&byte| byte == b'\n').map(move |line| {
        let begin = start;
        start = begin.saturating_add(line.len()).saturating_add(1);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        begin..begin.saturating_add(line.len())
    })
}

/// Returns where name and value are in the line, or `None` if it is no header. Such a line is ignored.
pub(crate) fn header_in(head: &[u8], line: Range<usize>) -> Option<HeaderRange> {
    let text = head.get(line.clone())?;
    let colon = text.iter().position(|&byte| byte == b':')?;
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

/// Reads Content-Length of an unfolded head, however many other headers there are.
///
/// Returns `None` if the header is missing. Two of the same number count as one.
pub(crate) fn content_length(head: &[u8]) -> Result<Option<usize>, MessageError> {
    let error = |problem| MessageError::header(header::CONTENT_LENGTH, problem);
    let mut length = None;
    for line in lines(head).skip(1) {
        let Some(header) = header_in(head, line).and_then(|range| range.read(head)) else { continue };
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
