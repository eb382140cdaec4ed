//! Requests within a dialog, and the responses to them (RFC 3261, 12.2.1).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::responses::{challenges, description};
use super::write::{own_message, via};
use super::{Call, Purpose, RequestFailure, SentRequest, SessionTimer};
use crate::agent::core::Core;
use crate::agent::event::{CallEvent, EndCause};
use crate::auth::{RequestAuth, RequestParts};
use crate::message::{Essentials, Message, Method, header};
use crate::transaction::ClientKey;

/// Pause before a refresh is retried after its connection was lost.
const REFRESH_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Maximum pending requests of this side in one call, beyond which only a BYE is sent.
const MAX_REQUESTS: usize = 48;

/// Maximum reliable provisional responses of one call that are acknowledged.
const MAX_PRACKS: u32 = 64;

/// Maximum transmissions of one request with changed credentials or another session interval.
const MAX_TRIES: u32 = 8;

/// Stands in for the destination of a request that cannot be sent.
const UNSPECIFIED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl Purpose {
    pub(super) fn method(&self) -> Method {
        match self {
            Self::Prack(_) => Method::Prack,
            Self::Bye => Method::Bye,
            Self::Update => Method::Update,
            Self::Reinvite => Method::Invite,
        }
    }
}

impl Call {
    pub(super) fn send_prack(&mut self, core: &mut Core, fork: u32, rack: String) {
        self.pracks = self.pracks.saturating_add(1);
        if self.pracks > MAX_PRACKS {
            core.drops.full = core.drops.full.saturating_add(1);
            return;
        }
        self.send_request(core, fork, Purpose::Prack(rack), RequestAuth::default(), 0);
    }

    pub(super) fn send_bye(&mut self, core: &mut Core, fork: u32) {
        if let Some(fork) = self.fork(fork) {
            fork.timer = None;
        }
        self.send_request(core, fork, Purpose::Bye, RequestAuth::default(), 0);
    }

    /// Sends an unconfirmed BYE again, because the peer has sent something.
    pub(super) fn repeat_bye(&mut self, core: &mut Core, fork_id: u32) {
        let Some(fork) = self.fork(fork_id) else { return };
        let is_needed = fork.is_bye_unconfirmed && !fork.is_ended_by_peer;
        fork.is_bye_unconfirmed = false;
        if is_needed {
            self.send_bye(core, fork_id);
            self.keep_for_retransmissions(core);
        }
    }

    /// Sends a request in a dialog. If the flow is closed, its transaction fails at once.
    pub(super) fn send_request(
        &mut self,
        core: &mut Core,
        fork_id: u32,
        purpose: Purpose,
        mut auth: RequestAuth,
        tries: u32,
    ) {
        // Without its BYE, a call would never end. There is at most one for each fork.
        if self.requests.len() >= MAX_REQUESTS && purpose != Purpose::Bye {
            core.drops.full = core.drops.full.saturating_add(1);
            return;
        }
        let Some(flow) = self.fork(fork_id).map(|fork| fork.flow) else { return };
        let key = core.new_client_key();
        let (destination, request) = self.write_request(core, fork_id, key, &purpose, &mut auth).unzip();
        let destination = destination.unwrap_or(UNSPECIFIED);
        self.requests.push(SentRequest { key, fork: fork_id, purpose, auth, tries: tries.saturating_add(1) });
        core.start_client(self.owner(), key, (flow, destination), request, None);
    }

    /// Writes a request in a dialog, and returns its destination. `None` if the flow is closed or the request cannot be
    /// written.
    fn write_request(
        &mut self,
        core: &mut Core,
        fork_id: u32,
        key: ClientKey,
        purpose: &Purpose,
        auth: &mut RequestAuth,
    ) -> Option<(SocketAddr, Message)> {
        let (method, random) = (purpose.method(), core.random_bytes());
        let session_headers = self.session_headers(fork_id);
        let flow = self.fork(fork_id).and_then(|fork| core.flow(fork.flow));
        let contact = flow.map(|flow| self.contact(&flow)).unwrap_or_default();
        let fork = self.forks.iter_mut().find(|fork| fork.id == fork_id)?;
        let cseq = fork.dialog.next_cseq();
        let flow = flow?;
        let body = if *purpose == Purpose::Reinvite { fork.local_description.clone() } else { Vec::new() };
        let mut builder = fork.dialog.request(&method, cseq, &via(&flow, key));
        match purpose {
            Purpose::Prack(rack) => builder = builder.header(header::RACK, rack),
            Purpose::Bye => {}
            Purpose::Update | Purpose::Reinvite => {
                builder = builder
                    .header(header::CONTACT, &contact)
                    .header(header::ALLOW, super::write::ALLOW)
                    .header(header::SUPPORTED, "timer");
                for (name, value) in session_headers {
                    builder = builder.header(name, value);
                }
            }
        }
        if !core.config.product.is_empty() {
            builder = builder.header(header::USER_AGENT, &core.config.product);
        }
        if let Some(authenticator) = &mut self.auth {
            let uri = fork.dialog.request_uri();
            let parts = RequestParts { method: method.as_str().as_bytes(), uri: uri.as_bytes(), body: &body };
            for authorization in authenticator.authorize(auth, &parts, random).ok()? {
                builder = builder.header(authorization.header(), authorization.value());
            }
        }
        if !body.is_empty() {
            builder = builder.body("application/sdp", body);
        }
        Some((fork.dialog.destination(&flow), own_message(&builder.build().ok()?)?))
    }

    pub(super) fn handle_in_dialog_response(
        &mut self,
        core: &mut Core,
        index: usize,
        response: &Message,
        essentials: &Essentials<'_>,
    ) {
        let status = response.status().unwrap_or_default();
        if status < 200 || index >= self.requests.len() {
            return;
        }
        let request = self.requests.remove(index);
        let is_success = (200..300).contains(&status);
        if is_success && matches!(request.purpose, Purpose::Update | Purpose::Reinvite) {
            self.handle_refreshed(core, &request, response, essentials);
            return;
        }
        if matches!(status, 401 | 407) && self.retry_request(core, &request, response) {
            return;
        }
        match request.purpose {
            // The failure of a PRACK neither delays nor ends the call (RFC 3262, 3).
            Purpose::Prack(_) => {}
            // A peer that asks for credentials has not accepted the BYE. Any other response ends the call (RFC 3261,
            // 15.1.1).
            Purpose::Bye => self.handle_hung_up(core, !matches!(status, 401 | 407)),
            Purpose::Update | Purpose::Reinvite => self.handle_refresh_rejected(core, &request, status, response),
        }
    }

    pub(super) fn handle_in_dialog_failure(&mut self, core: &mut Core, index: usize, failure: RequestFailure) {
        if index >= self.requests.len() {
            return;
        }
        let request = self.requests.remove(index);
        match request.purpose {
            Purpose::Prack(_) => {}
            Purpose::Bye => {
                if let Some(fork) = self.fork(request.fork) {
                    fork.is_bye_unconfirmed = true;
                }
                self.handle_hung_up(core, false);
            }
            // The call may continue over another flow.
            Purpose::Update | Purpose::Reinvite if failure != RequestFailure::TimedOut => {
                let again = core.now.saturating_add(REFRESH_AGAIN_AFTER);
                if let Some(timer) = self.fork(request.fork).and_then(|fork| fork.timer.as_mut()) {
                    timer.refresh_at(again);
                }
            }
            // Without a response, the session has ended (RFC 4028, 10).
            Purpose::Update | Purpose::Reinvite => self.lose_session(core, request.fork),
        }
    }

    /// Sends a challenged request again with credentials. Returns whether it was sent.
    fn retry_request(&mut self, core: &mut Core, request: &SentRequest, response: &Message) -> bool {
        let Some(authenticator) = &mut self.auth else { return false };
        let mut auth = request.auth.clone();
        if request.tries >= MAX_TRIES || authenticator.challenged(&mut auth, challenges(response)).is_err() {
            return false;
        }
        self.send_request(core, request.fork, request.purpose.clone(), auth, request.tries);
        true
    }

    /// Sends a refresh again with another session interval or by another method. Returns whether it was sent.
    pub(super) fn repeat_refresh(&mut self, core: &mut Core, request: &SentRequest, purpose: Purpose) -> bool {
        if request.tries >= MAX_TRIES {
            return false;
        }
        self.send_request(core, request.fork, purpose, request.auth.clone(), request.tries);
        true
    }

    /// Handles the 2xx of a refresh, which may have a new description.
    fn handle_refreshed(
        &mut self,
        core: &mut Core,
        request: &SentRequest,
        response: &Message,
        essentials: &Essentials<'_>,
    ) {
        let is_invite = request.purpose == Purpose::Reinvite;
        let timer = SessionTimer::from_response(core.now, response);
        let description = description(response);
        let Some(fork) = self.fork(request.fork) else { return };
        fork.dialog.refresh_target(response);
        fork.timer = timer;
        let offer = fork.local_description.clone();
        if is_invite {
            let invite = core.client(request.key).and_then(|(_, client)| client.request());
            self.acknowledge_success(core, request.fork, invite.as_ref(), essentials.cseq.number);
            if description.is_some() && self.is_established(request.fork) {
                self.emit(core, CallEvent::SdpAnswer { offer, description });
            }
        }
    }

    pub(super) fn is_established(&self, fork: u32) -> bool {
        self.stage == super::Stage::Established(fork)
    }

    /// Ends the call, because the peer lost the session or did not refresh it.
    pub(super) fn lose_session(&mut self, core: &mut Core, fork: u32) {
        if self.is_established(fork) {
            self.send_bye(core, fork);
            self.finish(core, EndCause::SessionLost);
        }
    }
}
