//! The commands of the caller.

use std::time::Duration;

use super::error::{check_call, check_contact_user, check_routes, check_uri};
use super::flow::FlowState;
use super::probe::Probe;
use super::{
    AgentError, CallId, Flow, FlowId, NewRegistration, OutboundCall, ProbeId, RegistrationId, Reply, RequestId,
    UserAgent,
};
use crate::auth::Credentials;
use crate::framing::StreamReader;
use crate::invite::{Call, RequestFailure};
use crate::register::Registration;

impl UserAgent {
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
    /// Its requests without a final response fail. Established calls stay, and continue if
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
        for call in self.calls.values_mut() {
            call.replace_flow(&mut self.core, old, new);
        }
        for registration in self.registrations.values_mut().filter(|registration| registration.flow == old) {
            registration.replace_flow(&mut self.core, new);
        }
    }

    /// Returns whether a call needs this flow or a replacement: it is established, or its phone may ring.
    pub fn has_calls(&self, flow: FlowId) -> bool {
        self.calls.values().any(|call| call.needs_flow(flow))
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
            // An ended call that is kept only for retransmissions makes room.
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

    /// Ends a call: by CANCEL before the 2xx, by BYE after it. [`CallEvent::Ended`](super::CallEvent::Ended) follows. Does
    /// nothing if the call has ended.
    pub fn hang_up(&mut self, now: Duration, call: CallId) {
        self.advance(now);
        if let Some(call) = self.calls.get_mut(&call) {
            call.hang_up(&mut self.core);
        }
        self.remove_if_finished(call);
    }

    /// Follows a redirection over a flow to the server that [`CallEvent::Redirected`](super::CallEvent::Redirected) named.
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

    /// Removes the contact of a registration. [`RegistrationEvent::Ended`](super::RegistrationEvent::Ended)
    /// follows, within 128 times T1 if the registrar does not respond: the agent waits for a pending request first,
    /// because that could arrive after the removal.
    pub fn unregister(&mut self, now: Duration, registration: RegistrationId) {
        self.advance(now);
        if let Some(registration) = self.registrations.get_mut(&registration) {
            registration.unregister(&mut self.core);
        }
        self.remove_if_unregistered(registration);
    }

    /// Sends OPTIONS to check whether a server is alive. The result is reported within `timeout`, but within 64 times
    /// T1 at the latest. With credentials, a challenged OPTIONS is sent again.
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
}
