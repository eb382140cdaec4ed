//! A network of virtual time between one agent and the servers that its flows lead to.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use phonegate_sip::agent::{Config, Event, Flow, FlowId, Transmit, Transport, Usage, UserAgent};
use phonegate_sip::message::{Limits, Message};

use super::inspect::Inspector;

/// The faults of the network.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// Percentage of datagrams that are lost.
    pub loss: u8,
    /// Percentage of datagrams that arrive twice.
    pub doubling: u8,
    /// Shortest and longest delay of one datagram, or of one piece of a stream. If they differ, datagrams overtake.
    pub delay: (Duration, Duration),
    /// Whether streams arrive in pieces of any length.
    pub cuts: bool,
}

impl Conditions {
    /// Everything arrives once, in order, after 10 ms.
    pub const GOOD: Self =
        Self { loss: 0, doubling: 0, delay: (Duration::from_millis(10), Duration::from_millis(10)), cuts: false };
}

/// What the agent's messages do on their way out of one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The network carries them.
    Good,
    /// They vanish, and so do those of the peer.
    Dead,
    /// The socket reports that they could not be sent. Those of the peer arrive.
    Failing,
    /// The connection is closed.
    Closed,
}

/// One flow of the agent as the network sees it.
pub struct Link {
    pub id: FlowId,
    pub flow: Flow,
    pub health: Health,
    /// When the last piece of a stream arrives, in each direction.
    busy: [Duration; 2],
}

/// A message that reached a peer.
#[derive(Clone)]
pub struct Arrival {
    pub at: Duration,
    /// Index of the link.
    pub link: usize,
    /// The address that it was sent to.
    pub destination: SocketAddr,
    pub message: Message,
}

/// Why [`Network::step`] returned.
pub enum Step {
    /// A message reached a peer.
    Arrived(Arrival),
    /// The agent reported events.
    Reported,
    /// The time is up.
    Idle,
}

enum Delivery {
    ToPeer { link: usize, destination: SocketAddr, bytes: Vec<u8> },
    ToAgent { link: usize, source: SocketAddr, bytes: Vec<u8> },
}

pub struct Network {
    pub now: Duration,
    pub agent: UserAgent,
    pub conditions: Conditions,
    pub links: Vec<Link>,
    pub inspector: Inspector,
    /// What the agent reported and the test has not read.
    pub events: VecDeque<(Duration, Event)>,
    /// Line ends that the agent wrote to streams between messages.
    pub keep_alives: u32,
    /// Datagrams that the agent sent to hosts that are not the flow's.
    pub strays: Vec<(SocketAddr, Vec<u8>)>,
    config: Config,
    random: fastrand::Rng,
    queue: BTreeMap<(Duration, u64), Delivery>,
    count: u64,
    trace: Vec<(Duration, &'static str, Vec<u8>)>,
    /// Calls of `handle_timeout` since the time last moved.
    turns: u32,
}

impl Network {
    pub fn new(seed: u64, config: Config) -> Self {
        let mut randomness = fastrand::Rng::with_seed(seed ^ 0x5eed);
        Self {
            now: Duration::from_secs(1_000),
            agent: UserAgent::new(config.clone(), move |bytes| randomness.fill(bytes)),
            conditions: Conditions::GOOD,
            links: Vec::new(),
            inspector: Inspector::default(),
            events: VecDeque::new(),
            keep_alives: 0,
            strays: Vec::new(),
            config,
            random: fastrand::Rng::with_seed(seed),
            queue: BTreeMap::new(),
            count: 0,
            trace: Vec::new(),
            turns: 0,
        }
    }

    /// Opens a flow and returns the index of its link.
    pub fn open(&mut self, transport: Transport, local: SocketAddr, remote: SocketAddr) -> usize {
        let flow = Flow { transport, local, remote };
        let id = self.agent.open_flow(flow).expect("the agent has room for a flow");
        self.links.push(Link { id, flow, health: Health::Good, busy: [Duration::ZERO; 2] });
        self.links.len() - 1
    }

    /// Closes a flow as the driver does when its connection ends. What is under way on it is lost, but for a piece of the
    /// next message to the agent.
    pub fn close(&mut self, link: usize) {
        self.trace_line("the connection closes");
        let is_next = |delivery: &&Delivery| matches!(delivery, Delivery::ToAgent { link: of, .. } if *of == link);
        if let Some(Delivery::ToAgent { bytes, .. }) = self.queue.values().find(is_next)
            && self.links[link].flow.transport != Transport::Udp
        {
            let (id, piece) = (self.links[link].id, bytes[..self.random.usize(0..bytes.len())].to_vec());
            self.act(|agent, now| agent.handle_stream(now, id, &piece));
        }
        self.links[link].health = Health::Closed;
        self.queue.retain(|_, delivery| match delivery {
            Delivery::ToPeer { link: of, .. } | Delivery::ToAgent { link: of, .. } => *of != link,
        });
        let id = self.links[link].id;
        self.act(|agent, now| agent.close_flow(now, id));
    }

    /// Calls the agent, and delivers what it sends.
    pub fn act<T>(&mut self, action: impl FnOnce(&mut UserAgent, Duration) -> T) -> T {
        let result = action(&mut self.agent, self.now);
        self.drain();
        result
    }

    /// Sends bytes from the peer of a link to the agent.
    pub fn send(&mut self, link: usize, bytes: Vec<u8>) {
        let source = self.links[link].flow.remote;
        self.send_from(link, source, bytes);
    }

    /// Sends bytes to the agent. A datagram has this source.
    pub fn send_from(&mut self, link: usize, source: SocketAddr, bytes: Vec<u8>) {
        self.trace.push((self.now, "<-", bytes.clone()));
        match self.links[link].health {
            Health::Good | Health::Failing => {
                self.carry(link, true, bytes, |link, bytes| Delivery::ToAgent { link, source, bytes });
            }
            Health::Dead | Health::Closed => self.trace_line("lost: the connection is dead"),
        }
    }

    /// Runs until a message or an event is for the test, and at most until this time.
    pub fn step(&mut self, until: Duration) -> Step {
        loop {
            if !self.events.is_empty() {
                return Step::Reported;
            }
            let delivery = self.queue.first_key_value().map(|(&(at, _), _)| at);
            let timeout = self.agent.next_timeout();
            let next = delivery.into_iter().chain(timeout).min().unwrap_or(Duration::MAX);
            if next > until {
                self.advance(until);
                return Step::Idle;
            }
            self.advance(next);
            if timeout.is_some_and(|timeout| timeout <= self.now) {
                self.turns += 1;
                assert!(self.turns < 10_000, "the agent's timers make time stand still");
                self.act(|agent, now| agent.handle_timeout(now));
            } else if let Some((_, delivery)) = self.queue.pop_first()
                && let Some(arrival) = self.deliver(delivery)
            {
                return Step::Arrived(arrival);
            }
        }
    }

    /// Returns the agent's resource usage.
    pub fn usage(&self) -> Usage {
        self.agent.usage()
    }

    /// Adds a line to the trace.
    pub fn trace_line(&mut self, text: &str) {
        self.trace.push((self.now, "--", text.as_bytes().to_vec()));
    }

    /// Returns what was sent, as text.
    pub fn trace(&self) -> String {
        let mut text = String::new();
        for (at, direction, bytes) in &self.trace {
            let at = at.as_secs_f64() - 1_000.0;
            let message = String::from_utf8_lossy(bytes);
            let message = message.trim_end().replace("\r\n", "\n           ");
            text.push_str(&format!("{at:8.3} {direction} {message}\n"));
        }
        text
    }

    fn advance(&mut self, to: Duration) {
        if to > self.now {
            self.now = to;
            self.turns = 0;
        }
    }

    fn deliver(&mut self, delivery: Delivery) -> Option<Arrival> {
        match delivery {
            Delivery::ToAgent { link, source, bytes } => {
                self.receive(link, source, &bytes);
                None
            }
            Delivery::ToPeer { link, destination, bytes } => {
                let message = Message::from_datagram(&bytes, &Limits::default()).expect("it was read before");
                Some(Arrival { at: self.now, link, destination, message })
            }
        }
    }

    fn receive(&mut self, link: usize, source: SocketAddr, bytes: &[u8]) {
        let Link { id, flow, .. } = self.links[link];
        if flow.transport == Transport::Udp {
            if let Ok(message) = Message::from_datagram(bytes, &Limits::default()) {
                self.inspector.agent_received(&message);
            }
            self.act(|agent, now| agent.handle_datagram(now, id, source, bytes));
        } else {
            // A message counts as received when its last piece has been sent, because pieces keep their order.
            if let Ok(message) = Message::from_datagram(bytes, &Limits::default()) {
                self.inspector.agent_received(&message);
            }
            let mut rest = bytes;
            while !rest.is_empty() {
                let length = if self.conditions.cuts { self.random.usize(1..=rest.len()) } else { rest.len() };
                let (piece, after) = rest.split_at(length.min(60_000));
                rest = after;
                self.act(|agent, now| agent.handle_stream(now, id, piece));
            }
        }
    }

    /// Polls the agent until it has nothing to send and nothing to report.
    fn drain(&mut self) {
        self.check_bounds();
        loop {
            if let Some(transmit) = self.agent.poll_transmit() {
                self.transmit(transmit);
            } else if let Some(event) = self.agent.poll_event() {
                self.trace.push((self.now, "==", format!("{event:?}").into_bytes()));
                self.events.push_back((self.now, event));
            } else {
                return;
            }
        }
    }

    /// Checks that the agent stays within its settings.
    fn check_bounds(&self) {
        let (usage, config) = (self.agent.usage(), &self.config);
        for (name, used, limit) in [
            ("calls", usage.calls, config.max_calls),
            ("flows", usage.flows, config.max_flows),
            ("registrations", usage.registrations, config.max_registrations),
            ("probes", usage.probes, config.max_registrations),
            ("server transactions", usage.server_transactions, config.max_server_transactions),
            ("transmits", usage.transmits, config.max_queue + 64),
            ("events", usage.events, config.max_queue + 64),
        ] {
            assert!(used <= limit, "the agent keeps {used} {name}, although {limit} are the limit");
        }
    }

    fn transmit(&mut self, transmit: Transmit) {
        let Transmit { id, flow, destination, bytes, .. } = transmit;
        let index = self.links.iter().position(|link| link.id == flow).expect("a transmit names an open flow");
        self.trace.push((self.now, "->", bytes.clone()));
        let Link { flow, health, .. } = self.links[index];
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            self.keep_alives += 1;
            return;
        }
        let message = Message::from_datagram(&bytes, &Limits::default());
        let message = message.unwrap_or_else(|error| panic!("the agent sent what cannot be read: {error}"));
        assert_eq!(message.as_bytes(), bytes, "a transmit is one whole message");
        let is_stray = flow.transport == Transport::Udp && destination.ip() != flow.remote.ip();
        if is_stray {
            assert!(!message.is_request(), "the agent sent a request to {destination}, which is not the trunk");
            self.strays.push((destination, bytes));
            return;
        }
        if let Err(rejection) = self.inspector.agent_sent(&flow, &message) {
            panic!("a peer rejects what the agent sent: {rejection}");
        }
        match health {
            Health::Good => {
                let make = move |link, bytes| Delivery::ToPeer { link, destination, bytes };
                self.carry(index, false, bytes, make);
            }
            Health::Dead => self.trace_line("lost: the connection is dead"),
            Health::Failing => {
                self.trace_line("could not be sent");
                self.agent.handle_send_failure(self.now, id);
            }
            Health::Closed => panic!("the agent sends on a flow that was closed"),
        }
    }

    fn carry(&mut self, link: usize, inbound: bool, bytes: Vec<u8>, make: impl Fn(usize, Vec<u8>) -> Delivery) {
        let is_datagram = self.links[link].flow.transport == Transport::Udp;
        let Conditions { loss, doubling, delay: (least, most), .. } = self.conditions;
        let mut copies = 1;
        if is_datagram && self.random.u8(0..100) < loss {
            self.trace_line("lost");
            copies = 0;
        } else if is_datagram && self.random.u8(0..100) < doubling {
            self.trace_line("doubled");
            copies = 2;
        }
        for _ in 0..copies {
            let spread = u64::try_from((most - least).as_micros()).unwrap_or(u64::MAX);
            let mut at = self.now + least + Duration::from_micros(self.random.u64(0..=spread));
            if !is_datagram {
                let busy = &mut self.links[link].busy[usize::from(inbound)];
                at = at.max(*busy);
                *busy = at;
            }
            self.count += 1;
            self.queue.insert((at, self.count), make(link, bytes.clone()));
        }
    }
}
