//! The requests that belong to no call, and what every response has.

use std::net::SocketAddr;

use phonegate_sip::agent::response::ResponseBuilder;
use phonegate_sip::message::{Essentials, Message, Method, Uri, header};

/// The name in Server and User-Agent.
pub(super) const PRODUCT: &str = "PhoneGate-simulator";

const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, UPDATE";

/// Registrations end after this time, in seconds, unless they ask for less.
const MAX_EXPIRES: u32 = 3_600;

/// Maximum length of a number or a name from a request, in characters.
const MAX_NAME: usize = 64;

/// Where a message came from, and where its response goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// The id of the TCP connection. `None` over UDP.
    pub(super) connection: Option<u64>,
}

impl Peer {
    /// Returns whether messages are not lost on the way.
    pub(super) fn is_reliable(self) -> bool {
        self.connection.is_some()
    }
}

/// Begins a response. [`finish`] ends it.
pub(super) fn response(request: &Message, peer: Peer, status: u16, to_tag: &str) -> ResponseBuilder {
    ResponseBuilder::new(request, peer.address, status, (PRODUCT, to_tag))
}

/// Begins a response that refuses a call, with a reason phrase of its own: PhoneGate shows it.
pub(super) fn refusal(request: &Message, peer: Peer, status: (u16, &str), to_tag: &str) -> ResponseBuilder {
    ResponseBuilder::with_phrase(request, peer.address, status, (PRODUCT, to_tag))
}

/// Returns the bytes of a response, and where they are sent. `None` if the request cannot be answered.
pub(super) fn finish(response: ResponseBuilder, peer: Peer) -> Option<(Peer, Vec<u8>)> {
    let (address, bytes) = response.build().ok()?;
    Some((Peer { address, ..peer }, bytes))
}

/// Adds what this side supports.
pub(super) fn capabilities(response: ResponseBuilder) -> ResponseBuilder {
    response.header(header::ALLOW, ALLOW).header(header::ACCEPT, "application/sdp")
}

/// Returns the extensions that a request requires. This side supports none.
pub(super) fn required_extensions(request: &Message) -> Option<String> {
    let required = request.require().unwrap_or_default();
    (!required.is_empty()).then(|| required.join(", "))
}

/// Returns the status for a method that this side does not implement.
pub(super) fn refusal_of(method: &Method) -> u16 {
    if matches!(method, Method::Other(_)) { 501 } else { 405 }
}

/// Responds to a request that belongs to no call, except an INVITE that begins one. `None` for an ACK.
pub(super) fn respond_outside_calls(
    request: &Message,
    essentials: &Essentials<'_>,
    peer: Peer,
    tag: &str,
) -> Option<(Peer, Vec<u8>)> {
    let answer = |status| response(request, peer, status, tag);
    let response = match &essentials.cseq.method {
        Method::Ack => return None,
        Method::Options => capabilities(answer(200)),
        Method::Register => registered(answer(200), request),
        Method::Invite | Method::Bye | Method::Cancel | Method::Update => answer(481),
        method => capabilities(answer(refusal_of(method))),
    };
    finish(response, peer)
}

/// Adds the contacts of a REGISTER to its response, each with the time until it ends (RFC 3261, 10.3).
fn registered(mut response: ResponseBuilder, request: &Message) -> ResponseBuilder {
    let asked = request.expires().ok().flatten().unwrap_or(MAX_EXPIRES);
    for contact in request.contacts().unwrap_or_default() {
        let own = contact.params().get("expires").and_then(|seconds| seconds.parse().ok());
        let expires = own.unwrap_or(asked).min(MAX_EXPIRES);
        // `*` removes all registrations, of which none is kept.
        if expires > 0 && contact.uri().is_ok() {
            response = response.header(header::CONTACT, format!("<{}>;expires={expires}", contact.uri_text()));
        }
    }
    response
}

/// Returns the number in a URI: the user part of a SIP URI without its parameters, or the number of a `tel` URI.
pub(super) fn number_in(uri: &Uri) -> String {
    let text = match uri {
        Uri::Sip(uri) => String::from_utf8_lossy(&uri.user_decoded().unwrap_or_default()).into_owned(),
        other => other.as_str().trim_start_matches("tel:").to_owned(),
    };
    let number = text.split(';').next().unwrap_or_default();
    number.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}
