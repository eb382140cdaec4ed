//! Messages that cross, are lost or come late.

use std::time::Duration;

use phonegate_sip::agent::{CallId, EndCause};
use phonegate_sip::message::Message;

use crate::net::network::Health;
use crate::net::story::{Story, UDP, both, each, tag_of};

const CONFIRMED: Duration = Duration::from_secs(2);

/// Places a call that rings, and hangs up. Returns the INVITE and the CANCEL.
fn cancelled(story: &mut Story) -> (CallId, Message, Message) {
    let (call, invite) = story.invite();
    story.send(&story.in_dialog(&invite, "180 Ringing", "callee"));
    story.progress();
    story.hang_up(call);
    let cancel = story.receive("CANCEL");
    (call, invite, cancel)
}

#[test]
fn a_200_that_crosses_the_cancel_is_ended_by_bye() {
    each(|story| {
        let (_, invite, cancel) = cancelled(story);
        story.send(&story.in_dialog(&invite, "200 OK", "callee").sdp("callee"));
        story.receive("ACK");
        let bye = story.receive("BYE");
        story.reply(&cancel, "200 OK");
        story.reply(&bye, "200 OK");
        let ended = story.ended();
        assert_eq!(ended.cause, EndCause::Cancelled, "the caller hung up before the answer");
        assert!(ended.may_have_rung && !ended.may_still_ring, "it rang and is on the hook");
        story.nothing_left();
    });
}

/// The server has just answered, so that it knows nothing to cancel. The 200 is under way.
#[test]
fn a_cancel_that_is_refused_waits_for_the_answer() {
    for status in ["481 Call/Transaction Does Not Exist", "200 OK", "500 Error"] {
        both(|story| {
            let (_, invite, cancel) = cancelled(story);
            story.reply(&cancel, status);
            story.wait(Duration::from_secs(3));
            story.send(&story.in_dialog(&invite, "200 OK", "callee").sdp("callee"));
            story.receive("ACK");
            let bye = story.receive("BYE");
            story.reply(&bye, "200 OK");
            assert!(!story.ended().may_still_ring, "the phone was hung up: {status}");
            story.nothing_left();
        });
    }
}

/// RFC 3261, 9.1: without a final response within 64 times T1 after the CANCEL, the transaction counts as cancelled.
#[test]
fn a_cancel_without_a_final_response_ends_the_call() {
    for confirms in [true, false] {
        each(|story| {
            let (_, invite, cancel) = cancelled(story);
            let sent = story.net.now;
            if confirms {
                story.reply(&cancel, "200 OK");
            }
            let ended = story.ended();
            let took = story.net.now - sent;
            assert!(took < Duration::from_secs(40), "it ends in time");
            assert_eq!(ended.cause, EndCause::Cancelled, "the caller hung up");
            assert!(ended.may_have_rung && ended.may_still_ring, "no response says that it stopped");
            // The phone is hung up as soon as the server responds.
            story.send(&story.in_dialog(&invite, "200 OK", "callee").sdp("callee"));
            story.receive("ACK");
            let bye = story.receive("BYE");
            story.reply(&bye, "200 OK");
            story.nothing_left();
        });
    }
}

/// The first CANCEL and the first 487 are lost.
#[test]
fn a_lost_487_comes_again() {
    let mut story = Story::new(UDP);
    let (_, invite, cancel) = cancelled(&mut story);
    story.wait(Duration::from_millis(600));
    assert!(!story.repeats.is_empty(), "the CANCEL is repeated");
    story.reply(&cancel, "200 OK");
    let refusal = story.in_dialog(&invite, "487 Request Terminated", "callee");
    story.wait(Duration::from_millis(500));
    story.send(&refusal);
    story.receive("ACK");
    let count = story.repeats.len();
    // The ACK is lost twice (RFC 3261, 17.1.1.2: timer D).
    for _ in 0..2 {
        story.wait(Duration::from_secs(1));
        story.send(&refusal);
    }
    story.wait(Duration::from_millis(100));
    assert_eq!(story.repeats.len(), count + 2, "each 487 is acknowledged");
    assert!(!story.ended().may_still_ring, "the phone stopped");
    story.nothing_left();
}

/// Only over UDP does silence before the hang-up leave anything open: the phone may ring without a response.
#[test]
fn a_late_180_of_a_call_that_ended_is_cancelled() {
    both(|story| {
        let (call, invite) = story.invite();
        story.hang_up(call);
        let ended = story.ended();
        assert!(ended.may_have_rung && ended.may_still_ring, "there was no response");
        story.send(&story.in_dialog(&invite, "180 Ringing", "callee"));
        let cancel = story.receive("CANCEL");
        story.confirm_cancel(&invite, &cancel);
        story.nothing_left();
    });
}

/// As after a failure of the network that lasted longer than the caller wanted to wait.
#[test]
fn a_2xx_after_the_end_is_acknowledged_and_hung_up() {
    each(|story| {
        let (_, invite) = {
            let (call, invite) = story.invite();
            story.repeats.clear();
            (call, invite)
        };
        let ended = story.ended();
        assert_eq!(ended.cause, EndCause::NoResponse, "timer B");
        assert!(ended.may_still_ring, "there was no response");
        story.wait(Duration::from_secs(5));
        story.send(&story.in_dialog(&invite, "200 OK", "callee").sdp("callee"));
        let ack = story.receive("ACK");
        assert_eq!(tag_of(&ack, "To"), "callee", "the answer is acknowledged");
        let bye = story.receive("BYE");
        story.reply(&bye, "200 OK");
        story.nothing_left();
    });
}

/// The phone is picked up and put down at once, and datagrams overtake each other.
#[test]
fn a_bye_may_overtake_the_200() {
    both(|story| {
        let (call, invite) = story.invite();
        story.send(&story.in_dialog(&invite, "180 Ringing", "callee"));
        story.progress();
        let mut dialog = story.dialog(&invite, "callee");
        story.send(&dialog.request("BYE"));
        story.receive("200 BYE");
        story.send(&story.in_dialog(&invite, "200 OK", "callee").sdp("callee"));
        story.receive("ACK");
        story.wait(Duration::from_millis(100));
        // The agent may hang up as well, which the peer knows nothing of.
        let mut rest = Vec::new();
        story.take_new(&mut rest);
        for bye in rest {
            story.reply(&bye, "481 Call/Transaction Does Not Exist");
        }
        let last = loop {
            match story.call_event() {
                phonegate_sip::agent::CallEvent::Ended(ended) => break ended,
                _ => story.hang_up(call),
            }
        };
        assert!(!last.may_still_ring, "the phone is on the hook");
        story.nothing_left();
    });
}

#[test]
fn both_sides_may_hang_up_at_once() {
    both(|story| {
        let (call, mut dialog) = story.answered_call();
        story.hang_up(call);
        story.send(&dialog.request("BYE"));
        let bye = story.receive("BYE");
        story.receive("200 BYE");
        story.reply(&bye, "481 Call/Transaction Does Not Exist");
        assert!(!story.ended().may_still_ring, "the call is over on both sides");
        story.nothing_left();
    });
}

/// A final response that comes again, as over UDP when its ACK was lost, changes nothing.
#[test]
fn repeated_responses_change_nothing() {
    let mut story = Story::new(UDP);
    let (call, invite) = story.invite();
    let ringing = story.in_dialog(&invite, "180 Ringing", "callee");
    story.send(&ringing);
    story.progress();
    let refusal = story.in_dialog(&invite, "486 Busy Here", "callee");
    story.send(&refusal);
    story.receive("ACK");
    story.ended();
    story.send(&ringing);
    story.send(&refusal);
    story.quiet(CONFIRMED);
    story.hang_up(call);
    story.nothing_left();
}

#[test]
fn a_bye_is_confirmed_whatever_the_peer_says() {
    for status in ["200 OK", "481 Call/Transaction Does Not Exist", "408 Request Timeout"] {
        both(|story| {
            let (call, _) = story.answered_call();
            story.hang_up(call);
            let bye = story.receive("BYE");
            story.reply(&bye, status);
            assert_eq!(story.ended().cause, EndCause::HungUp, "{status}");
            story.nothing_left();
        });
    }
}

/// The network fails when the caller hangs up. Later the peer repeats that the phone rings (RFC 3261, 13.3.1.1).
#[test]
fn a_cancel_that_was_lost_is_sent_again() {
    for health in [Health::Dead, Health::Failing] {
        both(|story| {
            let (call, invite) = story.invite();
            story.send(&story.in_dialog(&invite, "180 Ringing", "callee"));
            story.progress();
            let link = story.link;
            story.net.links[link].health = health;
            story.hang_up(call);
            let ended = story.ended();
            assert!(ended.may_have_rung && ended.may_still_ring, "{ended:?}");
            story.net.links[link].health = Health::Good;
            story.send(&story.in_dialog(&invite, "180 Ringing", "callee"));
            let cancel = story.receive("CANCEL");
            story.confirm_cancel(&invite, &cancel);
            story.nothing_left();
        });
    }
}

/// Over UDP, one failed send does not mean that the next one fails: the socket's buffer was full, or a route was
/// missing.
#[test]
fn a_bye_that_could_not_be_sent_at_first_is_repeated() {
    let mut story = Story::new(UDP);
    let (call, _) = story.answered_call();
    let link = story.link;
    story.net.links[link].health = Health::Failing;
    story.hang_up(call);
    story.net.links[link].health = Health::Good;
    let bye = story.receive("BYE");
    story.reply(&bye, "200 OK");
    let ended = story.ended();
    assert!(!ended.may_still_ring, "the peer confirmed the end");
    story.nothing_left();
}

#[test]
fn a_cancel_that_could_not_be_sent_at_first_is_repeated() {
    let mut story = Story::new(UDP);
    let (call, invite) = story.invite();
    story.send(&story.in_dialog(&invite, "180 Ringing", "callee"));
    story.progress();
    let link = story.link;
    story.net.links[link].health = Health::Failing;
    story.hang_up(call);
    story.net.links[link].health = Health::Good;
    let cancel = story.receive("CANCEL");
    story.reply(&cancel, "200 OK");
    story.reply(&invite, "487 Request Terminated");
    story.receive("ACK");
    assert!(!story.ended().may_still_ring, "the peer confirmed the end");
    story.nothing_left();
}

/// Each time that the server responds, the phone that still rings is cancelled, for as long as a phone may ring.
#[test]
fn a_call_that_ended_is_cancelled_at_each_late_response() {
    both(|story| {
        let (_, invite) = story.invite();
        assert!(story.ended().may_still_ring, "there was no response");
        let ringing = story.in_dialog(&invite, "180 Ringing", "callee");
        story.send(&ringing);
        story.receive("CANCEL");
        story.wait(Duration::from_secs(60));
        story.send(&ringing);
        let count = story.repeats.len();
        story.wait(Duration::from_millis(100));
        assert_eq!(story.repeats.len(), count + 1, "the CANCEL is sent again");
        story.send(&story.in_dialog(&invite, "487 Request Terminated", "callee"));
        story.receive("ACK");
        story.nothing_left();
    });
}
