//! Finds the session description in a body.

use crate::message::{ContentType, Header, Message, find_end, header, unfold};

const SDP: &str = "application/sdp";

const CONTENT_DISPOSITION: &str = "Content-Disposition";

/// Maximum parts of a multipart body that are searched.
const MAX_PARTS: usize = 16;

/// Maximum length of a boundary (RFC 2046, 5.1.1).
const MAX_BOUNDARY: usize = 70;

/// Maximum nesting depth of multipart bodies.
const MAX_DEPTH: u32 = 3;

/// Returns the session description of a message.
///
/// A body without Content-Type is taken to be one. In a multipart body (RFC 5621), which PSTN gateways send, it is the
/// first part of type `application/sdp`, also inside a nested multipart body. A description that is for early media
/// only (RFC 3959) is ignored.
pub fn session_description(message: &Message) -> Option<&[u8]> {
    let body = message.body();
    if body.is_empty() {
        return None;
    }
    let Ok(Some(content_type)) = message.content_type() else {
        return (!message.has_header(header::CONTENT_TYPE)).then_some(body);
    };
    let is_early = message.header_values(CONTENT_DISPOSITION).any(is_early_session);
    find_description(&content_type, is_early, body, MAX_DEPTH)
}

/// Returns whether a message has a body without a session description.
pub(crate) fn has_other_body(message: &Message) -> bool {
    !message.body().is_empty() && session_description(message).is_none()
}

/// Finds the description in a body of this type. `depth` bounds the multipart bodies within it.
fn find_description<'a>(content_type: &ContentType, is_early: bool, body: &'a [u8], depth: u32) -> Option<&'a [u8]> {
    if content_type.media_type() == SDP {
        return Some(body).filter(|body| !is_early && !body.is_empty());
    }
    let depth = depth.checked_sub(1).filter(|_| content_type.media_type().starts_with("multipart/"))?;
    let boundary = content_type.params().get_decoded("boundary");
    let boundary = boundary.filter(|boundary| (1..=MAX_BOUNDARY).contains(&boundary.len()))?;
    parts(body, boundary.as_bytes()).take(MAX_PARTS).find_map(|part| description_in_part(part, depth))
}

/// Splits a multipart body at its boundaries (RFC 2046, 5.1.1). Preamble and epilogue are skipped. If the closing
/// boundary is missing, the last part ends with the body.
fn parts<'a>(body: &'a [u8], boundary: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut position = 0_usize;
    let mut start = None;
    let mut is_closed = false;
    let mut lines = body.split_inclusive(|&byte| byte == b'\n');
    std::iter::from_fn(move || {
        while !is_closed {
            let Some(line) = lines.next() else {
                is_closed = true;
                return body.get(start?..);
            };
            let line_start = position;
            position = position.saturating_add(line.len());
            let Some(delimiter) = Delimiter::read(line, boundary) else { continue };
            is_closed = delimiter == Delimiter::Last;
            if let Some(start) = start.replace(position) {
                return body.get(start..line_start).map(without_line_end);
            }
        }
        None
    })
}

/// A line between two parts, or after the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delimiter {
    Next,
    Last,
}

impl Delimiter {
    /// Reads a line. A line with a longer boundary, such as that of a nested body, is no delimiter.
    fn read(line: &[u8], boundary: &[u8]) -> Option<Self> {
        let after = line.strip_prefix(b"--")?.strip_prefix(boundary)?.trim_ascii_end();
        match after {
            b"" => Some(Self::Next),
            b"--" => Some(Self::Last),
            _ => None,
        }
    }
}

/// Removes the line end at the end of a part, which belongs to the delimiter.
fn without_line_end(part: &[u8]) -> &[u8] {
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    part.strip_suffix(b"\r").unwrap_or(part)
}

/// Returns the session description of a part.
fn description_in_part(part: &[u8], depth: u32) -> Option<&[u8]> {
    // Without headers, a part is text.
    let content = part.get(find_end(part, 0)?..).filter(|_| !part.starts_with(b"\r\n") && !part.starts_with(b"\n"))?;
    let mut head = part.get(..part.len().saturating_sub(content.len()))?.to_vec();
    unfold(&mut head);
    let content_type = header_of_part(&head, header::CONTENT_TYPE)?;
    let content_type = ContentType::parse(&String::from_utf8_lossy(content_type)).ok()?;
    let is_early = header_of_part(&head, CONTENT_DISPOSITION).is_some_and(is_early_session);
    find_description(&content_type, is_early, content, depth)
}

/// Returns the value of the first header of this name.
fn header_of_part<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|&byte| byte == b'\n').find_map(|line| {
        let (field, value) = line.split_at_checked(line.iter().position(|&byte| byte == b':')?)?;
        let header = Header { name: field.trim_ascii(), value: value.get(1..)?.trim_ascii() };
        header.is(name).then_some(header.value)
    })
}

/// Returns whether a Content-Disposition says that the body describes early media only, which is another session than
/// that of the call (RFC 3959, 4).
fn is_early_session(value: &[u8]) -> bool {
    let kind = value.split(|&byte| byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"early-session")
}

#[cfg(test)]
mod tests;
