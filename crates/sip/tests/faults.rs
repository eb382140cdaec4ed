//! Not yet fixed.

#[path = "support/wire.rs"]
mod wire;

use std::time::Duration;

use phonegate_sip::agent::{AgentError, NewRegistration, OutboundCall};
use phonegate_sip::message::{Message, Method};
use wire::{Wire, request, seconds, value, values};

fn refreshing() -> (Wire, phonegate_sip::agent::CallId, Message) {
    let mut wire = Wire::udp();
    let call = OutboundCall { session_interval: Some(200), ..wire::call() };
    let (id, invite, _) = wire.establish(call, "Session-Expires: 200;refresher=uac\r\nContact: <sip:a@192.0.2.9>\r\n");
    (wire, id, invite)
}

/// A re-INVITE got 100 and then nothing; the call is hung up meanwhile.
#[test]
fn reinvite_without_final_response_leaves_nothing() {
    let (mut wire, id, _) = refreshing();
    let reinvite = wire.run(seconds(100)).remove(0).1;
    wire.reply(&reinvite, 100, "", "");
    wire.agent.hang_up(wire.now, id);
    let bye = wire.sent_one();
    wire.reply(&bye, 200, "", "");
    wire.assert_empty();
}

/// The same, but the session expires.
#[test]
fn expired_session_with_open_reinvite_leaves_nothing() {
    let (mut wire, _, _) = refreshing();
    let reinvite = wire.run(seconds(100)).remove(0).1;
    wire.reply(&reinvite, 100, "", "");
    wire.assert_empty();
}

/// PRACK is sent for responses to the first INVITE only, so a re-INVITE must not invite reliable ones.
#[test]
fn refresh_does_not_offer_reliable_responses() {
    let (mut wire, _, _) = refreshing();
    let reinvite = wire.run(seconds(100)).remove(0).1;
    assert_eq!(reinvite.method(), Some(&Method::Invite));
    assert!(!value(&reinvite, "Supported").contains("100rel"));
}

/// A peer without session timers gets no Require: timer (RFC 4028, 9).
#[test]
fn nothing_is_required_of_a_peer_without_timers() {
    let (mut wire, _, invite) = refreshing();
    wire.receive(&request(&invite, "UPDATE", 1, "Session-Expires: 200\r\n", ""));
    assert_eq!(values(&wire.sent_one(), "Require"), Vec::<String>::new());
}

/// What cannot be written is refused at once, and leaves nothing.
#[test]
fn unwritable_contact_is_refused_when_registering() {
    let mut wire = Wire::udp();
    let registration = |registers_contact, routes| NewRegistration {
        registrar: "sip:trunk.example.com".into(),
        address: "sip:gate@trunk.example.com".into(),
        contact_user: "a\r\nb".into(),
        routes,
        expires: 600,
        credentials: None,
        registers_contact,
    };
    let refused = wire.agent.register(wire.now, wire.flow, registration(true, Vec::new()));
    assert!(matches!(refused, Err(AgentError::Unusable(_))), "{refused:?}");
    let long = vec![format!("sip:{}@192.0.2.9", "a".repeat(4_000)); 20];
    let _ = wire.agent.register(wire.now, wire.flow, registration(false, long));
    wire.assert_empty();
}

#[test]
fn unwritable_contact_is_refused_when_calling() {
    let mut wire = Wire::udp();
    let call = OutboundCall { contact_user: "a\r\nb".into(), ..wire::call() };
    let refused = wire.agent.place_call(wire.now, wire.flow, call);
    assert!(matches!(refused, Err(AgentError::Unusable(_))), "{refused:?}");
}

/// A response with more than one Via is not for this side, also if the second is malformed (RFC 3261, 8.1.3.3).
#[test]
fn response_with_malformed_second_via_is_dropped() {
    let mut wire = Wire::udp();
    let (_, invite) = wire.place(wire::call());
    for second in ["Via: x\r\n", "Via: \"\r\n"] {
        wire.reply(&invite, 486, second, "");
        assert!(wire.sent().is_empty() && wire.events().is_empty(), "{second:?}");
    }
}

/// A repeated INVITE that waits for the caller's answer gets 100 (RFC 3261, 17.2.1).
#[test]
fn repeated_reinvite_gets_trying_while_the_caller_thinks() {
    let (mut wire, _, invite) = refreshing();
    let reinvite = request(&invite, "INVITE", 1, "Content-Type: application/sdp\r\n", "v=0\r\n");
    wire.receive(&reinvite);
    wire.advance(Duration::from_millis(500));
    wire.receive(&reinvite);
    assert_eq!(wire.sent_one().status(), Some(100));
}

/// A 2xx without ACK ends the session also if the call was established twice over.
#[test]
fn reliable_responses_without_end_are_bounded() {
    let mut wire = Wire::udp();
    let (_, invite) = wire.place(wire::call());
    for rseq in 1..=2_000 {
        wire.reply(&invite, 183, &format!("Require: 100rel\r\nRSeq: {rseq}\r\n"), "");
        for prack in wire.sent() {
            wire.reply(&prack, 200, "", "");
        }
        wire.events();
    }
    assert!(wire.agent.usage().client_transactions < 200, "{:?}", wire.agent.usage());
}
