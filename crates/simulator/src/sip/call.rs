//! One call: messages, actions and time in, messages out. It does no I/O.

mod dialog;
mod invitation;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use phonegate_media::sdp::{Codec, Encryption, LocalSession, PeerOffer, RemoteMedia};
use phonegate_sip::agent::response::ResponseBuilder;
use phonegate_sip::body::session_description;
use phonegate_sip::message::{Essentials, Message, Method, header};

use self::dialog::{Bye, Dialog, InviteAnswer, RequestKey};
pub(super) use self::invitation::Invitation;
use super::requests::{Peer, capabilities, finish, refusal_of, response};

/// The first interval of retransmissions, and the longest (RFC 3261, 17.1.1.1).
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

/// The time after which a transaction ends (64 × T1). A call that has ended answers retransmissions for this long.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(32);

/// Maximum duration of a call.
const MAX_CALL: Duration = Duration::from_secs(600);

/// Number of responses within a call that are kept for retransmissions of their requests.
const MAX_RESPONSES: usize = 8;

/// What the owner of a call must do.
#[derive(Debug)]
pub(super) enum Output {
    /// Send a message.
    Send(Peer, Vec<u8>),
    /// Exchange audio with this side, from now on. It may change in a call.
    Media(RemoteMedia),
    /// The call has ended, as a sentence says. Its messages are handled until [`Call::is_finished`].
    Ended(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The INVITE has no final response.
    Ringing,
    /// Picked up.
    Answered,
    /// Ended. Retransmissions are answered.
    Over,
}

/// A call that PhoneGate placed. Times are measured from any fixed origin.
///
/// Call [`Call::poll_output`] until it returns `None` after each other method, and [`Call::handle_timeout`] at
/// [`Call::next_timeout`].
pub(super) struct Call {
    dialog: Dialog,
    session: LocalSession,
    state: State,
    invite: Message,
    peer: Peer,
    offer: PeerOffer,
    /// The latest response to an INVITE.
    invite_answer: InviteAnswer,
    /// The latest responses to other requests.
    responses: VecDeque<(RequestKey, Peer, Vec<u8>)>,
    bye: Option<Bye>,
    /// Whether BYE follows the ACK: it must not be sent before (RFC 3261, 15).
    is_bye_due: bool,
    /// When the call ends, or when its end is forgotten.
    deadline: Duration,
    outputs: VecDeque<Output>,
}

impl Call {
    /// Begins a call, and sends 100. `sip` and `rtp` are the addresses of this side, `random` names it.
    pub(super) fn new(now: Duration, invitation: Invitation, sip: SocketAddr, rtp: SocketAddr, random: u64) -> Self {
        let Invitation { invite, peer, offer, key, .. } = invitation;
        let mut call = Self {
            dialog: Dialog::new(&invite, key.cseq, sip, random),
            session: LocalSession::new(rtp, random, Encryption::Off),
            state: State::Ringing,
            invite_answer: InviteAnswer::new(key, peer),
            responses: VecDeque::new(),
            bye: None,
            is_bye_due: false,
            deadline: now.saturating_add(MAX_CALL),
            outputs: VecDeque::new(),
            invite,
            peer,
            offer,
        };
        call.respond_to_invite(now, 100);
        call
    }

    /// Sends 180.
    pub(super) fn ring(&mut self, now: Duration) {
        self.respond_to_invite(now, 180);
    }

    /// Rejects the call as busy, if it is not answered.
    pub(super) fn decline(&mut self, now: Duration) {
        if self.state == State::Ringing {
            self.respond_to_invite(now, 486);
            self.end(now, "The telephone rejected the call as busy.");
        }
    }

    /// Answers the call, if it rings.
    pub(super) fn pick_up(&mut self, now: Duration) {
        if self.state != State::Ringing {
            return;
        }
        self.state = State::Answered;
        let description = self.session.answer(&self.offer);
        self.accept_invite(now, &self.invite.clone(), self.peer, Some(description));
        self.outputs.push_back(Output::Media(self.offer.remote().clone()));
    }

    /// Ends the call, if it was answered.
    pub(super) fn hang_up(&mut self, now: Duration) {
        if self.state == State::Answered {
            self.send_bye(now);
            self.end(now, "The telephone hung up.");
        }
    }

    /// Ends the call, whether or not it was answered, for a reason.
    pub(super) fn stop(&mut self, now: Duration, reason: &'static str) {
        match self.state {
            State::Ringing => self.respond_to_invite(now, 480),
            State::Answered => self.send_bye(now),
            State::Over => {}
        }
        self.end(now, reason);
    }

    /// Handles a message with the Call-ID of this call.
    pub(super) fn receive(&mut self, now: Duration, message: &Message, peer: Peer) {
        let Ok(essentials) = message.essentials() else { return };
        let Some(method) = message.method() else {
            self.handle_response(message, &essentials);
            return;
        };
        let key = RequestKey::new(&essentials);
        if *method == Method::Ack {
            self.handle_ack(now, &key);
            return;
        }
        if *method == Method::Invite && key == self.invite_answer.key {
            self.invite_answer.peer = peer;
            self.send_invite_answer();
            return;
        }
        if let Some((_, to, bytes)) = self.responses.iter().find(|(known, ..)| *known == key) {
            self.outputs.push_back(Output::Send(Peer { connection: peer.connection, ..*to }, bytes.clone()));
            return;
        }
        if essentials.from.tag() != self.dialog.remote_tag() {
            self.respond(message, peer, 481);
            return;
        }
        if *method == Method::Cancel {
            self.handle_cancel(now, message, &key, peer);
            return;
        }
        if essentials.to.tag() != Some(self.dialog.tag()) {
            self.respond(message, peer, 481);
            return;
        }
        if !self.dialog.accept_cseq(essentials.cseq.number) {
            self.respond(message, peer, 500);
            return;
        }
        match method {
            Method::Bye => self.handle_bye(now, message, peer),
            _ if self.state == State::Over => self.respond(message, peer, 481),
            Method::Invite | Method::Update => self.handle_offer(now, message, key, peer),
            Method::Options => self.respond_with(message, peer, capabilities(self.response(message, peer, 200))),
            method => {
                let refusal = self.response(message, peer, refusal_of(method));
                self.respond_with(message, peer, capabilities(refusal));
            }
        }
    }

    fn handle_ack(&mut self, now: Duration, key: &RequestKey) {
        if key.cseq != self.invite_answer.key.cseq {
            return;
        }
        self.invite_answer.acknowledge();
        if std::mem::take(&mut self.is_bye_due) {
            self.send_bye(now);
        }
    }

    fn handle_cancel(&mut self, now: Duration, message: &Message, key: &RequestKey, peer: Peer) {
        let invite = &self.invite_answer.key;
        if (key.cseq, &key.branch) != (invite.cseq, &invite.branch) {
            self.respond(message, peer, 481);
            return;
        }
        self.respond(message, peer, 200);
        if self.state == State::Ringing {
            self.respond_to_invite(now, 487);
            self.end(now, "PhoneGate cancelled the call.");
        }
    }

    fn handle_bye(&mut self, now: Duration, message: &Message, peer: Peer) {
        self.respond(message, peer, 200);
        if self.state == State::Ringing {
            self.respond_to_invite(now, 487);
        }
        self.invite_answer.acknowledge();
        self.is_bye_due = false;
        self.end(now, "PhoneGate hung up.");
    }

    /// Handles a re-INVITE or UPDATE: a new description of the audio, or a refresh without one.
    fn handle_offer(&mut self, now: Duration, message: &Message, key: RequestKey, peer: Peer) {
        let is_invite = key.method == Method::Invite;
        if self.state != State::Answered || self.invite_answer.awaits_ack() {
            self.respond(message, peer, 491);
            return;
        }
        let mut media = None;
        let description = match session_description(message) {
            Some(offer) => match self.session.check_offer(offer) {
                Ok(offer) if offer.remote().codec == Codec::Pcmu => {
                    media = Some(offer.remote().clone());
                    Some(self.session.answer(&offer))
                }
                _ => {
                    self.respond(message, peer, 488);
                    return;
                }
            },
            None => is_invite.then(|| self.session.offer()),
        };
        self.dialog.refresh_target(message);
        if is_invite {
            self.invite_answer = InviteAnswer::new(key, peer);
            self.accept_invite(now, message, peer, description);
        } else {
            let mut response = self.response(message, peer, 200).header(header::CONTACT, self.dialog.contact(peer));
            if let Some(description) = description {
                response = response.body("application/sdp", description.into_bytes());
            }
            self.respond_with(message, peer, response);
        }
        self.outputs.extend(media.map(Output::Media));
    }

    fn handle_response(&mut self, message: &Message, essentials: &Essentials<'_>) {
        let is_of_bye = self.bye.as_ref().is_some_and(|bye| bye.is_answered_by(essentials));
        if is_of_bye && message.status().is_some_and(|status| status >= 200) {
            self.bye = None;
        }
    }

    fn accept_invite(&mut self, now: Duration, invite: &Message, peer: Peer, description: Option<String>) {
        let mut response = capabilities(self.response(invite, peer, 200))
            .header(header::CONTACT, self.dialog.contact(peer))
            .body("application/sdp", description.unwrap_or_default().into_bytes());
        for route in invite.header_values(header::RECORD_ROUTE) {
            response = response.header(header::RECORD_ROUTE, route);
        }
        self.set_invite_answer(now, 200, peer, response);
    }

    /// Responds to the first INVITE without a description.
    fn respond_to_invite(&mut self, now: Duration, status: u16) {
        let mut response = self.response(&self.invite, self.peer, status);
        if status == 180 {
            response = response.header(header::CONTACT, self.dialog.contact(self.peer));
        }
        self.set_invite_answer(now, status, self.peer, response);
    }

    fn set_invite_answer(&mut self, now: Duration, status: u16, peer: Peer, response: ResponseBuilder) {
        if let Some((to, bytes)) = finish(response, peer) {
            self.invite_answer.set(now, status, to, bytes);
            self.send_invite_answer();
        }
    }

    fn send_invite_answer(&mut self) {
        self.outputs.push_back(Output::Send(self.invite_answer.peer, self.invite_answer.bytes.clone()));
    }

    fn response(&self, request: &Message, peer: Peer, status: u16) -> ResponseBuilder {
        response(request, peer, status, self.dialog.tag())
    }

    fn respond(&mut self, request: &Message, peer: Peer, status: u16) {
        self.respond_with(request, peer, self.response(request, peer, status));
    }

    fn respond_with(&mut self, request: &Message, peer: Peer, response: ResponseBuilder) {
        let Some((to, bytes)) = finish(response, peer) else { return };
        if let Ok(essentials) = request.essentials() {
            if self.responses.len() == MAX_RESPONSES {
                self.responses.pop_front();
            }
            self.responses.push_back((RequestKey::new(&essentials), to, bytes.clone()));
        }
        self.outputs.push_back(Output::Send(to, bytes));
    }

    fn send_bye(&mut self, now: Duration) {
        if self.invite_answer.awaits_ack() {
            self.is_bye_due = true;
            return;
        }
        // Requests of this side go where the call came from, even if its Via names another port for responses.
        if let Some(bye) = self.dialog.bye(now, self.peer) {
            self.outputs.push_back(Output::Send(bye.peer, bye.bytes.clone()));
            self.bye = Some(bye);
        }
    }

    fn end(&mut self, now: Duration, result: &'static str) {
        if self.state != State::Over {
            self.state = State::Over;
            self.deadline = now.saturating_add(TRANSACTION_TIMEOUT);
            self.outputs.push_back(Output::Ended(result));
        }
    }

    /// Returns the next output.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when [`Call::handle_timeout`] must be called.
    pub(super) fn next_timeout(&self) -> Duration {
        let bye = self.bye.as_ref().map(Bye::next_timeout);
        [self.invite_answer.next_timeout(), bye].into_iter().flatten().fold(self.deadline, Duration::min)
    }

    /// Handles what is due.
    pub(super) fn handle_timeout(&mut self, now: Duration) {
        if self.invite_answer.has_expired(now) {
            self.invite_answer.acknowledge();
            self.is_bye_due = false;
            // Without an ACK, the call ends by BYE all the same (RFC 3261, 13.3.1.4).
            if self.invite_answer.is_success() {
                self.send_bye(now);
                self.end(now, "PhoneGate did not acknowledge the answer, so the call ended.");
            }
        } else if self.invite_answer.is_repeated(now) {
            self.send_invite_answer();
        }
        if let Some(bye) = &mut self.bye {
            match bye.handle_timeout(now) {
                dialog::Repeat::Send => self.outputs.push_back(Output::Send(bye.peer, bye.bytes.clone())),
                dialog::Repeat::Wait => {}
                dialog::Repeat::GiveUp => self.bye = None,
            }
        }
        if now >= self.deadline && self.state != State::Over {
            self.stop(now, "The call lasted ten minutes, so the simulator ended it.");
        }
    }

    /// Returns whether the call has ended, and the other side has acknowledged that.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.state == State::Over && self.bye.is_none() && !self.invite_answer.is_open()
    }

    /// Returns whether the call has ended, and no retransmission is expected.
    pub(super) fn is_finished(&self, now: Duration) -> bool {
        self.state == State::Over && now >= self.deadline
    }
}

#[cfg(test)]
mod tests;
