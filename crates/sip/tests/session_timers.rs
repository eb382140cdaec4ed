//! Session timers of calls that this side placed (RFC 4028).

#[path = "support/wire.rs"]
mod wire;

use std::time::Duration;

use phonegate_sip::agent::{CallEvent, CallId, EndCause, Event, OutboundCall, Reply};
use phonegate_sip::message::{Message, Method};
use wire::{Wire, request, seconds, value, values};

fn timed() -> OutboundCall {
    OutboundCall { session_interval: Some(1_800), ..wire::call() }
}

/// Establishes a call whose 2xx has this Session-Expires, to a peer that allows UPDATE.
fn established(session_expires: &str) -> (Wire, Message) {
    established_with(&format!("Allow: INVITE, UPDATE\r\nSession-Expires: {session_expires}\r\nRequire: timer\r\n"))
}

fn established_with(headers: &str) -> (Wire, Message) {
    let mut wire = Wire::udp();
    let contact = "Contact: <sip:pbx@192.0.2.9>\r\n";
    let (_, invite, _) = wire.establish(timed(), &format!("{contact}{headers}"));
    (wire, invite)
}

/// Establishes a call to a peer without UPDATE.
fn refreshing() -> (Wire, CallId, Message) {
    let mut wire = Wire::udp();
    let call = OutboundCall { session_interval: Some(200), ..wire::call() };
    let (id, invite, _) = wire.establish(call, "Session-Expires: 200;refresher=uac\r\nContact: <sip:a@192.0.2.9>\r\n");
    (wire, id, invite)
}

/// Returns when the first message of this method is sent within a span, and the message.
#[track_caller]
fn next(wire: &mut Wire, span: Duration, method: &Method) -> (Duration, Message) {
    let mut sent = wire.run(span);
    let (at, message) = sent.remove(0);
    assert_eq!(message.method(), Some(method), "the first message after {at:?}");
    (at, message)
}

fn end(wire: &mut Wire) -> Option<EndCause> {
    wire.events().into_iter().find_map(|event| match event {
        Event::Call(_, CallEvent::Ended(ended)) => Some(ended.cause),
        _ => None,
    })
}

#[test]
fn invite_proposes_the_interval_without_refresher() {
    let mut wire = Wire::udp();
    let (_, invite) = wire.place(timed());
    assert_eq!((value(&invite, "Session-Expires"), value(&invite, "Min-SE")), ("1800".into(), "90".into()));
    assert!(value(&invite, "Supported").contains("timer"));
    let (_, invite) = wire.place(OutboundCall { session_interval: Some(5), ..wire::call() });
    assert_eq!(value(&invite, "Session-Expires"), "90", "less than the smallest interval is raised");
}

/// This side refreshes after half of each interval, if the 2xx names it or no refresher.
#[test]
fn caller_refreshes_by_update_after_half_the_interval() {
    for session_expires in ["200;refresher=uac", "200"] {
        let (mut wire, invite) = established(session_expires);
        for _ in 0..5 {
            let (at, update) = next(&mut wire, seconds(100), &Method::Update);
            assert_eq!(at, seconds(100));
            assert_eq!(value(&update, "Session-Expires"), "200;refresher=uac");
            assert!(update.body().is_empty() && update.has_header("Contact"));
            assert_eq!(value(&update, "Call-ID"), value(&invite, "Call-ID"));
            wire.reply(&update, 200, "Session-Expires: 200;refresher=uac\r\n", "");
        }
        assert!(wire.events().is_empty(), "a refresh is no event");
    }
}

/// Without UPDATE in Allow, a re-INVITE repeats the offer, and its 2xx is acknowledged.
#[test]
fn caller_refreshes_by_reinvite_without_update() {
    let (mut wire, _) = established_with("Session-Expires: 200;refresher=uac\r\n");
    let (_, reinvite) = next(&mut wire, seconds(100), &Method::Invite);
    assert_eq!(reinvite.body(), b"v=0\r\n");
    assert_eq!(value(&reinvite, "Session-Expires"), "200;refresher=uac");
    wire.reply(&reinvite, 200, "Session-Expires: 300;refresher=uac\r\nContact: <sip:b@192.0.2.9>\r\n", "");
    let ack = wire.sent_one();
    assert_eq!(ack.method(), Some(&Method::Ack));
    assert_eq!(value(&ack, "CSeq").replace("ACK", "INVITE"), value(&reinvite, "CSeq"));
    assert_eq!(ack.request_uri_bytes(), Some(&b"sip:b@192.0.2.9"[..]), "the re-INVITE refreshed the target");
    let (at, _) = next(&mut wire, seconds(150), &Method::Invite);
    assert_eq!(at, seconds(150), "the interval of the latest 2xx counts");
}

#[test]
fn reinvite_follows_an_update_that_is_not_known() {
    for status in [405, 501] {
        let (mut wire, _) = established("200;refresher=uac");
        let (_, update) = next(&mut wire, seconds(100), &Method::Update);
        wire.reply(&update, status, "", "");
        let reinvite = wire.sent_one();
        assert_eq!(reinvite.method(), Some(&Method::Invite));
        wire.reply(&reinvite, 200, "Session-Expires: 200;refresher=uac\r\n", "");
        wire.sent();
        next(&mut wire, seconds(100), &Method::Invite);
    }
}

/// Each 422 raises the interval; a 422 that does not is not retried.
#[test]
fn interval_too_small_is_raised_twice() {
    let (mut wire, _) = established("200;refresher=uac");
    let (_, update) = next(&mut wire, seconds(100), &Method::Update);
    wire.reply(&update, 422, "Min-SE: 300\r\n", "");
    let update = wire.sent_one();
    assert_eq!(value(&update, "Session-Expires"), "300;refresher=uac");
    assert_eq!(value(&update, "Min-SE"), "300");
    wire.reply(&update, 422, "Min-SE: 400\r\n", "");
    let update = wire.sent_one();
    assert_eq!(value(&update, "Session-Expires"), "400;refresher=uac");
    wire.reply(&update, 422, "Min-SE: 400\r\n", "");
    assert!(wire.sent().is_empty());
    let (at, _) = next(&mut wire, seconds(100), &Method::Bye);
    assert_eq!(at, seconds(68), "the session expires as agreed before");
    assert_eq!(end(&mut wire), Some(EndCause::SessionLost));
}

/// 422 to each refresh with a higher minimum each time causes few requests.
#[test]
fn endless_422_is_bounded() {
    let (mut wire, _) = established("200;refresher=uac");
    let (_, mut update) = next(&mut wire, seconds(100), &Method::Update);
    for round in 1..100 {
        wire.reply(&update, 422, &format!("Min-SE: {}\r\n", 200 + round), "");
        match wire.sent().pop() {
            Some(next) => update = next,
            None => return assert!(round <= 8, "{round} rounds"),
        }
    }
    panic!("the refresh is repeated without end");
}

/// 491 is repeated after 2.1 to 4 s, by the side that owns the Call-ID (RFC 3261, 14.1).
#[test]
fn pending_request_of_the_peer_delays_the_refresh() {
    let (mut wire, _) = established("200;refresher=uac");
    let (_, update) = next(&mut wire, seconds(100), &Method::Update);
    wire.reply(&update, 491, "", "");
    assert!(wire.sent().is_empty());
    let (at, update) = next(&mut wire, seconds(4), &Method::Update);
    assert!((Duration::from_millis(2_100)..=seconds(4)).contains(&at), "{at:?}");
    wire.reply(&update, 200, "Session-Expires: 200;refresher=uac\r\n", "");
    assert_eq!(end(&mut wire), None);
}

/// 481, 408 and silence end the call (RFC 4028, 10).
#[test]
fn rejected_or_unanswered_refresh_ends_the_call() {
    for status in [Some(481), Some(408), None] {
        let (mut wire, _) = established("200;refresher=uac");
        let (_, update) = next(&mut wire, seconds(100), &Method::Update);
        let bye = match status {
            Some(status) => {
                wire.reply(&update, status, "", "");
                wire.sent_one()
            }
            None => wire.run(seconds(32)).pop().unwrap().1,
        };
        assert_eq!(bye.method(), Some(&Method::Bye), "after {status:?}");
        assert_eq!(end(&mut wire), Some(EndCause::SessionLost));
        wire.reply(&bye, 481, "", "");
        wire.assert_empty();
    }
}

/// Other rejections leave the call until it expires: 200 s less 32 s after the last refresh.
#[test]
fn other_rejections_end_the_call_when_it_expires() {
    for status in [403, 488, 503, 603] {
        let (mut wire, _) = established("200;refresher=uac");
        let (_, update) = next(&mut wire, seconds(100), &Method::Update);
        wire.reply(&update, status, "", "");
        let (at, _) = next(&mut wire, seconds(100), &Method::Bye);
        assert_eq!(at, seconds(68), "after {status}");
    }
}

/// If the peer does not refresh, BYE is sent before the session expires: by a third of the interval, at most 32 s.
#[test]
fn bye_is_sent_before_expiry_without_refresh() {
    for (interval, at) in [(1_800, 1_768), (90, 60), (96, 64)] {
        let (mut wire, _) = established(&format!("{interval};refresher=uas"));
        let (sent, bye) = next(&mut wire, seconds(interval), &Method::Bye);
        assert_eq!(sent, seconds(at));
        assert_eq!(end(&mut wire), Some(EndCause::SessionLost));
        wire.reply(&bye, 200, "", "");
        wire.assert_empty();
    }
}

#[test]
fn session_without_interval_never_expires() {
    let (mut wire, _) = established_with("Allow: UPDATE\r\n");
    assert!(wire.run(seconds(1_000_000)).is_empty());
    assert_eq!(wire.agent.next_timeout(), None);
}

/// The peer refreshes by an UPDATE without a body, and stays the refresher.
#[test]
fn peer_refreshes_by_update_without_body() {
    let (mut wire, invite) = established("100;refresher=uas");
    for number in 1..10 {
        assert!(wire.run(seconds(50)).is_empty());
        let headers = "Supported: timer\r\nSession-Expires: 100;refresher=uac\r\n";
        wire.receive(&request(&invite, "UPDATE", number, headers, ""));
        let response = wire.sent_one();
        assert_eq!(response.status(), Some(200));
        assert_eq!(value(&response, "Session-Expires"), "100;refresher=uac");
        assert_eq!(value(&response, "Require"), "timer");
    }
    assert!(wire.events().is_empty());
    let (at, _) = next(&mut wire, seconds(100), &Method::Bye);
    assert_eq!(at, seconds(68));
}

#[test]
fn peer_refreshes_by_reinvite() {
    let (mut wire, invite) = established("100;refresher=uas");
    wire.run(seconds(50));
    let headers = "Supported: timer\r\nSession-Expires: 200;refresher=uac\r\nContent-Type: application/sdp\r\n";
    wire.receive(&request(&invite, "INVITE", 1, headers, "v=0\r\n"));
    let Some(Event::Call(_, CallEvent::SdpOffer { request: id, .. })) = wire.agent.poll_event() else {
        panic!("the offer is reported")
    };
    wire.agent.respond(wire.now, id, Reply::Accept(Some(b"v=0\r\n".to_vec())));
    assert_eq!(value(&wire.sent_one(), "Session-Expires"), "200;refresher=uac");
    wire.receive(&request(&invite, "ACK", 1, "", ""));
    let (at, _) = next(&mut wire, seconds(200), &Method::Bye);
    assert_eq!(at, seconds(168));
}

/// In its refresh, the peer hands over to this side.
#[test]
fn peer_changes_the_refresher() {
    let (mut wire, invite) = established("100;refresher=uas");
    wire.run(seconds(50));
    wire.receive(&request(&invite, "UPDATE", 1, "Supported: timer\r\nSession-Expires: 120;refresher=uas\r\n", ""));
    assert_eq!(value(&wire.sent_one(), "Session-Expires"), "120;refresher=uas");
    let (at, update) = next(&mut wire, seconds(60), &Method::Update);
    assert_eq!(at, seconds(60));
    assert_eq!(value(&update, "Session-Expires"), "120;refresher=uac");
    wire.reply(&update, 200, "Session-Expires: 120;refresher=uas\r\n", "");
    assert!(wire.run(seconds(80 - 1)).is_empty(), "the 2xx handed it back");
    next(&mut wire, seconds(20), &Method::Bye);
}

/// A peer without session timers, for which a proxy asks for the interval, cannot refresh (RFC 4028, 9, table 2).
#[test]
fn caller_refreshes_for_a_peer_without_timers() {
    let (mut wire, invite) = established("100;refresher=uas");
    wire.receive(&request(&invite, "UPDATE", 1, "Session-Expires: 100\r\n", ""));
    assert_eq!(value(&wire.sent_one(), "Session-Expires"), "100;refresher=uas");
    let (at, _) = next(&mut wire, seconds(50), &Method::Update);
    assert_eq!(at, seconds(50));
}

/// A peer may agree on less than 90 s. Below 4 s, it is refreshed as if it had agreed on 4 s.
#[test]
fn tiny_interval_causes_no_flood() {
    for (interval, refresh) in [("0", 2), ("1", 2), ("20", 10)] {
        let (mut wire, invite) = established(&format!("{interval};refresher=uac"));
        let (at, update) = next(&mut wire, seconds(refresh), &Method::Update);
        assert_eq!(at, seconds(refresh));
        wire.reply(&update, 200, &format!("Session-Expires: {interval};refresher=uac\r\n"), "");
        let headers = format!("Supported: timer\r\nSession-Expires: {interval};refresher=uas\r\n");
        wire.receive(&request(&invite, "UPDATE", 1, &headers, ""));
        wire.sent();
        assert!(wire.run(Duration::from_millis(refresh * 1_000 - 100)).is_empty());
    }
}

/// The maximum interval causes no overflow.
#[test]
fn huge_interval_is_harmless() {
    for interval in ["4294967295", "99999999999999999999"] {
        let (mut wire, _) = established(&format!("{interval};refresher=uac"));
        assert!(wire.run(seconds(1_000_000)).is_empty());
        wire.advance(seconds(1 << 33));
        wire.agent.handle_timeout(wire.now);
        wire.assert_empty();
    }
}

/// Timers are not handled for hours. Then the agent sends one BYE and reports the end once.
#[test]
fn jump_of_time_ends_the_call_once() {
    let (mut wire, _) = established("200;refresher=uac");
    wire.advance(seconds(10 * 3_600));
    wire.agent.handle_timeout(wire.now);
    let bye = wire.sent_one();
    assert_eq!(bye.method(), Some(&Method::Bye));
    assert_eq!(end(&mut wire), Some(EndCause::SessionLost));
    wire.assert_empty();
}

/// The refresh is answered after the call was hung up, and the BYE is challenged, so that the session's timer would
/// be due while the call waits for the end.
#[test]
fn refresh_answered_after_hang_up_leaves_no_timer() {
    let mut wire = Wire::udp();
    let credentials = phonegate_sip::auth::Credentials::new("gate", "made-up").unwrap();
    let call = OutboundCall { credentials: Some(credentials), ..timed() };
    let headers = "Allow: UPDATE\r\nSession-Expires: 90;refresher=uac\r\n";
    let (id, _, _) = wire.establish(call, headers);
    let (_, update) = next(&mut wire, seconds(45), &Method::Update);
    wire.agent.hang_up(wire.now, id);
    let bye = wire.sent_one();
    wire.reply(&update, 200, "Session-Expires: 90;refresher=uac\r\n", "");
    wire.run(seconds(31));
    wire.reply(&bye, 401, "WWW-Authenticate: Digest realm=\"a\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"\r\n", "");
    let sent = wire.run(seconds(31));
    assert!(sent.iter().all(|(_, message)| message.method() == Some(&Method::Bye)), "only the BYE is repeated");
    wire.assert_empty();
    assert_eq!(end(&mut wire), Some(EndCause::HungUp));
}

/// A re-INVITE gets 100 but no final response, and the caller hangs up.
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

/// The peer answers no refresh with a final response, and the session expires.
#[test]
fn expired_session_with_open_reinvite_leaves_nothing() {
    let (mut wire, _, _) = refreshing();
    let reinvite = wire.run(seconds(100)).remove(0).1;
    wire.reply(&reinvite, 100, "", "");
    wire.assert_empty();
}

/// The agent sends PRACK only for responses to the first INVITE, so a re-INVITE must not offer 100rel.
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
