//! Responses to the INVITE (RFC 3261, 13.2.2).

use super::forwarding::reports_forwarding;
use super::{Call, Closing, Fork, MAX_FORKS, Purpose, RequestFailure, SessionTimer, Stage};
use crate::agent::core::Core;
use crate::agent::event::{CallEvent, EndCause, Established, PeerText, ProvisionalResponse, Rejection};
use crate::agent::flow::FlowId;
use crate::auth::ChallengeKind;
use crate::dialog::Dialog;
use crate::message::{Essentials, Message, Method, header};
use crate::transaction::ClientKey;

impl Call {
    /// Handles a response to an INVITE, whose transaction may have ended.
    pub(super) fn handle_invite_response(
        &mut self,
        core: &mut Core,
        key: ClientKey,
        response: &Message,
        essentials: &Essentials<'_>,
    ) {
        let status = response.status().unwrap_or_default();
        let is_current = self.cseq == essentials.cseq.number;
        if core.client(key).is_none() && is_current && status >= 300 {
            self.acknowledge_rejection(core, response);
        }
        self.is_forwarded |= reports_forwarding(response, &self.setup.target);
        match status {
            200..=299 => self.handle_success(core, key, response, essentials),
            // A response to an earlier INVITE, or a provisional or failure response to a re-INVITE, is ignored here.
            _ if !is_current || !self.invite_is_open() => {}
            100..=199 => self.handle_provisional(core, status, response, essentials),
            _ => self.handle_rejection(core, status, response),
        }
    }

    fn handle_provisional(&mut self, core: &mut Core, status: u16, response: &Message, essentials: &Essentials<'_>) {
        if let Some(invite) = &mut self.invite {
            invite.is_proceeding = true;
        }
        self.may_have_rung |= (180..=189).contains(&status);
        if self.is_hang_up_requested || self.stage != Stage::Inviting {
            self.send_cancel(core);
        }
        if status == 100 {
            return;
        }
        let description = description(response);
        let mut is_repetition = false;
        if essentials.to.tag().is_some() {
            let Some(fork) = self.fork_of(response, essentials, self.flow) else {
                core.drops.full = core.drops.full.saturating_add(1);
                return;
            };
            is_repetition = self.acknowledge_provisional(core, fork, response, essentials, &description);
        }
        if self.stage == Stage::Inviting && !self.is_hang_up_requested && !is_repetition {
            let is_forwarded = self.is_forwarded;
            self.emit(core, CallEvent::Provisional(ProvisionalResponse { status, description, is_forwarded }));
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

    /// Returns the dialog of a response to an INVITE that was sent on this flow. Creates it if there is room.
    fn fork_of(&mut self, message: &Message, essentials: &Essentials<'_>, flow: FlowId) -> Option<u32> {
        // In a response, the peer's tag is that of To.
        let tag = essentials.to.tag();
        if let Some(fork) = self.fork_by_tag(tag) {
            return Some(fork);
        }
        if self.forks.len() >= MAX_FORKS {
            // A fork without a 2xx makes room for one with it.
            let is_success = message.status().is_some_and(|status| status >= 200);
            let early = self.forks.iter().position(|fork| !fork.is_confirmed).filter(|_| is_success)?;
            let dropped = self.forks.remove(early);
            self.highest_cseq = self.highest_cseq.max(dropped.dialog.local_cseq());
        }
        let dialog = Dialog::new((&self.local_party(), &self.setup.target), message, essentials);
        Some(self.add_fork(dialog, flow))
    }

    pub(super) fn add_fork(&mut self, mut dialog: Dialog, flow: FlowId) -> u32 {
        // It may be a dialog that made room for another one, and its numbers must not be used again.
        dialog.continue_after(self.highest_cseq);
        self.last_fork = self.last_fork.saturating_add(1);
        self.forks.push(Fork::new(self.last_fork, dialog, flow, self.setup.offer.clone()));
        self.last_fork
    }

    fn handle_success(&mut self, core: &mut Core, key: ClientKey, response: &Message, essentials: &Essentials<'_>) {
        self.may_have_rung = true;
        let cseq = essentials.cseq.number;
        let flow = self.sent_invite(key).map_or(self.flow, |invite| invite.flow);
        let Some(fork_id) = self.fork_of(response, essentials, flow) else {
            core.drops.full = core.drops.full.saturating_add(1);
            return;
        };
        if self.acknowledge_again(core, fork_id, cseq) || cseq > self.cseq {
            self.repeat_bye(core, fork_id);
            return;
        }
        let is_current = cseq == self.cseq;
        if let Some(invite) = self.invite.as_mut().filter(|_| is_current) {
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
        let invite = self.sent_invite(key).map(|invite| invite.message.clone());
        self.acknowledge_success(core, fork_id, invite.as_ref(), cseq);
        match self.stage {
            Stage::Inviting if is_ended_by_peer => self.finish(core, EndCause::PeerHungUp { q850: None, reason: None }),
            Stage::Inviting if self.is_hang_up_requested => {
                self.send_bye(core, fork_id);
                self.close(core, Closing::Cancelled);
            }
            Stage::Inviting => {
                self.stage = Stage::Established(fork_id);
                self.stage_ends_at = None;
                // After a redirection, the server of an earlier INVITE may answer.
                self.path = core.flow(flow).or(self.path);
                self.flow = flow;
                self.reject_early_offers(core);
                // The proxy cancels the other forks. If one sends a 2xx all the same, it is hung up in its own dialog.
                self.requests.retain(|request| request.fork == fork_id || request.purpose == Purpose::Bye);
                if let Some(fork) = self.fork(fork_id) {
                    fork.timer = new_timer;
                }
                let is_forwarded = self.is_forwarded;
                self.emit(core, CallEvent::Established(Established { description, is_updated, is_forwarded }));
                // The answer is to an INVITE that was sent again since. Its successor may ring another phone.
                if self.invite.as_ref().is_some_and(|invite| invite.is_proceeding) {
                    self.send_cancel(core);
                }
            }
            Stage::Redirecting | Stage::Established(_) | Stage::Closing(_) | Stage::Over if is_ended_by_peer => {}
            Stage::Redirecting | Stage::Established(_) | Stage::Closing(_) | Stage::Over => {
                self.send_bye(core, fork_id);
                self.keep_for_retransmissions(core);
            }
        }
    }

    fn handle_rejection(&mut self, core: &mut Core, status: u16, response: &Message) {
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
        let rejection = rejection(status, response);
        let cause = match status {
            300..=399 => self.redirect(core, rejection, response),
            401 | 407 => self.authorize_again(core, rejection, response),
            422 => self.raise_interval(core, rejection, response),
            _ => Some(EndCause::Rejected(rejection)),
        };
        if let Some(cause) = cause {
            self.finish(core, cause);
        }
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
        let Some(fork) = self.forks.iter().find(|fork| fork.id == fork_id) else { return false };
        let Some(server) = core.flow(fork.flow) else { return !fork.acks.is_empty() };
        let Some((_, ack)) = fork.acks.iter().find(|(number, _)| *number == cseq) else { return false };
        let ack = ack.clone();
        core.send(fork.flow, fork.dialog.destination(&server), ack);
        true
    }

    /// Acknowledges a 2xx within its dialog, with the credentials of its INVITE (RFC 3261, 13.2.2.4 and 22.1).
    pub(super) fn acknowledge_success(&mut self, core: &mut Core, fork_id: u32, invite: Option<&Message>, cseq: u32) {
        let key = core.new_client_key();
        let Some(fork) = self.fork(fork_id) else { return };
        let Some(flow) = core.flow(fork.flow) else { return };
        let mut builder = fork.dialog.request(&Method::Ack, cseq, &super::write::via(&flow, key));
        for name in [header::AUTHORIZATION, header::PROXY_AUTHORIZATION] {
            for value in invite.into_iter().flat_map(|invite| invite.header_values(name)) {
                builder = builder.header(name, value);
            }
        }
        let Ok(ack) = builder.build() else { return };
        if fork.acks.len() >= MAX_ACKS {
            fork.acks.remove(1);
        }
        fork.acks.push((cseq, ack.clone()));
        let destination = fork.dialog.destination(&flow);
        core.send(fork.flow, destination, ack);
    }
}

/// Maximum ACKs that a dialog keeps: those of the INVITE and of the latest re-INVITE.
const MAX_ACKS: usize = 2;

/// Returns the challenges of a response.
pub(crate) fn challenges(response: &Message) -> impl Iterator<Item = (ChallengeKind, &[u8])> {
    [ChallengeKind::Server, ChallengeKind::Proxy]
        .into_iter()
        .flat_map(|kind| response.header_values(kind.challenge_header()).map(move |value| (kind, value)))
}

/// Returns the reported parts of a final response.
pub(crate) fn rejection(status: u16, response: &Message) -> Rejection {
    Rejection {
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
/// server that waited for one. So do these Q.850 causes of the telephone network, whatever the status: cleared, busy, no
/// answer, rejected. The 18x before it may be lost.
fn may_have_rung(status: u16, q850: Option<u16>) -> bool {
    let is_servers_own = matches!(
        status,
        300..=407 | 410..=479 | 481..=485 | 488..=490 | 492..=499 | 500..=503 | 505..=599 | 604 | 606
    );
    !is_servers_own || matches!(q850, Some(16..=19 | 21))
}
