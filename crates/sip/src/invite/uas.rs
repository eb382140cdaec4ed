//! Requests of the peer within a call (RFC 3261, 12.2.2).

use super::responses::{description, reason_text};
use super::session_timer::MIN_SECONDS;
use super::write::ALLOW;
use super::{Call, PeerRequest, PeerRequestKind, Purpose, SentRequest, SessionTimer, Stage};
use crate::agent::core::Core;
use crate::agent::event::{CallEvent, EndCause, Reply, RequestId};
use crate::agent::response::ResponseBuilder;
use crate::body::has_other_body;
use crate::dialog::Dialog;
use crate::message::{Essentials, Message, Method, header};

impl Call {
    /// Handles a request whose server transaction was started.
    pub(crate) fn handle_request(
        &mut self,
        core: &mut Core,
        id: RequestId,
        request: &Message,
        essentials: &Essentials<'_>,
    ) {
        self.dispatch_request(core, id, request, essentials);
        self.update_timer(core);
    }

    fn dispatch_request(&mut self, core: &mut Core, id: RequestId, request: &Message, essentials: &Essentials<'_>) {
        let method = &essentials.cseq.method;
        if essentials.to.tag() != Some(&self.from_tag) {
            respond(core, id, 481);
            return;
        }
        let fork = match self.fork_by_tag(essentials.from.tag()) {
            Some(fork) => fork,
            // The BYE of a fork whose 2xx has not arrived yet.
            None if *method == Method::Bye && self.invite_is_open() && self.forks.len() < super::MAX_FORKS => {
                let Some(dialog) = self.dialog_of_request(request, essentials) else {
                    respond(core, id, 481);
                    return;
                };
                self.add_fork(dialog, self.flow)
            }
            None => {
                respond(core, id, 481);
                return;
            }
        };
        let is_new = self.fork(fork).is_some_and(|fork| fork.dialog.accept_remote_cseq(essentials.cseq.number));
        if !is_new {
            respond(core, id, 500);
            return;
        }
        let unsupported = unsupported(request);
        if !unsupported.is_empty() {
            core.respond(id, 420, |response| response.header(header::UNSUPPORTED, unsupported));
            return;
        }
        if *method != Method::Bye {
            self.repeat_bye(core, fork);
        }
        match method {
            Method::Bye => self.handle_bye(core, id, fork, request),
            Method::Invite | Method::Update => self.handle_offer(core, id, fork, request, essentials),
            Method::Info => self.handle_info(core, id, fork, request),
            Method::Options => respond_with_capabilities(core, id, 200),
            Method::Prack | Method::Cancel | Method::Ack => respond(core, id, 481),
            Method::Other(_) => respond_with_capabilities(core, id, 501),
            _ => respond_with_capabilities(core, id, 405),
        }
    }

    /// Creates the dialog of a request of an unknown fork.
    fn dialog_of_request(&self, request: &Message, essentials: &Essentials<'_>) -> Option<Dialog> {
        let remote = request.header_values(header::FROM).next()?;
        let tag = essentials.from.tag()?;
        Some(Dialog::of_request(
            (&self.local_party(), &self.setup.target),
            (remote, tag),
            essentials.call_id,
            self.cseq,
        ))
    }

    fn handle_bye(&mut self, core: &mut Core, id: RequestId, fork_id: u32, request: &Message) {
        respond(core, id, 200);
        let Some(fork) = self.fork(fork_id) else { return };
        fork.is_ended_by_peer = true;
        fork.timer = None;
        let (q850, reason) = (request.q850_cause(), reason_text(request));
        match self.stage {
            Stage::Established(established) if established == fork_id => {
                self.finish(core, EndCause::PeerHungUp { q850, reason });
            }
            // Both sides hung up. The peer's BYE confirms the end, as a response to this side's BYE would.
            Stage::Closing(_) => {
                self.drop_requests(core, |request| request.fork == fork_id);
                self.handle_hung_up(core, true);
            }
            Stage::Inviting | Stage::Redirecting | Stage::Established(_) | Stage::Over => {}
        }
    }

    /// Drops requests of this side, so that their responses are ignored.
    pub(super) fn drop_requests(&mut self, core: &mut Core, is_dropped: impl Fn(&SentRequest) -> bool) {
        for request in self.requests.iter().filter(|request| is_dropped(request)) {
            core.remove_client(request.key);
        }
        self.requests.retain(|request| !is_dropped(request));
    }

    fn handle_offer(
        &mut self,
        core: &mut Core,
        id: RequestId,
        fork_id: u32,
        request: &Message,
        essentials: &Essentials<'_>,
    ) {
        let is_invite = essentials.cseq.method == Method::Invite;
        let is_established = self.is_established(fork_id);
        let is_early = self.stage == Stage::Inviting && !self.is_hang_up_requested && !is_invite;
        if !is_established && !is_early {
            respond(core, id, 481);
            return;
        }
        if has_other_body(request) {
            core.respond(id, 415, |response| response.header(header::ACCEPT, "application/sdp"));
            return;
        }
        let offer = description(request);
        let is_refreshing = self.requests.iter().any(|request| request.purpose == Purpose::Reinvite);
        if request.session_expires().ok().flatten().is_some_and(|proposed| proposed.seconds < MIN_SECONDS) {
            core.respond(id, 422, |response| response.header(header::MIN_SE, MIN_SECONDS.to_string()));
            return;
        }
        let is_pending = self.peer_requests.iter().any(|request| matches!(request.kind, PeerRequestKind::Offer { .. }));
        let timers = core.config.timers;
        let Some(fork) = self.fork(fork_id) else { return };
        if !is_invite && offer.is_none() {
            // An UPDATE without an offer refreshes the session or the target, and nothing else (RFC 3311, 5.2).
            self.accept(core, id, fork_id, None);
            return;
        }
        // Glare: two offers are open (RFC 3261, 14.2; RFC 3311, 5.2). Only a reliable response has the SDP answer to the
        // offer of the INVITE.
        if is_refreshing || (is_early && !fork.is_agreed) {
            respond(core, id, 491);
            return;
        }
        if is_pending {
            let seconds = core.random_duration(timers.t1, timers.t1.saturating_mul(20)).as_secs();
            core.respond(id, 500, |response| response.header(header::RETRY_AFTER, seconds.to_string()));
            return;
        }
        let kind = PeerRequestKind::Offer {
            is_invite,
            has_description: offer.is_some(),
            cseq: essentials.cseq.number,
            is_accepted: false,
        };
        self.peer_requests.push(PeerRequest { id, fork: fork_id, kind });
        self.emit(core, CallEvent::SdpOffer { request: id, description: offer });
    }

    /// Rejects the offers that the peer made before its 2xx and that the caller has not responded to. Otherwise the caller
    /// could apply the description of the 2xx over a later agreement. The peer may offer again (RFC 3311, 5.2).
    pub(super) fn reject_early_offers(&mut self, core: &mut Core) {
        let is_offer = |request: &PeerRequest| matches!(request.kind, PeerRequestKind::Offer { .. });
        let (offers, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.peer_requests).into_iter().partition(is_offer);
        self.peer_requests = others;
        for offer in offers {
            respond(core, offer.id, 491);
        }
    }

    /// Reports an INFO. One of another phone than the one that has the call is rejected: it could press keys.
    fn handle_info(&mut self, core: &mut Core, id: RequestId, fork: u32, request: &Message) {
        if !self.is_established(fork) && self.stage != Stage::Inviting {
            respond(core, id, 481);
            return;
        }
        let content_type = request.content_type().ok().flatten();
        let content_type = content_type.map(|found| found.media_type().to_owned()).unwrap_or_default();
        self.peer_requests.push(PeerRequest { id, fork, kind: PeerRequestKind::Info });
        self.emit(core, CallEvent::Info { request: id, content_type, body: request.body().to_vec() });
    }

    /// Sends the caller's response.
    pub(crate) fn respond(&mut self, core: &mut Core, id: RequestId, reply: Reply) {
        let Some(index) = self.peer_requests.iter().position(|request| request.id == id) else { return };
        let Some(request) = self.peer_requests.get_mut(index) else { return };
        let fork = request.fork;
        match (&mut request.kind, reply) {
            (PeerRequestKind::Info, Reply::Accept(_)) => {
                self.peer_requests.remove(index);
                respond(core, id, 200);
            }
            (PeerRequestKind::Offer { is_accepted: true, .. }, _) => {}
            (PeerRequestKind::Offer { is_invite, is_accepted, .. }, Reply::Accept(Some(description))) => {
                *is_accepted = true;
                if !*is_invite {
                    self.peer_requests.remove(index);
                }
                self.accept(core, id, fork, Some(description));
            }
            // The caller accepted an offer without an SDP answer.
            (PeerRequestKind::Offer { .. }, Reply::Accept(None)) => {
                self.peer_requests.remove(index);
                respond(core, id, 488);
            }
            (_, Reply::Reject(status)) => {
                self.peer_requests.remove(index);
                let status = if (300..700).contains(&status) { status } else { 500 };
                core.respond(id, status, |response| match status {
                    415 => response.header(header::ACCEPT, "application/sdp, application/dtmf, application/dtmf-relay"),
                    _ => response,
                });
            }
        }
        self.update_timer(core);
    }

    /// Accepts an INVITE or UPDATE of the peer, with a description and with its session timer.
    fn accept(&mut self, core: &mut Core, id: RequestId, fork_id: u32, body: Option<Vec<u8>>) {
        let Some(flow) = self.fork(fork_id).and_then(|fork| core.flow(fork.flow)) else { return };
        let contact = self.contact(&flow);
        let now = core.now;
        let Some(request) = core.server(id).and_then(|server| server.pending_request()) else { return };
        let proposed = SessionTimer::from_request(now, request);
        let knows_timers = request.has_option("timer");
        let Some(fork) = self.fork(fork_id) else { return };
        // A rejected request must change nothing, so the dialog is updated only now (RFC 3261, 12.2.2 and 14.2).
        fork.dialog.refresh_target(request);
        if let Some(body) = &body {
            fork.local_description.clone_from(body);
            if let Some(offer) = description(request) {
                fork.description = Some(offer);
                fork.is_updated = true;
            }
        }
        if fork.is_confirmed {
            fork.timer = proposed.as_ref().map(|(timer, _)| *timer);
        }
        core.respond(id, 200, |response| {
            let mut response = response
                .header(header::CONTACT, contact)
                .header(header::ALLOW, ALLOW)
                .header(header::SUPPORTED, "timer");
            if let Some((_, value)) = proposed {
                response = response.header(header::SESSION_EXPIRES, value);
                // Only if the peer supports it (RFC 4028, 9).
                if knows_timers {
                    response = response.header(header::REQUIRE, "timer");
                }
            }
            match body {
                Some(body) => response.body("application/sdp", body),
                None => response,
            }
        });
    }

    /// Returns whether an ACK belongs to an INVITE of the peer that was accepted.
    pub(crate) fn acknowledges(&self, essentials: &Essentials<'_>) -> bool {
        self.acknowledged(essentials).is_some()
    }

    /// Handles the ACK of a 2xx to a re-INVITE.
    pub(crate) fn handle_ack(&mut self, core: &mut Core, ack: &Message, essentials: &Essentials<'_>) {
        let Some(index) = self.acknowledged(essentials) else { return };
        let PeerRequest { id, fork, kind } = self.peer_requests.remove(index);
        core.acknowledge_server(id);
        if let PeerRequestKind::Offer { has_description: false, .. } = kind {
            let offer = self.fork(fork).map(|fork| fork.local_description.clone()).unwrap_or_default();
            self.emit(core, CallEvent::SdpAnswer { offer, description: description(ack) });
        }
        self.update_timer(core);
    }

    /// Returns the index of the accepted INVITE of the peer that an ACK acknowledges, by tags and CSeq.
    fn acknowledged(&self, essentials: &Essentials<'_>) -> Option<usize> {
        let number = essentials.cseq.number;
        let fork = self.fork_by_tag(essentials.from.tag()).filter(|_| self.has_from_tag(essentials.to.tag()))?;
        self.peer_requests.iter().position(|request| match request.kind {
            PeerRequestKind::Offer { is_invite: true, is_accepted: true, cseq, .. } => {
                cseq == number && request.fork == fork
            }
            _ => false,
        })
    }

    /// Handles a request that the caller did not respond to in time, or whose 2xx the peer did not acknowledge.
    pub(crate) fn handle_peer_request_timeout(&mut self, core: &mut Core, id: RequestId) {
        let Some(index) = self.peer_requests.iter().position(|request| request.id == id) else { return };
        let request = self.peer_requests.remove(index);
        match request.kind {
            PeerRequestKind::Offer { is_invite: true, is_accepted: true, .. } => self.lose_session(core, request.fork),
            PeerRequestKind::Offer { .. } | PeerRequestKind::Info => respond(core, id, 500),
        }
        self.update_timer(core);
    }

    /// Handles a CANCEL of a re-INVITE that the caller has not responded to (RFC 3261, 9.2).
    pub(crate) fn handle_cancel(&mut self, core: &mut Core, id: RequestId) {
        let is_open = |request: &PeerRequest| {
            request.id == id && matches!(request.kind, PeerRequestKind::Offer { is_accepted: false, .. })
        };
        if let Some(index) = self.peer_requests.iter().position(is_open) {
            self.peer_requests.remove(index);
            respond(core, id, 487);
        }
        self.update_timer(core);
    }
}

fn respond(core: &mut Core, id: RequestId, status: u16) {
    core.respond(id, status, |response| response);
}

fn respond_with_capabilities(core: &mut Core, id: RequestId, status: u16) {
    core.respond(id, status, capabilities);
}

/// Adds the headers that list the capabilities of this side (RFC 3261, 11.2).
pub(crate) fn capabilities(response: ResponseBuilder) -> ResponseBuilder {
    response
        .header(header::ALLOW, ALLOW)
        .header(header::ACCEPT, "application/sdp, application/dtmf, application/dtmf-relay")
        .header(header::SUPPORTED, "timer")
}

/// Returns the extensions that a request requires and this side does not support (RFC 3261, 8.2.2.3).
pub(crate) fn unsupported(request: &Message) -> String {
    let required = request.require().unwrap_or_default();
    let unknown: Vec<_> = required.into_iter().filter(|tag| !tag.eq_ignore_ascii_case("timer")).collect();
    unknown.join(", ")
}
