//! Call limits, unusual settings, and clock jumps.

use std::time::Duration;

use phonegate_sip::agent::{CallEvent, Config, EndCause, TimerValues};

use crate::net::scenario::{Scenario, TCP, UDP};

fn room_for(calls: usize) -> Config {
    Config { max_calls: calls, ..Config::default() }
}

/// An ended call is kept to answer retransmissions, but a new call has priority.
#[test]
fn a_call_that_is_over_makes_room_for_a_new_one() {
    for path in [UDP, TCP] {
        let mut scenario = Scenario::with(path, room_for(1));
        for _ in 0..5 {
            let (_, invite) = scenario.invite();
            scenario.send(&scenario.in_dialog(&invite, "486 Busy Here", "callee"));
            scenario.receive("ACK");
            scenario.ended();
        }
        let (call, _) = scenario.answered_call();
        scenario.finish(call);
    }
}

/// The agent must know the call to cancel it when its server responds.
#[test]
fn a_call_that_may_still_ring_keeps_its_place() {
    for path in [UDP, TCP] {
        let mut scenario = Scenario::with(path, room_for(1));
        let (_, invite) = scenario.invite();
        assert!(scenario.ended().may_still_ring, "there was no response");
        let (call, flow) = (scenario.call(), scenario.net.links[scenario.link].id);
        let placed = scenario.net.act(|agent, now| agent.place_call(now, flow, call));
        assert!(placed.is_err(), "there is no room");
        scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "callee"));
        let cancel = scenario.receive("CANCEL");
        scenario.confirm_cancel(&invite, &cancel);
        let (call, _) = scenario.answered_call();
        scenario.finish(call);
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
            let mut scenario = Scenario::with(path, Config { timers, max_ringing: zero, ..Config::default() });
            let call = scenario.place(scenario.call());
            scenario.wait(Duration::from_secs(3));
            scenario.hang_up(call);
            scenario.wait(Duration::from_secs(3_000));
            let mut messages = Vec::new();
            scenario.take_new(&mut messages);
            assert!(messages[0].as_bytes().starts_with(b"INVITE"), "the call is placed");
            assert!(scenario.repeats.len() < 100, "it is repeated {} times", scenario.repeats.len());
        }
    }
}

/// A maximum ringing time of zero, and the maximum duration.
#[test]
fn extreme_time_limits_still_end_the_call() {
    for max_ringing in [Duration::ZERO, Duration::MAX] {
        let mut scenario =
            Scenario::with(UDP, Config { max_ringing, max_response_delay: Duration::MAX, ..Config::default() });
        let (call, invite) = scenario.invite();
        if max_ringing.is_zero() {
            assert_eq!(scenario.ended().cause, EndCause::NoResponse, "no time was allowed");
        } else {
            scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "callee"));
            scenario.progress();
            scenario.quiet(Duration::from_secs(3_600));
            scenario.hang_up(call);
            let cancel = scenario.receive("CANCEL");
            scenario.confirm_cancel(&invite, &cancel);
            assert_eq!(scenario.ended().cause, EndCause::Cancelled, "the caller hung up");
        }
    }
}

/// A time before the latest one is treated as the latest one.
#[test]
fn a_call_survives_clock_jumps() {
    let mut scenario = Scenario::new(UDP);
    let (call, flow) = (scenario.call(), scenario.net.links[scenario.link].id);
    scenario.net.act(|agent, now| agent.handle_timeout(now));
    let call = scenario.net.act(|agent, _| agent.place_call(Duration::ZERO, flow, call)).expect("there is room");
    for jump in [Duration::ZERO, Duration::from_secs(999)] {
        scenario.net.act(|agent, _| agent.handle_timeout(jump));
    }
    let invite = scenario.receive("INVITE");
    scenario.quiet(Duration::from_secs(10));
    scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "callee"));
    scenario.progress();
    // The computer slept for an hour.
    scenario.net.now += Duration::from_secs(3_600);
    scenario.net.act(|agent, now| agent.handle_timeout(now));
    let cancel = scenario.receive("CANCEL");
    scenario.confirm_cancel(&invite, &cancel);
    let CallEvent::Ended(ended) = scenario.call_event() else { panic!("it rang for too long") };
    assert_eq!(ended.cause, EndCause::NoResponse, "it rang for too long");
    scenario.hang_up(call);
    scenario.nothing_left();
}
