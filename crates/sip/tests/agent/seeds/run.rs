//! One seed: a few calls, a PBX, and what must be true.

mod floods;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use phonegate_sip::agent::{
    CallEvent, CallId, Config, Ended, Event, FlowId, OutboundCall, Reply, RequestId, Transport,
};
use phonegate_sip::auth::Credentials;
use phonegate_sip::message::{Host, SipUri};

use crate::net::network::{Conditions, Health, Network, Step};
use crate::net::pbx::{Pbx, PbxCall};
use crate::net::phones::{Hook, Phone};
use crate::net::plan::Features;
use crate::net::story::{PASSWORD, USER, assert_empty};
use crate::net::text::sdp;

/// A hung-up call has ended after this: CANCEL and BYE may each wait 64 times T1, and may be challenged.
const END_BOUND: Duration = Duration::from_secs(130);

/// After this, a good network has carried all that an answer causes.
const SETTLED: Duration = Duration::from_secs(3);

enum Action {
    Place,
    HangUp(usize),
    Calm,
    Crash,
    Restart,
    Stranger,
    Flood,
    Fail,
    Work,
    Respond(RequestId, Reply),
    CheckSilent(usize),
    CheckConnected,
}

pub struct Placed {
    id: CallId,
    number: String,
    hung_up: Option<Duration>,
    answered: Option<Vec<u8>>,
    ended: Option<(Duration, Ended)>,
}

pub struct Run {
    net: Network,
    pbx: Pbx,
    is_down: bool,
    features: Features,
    random: fastrand::Rng,
    transport: Transport,
    link: usize,
    calls: Vec<Placed>,
    actions: BTreeMap<(Duration, u64), Action>,
    count: u64,
    /// When the network became good.
    calm: Option<Duration>,
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("it is an address")
}

impl Run {
    pub fn new(seed: u64, features: Features) -> Self {
        let mut net = Network::new(seed, Config { max_server_transactions: 16, max_queue: 16, ..Config::default() });
        net.inspector.secret = Some((USER.to_owned(), PASSWORD.to_owned()));
        let transport = if features.has("tcp") { Transport::Tcp } else { Transport::Udp };
        let link = net.open(transport, address("192.0.2.1:5060"), address("192.0.2.7:5060"));
        let mut random = fastrand::Rng::with_seed(seed ^ 0x40);
        let (loss, doubling, slowest) = (random.u8(0..50), random.u8(0..40), random.u64(10..1_500));
        let slowest = if features.has("reordering") { slowest } else { 10 };
        net.conditions = Conditions {
            loss: if features.has("loss") { loss } else { 0 },
            doubling: if features.has("doubling") { doubling } else { 0 },
            delay: (Duration::from_millis(10), Duration::from_millis(slowest)),
            cuts: features.has("cuts"),
        };
        Self {
            net,
            pbx: Pbx::new(seed, features, transport != Transport::Udp),
            is_down: false,
            features,
            random,
            transport,
            link,
            calls: Vec::new(),
            actions: BTreeMap::new(),
            count: 0,
            calm: None,
        }
    }

    pub fn trace(&self) -> String {
        self.net.trace()
    }

    fn after(&mut self, pause: Duration, action: Action) {
        self.count += 1;
        self.actions.insert((self.net.now + pause, self.count), action);
    }

    fn seconds(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.random.u64(0..=most * 1_000))
    }

    /// Plays the seed.
    ///
    /// # Panics
    /// Something is not as it must be.
    pub fn play(&mut self) {
        self.after(Duration::ZERO, Action::Place);
        let (second, calm, crash, fail) = (self.seconds(20), self.seconds(120), self.seconds(60), self.seconds(40));
        if self.features.has("second call") {
            self.after(second, Action::Place);
        }
        self.after(calm, Action::Calm);
        if self.features.has("crash") {
            self.after(crash, Action::Crash);
        }
        if self.features.has("failing") {
            self.after(fail, Action::Fail);
        }
        for _ in 0..2 {
            let (stranger, flood) = (self.seconds(60), self.seconds(60));
            if self.features.has("stranger") && self.transport == Transport::Udp {
                self.after(stranger, Action::Stranger);
            }
            if self.features.has("floods") {
                self.after(flood, Action::Flood);
            }
        }
        self.run_for(Duration::from_secs(160));
        let open = self.calls.iter().map(|call| call.ended.as_ref().map(|(at, _)| *at)).collect::<Vec<_>>();
        self.run_for(END_BOUND);
        for (call, before) in self.calls.iter().zip(open) {
            assert!(
                call.ended.is_some(),
                "a call has not ended {END_BOUND:?} after it was hung up; before: {before:?}"
            );
        }
        // Phones that ring say so each minute, and those that are off the hook ask each minute.
        self.run_for(Duration::from_secs(75));
        for call in &self.pbx.calls {
            for phone in &call.phones {
                assert!(phone.hook != Hook::Ringing || call.refuses_cancel(), "phone {} rings on", phone.name);
                assert_ne!(phone.hook, Hook::Connected, "phone {} is off the hook", phone.name);
            }
        }
        self.run_for(Duration::from_secs(700));
        assert_empty(&self.net);
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.net.now + time;
        loop {
            let next = self.actions.first_key_value().map(|(&(at, _), _)| at);
            let until = next.into_iter().chain(self.pbx.next_wake()).min().unwrap_or(end).min(end);
            match self.net.step(until) {
                Step::Arrived(arrival) if self.is_down => drop(arrival),
                Step::Arrived(arrival) => self.pbx.receive(&arrival),
                Step::Reported => self.report(),
                Step::Idle => {
                    let now = self.net.now;
                    self.pbx.wake(now);
                    while self.actions.first_key_value().is_some_and(|(&(at, _), _)| at <= now) {
                        if let Some((_, action)) = self.actions.pop_first() {
                            self.act(action);
                        }
                    }
                    if now >= end {
                        return self.flush();
                    }
                }
            }
            self.flush();
        }
    }

    fn flush(&mut self) {
        for (link, bytes) in std::mem::take(&mut self.pbx.outbox) {
            self.net.send(link, bytes);
        }
    }

    fn flow(&self) -> FlowId {
        self.net.links[self.link].id
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Place => self.place(),
            Action::HangUp(index) => {
                let id = self.calls[index].id;
                self.calls[index].hung_up = Some(self.net.now);
                self.net.remark("the caller hangs up");
                self.net.act(|agent, now| agent.hang_up(now, id));
            }
            Action::Calm => {
                self.net.remark("the network is good from now on");
                self.net.conditions = Conditions::GOOD;
                self.calm = Some(self.net.now);
                self.pbx.recover(self.net.now);
                self.after(Duration::from_secs(41), Action::CheckConnected);
            }
            Action::Crash => self.crash(),
            Action::Restart => self.restart(),
            Action::Stranger => self.stranger(),
            Action::Flood => self.flood(),
            Action::Fail if self.net.links[self.link].health == Health::Good => {
                self.net.links[self.link].health = Health::Failing;
                let pause = self.seconds(8);
                self.after(pause, Action::Work);
            }
            Action::Work if self.net.links[self.link].health == Health::Failing => {
                self.net.links[self.link].health = Health::Good;
            }
            Action::Fail | Action::Work => {}
            Action::Respond(request, reply) => self.net.act(|agent, now| agent.respond(now, request, reply)),
            Action::CheckSilent(index) => {
                let number = self.calls[index].number.clone();
                for phone in self.phones(&number).filter(|(call, _)| !call.may_surprise()).map(|(_, phone)| phone) {
                    let is_silent = !matches!(phone.hook, Hook::Ringing | Hook::Connected);
                    assert!(is_silent, "phone {} is {:?}, but could not ring any more", phone.name, phone.hook);
                }
            }
            Action::CheckConnected => {
                self.check_connected();
                self.after(Duration::from_secs(1), Action::CheckConnected);
            }
        }
    }

    fn phones<'a>(&'a self, number: &'a str) -> impl Iterator<Item = (&'a PbxCall, &'a Phone)> {
        let calls = self.pbx.calls.iter().filter(move |call| call.is_to(number));
        calls.flat_map(|call| call.phones.iter().map(move |phone| (call, phone)))
    }

    fn place(&mut self) {
        let number = format!("+1425555010{}", self.calls.len());
        let timers = self.features.has("timers");
        let call = OutboundCall {
            target: format!("sip:{number}@192.0.2.7"),
            to: format!("sip:{number}@192.0.2.7"),
            from: "sip:gate@192.0.2.7".to_owned(),
            from_name: String::new(),
            contact_user: "gate".to_owned(),
            routes: Vec::new(),
            headers: Vec::new(),
            offer: sdp("offer"),
            credentials: Some(Credentials::new(USER, PASSWORD).expect("they are short")),
            reliable_provisional: self.features.has("reliable"),
            session_interval: timers.then_some(90),
            trunk: vec![Host::Ip(address("192.0.2.7:5060").ip())],
        };
        let flow = self.flow();
        if let Ok(id) = self.net.act(|agent, now| agent.place_call(now, flow, call)) {
            self.calls.push(Placed { id, number, hung_up: None, answered: None, ended: None });
            let most = if self.random.bool() { 130 } else { 20 };
            let pause = self.seconds(most);
            self.after(pause, Action::HangUp(self.calls.len() - 1));
        }
    }

    fn report(&mut self) {
        while let Some((at, event)) = self.net.events.pop_front() {
            let Event::Call(id, event) = event else { panic!("{event:?} was not expected") };
            let index = self.calls.iter().position(|call| call.id == id).expect("the event is about a call");
            assert!(self.calls[index].ended.is_none(), "{event:?} comes after the end");
            match event {
                CallEvent::Redirected(uri) => self.follow(id, &uri),
                CallEvent::Answered(answered) => {
                    assert!(self.calls[index].answered.is_none(), "the call is answered twice");
                    let description = answered.description.expect("each phone answers with a description");
                    let number = self.calls[index].number.clone();
                    let known = self
                        .phones(&number)
                        .any(|(_, phone)| sdp(&phone.name) == description && phone.connected_at > Duration::ZERO);
                    assert!(known, "the answer is of no phone that answered");
                    self.calls[index].answered = Some(description);
                }
                CallEvent::Offer { request, description } => {
                    let ours = sdp(if description.is_some() { "our answer" } else { "our offer" });
                    self.respond(request, Reply::Accept(Some(ours)), Reply::Refuse(488));
                }
                CallEvent::Info { request, .. } => self.respond(request, Reply::Accept(None), Reply::Refuse(415)),
                CallEvent::Ended(ended) => self.ended(index, at, ended),
                _ => {}
            }
        }
    }

    fn respond(&mut self, request: RequestId, accept: Reply, refuse: Reply) {
        let (pause, choice) = (self.seconds(3), self.random.u8(0..10));
        let is_prompt = !self.features.has("replies");
        match choice {
            _ if is_prompt => self.after(Duration::ZERO, Action::Respond(request, accept)),
            0..=4 => self.after(pause, Action::Respond(request, accept)),
            5..=8 => self.after(pause, Action::Respond(request, refuse)),
            _ => {}
        }
    }

    fn ended(&mut self, index: usize, at: Duration, ended: Ended) {
        let call = &self.calls[index];
        if let Some(hung_up) = call.hung_up {
            assert!(at - hung_up <= END_BOUND, "the call ended {:?} after it was hung up", at - hung_up);
        }
        let number = call.number.clone();
        let rang = self.pbx.calls.iter().any(|call| call.is_to(&number) && call.rang);
        // A PBX that crashed may have rung a phone that it knows nothing of, when the INVITE comes again.
        let crashes = self.features.has("crash");
        assert!(ended.may_have_rung || !rang || crashes, "a phone rang that certainly did not ring: {ended:?}");
        assert!(ended.may_have_rung || !ended.may_still_ring, "what may ring may have rung: {ended:?}");
        if !ended.may_still_ring && !crashes {
            // What the agent sent may be under way, and a PBX takes 100 ms to stop its other phones.
            self.after(self.net.conditions.delay.1 + Duration::from_millis(110), Action::CheckSilent(index));
        }
        self.calls[index].ended = Some((at, ended));
    }

    /// Once the network has been good for a while, both sides agree on which phone has which call.
    fn check_connected(&mut self) {
        let (now, calm) = (self.net.now, self.calm.unwrap_or_default());
        for placed in self.calls.iter().filter(|placed| placed.hung_up.is_none() && placed.ended.is_none()) {
            let phones = self.phones(&placed.number).map(|(_, phone)| phone);
            let phones = phones.filter(|phone| phone.hook == Hook::Connected);
            // What a phone that was answered just now causes may be under way.
            let connected: Vec<_> = phones.filter(|phone| phone.connected_at.max(calm) + SETTLED <= now).collect();
            assert!(connected.len() <= 1, "{} phones have one call", connected.len());
            if let Some(phone) = connected.first() {
                let has = placed.answered == Some(sdp(&phone.name));
                assert!(has, "the agent does not know that phone {} has the call", phone.name);
            }
        }
    }

    /// Opens a flow to the node that a redirection names.
    fn follow(&mut self, id: CallId, uri: &SipUri) {
        let mut server = address("192.0.2.7:5060");
        server.set_port(uri.port().unwrap_or(5_060));
        self.count += 1;
        let own = SocketAddr::new(address("192.0.2.1:0").ip(), 6_000 + u16::try_from(self.count).unwrap_or(0));
        if self.is_down {
            return self.net.act(|agent, now| agent.hang_up(now, id));
        }
        let link = self.net.open(self.transport, own, server);
        let flow = self.net.links[link].id;
        let followed = self.net.act(|agent, now| agent.follow_redirect(now, id, flow));
        followed.expect("a redirection that was reported can be followed");
    }

    /// The PBX loses its memory, and its connections.
    fn crash(&mut self) {
        self.net.remark("the PBX crashes");
        self.pbx.crash();
        self.is_down = true;
        if self.transport != Transport::Udp {
            for link in 0..self.net.links.len() {
                if self.net.links[link].health != Health::Closed {
                    self.net.close(link);
                }
            }
        }
        let pause = self.seconds(20);
        self.after(pause, Action::Restart);
    }

    fn restart(&mut self) {
        self.net.remark("the PBX is back");
        self.is_down = false;
        if self.transport != Transport::Udp {
            let old: Vec<FlowId> = self.net.links.iter().map(|link| link.id).collect();
            self.link = self.net.open(self.transport, address("192.0.2.1:5555"), address("192.0.2.7:5060"));
            let new = self.flow();
            for old in old {
                self.net.act(|agent, now| agent.replace_flow(now, old, new));
            }
        }
    }
}
