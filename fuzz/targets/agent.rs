//! The input is a sequence of everything that can happen to an agent: commands, time, and messages of a server that
//! responds correctly or not.
#![no_main]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use phonegate_fuzz::server::{Reply, write_request, write_response};
use phonegate_sip::agent::{
    CallEvent, CallId, Config, Event, Flow, FlowId, NewRegistration, OutboundCall, RegistrationEvent, RegistrationId,
    Reply as CallerReply, RequestId, TransmitId, Transport, UserAgent,
};
use phonegate_sip::auth::Credentials;
use phonegate_sip::message::{Limits, Message, Method};

const SERVER: &str = "192.0.2.9:5060";

/// Low limits, which inputs reach quickly.
const MAX_CALLS: usize = 6;
const MAX_FLOWS: usize = 4;
const MAX_REGISTRATIONS: usize = 3;
const MAX_SERVERS: usize = 16;
const MAX_QUEUE: usize = 64;

/// Maximum that one call of the agent may add to a queue that was below its limit.
const QUEUE_SLACK: usize = 512;

#[derive(Arbitrary, Debug)]
enum Step {
    Place {
        flow: u8,
        has_credentials: bool,
        reliable: bool,
        interval: Option<u8>,
    },
    HangUp(u8),
    Follow {
        call: u8,
        flow: u8,
    },
    Respond {
        request: u8,
        status: Option<u16>,
        has_body: bool,
    },
    Register {
        flow: u8,
        contact: bool,
        expires: u8,
    },
    Unregister(u8),
    Probe {
        flow: u8,
        seconds: u8,
    },
    OpenFlow {
        stream: bool,
    },
    CloseFlow(u8),
    ReplaceFlow {
        old: u8,
        new: u8,
    },
    SendFailure(u8),
    /// The server responds to one of the latest requests.
    Response {
        request: u8,
        reply: Reply,
    },
    /// The server sends a request, in the call of one of the latest requests.
    Request {
        request: u8,
        method: u8,
        cseq: u8,
        tag: u8,
        body: u8,
    },
    Bytes {
        flow: u8,
        bytes: Vec<u8>,
    },
    /// Time passes, in units of 100 ms.
    Wait(u16),
    /// Time passes until the next timer.
    Timer,
    PollEvents,
    PollTransmits,
}

fuzz_target!(|steps: Vec<Step>| {
    let mut world = World::new();
    for step in steps.iter().take(200) {
        world.step(step);
        world.check();
    }
    world.end();
});

/// The events of a call so far.
#[derive(Default)]
struct Known {
    is_answered: bool,
    is_ended: bool,
}

/// An agent, its driver, and the checks of what it promises.
struct World {
    agent: UserAgent,
    now: Duration,
    flows: Vec<FlowId>,
    calls: BTreeMap<CallId, Known>,
    registrations: BTreeMap<RegistrationId, bool>,
    requests: Vec<RequestId>,
    transmits: Vec<TransmitId>,
    /// The latest requests of the agent, and their flows.
    sent: Vec<(FlowId, Message)>,
}

impl World {
    fn new() -> Self {
        let config = Config {
            max_calls: MAX_CALLS,
            max_flows: MAX_FLOWS,
            max_registrations: MAX_REGISTRATIONS,
            max_server_transactions: MAX_SERVERS,
            max_queue: MAX_QUEUE,
            ..Config::default()
        };
        let mut next = 0_u128;
        let agent = UserAgent::new(config, move |bytes| {
            next = next.wrapping_add(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            bytes.copy_from_slice(&next.to_be_bytes()[..bytes.len()]);
        });
        let mut world = Self {
            agent,
            now: Duration::from_secs(1),
            flows: Vec::new(),
            calls: BTreeMap::new(),
            registrations: BTreeMap::new(),
            requests: Vec::new(),
            transmits: Vec::new(),
            sent: Vec::new(),
        };
        world.open_flow(false);
        world
    }

    fn open_flow(&mut self, stream: bool) {
        let flow = Flow {
            transport: if stream { Transport::Tcp } else { Transport::Udp },
            local: "192.0.2.1:5070".parse().expect("an address"),
            remote: SERVER.parse().expect("an address"),
        };
        self.flows.extend(self.agent.open_flow(flow));
        let excess = self.flows.len().saturating_sub(8);
        self.flows.drain(..excess);
    }

    fn flow(&self, index: u8) -> FlowId {
        self.flows[usize::from(index) % self.flows.len()]
    }

    fn step(&mut self, step: &Step) {
        let now = self.now;
        match step {
            Step::Place { flow, has_credentials, reliable, interval } => {
                let call = outbound_call(*has_credentials, *reliable, interval.map(u32::from));
                if let Ok(id) = self.agent.place_call(now, self.flow(*flow), call) {
                    assert!(self.calls.insert(id, Known::default()).is_none(), "ids are never used again");
                }
            }
            Step::HangUp(call) => {
                if let Some(id) = pick(&self.calls, *call) {
                    self.agent.hang_up(now, id);
                }
            }
            Step::Follow { call, flow } => {
                if let Some(id) = pick(&self.calls, *call) {
                    let _ = self.agent.follow_redirect(now, id, self.flow(*flow));
                }
            }
            Step::Respond { request, status, has_body } => {
                if !self.requests.is_empty() {
                    let id = self.requests[usize::from(*request) % self.requests.len()];
                    let accepted = CallerReply::Accept(has_body.then(|| b"v=0\r\n".to_vec()));
                    self.agent.respond(now, id, status.map_or(accepted, CallerReply::Reject));
                }
            }
            Step::Register { flow, contact, expires } => {
                let registration = NewRegistration {
                    registrar: "sip:trunk.example.com".into(),
                    address: "sip:gate@trunk.example.com".into(),
                    contact_user: "gate".into(),
                    routes: Vec::new(),
                    expires: u32::from(*expires) + 60,
                    credentials: Credentials::new("gate", "made-up").ok(),
                    registers_contact: *contact,
                };
                if let Ok(id) = self.agent.register(now, self.flow(*flow), registration) {
                    self.registrations.insert(id, false);
                }
            }
            Step::Unregister(registration) => {
                if let Some(id) = pick(&self.registrations, *registration) {
                    self.agent.unregister(now, id);
                }
            }
            Step::Probe { flow, seconds } => {
                let timeout = Duration::from_secs(u64::from(*seconds));
                let _ = self.agent.probe(now, self.flow(*flow), "sip:trunk.example.com", timeout, None);
            }
            Step::OpenFlow { stream } => self.open_flow(*stream),
            Step::CloseFlow(flow) => self.agent.close_flow(now, self.flow(*flow)),
            Step::ReplaceFlow { old, new } => self.agent.replace_flow(now, self.flow(*old), self.flow(*new)),
            Step::SendFailure(transmit) => {
                if !self.transmits.is_empty() {
                    let id = self.transmits[usize::from(*transmit) % self.transmits.len()];
                    self.agent.handle_send_failure(now, id);
                }
            }
            Step::Response { request, reply } => {
                if let Some((flow, request)) = self.latest(*request) {
                    let response = write_response(&request, reply);
                    self.deliver(flow, response.as_bytes());
                }
            }
            Step::Request { request, method, cseq, tag, body } => {
                if let Some((flow, sent)) = self.latest(*request) {
                    let request = write_request(&sent, *method, *cseq, *tag, *body);
                    self.deliver(flow, request.as_bytes());
                }
            }
            Step::Bytes { flow, bytes } => self.deliver(self.flow(*flow), bytes),
            Step::Wait(tenths) => {
                self.now += Duration::from_millis(u64::from(*tenths) * 100);
                self.agent.handle_timeout(self.now);
            }
            Step::Timer => self.run_timer(),
            Step::PollEvents => self.poll_events(),
            Step::PollTransmits => self.poll_transmits(),
        }
    }

    fn latest(&self, index: u8) -> Option<(FlowId, Message)> {
        let index = usize::from(index).checked_rem(self.sent.len())?;
        self.sent.iter().rev().nth(index).cloned()
    }

    /// Delivers bytes both as a datagram and as stream data. Only one of them fits the flow.
    fn deliver(&mut self, flow: FlowId, bytes: &[u8]) {
        let source: SocketAddr = SERVER.parse().expect("an address");
        self.agent.handle_datagram(self.now, flow, source, bytes);
        self.agent.handle_stream(self.now, flow, bytes);
    }

    fn run_timer(&mut self) {
        if let Some(at) = self.agent.next_timeout() {
            self.now = self.now.max(at);
            self.agent.handle_timeout(self.now);
            assert!(self.agent.next_timeout().is_none_or(|next| next > self.now), "each timer is handled");
        }
    }

    fn poll_transmits(&mut self) {
        while let Some(transmit) = self.agent.poll_transmit() {
            assert_eq!(transmit.destination.ip(), SERVER.parse::<SocketAddr>().expect("an address").ip());
            self.transmits.push(transmit.id);
            if transmit.bytes != b"\r\n" {
                let message =
                    Message::from_datagram(&transmit.bytes, &Limits::default()).expect("what is sent can be read");
                // A response copies headers of the peer, even malformed ones.
                assert!(message.essentials().is_ok() || !message.is_request(), "a request has all mandatory headers");
                if message.is_request() && message.method() != Some(&Method::Ack) {
                    self.sent.push((transmit.flow, message));
                }
            }
        }
        let excess = (self.transmits.len().saturating_sub(64), self.sent.len().saturating_sub(16));
        self.transmits.drain(..excess.0);
        self.sent.drain(..excess.1);
    }

    fn poll_events(&mut self) {
        while let Some(event) = self.agent.poll_event() {
            match event {
                Event::Call(id, event) => self.check_call_event(id, event),
                Event::Registration(id, event) => {
                    let is_ended = self.registrations.get_mut(&id).expect("a registration that was made");
                    assert!(!*is_ended, "nothing follows the end");
                    *is_ended = event == RegistrationEvent::Ended;
                }
                _ => {}
            }
        }
    }

    fn check_call_event(&mut self, id: CallId, event: CallEvent) {
        let known = self.calls.get_mut(&id).expect("a call that was placed");
        assert!(!known.is_ended, "nothing follows the end");
        match event {
            CallEvent::Established(_) => {
                assert!(!known.is_answered, "a call is answered once");
                known.is_answered = true;
            }
            CallEvent::Ended(ended) => {
                known.is_ended = true;
                assert!(ended.may_have_rung || !ended.may_still_ring);
                assert!(ended.may_have_rung || !known.is_answered);
            }
            CallEvent::SdpOffer { request, .. } | CallEvent::Info { request, .. } => {
                self.requests.push(request);
                let excess = self.requests.len().saturating_sub(16);
                self.requests.drain(..excess);
            }
            _ => {}
        }
    }

    fn check(&self) {
        let usage = self.agent.usage();
        assert!(usage.calls <= MAX_CALLS, "{usage:?}");
        assert!(usage.flows <= MAX_FLOWS, "{usage:?}");
        assert!(usage.registrations <= MAX_REGISTRATIONS && usage.probes <= MAX_REGISTRATIONS, "{usage:?}");
        assert!(usage.server_transactions <= MAX_SERVERS, "{usage:?}");
        assert!(usage.transmits.max(usage.events) <= MAX_QUEUE + QUEUE_SLACK, "{usage:?}");
    }

    /// Ends everything, runs until no timer is left, and checks that nothing remains.
    fn end(&mut self) {
        for id in self.calls.keys().copied().collect::<Vec<_>>() {
            self.agent.hang_up(self.now, id);
        }
        for id in self.registrations.keys().copied().collect::<Vec<_>>() {
            self.agent.unregister(self.now, id);
        }
        let start = self.now;
        while self.agent.next_timeout().is_some() {
            self.run_timer();
            self.poll_events();
            self.poll_transmits();
            assert!(self.now - start < Duration::from_secs(3_600), "everything ends within an hour");
        }
        self.poll_events();
        self.poll_transmits();
        assert!(self.calls.values().all(|call| call.is_ended), "each call ends");
        assert!(self.registrations.values().all(|is_ended| *is_ended), "each registration ends");
        let left = self.agent.usage();
        let flows = left.flows;
        let mut nothing = UserAgent::new(Config::default(), |_| {}).usage();
        nothing.flows = flows;
        assert_eq!(left, nothing, "nothing is left");
    }
}

fn pick<K: Copy, V>(map: &BTreeMap<K, V>, index: u8) -> Option<K> {
    let index = usize::from(index).checked_rem(map.len())?;
    map.keys().rev().nth(index).copied()
}

fn outbound_call(has_credentials: bool, reliable_provisional: bool, session_interval: Option<u32>) -> OutboundCall {
    OutboundCall {
        target: "sip:+14255550100@trunk.example.com".into(),
        to: "sip:+14255550100@trunk.example.com".into(),
        from: "sip:gate@trunk.example.com".into(),
        from_name: String::new(),
        contact_user: "gate".into(),
        routes: Vec::new(),
        headers: Vec::new(),
        offer: b"v=0\r\n".to_vec(),
        credentials: Credentials::new("gate", "made-up").ok().filter(|_| has_credentials),
        reliable_provisional,
        session_interval,
        trunk: Vec::new(),
    }
}
