//! An agent with one flow in virtual time. The test is the peer.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::net::SocketAddr;
use std::time::Duration;

use phonegate_sip::agent::{
    CallEvent, CallId, Config, EndCause, Event, Flow, FlowId, OutboundCall, Reply, Transmit, Transport, UserAgent,
};
use phonegate_sip::message::{Limits, Message};

pub const LOCAL: &str = "192.0.2.1:5070";
pub const SERVER: &str = "192.0.2.9:5060";

/// The headers of an offer of the peer.
pub const OFFER: &str = "Contact: <sip:pbx@192.0.2.9>\r\nContent-Type: application/sdp\r\n";

/// More timers than any test needs. An agent that exceeds it would never end.
const MAX_TIMERS: usize = 20_000;

/// An agent, its flow, and the time.
pub struct Wire {
    pub agent: UserAgent,
    pub flow: FlowId,
    pub now: Duration,
    pub server: SocketAddr,
    transport: Transport,
}

impl Wire {
    pub fn udp() -> Self {
        Self::between(Transport::Udp, LOCAL, SERVER)
    }

    pub fn tcp() -> Self {
        Self::between(Transport::Tcp, LOCAL, SERVER)
    }

    pub fn between(transport: Transport, local: &str, server: &str) -> Self {
        Self::with_config(transport, local, server, Config::default())
    }

    pub fn with_config(transport: Transport, local: &str, server: &str, config: Config) -> Self {
        let mut count = 0_u64;
        let mut agent = UserAgent::new(config, move |bytes| {
            for chunk in bytes.chunks_mut(8) {
                count = count.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                chunk.copy_from_slice(&count.to_be_bytes()[..chunk.len()]);
            }
        });
        let server = server.parse().unwrap();
        let flow = agent.open_flow(Flow { transport, local: local.parse().unwrap(), remote: server }).unwrap();
        Self { agent, flow, now: seconds(1), server, transport }
    }

    /// Opens another flow to the same server.
    pub fn open(&mut self, local: &str) -> FlowId {
        let flow = Flow { transport: self.transport, local: local.parse().unwrap(), remote: self.server };
        self.agent.open_flow(flow).unwrap()
    }

    /// Lets time pass, without handling timers.
    pub fn advance(&mut self, by: Duration) {
        self.now += by;
    }

    /// Lets the peer send bytes.
    pub fn receive(&mut self, bytes: &[u8]) {
        match self.transport {
            Transport::Udp => self.agent.handle_datagram(self.now, self.flow, self.server, bytes),
            _ => self.agent.handle_stream(self.now, self.flow, bytes),
        }
    }

    /// Lets the peer send a message that is written with LF.
    pub fn receive_text(&mut self, text: &str) {
        self.receive(text.replace('\n', "\r\n").as_bytes());
    }

    /// Lets the peer respond.
    pub fn reply(&mut self, request: &Message, status: u16, headers: &str, body: &str) {
        let bytes = response(request, status, headers, body);
        self.receive(&bytes);
    }

    pub fn transmits(&mut self) -> Vec<Transmit> {
        std::iter::from_fn(|| self.agent.poll_transmit()).collect()
    }

    pub fn sent(&mut self) -> Vec<Message> {
        self.transmits().iter().map(|transmit| parse(&transmit.bytes)).collect()
    }

    /// Returns the only message that was sent since the last poll.
    #[track_caller]
    pub fn sent_one(&mut self) -> Message {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "one message is sent, not {sent:?}");
        sent.remove(0)
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.agent.poll_event()).collect()
    }

    /// Handles each timer up to a time. Returns what was sent, and how long after the call of this method.
    pub fn run(&mut self, span: Duration) -> Vec<(Duration, Message)> {
        let start = self.now;
        let end = start.saturating_add(span);
        let mut sent = Vec::new();
        for _ in 0..MAX_TIMERS {
            match self.agent.next_timeout().filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => {
                    self.now = if span == Duration::MAX { self.now } else { end };
                    return sent;
                }
            }
            self.agent.handle_timeout(self.now);
            sent.extend(self.sent().into_iter().map(|message| (self.now - start, message)));
        }
        panic!("the timers never end");
    }

    /// Handles timers until there is none.
    pub fn run_out(&mut self) -> Vec<(Duration, Message)> {
        self.run(Duration::MAX)
    }

    /// Places a call and returns its INVITE.
    pub fn place(&mut self, call: OutboundCall) -> (CallId, Message) {
        let id = self.agent.place_call(self.now, self.flow, call).unwrap();
        (id, self.sent_one())
    }

    /// Places a call that the peer answers with these headers. Returns the ACK, too.
    pub fn establish(&mut self, call: OutboundCall, headers: &str) -> (CallId, Message, Message) {
        let (id, invite) = self.place(call);
        self.reply(&invite, 200, &format!("{headers}Content-Type: application/sdp\r\n"), "v=0\r\n");
        let ack = self.sent_one();
        self.events();
        (id, invite, ack)
    }

    /// Asserts that nothing is left once all timers have been handled.
    #[track_caller]
    pub fn assert_empty(&mut self) {
        self.run_out();
        let usage = self.agent.usage();
        let held = [usage.calls, usage.registrations, usage.probes, usage.timers];
        assert_eq!(held, [0; 4], "nothing is left: {usage:?}");
        assert_eq!((usage.client_transactions, usage.server_transactions), (0, 0), "no transaction is left");
    }
}

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The times of messages, in milliseconds.
pub fn times(sent: &[(Duration, Message)]) -> Vec<u128> {
    sent.iter().map(|(at, _)| at.as_millis()).collect()
}

pub fn parse(bytes: &[u8]) -> Message {
    Message::from_datagram(bytes, &Limits { datagram_request: 64 * 1024, ..Limits::default() }).unwrap()
}

/// Returns the values of a header.
pub fn values(message: &Message, name: &str) -> Vec<String> {
    message.header_values(name).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

/// Returns the value of a header that occurs once.
#[track_caller]
pub fn value(message: &Message, name: &str) -> String {
    let mut values = values(message, name);
    assert_eq!(values.len(), 1, "one {name}, not {values:?}");
    values.remove(0)
}

/// Writes a response with the tag `peer`.
pub fn response(request: &Message, status: u16, headers: &str, body: &str) -> Vec<u8> {
    let to = value(request, "To");
    let to = if to.contains(";tag=") { to } else { format!("{to};tag=peer") };
    response_to(request, &to, status, headers, body)
}

/// Writes a response with this To.
pub fn response_to(request: &Message, to: &str, status: u16, headers: &str, body: &str) -> Vec<u8> {
    let copied: String =
        ["Via", "From", "Call-ID", "CSeq"].iter().map(|name| format!("{name}: {}\r\n", value(request, name))).collect();
    let length = body.len();
    format!("SIP/2.0 {status} Any\r\n{copied}To: {to}\r\n{headers}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// Writes a request of the peer in the dialog of an INVITE that it answered with the tag `peer`.
pub fn request(invite: &Message, method: &str, cseq: u32, headers: &str, body: &str) -> Vec<u8> {
    let (from, to, call_id) = (value(invite, "To"), value(invite, "From"), value(invite, "Call-ID"));
    let length = body.len();
    format!(
        "{method} sip:gate@192.0.2.1:5070 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK{method}{cseq};rport\
         \r\nFrom: {from};tag=peer\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n{headers}\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A call without credentials and session timer.
pub fn call() -> OutboundCall {
    OutboundCall {
        target: "sip:+14255550100@trunk.example.com".into(),
        to: "sip:+14255550100@trunk.example.com".into(),
        from: "sip:gate@trunk.example.com".into(),
        from_name: String::new(),
        contact_user: "gate".into(),
        routes: Vec::new(),
        headers: Vec::new(),
        offer: b"v=0\r\n".to_vec(),
        credentials: None,
        reliable_provisional: true,
        session_interval: None,
        trunk: Vec::new(),
    }
}

/// Returns why the call has ended, if it has.
pub fn ended(wire: &mut Wire) -> Option<EndCause> {
    wire.events().into_iter().find_map(|event| match event {
        Event::Call(_, CallEvent::Ended(ended)) => Some(ended.cause),
        _ => None,
    })
}

/// Lets the peer send a re-INVITE, which the caller answers.
pub fn reinvited(wire: &mut Wire, invite: &Message, cseq: u32, reply: Reply) -> Message {
    wire.receive(&request(invite, "INVITE", cseq, OFFER, "v=0\r\n"));
    let offer = wire.events().into_iter().find_map(|event| match event {
        Event::Call(_, CallEvent::SdpOffer { request, .. }) => Some(request),
        _ => None,
    });
    wire.agent.respond(wire.now, offer.unwrap(), reply);
    wire.sent_one()
}
