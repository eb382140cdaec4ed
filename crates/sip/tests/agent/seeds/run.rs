//! One seed: a few calls, a PBX, and the properties that must hold.

mod caller;
mod floods;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use phonegate_sip::agent::{CallId, Config, Ended, FlowId, RegistrationId, Reply, RequestId, Transport};

use crate::net::network::{Conditions, Health, Network, Step};
use crate::net::pbx::{Pbx, PbxCall};
use crate::net::phones::{Hook, Phone};
use crate::net::plan::Features;
use crate::net::scenario::{PASSWORD, USER, assert_empty};
use crate::net::text::sdp;
pub use caller::EVENT_KINDS;

/// A hung-up call has ended after this: CANCEL and BYE may each wait 64 times T1, and may be challenged.
const END_BOUND: Duration = Duration::from_secs(130);

/// After this, a good network has carried all that an answer causes.
const SETTLE_TIME: Duration = Duration::from_secs(3);

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
    registration: Option<RegistrationId>,
    /// Kinds of events that came.
    pub seen: BTreeSet<&'static str>,
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
            registration: None,
            seen: BTreeSet::new(),
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

    /// Runs the seed.
    ///
    /// # Panics
    /// A property does not hold.
    pub fn play(&mut self) {
        if self.features.has("registration") {
            self.register();
        }
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
        let (stranger, flood) = (self.seconds(60), self.seconds(60));
        if self.features.has("stranger") && self.transport == Transport::Udp {
            self.after(stranger, Action::Stranger);
            self.after(flood, Action::Stranger);
        }
        if self.features.has("floods") {
            self.after(flood, Action::Flood);
        }
        self.run_for(Duration::from_secs(160));
        if let Some(registration) = self.registration {
            self.net.act(|agent, now| agent.unregister(now, registration));
        }
        let open = self.calls.iter().map(|call| call.ended.as_ref().map(|(at, _)| *at)).collect::<Vec<_>>();
        self.run_for(END_BOUND);
        for (call, before) in self.calls.iter().zip(open) {
            assert!(
                call.ended.is_some(),
                "a call has not ended {END_BOUND:?} after it was hung up; before: {before:?}"
            );
        }
        assert_eq!(self.registration, None, "the registration has not ended");
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
                self.net.trace_line("the caller hangs up");
                self.net.act(|agent, now| agent.hang_up(now, id));
            }
            Action::Calm => {
                self.net.trace_line("the network is good from now on");
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
                if self.calls.iter().any(|call| call.hung_up.is_none()) {
                    self.after(Duration::from_secs(1), Action::CheckConnected);
                }
            }
        }
    }

    fn phones<'a>(&'a self, number: &'a str) -> impl Iterator<Item = (&'a PbxCall, &'a Phone)> {
        let calls = self.pbx.calls.iter().filter(move |call| call.is_to(number));
        calls.flat_map(|call| call.phones.iter().map(move |phone| (call, phone)))
    }

    /// Once the network has been good for a while, both sides agree on which phone has which call.
    fn check_connected(&mut self) {
        let (now, calm) = (self.net.now, self.calm.unwrap_or_default());
        for placed in self.calls.iter().filter(|placed| placed.hung_up.is_none() && placed.ended.is_none()) {
            let phones = self.phones(&placed.number).map(|(_, phone)| phone);
            let phones = phones.filter(|phone| phone.hook == Hook::Connected);
            // What a phone that was answered just now causes may be under way.
            let connected: Vec<_> = phones.filter(|phone| phone.connected_at.max(calm) + SETTLE_TIME <= now).collect();
            assert!(connected.len() <= 1, "{} phones have one call", connected.len());
            if let Some(phone) = connected.first() {
                let has = placed.answered == Some(sdp(&phone.name));
                assert!(has, "the agent does not know that phone {} has the call", phone.name);
            }
        }
    }

    /// The PBX loses its memory, and its connections.
    fn crash(&mut self) {
        self.net.trace_line("the PBX crashes");
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
        self.net.trace_line("the PBX is back");
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
