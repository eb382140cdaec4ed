//! Writes messages.

use std::fmt;

use thiserror::Error;

use super::header::{self, canonical_name};
use super::method::Method;
use super::{Message, limits, scan};

/// Writes a request or a response in canonical form.
///
/// Headers are written in the order in which they are added, with their usual names, one value per line. Content-Length
/// is computed. The first error is kept, and [`Self::build`] returns it.
///
/// ```
/// use phonegate_sip::message::{Limits, Message, MessageBuilder, Method};
///
/// let bytes = MessageBuilder::request(&Method::Options, "sip:trunk.example.com")
///     .header("v", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1")
///     .header("CSeq", "1 OPTIONS")
///     .build()?;
/// assert!(bytes.ends_with(b"\r\nContent-Length: 0\r\n\r\n"));
///
/// let injected = MessageBuilder::request(&Method::Options, "sip:trunk.example.com").header("Subject", "a\r\nTo: b");
/// assert!(injected.build().is_err());
/// # Ok::<(), phonegate_sip::message::BuildError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct MessageBuilder {
    head: Vec<u8>,
    body: Vec<u8>,
    headers: usize,
    error: Option<BuildError>,
}

/// Why a message cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The Request-URI is empty, is longer than [`limits::URI`], or contains a blank, a control character, an angle
    /// bracket or a quote.
    #[error("the Request-URI cannot be written")]
    RequestUri,
    /// The status is not between 100 and 699, or the reason phrase contains CR, LF or NUL.
    #[error("the status line cannot be written")]
    StatusLine,
    /// The name is not a token.
    #[error("a header's name is malformed")]
    HeaderName,
    /// The value contains CR, LF or NUL.
    #[error("the value of {name} contains a line end or NUL")]
    HeaderValue {
        /// The header's name.
        name: String,
    },
    /// Content-Length was added as a header, but the builder computes it.
    #[error("Content-Length is computed and cannot be set")]
    ContentLength,
    /// The message is longer than [`limits::MESSAGE`] or has more headers than [`limits::HEADERS`].
    #[error("the message is too long")]
    TooLong,
    /// [`MessageBuilder::response_to`] was called with a response.
    #[error("a response can be written only for a request")]
    NotARequest,
}

impl MessageBuilder {
    /// Begins a request.
    pub fn request(method: &Method, uri: &str) -> Self {
        let valid = uri.len() <= limits::URI && !uri.is_empty();
        let forbidden = |c: char| c.is_whitespace() || c.is_control() || "<>\"".contains(c);
        let error = (!valid || uri.contains(forbidden)).then_some(BuildError::RequestUri);
        Self::start(format!("{method} {uri} SIP/2.0\r\n"), error)
    }

    /// Begins a response.
    pub fn response(status: u16, reason: &str) -> Self {
        let valid = (100..=699).contains(&status) && is_safe(reason.as_bytes());
        Self::start(format!("SIP/2.0 {status} {reason}\r\n"), (!valid).then_some(BuildError::StatusLine))
    }

    /// Begins the response to a request with its Via, From, To, Call-ID and CSeq (RFC 3261, 8.2.6.2).
    ///
    /// `to_tag` is added to To if it has no tag. A To that cannot be parsed is copied unchanged.
    pub fn response_to(request: &Message, status: u16, reason: &str, to_tag: Option<&str>) -> Self {
        let mut builder = Self::response(status, reason);
        if !request.is_request() {
            builder.error.get_or_insert(BuildError::NotARequest);
        }
        for name in [header::VIA, header::FROM, header::TO, header::CALL_ID, header::CSEQ] {
            for value in request.header_values(name) {
                builder = match to_tag {
                    Some(tag) if name == header::TO && request.to_header().is_ok_and(|to| to.tag().is_none()) => {
                        builder.header(name, [value, b";tag=", tag.as_bytes()].concat())
                    }
                    _ => builder.header(name, value),
                };
            }
        }
        builder
    }

    fn start(line: String, error: Option<BuildError>) -> Self {
        Self { head: line.into_bytes(), body: Vec::new(), headers: 0, error }
    }

    /// Adds a header. A compact name is written in full.
    ///
    /// A name that is not a token, a value with CR, LF or NUL, and Content-Length make [`Self::build`] fail.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        let name = canonical_name(name).unwrap_or(name);
        let error = if !scan::is_token(name.as_bytes()) {
            Some(BuildError::HeaderName)
        } else if name.eq_ignore_ascii_case(header::CONTENT_LENGTH) {
            Some(BuildError::ContentLength)
        } else if !is_safe(value) {
            Some(BuildError::HeaderValue { name: name.to_owned() })
        } else if self.headers >= limits::HEADERS.saturating_sub(1) {
            Some(BuildError::TooLong)
        } else {
            None
        };
        if let Some(error) = error {
            self.error.get_or_insert(error);
            return self;
        }
        self.headers = self.headers.saturating_add(1);
        for part in [name.as_bytes(), b": ", scan::trim_bytes(value), b"\r\n"] {
            self.head.extend_from_slice(part);
        }
        self
    }

    /// Sets the body and adds its Content-Type.
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header(header::CONTENT_TYPE, content_type)
    }

    /// Returns the bytes of the message.
    ///
    /// # Errors
    /// The first error; see [`BuildError`].
    pub fn build(mut self) -> Result<Vec<u8>, BuildError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let length = format!("{}: {}\r\n\r\n", header::CONTENT_LENGTH, self.body.len());
        self.head.extend_from_slice(length.as_bytes());
        self.head.append(&mut self.body);
        if self.head.len() > limits::MESSAGE {
            return Err(BuildError::TooLong);
        }
        Ok(self.head)
    }
}

/// Shows only sizes: the rest is personal data.
impl fmt::Debug for MessageBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageBuilder")
            .field("headers", &self.headers)
            .field("body", &self.body.len())
            .field("error", &self.error)
            .finish()
    }
}

/// Returns whether a value has no byte that could end its line.
fn is_safe(value: &[u8]) -> bool {
    !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}
