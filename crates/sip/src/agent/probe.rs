//! A request that asks a server whether it is alive.

use std::time::Duration;

use super::core::{Core, Owner};
use super::event::{ProbeId, ProbeResult};
use super::flow::{Flow, FlowId};
use crate::auth::{Authenticator, Credentials, RequestAuth, RequestParts};
use crate::invite::{challenges, contact, own_message, via};
use crate::message::{Message, MessageBuilder, Method, header};
use crate::transaction::ClientKey;

/// An OPTIONS outside of calls, which is sent again with credentials if the server asks for them.
pub(super) struct Probe {
    id: ProbeId,
    flow: FlowId,
    uri: String,
    call_id: String,
    from_tag: String,
    cseq: u32,
    auth: Option<Authenticator>,
    request_auth: RequestAuth,
    /// When the agent stops waiting for a response.
    deadline: Duration,
}

impl Probe {
    /// Creates a probe and sends its OPTIONS. Returns `None` if that cannot be written.
    pub(super) fn start(
        core: &mut Core,
        id: ProbeId,
        (flow, uri): (FlowId, &str),
        timeout: Duration,
        credentials: Option<Credentials>,
    ) -> Option<Self> {
        let mut probe = Self {
            id,
            flow,
            uri: uri.to_owned(),
            call_id: core.random_token(),
            from_tag: core.random_token(),
            cseq: 0,
            auth: credentials.map(Authenticator::new),
            request_auth: RequestAuth::default(),
            deadline: core.now.saturating_add(timeout.min(core.config.timers.timeout())),
        };
        probe.send(core).then_some(probe)
    }

    /// Handles a final response. Returns the result, or `None` if the OPTIONS was sent again with credentials.
    pub(super) fn handle_response(&mut self, core: &mut Core, response: &Message) -> Option<ProbeResult> {
        let status = response.status().unwrap_or_default();
        let is_authorized = matches!(status, 401 | 407)
            && self
                .auth
                .as_mut()
                .is_some_and(|auth| auth.challenged(&mut self.request_auth, challenges(response)).is_ok());
        if is_authorized && self.send(core) { None } else { Some(ProbeResult::Responded(status)) }
    }

    fn send(&mut self, core: &mut Core) -> bool {
        self.cseq = self.cseq.saturating_add(1);
        let (key, random) = (core.new_client_key(), core.random_bytes());
        let Some(flow) = core.flow(self.flow) else { return false };
        let Some(request) = self.write(core, &flow, key, random) else { return false };
        let timeout = self.deadline.saturating_sub(core.now);
        core.start_client(Owner::Probe(self.id), key, (self.flow, flow.remote), Some(request), Some(timeout));
        true
    }

    fn write(&mut self, core: &Core, flow: &Flow, key: ClientKey, random: [u8; 16]) -> Option<Message> {
        let mut builder = MessageBuilder::request(&Method::Options, &self.uri)
            .header(header::VIA, via(flow, key))
            .header(header::MAX_FORWARDS, "70")
            .header(header::FROM, format!("<sip:{}>;tag={}", flow.local, self.from_tag))
            .header(header::TO, format!("<{}>", self.uri))
            .header(header::CALL_ID, &self.call_id)
            .header(header::CSEQ, format!("{} OPTIONS", self.cseq))
            .header(header::CONTACT, contact(flow, ""))
            .header(header::ACCEPT, "application/sdp");
        if !core.config.product.is_empty() {
            builder = builder.header(header::USER_AGENT, &core.config.product);
        }
        if let Some(auth) = &mut self.auth {
            let parts = RequestParts { method: b"OPTIONS", uri: self.uri.as_bytes(), body: b"" };
            for authorization in auth.authorize(&mut self.request_auth, &parts, random).ok()? {
                builder = builder.header(authorization.header(), authorization.value());
            }
        }
        own_message(&builder.build().ok()?)
    }
}
