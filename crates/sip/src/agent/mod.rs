//! The user agent: calls, registrations and probes over flows that the caller owns.
//!
//! | to read about | see |
//! |---|---|
//! | the commands of the caller | `commands` |
//! | the events, and the parameters of commands | `event` |
//! | received bytes, and responses to this side's requests | `receive` |
//! | requests of peers, in calls and outside of them | `uas`, then `crate::invite` |
//! | timers that are due | `timeouts` |
//! | the state that calls, registrations and probes share | `core` |

mod budget;
mod commands;
pub(crate) mod config;
pub(crate) mod core;
mod error;
pub(crate) mod event;
pub(crate) mod flow;
mod probe;
mod receive;
pub mod response;
mod timeouts;
pub(crate) mod timers;
mod uas;
pub(crate) mod usage;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

pub use self::config::{Config, TimerValues};
pub use self::error::AgentError;
pub use self::event::{
    CallEvent, CallId, EndCause, Ended, Established, Event, NewRegistration, OutboundCall, PeerText, ProbeId,
    ProbeResult, ProvisionalResponse, RegistrationEvent, RegistrationFailure, RegistrationId, Rejection, Reply,
    RequestId, RetryReason,
};
pub use self::flow::{Flow, FlowId, Transmit, TransmitId, Transport};
pub use self::usage::{DropCounts, Usage};

use self::budget::ResponseBudget;
use self::core::Core;
use self::probe::Probe;
use self::timers::TimerKey;
use crate::invite::{Call, RequestFailure};
use crate::register::Registration;

/// Maximum rounds in which one [`UserAgent::handle_timeout`] handles timers. A handler may set a timer that is due at
/// once; at the maximum of [`Duration`], every timer is.
const MAX_TIMER_ROUNDS: usize = 16;

/// A SIP user agent that places calls, registers, and probes servers (RFC 3261). It does no I/O.
///
/// After each method call, poll [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event) until both
/// return `None`, send the bytes, and call [`handle_timeout`](Self::handle_timeout) when
/// [`next_timeout`](Self::next_timeout) is reached. Any other order is safe.
///
/// The caller measures times from any fixed origin. A time before the latest one is treated as the latest one.
///
/// All state is bounded by [`Config`]. A command beyond a limit returns an error; a message is dropped and counted in
/// [`DropCounts`].
pub struct UserAgent {
    core: Core,
    calls: BTreeMap<CallId, Call>,
    /// Calls by the Call-ID of their messages.
    call_ids: HashMap<String, CallId>,
    registrations: BTreeMap<RegistrationId, Registration>,
    probes: HashMap<ProbeId, Probe>,
    stateless_responses: ResponseBudget,
}

impl UserAgent {
    /// Creates an agent. `random` fills a buffer from an unpredictable source; Call-IDs, tags and branches are made
    /// from it.
    pub fn new(config: Config, random: impl FnMut(&mut [u8]) + Send + 'static) -> Self {
        Self {
            core: Core::new(config, Box::new(random)),
            calls: BTreeMap::new(),
            call_ids: HashMap::new(),
            registrations: BTreeMap::new(),
            probes: HashMap::new(),
            stateless_responses: ResponseBudget::default(),
        }
    }

    /// Handles a datagram that arrived on a flow from `source`. The caller must have checked that `source` is an
    /// address of the server.
    pub fn handle_datagram(&mut self, now: Duration, flow: FlowId, source: SocketAddr, datagram: &[u8]) {
        self.advance(now);
        receive::handle_datagram(self, flow, source, datagram);
    }

    /// Handles received bytes of a connection, in pieces of any length.
    pub fn handle_stream(&mut self, now: Duration, flow: FlowId, bytes: &[u8]) {
        self.advance(now);
        receive::handle_stream(self, flow, bytes);
    }

    /// Handles the timers that are due.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.advance(now);
        for _ in 0..MAX_TIMER_ROUNDS {
            let due = self.core.timers.take_due(self.core.now);
            if due.is_empty() {
                return;
            }
            due.into_iter().for_each(|timer| self.handle_timer(timer));
        }
    }

    /// Handles a transmit of which certainly no byte was sent.
    ///
    /// If it was the only transmission of an INVITE, a probe, or any request on a stream, the request fails. A call
    /// whose INVITE fails like this has not rung because of that INVITE. Over UDP, other requests are retransmitted as
    /// usual.
    pub fn handle_send_failure(&mut self, now: Duration, transmit: TransmitId) {
        self.advance(now);
        if let Some(key) = self.core.failed_client(transmit) {
            self.fail_client(key, RequestFailure::NotSent);
        }
    }

    /// Returns the next bytes to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.core.transmits.pop_front()
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.core.events.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) must be called. `None`: no timer is set.
    pub fn next_timeout(&self) -> Option<Duration> {
        self.core.timers.next()
    }

    /// Returns the current resource usage.
    pub fn usage(&self) -> Usage {
        Usage {
            calls: self.calls.len(),
            registrations: self.registrations.len(),
            probes: self.probes.len(),
            ..self.core.usage()
        }
    }

    /// Returns the number of messages dropped so far, by reason.
    pub fn drops(&self) -> &DropCounts {
        &self.core.drops
    }

    fn advance(&mut self, now: Duration) {
        self.core.now = self.core.now.max(now);
    }

    /// Returns the call of a message with this Call-ID, if the message may have arrived on this flow.
    fn call_on(&self, flow: FlowId, call_id: &str) -> Option<CallId> {
        let (id, flow) = (self.call_ids.get(call_id)?, self.core.flow(flow)?);
        self.calls.get(id).filter(|call| call.is_reached_by(&flow)).map(|_| *id)
    }

    fn end_probe(&mut self, id: ProbeId, result: ProbeResult) {
        if self.probes.remove(&id).is_some() {
            self.core.push_event(Event::Probe(id, result));
        }
    }

    fn remove_if_finished(&mut self, id: CallId) {
        if self.calls.get(&id).is_some_and(Call::is_finished) {
            self.remove_call(id);
        }
    }

    fn remove_call(&mut self, id: CallId) {
        if let Some(call) = self.calls.remove(&id) {
            self.call_ids.remove(&call.sip_call_id);
            self.core.timers.set(TimerKey::Call(id), None);
        }
    }

    fn remove_if_unregistered(&mut self, id: RegistrationId) {
        if self.registrations.get(&id).is_some_and(Registration::is_finished) {
            self.registrations.remove(&id);
            self.core.timers.set(TimerKey::Registration(id), None);
        }
    }
}

impl std::fmt::Debug for UserAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserAgent").field("usage", &self.usage()).finish_non_exhaustive()
    }
}
