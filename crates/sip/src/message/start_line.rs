//! The first line of a message.

use std::ops::Range;

use super::error::MessageError;
use super::head::is_response;
use super::method::Method;
use super::scan;

/// The first line of a message (RFC 3261, 7.1 and 7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StartLine {
    Request { method: Method, uri: Range<usize> },
    Response { status: u16, reason: Range<usize> },
}

impl StartLine {
    /// Reads the line at `range` of `head`. More than one blank between the parts and blanks at the end are accepted
    /// (RFC 4475, 3.1.2.9 and 3.1.2.10).
    pub(crate) fn read(head: &[u8], range: Range<usize>) -> Result<Self, MessageError> {
        let mut line = Cursor { head, range };
        if is_response(line.rest()) {
            let version = line.word();
            if !version.eq_ignore_ascii_case(b"SIP/2.0") {
                return Err(MessageError::Version);
            }
            return Self::status_line(line);
        }
        let method = std::str::from_utf8(line.word()).ok().and_then(Method::parse).ok_or(MessageError::StartLine)?;
        line.skip_blanks();
        let start = line.range.start;
        let length = line.word().len();
        line.skip_blanks();
        let version = scan::trim_bytes(line.rest());
        if length == 0 || version.contains(&b' ') || !is_response(version) {
            return Err(MessageError::StartLine);
        }
        if !version.eq_ignore_ascii_case(b"SIP/2.0") {
            return Err(MessageError::Version);
        }
        Ok(Self::Request { method, uri: start..start.saturating_add(length) })
    }

    fn status_line(mut line: Cursor<'_>) -> Result<Self, MessageError> {
        line.skip_blanks();
        let &[a, b, c] = line.word() else { return Err(MessageError::StartLine) };
        let mut status = 0_u16;
        for digit in [a, b, c] {
            let digit = char::from(digit).to_digit(10).and_then(|digit| u16::try_from(digit).ok());
            status = status.saturating_mul(10).saturating_add(digit.ok_or(MessageError::StartLine)?);
        }
        if !(100..=699).contains(&status) {
            return Err(MessageError::StartLine);
        }
        line.skip_blanks();
        let start = line.range.start;
        let length = scan::trim_bytes(line.rest()).len();
        Ok(Self::Response { status, reason: start..start.saturating_add(length) })
    }
}

/// The part of a line that is still to be read.
struct Cursor<'a> {
    head: &'a [u8],
    range: Range<usize>,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        self.head.get(self.range.clone()).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        let blanks = self.rest().iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        self.range.start = self.range.start.saturating_add(blanks);
    }

    fn word(&mut self) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().take_while(|byte| !matches!(byte, b' ' | b'\t')).count();
        self.range.start = self.range.start.saturating_add(length);
        rest.get(..length).unwrap_or_default()
    }
}
