//! Dialogs of calls that this side placed (RFC 3261, 12).

use std::net::SocketAddr;

use crate::agent::flow::{Flow, Transport};
use crate::agent::response::DEFAULT_PORT;
use crate::message::{
    Essentials, Host, Message, MessageBuilder, Method, NameAddr, SipUri, Uri, header, limits, list_elements,
};

/// The state from which requests within a dialog are written.
///
/// Call-ID and both tags must match exactly. The targets that the peer names only affect the content of a request;
/// [`Dialog::destination`] decides where it is sent.
#[derive(Clone)]
pub(crate) struct Dialog {
    call_id: String,
    /// The value of From in requests of this side.
    local: String,
    /// The value of To in requests of this side, as the peer wrote it.
    remote: Vec<u8>,
    /// `None`: the peer follows RFC 2543, which has no tags.
    remote_tag: Option<String>,
    /// The peer's Contact, as a Request-URI.
    target: String,
    routes: Vec<NameAddr>,
    local_cseq: u32,
    remote_cseq: Option<u32>,
}

impl Dialog {
    /// Creates the dialog of a response to an INVITE. Without a usable Contact, its target is the INVITE's Request-URI.
    pub(crate) fn new((local, request_uri): (&str, &str), response: &Message, essentials: &Essentials<'_>) -> Self {
        let remote = response.header_values(header::TO).next().unwrap_or_default();
        let mut dialog = Self {
            call_id: essentials.call_id.to_owned(),
            local: local.to_owned(),
            remote: remote.to_vec(),
            remote_tag: essentials.to.tag().map(str::to_owned),
            target: request_uri.to_owned(),
            routes: Vec::new(),
            local_cseq: essentials.cseq.number,
            remote_cseq: None,
        };
        dialog.learn_routes(response);
        dialog.refresh_target(response);
        dialog
    }

    /// Creates the dialog of a request of the peer that arrived before any response of its fork.
    pub(crate) fn of_request(
        (local, request_uri): (&str, &str),
        (remote, remote_tag): (&[u8], &str),
        call_id: &str,
        cseq: u32,
    ) -> Self {
        Self {
            call_id: call_id.to_owned(),
            local: local.to_owned(),
            remote: remote.to_vec(),
            remote_tag: Some(remote_tag.to_owned()),
            target: request_uri.to_owned(),
            routes: Vec::new(),
            local_cseq: cseq,
            remote_cseq: None,
        }
    }

    pub(crate) fn remote_tag(&self) -> Option<&str> {
        self.remote_tag.as_deref()
    }

    /// Sets the route set from the Record-Route of a response, the last element first (RFC 3261, 12.1.2). The 2xx
    /// replaces it (13.2.2.4). Unusable elements are skipped.
    pub(crate) fn learn_routes(&mut self, response: &Message) {
        self.routes.clear();
        for value in response.header_values(header::RECORD_ROUTE) {
            let text = String::from_utf8_lossy(value);
            let routes = list_elements(&text).flatten().filter_map(|element| NameAddr::parse_route(element).ok());
            self.routes.extend(routes.filter(|route| route.uri().is_ok_and(|uri| uri.as_sip().is_some())));
        }
        self.routes.truncate(limits::LIST);
        self.routes.reverse();
    }

    /// Sets the remote target from the Contact of a request or a response (RFC 3261, 12.2.1.2). An unusable Contact is
    /// ignored.
    pub(crate) fn refresh_target(&mut self, message: &Message) {
        let contact = message.contacts().ok().and_then(|contacts| contacts.into_iter().next());
        if let Some(Uri::Sip(uri)) = contact.and_then(|contact| contact.uri().ok()) {
            self.target = writable(&uri);
        }
    }

    /// Records the CSeq of a request of the peer. Returns false if it is not higher than all earlier ones (RFC 3261,
    /// 12.2.2).
    pub(crate) fn accept_remote_cseq(&mut self, number: u32) -> bool {
        let is_new = self.remote_cseq.is_none_or(|last| number > last);
        if is_new {
            self.remote_cseq = Some(number);
        }
        is_new
    }

    /// Returns the CSeq of the latest request.
    pub(crate) fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// Makes the CSeq of the next request higher than this one.
    pub(crate) fn continue_after(&mut self, cseq: u32) {
        self.local_cseq = self.local_cseq.max(cseq);
    }

    /// Returns the CSeq of the next request.
    pub(crate) fn next_cseq(&mut self) -> u32 {
        self.local_cseq = self.local_cseq.saturating_add(1);
        self.local_cseq
    }

    /// Returns the Request-URI of requests (RFC 3261, 12.2.1.1).
    pub(crate) fn request_uri(&self) -> String {
        match self.strict_router() {
            Some(router) => writable(&router),
            None => self.target.clone(),
        }
    }

    /// Begins a request with this CSeq and Via.
    pub(crate) fn request(&self, method: &Method, cseq: u32, via: &str) -> MessageBuilder {
        let mut builder = MessageBuilder::request(method, &self.request_uri()).header(header::VIA, via);
        let is_strict = self.strict_router().is_some();
        for route in self.routes.iter().skip(usize::from(is_strict)) {
            builder = builder.header(header::ROUTE, to_header_value(route.to_string().as_bytes()));
        }
        if is_strict {
            builder = builder.header(header::ROUTE, format!("<{}>", self.target));
        }
        builder
            .header(header::MAX_FORWARDS, "70")
            .header(header::FROM, &self.local)
            .header(header::TO, to_header_value(&self.remote))
            .header(header::CALL_ID, &self.call_id)
            .header(header::CSEQ, format!("{cseq} {method}"))
    }

    /// Returns the destination of requests: the server of the flow.
    ///
    /// Over UDP, another port of the server's address is used if the next hop names it. No other host is ever used, so
    /// neither requests nor credentials reach a third party.
    pub(crate) fn destination(&self, flow: &Flow) -> SocketAddr {
        if flow.transport != Transport::Udp {
            return flow.remote;
        }
        let first = self.routes.first().and_then(|route| route.uri().ok());
        let target = Uri::parse(&self.target).ok();
        let Some(Uri::Sip(uri)) = first.or(target) else { return flow.remote };
        let names_other_transport = uri.transport().is_some_and(|name| !name.eq_ignore_ascii_case("udp"));
        let is_server = matches!(uri.host(), Host::Ip(ip) if ip.to_canonical() == flow.remote.ip().to_canonical());
        let mut destination = flow.remote;
        match uri.port().unwrap_or(DEFAULT_PORT) {
            port if port != 0 && is_server && !uri.is_secure() && !names_other_transport => destination.set_port(port),
            _ => {}
        }
        destination
    }

    /// Returns the first router if it is a strict one: its URI has no `lr`.
    fn strict_router(&self) -> Option<SipUri> {
        match self.routes.first()?.uri().ok()? {
            Uri::Sip(uri) if !uri.is_loose_router() => Some(uri),
            _ => None,
        }
    }
}

/// Replaces CR, LF and NUL by spaces. The parser accepts them in the peer's headers, but no request can contain them,
/// and it must always be possible to end a dialog.
fn to_header_value(value: &[u8]) -> Vec<u8> {
    value.iter().map(|byte| if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { *byte }).collect()
}

/// Returns a URI as the Request-URI of a request with credentials, in which no backslash can be written.
pub(crate) fn writable(uri: &SipUri) -> String {
    uri.to_request_uri().replace('\\', "%5C")
}
