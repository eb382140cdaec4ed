//! The session description in a body.

use crate::message::Message;

const SDP: &str = "application/sdp";

/// Maximum parts of a multipart body that are looked at.
const MAX_PARTS: usize = 16;

/// Returns the session description of a message.
///
/// A body without Content-Type counts as one. In a multipart body (RFC 5621), which gateways to the telephone network
/// send, it is the first part of that type.
pub(crate) fn session_description(message: &Message) -> Option<&[u8]> {
    let body = message.body();
    if body.is_empty() {
        return None;
    }
    let Ok(Some(content_type)) = message.content_type() else {
        return (!message.has_header("Content-Type")).then_some(body);
    };
    if content_type.media_type() == SDP {
        return Some(body);
    }
    if !content_type.media_type().starts_with("multipart/") {
        return None;
    }
    let boundary = content_type.params().get_decoded("boundary").filter(|boundary| !boundary.is_empty())?;
    parts(body, &boundary).take(MAX_PARTS).find_map(description_in_part)
}

/// Returns whether a message has a body that is no session description.
pub(crate) fn has_other_body(message: &Message) -> bool {
    !message.body().is_empty() && session_description(message).is_none()
}

/// Splits a multipart body at its boundaries (RFC 2046, 5.1.1). What is before the first is left out.
fn parts<'a>(body: &'a [u8], boundary: &str) -> impl Iterator<Item = &'a [u8]> {
    let delimiter = format!("--{boundary}").into_bytes();
    let mut rest = find(body, &delimiter).and_then(|start| body.get(start.saturating_add(delimiter.len())..));
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let end = find(text, &delimiter)?;
        rest = text.get(end.saturating_add(delimiter.len())..);
        text.get(..end)
    })
}

/// Returns the content of a part that is a session description.
fn description_in_part(part: &[u8]) -> Option<&[u8]> {
    let (head, content) = [&b"\r\n\r\n"[..], b"\n\n"].into_iter().find_map(|end| {
        let at = find(part, end)?;
        Some((part.get(..at)?, part.get(at.saturating_add(end.len())..)?))
    })?;
    let is_description = String::from_utf8_lossy(head).lines().any(|line| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let media_type = value.split(';').next().unwrap_or("");
        name.trim().eq_ignore_ascii_case("content-type") && media_type.trim().eq_ignore_ascii_case(SDP)
    });
    is_description.then_some(content).filter(|content| !content.is_empty())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
