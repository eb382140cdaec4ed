//! The user agent: calls, registrations and probes over flows that the caller owns.

mod budget;
pub(crate) mod config;
pub(crate) mod core;
mod error;
pub(crate) mod event;
pub(crate) mod flow;
mod inbound;
mod probe;
pub(crate) mod response;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

pub use self::config::{Config, TimerValues};
pub use self::core::{DropCounts, Usage};
pub use self::error::AgentError;
pub use self::event::{
    Answered, CallEvent, CallId, EndCause, Ended, Event, NewRegistration, OutboundCall, PeerText, ProbeId, ProbeResult,
    Progress, Refusal, RegistrationEvent, RegistrationFailure, RegistrationId, Reply, RequestId, RetryReason,
};
pub use self::flow::{Flow, FlowId, Transmit, TransmitId, Transport};

use self::budget::ResponseBudget;
use self::core::{Core, Owner, TimerKey};
use self::error::{check_call, check_contact_user, check_routes, check_uri};
use self::flow::FlowState;
use self::probe::Probe;
use crate::auth::Credentials;
use crate::framing::StreamReader;
use crate::invite::{Call, RequestFailure};
use crate::register::Registration;
use crate::transaction::ClientKey;
use crate::transaction::client::TimeoutAction;

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

    /// Adds a flow: an established connection, or a pair of addresses over UDP.
    ///
    /// # Errors
    /// [`AgentError::TooMany`].
    pub fn open_flow(&mut self, flow: Flow) -> Result<FlowId, AgentError> {
        if self.core.flows.len() >= self.core.config.max_flows {
            return Err(AgentError::TooMany("flows"));
        }
        let id = FlowId(self.core.next_id());
        let reader = flow.transport.is_reliable().then(|| StreamReader::new(self.core.config.limits.clone()));
        self.core.flows.insert(id, FlowState { flow, reader });
        Ok(id)
    }

    /// Removes a flow whose connection has closed.
    ///
    /// Its requests without a final response fail. Answered calls stay, and continue if
    /// [`replace_flow`](Self::replace_flow) moves them to another flow.
    pub fn close_flow(&mut self, now: Duration, flow: FlowId) {
        self.advance(now);
        if self.core.flows.remove(&flow).is_none() {
            return;
        }
        self.core.transmits.retain(|transmit| transmit.flow != flow);
        for key in self.core.open_clients_on(flow) {
            self.fail_client(key, RequestFailure::ConnectionLost);
        }
    }

    /// Moves the calls and registrations of a flow to another, such as a new connection to the same server.
    ///
    /// A registration with a pending request moves when that has a response, times out, or loses its flow.
    pub fn replace_flow(&mut self, now: Duration, old: FlowId, new: FlowId) {
        self.advance(now);
        if self.core.flow(new).is_none() || old == new {
            return;
        }
        for call in self.calls.values_mut().filter(|call| call.flow == old) {
            call.replace_flow(&mut self.core, new);
        }
        for registration in self.registrations.values_mut().filter(|registration| registration.flow == old) {
            registration.replace_flow(&mut self.core, new);
        }
    }

    /// Returns whether a call needs this flow, or another one in its place: it was answered, or its phone may ring.
    pub fn has_calls(&self, flow: FlowId) -> bool {
        self.calls.values().any(|call| call.flow == flow && call.needs_flow())
    }

    /// Places a call.
    ///
    /// # Errors
    /// Nothing was sent: the flow is closed, there are too many calls, a URI is malformed, or a text cannot be written.
    pub fn place_call(&mut self, now: Duration, flow: FlowId, call: OutboundCall) -> Result<CallId, AgentError> {
        self.advance(now);
        self.core.flow(flow).ok_or(AgentError::UnknownFlow)?;
        check_call(&call)?;
        if self.calls.len() >= self.core.config.max_calls {
            // An ended call that is kept only to answer retransmissions makes room.
            let kept = |(id, call): (&CallId, &Call)| call.kept_until().map(|until| (until, *id));
            let oldest = self.calls.iter().filter_map(kept).min().ok_or(AgentError::TooMany("calls"))?;
            self.remove_call(oldest.1);
        }
        let id = CallId(self.core.next_id());
        let call = Call::place(&mut self.core, id, flow, call);
        self.call_ids.insert(call.sip_call_id.clone(), id);
        self.calls.insert(id, call);
        Ok(id)
    }

    /// Ends a call: by CANCEL before the answer, by BYE after it. [`CallEvent::Ended`] follows. Does nothing if the
    /// call has ended.
    pub fn hang_up(&mut self, now: Duration, call: CallId) {
        self.advance(now);
        if let Some(call) = self.calls.get_mut(&call) {
            call.hang_up(&mut self.core);
        }
        self.remove_if_finished(call);
    }

    /// Follows a redirection over a flow to the server that [`CallEvent::Redirected`] named.
    ///
    /// # Errors
    /// The flow is closed or less secure than that of the INVITE, or the call is not waiting for a redirection to be
    /// followed.
    pub fn follow_redirect(&mut self, now: Duration, call: CallId, flow: FlowId) -> Result<(), AgentError> {
        self.advance(now);
        let new = self.core.flow(flow).ok_or(AgentError::UnknownFlow)?;
        let call = self.calls.get_mut(&call).ok_or(AgentError::NotRedirected)?;
        call.follow_redirect(&mut self.core, flow, new.transport)
    }

    /// Responds to a request of the peer. Does nothing if the request no longer waits for a response.
    pub fn respond(&mut self, now: Duration, request: RequestId, reply: Reply) {
        self.advance(now);
        let Some(call) = self.core.server(request).map(|server| server.call) else { return };
        if let Some(call) = self.calls.get_mut(&call) {
            call.respond(&mut self.core, request, reply);
        }
    }

    /// Registers a contact and keeps it registered, or sends one query to the registrar.
    ///
    /// # Errors
    /// Nothing was sent: the flow is closed, there are too many registrations, a URI is malformed, or a text cannot be
    /// written.
    pub fn register(
        &mut self,
        now: Duration,
        flow: FlowId,
        registration: NewRegistration,
    ) -> Result<RegistrationId, AgentError> {
        self.advance(now);
        self.core.flow(flow).ok_or(AgentError::UnknownFlow)?;
        for uri in [&registration.registrar, &registration.address] {
            check_uri(uri, "the URI of a registration")?;
        }
        check_routes(&registration.routes)?;
        check_contact_user(&registration.contact_user)?;
        if self.registrations.len() >= self.core.config.max_registrations {
            return Err(AgentError::TooMany("registrations"));
        }
        let id = RegistrationId(self.core.next_id());
        let registration = Registration::start(&mut self.core, id, flow, registration);
        self.registrations.insert(id, registration);
        self.remove_if_unregistered(id);
        Ok(id)
    }

    /// Removes the contact of a registration. [`RegistrationEvent::Ended`] follows, within 128 times T1 if the
    /// registrar does not respond: the agent waits for a pending request first, because that could arrive after the
    /// removal.
    pub fn unregister(&mut self, now: Duration, registration: RegistrationId) {
        self.advance(now);
        if let Some(registration) = self.registrations.get_mut(&registration) {
            registration.unregister(&mut self.core);
        }
        self.remove_if_unregistered(registration);
    }

    /// Sends OPTIONS to check whether a server is alive. The result is reported within `timeout`, but within 64 times
    /// T1 at the latest. With credentials, a challenge is answered.
    ///
    /// # Errors
    /// Nothing was sent: the flow is closed, there are too many probes, or the URI is malformed.
    pub fn probe(
        &mut self,
        now: Duration,
        flow: FlowId,
        uri: &str,
        timeout: Duration,
        credentials: Option<Credentials>,
    ) -> Result<ProbeId, AgentError> {
        self.advance(now);
        self.core.flow(flow).ok_or(AgentError::UnknownFlow)?;
        check_uri(uri, "the URI of a probe")?;
        if self.probes.len() >= self.core.config.max_registrations {
            return Err(AgentError::TooMany("probes"));
        }
        let id = ProbeId(self.core.next_id());
        let probe = Probe::start(&mut self.core, id, (flow, uri), timeout, credentials);
        self.probes.insert(id, probe.ok_or(AgentError::Unusable("the URI of a probe"))?);
        Ok(id)
    }

    /// Handles a datagram that arrived on a flow from `source`. The caller must have checked that `source` is an
    /// address of the server.
    pub fn handle_datagram(&mut self, now: Duration, flow: FlowId, source: SocketAddr, datagram: &[u8]) {
        self.advance(now);
        inbound::handle_datagram(self, flow, source, datagram);
    }

    /// Handles received bytes of a connection, in pieces of any length.
    pub fn handle_stream(&mut self, now: Duration, flow: FlowId, bytes: &[u8]) {
        self.advance(now);
        inbound::handle_stream(self, flow, bytes);
    }

    /// Handles the timers that are due.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.advance(now);
        for _ in 0..MAX_TIMER_ROUNDS {
            let due = self.core.take_due_timers();
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
        self.core.next_timeout()
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

    fn handle_timer(&mut self, timer: TimerKey) {
        match timer {
            TimerKey::Client(key) => self.handle_client_timeout(key),
            TimerKey::Server(id) => self.handle_server_timeout(id),
            TimerKey::Call(id) => {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.handle_timeout(&mut self.core);
                }
                self.remove_if_finished(id);
            }
            TimerKey::Registration(id) => {
                if let Some(registration) = self.registrations.get_mut(&id) {
                    registration.handle_timeout(&mut self.core);
                }
                self.remove_if_unregistered(id);
            }
        }
    }

    fn handle_client_timeout(&mut self, key: ClientKey) {
        let (now, timers) = (self.core.now, self.core.config.timers);
        let Some((_, transaction)) = self.core.client(key) else { return };
        match transaction.handle_timeout(now, &timers) {
            TimeoutAction::Wait => {}
            TimeoutAction::Retransmit => self.core.retransmit(key),
            TimeoutAction::TimedOut => {
                let is_lost = self.core.client(key).is_some_and(|(_, client)| client.has_failed());
                let failure = if is_lost { RequestFailure::ConnectionLost } else { RequestFailure::TimedOut };
                self.fail_client(key, failure);
            }
            TimeoutAction::Remove => self.core.remove_client(key),
        }
        self.core.client_changed(key);
    }

    fn fail_client(&mut self, key: ClientKey, failure: RequestFailure) {
        let Some((owner, _)) = self.core.client(key) else { return };
        let owner = *owner;
        self.core.remove_client(key);
        match owner {
            Owner::Call(id) => {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.handle_request_failure(&mut self.core, key, failure);
                }
                self.remove_if_finished(id);
            }
            Owner::Registration(id) => {
                if let Some(registration) = self.registrations.get_mut(&id) {
                    registration.handle_failure(&mut self.core, key);
                }
                self.remove_if_unregistered(id);
            }
            Owner::Probe(id) => self.end_probe(id, ProbeResult::NoResponse),
        }
    }

    fn handle_server_timeout(&mut self, id: RequestId) {
        let (now, timers) = (self.core.now, self.core.config.timers);
        let Some(server) = self.core.server(id) else { return };
        let call = server.call;
        match server.handle_timeout(now, &timers) {
            TimeoutAction::Wait => self.core.server_changed(id),
            TimeoutAction::Retransmit => {
                self.core.respond_again(id);
                self.core.server_changed(id);
            }
            TimeoutAction::Remove => self.core.remove_server(id),
            TimeoutAction::TimedOut => {
                if let Some(call) = self.calls.get_mut(&call) {
                    call.handle_peer_request_timeout(&mut self.core, id);
                }
                // Without a response, there is nothing to retransmit.
                let is_done = self.core.server(id).is_some_and(|server| server.next_timeout() <= now);
                if is_done {
                    self.core.remove_server(id);
                }
                self.remove_if_finished(call);
            }
        }
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
            self.core.set_timer(TimerKey::Call(id), None);
        }
    }

    fn remove_if_unregistered(&mut self, id: RegistrationId) {
        if self.registrations.get(&id).is_some_and(Registration::is_finished) {
            self.registrations.remove(&id);
            self.core.set_timer(TimerKey::Registration(id), None);
        }
    }
}

impl std::fmt::Debug for UserAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserAgent").field("usage", &self.usage()).finish_non_exhaustive()
    }
}
