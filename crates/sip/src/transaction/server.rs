//! Transactions of requests that the peer sends (RFC 3261, 17.2).

use std::net::SocketAddr;
use std::time::Duration;

use super::client::TimeoutAction;
use crate::agent::config::TimerValues;
use crate::agent::event::CallId;
use crate::agent::flow::FlowId;
use crate::message::{Essentials, Message, Method};

/// Identifies a server transaction (RFC 3261, 17.2.3). An ACK has the key of its INVITE.
///
/// The branch alone is not enough: it could be guessed, and peers that follow RFC 2543 send none. So the key has every
/// field that identifies the request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServerKey {
    call_id: String,
    from_tag: Option<String>,
    cseq: u32,
    method: Method,
    sent_by: String,
    branch: Option<String>,
}

impl ServerKey {
    pub(crate) fn new(essentials: &Essentials<'_>) -> Self {
        let via = &essentials.via;
        let method = match &essentials.cseq.method {
            Method::Ack => Method::Invite,
            method => method.clone(),
        };
        Self {
            call_id: essentials.call_id.to_owned(),
            from_tag: essentials.from.tag().map(str::to_owned),
            cseq: essentials.cseq.number,
            method,
            sent_by: format!("{}:{}", via.host(), via.port().unwrap_or_default()),
            branch: via.branch().map(str::to_owned),
        }
    }

    /// Returns the key of the INVITE that a CANCEL with this key cancels (RFC 3261, 9.2).
    pub(crate) fn cancelled_invite(&self) -> Self {
        Self { method: Method::Invite, ..self.clone() }
    }
}

/// A server transaction of a call.
pub(crate) struct ServerTransaction {
    pub(crate) key: ServerKey,
    pub(crate) call: CallId,
    pub(crate) flow: FlowId,
    pub(crate) source: SocketAddr,
    /// Length of the request, in bytes.
    pub(crate) request_bytes: usize,
    is_invite: bool,
    is_reliable: bool,
    state: State,
    retransmit_at: Option<Duration>,
    interval: Duration,
    expires_at: Duration,
}

enum State {
    /// The caller has not responded. The response will be written from the request.
    Waiting(Message),
    /// The response was sent. That to an INVITE is retransmitted until the ACK arrives.
    Responded { response: Vec<u8>, is_success: bool },
    /// The ACK arrived.
    Acknowledged,
}

impl ServerTransaction {
    /// Starts the transaction of a request. It times out at `respond_by` if the caller does not respond.
    pub(crate) fn new(
        (key, call): (ServerKey, CallId),
        (flow, source): (FlowId, SocketAddr),
        request: Message,
        is_reliable: bool,
        respond_by: Duration,
    ) -> Self {
        Self {
            is_invite: request.method() == Some(&Method::Invite),
            key,
            call,
            flow,
            source,
            request_bytes: request.as_bytes().len(),
            is_reliable,
            state: State::Waiting(request),
            retransmit_at: None,
            interval: Duration::ZERO,
            expires_at: respond_by,
        }
    }

    /// Returns the request, if there is no response yet.
    pub(crate) fn pending_request(&self) -> Option<&Message> {
        match &self.state {
            State::Waiting(request) => Some(request),
            State::Responded { .. } | State::Acknowledged => None,
        }
    }

    /// Returns the response, for a retransmission.
    pub(crate) fn response(&self) -> Option<&[u8]> {
        match &self.state {
            State::Responded { response, .. } => Some(response),
            State::Waiting(_) | State::Acknowledged => None,
        }
    }

    /// Records the response that is sent now.
    pub(crate) fn respond(&mut self, now: Duration, response: Vec<u8>, is_success: bool, timers: &TimerValues) {
        // A 2xx is retransmitted over streams as well, because a proxy may lose it (RFC 3261, 13.3.1.4).
        let repeats = self.is_invite && (is_success || !self.is_reliable);
        self.interval = timers.t1;
        self.retransmit_at = repeats.then(|| now.saturating_add(timers.t1));
        let keep = if self.is_invite || !self.is_reliable { timers.timeout() } else { Duration::ZERO };
        self.expires_at = now.saturating_add(keep);
        self.state = State::Responded { response, is_success };
    }

    /// Handles the ACK of an INVITE.
    pub(crate) fn acknowledge(&mut self, now: Duration, timers: &TimerValues) {
        if self.is_invite && self.response().is_some() {
            self.state = State::Acknowledged;
            self.retransmit_at = None;
            // Timer I: on a stream, no other ACK will come (RFC 3261, 17.2.1).
            self.expires_at = if self.is_reliable { now } else { now.saturating_add(timers.t4) };
        }
    }

    pub(crate) fn next_timeout(&self) -> Duration {
        self.retransmit_at.map_or(self.expires_at, |at| at.min(self.expires_at))
    }

    /// Handles the timers that are due. [`TimeoutAction::TimedOut`] means that the caller did not respond, or that the
    /// peer did not acknowledge a 2xx.
    pub(crate) fn handle_timeout(&mut self, now: Duration, timers: &TimerValues) -> TimeoutAction {
        if self.expires_at <= now {
            return match self.state {
                State::Waiting(_) => TimeoutAction::TimedOut,
                State::Responded { is_success: true, .. } if self.is_invite => TimeoutAction::TimedOut,
                State::Responded { .. } | State::Acknowledged => TimeoutAction::Remove,
            };
        }
        if self.retransmit_at.is_none_or(|at| at > now) {
            return TimeoutAction::Wait;
        }
        self.interval = self.interval.saturating_mul(2).min(timers.t2);
        self.retransmit_at = Some(now.saturating_add(self.interval));
        TimeoutAction::Retransmit
    }
}
