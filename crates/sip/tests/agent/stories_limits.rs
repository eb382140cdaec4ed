//! Call limits, unusual settings, and clock jumps.

use std::time::Duration;

use phonegate_sip::agent::{CallEvent, Config, EndCause, TimerValues};

use crate::net::story::{Story, TCP, UDP};

fn room_for(calls: usize) -> Config {
    Config { max_calls: calls, ..Config::default() }
}

/// An ended call is kept to answer retransmissions, but a new call has priority.
#[test]
fn a_call_that_is_over_makes_room_for_a_new_one() {
    for path in [UDP, TCP] {
        let mut story = Story::with(path, room_for(1));
        for _ in 0..5 {
            let (_, invite) = story.invite();
            story.send(&story.in_dialog(&invite, "486 Busy Here", "callee"));
            story.receive("ACK");
            story.ended();
        }
        let (call, _) = story.answered_call();
        story.finish(call);
    }
}

/// The agent must know the call to cancel it when its server responds.
#[test]
fn a_call_that_may_still_ring_keeps_its_place() {
    for path in [UDP, TCP] {
        let mut story = Story::with(path, room_for(1));
        let (_, invite) = story.invite();
        assert!(story.ended().may_still_ring, "there was no response");
        let (call, flow) = (story.call(), story.net.links[story.link].id);
        let placed = story.net.act(|agent, now| agent.place_call(now, flow, call));
        assert!(placed.is_err(), "there is no room");
        story.send(&story.in_dialog(&invite, "180 Ringing", "callee"));
        let cancel = story.receive("CANCEL");
        story.confirm_cancel(&invite, &cancel);
        let (call, _) = story.answered_call();
        story.finish(call);
    }
}

/// The network fails the test if time stands still.
#[test]
fn odd_timers_neither_panic_nor_spin() {
    let zero = Duration::ZERO;
    for (t1, t2, t4) in [(zero, zero, zero), (Duration::MAX, Duration::MAX, Duration::MAX), (Duration::MAX, zero, zero)]
    {
        for path in [UDP, TCP] {
            let timers = TimerValues { t1, t2, t4 };
            let mut story = Story::with(path, Config { timers, max_ringing: zero, ..Config::default() });
            let call = story.place(story.call());
            story.wait(Duration::from_secs(3));
            story.hang_up(call);
            story.wait(Duration::from_secs(3_000));
            let mut messages = Vec::new();
            story.take_new(&mut messages);
            assert!(messages[0].as_bytes().starts_with(b"INVITE"), "the call is placed");
            assert!(story.repeats.len() < 100, "it is repeated {} times", story.repeats.len());
        }
    }
}

/// A maximum ringing time of zero, and the maximum duration.
#[test]
fn extreme_time_limits_still_end_the_call() {
    for max_ringing in [Duration::ZERO, Duration::MAX] {
        let mut story =
            Story::with(UDP, Config { max_ringing, max_response_delay: Duration::MAX, ..Config::default() });
        let (call, invite) = story.invite();
        if max_ringing.is_zero() {
            assert_eq!(story.ended().cause, EndCause::NoResponse, "no time was allowed");
        } else {
            story.send(&story.in_dialog(&invite, "180 Ringing", "callee"));
            story.progress();
            story.quiet(Duration::from_secs(3_600));
            story.hang_up(call);
            let cancel = story.receive("CANCEL");
            story.confirm_cancel(&invite, &cancel);
            assert_eq!(story.ended().cause, EndCause::Cancelled, "the caller hung up");
        }
    }
}

/// A time before the latest one is treated as the latest one.
#[test]
fn a_call_survives_clock_jumps() {
    let mut story = Story::new(UDP);
    let (call, flow) = (story.call(), story.net.links[story.link].id);
    story.net.act(|agent, now| agent.handle_timeout(now));
    let call = story.net.act(|agent, _| agent.place_call(Duration::ZERO, flow, call)).expect("there is room");
    for jump in [Duration::ZERO, Duration::from_secs(999)] {
        story.net.act(|agent, _| agent.handle_timeout(jump));
    }
    let invite = story.receive("INVITE");
    story.quiet(Duration::from_secs(10));
    story.send(&story.in_dialog(&invite, "180 Ringing", "callee"));
    story.progress();
    // The computer slept for an hour.
    story.net.now += Duration::from_secs(3_600);
    story.net.act(|agent, now| agent.handle_timeout(now));
    let cancel = story.receive("CANCEL");
    story.confirm_cancel(&invite, &cancel);
    let CallEvent::Ended(ended) = story.call_event() else { panic!("it rang for too long") };
    assert_eq!(ended.cause, EndCause::NoResponse, "it rang for too long");
    story.hang_up(call);
    story.nothing_left();
}
