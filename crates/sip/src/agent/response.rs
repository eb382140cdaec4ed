//! Responses to requests of the peer: the headers that they copy, and where they are sent (RFC 3261, 8.2.6 and 18.2;
//! RFC 3581).

use std::net::SocketAddr;

use crate::message::{BuildError, Host, Limits, Message, MessageBuilder, Rport, Via, header, list_elements};

/// The default port of SIP (RFC 3261, 19.1.2). That of TLS is not needed: a response to a request on a stream is sent
/// on that stream.
pub(crate) const DEFAULT_PORT: u16 = 5060;

/// Returns the reason phrase of a status that this side sends.
fn phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        405 => "Method Not Allowed",
        415 => "Unsupported Media Type",
        420 => "Bad Extension",
        422 => "Session Interval Too Small",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "Refused",
    }
}

/// A response under construction, with `received` and `rport` in its topmost Via.
///
/// The agent writes its own responses with it. A user agent server that is not part of this crate can do the same.
#[must_use]
pub struct ResponseBuilder {
    builder: MessageBuilder,
    destination: SocketAddr,
}

impl ResponseBuilder {
    /// Begins the response to a request from `source`. `to_tag` is added to a To without tag. `product` becomes the header
    /// Server, unless it is empty.
    pub fn new(request: &Message, source: SocketAddr, status: u16, names: (&str, &str)) -> Self {
        Self::with_phrase(request, source, (status, phrase(status)), names)
    }

    /// As [`ResponseBuilder::new`], with a reason phrase of the caller.
    pub fn with_phrase(
        request: &Message,
        source: SocketAddr,
        (status, phrase): (u16, &str),
        (product, to_tag): (&str, &str),
    ) -> Self {
        let mut builder = MessageBuilder::response(status, phrase);
        let via = request.top_via().ok();
        let destination = via.as_ref().map_or(source, |via| destination(via, source));
        for (index, value) in request.header_values(header::VIA).enumerate() {
            builder = match &via {
                Some(via) if index == 0 => builder.header(header::VIA, stamp(via, value, source)),
                _ => builder.header(header::VIA, value),
            };
        }
        let lacks_tag = request.to_header().is_ok_and(|to| to.tag().is_none());
        for name in [header::FROM, header::TO, header::CALL_ID, header::CSEQ] {
            for value in request.header_values(name) {
                builder = match name == header::TO && lacks_tag {
                    true => builder.header(name, [value, b";tag=", to_tag.as_bytes()].concat()),
                    false => builder.header(name, value),
                };
            }
        }
        if !product.is_empty() {
            builder = builder.header("Server", product);
        }
        Self { builder, destination }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    /// Sets a body.
    pub fn body(mut self, content_type: &str, body: Vec<u8>) -> Self {
        self.builder = self.builder.body(content_type, body);
        self
    }

    /// Returns the destination of the response over UDP, and its bytes.
    ///
    /// # Errors
    /// A header that was added, or one of the request, cannot be written: see [`BuildError`].
    pub fn build(self) -> Result<(SocketAddr, Vec<u8>), BuildError> {
        Ok((self.destination, self.builder.build()?))
    }

    /// Returns the destination of a response that is sent again.
    pub(crate) fn destination_of(response: &[u8], source: SocketAddr) -> SocketAddr {
        let message = Message::from_datagram(response, &Limits::default()).ok();
        message.and_then(|message| message.top_via().ok()).map_or(source, |via| destination(&via, source))
    }
}

/// Returns the destination of a response over UDP: the source address of the request, with the source port if Via has
/// `rport`, otherwise with the port in Via (RFC 3261, 18.2.2; RFC 3581, 4). `maddr` is ignored, because it could name a
/// third party.
fn destination(via: &Via, mut source: SocketAddr) -> SocketAddr {
    if via.rport() == Rport::Absent {
        source.set_port(via.port().filter(|port| *port != 0).unwrap_or(DEFAULT_PORT));
    }
    source
}

/// Writes the line of the topmost Via with `received`, and with `rport` if it was requested. Everything else is copied
/// unchanged.
fn stamp(via: &Via, line: &[u8], source: SocketAddr) -> Vec<u8> {
    let (top, below) = line.split_at_checked(top_length(line)).unwrap_or((line, b""));
    let is_replaced = |param: &[u8]| {
        let name = param.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii();
        name.eq_ignore_ascii_case(b"received") || name.eq_ignore_ascii_case(b"rport")
    };
    let kept: Vec<_> = split_params(top).filter(|param| !is_replaced(param)).collect();
    let mut stamped = kept.join(&b';');
    let ip = source.ip().to_canonical();
    let asks_for_port = via.rport() != Rport::Absent;
    if asks_for_port || *via.host() != Host::Ip(ip) {
        stamped.extend_from_slice(format!(";received={ip}").as_bytes());
    }
    if asks_for_port {
        stamped.extend_from_slice(format!(";rport={}", source.port()).as_bytes());
    }
    stamped.extend_from_slice(below);
    stamped
}

/// Returns the length of the first element of a list, without blanks at its end.
fn top_length(line: &[u8]) -> usize {
    let text: String = line.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '?' }).collect();
    let element = list_elements(&text).next().and_then(Result::ok).unwrap_or(&text);
    element.len()
}

/// Splits a value at the semicolons outside of quoted strings.
fn split_params(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    value.split(move |&byte| {
        let was_escaped = is_escaped;
        is_escaped = is_quoted && !was_escaped && byte == b'\\';
        is_quoted ^= byte == b'"' && !was_escaped;
        byte == b';' && !is_quoted
    })
}
