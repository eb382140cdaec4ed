//! Processes that are killed at any moment of a call, many times.

use super::*;

#[test]
fn the_next_process_claims_calls_killed_at_any_moment() {
    let twilio = Twilio::start();
    let machine = Machine::new(twilio.backend());
    let mut calls = Vec::new();
    let mut spread = 0..;
    let mut pause = |most: u64| spread.next().unwrap_or(0) * 37 % most;
    // Half of the users refuse.
    let result_of = |n: usize| if n.is_multiple_of(2) { "APPROVED" } else { "WRONG_KEY" };
    // These first: on a slow machine a process may reach its end and shut down, which also ends the calls that it has
    // claimed by then.
    for n in 0..KILLS {
        let word = result_of(n);
        twilio.play(Scenario { polls: Some(2), ..Scenario::ends(word) });
        let before = twilio.seen(About::Delete).len();
        let (host, call) = machine.call(format!("{word}, killed at its end"));
        wait_until("its end is known", || twilio.seen(About::Delete).len() > before);
        host.kill_after(pause(10));
        calls.push(call);
    }
    for n in 0..KILLS {
        let word = result_of(n);
        // None of them ends before it is killed.
        twilio.play(Scenario { polls: Some(6), ..Scenario::ends(word) });
        let polls = || twilio.seen(About::Poll).len();

        let (mut host, call) = machine.call(format!("{word}, killed as it begins"));
        host.logs("started_call");
        host.kill_after(pause(12));
        calls.push(call);

        // By its number: the request of a process that was killed may arrive after its end.
        let call = Begun::new(format!("{word}, killed before Twilio answers"));
        twilio.hang_start_of(call.number());
        let host = machine.place(&call);
        wait_until("Twilio is asked", || twilio.starts_of(call.number()) > 0);
        host.kill_after(pause(280));
        calls.push(call);

        let (host, call) = machine.call(format!("{word}, killed as Twilio answers"));
        wait_until("Twilio is asked", || twilio.starts_of(call.number()) > 0);
        host.kill_after(pause(15));
        calls.push(call);

        let before = polls();
        let (host, call) = machine.call(format!("{word}, killed while it rings"));
        wait_until("it is polled", || polls() > before);
        // The poll does not wait for the store, which has the reference a moment later.
        machine.has_placed(&call);
        host.kill_after(pause(400));
        calls.push(call);
    }
    let ends = settle(&machine.next(), &calls, |call| twilio.starts_of(call.number()));
    is_intact(&machine.path("calls.db"));
    for (call, (status, text)) in calls.iter().zip(&ends) {
        assert!(*status == FAILED || call.what.starts_with("APPROVED"), "{}: {text}", call.what);
        if call.what.contains("while it rings") || call.what.contains("at its end") {
            let expected = if call.what.starts_with("APPROVED") { SUCCESS } else { FAILED };
            assert_eq!(*status, expected, "{}: {text}", call.what);
            assert!(expected == SUCCESS || text.contains("(WrongKey"), "{}: {text}", call.what);
        }
        if call.what.contains("before Twilio answers") {
            assert!(text.contains("(Interrupted)"), "{}: {text}", call.what);
        }
    }
}

#[test]
fn a_repeat_right_after_a_kill_never_rings_twice() {
    let twilio = Twilio::start();
    let machine = Machine::new(twilio.backend());
    let next = machine.next();
    twilio.play(Scenario { polls: Some(2), ..Scenario::ends("APPROVED") });
    let mut calls = Vec::new();
    let mut kill_and_ask_again = |host: Host, call: Begun, after| {
        host.kill_after(after);
        assert_eq!(next.initiate(Some(&call.number), Some(&call.id), None), PENDING, "{}", call.what);
        calls.push(call);
    };
    for n in 0..KILLS as u64 {
        let (mut host, call) = machine.call("killed as it begins");
        host.logs("started_call");
        kill_and_ask_again(host, call, n * 2);

        let call = Begun::new("killed before Twilio answers");
        twilio.hang_start_of(call.number());
        let host = machine.place(&call);
        wait_until("Twilio is asked", || twilio.starts_of(call.number()) > 0);
        kill_and_ask_again(host, call, n * 20);

        let (host, call) = machine.call("killed while it rings");
        machine.has_placed(&call);
        kill_and_ask_again(host, call, n * 40);
    }
    let rings = |call: &Begun| twilio.starts_of(call.number());
    let ends = settle(&next, &calls, rings);
    is_intact(&machine.path("calls.db"));
    for (call, (status, text)) in calls.iter().zip(&ends) {
        match &*call.what {
            "killed while it rings" => assert_eq!((*status, rings(call)), (SUCCESS, 1), "{text}"),
            "killed before Twilio answers" => {
                assert!(text.ends_with("(Interrupted)"), "{text}");
                // It may still ring, so another request must not ring it.
                let another = fresh_id();
                next.initiate(Some(&call.number), Some(&another), None);
                wait_until("it is refused", || next.status(Some(&another)) != PENDING);
                assert!(next.message(&another).contains("(AlreadyInProgress"), "{}", next.message(&another));
            }
            _ => assert!(*status == SUCCESS || text.ends_with("(Interrupted)"), "{text}"),
        }
    }
}

#[test]
fn sip_kill_before_a_key_fails_and_rings_at_most_once() {
    let steps = [Step::Invite, Step::Wait(200), RINGS, Step::Wait(300), Step::PickUp, Step::Receive("BYE")];
    let callee = Callee::start(&steps, 1000);
    let machine = Machine::new(callee.trunk());
    let mut calls = Vec::new();
    for n in 0..KILLS as u64 {
        let (mut host, call) = machine.call("killed as it begins");
        host.logs("started_call");
        host.kill_after(n * 3);
        calls.push(call);

        let (host, call) = machine.call("killed while it is dialled");
        wait_until("the trunk is asked", || callee.rings(call.number()) > 0);
        host.kill_after(n * 30);
        calls.push(call);

        for (event, pause) in [("ringing", n * 50), ("answered", n * 100)] {
            let (mut host, call) = machine.call(format!("killed after {event}"));
            host.logs(event);
            host.kill_after(pause);
            calls.push(call);
        }
    }
    let ends = settle(&machine.next(), &calls, |call| callee.rings(call.number()));
    is_intact(&machine.path("calls.db"));
    for (call, (status, text)) in calls.iter().zip(&ends) {
        assert_eq!(*status, FAILED, "{}", call.what);
        let unknown = call.what.contains("begins") && text.contains("(UnknownCall)");
        assert!(unknown || text.ends_with("(Interrupted)"), "{}: {text}", call.what);
        assert!(call.what.contains("begins") || callee.rings(call.number()) == 1, "{}", call.what);
    }
}

#[test]
fn sip_kill_at_keypress_never_rings_twice() {
    let steps = [Step::Invite, RINGS, Step::PickUp, UNTIL_ASKED, Step::Press("#"), Step::Receive("BYE")];
    let callee = Callee::start(&steps, 1000);
    let machine = Machine::with(callee.trunk(), json!({ "prompts": prompts() }));
    let mut calls = Vec::new();
    for n in 0..KILLS as u64 {
        let (mut host, call) = machine.call("killed as # is pressed");
        host.logs("answered");
        host.kill_after(285 + n * 6);
        calls.push(call);

        let (mut host, call) = machine.call("killed as success is published");
        host.logs("verified");
        host.kill_after(n * 5);
        calls.push(call);
    }
    let ends = settle(&machine.next(), &calls, |call| callee.rings(call.number()));
    is_intact(&machine.path("calls.db"));
    for (call, (status, text)) in calls.iter().zip(&ends) {
        assert_eq!(callee.rings(call.number()), 1, "{}", call.what);
        let interrupted = call.what.contains("#") && text.ends_with("(Interrupted)");
        assert!(*status == SUCCESS || interrupted, "{}: {text}", call.what);
    }
}
