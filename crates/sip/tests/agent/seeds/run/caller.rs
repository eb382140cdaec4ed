//! The caller: it places calls, responds to the peer, and checks what the agent reports.

use std::net::SocketAddr;
use std::time::Duration;

use phonegate_sip::agent::{
    CallEvent, CallId, EndCause, Ended, Event, NewRegistration, OutboundCall, RegistrationEvent, Reply, RequestId,
};
use phonegate_sip::auth::Credentials;
use phonegate_sip::message::{Host, SipUri};

use super::{Action, END_BOUND, Placed, Run, address};
use crate::net::scenario::{PASSWORD, USER};
use crate::net::text::sdp;

impl Run {
    pub(super) fn register(&mut self) {
        let registration = NewRegistration {
            registrar: "sip:192.0.2.7".to_owned(),
            address: "sip:gate@192.0.2.7".to_owned(),
            contact_user: "gate".to_owned(),
            routes: Vec::new(),
            expires: 600,
            credentials: None,
            registers_contact: true,
        };
        let flow = self.flow();
        self.registration = self.net.act(|agent, now| agent.register(now, flow, registration)).ok();
    }

    pub(super) fn place(&mut self) {
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

    pub(super) fn report(&mut self) {
        while let Some((at, event)) = self.net.events.pop_front() {
            let (id, event) = match event {
                Event::Call(id, event) => (id, event),
                Event::Registration(id, RegistrationEvent::Ended) => {
                    assert_eq!(self.registration.take(), Some(id), "the registration ends once");
                    continue;
                }
                Event::Registration(_, event) => {
                    let registered = matches!(event, RegistrationEvent::Registered { .. });
                    self.seen.insert(if registered { "registered" } else { "not registered" });
                    continue;
                }
                event => panic!("{event:?} was not expected"),
            };
            let index = self.calls.iter().position(|call| call.id == id).expect("the event is about a call");
            assert!(self.calls[index].ended.is_none(), "{event:?} comes after the end");
            self.seen.insert(event_kind(&event));
            match event {
                CallEvent::Redirected(uri) => self.follow(id, &uri),
                CallEvent::Established(answered) => {
                    assert!(self.calls[index].answered.is_none(), "the call is answered twice");
                    let description = answered.description.expect("each phone answers with a description");
                    let number = self.calls[index].number.clone();
                    let known = self
                        .phones(&number)
                        .any(|(_, phone)| sdp(&phone.name) == description && phone.connected_at > Duration::ZERO);
                    assert!(known, "the answer is of no phone that answered");
                    self.calls[index].answered = Some(description);
                }
                CallEvent::SdpOffer { request, description } => {
                    let ours = sdp(if description.is_some() { "our answer" } else { "our offer" });
                    self.respond(request, Reply::Accept(Some(ours)), Reply::Reject(488));
                }
                CallEvent::Info { request, .. } => self.respond(request, Reply::Accept(None), Reply::Reject(415)),
                CallEvent::Ended(ended) => self.ended(index, at, ended),
                _ => {}
            }
        }
    }

    fn respond(&mut self, request: RequestId, accept: Reply, reject: Reply) {
        let (pause, choice) = (self.seconds(3), self.random.u8(0..10));
        let is_prompt = !self.features.has("replies");
        match choice {
            _ if is_prompt => self.after(Duration::ZERO, Action::Respond(request, accept)),
            0..=4 => self.after(pause, Action::Respond(request, accept)),
            5..=8 => self.after(pause, Action::Respond(request, reject)),
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
        // After a crash, a PBX may have rung a phone without knowing it when the INVITE is repeated.
        let crashes = self.features.has("crash");
        assert!(ended.may_have_rung || !rang || crashes, "a phone rang that certainly did not ring: {ended:?}");
        assert!(ended.may_have_rung || !ended.may_still_ring, "what may ring may have rung: {ended:?}");
        if !ended.may_still_ring && !crashes {
            // What the agent sent may be under way, and a PBX takes 100 ms to stop its other phones.
            self.after(self.net.conditions.delay.1 + Duration::from_millis(110), Action::CheckSilent(index));
        }
        self.seen.insert(match (ended.may_have_rung, ended.may_still_ring) {
            (_, true) => "may still ring",
            (true, false) => "may have rung",
            (false, false) => "not rung",
        });
        self.calls[index].ended = Some((at, ended));
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
}

/// The kinds of events that a number of seeds must cause, so that the test covers what it should.
pub const EVENT_KINDS: &[&str] = &[
    "answered",
    "offer",
    "wish for an offer",
    "answer to an offer",
    "INFO",
    "redirected",
    "retried",
    "rejected",
    "cancelled",
    "hung up",
    "hung up by the peer",
    "no response",
    "connection lost",
    "session lost",
    "may still ring",
    "may have rung",
    "not rung",
    "registered",
    "not registered",
];

fn event_kind(event: &CallEvent) -> &'static str {
    match event {
        CallEvent::Retried(_) => "retried",
        CallEvent::Redirected(_) => "redirected",
        CallEvent::Established(_) => "answered",
        CallEvent::SdpOffer { description: None, .. } => "wish for an offer",
        CallEvent::SdpOffer { .. } => "offer",
        CallEvent::SdpAnswer { .. } => "answer to an offer",
        CallEvent::Info { .. } => "INFO",
        CallEvent::Ended(ended) => match ended.cause {
            EndCause::Rejected(_) => "rejected",
            EndCause::Cancelled => "cancelled",
            EndCause::HungUp => "hung up",
            EndCause::PeerHungUp { .. } => "hung up by the peer",
            EndCause::NoResponse => "no response",
            EndCause::ConnectionLost => "connection lost",
            EndCause::SessionLost => "session lost",
            _ => "another end",
        },
        _ => "progress",
    }
}
