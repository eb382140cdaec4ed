//! Parses and writes SIP messages (RFC 3261, 7).
//!
//! [`Message::from_datagram`] parses the first line, finds the headers and cuts the body. A header's value is parsed
//! when the caller asks for it, so a malformed header that is not needed has no effect. [`MessageBuilder`] writes
//! messages.

mod build;
mod error;
mod head;
pub mod header;
pub mod limits;
mod method;
mod name_addr;
mod params;
mod scan;
mod start_line;
mod typed;
mod uri;
mod values;
mod via;

use std::fmt;
use std::ops::Range;

pub use build::{BuildError, MessageBuilder};
pub use error::{HeaderProblem, MessageError, UriError};
pub use header::Header;
pub use limits::Limits;
pub use method::{Method, OtherMethod};
pub use name_addr::NameAddr;
pub use params::Params;
pub use typed::Essentials;
pub use uri::{Host, SipUri, Uri};
pub use values::{CSeq, ContentType, RAck, Reason, Refresher, SessionExpires};
pub use via::{Rport, Via};

use head::{HeaderRange, blank_lines, header_in, is_response, lines};
pub(crate) use head::{content_length, find_end, headers, unfold};
pub(crate) use scan::elements as list_elements;
use start_line::StartLine;

/// A request or a response.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// From the first line to the end of the body; the ends of folded lines are blanks.
    bytes: Vec<u8>,
    start: StartLine,
    headers: Vec<HeaderRange>,
    body: Range<usize>,
}

impl Message {
    /// Parses the message in a datagram.
    ///
    /// Empty lines before it are ignored. Without Content-Length, the rest of the datagram is the body; a smaller
    /// Content-Length cuts it (RFC 3261, 18.3). A line may end with LF alone. A line that is no header is ignored.
    ///
    /// # Errors
    /// The message exceeds a limit, its first line or Content-Length cannot be read, the empty line after the headers
    /// is missing, or Content-Length is greater than the rest of the datagram. [`MessageError::Empty`] is a keep-alive.
    pub fn from_datagram(datagram: &[u8], limits: &Limits) -> Result<Self, MessageError> {
        let bytes = datagram.get(blank_lines(datagram)..).unwrap_or_default();
        if bytes.is_empty() {
            return Err(MessageError::Empty);
        }
        let limit = if is_response(bytes) { limits.message } else { limits.message.min(limits.datagram_request) };
        if datagram.len() > limit {
            return Err(MessageError::TooLong { limit });
        }
        let body = find_end(bytes, 0).ok_or(MessageError::HeadersNotEnded)?;
        Self::read(bytes.to_vec(), body, limits)
    }

    /// Reads a message whose body begins at `body` and lasts until Content-Length or the end.
    pub(crate) fn read(mut bytes: Vec<u8>, body: usize, limits: &Limits) -> Result<Self, MessageError> {
        let head = bytes.get_mut(..body).ok_or(MessageError::HeadersNotEnded)?;
        unfold(head);
        let mut rest = lines(head);
        let start = StartLine::read(head, rest.next().unwrap_or_default())?;
        let mut headers = Vec::new();
        for (count, line) in rest.filter(|line| !line.is_empty()).enumerate() {
            if count >= limits.headers {
                return Err(MessageError::TooManyHeaders { limit: limits.headers });
            }
            headers.extend(header_in(head, line));
        }
        let length = content_length(headers.iter().filter_map(|range| range.read(head)))?;
        let available = bytes.len().saturating_sub(body);
        let length = length.unwrap_or(available);
        if length > available {
            return Err(MessageError::BodyCutShort { length, available });
        }
        let end = body.saturating_add(length);
        bytes.truncate(end);
        Ok(Self { bytes, start, headers, body: body..end })
    }

    /// Returns whether the message is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.start, StartLine::Request { .. })
    }

    /// Returns the method of a request.
    pub fn method(&self) -> Option<&Method> {
        match &self.start {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Response { .. } => None,
        }
    }

    /// Returns the Request-URI of a request as it was written, without blanks.
    pub fn request_uri_bytes(&self) -> Option<&[u8]> {
        match &self.start {
            StartLine::Request { uri, .. } => self.bytes.get(uri.clone()),
            StartLine::Response { .. } => None,
        }
    }

    /// Reads the Request-URI. Returns `None` for a response.
    ///
    /// # Errors
    /// See [`Uri::parse`].
    pub fn request_uri(&self) -> Result<Option<Uri>, MessageError> {
        let Some(bytes) = self.request_uri_bytes() else { return Ok(None) };
        let text = std::str::from_utf8(bytes).map_err(|_| UriError::Character)?;
        Ok(Some(Uri::parse(text)?))
    }

    /// Returns the status of a response, from 100 to 699.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            StartLine::Request { .. } => None,
            StartLine::Response { status, .. } => Some(status),
        }
    }

    /// Returns the reason phrase of a response, which may be empty and need not be UTF-8.
    pub fn reason_phrase(&self) -> Option<&[u8]> {
        match &self.start {
            StartLine::Request { .. } => None,
            StartLine::Response { reason, .. } => self.bytes.get(reason.clone()),
        }
    }

    /// Returns all headers in their order.
    pub fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        self.headers.iter().filter_map(|range| range.read(&self.bytes))
    }

    /// Returns the values of all lines of this header in their order. Lists are not split.
    ///
    /// The name may be in any case and in its compact form.
    pub fn header_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers().filter(move |header| header.is(name)).map(|header| header.value)
    }

    /// Returns whether there is a header of this name.
    pub fn has_header(&self, name: &str) -> bool {
        self.header_values(name).next().is_some()
    }

    /// Returns the body, which may be empty.
    pub fn body(&self) -> &[u8] {
        self.bytes.get(self.body.clone()).unwrap_or_default()
    }

    /// Returns the message as it was received, without empty lines before it and bytes after the body, and with blanks
    /// instead of the line ends of folded lines.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Shows only the kind and sizes: the rest is personal data.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("method", &self.method())
            .field("status", &self.status())
            .field("headers", &self.headers.len())
            .field("body", &self.body.len())
            .finish()
    }
}
