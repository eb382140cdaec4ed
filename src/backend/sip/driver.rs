//! Drives the user agent of one SIP backend: sockets, connections and timers.
//!
//! [`UserAgent`] does no I/O. [`SharedAgent`] calls it under a lock that is never held across an await, and sends its
//! transmits before it releases the lock, so that messages leave in the agent's order.

mod connections;
mod datagrams;
mod flows;
mod lost;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use phonegate_sip::agent::{
    AgentError, CallEvent, CallId, Config, Event, FlowId, NewRegistration, OutboundCall, ProbeId, ProbeResult,
    RegistrationEvent, RegistrationId, Reply, RequestId, UserAgent,
};
use phonegate_sip::auth::Credentials;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::MAX_DEADLINE_S;
pub(super) use flows::{FlowSettings, Flows, OpenFlow};

/// Maximum unhandled events of one call or registration. If a peer causes more in a call, the call is ended.
const MAX_EVENTS: usize = 64;

/// Maximum time from an INVITE to its final response. Longer than any deadline, so that the deadline ends a call that
/// rings for too long: the agent would report that the trunk did not respond.
const MAX_RINGING: Duration = Duration::from_secs(MAX_DEADLINE_S + 60);

/// A user agent with its timers. Dropping it closes all of its sockets and connections.
pub(super) struct Driver {
    shared: Arc<SharedAgent>,
    _close: DropGuard,
}

/// The user agent, shared by the tasks of a driver.
pub(super) struct SharedAgent {
    state: Mutex<State>,
    /// Wakes the timer task when the next timeout changes.
    timer_changed: Notify,
    /// Notified when a registration has ended.
    registration_ended: Notify,
    start: Instant,
    close: CancellationToken,
}

struct State {
    agent: UserAgent,
    writers: HashMap<FlowId, flows::Writer>,
    calls: HashMap<CallId, mpsc::Sender<CallEvent>>,
    registrations: HashMap<RegistrationId, mpsc::Sender<RegistrationEvent>>,
    probes: HashMap<ProbeId, oneshot::Sender<ProbeResult>>,
    /// The timeout that the timer task waits for.
    next_timeout: Option<Duration>,
}

/// Returns the settings of the user agent.
fn agent_config() -> Config {
    Config {
        product: concat!("PhoneGate/", env!("CARGO_PKG_VERSION")).to_owned(),
        max_ringing: MAX_RINGING,
        ..Config::default()
    }
}

impl Driver {
    /// Creates an agent without flows. [`Self::run_timers`] starts its timers.
    pub(super) fn new() -> Self {
        let random = SystemRandom::new();
        let agent = UserAgent::new(agent_config(), move |bytes| {
            // Identifiers must be unpredictable, so this retries until the operating system provides random bytes.
            while random.fill(bytes).is_err() {
                std::thread::yield_now();
            }
        });
        let close = CancellationToken::new();
        let shared = Arc::new(SharedAgent {
            state: Mutex::new(State {
                agent,
                writers: HashMap::new(),
                calls: HashMap::new(),
                registrations: HashMap::new(),
                probes: HashMap::new(),
                next_timeout: None,
            }),
            timer_changed: Notify::new(),
            registration_ended: Notify::new(),
            start: Instant::now(),
            close: close.clone(),
        });
        Self { shared, _close: close.drop_guard() }
    }

    /// Starts the timer task. Called once, within the runtime.
    pub(super) fn run_timers(&self) {
        let shared = Arc::clone(&self.shared);
        let close = shared.close.clone();
        tokio::spawn(close.run_until_cancelled_owned(async move { shared.run_timers().await }));
    }

    pub(super) fn shared(&self) -> &Arc<SharedAgent> {
        &self.shared
    }
}

impl SharedAgent {
    /// Places a call.
    ///
    /// # Errors
    /// Nothing was sent.
    pub(super) fn place(self: &Arc<Self>, flow: FlowId, call: OutboundCall) -> Result<CallHandle, AgentError> {
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let id = self.with(|state, now| {
            let id = state.agent.place_call(now, flow, call)?;
            state.calls.insert(id, sender);
            Ok(id)
        })?;
        Ok(CallHandle { shared: Arc::clone(self), id, events, is_over: false })
    }

    /// Sends OPTIONS to a server. Returns the status of the final response, or `None` if there was none within `timeout`.
    pub(super) async fn probe(
        &self,
        flow: FlowId,
        uri: &str,
        timeout: Duration,
        credentials: Option<Credentials>,
    ) -> Option<u16> {
        let (sender, result) = oneshot::channel();
        self.with(|state, now| {
            let id = state.agent.probe(now, flow, uri, timeout, credentials).ok()?;
            state.probes.insert(id, sender);
            Some(())
        })?;
        match result.await {
            Ok(ProbeResult::Responded(status)) => Some(status),
            _ => None,
        }
    }

    /// Registers a contact, or queries the registrar.
    ///
    /// # Errors
    /// Nothing was sent.
    pub(super) fn register(
        self: &Arc<Self>,
        flow: FlowId,
        registration: NewRegistration,
    ) -> Result<RegistrationHandle, AgentError> {
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let id = self.with(|state, now| {
            let id = state.agent.register(now, flow, registration)?;
            state.registrations.insert(id, sender);
            Ok(id)
        })?;
        Ok(RegistrationHandle { shared: Arc::clone(self), id, events })
    }

    /// Moves calls and registrations to another flow.
    pub(super) fn replace_flow(&self, old: FlowId, new: FlowId) {
        self.with(|state, now| state.agent.replace_flow(now, old, new));
    }

    /// Waits until the agent has no registration, that is, until the registrars have removed this side's contacts.
    pub(super) async fn all_unregistered(&self) {
        loop {
            let ended = self.registration_ended.notified();
            if self.with(|state, _| state.agent.usage().registrations) == 0 {
                return;
            }
            ended.await;
        }
    }

    fn handle_datagram(&self, flow: FlowId, source: SocketAddr, datagram: &[u8]) {
        self.with(|state, now| state.agent.handle_datagram(now, flow, source, datagram));
    }

    fn handle_stream(&self, flow: FlowId, bytes: &[u8]) {
        self.with(|state, now| state.agent.handle_stream(now, flow, bytes));
    }

    /// Calls the agent, then sends its transmits and dispatches its events.
    fn with<R>(&self, act: impl FnOnce(&mut State, Duration) -> R) -> R {
        let now = self.start.elapsed();
        let mut state = self.state.lock();
        let result = act(&mut state, now);
        if state.flush(now) {
            self.registration_ended.notify_one();
        }
        let next = state.agent.next_timeout();
        if next != state.next_timeout {
            state.next_timeout = next;
            self.timer_changed.notify_one();
        }
        result
    }

    async fn run_timers(&self) {
        loop {
            let next = self.state.lock().next_timeout;
            let timeout = async {
                match next {
                    Some(at) => tokio::time::sleep_until(self.start + at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = timeout => self.with(|state, now| state.agent.handle_timeout(now)),
                () = self.timer_changed.notified() => {}
            }
        }
    }
}

impl State {
    /// Sends transmits and dispatches events until both queues are empty. Returns whether a registration has ended.
    fn flush(&mut self, now: Duration) -> bool {
        let mut has_unregistered = false;
        loop {
            while let Some(transmit) = self.agent.poll_transmit() {
                let writer = self.writers.get(&transmit.flow);
                if writer.is_none_or(|writer| writer.send(&transmit).is_err()) {
                    self.agent.handle_send_failure(now, transmit.id);
                }
            }
            let Some(event) = self.agent.poll_event() else { return has_unregistered };
            has_unregistered |= matches!(event, Event::Registration(_, RegistrationEvent::Ended));
            self.dispatch(now, event);
        }
    }

    fn dispatch(&mut self, now: Duration, event: Event) {
        match event {
            Event::Call(id, event) => {
                let is_last = matches!(event, CallEvent::Ended(_));
                let is_delivered = self.calls.get(&id).is_some_and(|sender| sender.try_send(event).is_ok());
                if is_last {
                    self.calls.remove(&id);
                } else if !is_delivered {
                    self.calls.remove(&id);
                    self.agent.hang_up(now, id);
                }
            }
            Event::Registration(id, event) => {
                let is_last = event == RegistrationEvent::Ended;
                if let Some(sender) = self.registrations.get(&id) {
                    // A lost event is harmless: the next attempt causes another.
                    let _ = sender.try_send(event);
                }
                if is_last {
                    self.registrations.remove(&id);
                }
            }
            Event::Probe(id, result) => {
                if let Some(sender) = self.probes.remove(&id) {
                    let _ = sender.send(result);
                }
            }
            Event::FlowFailed(flow) => {
                if let Some(writer) = self.writers.get(&flow) {
                    writer.close();
                }
            }
            _ => {}
        }
    }
}

/// Controls a call that was placed. Dropping it ends the call.
pub(super) struct CallHandle {
    shared: Arc<SharedAgent>,
    id: CallId,
    events: mpsc::Receiver<CallEvent>,
    is_over: bool,
}

impl CallHandle {
    /// Returns the next event. `None` after the end, or if the peer caused more than [`MAX_EVENTS`]. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<CallEvent> {
        let event = self.events.recv().await;
        self.is_over |= matches!(event, None | Some(CallEvent::Ended(_)));
        event
    }

    /// Responds to a request of the peer.
    pub(super) fn respond(&self, request: RequestId, reply: Reply) {
        self.shared.with(|state, now| state.agent.respond(now, request, reply));
    }

    /// Follows a redirection.
    ///
    /// # Errors
    /// The flow is closed, or is not encrypted although that of the INVITE was.
    pub(super) fn follow_redirect(&self, flow: FlowId) -> Result<(), AgentError> {
        self.shared.with(|state, now| state.agent.follow_redirect(now, self.id, flow))
    }

    /// Starts to end the call. [`CallEvent::Ended`] follows.
    pub(super) fn start_hang_up(&self) {
        self.shared.with(|state, now| state.agent.hang_up(now, self.id));
    }

    /// Returns whether the call has ended.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }
}

impl Drop for CallHandle {
    fn drop(&mut self) {
        if !self.is_over {
            self.shared.with(|state, now| {
                state.calls.remove(&self.id);
                state.agent.hang_up(now, self.id);
            });
        }
    }
}

/// Controls a registration. Dropping it removes the contact.
pub(super) struct RegistrationHandle {
    shared: Arc<SharedAgent>,
    id: RegistrationId,
    events: mpsc::Receiver<RegistrationEvent>,
}

impl RegistrationHandle {
    /// Returns the next event. `None` after the end.
    pub(super) async fn next(&mut self) -> Option<RegistrationEvent> {
        self.events.recv().await
    }
}

impl Drop for RegistrationHandle {
    fn drop(&mut self) {
        self.shared.with(|state, now| {
            state.registrations.remove(&self.id);
            state.agent.unregister(now, self.id);
        });
    }
}

#[cfg(test)]
mod tests;
