//! Messages that cross, are lost or come late.

use std::time::Duration;

use phonegate_sip::agent::{CallId, EndCause};
use phonegate_sip::message::Message;

use crate::net::network::Health;
use crate::net::scenario::{Scenario, UDP, both, each, tag_of};

const CONFIRMED: Duration = Duration::from_secs(2);

/// Places a call that rings, and hangs up. Returns the INVITE and the CANCEL.
fn cancelled(scenario: &mut Scenario) -> (CallId, Message, Message) {
    let (call, invite) = scenario.invite();
    scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "callee"));
    scenario.progress();
    scenario.hang_up(call);
    let cancel = scenario.receive("CANCEL");
    (call, invite, cancel)
}

#[test]
fn a_200_that_crosses_the_cancel_is_ended_by_bye() {
    each(|scenario| {
        let (_, invite, cancel) = cancelled(scenario);
        scenario.send(&scenario.in_dialog(&invite, "200 OK", "callee").sdp("callee"));
        scenario.receive("ACK");
        let bye = scenario.receive("BYE");
        scenario.reply(&cancel, "200 OK");
        scenario.reply(&bye, "200 OK");
        let ended = scenario.ended();
        assert_eq!(ended.cause, EndCause::Cancelled, "the caller hung up before the answer");
        assert!(ended.may_have_rung && !ended.may_still_ring, "it rang and is on the hook");
        scenario.nothing_left();
    });
}

/// The server has just answered, so that it knows nothing to cancel. The 200 is under way.
#[test]
fn a_rejected_cancel_waits_for_the_2xx() {
    for status in ["481 Call/Transaction Does Not Exist", "200 OK", "500 Error"] {
        both(|scenario| {
            let (_, invite, cancel) = cancelled(scenario);
            scenario.reply(&cancel, status);
            scenario.wait(Duration::from_secs(3));
            scenario.send(&scenario.in_dialog(&invite, "200 OK", "callee").sdp("callee"));
            scenario.receive("ACK");
            let bye = scenario.receive("BYE");
            scenario.reply(&bye, "200 OK");
            assert!(!scenario.ended().may_still_ring, "the phone was hung up: {status}");
            scenario.nothing_left();
        });
    }
}

/// RFC 3261, 9.1: without a final response within 64 times T1 after the CANCEL, the transaction counts as cancelled.
#[test]
fn a_cancel_without_a_final_response_ends_the_call() {
    for confirms in [true, false] {
        each(|scenario| {
            let (_, invite, cancel) = cancelled(scenario);
            let sent = scenario.net.now;
            if confirms {
                scenario.reply(&cancel, "200 OK");
            }
            let ended = scenario.ended();
            let took = scenario.net.now - sent;
            assert!(took < Duration::from_secs(40), "it ends in time");
            assert_eq!(ended.cause, EndCause::Cancelled, "the caller hung up");
            assert!(ended.may_have_rung && ended.may_still_ring, "no response says that it stopped");
            // The phone is hung up as soon as the server responds.
            scenario.send(&scenario.in_dialog(&invite, "200 OK", "callee").sdp("callee"));
            scenario.receive("ACK");
            let bye = scenario.receive("BYE");
            scenario.reply(&bye, "200 OK");
            scenario.nothing_left();
        });
    }
}

/// The first CANCEL and the first 487 are lost.
#[test]
fn a_lost_487_comes_again() {
    let mut scenario = Scenario::new(UDP);
    let (_, invite, cancel) = cancelled(&mut scenario);
    scenario.wait(Duration::from_millis(600));
    assert!(!scenario.repeats.is_empty(), "the CANCEL is repeated");
    scenario.reply(&cancel, "200 OK");
    let rejection = scenario.in_dialog(&invite, "487 Request Terminated", "callee");
    scenario.wait(Duration::from_millis(500));
    scenario.send(&rejection);
    scenario.receive("ACK");
    let count = scenario.repeats.len();
    // The ACK is lost twice (RFC 3261, 17.1.1.2: timer D).
    for _ in 0..2 {
        scenario.wait(Duration::from_secs(1));
        scenario.send(&rejection);
    }
    scenario.wait(Duration::from_millis(100));
    assert_eq!(scenario.repeats.len(), count + 2, "each 487 is acknowledged");
    assert!(!scenario.ended().may_still_ring, "the phone stopped");
    scenario.nothing_left();
}

/// Only over UDP does silence before the hang-up leave anything open: the phone may ring without a response.
#[test]
fn a_late_180_of_a_call_that_ended_is_cancelled() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.hang_up(call);
        let ended = scenario.ended();
        assert!(ended.may_have_rung && ended.may_still_ring, "there was no response");
        scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "callee"));
        let cancel = scenario.receive("CANCEL");
        scenario.confirm_cancel(&invite, &cancel);
        scenario.nothing_left();
    });
}

/// As after a failure of the network that lasted longer than the caller wanted to wait.
#[test]
fn a_2xx_after_the_end_is_acknowledged_and_hung_up() {
    each(|scenario| {
        let (_, invite) = {
            let (call, invite) = scenario.invite();
            scenario.repeats.clear();
            (call, invite)
        };
        let ended = scenario.ended();
        assert_eq!(ended.cause, EndCause::NoResponse, "timer B");
        assert!(ended.may_still_ring, "there was no response");
        scenario.wait(Duration::from_secs(5));
        scenario.send(&scenario.in_dialog(&invite, "200 OK", "callee").sdp("callee"));
        let ack = scenario.receive("ACK");
        assert_eq!(tag_of(&ack, "To"), "callee", "the answer is acknowledged");
        let bye = scenario.receive("BYE");
        scenario.reply(&bye, "200 OK");
        scenario.nothing_left();
    });
}

/// The phone is picked up and put down immediately, and datagrams overtake each other.
#[test]
fn a_bye_may_overtake_the_200() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "callee"));
        scenario.progress();
        let mut dialog = scenario.dialog(&invite, "callee");
        scenario.send(&dialog.request("BYE"));
        scenario.receive("200 BYE");
        scenario.send(&scenario.in_dialog(&invite, "200 OK", "callee").sdp("callee"));
        scenario.receive("ACK");
        scenario.wait(Duration::from_millis(100));
        // The agent may hang up as well, which the peer does not know.
        let mut rest = Vec::new();
        scenario.take_new(&mut rest);
        for bye in rest {
            scenario.reply(&bye, "481 Call/Transaction Does Not Exist");
        }
        let last = loop {
            match scenario.call_event() {
                phonegate_sip::agent::CallEvent::Ended(ended) => break ended,
                _ => scenario.hang_up(call),
            }
        };
        assert!(!last.may_still_ring, "the phone is on the hook");
        scenario.nothing_left();
    });
}

#[test]
fn both_sides_may_hang_up_at_once() {
    both(|scenario| {
        let (call, mut dialog) = scenario.answered_call();
        scenario.hang_up(call);
        scenario.send(&dialog.request("BYE"));
        let bye = scenario.receive("BYE");
        scenario.receive("200 BYE");
        scenario.reply(&bye, "481 Call/Transaction Does Not Exist");
        assert!(!scenario.ended().may_still_ring, "the call is over on both sides");
        scenario.nothing_left();
    });
}

/// A final response that comes again, as over UDP when its ACK was lost, changes nothing.
#[test]
fn repeated_responses_change_nothing() {
    let mut scenario = Scenario::new(UDP);
    let (call, invite) = scenario.invite();
    let ringing = scenario.in_dialog(&invite, "180 Ringing", "callee");
    scenario.send(&ringing);
    scenario.progress();
    let rejection = scenario.in_dialog(&invite, "486 Busy Here", "callee");
    scenario.send(&rejection);
    scenario.receive("ACK");
    scenario.ended();
    scenario.send(&ringing);
    scenario.send(&rejection);
    scenario.quiet(CONFIRMED);
    scenario.hang_up(call);
    scenario.nothing_left();
}

#[test]
fn a_bye_is_confirmed_whatever_the_peer_says() {
    for status in ["200 OK", "481 Call/Transaction Does Not Exist", "408 Request Timeout"] {
        both(|scenario| {
            let (call, _) = scenario.answered_call();
            scenario.hang_up(call);
            let bye = scenario.receive("BYE");
            scenario.reply(&bye, status);
            assert_eq!(scenario.ended().cause, EndCause::HungUp, "{status}");
            scenario.nothing_left();
        });
    }
}

/// The network fails when the caller hangs up. Later the peer repeats that the phone rings (RFC 3261, 13.3.1.1).
#[test]
fn a_cancel_that_was_lost_is_sent_again() {
    for health in [Health::Dead, Health::Failing] {
        both(|scenario| {
            let (call, invite) = scenario.invite();
            scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "callee"));
            scenario.progress();
            let link = scenario.link;
            scenario.net.links[link].health = health;
            scenario.hang_up(call);
            let ended = scenario.ended();
            assert!(ended.may_have_rung && ended.may_still_ring, "{ended:?}");
            scenario.net.links[link].health = Health::Good;
            scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "callee"));
            let cancel = scenario.receive("CANCEL");
            scenario.confirm_cancel(&invite, &cancel);
            scenario.nothing_left();
        });
    }
}

/// Over UDP, one failed send does not mean that the next one fails: the socket's buffer was full, or a route was
/// missing.
#[test]
fn a_bye_that_could_not_be_sent_at_first_is_repeated() {
    let mut scenario = Scenario::new(UDP);
    let (call, _) = scenario.answered_call();
    let link = scenario.link;
    scenario.net.links[link].health = Health::Failing;
    scenario.hang_up(call);
    scenario.net.links[link].health = Health::Good;
    let bye = scenario.receive("BYE");
    scenario.reply(&bye, "200 OK");
    let ended = scenario.ended();
    assert!(!ended.may_still_ring, "the peer confirmed the end");
    scenario.nothing_left();
}

#[test]
fn a_cancel_that_could_not_be_sent_at_first_is_repeated() {
    let mut scenario = Scenario::new(UDP);
    let (call, invite) = scenario.invite();
    scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "callee"));
    scenario.progress();
    let link = scenario.link;
    scenario.net.links[link].health = Health::Failing;
    scenario.hang_up(call);
    scenario.net.links[link].health = Health::Good;
    let cancel = scenario.receive("CANCEL");
    scenario.reply(&cancel, "200 OK");
    scenario.reply(&invite, "487 Request Terminated");
    scenario.receive("ACK");
    assert!(!scenario.ended().may_still_ring, "the peer confirmed the end");
    scenario.nothing_left();
}

/// Each time that the server responds, the phone that still rings is cancelled, for as long as a phone may ring.
#[test]
fn a_call_that_ended_is_cancelled_at_each_late_response() {
    both(|scenario| {
        let (_, invite) = scenario.invite();
        assert!(scenario.ended().may_still_ring, "there was no response");
        let ringing = scenario.in_dialog(&invite, "180 Ringing", "callee");
        scenario.send(&ringing);
        scenario.receive("CANCEL");
        scenario.wait(Duration::from_secs(60));
        scenario.send(&ringing);
        let count = scenario.repeats.len();
        scenario.wait(Duration::from_millis(100));
        assert_eq!(scenario.repeats.len(), count + 1, "the CANCEL is sent again");
        scenario.send(&scenario.in_dialog(&invite, "487 Request Terminated", "callee"));
        scenario.receive("ACK");
        scenario.nothing_left();
    });
}
