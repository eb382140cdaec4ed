//! Responses to the INVITE (RFC 3261, 13.2.2).

use super::forwarding::reports_forwarding;
use super::{Call, Closing, Fork, MAX_FORKS, RequestFailure, SessionTimer, Stage};
use crate::agent::AgentError;
use crate::agent::core::Core;
use crate::agent::event::{Answered, CallEvent, EndCause, PeerText, Progress, Refusal, RetryReason};
use crate::agent::flow::{FlowId, Transport};
use crate::auth::{AuthError, ChallengeKind, RequestAuth};
use crate::dialog::Dialog;
use crate::message::{Essentials, Host, Message, Method, NameAddr, SipUri, Uri, header};

impl Call {
    /// Handles a response to an INVITE. `is_stray`: the INVITE's transaction has ended.
    pub(super) fn handle_invite_response(
        &mut self,
        core: &mut Core,
        is_stray: bool,
        response: &Message,
        essentials: &Essentials<'_>,
    ) {
        let status = response.status().unwrap_or_default();
        let is_current = self.cseq == essentials.cseq.number;
        if is_stray && is_current && status >= 300 {
            self.acknowledge_refusal(core, response);
        }
        self.is_forwarded |= reports_forwarding(response, &self.setup.target);
        match status {
            200..=299 => self.handle_success(core, response, essentials),
            // A response to an earlier INVITE, or a provisional or failure response to a re-INVITE, is ignored here.
            _ if !is_current || !self.invite_is_open() => {}
            100..=199 => self.handle_provisional(core, status, response, essentials),
            _ => self.handle_refusal(core, status, response),
        }
    }

    fn handle_provisional(&mut self, core: &mut Core, status: u16, response: &Message, essentials: &Essentials<'_>) {
        if let Some(invite) = &mut self.invite {
            invite.is_proceeding = true;
        }
        self.may_have_rung |= (180..=189).contains(&status);
        if self.is_hang_up_requested || self.stage == Stage::Over {
            self.send_cancel(core);
        }
        if status == 100 {
            return;
        }
        let description = description(response);
        let mut is_repetition = false;
        if essentials.to.tag().is_some() {
            let Some(fork) = self.fork_of(response, essentials) else {
                core.drops.full = core.drops.full.saturating_add(1);
                return;
            };
            is_repetition = self.acknowledge_provisional(core, fork, response, essentials, &description);
        }
        if self.stage == Stage::Inviting && !self.is_hang_up_requested && !is_repetition {
            let is_forwarded = self.is_forwarded;
            self.emit(core, CallEvent::Progress(Progress { status, description, is_forwarded }));
        }
    }

    /// Acknowledges a reliable provisional response by a PRACK (RFC 3262, 4), and records its description. Returns
    /// whether the response must be ignored, because it is a retransmission or arrived out of order.
    fn acknowledge_provisional(
        &mut self,
        core: &mut Core,
        fork_id: u32,
        response: &Message,
        essentials: &Essentials<'_>,
        description: &Option<Vec<u8>>,
    ) -> bool {
        let supports = self.setup.reliable_provisional;
        let requires = response.require().unwrap_or_default().iter().any(|tag| tag.eq_ignore_ascii_case("100rel"));
        let rseq = response.rseq().ok().flatten().filter(|_| supports && requires);
        let Some(fork) = self.fork(fork_id) else { return true };
        if let Some(rseq) = rseq {
            if fork.rseq.is_some_and(|last| rseq != last.saturating_add(1)) {
                return true;
            }
            fork.rseq = Some(rseq);
        }
        if !fork.is_confirmed {
            fork.dialog.learn_routes(response);
            fork.dialog.refresh_target(response);
        }
        fork.allows_update |= allows_update(response);
        if description.is_some() && !fork.is_agreed {
            fork.description.clone_from(description);
            fork.is_agreed = rseq.is_some();
        }
        if let Some(rseq) = rseq {
            self.send_prack(core, fork_id, format!("{rseq} {}", essentials.cseq));
        }
        false
    }

    /// Returns the dialog of a response. Creates it if there is room.
    pub(super) fn fork_of(&mut self, message: &Message, essentials: &Essentials<'_>) -> Option<u32> {
        // In a response, the peer's tag is that of To.
        let tag = essentials.to.tag();
        if let Some(fork) = self.fork_by_tag(tag) {
            return Some(fork);
        }
        if self.forks.len() >= MAX_FORKS {
            // A fork that did not answer makes room for one that did.
            let is_success = message.status().is_some_and(|status| status >= 200);
            let early = self.forks.iter().position(|fork| !fork.is_confirmed).filter(|_| is_success)?;
            let dropped = self.forks.remove(early);
            self.highest_cseq = self.highest_cseq.max(dropped.dialog.local_cseq());
        }
        let dialog = Dialog::new((&self.local_party(), &self.setup.target), message, essentials);
        Some(self.add_fork(dialog))
    }

    pub(super) fn add_fork(&mut self, mut dialog: Dialog) -> u32 {
        // It may be a dialog that made room for another one, and its numbers must not be used again.
        dialog.continue_after(self.highest_cseq);
        self.last_fork = self.last_fork.saturating_add(1);
        self.forks.push(Fork::new(self.last_fork, dialog, self.setup.offer.clone()));
        self.last_fork
    }

    fn handle_success(&mut self, core: &mut Core, response: &Message, essentials: &Essentials<'_>) {
        self.may_have_rung = true;
        let cseq = essentials.cseq.number;
        let Some(fork_id) = self.fork_of(response, essentials) else {
            core.drops.full = core.drops.full.saturating_add(1);
            return;
        };
        if self.acknowledge_again(core, fork_id, cseq) || cseq > self.cseq {
            self.repeat_bye(core, fork_id);
            return;
        }
        if let Some(invite) = &mut self.invite {
            invite.is_final = true;
        }
        let new_timer = SessionTimer::from_response(core.now, response);
        let Some(fork) = self.fork(fork_id) else { return };
        fork.is_confirmed = true;
        fork.dialog.learn_routes(response);
        fork.dialog.refresh_target(response);
        fork.allows_update |= allows_update(response);
        if let Some(description) = description(response).filter(|_| !fork.is_agreed) {
            fork.description = Some(description);
        }
        fork.is_agreed = true;
        let (description, is_updated) = (fork.description.clone(), fork.is_updated);
        let is_ended_by_peer = fork.is_ended_by_peer;
        let invite = self.invite.as_ref().map(|invite| invite.message.clone());
        self.acknowledge_success(core, fork_id, invite.as_ref(), cseq);
        match self.stage {
            Stage::Inviting if is_ended_by_peer => self.finish(core, EndCause::PeerHungUp { q850: None, reason: None }),
            Stage::Inviting if self.is_hang_up_requested => {
                self.send_bye(core, fork_id);
                self.close(core, Closing::Cancelled);
            }
            Stage::Inviting => {
                self.stage = Stage::Established(fork_id);
                self.give_up_at = None;
                self.refuse_early_offers(core);
                // The proxy cancels the other forks. One that answers nevertheless is hung up, in its own dialog.
                self.requests.retain(|request| request.fork == fork_id);
                if let Some(fork) = self.fork(fork_id) {
                    fork.timer = new_timer;
                }
                let is_forwarded = self.is_forwarded;
                self.emit(core, CallEvent::Answered(Answered { description, is_updated, is_forwarded }));
            }
            Stage::Redirecting | Stage::Established(_) | Stage::Closing(_) | Stage::Over if is_ended_by_peer => {}
            Stage::Redirecting | Stage::Established(_) | Stage::Closing(_) | Stage::Over => {
                self.send_bye(core, fork_id);
                self.keep_for_retransmissions(core);
            }
        }
    }

    fn handle_refusal(&mut self, core: &mut Core, status: u16, response: &Message) {
        if let Some(invite) = &mut self.invite {
            invite.is_final = true;
        }
        self.may_have_rung |= may_have_rung(status, response.q850_cause());
        match self.stage {
            Stage::Inviting => {}
            Stage::Redirecting | Stage::Established(_) | Stage::Closing(_) | Stage::Over => {
                self.keep_for_retransmissions(core);
                return;
            }
        }
        if self.is_hang_up_requested {
            self.finish(core, EndCause::Cancelled);
            return;
        }
        let refusal = refusal(status, response);
        let cause = match status {
            300..=399 => self.redirect(core, refusal, response),
            401 | 407 => self.answer_challenge(core, refusal, response),
            422 => self.raise_interval(core, refusal, response),
            _ => Some(EndCause::Refused(refusal)),
        };
        if let Some(cause) = cause {
            self.finish(core, cause);
        }
    }

    /// Sends the INVITE again with credentials. Returns the end cause if that is impossible.
    fn answer_challenge(&mut self, core: &mut Core, refusal: Refusal, response: &Message) -> Option<EndCause> {
        let Some(auth) = &mut self.auth else { return Some(EndCause::Refused(refusal)) };
        if let Err(error) = auth.challenged(&mut self.invite_auth, challenges(response)) {
            return Some(EndCause::AuthenticationFailed(refusal, error));
        }
        if !self.may_retry() {
            return Some(EndCause::AuthenticationFailed(refusal, AuthError::TooManyChallenges));
        }
        self.retry(core, RetryReason::Challenged);
        None
    }

    /// Sends the INVITE again with the session interval that the peer requires (RFC 4028, 7.4). Returns the end cause
    /// if that is impossible.
    fn raise_interval(&mut self, core: &mut Core, refusal: Refusal, response: &Message) -> Option<EndCause> {
        let minimum = response.min_se().ok().flatten();
        let current = self.session_interval.unwrap_or(0).max(self.min_interval.unwrap_or(0));
        let Some(minimum) = minimum.filter(|minimum| *minimum > current) else {
            return Some(EndCause::Refused(refusal));
        };
        if !self.may_retry() {
            return Some(EndCause::Refused(refusal));
        }
        self.session_interval = Some(minimum);
        self.min_interval = Some(minimum);
        self.retry(core, RetryReason::SessionInterval);
        None
    }

    /// Asks the caller to follow a redirection to one of the trunk's own servers. Returns the end cause if it leads
    /// elsewhere.
    fn redirect(&mut self, core: &mut Core, refusal: Refusal, response: &Message) -> Option<EndCause> {
        let mut contacts = response.contacts().unwrap_or_default();
        // The most preferred one first; those of one preference stay in their order.
        contacts.sort_by(|one, other| preference(other).total_cmp(&preference(one)));
        let target = contacts.into_iter().find_map(|contact| match contact.uri() {
            Ok(Uri::Sip(uri)) if self.is_own_server(&uri) && !self.was_target(&uri.to_request_uri()) => Some(uri),
            _ => None,
        });
        let Some(target) = target.filter(|_| self.may_retry()) else {
            return Some(EndCause::RedirectRefused(refusal));
        };
        self.targets.push(std::mem::replace(&mut self.setup.target, target.to_request_uri()));
        self.stage = Stage::Redirecting;
        self.give_up_at = Some(core.now.saturating_add(core.config.max_ringing));
        self.emit(core, CallEvent::Redirected(target));
        None
    }

    /// Returns whether the call was sent to this Request-URI already.
    fn was_target(&self, uri: &str) -> bool {
        self.setup.target == uri || self.targets.iter().any(|target| target == uri)
    }

    /// Returns whether a redirection leads to the same number at one of the trunk's own servers, and is not less secure.
    fn is_own_server(&self, uri: &SipUri) -> bool {
        let Ok(Uri::Sip(asked)) = Uri::parse(&self.setup.target) else { return false };
        let is_trunk = *uri.host() == *asked.host() || self.setup.trunk.contains(uri.host());
        let is_safe = uri.is_secure() || !asked.is_secure();
        // `maddr` would name another host than the one that is checked here (RFC 3261, 19.1.1).
        let is_trunk = is_trunk && !uri.params().has("maddr");
        asked.user().is_some()
            && uri.has_same_user(&asked)
            && is_trunk
            && is_safe
            && !matches!(uri.host(), Host::Ip(ip) if ip.is_unspecified())
    }

    /// Sends the INVITE to the server that a redirection named.
    pub(crate) fn follow_redirect(
        &mut self,
        core: &mut Core,
        flow: FlowId,
        transport: Transport,
    ) -> Result<(), AgentError> {
        if self.stage != Stage::Redirecting {
            return Err(AgentError::NotRedirected);
        }
        if self.is_encrypted && transport != Transport::Tls {
            return Err(AgentError::WeakerTransport);
        }
        self.flow = flow;
        if let Some(auth) = &mut self.auth {
            auth.forget_challenges();
        }
        self.invite_auth = RequestAuth::default();
        self.retry(core, RetryReason::Redirected);
        self.update_timer(core);
        Ok(())
    }

    pub(super) fn handle_invite_failure(&mut self, core: &mut Core, failure: RequestFailure) {
        if failure == RequestFailure::NotSent {
            if let Some(invite) = &mut self.invite {
                invite.is_final = true;
            }
        } else {
            // The phone may ring although no response arrived.
            self.may_have_rung = true;
        }
        if self.stage != Stage::Inviting {
            return;
        }
        let cause = match failure {
            _ if self.is_hang_up_requested => EndCause::Cancelled,
            RequestFailure::TimedOut => EndCause::NoResponse,
            RequestFailure::ConnectionLost | RequestFailure::NotSent => EndCause::ConnectionLost,
        };
        self.finish(core, cause);
    }

    /// Sends the ACK of a retransmitted 2xx again. Returns false if there is none yet.
    fn acknowledge_again(&mut self, core: &mut Core, fork_id: u32, cseq: u32) -> bool {
        let flow = self.flow;
        let Some(fork) = self.forks.iter().find(|fork| fork.id == fork_id) else { return false };
        let Some(server) = core.flow(flow) else { return !fork.acks.is_empty() };
        let Some((_, ack)) = fork.acks.iter().find(|(number, _)| *number == cseq) else { return false };
        let ack = ack.clone();
        core.send(flow, fork.dialog.destination(&server), ack);
        true
    }

    /// Acknowledges a 2xx within its dialog, with the credentials of its INVITE (RFC 3261, 13.2.2.4 and 22.1).
    pub(super) fn acknowledge_success(&mut self, core: &mut Core, fork_id: u32, invite: Option<&Message>, cseq: u32) {
        let Some(flow) = core.flow(self.flow) else { return };
        let key = core.new_client_key();
        let flow_id = self.flow;
        let Some(fork) = self.fork(fork_id) else { return };
        let mut builder = fork.dialog.request(&Method::Ack, cseq, &super::outgoing::via(&flow, key));
        for name in [header::AUTHORIZATION, header::PROXY_AUTHORIZATION] {
            for value in invite.into_iter().flat_map(|invite| invite.header_values(name)) {
                builder = builder.header(name, value);
            }
        }
        let Ok(ack) = builder.build() else { return };
        if fork.acks.len() >= MAX_ACKS {
            fork.acks.remove(0);
        }
        fork.acks.push((cseq, ack.clone()));
        let destination = fork.dialog.destination(&flow);
        core.send(flow_id, destination, ack);
    }
}

/// Maximum ACKs that a dialog keeps: those of the INVITE and of the latest re-INVITE.
const MAX_ACKS: usize = 2;

/// The preference of a Contact, from 0 to 1 (RFC 3261, 20.10).
fn preference(contact: &NameAddr) -> f32 {
    let q = contact.params().get("q").and_then(|q| q.parse().ok());
    q.filter(|q: &f32| (0.0..=1.0).contains(q)).unwrap_or(1.0)
}

/// Returns the challenges of a response.
pub(crate) fn challenges(response: &Message) -> impl Iterator<Item = (ChallengeKind, &[u8])> {
    [ChallengeKind::Server, ChallengeKind::Proxy]
        .into_iter()
        .flat_map(|kind| response.header_values(kind.challenge_header()).map(move |value| (kind, value)))
}

/// Returns the reported parts of a final response.
pub(crate) fn refusal(status: u16, response: &Message) -> Refusal {
    Refusal {
        status,
        phrase: PeerText::new(response.reason_phrase().unwrap_or_default()),
        reason: reason_text(response),
        q850: response.q850_cause(),
        retry_after: response.retry_after().ok().flatten(),
    }
}

/// Returns the value of the first Reason.
pub(super) fn reason_text(message: &Message) -> Option<PeerText> {
    message.header_values(header::REASON).next().map(PeerText::new)
}

/// Returns the session description of a message, if it has one.
pub(super) fn description(message: &Message) -> Option<Vec<u8>> {
    crate::body::session_description(message).map(<[u8]>::to_vec)
}

fn allows_update(message: &Message) -> bool {
    message.allow().unwrap_or_default().iter().any(|method| method == "UPDATE")
}

/// Returns whether a phone may have rung although no response before the final one said so.
///
/// False only for statuses that a server sends without alerting a phone: rejected requests, unknown numbers, missing
/// credentials, and its own failures. Busy, declined, unavailable, timed out and cancelled come from a phone, or from a
/// server that waited for one. So do the causes of a gateway that the telephone network gives of the called phone (ITU-T Q.850: cleared,
/// busy, no answer, rejected), whatever the status: the 18x before it may be lost.
fn may_have_rung(status: u16, q850: Option<u16>) -> bool {
    let is_servers_own = matches!(
        status,
        300..=407 | 410..=479 | 481..=485 | 488..=490 | 492..=499 | 500..=503 | 505..=599 | 604 | 606
    );
    !is_servers_own || matches!(q850, Some(16..=19 | 21))
}
