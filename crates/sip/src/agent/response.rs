//! Responses to requests of the peer: what they repeat, and where they go (RFC 3261, 8.2.6 and 18.2; RFC 3581).

use std::net::SocketAddr;

use crate::message::{BuildError, Host, Limits, Message, MessageBuilder, Rport, Via, header, list_elements};

/// The default port of SIP (RFC 3261, 19.1.2). The one of TLS is not needed: responses over streams go back on them.
pub(crate) const DEFAULT_PORT: u16 = 5060;

/// The usual phrase of a status that this side sends.
fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        405 => "Method Not Allowed",
        415 => "Unsupported Media Type",
        420 => "Bad Extension",
        422 => "Session Interval Too Small",
        481 => "Call/Transaction Does Not Exist",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "Refused",
    }
}

/// A response whose topmost Via says where the request came from.
pub(crate) struct Stamped {
    builder: MessageBuilder,
    destination: SocketAddr,
}

impl Stamped {
    /// Begins the response to a request from `source`. `to_tag` is added to a To without tag.
    pub(crate) fn new(request: &Message, source: SocketAddr, status: u16, (product, to_tag): (&str, &str)) -> Self {
        let mut builder = MessageBuilder::response(status, phrase(status));
        let via = request.top_via().ok();
        let destination = via.as_ref().map_or(source, |via| destination(via, source));
        for (index, value) in request.header_values(header::VIA).enumerate() {
            builder = match &via {
                Some(via) if index == 0 => {
                    let text = String::from_utf8_lossy(value);
                    builder.header(header::VIA, stamp(via, &text, source))
                }
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
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    /// Sets a body.
    pub(crate) fn body(mut self, content_type: &str, body: Vec<u8>) -> Self {
        self.builder = self.builder.body(content_type, body);
        self
    }

    /// Returns where the response goes, and its bytes.
    pub(crate) fn build(self) -> Result<(SocketAddr, Vec<u8>), BuildError> {
        Ok((self.destination, self.builder.build()?))
    }

    /// Returns where a response goes that was written before.
    pub(crate) fn destination_of(response: &[u8], source: SocketAddr) -> SocketAddr {
        let message = Message::from_datagram(response, &Limits::default()).ok();
        message.and_then(|message| message.top_via().ok()).map_or(source, |via| destination(&via, source))
    }
}

/// Where a response over UDP goes: to the address that the request came from, and to its port if Via asks for that, else
/// to the port in Via (RFC 3261, 18.2.2; RFC 3581, 4). `maddr` is ignored, because it could name a third party.
fn destination(via: &Via, source: SocketAddr) -> SocketAddr {
    match via.rport() {
        Rport::Absent => SocketAddr::new(source.ip(), via.port().filter(|port| *port != 0).unwrap_or(DEFAULT_PORT)),
        Rport::Requested | Rport::Port(_) => source,
    }
}

/// Writes the topmost Via with `received`, and with `rport` if it was asked for. The values below it stay.
fn stamp(via: &Via, line: &str, source: SocketAddr) -> String {
    let mut stamped = format!("SIP/2.0/{} {}", via.transport(), via.host());
    if let Some(port) = via.port() {
        stamped.push_str(&format!(":{port}"));
    }
    let asks_for_port = via.rport() != Rport::Absent;
    for (name, value) in via.params().iter() {
        let name_is = |other: &str| name.eq_ignore_ascii_case(other);
        if name_is("received") || name_is("rport") {
            continue;
        }
        stamped.push(';');
        stamped.push_str(name);
        if let Some(value) = value {
            stamped.push('=');
            stamped.push_str(value);
        }
    }
    let ip = source.ip().to_canonical();
    if asks_for_port || *via.host() != Host::Ip(ip) {
        stamped.push_str(&format!(";received={ip}"));
    }
    if asks_for_port {
        stamped.push_str(&format!(";rport={}", source.port()));
    }
    for below in list_elements(line).skip(1).flatten() {
        stamped.push_str(", ");
        stamped.push_str(below);
    }
    stamped
}
