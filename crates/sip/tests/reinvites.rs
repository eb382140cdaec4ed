//! Requests of both sides within a call that change or refresh its session (RFC 3261, 9.2 and 14; RFC 6141).

#[path = "support/wire.rs"]
mod wire;

use phonegate_sip::agent::{CallEvent, CallId, Event, OutboundCall, Reply, RequestId};
use phonegate_sip::message::{Message, Method};
use wire::{Wire, request, seconds, value};

const OFFER: &str = "Contact: <sip:new@192.0.2.9>\r\nContent-Type: application/sdp\r\n";

fn established() -> (Wire, CallId, Message) {
    let mut wire = Wire::udp();
    let call = OutboundCall { session_interval: Some(200), ..wire::call() };
    let headers = "Contact: <sip:old@192.0.2.9>\r\nSession-Expires: 200;refresher=uac\r\n";
    let (id, invite, _) = wire.establish(call, headers);
    (wire, id, invite)
}

fn accept() -> Reply {
    Reply::Accept(Some(b"v=0\r\n".to_vec()))
}

/// Lets the peer send a re-INVITE, and returns the request that waits for the caller.
fn offered(wire: &mut Wire, invite: &Message, cseq: u32) -> RequestId {
    wire.receive(&request(invite, "INVITE", cseq, OFFER, "v=0\r\n"));
    assert!(wire.sent().is_empty(), "the caller responds");
    let mut offers = wire.events().into_iter().filter_map(|event| match event {
        Event::Call(_, CallEvent::SdpOffer { request, .. }) => Some(request),
        _ => None,
    });
    offers.next().unwrap()
}

fn statuses(wire: &mut Wire) -> Vec<(String, Option<u16>)> {
    wire.sent().iter().map(|message| (value(message, "CSeq"), message.status())).collect()
}

/// CANCEL with the branch of a re-INVITE.
fn cancel(invite: &Message, cseq: u32) -> Vec<u8> {
    let text = String::from_utf8(request(invite, "CANCEL", cseq, "", "")).unwrap();
    text.replace("z9hG4bKCANCEL", "z9hG4bKINVITE").into_bytes()
}

/// A rejected re-INVITE leaves the target as it was, an accepted one refreshes it (RFC 6141, 4.6).
#[test]
fn rejected_reinvite_leaves_the_target() {
    for (reply, target) in [(Reply::Reject(488), "sip:old@192.0.2.9"), (accept(), "sip:new@192.0.2.9")] {
        let (mut wire, id, invite) = established();
        let offer = offered(&mut wire, &invite, 1);
        wire.agent.respond(wire.now, offer, reply);
        wire.sent();
        wire.agent.hang_up(wire.now, id);
        let bye = wire.sent_one();
        assert_eq!(bye.request_uri_bytes(), Some(target.as_bytes()));
    }
}

/// A repeated 200 to a re-INVITE of this side means that its ACK was lost (13.2.2.4).
#[test]
fn repeated_success_of_a_refresh_is_acknowledged_again() {
    let (mut wire, _, _) = established();
    let reinvite = wire.run(seconds(100)).remove(0).1;
    let success = "Contact: <sip:old@192.0.2.9>\r\nSession-Expires: 200;refresher=uac\r\n";
    wire.reply(&reinvite, 200, success, "");
    let ack = wire.sent_one();
    for _ in 0..4 {
        wire.run(seconds(4));
        wire.reply(&reinvite, 200, success, "");
        assert_eq!(wire.sent_one(), ack);
    }
    assert!(wire.events().is_empty());
}

/// While a re-INVITE of this side waits, the peer's gets 491; while the peer's waits, a second one gets 500 (14.2).
#[test]
fn offers_that_cross_are_rejected() {
    let (mut wire, _, invite) = established();
    let reinvite = wire.run(seconds(100)).remove(0).1;
    wire.receive(&request(&invite, "INVITE", 1, OFFER, "v=0\r\n"));
    assert_eq!(wire.sent_one().status(), Some(491));
    wire.reply(&reinvite, 200, "Contact: <sip:old@192.0.2.9>\r\n", "");
    wire.sent();
    offered(&mut wire, &invite, 2);
    wire.receive(&request(&invite, "INVITE", 3, OFFER, "v=0\r\n"));
    let second = wire.sent_one();
    assert_eq!(second.status(), Some(500));
    assert!(second.retry_after().unwrap().is_some_and(|seconds| seconds <= 10));
}

/// A CANCEL gets 200, and ends the re-INVITE with 487 if the caller has not answered. The call continues (9.2).
#[test]
fn cancel_ends_an_open_reinvite_only() {
    let (mut wire, _, invite) = established();
    let offer = offered(&mut wire, &invite, 1);
    wire.receive(&cancel(&invite, 1));
    assert_eq!(statuses(&mut wire), [("1 CANCEL".into(), Some(200)), ("1 INVITE".into(), Some(487))]);
    wire.agent.respond(wire.now, offer, accept());
    assert!(wire.sent().is_empty(), "too late");

    let offer = offered(&mut wire, &invite, 2);
    wire.agent.respond(wire.now, offer, accept());
    wire.sent();
    wire.receive(&cancel(&invite, 2));
    assert_eq!(statuses(&mut wire), [("2 CANCEL".into(), Some(200))]);
    wire.receive(&cancel(&invite, 9));
    assert_eq!(statuses(&mut wire), [("9 CANCEL".into(), Some(481))]);
    assert!(wire.events().is_empty());
}

/// The answer in an ACK is reported once, even if the ACK is retransmitted. An ACK without a body keeps the session.
#[test]
fn answer_in_ack_is_reported_once() {
    for (headers, body, answer) in
        [("Content-Type: application/sdp\r\n", "v=0\r\n", Some(b"v=0\r\n".to_vec())), ("", "", None)]
    {
        let (mut wire, _, invite) = established();
        wire.receive(&request(&invite, "INVITE", 1, "Contact: <sip:new@192.0.2.9>\r\n", ""));
        let Some(Event::Call(_, CallEvent::SdpOffer { request: offer, description: None })) = wire.agent.poll_event()
        else {
            panic!("the peer wants an offer")
        };
        wire.agent.respond(wire.now, offer, accept());
        assert_eq!(wire.sent_one().body(), b"v=0\r\n");
        for _ in 0..3 {
            wire.receive(&request(&invite, "ACK", 1, headers, body));
        }
        let events = wire.events();
        assert!(
            matches!(
                &events[..],
                [Event::Call(_, CallEvent::SdpAnswer { offer, description })]
                    if offer == b"v=0\r\n" && *description == answer
            ),
            "{events:?}"
        );
        assert!(wire.sent().is_empty());
    }
}

/// A BYE ends a pending re-INVITE with 487, and gets 200 (15.1.2).
#[test]
fn bye_ends_an_open_reinvite() {
    let (mut wire, _, invite) = established();
    let offer = offered(&mut wire, &invite, 1);
    wire.receive(&request(&invite, "BYE", 2, "", ""));
    let mut sent = statuses(&mut wire);
    sent.sort();
    assert_eq!(sent, [("1 INVITE".into(), Some(487)), ("2 BYE".into(), Some(200))]);
    wire.agent.respond(wire.now, offer, accept());
    assert!(wire.sent().is_empty());
    wire.assert_empty();
}

/// Neither a call that is hung up nor one that has ended accepts another session.
#[test]
fn reinvite_after_the_end_is_rejected() {
    let (mut wire, id, invite) = established();
    wire.agent.hang_up(wire.now, id);
    let bye = wire.sent_one();
    wire.receive(&request(&invite, "INVITE", 1, OFFER, "v=0\r\n"));
    assert_eq!(wire.sent_one().status(), Some(481));
    wire.reply(&bye, 200, "", "");
    wire.receive(&request(&invite, "UPDATE", 2, OFFER, "v=0\r\n"));
    assert_eq!(wire.sent_one().status(), Some(481));
    wire.assert_empty();
}

/// A rejected refresh of this side is acknowledged within its transaction, and the call continues.
#[test]
fn rejected_refresh_is_acknowledged_with_its_branch() {
    let (mut wire, _, _) = established();
    let reinvite = wire.run(seconds(100)).remove(0).1;
    wire.reply(&reinvite, 488, "", "");
    let ack = wire.sent_one();
    assert_eq!(ack.method(), Some(&Method::Ack));
    assert_eq!(value(&ack, "Via"), value(&reinvite, "Via"));
    assert_eq!(value(&ack, "CSeq"), value(&reinvite, "CSeq").replace("INVITE", "ACK"));
    assert!(wire.events().is_empty());
}
