//! A peer that a test scripts step by step.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use phonegate_sip::agent::{
    CallEvent, CallId, Config, Ended, Established, Event, OutboundCall, Reply, RequestId, RetryReason, Transport,
};
use phonegate_sip::auth::Credentials;
use phonegate_sip::message::{Host, Message, Method};

use super::digest;
use super::network::{Arrival, Network, Step};
pub use super::path::{PATHS, Path, TCP, UDP, local, remote};
use super::text::{PeerDialog, Text, header, name, sdp};

pub const USER: &str = "gate";
pub const PASSWORD: &str = "made-up password";

/// How long a test waits for a message or an event.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(4_000);

/// Plays a scenario over each path.
pub fn each(play: impl Fn(&mut Scenario)) {
    for path in PATHS {
        play(&mut Scenario::new(*path));
    }
}

/// Runs a scenario over UDP and over TCP.
pub fn both(play: impl Fn(&mut Scenario)) {
    play(&mut Scenario::new(UDP));
    play(&mut Scenario::new(TCP));
}

/// An agent with one flow, and the peer at its end.
pub struct Scenario {
    pub net: Network,
    pub path: Path,
    pub link: usize,
    /// New messages that the test has not received.
    inbox: VecDeque<Arrival>,
    seen: HashSet<Vec<u8>>,
    /// Messages that came before, byte by byte.
    pub repeats: Vec<Arrival>,
    events: VecDeque<(Duration, Event)>,
    /// The nonce that the next credentials must have.
    nonce: Option<String>,
    nonces: u32,
    /// Branches of INVITEs that were challenged.
    challenged: HashSet<String>,
}

impl Scenario {
    pub fn new(path: Path) -> Self {
        Self::with(path, Config::default())
    }

    pub fn with(path: Path, config: Config) -> Self {
        let mut net = Network::new(1, config);
        net.inspector.secret = Some((USER.to_owned(), PASSWORD.to_owned()));
        let link = net.open(path.transport, local(path), remote(path));
        Self {
            net,
            path,
            link,
            inbox: VecDeque::new(),
            seen: HashSet::new(),
            repeats: Vec::new(),
            events: VecDeque::new(),
            nonce: None,
            nonces: 0,
            challenged: HashSet::new(),
        }
    }

    pub fn is_udp(&self) -> bool {
        self.path.transport == Transport::Udp
    }

    /// Returns the host of the peer as a URI has it.
    pub fn host(&self) -> &'static str {
        if self.path.ipv6 { "[2001:db8::7]" } else { "192.0.2.7" }
    }

    /// Returns a call as most tests place it.
    pub fn call(&self) -> OutboundCall {
        let host = self.host();
        OutboundCall {
            target: format!("sip:+14255550100@{host}"),
            to: format!("sip:+14255550100@{host}"),
            from: format!("sip:gate@{host}"),
            from_name: String::new(),
            contact_user: "gate".to_owned(),
            routes: Vec::new(),
            headers: Vec::new(),
            offer: sdp("offer"),
            credentials: Some(Credentials::new(USER, PASSWORD).expect("they are short")),
            reliable_provisional: true,
            session_interval: None,
            trunk: vec![Host::Ip(remote(self.path).ip())],
        }
    }

    pub fn place(&mut self, call: OutboundCall) -> CallId {
        let flow = self.net.links[self.link].id;
        self.net.act(|agent, now| agent.place_call(now, flow, call)).expect("the agent places the call")
    }

    /// Places a call and receives its INVITE.
    pub fn invite(&mut self) -> (CallId, Message) {
        let call = self.place(self.call());
        (call, self.receive("INVITE"))
    }

    /// Places a call that the peer answers, and returns the peer's side of the dialog.
    pub fn answered_call(&mut self) -> (CallId, PeerDialog) {
        let (call, invite) = self.invite();
        let dialog = self.answer(&invite, "callee");
        (call, dialog)
    }

    pub fn hang_up(&mut self, call: CallId) {
        self.net.act(|agent, now| agent.hang_up(now, call));
    }

    pub fn respond(&mut self, request: RequestId, reply: Reply) {
        self.net.act(|agent, now| agent.respond(now, request, reply));
    }

    /// Begins a response that makes or belongs to a dialog.
    pub fn in_dialog(&self, invite: &Message, status: &str, tag: &str) -> Text {
        Text::reply(invite, status)
            .tag(tag)
            .each("Record-Route", self.path.record_routes)
            .line(format!("Contact: <{}>", self.contact(tag)))
    }

    /// Returns the Contact of the peer in the dialog with this tag.
    pub fn contact(&self, tag: &str) -> String {
        format!("sip:{tag}@{}:5080", self.host())
    }

    pub fn send(&mut self, text: &Text) {
        self.net.send(self.link, text.build());
    }

    /// Sends a response without anything else to the last request.
    pub fn reply(&mut self, request: &Message, status: &str) {
        self.send(&Text::reply(request, status).tag("callee"));
    }

    /// Answers an INVITE, receives the ACK and the report, and returns the peer's side of the dialog.
    pub fn answer(&mut self, invite: &Message, tag: &str) -> PeerDialog {
        self.send(&self.in_dialog(invite, "200 OK", tag).sdp(tag));
        self.receive("ACK");
        let answered = self.answered();
        assert_eq!(answered.description, Some(sdp(tag)), "the description is that of the 200");
        self.dialog(invite, tag)
    }

    /// Returns the peer's side of the dialog with this tag.
    pub fn dialog(&self, invite: &Message, tag: &str) -> PeerDialog {
        let transport = match self.path.transport {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        };
        PeerDialog::new(invite, tag, &format!("{transport} {}", remote(self.path)), &self.contact(tag))
    }

    /// Receives the next new message, which must be this one. Responses of 100 are skipped.
    pub fn receive(&mut self, wanted: &str) -> Message {
        self.receive_at(wanted).message
    }

    /// As [`Self::receive`], with the time and the address.
    pub fn receive_at(&mut self, wanted: &str) -> Arrival {
        let arrival = self.receive_any().unwrap_or_else(|| panic!("{wanted} never came"));
        assert_eq!(name(&arrival.message), wanted, "another message came");
        arrival
    }

    /// Receives the next new message, whatever it is.
    pub fn receive_any(&mut self) -> Option<Arrival> {
        let deadline = self.net.now + RECEIVE_TIMEOUT;
        loop {
            match self.inbox.pop_front() {
                Some(arrival) if arrival.message.status() == Some(100) => {}
                Some(arrival) => return Some(arrival),
                None if self.turn(deadline) => {}
                None => return None,
            }
        }
    }

    /// Moves the new messages that came and were not received.
    pub fn take_new(&mut self, messages: &mut Vec<Message>) {
        messages.extend(self.inbox.drain(..).map(|arrival| arrival.message));
    }

    /// Removes the INFOs that were reported, and returns their ids.
    pub fn take_infos(&mut self) -> Vec<RequestId> {
        let request = |event| match event {
            Event::Call(_, CallEvent::Info { request, .. }) => request,
            event => panic!("{event:?} is no INFO"),
        };
        self.events.drain(..).map(|(_, event)| request(event)).collect()
    }

    /// Returns the next event.
    pub fn event(&mut self) -> Event {
        let deadline = self.net.now + RECEIVE_TIMEOUT;
        loop {
            if let Some((_, event)) = self.events.pop_front() {
                return event;
            }
            assert!(self.turn(deadline), "no event came");
        }
    }

    /// Returns the next event, which must be about a call.
    pub fn call_event(&mut self) -> CallEvent {
        match self.event() {
            Event::Call(_, event) => event,
            event => panic!("{event:?} is about no call"),
        }
    }

    /// Returns the next event, which must be a provisional response, as its status.
    pub fn progress(&mut self) -> u16 {
        match self.call_event() {
            CallEvent::Provisional(progress) => progress.status,
            event => panic!("{event:?} came instead of progress"),
        }
    }

    /// Returns the next event, which must be the answer to the call.
    pub fn answered(&mut self) -> Established {
        match self.call_event() {
            CallEvent::Established(answered) => answered,
            event => panic!("{event:?} came instead of the answer"),
        }
    }

    /// Returns the next event, which must be the end of the call.
    pub fn ended(&mut self) -> Ended {
        match self.call_event() {
            CallEvent::Ended(ended) => ended,
            event => panic!("{event:?} came instead of the end"),
        }
    }

    /// Returns the next event, which must be an offer or a request for one.
    pub fn offer(&mut self) -> (RequestId, Option<Vec<u8>>) {
        match self.call_event() {
            CallEvent::SdpOffer { request, description } => (request, description),
            event => panic!("{event:?} came instead of an offer"),
        }
    }

    /// Lets time pass.
    pub fn wait(&mut self, time: Duration) {
        let deadline = self.net.now + time;
        while self.turn(deadline) {}
    }

    /// Lets time pass, in which no new message and no event comes.
    pub fn quiet(&mut self, time: Duration) {
        self.wait(time);
        if let Some(arrival) = self.inbox.front() {
            panic!("{} came, although nothing should", name(&arrival.message));
        }
        assert_eq!(self.events.front(), None, "an event came, although none should");
    }

    /// Accepts a CANCEL, and ends its INVITE.
    pub fn confirm_cancel(&mut self, invite: &Message, cancel: &Message) {
        self.reply(cancel, "200 OK");
        self.send(&self.in_dialog(invite, "487 Request Terminated", "callee"));
        self.receive("ACK");
    }

    /// Hangs up an answered call, and checks its end and that the agent keeps nothing of it.
    pub fn finish(&mut self, call: CallId) {
        self.hang_up(call);
        let bye = self.receive("BYE");
        self.reply(&bye, "200 OK");
        let ended = self.ended();
        assert_eq!(ended.cause, phonegate_sip::agent::EndCause::HungUp, "the caller hung up");
        assert!(!ended.may_still_ring, "the peer confirmed the end");
        self.nothing_left();
    }

    /// Lets all timers end, and checks that the agent holds nothing but flows.
    pub fn nothing_left(&mut self) {
        self.quiet(Duration::from_secs(700));
        assert_empty(&self.net);
    }

    /// Runs until something happens. Returns false if the time is up.
    fn turn(&mut self, deadline: Duration) -> bool {
        match self.net.step(deadline) {
            Step::Idle => return false,
            Step::Reported => {
                let is_noise = |event: &Event| {
                    let retried = CallEvent::Retried(RetryReason::Challenged);
                    matches!(event, Event::Call(_, event) if *event == retried)
                };
                let drop_noise = self.path.challenges;
                let news = self.net.events.drain(..);
                self.events.extend(news.filter(|(_, event)| !(drop_noise && is_noise(event))));
            }
            Step::Arrived(arrival) if !self.seen.insert(arrival.message.as_bytes().to_vec()) => {
                self.repeats.push(arrival);
            }
            Step::Arrived(arrival) => {
                if !(self.path.challenges && self.challenges(&arrival.message)) {
                    self.inbox.push_back(arrival);
                }
            }
        }
        true
    }

    /// Challenges a request that does not answer the newest nonce. Returns whether the test does not see the message.
    fn challenges(&mut self, message: &Message) -> bool {
        let (Some(method), Ok(via)) = (message.method(), message.top_via()) else { return false };
        let branch = via.branch().unwrap_or_default();
        if matches!(method, Method::Ack) {
            return self.challenged.remove(branch);
        }
        if matches!(method, Method::Cancel | Method::Options) {
            return false;
        }
        let answer = message.header_values("Proxy-Authorization").next().map(String::from_utf8_lossy);
        let used = answer.map(|answer| digest::param(&digest::params(&answer), "nonce").to_owned());
        if self.nonce.is_some() && self.nonce == used {
            self.nonce = None;
            return false;
        }
        if *method == Method::Invite {
            self.challenged.insert(branch.to_owned());
        }
        self.nonces += 1;
        let nonce = format!("nonce-{}", self.nonces);
        let challenge = format!("Digest realm=\"trunk\", nonce=\"{nonce}\", algorithm=SHA-256, qop=\"auth\"");
        self.nonce = Some(nonce);
        let text = Text::reply(message, "407 Proxy Authentication Required").tag("proxy");
        self.send(&text.line(format!("Proxy-Authenticate: {challenge}")));
        true
    }
}

/// Shows what was sent if the test failed.
impl Drop for Scenario {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?}\n{}", self.path, self.net.trace());
        }
    }
}

/// Checks that the agent holds nothing but flows.
pub fn assert_empty(net: &Network) {
    let usage = net.usage();
    let held = [
        usage.calls,
        usage.registrations,
        usage.probes,
        usage.client_transactions,
        usage.server_transactions,
        usage.timers,
        usage.transmits,
        usage.events,
    ];
    assert!(held.iter().all(|&held| held == 0), "the agent still holds something: {usage:?}");
}

/// Returns the URIs of the Route headers of a message.
pub fn routes(message: &Message) -> Vec<String> {
    let routes = message.routes().expect("the routes can be read");
    routes.iter().map(|route| route.uri_text().to_owned()).collect()
}

/// Returns the Request-URI.
pub fn request_uri(message: &Message) -> String {
    String::from_utf8_lossy(message.request_uri_bytes().expect("it is a request")).into_owned()
}

/// Returns the tag of a message's From or To.
pub fn tag_of(message: &Message, of: &str) -> String {
    let value = header(message, of);
    value.split_once(";tag=").map(|(_, tag)| tag.to_owned()).expect("there is a tag")
}
