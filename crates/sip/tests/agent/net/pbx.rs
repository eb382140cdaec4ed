//! A PBX that acts by itself: it challenges, rings phones, answers, sends requests, crashes.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use phonegate_sip::message::Message;

use super::digest;
use super::network::Arrival;
use super::phones::{Hook, Phone, Task};
use super::plan::{Cancels, Challenges, Features, Plan};
use super::text::{PeerDialog, Text, header, name, sdp};

/// The state of the PBX for one Call-ID.
pub struct PbxCall {
    pub call_id: String,
    pub(super) link: usize,
    pub(super) plan: Plan,
    pub(super) invite: Message,
    pub phones: Vec<Phone>,
    pub(super) rejection: Option<Vec<u8>>,
    nonce: String,
    redirected: bool,
    /// Whether a phone rang or would have rung.
    pub rang: bool,
}

pub struct Pbx {
    pub calls: Vec<PbxCall>,
    /// Messages to send, each with its link.
    pub outbox: Vec<(usize, Vec<u8>)>,
    pub via: String,
    pub is_stream: bool,
    pub(super) tasks: BTreeMap<(Duration, u64), Task>,
    /// Responses by branch and method.
    replies: HashMap<(String, String), Vec<u8>>,
    /// Requests that have no response, by branch.
    pub(super) open: HashMap<String, (usize, Vec<u8>)>,
    random: fastrand::Rng,
    pub(super) features: Features,
    /// When the network became good.
    pub(super) calm: Option<Duration>,
    pub(super) count: u64,
    pub(super) now: Duration,
}

impl Pbx {
    pub fn new(seed: u64, features: Features, is_stream: bool) -> Self {
        Self {
            calls: Vec::new(),
            outbox: Vec::new(),
            via: format!("{} 192.0.2.7:5060", if is_stream { "TCP" } else { "UDP" }),
            is_stream,
            tasks: BTreeMap::new(),
            replies: HashMap::new(),
            open: HashMap::new(),
            random: fastrand::Rng::with_seed(seed ^ 0xbb),
            features,
            calm: None,
            count: 0,
            now: Duration::ZERO,
        }
    }

    /// Forgets everything, as in a power cut. Phones are put down.
    pub fn crash(&mut self) {
        self.tasks.clear();
        self.replies.clear();
        self.open.clear();
        self.outbox.clear();
        for phone in self.calls.iter_mut().flat_map(|call| &mut call.phones) {
            phone.hook = Hook::Done;
        }
        for call in &mut self.calls {
            call.call_id.push_str(" of the past");
        }
    }

    /// Returns the INVITEs of the calls, each with its link.
    pub fn invites(&self) -> impl Iterator<Item = (usize, Message)> {
        let live = self.calls.iter().filter(|call| call.phones.iter().any(|phone| phone.hook != Hook::Done));
        live.map(|call| (call.link, call.invite.clone()))
    }

    /// Sends a request from each phone that has a call.
    pub fn act_all(&mut self, method: &str) {
        for c in 0..self.calls.len() {
            for p in 0..self.calls[c].phones.len() {
                self.act(c, p, method);
            }
        }
    }

    /// Starts to answer requests that were not answered. From now on the network is good.
    pub fn recover(&mut self, now: Duration) {
        self.calm = Some(now);
        for call in &mut self.calls {
            call.plan.silent = false;
        }
    }

    pub fn next_wake(&self) -> Option<Duration> {
        self.tasks.first_key_value().map(|(&(at, _), _)| at)
    }

    /// Performs the actions that are due.
    pub fn wake(&mut self, now: Duration) {
        self.now = now;
        while self.next_wake().is_some_and(|at| at <= now) {
            if let Some((_, task)) = self.tasks.pop_first() {
                self.run(task);
            }
        }
    }

    /// Handles a message of the agent.
    pub fn receive(&mut self, arrival: &Arrival) {
        self.now = arrival.at;
        let message = &arrival.message;
        let call_id = header(message, "Call-ID");
        let call = self.calls.iter().position(|call| call.call_id == call_id);
        let branch = message.top_via().expect("it was inspected").branch().unwrap_or_default().to_owned();
        let Some(method) = message.method().map(|method| method.to_string()) else {
            return self.response(&branch, call, message);
        };
        let key = (branch, method.clone());
        if let Some(reply) = self.replies.get(&key) {
            let silent = call.is_some_and(|call| self.calls[call].plan.silent);
            if !silent {
                self.outbox.push((arrival.link, reply.clone()));
            }
            return;
        }
        let to_tag = message.to_header().ok().and_then(|to| to.tag().map(str::to_owned));
        match (method.as_str(), call) {
            ("ACK", Some(c)) => self.ack(c, &key.0, to_tag),
            ("ACK", None) => {}
            ("INVITE", _) if to_tag.is_none() => self.invite(arrival, call, key),
            ("OPTIONS", _) => self.reply(arrival.link, key, &Text::reply(message, "200 OK").tag("pbx")),
            ("REGISTER", _) => self.register(arrival, key),
            ("CANCEL", Some(c)) => self.cancel(arrival, c, key),
            (_, Some(c)) => self.in_dialog(arrival, c, key, &to_tag.unwrap_or_default()),
            (_, None) => {
                self.reply(arrival.link, key, &Text::reply(message, "481 Call Does Not Exist").tag("pbx"));
            }
        }
    }

    fn reply(&mut self, link: usize, key: (String, String), text: &Text) {
        let bytes = text.build();
        self.replies.insert(key, bytes.clone());
        self.outbox.push((link, bytes));
    }

    fn invite(&mut self, arrival: &Arrival, call: Option<usize>, key: (String, String)) {
        let message = &arrival.message;
        let c = call.unwrap_or_else(|| {
            let mut plan = Plan::new(&mut self.random, self.features);
            plan.silent &= self.calm.is_none();
            self.calls.push(PbxCall {
                call_id: header(message, "Call-ID"),
                link: arrival.link,
                plan,
                invite: message.clone(),
                phones: Vec::new(),
                rejection: None,
                nonce: String::new(),
                redirected: false,
                rang: false,
            });
            self.calls.len() - 1
        });
        let call = &mut self.calls[c];
        call.link = arrival.link;
        if !call.phones.is_empty() {
            // The INVITE came again, and its transaction may still be open: it is answered as it was.
            let number = |message: &Message| message.cseq().map_or(0, |cseq| cseq.number);
            let is_new = number(message) > number(&call.invite);
            assert!(!is_new, "an INVITE came while phones of an earlier one may ring");
            return;
        }
        call.rejection = None;
        call.invite = message.clone();
        let tagged = |status: &str| Text::reply(message, status).tag("pbx");
        if call.plan.challenges != Challenges::Never && !call.is_authentic(message) {
            let text = self.challenge(c, message);
            return self.reject_invite(c, key, text);
        }
        let call = &mut self.calls[c];
        let interval = message.session_expires().ok().flatten().map_or(u32::MAX, |session| session.seconds);
        if call.plan.wants_interval && interval < 120 {
            return self.reject_invite(c, key, tagged("422 Session Interval Too Small").line("Min-SE: 120"));
        }
        if call.plan.redirects && !call.redirected {
            call.redirected = true;
            let contact = "Contact: <sip:+14255550100@192.0.2.7:5072>";
            return self.reject_invite(c, key, tagged("302 Moved Temporarily").line(contact));
        }
        if let Some(rejection) = call.plan.rejection {
            return self.reject_invite(c, key, tagged(rejection));
        }
        call.rang = true;
        let via = self.via.clone();
        let plans = call.plan.phones.clone();
        for (p, plan) in plans.into_iter().enumerate() {
            let name = format!("{c}-{p}");
            let dialog = PeerDialog::new(message, &name, &via, &format!("sip:{name}@192.0.2.7:5080"));
            let (hook, connected_at) = (Hook::Idle, Duration::ZERO);
            let phone = Phone { plan, name, hook, connected_at, dialog, rseq: 0, reliable: None, ok: None };
            self.calls[c].phones.push(phone);
            self.after(plan.rings_after, Task::Ring(c, p));
        }
        if self.calls[c].plan.trying {
            self.send(c, Text::reply(message, "100 Trying").build());
        }
    }

    /// Accepts a contact for a minute, or is overloaded.
    fn register(&mut self, arrival: &Arrival, key: (String, String)) {
        let message = &arrival.message;
        let text = match self.random.u8(0..10) {
            0 => Text::reply(message, "503 Service Unavailable").tag("pbx").line("Retry-After: 10"),
            1 => Text::reply(message, "423 Interval Too Brief").tag("pbx").line("Min-Expires: 120"),
            _ => {
                let contacts = message.contacts().unwrap_or_default();
                let own = contacts.last().map(|contact| contact.uri_text()).unwrap_or_default();
                Text::reply(message, "200 OK").tag("pbx").line(format!("Contact: <{own}>;expires=60"))
            }
        };
        self.reply(arrival.link, key, &text);
    }

    fn reject_invite(&mut self, c: usize, key: (String, String), text: Text) {
        if !self.calls[c].plan.silent {
            self.replies.insert(key, text.build());
        }
        self.reject(c, text);
    }

    fn challenge(&mut self, c: usize, message: &Message) -> Text {
        self.count += 1;
        let nonce = format!("nonce{}", self.count);
        let value = format!("Digest realm=\"pbx\", nonce=\"{nonce}\", algorithm=SHA-256, qop=\"auth\"");
        self.calls[c].nonce = nonce;
        let text = Text::reply(message, "407 Proxy Authentication Required").tag("pbx");
        text.line(format!("Proxy-Authenticate: {value}"))
    }

    fn ack(&mut self, c: usize, branch: &str, to_tag: Option<String>) {
        let call = &mut self.calls[c];
        if call.invite.top_via().is_ok_and(|via| via.branch() == Some(branch)) {
            call.rejection = None;
            return;
        }
        if let Some(phone) = call.phones.iter_mut().find(|phone| Some(&phone.name) == to_tag.as_ref()) {
            phone.ok = None;
        }
    }

    fn cancel(&mut self, arrival: &Arrival, c: usize, key: (String, String)) {
        let message = &arrival.message;
        let call = &mut self.calls[c];
        let same = call.invite.top_via().is_ok_and(|via| via.branch() == Some(key.0.as_str()));
        if call.plan.silent {
            return;
        }
        if !same || call.plan.cancels == Cancels::Refused {
            return self.reply(arrival.link, key, &Text::reply(message, "481 Call Does Not Exist").tag("pbx"));
        }
        let ringing = call.phones.iter().position(|phone| phone.hook == Hook::Ringing);
        if let (Cancels::Crossed, Some(p)) = (call.plan.cancels, ringing) {
            self.answer(c, p);
        }
        self.reply(arrival.link, key, &Text::reply(message, "200 OK").tag("pbx"));
        let call = &mut self.calls[c];
        for phone in call.phones.iter_mut().filter(|phone| phone.hook != Hook::Connected) {
            phone.hook = Hook::Done;
        }
        if call.phones.iter().any(|phone| phone.connected_at > Duration::ZERO) {
            return;
        }
        self.reject(c, Text::reply(&self.calls[c].invite, "487 Request Terminated").tag("pbx"));
    }

    fn in_dialog(&mut self, arrival: &Arrival, c: usize, key: (String, String), tag: &str) {
        let message = &arrival.message;
        if self.calls[c].plan.silent {
            return;
        }
        let challenges = self.calls[c].plan.challenges == Challenges::Each;
        if challenges && !self.calls[c].is_authentic(message) {
            let text = self.challenge(c, message);
            return self.reply(arrival.link, key, &text);
        }
        let Some(phone) = self.calls[c].phones.iter_mut().find(|phone| phone.name == tag) else {
            return self.reply(arrival.link, key, &Text::reply(message, "481 Call Does Not Exist").tag("pbx"));
        };
        let text = Text::reply(message, "200 OK");
        match key.1.as_str() {
            "PRACK" => phone.reliable = None,
            "BYE" => {
                phone.hook = Hook::Done;
                phone.ok = None;
            }
            "UPDATE" => {
                let text = text.line("Require: timer").line("Session-Expires: 90;refresher=uac");
                let text = text.line(format!("Contact: <{}>", phone.dialog.contact));
                return self.reply(arrival.link, key, &text);
            }
            other => panic!("the agent sends {other} in a dialog"),
        }
        self.reply(arrival.link, key, &text);
    }

    /// Handles a response to a request of a phone.
    fn response(&mut self, branch: &str, call: Option<usize>, message: &Message) {
        if name(message).starts_with("1") {
            return;
        }
        self.open.remove(branch);
        let (Some(c), Ok(cseq), Some(status)) = (call, message.cseq(), message.status()) else { return };
        let tag = message.from_header().ok().and_then(|from| from.tag().map(str::to_owned)).unwrap_or_default();
        let call = &mut self.calls[c];
        let Some(phone) = call.phones.iter_mut().find(|phone| phone.name == tag) else { return };
        if matches!(status, 408 | 481) {
            phone.hook = Hook::Done;
        }
        if cseq.method.as_str() == "INVITE" {
            let mut ack = phone.dialog.repeated("ACK", cseq.number);
            if status >= 300 {
                ack = ack.replace("Via", format!("Via: SIP/2.0/{};branch={branch};rport", self.via));
            } else if !message.body().is_empty() && message.body() == sdp("our offer") {
                ack = ack.sdp("their answer");
            }
            let bytes = ack.build();
            self.outbox.push((call.link, bytes));
        }
    }
}

impl PbxCall {
    /// Returns whether the call is to this number.
    pub fn is_to(&self, number: &str) -> bool {
        let uri = self.invite.request_uri_bytes().unwrap_or_default();
        uri.starts_with(format!("sip:{number}@").as_bytes())
    }

    /// Returns whether a second phone may answer after the first.
    pub fn may_surprise(&self) -> bool {
        self.plan.several_answer
    }

    /// Returns whether the phones ring on whatever the agent sends.
    pub fn refuses_cancel(&self) -> bool {
        self.plan.cancels == Cancels::Refused
    }

    /// Returns whether a request answers the newest challenge.
    fn is_authentic(&self, message: &Message) -> bool {
        let answer = message.header_values("Proxy-Authorization").next().map(String::from_utf8_lossy);
        answer.is_some_and(|answer| digest::param(&digest::params(&answer), "nonce") == self.nonce)
    }
}
