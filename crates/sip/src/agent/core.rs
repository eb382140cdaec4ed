//! State that calls, registrations and probes share: flows, transactions, timers, random numbers and queues.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::agent::config::Config;
use crate::agent::event::{CallId, Event, ProbeId, RegistrationId, RequestId};
use crate::agent::flow::{Flow, FlowId, FlowState, Transmit, TransmitId};
use crate::agent::response::ResponseBuilder;
use crate::agent::timers::{TimerKey, Timers};
use crate::agent::usage::{DropCounts, Usage};
use crate::message::{Message, Method};
use crate::transaction::{ClientKey, ClientTransaction, ServerKey, ServerTransaction};

/// Fills a buffer with unpredictable bytes.
pub(crate) type RandomSource = Box<dyn FnMut(&mut [u8]) + Send>;

/// The owner of a client transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Owner {
    Call(CallId),
    Registration(RegistrationId),
    Probe(ProbeId),
}

/// The part of the agent that calls and registrations use.
pub(crate) struct Core {
    pub(crate) now: Duration,
    pub(crate) config: Config,
    random: RandomSource,
    pub(crate) flows: BTreeMap<FlowId, FlowState>,
    clients: HashMap<ClientKey, (Owner, ClientTransaction)>,
    servers: HashMap<RequestId, ServerTransaction>,
    server_keys: HashMap<ServerKey, RequestId>,
    servers_of_calls: HashMap<CallId, usize>,
    /// Total bytes of the requests in all server transactions.
    server_bytes: usize,
    pub(crate) timers: Timers,
    pub(crate) transmits: VecDeque<Transmit>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) drops: DropCounts,
    last_id: u64,
    /// The tag of responses outside of calls. It never changes, so responses need no state (RFC 3261, 8.2.7).
    pub(crate) stateless_tag: String,
}

impl Core {
    pub(crate) fn new(mut config: Config, random: RandomSource) -> Self {
        config.timers.t1 = config.timers.t1.max(MIN_T1);
        config.timers.t2 = config.timers.t2.max(config.timers.t1);
        let mut core = Self {
            now: Duration::ZERO,
            config,
            random,
            flows: BTreeMap::new(),
            clients: HashMap::new(),
            servers: HashMap::new(),
            server_keys: HashMap::new(),
            servers_of_calls: HashMap::new(),
            server_bytes: 0,
            timers: Timers::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            drops: DropCounts::default(),
            last_id: 0,
            stateless_tag: String::new(),
        };
        core.stateless_tag = core.random_token();
        core
    }

    /// Returns a number that was never returned before.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id = self.last_id.saturating_add(1);
        self.last_id
    }

    pub(crate) fn random_bytes(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        (self.random)(&mut bytes);
        bytes
    }

    /// Returns a Call-ID or a tag: 128 random bits.
    pub(crate) fn random_token(&mut self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.random_bytes()))
    }

    /// Returns a duration from `from` up to `to`, in steps of 10 ms.
    pub(crate) fn random_duration(&mut self, from: Duration, to: Duration) -> Duration {
        let steps = to.saturating_sub(from).as_millis() / 10;
        let step = u128::from_be_bytes(self.random_bytes()).checked_rem(steps).unwrap_or(0);
        from.saturating_add(Duration::from_millis(u64::try_from(step).unwrap_or(0).saturating_mul(10)))
    }

    pub(crate) fn new_client_key(&mut self) -> ClientKey {
        ClientKey::new(u128::from_be_bytes(self.random_bytes()))
    }

    pub(crate) fn flow(&self, id: FlowId) -> Option<Flow> {
        self.flows.get(&id).map(|state| state.flow)
    }

    pub(crate) fn push_event(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Returns whether a queue is full, so that received messages and retransmissions are dropped.
    pub(crate) fn is_congested(&self) -> bool {
        self.transmits.len().max(self.events.len()) >= self.config.max_queue
    }

    /// Queues bytes. Returns `None` if the flow is closed.
    pub(crate) fn send(&mut self, flow: FlowId, destination: SocketAddr, bytes: Vec<u8>) -> Option<TransmitId> {
        self.flows.get(&flow)?;
        let id = TransmitId(self.next_id());
        self.transmits.push_back(Transmit { id, flow, destination, bytes });
        Some(id)
    }

    /// Starts a client transaction: sends the request and retransmits it until a response arrives. If the flow is
    /// closed, or there is no `request` because it could not be written, the transaction times out at once.
    pub(crate) fn start_client(
        &mut self,
        owner: Owner,
        key: ClientKey,
        (flow, destination): (FlowId, SocketAddr),
        request: Option<Message>,
        timeout: Option<Duration>,
    ) {
        let timers = self.config.timers;
        let is_reliable = self.flow(flow).is_some_and(|flow| flow.transport.is_reliable());
        let sent = request.as_ref().and_then(|request| self.send(flow, destination, request.as_bytes().to_vec()));
        let timeout = timeout.unwrap_or(timers.timeout());
        let mut transaction =
            ClientTransaction::new(self.now, (flow, destination), request, is_reliable, (&timers, timeout));
        if matches!(owner, Owner::Probe(_)) {
            transaction.fail_at_once();
        }
        match sent {
            Some(id) => transaction.sent(id),
            None => transaction.fail(self.now),
        }
        self.timers.set(TimerKey::Client(key), transaction.next_timeout());
        self.clients.insert(key, (owner, transaction));
    }

    pub(crate) fn client(&mut self, key: ClientKey) -> Option<&mut (Owner, ClientTransaction)> {
        self.clients.get_mut(&key)
    }

    /// Updates the timer after a change of the transaction.
    pub(crate) fn client_changed(&mut self, key: ClientKey) {
        let next = self.clients.get(&key).and_then(|(_, transaction)| transaction.next_timeout());
        self.timers.set(TimerKey::Client(key), next);
    }

    pub(crate) fn remove_client(&mut self, key: ClientKey) {
        self.clients.remove(&key);
        self.timers.set(TimerKey::Client(key), None);
    }

    /// Retransmits the request of a transaction.
    pub(crate) fn retransmit(&mut self, key: ClientKey) {
        let Some((_, transaction)) = self.clients.get(&key) else { return };
        let (flow, destination) = (transaction.flow, transaction.destination);
        let request = transaction.request_bytes().to_vec();
        if request.is_empty() {
            return;
        }
        // While a queue is full, a retransmission is skipped, as if the network had lost it.
        let sent = if self.is_congested() { None } else { self.send(flow, destination, request) };
        if let (Some(id), Some((_, transaction))) = (sent, self.clients.get_mut(&key)) {
            transaction.sent(id);
        }
    }

    /// Sends the ACK of a final response that is not a 2xx, again or for the first time.
    pub(crate) fn acknowledge(&mut self, key: ClientKey) {
        let Some((_, transaction)) = self.clients.get(&key) else { return };
        let (flow, destination, ack) = (transaction.flow, transaction.destination, transaction.ack().to_vec());
        if !ack.is_empty() {
            self.send(flow, destination, ack);
        }
    }

    /// Returns the open transaction that fails because this transmit was not sent.
    pub(crate) fn failed_client(&self, transmit: TransmitId) -> Option<ClientKey> {
        self.clients.iter().find(|(_, (_, client))| client.fails_without(transmit)).map(|(key, _)| *key)
    }

    /// Returns the open transactions on a flow.
    pub(crate) fn open_clients_on(&self, flow: FlowId) -> Vec<ClientKey> {
        let on_flow = |(_, client): &(Owner, ClientTransaction)| client.flow == flow && client.is_open();
        let mut keys: Vec<_> = self.clients.iter().filter(|(_, entry)| on_flow(entry)).map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    /// Starts the transaction of a request that a call handles. Returns `None` if there is no room.
    pub(crate) fn start_server(
        &mut self,
        (key, call): (ServerKey, CallId),
        (flow, source): (FlowId, SocketAddr),
        request: Message,
    ) -> Option<RequestId> {
        let in_call = self.servers_of_calls.get(&call).copied().unwrap_or(0);
        // There is always room for a BYE: without it, this side would keep a call that the peer has ended.
        let is_bye = request.method() == Some(&Method::Bye);
        let server_bytes = self.server_bytes.saturating_add(request.as_bytes().len());
        let is_full = self.servers.len() >= self.config.max_server_transactions
            || server_bytes > self.config.max_server_bytes && !is_bye;
        if is_full || in_call >= MAX_SERVERS_A_CALL.saturating_add(usize::from(is_bye)) {
            return None;
        }
        self.server_bytes = server_bytes;
        let id = RequestId(self.next_id());
        let is_reliable = self.flow(flow).is_some_and(|flow| flow.transport.is_reliable());
        let respond_by = self.now.saturating_add(self.config.max_response_delay);
        let server = ServerTransaction::new((key.clone(), call), (flow, source), request, is_reliable, respond_by);
        self.timers.set(TimerKey::Server(id), Some(server.next_timeout()));
        self.servers_of_calls.insert(call, in_call.saturating_add(1));
        self.server_keys.insert(key, id);
        self.servers.insert(id, server);
        Some(id)
    }

    /// Returns the transaction of a request that arrived before, if a message on this flow may belong to it.
    pub(crate) fn server_id(&self, key: &ServerKey, flow: FlowId) -> Option<RequestId> {
        let id = *self.server_keys.get(key)?;
        let (first, flow) = (self.flow(self.servers.get(&id)?.flow), self.flow(flow)?);
        // On a flow that has closed, nothing is sent again.
        first.is_none_or(|first| first.has_peer_of(&flow)).then_some(id)
    }

    pub(crate) fn server(&mut self, id: RequestId) -> Option<&mut ServerTransaction> {
        self.servers.get_mut(&id)
    }

    /// Writes and sends the response to a request that has none yet.
    pub(crate) fn respond(
        &mut self,
        id: RequestId,
        status: u16,
        write: impl FnOnce(ResponseBuilder) -> ResponseBuilder,
    ) {
        let product = self.config.product.clone();
        let tag = self.stateless_tag.clone();
        let Some(server) = self.servers.get(&id) else { return };
        let Some(request) = server.pending_request() else { return };
        let (flow, source) = (server.flow, server.source);
        let Ok((destination, response)) =
            write(ResponseBuilder::new(request, source, status, (&product, &tag))).build()
        else {
            return;
        };
        let timers = self.config.timers;
        if let Some(server) = self.servers.get_mut(&id) {
            server.respond(self.now, response.clone(), (200..300).contains(&status), &timers);
        }
        self.server_changed(id);
        self.send(flow, destination, response);
    }

    /// Handles the ACK of a response to an INVITE.
    pub(crate) fn acknowledge_server(&mut self, id: RequestId) {
        let (now, timers) = (self.now, self.config.timers);
        if let Some(server) = self.servers.get_mut(&id) {
            server.acknowledge(now, &timers);
        }
        self.server_changed(id);
    }

    /// Retransmits the response to a request, because the request arrived again or its ACK is missing.
    pub(crate) fn respond_again(&mut self, id: RequestId) {
        let Some(server) = self.servers.get(&id) else { return };
        let (flow, source) = (server.flow, server.source);
        let Some(response) = server.response().map(<[u8]>::to_vec) else {
            // The caller has not responded yet: 100 stops the retransmissions (RFC 3261, 17.2.1).
            let trying = server.pending_request().filter(|request| request.method() == Some(&Method::Invite));
            let names = (&*self.config.product, &*self.stateless_tag);
            let trying = trying.and_then(|request| ResponseBuilder::new(request, source, 100, names).build().ok());
            if let Some((destination, trying)) = trying.filter(|_| !self.is_congested()) {
                self.send(flow, destination, trying);
            }
            return;
        };
        if !self.is_congested() {
            let destination = ResponseBuilder::destination_of(&response, source);
            self.send(flow, destination, response);
        }
    }

    /// Updates the timer after a change of the transaction.
    pub(crate) fn server_changed(&mut self, id: RequestId) {
        let next = self.servers.get(&id).map(ServerTransaction::next_timeout);
        self.timers.set(TimerKey::Server(id), next);
    }

    pub(crate) fn remove_server(&mut self, id: RequestId) {
        if let Some(server) = self.servers.remove(&id) {
            self.server_bytes = self.server_bytes.saturating_sub(server.request_bytes);
            self.server_keys.remove(&server.key);
            match self.servers_of_calls.get_mut(&server.call) {
                Some(count) if *count > 1 => *count = count.saturating_sub(1),
                _ => drop(self.servers_of_calls.remove(&server.call)),
            }
        }
        self.timers.set(TimerKey::Server(id), None);
    }

    /// Returns the resource usage of this part of the agent.
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            client_transactions: self.clients.len(),
            server_transactions: self.servers.len(),
            timers: self.timers.len(),
            flows: self.flows.len(),
            transmits: self.transmits.len(),
            events: self.events.len(),
            ..Usage::default()
        }
    }
}

/// Minimum T1. A smaller setting is raised to it.
const MIN_T1: Duration = Duration::from_millis(10);

/// Maximum server transactions of one call, including those that are kept for retransmissions.
const MAX_SERVERS_A_CALL: usize = 64;
