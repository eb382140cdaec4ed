//! Registrations and their events.

#![allow(dead_code, reason = "each test binary uses a part")]

use phonegate_sip::agent::{Event, NewRegistration, RegistrationEvent, RegistrationId};
use phonegate_sip::auth::Credentials;
use phonegate_sip::message::Message;

use super::wire::Wire;

pub const CONTACT: &str = "<sip:gate@192.0.2.1:5070>";

pub fn registration() -> NewRegistration {
    NewRegistration {
        registrar: "sip:trunk.example.com".into(),
        address: "sip:gate@trunk.example.com".into(),
        contact_user: "gate".into(),
        routes: Vec::new(),
        expires: 600,
        credentials: None,
        registers_contact: true,
    }
}

pub fn with_credentials() -> NewRegistration {
    NewRegistration { credentials: Some(Credentials::new("gate", "made-up").unwrap()), ..registration() }
}

pub fn query() -> NewRegistration {
    NewRegistration { registers_contact: false, ..registration() }
}

pub fn register(wire: &mut Wire, registration: NewRegistration) -> (RegistrationId, Message) {
    let id = wire.agent.register(wire.now, wire.flow, registration).unwrap();
    (id, wire.sent_one())
}

pub fn events(wire: &mut Wire) -> Vec<RegistrationEvent> {
    let registrations = wire.events().into_iter().filter_map(|event| match event {
        Event::Registration(_, event) => Some(event),
        _ => None,
    });
    registrations.collect()
}

pub fn registered(expires: u32) -> Vec<RegistrationEvent> {
    vec![RegistrationEvent::Registered { expires }]
}

pub fn challenge(nonce: &str) -> String {
    format!("WWW-Authenticate: Digest realm=\"trunk\", nonce=\"{nonce}\", algorithm=SHA-256, qop=\"auth\"\r\n")
}
