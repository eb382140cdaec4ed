//! Transactions of requests that this side sends (RFC 3261, 17.1).

use std::net::SocketAddr;
use std::time::Duration;

use crate::agent::config::TimerValues;
use crate::agent::flow::{FlowId, TransmitId};
use crate::invite::own_message;
use crate::message::{Message, Method};

/// Begins every branch of RFC 3261 (8.1.1.7).
const MAGIC_COOKIE: &str = "z9hG4bK";

/// Identifies a client transaction by the random branch and by whether its method is CANCEL, which has the branch of
/// its INVITE (RFC 3261, 17.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ClientKey {
    pub(crate) branch: u128,
    pub(crate) is_cancel: bool,
}

impl ClientKey {
    pub(crate) fn new(branch: u128) -> Self {
        Self { branch, is_cancel: false }
    }

    /// Returns the key of the CANCEL of this INVITE.
    pub(crate) fn cancel(self) -> Self {
        Self { is_cancel: true, ..self }
    }

    /// Writes the parameter `branch`.
    pub(crate) fn branch_text(self) -> String {
        format!("{MAGIC_COOKIE}{:032x}", self.branch)
    }

    /// Parses the parameter `branch` of a response. Returns `None` if this side cannot have written it.
    pub(crate) fn from_branch(text: &str, is_cancel: bool) -> Option<Self> {
        let digits = text.strip_prefix(MAGIC_COOKIE)?;
        let is_ours = digits.len() == 32 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let branch = u128::from_str_radix(digits, 16).ok().filter(|_| is_ours)?;
        Some(Self { branch, is_cancel })
    }
}

/// A client transaction.
pub(crate) struct ClientTransaction {
    pub(crate) flow: FlowId,
    pub(crate) destination: SocketAddr,
    /// Empty if it could not be written. Kept as bytes: transactions stay for 64*T1 after each call, and a parsed message
    /// needs more memory than parsing it for a few responses is worth.
    request: Vec<u8>,
    /// The ACK of the final response to an INVITE, unless that is a 2xx. Empty until then.
    ack: Vec<u8>,
    is_invite: bool,
    is_reliable: bool,
    state: State,
    interval: Duration,
    retransmit_at: Option<Duration>,
    expires_at: Option<Duration>,
    /// Number of transmissions of the request, and the latest one.
    transmissions: u32,
    last_transmit: Option<TransmitId>,
    has_failed: bool,
    /// Whether a failure to send fails the transaction even over UDP.
    fails_at_once: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No response came ("calling" and "trying").
    Waiting,
    /// A provisional response came.
    Proceeding,
    /// A final response came, other than a 2xx to an INVITE.
    Completed,
    /// A 2xx to an INVITE came; more may come from other forks (RFC 6026, 7.2).
    Accepted,
}

/// How to handle a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseAction {
    /// Nothing: it is a retransmission.
    Ignore,
    /// The owner handles it.
    Deliver,
    /// The owner handles it, and this side acknowledges it.
    DeliverAndAcknowledge,
    /// This side acknowledges it again.
    Acknowledge,
}

/// The action when a timer is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeoutAction {
    /// Nothing yet.
    Wait,
    /// The message is retransmitted.
    Retransmit,
    /// No final response came: the transaction ends, and its owner is notified.
    TimedOut,
    /// The transaction ends.
    Remove,
}

impl ClientTransaction {
    /// Starts the transaction of a request that is sent now. It times out after `timeout` without a response.
    pub(crate) fn new(
        now: Duration,
        (flow, destination): (FlowId, SocketAddr),
        request: Option<Message>,
        is_reliable: bool,
        (timers, timeout): (&TimerValues, Duration),
    ) -> Self {
        Self {
            flow,
            destination,
            is_invite: request.as_ref().is_some_and(|request| request.method() == Some(&Method::Invite)),
            request: request.map(|request| request.as_bytes().to_vec()).unwrap_or_default(),
            ack: Vec::new(),
            is_reliable,
            state: State::Waiting,
            interval: timers.t1,
            retransmit_at: (!is_reliable).then(|| now.saturating_add(timers.t1)),
            expires_at: Some(now.saturating_add(timeout)),
            transmissions: 0,
            last_transmit: None,
            has_failed: false,
            fails_at_once: false,
        }
    }

    /// Parses the request. Returns `None` if it could not be written.
    pub(crate) fn request(&self) -> Option<Message> {
        own_message(&self.request)
    }

    /// Returns the request as it was sent. Empty if it could not be written.
    pub(crate) fn request_bytes(&self) -> &[u8] {
        &self.request
    }

    /// Returns the ACK of the final response. Empty if there is none.
    pub(crate) fn ack(&self) -> &[u8] {
        &self.ack
    }

    pub(crate) fn set_ack(&mut self, ack: Vec<u8>) {
        self.ack = ack;
    }

    /// Counts a transmission.
    pub(crate) fn sent(&mut self, transmit: TransmitId) {
        self.transmissions = self.transmissions.saturating_add(1);
        self.last_transmit = Some(transmit);
    }

    /// Returns whether the transaction fails if this transmit was not sent: it was the only one, and the request is an
    /// INVITE, is on a stream, or is a probe. An INVITE is not retransmitted then, so that it is certain that it was
    /// not sent.
    pub(crate) fn fails_without(&self, transmit: TransmitId) -> bool {
        let is_only = self.transmissions == 1 && self.last_transmit == Some(transmit) && self.state == State::Waiting;
        is_only && (self.is_invite || self.is_reliable || self.fails_at_once)
    }

    /// Makes a send failure fail the transaction, even over UDP.
    pub(crate) fn fail_at_once(&mut self) {
        self.fails_at_once = true;
    }

    /// Returns whether [`fail`](Self::fail) was called.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Returns whether no final response came.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Waiting | State::Proceeding)
    }

    /// Makes the next timeout end the transaction now, because nothing can be sent.
    pub(crate) fn fail(&mut self, now: Duration) {
        self.has_failed = true;
        self.retransmit_at = None;
        self.expires_at = Some(now);
    }

    pub(crate) fn next_timeout(&self) -> Option<Duration> {
        [self.retransmit_at, self.expires_at].into_iter().flatten().min()
    }

    /// Handles a response with this status.
    pub(crate) fn handle_response(&mut self, now: Duration, status: u16, timers: &TimerValues) -> ResponseAction {
        let is_provisional = status < 200;
        let is_success = (200..300).contains(&status);
        match self.state {
            State::Waiting | State::Proceeding if is_provisional && self.is_invite => {
                self.state = State::Proceeding;
                self.retransmit_at = None;
                // The call limits the ringing time.
                self.expires_at = None;
                ResponseAction::Deliver
            }
            State::Waiting | State::Proceeding if is_provisional => {
                self.state = State::Proceeding;
                self.interval = timers.t2;
                ResponseAction::Ignore
            }
            State::Waiting | State::Proceeding => {
                self.retransmit_at = None;
                let (state, wait, action) = match (self.is_invite, is_success) {
                    (true, true) => (State::Accepted, timers.timeout(), ResponseAction::Deliver),
                    (true, false) => (State::Completed, timers.timeout(), ResponseAction::DeliverAndAcknowledge),
                    (false, _) => (State::Completed, timers.t4, ResponseAction::Deliver),
                };
                let repeats = !self.is_reliable || state == State::Accepted;
                self.state = state;
                self.expires_at = Some(if repeats { now.saturating_add(wait) } else { now });
                action
            }
            // A fork may succeed after the final response of another (RFC 3261, 16.7, step 5).
            State::Completed | State::Accepted if self.is_invite && is_success => ResponseAction::Deliver,
            State::Completed if self.is_invite && !is_provisional => ResponseAction::Acknowledge,
            State::Completed | State::Accepted => ResponseAction::Ignore,
        }
    }

    /// Handles the timers that are due.
    pub(crate) fn handle_timeout(&mut self, now: Duration, timers: &TimerValues) -> TimeoutAction {
        if self.expires_at.is_some_and(|at| at <= now) {
            return if self.is_open() { TimeoutAction::TimedOut } else { TimeoutAction::Remove };
        }
        if self.retransmit_at.is_none_or(|at| at > now) {
            return TimeoutAction::Wait;
        }
        if self.is_invite {
            self.interval = self.interval.saturating_mul(2);
        } else if self.state == State::Waiting {
            self.interval = self.interval.saturating_mul(2).min(timers.t2);
        }
        self.retransmit_at = Some(now.saturating_add(self.interval));
        TimeoutAction::Retransmit
    }
}
