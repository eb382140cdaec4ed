//! The phones of a PBX: they ring, are answered, and send requests.

use std::time::Duration;

use phonegate_sip::message::Message;

use super::pbx::{Pbx, PbxCall};
use super::plan::{PhonePlan, Then};
use super::text::{PeerDialog, Text};

pub(super) const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
const TIMEOUT: Duration = Duration::from_secs(32);
const MINUTE: Duration = Duration::from_secs(60);
/// How long an unanswered phone rings. Long, so that the agent has to end it.
const RING_TIME: Duration = Duration::from_secs(1_200);

/// The state of a phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Idle,
    Ringing,
    Connected,
    Done,
}

pub struct Phone {
    pub(super) plan: PhonePlan,
    pub name: String,
    pub hook: Hook,
    pub connected_at: Duration,
    pub(super) dialog: PeerDialog,
    pub(super) rseq: u32,
    /// The reliable response that waits for its PRACK.
    pub(super) reliable: Option<Vec<u8>>,
    /// The 200 that waits for its ACK.
    pub(super) ok: Option<Vec<u8>>,
}

pub(super) enum Task {
    Ring(usize, usize),
    Announce(usize, usize),
    Then(usize, usize),
    Stop(usize, usize),
    Refresh(usize, usize),
    Act(usize, usize, &'static str),
    SendOk(usize, usize, Duration, Duration),
    SendReliable(usize, usize, u32, Duration, Duration),
    SendRefusal(usize, Duration, Duration),
    SendRequest(String, Duration, Duration),
}

impl Pbx {
    pub(super) fn after(&mut self, pause: Duration, task: Task) {
        self.count += 1;
        self.tasks.insert((self.now + pause, self.count), task);
    }

    pub(super) fn run(&mut self, task: Task) {
        match task {
            Task::Ring(c, p) => self.ring(c, p),
            Task::Announce(c, p) => self.announce(c, p),
            Task::Then(c, p) => match self.calls[c].phones[p].plan.then {
                Then::Answers(_) => self.answer(c, p),
                Then::Declines(_) => self.stop(c, p),
                Then::RingsOn => {}
            },
            Task::Stop(c, p) => self.stop(c, p),
            Task::Refresh(c, p) => {
                self.act(c, p, "UPDATE");
                self.after(MINUTE, Task::Refresh(c, p));
            }
            Task::Act(c, p, method) => self.act(c, p, method),
            Task::SendOk(c, p, pause, until) => {
                let Some(ok) = self.calls[c].phones[p].ok.clone() else { return };
                if self.now >= until {
                    // RFC 3261, 13.3.1.4.
                    self.calls[c].phones[p].ok = None;
                    self.act(c, p, "BYE");
                } else {
                    self.send(c, ok);
                    self.after(pause, Task::SendOk(c, p, (pause * 2).min(T2), until));
                }
            }
            Task::SendReliable(c, p, rseq, pause, until) => {
                let phone = &self.calls[c].phones[p];
                if let (Some(response), Hook::Ringing, true) = (&phone.reliable, phone.hook, phone.rseq == rseq)
                    && self.now < until
                {
                    let response = response.clone();
                    self.send(c, response);
                    self.after(pause, Task::SendReliable(c, p, rseq, pause * 2, until));
                }
            }
            Task::SendRefusal(c, pause, until) => {
                if let (Some(rejection), true) = (self.calls[c].rejection.clone(), self.now < until) {
                    self.send(c, rejection);
                    if !self.is_stream {
                        self.after(pause, Task::SendRefusal(c, (pause * 2).min(T2), until));
                    }
                }
            }
            Task::SendRequest(branch, pause, until) => {
                let Some((link, request)) = self.open.get(&branch).cloned() else { return };
                if self.now >= until {
                    let was_calm = self.calm.is_some_and(|calm| calm + TIMEOUT <= until);
                    let is_excused = self.features.has("failing") || !was_calm;
                    assert!(is_excused, "the agent never responded to {}", String::from_utf8_lossy(&request[..6]));
                    self.open.remove(&branch);
                    return;
                }
                self.outbox.push((link, request));
                if !self.is_stream {
                    self.after(pause, Task::SendRequest(branch, (pause * 2).min(T2), until));
                }
            }
        }
    }

    pub(super) fn send(&mut self, c: usize, bytes: Vec<u8>) {
        let call = &self.calls[c];
        if !call.plan.silent {
            self.outbox.push((call.link, bytes));
        }
    }

    pub(super) fn ring(&mut self, c: usize, p: usize) {
        let phone = &mut self.calls[c].phones[p];
        if phone.hook != Hook::Idle {
            return;
        }
        phone.hook = Hook::Ringing;
        let then = phone.plan.then;
        self.announce(c, p);
        if let Then::Answers(pause) | Then::Declines(pause) = then {
            self.after(pause, Task::Then(c, p));
        }
        self.after(RING_TIME, Task::Stop(c, p));
    }

    /// Reports that a phone rings, and again each minute.
    pub(super) fn announce(&mut self, c: usize, p: usize) {
        let call = &mut self.calls[c];
        let is_first = call.phones[p].rseq == 0;
        let (plan, hook) = (call.phones[p].plan, call.phones[p].hook);
        if hook != Hook::Ringing {
            return;
        }
        let mut text = response(call, "180 Ringing", p);
        if plan.early_media {
            text = text.sdp(&call.phones[p].name);
        }
        let phone = &mut call.phones[p];
        phone.rseq += 1;
        if plan.reliable && is_first && call.invite.has_option("100rel") {
            let bytes = text.line("Require: 100rel").line("RSeq: 1").build();
            phone.reliable = Some(bytes);
            self.run(Task::SendReliable(c, p, 1, T1, self.now + TIMEOUT));
        } else if plan.announces || !is_first {
            self.send(c, text.build());
        }
        self.after(MINUTE, Task::Announce(c, p));
    }

    pub(super) fn answer(&mut self, c: usize, p: usize) {
        let call = &mut self.calls[c];
        let taken = call.phones.iter().any(|phone| phone.hook == Hook::Connected);
        if call.phones[p].hook != Hook::Ringing || call.rejection.is_some() || taken && !call.plan.several_answer {
            return;
        }
        let mut text = response(call, "200 OK", p).line("Allow: INVITE, ACK, BYE, CANCEL, UPDATE, INFO");
        if let (Some(session), true) = (call.plan.session, call.invite.has_option("timer")) {
            text = text.line("Require: timer").line(format!("Session-Expires: {session}"));
        }
        let phone = &mut call.phones[p];
        let bytes = text.sdp(&phone.name).build();
        phone.ok = Some(bytes);
        phone.hook = Hook::Connected;
        phone.connected_at = self.now;
        let (requests, others) = (call.plan.requests.clone(), call.phones.len());
        self.run(Task::SendOk(c, p, T1, self.now + TIMEOUT));
        self.after(MINUTE, Task::Refresh(c, p));
        for (pause, method) in requests {
            self.after(pause, Task::Act(c, p, method));
        }
        // The other phones stop, but one may be picked up before the PBX has reached it.
        let pause = if self.calls[c].plan.several_answer { 5_000 } else { 100 };
        for other in (0..others).filter(|other| *other != p) {
            self.after(Duration::from_millis(pause), Task::Stop(c, other));
        }
    }

    /// Stops a phone that rings. If it was the last one, the call is rejected.
    pub(super) fn stop(&mut self, c: usize, p: usize) {
        let call = &mut self.calls[c];
        let phone = &mut call.phones[p];
        if matches!(phone.hook, Hook::Idle | Hook::Ringing) {
            phone.hook = Hook::Done;
            let answered = call.phones.iter().any(|phone| phone.hook == Hook::Connected || phone.connected_at > T1);
            if !answered && call.phones.iter().all(|phone| phone.hook == Hook::Done) {
                // A response that says otherwise is honest only if the agent received the 180.
                let is_honest = self.is_stream && !self.features.has("silence");
                let is_honest = is_honest && call.phones.iter().all(|phone| phone.plan.announces);
                let status = if is_honest { call.plan.decline } else { "480 Temporarily Unavailable" };
                self.reject(c, Text::reply(&self.calls[c].invite, status).tag("pbx"));
            }
        }
    }

    pub(super) fn reject(&mut self, c: usize, text: Text) {
        if self.calls[c].rejection.is_none() {
            self.calls[c].rejection = Some(text.build());
            self.run(Task::SendRefusal(c, T1, self.now + TIMEOUT));
        }
    }

    /// Sends a request of a phone that answered.
    pub(super) fn act(&mut self, c: usize, p: usize, method: &str) {
        let call = &mut self.calls[c];
        let phone = &mut call.phones[p];
        if phone.hook != Hook::Connected || phone.ok.is_some() {
            return;
        }
        let dialog = &mut phone.dialog;
        let text = match method {
            "INVITE" => dialog.request("INVITE").sdp("reinvite"),
            "EMPTY" => dialog.request("INVITE"),
            "INFO" => dialog.request("INFO").body("application/dtmf-relay", "Signal=1\r\n"),
            method => dialog.request(method),
        };
        if method == "BYE" {
            phone.hook = Hook::Done;
        }
        let (link, request) = (call.link, text.build());
        let message = Message::from_datagram(&request, &Default::default()).expect("it is well-formed");
        let branch = message.top_via().expect("it has a Via").branch().unwrap_or_default().to_owned();
        self.open.insert(branch.clone(), (link, request));
        self.run(Task::SendRequest(branch, T1, self.now + TIMEOUT));
    }
}

/// Begins a response of a phone to the INVITE.
fn response(call: &PbxCall, status: &str, p: usize) -> Text {
    let phone = &call.phones[p];
    let text = Text::reply(&call.invite, status).tag(&phone.name);
    text.each("Record-Route", call.plan.routes).line(format!("Contact: <{}>", phone.dialog.contact))
}
