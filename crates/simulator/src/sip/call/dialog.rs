//! What a call keeps of its dialog and its transactions.

use std::net::SocketAddr;
use std::time::Duration;

use phonegate_sip::message::{Essentials, Message, MessageBuilder, Method, Uri, header};

use super::super::requests::{PRODUCT, Peer};
use super::{T1, T2, TRANSACTION_TIMEOUT};

/// Identifies a request within a call. An ACK has the method of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestKey {
    pub(super) method: Method,
    pub(super) cseq: u32,
    pub(super) branch: Option<String>,
}

impl RequestKey {
    pub(super) fn new(essentials: &Essentials<'_>) -> Self {
        Self {
            method: essentials.cseq.method.clone(),
            cseq: essentials.cseq.number,
            branch: essentials.via.branch().map(str::to_owned),
        }
    }
}

/// The response to an INVITE. A final one is repeated until its ACK.
pub(super) struct InviteAnswer {
    pub(super) key: RequestKey,
    pub(super) peer: Peer,
    pub(super) bytes: Vec<u8>,
    status: u16,
    repeat_at: Option<Duration>,
    interval: Duration,
    /// When the wait for the ACK ends. `None` without a final response, and after the ACK.
    expires_at: Option<Duration>,
}

impl InviteAnswer {
    pub(super) fn new(key: RequestKey, peer: Peer) -> Self {
        Self { key, peer, bytes: Vec::new(), status: 0, repeat_at: None, interval: T1, expires_at: None }
    }

    pub(super) fn set(&mut self, now: Duration, status: u16, peer: Peer, bytes: Vec<u8>) {
        (self.peer, self.bytes, self.status, self.interval) = (peer, bytes, status, T1);
        // A 2xx is repeated over streams as well (RFC 3261, 13.3.1.4).
        let is_repeated = self.is_success() || status >= 300 && !peer.is_reliable();
        self.repeat_at = is_repeated.then(|| now.saturating_add(T1));
        self.expires_at = (status >= 200).then(|| now.saturating_add(TRANSACTION_TIMEOUT));
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns whether a 2xx was sent, and its ACK is missing.
    pub(super) fn awaits_ack(&self) -> bool {
        self.is_success() && self.is_open()
    }

    /// Returns whether a final response was sent, and its ACK is missing.
    pub(super) fn is_open(&self) -> bool {
        self.expires_at.is_some()
    }

    pub(super) fn acknowledge(&mut self) {
        (self.repeat_at, self.expires_at) = (None, None);
    }

    pub(super) fn has_expired(&self, now: Duration) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Returns whether it must be sent again now, and sets the next time.
    pub(super) fn is_repeated(&mut self, now: Duration) -> bool {
        is_repeated(now, &mut self.repeat_at, &mut self.interval)
    }

    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.repeat_at.into_iter().chain(self.expires_at).min()
    }
}

fn is_repeated(now: Duration, at: &mut Option<Duration>, interval: &mut Duration) -> bool {
    if at.is_none_or(|at| at > now) {
        return false;
    }
    *interval = interval.saturating_mul(2).min(T2);
    *at = Some(now.saturating_add(*interval));
    true
}

/// A BYE without a final response.
pub(super) struct Bye {
    pub(super) peer: Peer,
    pub(super) bytes: Vec<u8>,
    cseq: u32,
    branch: String,
    repeat_at: Option<Duration>,
    interval: Duration,
    expires_at: Duration,
}

/// What to do with a request at a time.
pub(super) enum Repeat {
    Send,
    Wait,
    GiveUp,
}

impl Bye {
    pub(super) fn is_answered_by(&self, essentials: &Essentials<'_>) -> bool {
        essentials.cseq.method == Method::Bye
            && essentials.cseq.number == self.cseq
            && essentials.via.branch() == Some(&self.branch)
    }

    pub(super) fn next_timeout(&self) -> Duration {
        self.repeat_at.map_or(self.expires_at, |at| at.min(self.expires_at))
    }

    pub(super) fn handle_timeout(&mut self, now: Duration) -> Repeat {
        if self.expires_at <= now {
            Repeat::GiveUp
        } else if is_repeated(now, &mut self.repeat_at, &mut self.interval) {
            Repeat::Send
        } else {
            Repeat::Wait
        }
    }
}

/// The state of the dialog (RFC 3261, 12) of a call that this side received.
pub(super) struct Dialog {
    sip: SocketAddr,
    tag: String,
    call_id: Vec<u8>,
    /// To of the INVITE: From of this side's requests, without the tag.
    local: Vec<u8>,
    /// From of the INVITE: To of this side's requests.
    remote: Vec<u8>,
    remote_tag: Option<String>,
    remote_cseq: u32,
    local_cseq: u32,
    target: String,
    routes: Vec<String>,
}

impl Dialog {
    /// Creates the dialog of an INVITE. This side's tag is made of `random`.
    pub(super) fn new(invite: &Message, cseq: u32, sip: SocketAddr, random: u64) -> Self {
        let first = |name| invite.header_values(name).next().unwrap_or_default().to_vec();
        let from = invite.from_header().ok();
        let routes = invite.record_routes().unwrap_or_default();
        let mut dialog = Self {
            sip,
            tag: format!("{random:016x}"),
            call_id: first(header::CALL_ID),
            local: first(header::TO),
            remote: first(header::FROM),
            remote_tag: from.as_ref().and_then(|from| from.tag()).map(str::to_owned),
            remote_cseq: cseq,
            local_cseq: 0,
            target: from.map(|from| from.uri_text().to_owned()).unwrap_or_default(),
            routes: routes.iter().map(ToString::to_string).collect(),
        };
        dialog.refresh_target(invite);
        dialog
    }

    pub(super) fn tag(&self) -> &str {
        &self.tag
    }

    pub(super) fn remote_tag(&self) -> Option<&str> {
        self.remote_tag.as_deref()
    }

    /// Records the CSeq of a request. Returns false if it is not higher than all earlier ones (RFC 3261, 12.2.2).
    pub(super) fn accept_cseq(&mut self, number: u32) -> bool {
        let is_new = number > self.remote_cseq;
        self.remote_cseq = self.remote_cseq.max(number);
        is_new
    }

    /// Sets the target of this side's requests from the Contact of a request.
    pub(super) fn refresh_target(&mut self, request: &Message) {
        let contact = request.contacts().ok().and_then(|contacts| contacts.into_iter().next());
        if let Some(Uri::Sip(uri)) = contact.and_then(|contact| contact.uri().ok()) {
            self.target = uri.to_request_uri();
        }
    }

    /// Returns the value of Contact of this side.
    pub(super) fn contact(&self, peer: Peer) -> String {
        let transport = if peer.is_reliable() { ";transport=tcp" } else { "" };
        format!("<sip:simulator@{}{transport}>", self.sip)
    }

    /// Writes the BYE. `None` if the headers of the INVITE do not allow it.
    pub(super) fn bye(&mut self, now: Duration, peer: Peer) -> Option<Bye> {
        self.local_cseq = self.local_cseq.saturating_add(1);
        let branch = format!("z9hG4bK{}{}", self.tag, self.local_cseq);
        let transport = if peer.is_reliable() { "TCP" } else { "UDP" };
        let mut request = MessageBuilder::request(&Method::Bye, &self.target)
            .header(header::VIA, format!("SIP/2.0/{transport} {};branch={branch};rport", self.sip));
        for route in &self.routes {
            request = request.header(header::ROUTE, route);
        }
        let bytes = request
            .header(header::MAX_FORWARDS, "70")
            .header(header::FROM, [&self.local, &b";tag="[..], self.tag.as_bytes()].concat())
            .header(header::TO, &self.remote)
            .header(header::CALL_ID, &self.call_id)
            .header(header::CSEQ, format!("{} BYE", self.local_cseq))
            .header(header::USER_AGENT, PRODUCT)
            .build()
            .ok()?;
        Some(Bye {
            peer,
            bytes,
            cseq: self.local_cseq,
            branch,
            repeat_at: (!peer.is_reliable()).then(|| now.saturating_add(T1)),
            interval: T1,
            expires_at: now.saturating_add(TRANSACTION_TIMEOUT),
        })
    }
}
