//! One outbound call: from its INVITE until no phone can ring because of it.
//!
//! - `write` writes INVITE, ACK and CANCEL;
//! - `responses` handles the responses to the INVITE, `forwarding` what they report, `fork` the dialogs that they create;
//! - `retries` sends the INVITE again after a challenge, a 422 or a redirection;
//! - `in_dialog` sends PRACK, BYE and refreshes, and handles the responses to them;
//! - `uas` handles the peer's requests in the call;
//! - `session_timer` keeps the session alive (RFC 4028);
//! - `ending` cancels, hangs up, and reports the end.

mod ending;
mod fork;
mod forwarding;
mod in_dialog;
mod responses;
mod retries;
mod session_timer;
mod uas;
mod write;

use std::time::Duration;

use crate::agent::core::{Core, Owner};
use crate::agent::event::{CallEvent, CallId, EndCause, Event, OutboundCall, RequestId, RetryReason};
use crate::agent::flow::{Flow, FlowId, Transport};
use crate::agent::timers::TimerKey;
use crate::auth::{Authenticator, RequestAuth};
use crate::message::{Essentials, Message};
use crate::transaction::ClientKey;

pub(crate) use responses::{challenges, rejection};
pub(crate) use uas::{capabilities, unsupported};
pub(crate) use write::{ack_or_cancel, contact, own_message, via};

use fork::Fork;
use session_timer::SessionTimer;

/// Maximum forks of one call: dialogs that responses to the INVITE create.
const MAX_FORKS: usize = 16;

/// Maximum retries of the INVITE with other content: challenges, session intervals and redirections together.
const MAX_RETRIES: u32 = 12;

/// An outbound call.
pub(crate) struct Call {
    id: CallId,
    pub(crate) flow: FlowId,
    /// The addresses of the flow, kept after it is closed. `None` if it was never open.
    path: Option<Flow>,
    setup: OutboundCall,
    /// The Call-ID, one for the whole call.
    pub(crate) sip_call_id: String,
    from_tag: String,
    /// The highest CSeq of an INVITE outside of a dialog.
    cseq: u32,
    auth: Option<Authenticator>,
    invite_auth: RequestAuth,
    session_interval: Option<u32>,
    /// The smallest session interval that the peer accepts, if it rejected a smaller one.
    min_interval: Option<u32>,
    retries: u32,
    /// The Request-URIs before the redirections so far.
    targets: Vec<String>,
    /// Reliable provisional responses that were acknowledged, in all forks.
    pracks: u32,
    stage: Stage,
    /// The INVITE that was sent last.
    invite: Option<SentInvite>,
    /// The INVITEs before it. A phone may still answer one of them. At most [`MAX_RETRIES`].
    earlier_invites: Vec<SentInvite>,
    forks: Vec<Fork>,
    last_fork: u32,
    /// The highest CSeq in a dialog that was dropped.
    highest_cseq: u32,
    requests: Vec<SentRequest>,
    peer_requests: Vec<PeerRequest>,
    is_hang_up_requested: bool,
    /// Whether a BYE got no response, so that its phone may still be off the hook.
    has_failed_bye: bool,
    may_have_rung: bool,
    is_forwarded: bool,
    /// Whether the first INVITE was sent over TLS. If so, all others must be.
    is_encrypted: bool,
    /// When the stage times out: a call that rings for too long, a server that does not respond to a CANCEL, or the end
    /// of the time in which retransmissions are expected.
    stage_ends_at: Option<Duration>,
}

/// The state of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The INVITE has no final response.
    Inviting,
    /// The caller decides whether to follow a redirection.
    Redirecting,
    /// This fork sent the 2xx that established the call.
    Established(u32),
    /// This side ends the call, and reports the end when the peer has confirmed it.
    Closing(Closing),
    /// The end was reported. A phone that may still ring is cancelled or hung up when the server responds.
    Over,
}

/// Why this side ends a call, while it waits for the peer's confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    Cancelled,
    HungUp,
}

impl Closing {
    fn cause(self) -> EndCause {
        match self {
            Self::Cancelled => EndCause::Cancelled,
            Self::HungUp => EndCause::HungUp,
        }
    }
}

/// An INVITE that was sent.
struct SentInvite {
    key: ClientKey,
    flow: FlowId,
    /// The addresses of the flow, kept after it is closed.
    path: Flow,
    /// The INVITE as it was sent, from which ACK and CANCEL are written.
    message: Message,
    destination: std::net::SocketAddr,
    /// Whether a provisional response came. Before that, the INVITE must not be cancelled (RFC 3261, 9.1).
    is_proceeding: bool,
    is_cancelled: bool,
    /// Whether a final response came, or is no longer expected.
    is_final: bool,
}

/// A request of this side within a dialog that waits for its final response.
struct SentRequest {
    key: ClientKey,
    fork: u32,
    purpose: Purpose,
    auth: RequestAuth,
    tries: u32,
}

/// The purpose of a request, from which it is written again after a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Purpose {
    /// Acknowledges a provisional response; the value of RAck.
    Prack(String),
    Bye,
    Update,
    /// A re-INVITE that refreshes the session.
    Reinvite,
}

/// A request of the peer that waits for the caller's response, or an INVITE that waits for its ACK.
struct PeerRequest {
    id: RequestId,
    fork: u32,
    kind: PeerRequestKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PeerRequestKind {
    Offer { is_invite: bool, has_description: bool, cseq: u32, is_accepted: bool },
    Info,
}

impl Call {
    /// Creates a call and sends its INVITE.
    pub(crate) fn place(core: &mut Core, id: CallId, flow: FlowId, setup: OutboundCall) -> Self {
        let mut call = Self {
            id,
            flow,
            path: core.flow(flow),
            sip_call_id: core.random_token(),
            from_tag: core.random_token(),
            cseq: 0,
            auth: setup.credentials.clone().map(Authenticator::new),
            invite_auth: RequestAuth::default(),
            session_interval: setup.session_interval.map(|seconds| seconds.max(session_timer::MIN_SECONDS)),
            min_interval: None,
            retries: 0,
            targets: Vec::new(),
            pracks: 0,
            stage: Stage::Inviting,
            invite: None,
            earlier_invites: Vec::new(),
            forks: Vec::new(),
            last_fork: 0,
            highest_cseq: 0,
            requests: Vec::new(),
            peer_requests: Vec::new(),
            is_hang_up_requested: false,
            has_failed_bye: false,
            may_have_rung: false,
            is_forwarded: false,
            is_encrypted: core.flow(flow).is_some_and(|flow| flow.transport == Transport::Tls),
            stage_ends_at: None,
            setup,
        };
        call.send_invite(core);
        call
    }

    /// Returns whether the call can be removed.
    pub(crate) fn is_finished(&self) -> bool {
        self.stage == Stage::Over && self.stage_ends_at.is_none() && self.requests.is_empty()
    }

    /// Returns whether this side may still have to send on this flow: the call continues, or its phone may ring or be off
    /// the hook.
    pub(crate) fn needs_flow(&self, flow: FlowId) -> bool {
        let needs_bye = |fork: &Fork| fork.flow == flow && fork.is_bye_unconfirmed && !fork.is_ended_by_peer;
        let is_invited = self.invite.as_ref().is_some_and(|invite| invite.flow == flow && !invite.is_final);
        is_invited || self.flow == flow && self.stage != Stage::Over || self.forks.iter().any(needs_bye)
    }

    /// Returns until when an ended call is kept only for retransmissions. `None` if it is kept for another
    /// reason.
    pub(crate) fn kept_until(&self) -> Option<Duration> {
        let is_open = self.invite.as_ref().is_some_and(|invite| !invite.is_final);
        self.stage_ends_at.filter(|_| self.stage == Stage::Over && !is_open && self.requests.is_empty())
    }

    /// Returns the INVITE with this key, if a message that arrived on this flow may come from its server.
    pub(crate) fn invite_on(&self, flow: &Flow, key: ClientKey) -> Option<&Message> {
        let invite = self.sent_invite(key)?;
        invite.path.has_peer_of(flow).then_some(&invite.message)
    }

    /// Returns the INVITE with this key, whether or not its transaction has ended.
    fn sent_invite(&self, key: ClientKey) -> Option<&SentInvite> {
        self.invite.iter().chain(&self.earlier_invites).find(|invite| invite.key == key)
    }

    /// Returns whether this is this side's tag.
    pub(crate) fn has_from_tag(&self, tag: Option<&str>) -> bool {
        tag == Some(&self.from_tag)
    }

    /// Returns whether a message that arrived on this flow may come from the call's server.
    pub(crate) fn is_reached_by(&self, flow: &Flow) -> bool {
        self.path.is_some_and(|path| path.has_peer_of(flow))
    }

    /// Handles a response to the request with this key. Its transaction may have ended.
    pub(crate) fn handle_response(
        &mut self,
        core: &mut Core,
        key: ClientKey,
        response: &Message,
        essentials: &Essentials<'_>,
    ) {
        match self.requests.iter().position(|request| request.key == key) {
            Some(index) => self.handle_in_dialog_response(core, index, response, essentials),
            // The response to a CANCEL changes nothing: the INVITE gets its own (RFC 3261, 9.1).
            None if essentials.cseq.method != crate::message::Method::Invite => {}
            None => self.handle_invite_response(core, key, response, essentials),
        }
        self.update_timer(core);
    }

    /// Handles a request that got no final response in time or could not be sent.
    pub(crate) fn handle_request_failure(&mut self, core: &mut Core, key: ClientKey, failure: RequestFailure) {
        if let Some(index) = self.requests.iter().position(|request| request.key == key) {
            self.handle_in_dialog_failure(core, index, failure);
        } else if self.invite.as_ref().is_some_and(|invite| invite.key == key) {
            self.handle_invite_failure(core, failure);
        } else if let Some(invite) = self.invite.as_mut().filter(|invite| invite.key.cancel() == key) {
            // If another provisional response shows that the phone still rings, the CANCEL is sent again.
            invite.is_cancelled = false;
        }
        self.update_timer(core);
    }

    /// Handles the call's own timer.
    pub(crate) fn handle_timeout(&mut self, core: &mut Core) {
        if self.stage_ends_at.is_some_and(|at| at <= core.now) {
            self.stage_ends_at = None;
            self.handle_stage_timeout(core);
        }
        self.handle_session_timers(core);
        self.update_timer(core);
    }

    /// Moves the INVITEs and dialogs of the call from one flow to another.
    pub(crate) fn replace_flow(&mut self, core: &mut Core, old: FlowId, new: FlowId) {
        let Some(path) = core.flow(new) else { return };
        let is_invite_moved = self.invite.as_ref().is_some_and(|invite| invite.flow == old);
        let mut moved = Vec::new();
        for fork in self.forks.iter_mut().filter(|fork| fork.flow == old) {
            fork.flow = new;
            moved.push(fork.id);
        }
        if self.flow == old {
            (self.flow, self.path) = (new, Some(path));
        }
        for invite in self.invite.iter_mut().chain(&mut self.earlier_invites).filter(|invite| invite.flow == old) {
            (invite.flow, invite.path, invite.destination) = (new, path, path.remote);
        }
        if is_invite_moved {
            self.cancel_again(core);
        }
        for fork in moved {
            self.repeat_bye(core, fork);
        }
        self.update_timer(core);
    }

    /// Cancels the INVITE on its new flow, unless the call still waits for its answer.
    fn cancel_again(&mut self, core: &mut Core) {
        // The connection of the INVITE is closed, but the server may have received it, so it is cancelled.
        if self.invite_is_open() && self.stage != Stage::Inviting {
            // A CANCEL on the old connection was lost, or its response was.
            if let Some(invite) = &mut self.invite
                && core.client(invite.key.cancel()).is_some_and(|(_, cancel)| cancel.is_open())
            {
                core.remove_client(invite.key.cancel());
                invite.is_cancelled = false;
            }
            self.send_cancel(core);
        }
    }

    fn invite_is_open(&self) -> bool {
        self.invite.as_ref().is_some_and(|invite| !invite.is_final)
    }

    fn owner(&self) -> Owner {
        Owner::Call(self.id)
    }

    fn emit(&self, core: &mut Core, event: CallEvent) {
        core.push_event(Event::Call(self.id, event));
    }

    fn fork(&mut self, id: u32) -> Option<&mut Fork> {
        self.forks.iter_mut().find(|fork| fork.id == id)
    }

    fn fork_by_tag(&self, tag: Option<&str>) -> Option<u32> {
        self.forks.iter().find(|fork| fork.dialog.remote_tag() == tag).map(|fork| fork.id)
    }

    /// Counts a retry of the INVITE. Returns false if there were too many.
    fn may_retry(&mut self) -> bool {
        self.retries = self.retries.saturating_add(1);
        self.retries <= MAX_RETRIES
    }

    fn retry(&mut self, core: &mut Core, reason: RetryReason) {
        // Higher than in all requests of the call so far, so that no server confuses them.
        self.cseq = self.forks.iter().map(|fork| fork.dialog.local_cseq()).fold(self.cseq, u32::max);
        self.highest_cseq = self.highest_cseq.max(self.cseq);
        self.forks.retain(|fork| fork.is_confirmed);
        self.earlier_invites.extend(self.invite.take());
        self.send_invite(core);
        // If the INVITE could not be sent, the call has ended.
        if self.stage == Stage::Inviting {
            self.emit(core, CallEvent::Retried(reason));
        }
    }

    fn update_timer(&mut self, core: &mut Core) {
        let timers = self.forks.iter().filter_map(|fork| fork.timer.as_ref().map(SessionTimer::next_timeout));
        let next = timers.chain(self.stage_ends_at).min();
        core.timers.set(TimerKey::Call(self.id), next);
    }
}

/// Why a request failed without a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestFailure {
    /// No final response came in time.
    TimedOut,
    /// The connection closed.
    ConnectionLost,
    /// No byte was sent.
    NotSent,
}
