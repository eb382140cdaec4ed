//! Writes INVITE, and the ACK and CANCEL that are derived from it.

use super::{Call, SentInvite, Stage, session_timer};
use crate::agent::core::Core;
use crate::agent::flow::{Flow, Transport};
use crate::auth::RequestParts;
use crate::message::{BuildError, Limits, Message, MessageBuilder, Method, header, limits};
use crate::transaction::ClientKey;

/// The methods that the peer may use within a call.
pub(crate) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE";

impl Call {
    /// Sends the INVITE, for the first time or with other content. A message that cannot be written counts as not sent.
    pub(super) fn send_invite(&mut self, core: &mut Core) {
        self.cseq = self.cseq.saturating_add(1);
        self.stage = Stage::Inviting;
        let key = core.new_client_key();
        let random = core.random_bytes();
        let flow = core.flow(self.flow);
        let message = flow.and_then(|flow| self.write_invite(core, &flow, key, random));
        let (Some(message), Some(flow)) = (message, flow) else {
            self.handle_invite_failure(core, super::RequestFailure::NotSent);
            return;
        };
        let destination = flow.remote;
        self.invite = Some(SentInvite {
            key,
            flow: self.flow,
            path: flow,
            message: message.clone(),
            destination,
            is_proceeding: false,
            is_cancelled: false,
            is_final: false,
        });
        self.stage_ends_at = Some(core.now.saturating_add(core.config.max_ringing));
        core.start_client(self.owner(), key, (self.flow, destination), Some(message), None);
    }

    fn write_invite(&mut self, core: &Core, flow: &Flow, key: ClientKey, random: [u8; 16]) -> Option<Message> {
        let setup = &self.setup;
        let mut builder = MessageBuilder::request(&Method::Invite, &setup.target).header(header::VIA, via(flow, key));
        for route in &setup.routes {
            builder = builder.header(header::ROUTE, format!("<{route}>"));
        }
        builder = builder
            .header(header::MAX_FORWARDS, "70")
            .header(header::FROM, self.local_party())
            .header(header::TO, format!("<{}>", setup.to))
            .header(header::CALL_ID, &self.sip_call_id)
            .header(header::CSEQ, format!("{} INVITE", self.cseq))
            .header(header::CONTACT, self.contact(flow))
            .header(header::ALLOW, ALLOW)
            .header(header::ACCEPT, "application/sdp")
            .header(header::SUPPORTED, if setup.reliable_provisional { "100rel, timer" } else { "timer" });
        if let Some(seconds) = self.session_interval {
            builder = builder.header(header::SESSION_EXPIRES, seconds.to_string());
        }
        if self.session_interval.is_some() || self.min_interval.is_some() {
            let seconds = self.min_interval.unwrap_or(session_timer::MIN_SECONDS);
            builder = builder.header(header::MIN_SE, seconds.to_string());
        }
        if !core.config.product.is_empty() {
            builder = builder.header(header::USER_AGENT, &core.config.product);
        }
        for (name, value) in &setup.headers {
            builder = builder.header(name, value);
        }
        if let Some(auth) = &mut self.auth {
            let parts = RequestParts { method: b"INVITE", uri: setup.target.as_bytes(), body: &setup.offer };
            for authorization in auth.authorize(&mut self.invite_auth, &parts, random).ok()? {
                builder = builder.header(authorization.header(), authorization.value());
            }
        }
        own_message(&builder.body("application/sdp", setup.offer.clone()).build().ok()?)
    }

    /// Returns the value of From, whose tag is the same for the whole call.
    pub(super) fn local_party(&self) -> String {
        let tag = &self.from_tag;
        let uri = &self.setup.from;
        if self.setup.from_name.is_empty() {
            return format!("<{uri}>;tag={tag}");
        }
        let name: String = self.setup.from_name.chars().filter(|c| !c.is_control()).collect();
        let name = name.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{name}\" <{uri}>;tag={tag}")
    }

    /// Returns the value of Contact: a `sips:` URI if the request is sent to one (RFC 3261, 8.1.1.8).
    pub(super) fn contact(&self, flow: &Flow) -> String {
        let first = self.setup.routes.first().unwrap_or(&self.setup.target);
        let is_secure =
            [first, &self.setup.target].into_iter().any(|uri| uri.to_ascii_lowercase().starts_with("sips:"));
        match is_secure {
            true => secure_contact(flow, &self.setup.contact_user),
            false => contact(flow, &self.setup.contact_user),
        }
    }

    /// Sends a CANCEL to the address that the INVITE was sent to (RFC 3261, 9.1), unless one was sent already.
    pub(super) fn send_cancel(&mut self, core: &mut Core) {
        let owner = self.owner();
        let Some(invite) = self.invite.as_mut().filter(|invite| !invite.is_final && !invite.is_cancelled) else {
            return;
        };
        invite.is_cancelled = true;
        let cancel = ack_or_cancel(&invite.message, &Method::Cancel, None).ok().and_then(|bytes| own_message(&bytes));
        let Some(cancel) = cancel else { return };
        core.start_client(owner, invite.key.cancel(), (invite.flow, invite.destination), Some(cancel), None);
        let wait = core.now.saturating_add(core.config.timers.timeout());
        // Never shortens the time for which an ended call is kept.
        let kept = self.stage_ends_at.filter(|_| self.stage == Stage::Over);
        self.stage_ends_at = kept.max(Some(wait));
    }

    /// Acknowledges a final response that arrived after the end of the INVITE's transaction.
    pub(super) fn acknowledge_rejection(&self, core: &mut Core, response: &Message) {
        let Some(invite) = &self.invite else { return };
        if let Ok(ack) = ack_or_cancel(&invite.message, &Method::Ack, Some(response)) {
            core.send(invite.flow, invite.destination, ack);
        }
    }
}

/// Writes a Via of this side.
pub(crate) fn via(flow: &Flow, key: ClientKey) -> String {
    let transport = flow.transport.name().to_ascii_uppercase();
    format!("SIP/2.0/{transport} {};branch={};rport", flow.local, key.branch_text())
}

/// Writes a Contact of this side.
pub(crate) fn contact(flow: &Flow, user: &str) -> String {
    let at = if user.is_empty() { "" } else { "@" };
    match flow.transport {
        // The default of a `sip:` URI.
        Transport::Udp => format!("<sip:{user}{at}{}>", flow.local),
        transport => format!("<sip:{user}{at}{};transport={}>", flow.local, transport.name()),
    }
}

fn secure_contact(flow: &Flow, user: &str) -> String {
    let at = if user.is_empty() { "" } else { "@" };
    format!("<sips:{user}{at}{}>", flow.local)
}

/// Writes the ACK of a final response that is no success (RFC 3261, 17.1.1.3), or a CANCEL (9.1): with the Request-URI,
/// Call-ID, From, CSeq number, Via and Route of the INVITE. An ACK has the To of the response.
pub(crate) fn ack_or_cancel(
    invite: &Message,
    method: &Method,
    response: Option<&Message>,
) -> Result<Vec<u8>, BuildError> {
    let uri = invite.request_uri_bytes().map(String::from_utf8_lossy).unwrap_or_default();
    let cseq = invite.cseq().map(|cseq| cseq.number).unwrap_or_default();
    let mut builder = MessageBuilder::request(method, &uri);
    let copied = [header::VIA, header::ROUTE, header::MAX_FORWARDS, header::FROM];
    for name in copied {
        for value in invite.header_values(name) {
            builder = builder.header(name, value);
        }
    }
    let to = response.unwrap_or(invite).header_values(header::TO).next().unwrap_or_default();
    builder = builder.header(header::TO, to).header(header::CALL_ID, invite.call_id().unwrap_or_default());
    builder.header(header::CSEQ, format!("{cseq} {method}")).build()
}

/// Parses a message that this side wrote, which may be as long as on a stream.
pub(crate) fn own_message(bytes: &[u8]) -> Option<Message> {
    let limits = Limits { datagram_request: limits::MESSAGE, ..Limits::default() };
    Message::from_datagram(bytes, &limits).ok()
}
