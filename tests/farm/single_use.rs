//! With `call.single_use`, one node of a farm reports an approval, once.

use super::*;

const THREADS: usize = 4;

fn farm() -> Farm {
    Farm::new().and("call", json!({ "single_use": true }))
}

/// Polls until the call is not pending.
fn poll(node: &TestGate, n: u128) -> CallStatus {
    let mut status = CallStatus::Pending;
    wait_until("a poll has an answer", || {
        status = node.status(id(n));
        status != CallStatus::Pending
    });
    status
}

fn is_used_up(node: &TestGate, n: u128) {
    assert_eq!(poll(node, n), CallStatus::Failed);
    let text = node.gate().failure_message(id(n));
    assert!(text.ends_with("(AlreadyUsed)"), "{text}");
}

#[test]
fn one_poll_of_all_nodes_gets_the_success() {
    let farm = farm();
    let nodes = [farm.node(), farm.node(), farm.node()];
    for n in 1..=4 {
        nodes[0].initiate(id(n), &number(n));
        farm.wait_for_rings(n as usize);
        farm.answer_call(n, "1");
        let statuses: Vec<_> = std::thread::scope(|scope| {
            let polls: Vec<_> = nodes
                .iter()
                .flat_map(|node| std::iter::repeat_n(node, THREADS))
                .map(|node| scope.spawn(move || poll(node, n)))
                .collect();
            polls.into_iter().map(|poll| poll.join().unwrap()).collect()
        });
        let successes = statuses.iter().filter(|status| **status == CallStatus::Success).count();
        assert_eq!(successes, 1, "{statuses:?}");
        nodes.iter().for_each(|node| is_used_up(node, n));
    }
}

#[test]
fn an_approval_that_another_process_reported_is_used_up() {
    let farm = farm();
    let mut process = farm.process(1);
    farm.wait_for_rings(1);
    farm.answer("1");
    assert_eq!(process.last_words(), "Verified: the right key was pressed.");
    is_used_up(&farm.node(), 1);
}

/// The process that was killed reported nothing, so another one may.
#[test]
fn an_approval_of_a_killed_process_is_used_once() {
    let farm = farm();
    let [one, two] = [farm.node(), farm.node()];
    let process = farm.process(1);
    farm.has_reference(1);
    process.kill_after(0);
    farm.answer("1");
    assert_eq!(poll(&one, 1), CallStatus::Success);
    is_used_up(&two, 1);
    is_used_up(&one, 1);
}

#[test]
fn an_approval_that_redis_cannot_confirm_is_not_used() {
    let mut farm = farm();
    let [one, two] = [farm.node(), farm.node()];
    one.initiate(id(1), NUMBER);
    farm.wait_for_rings(1);
    farm.answer("1");
    wait_until("it is approved", || one.log().iter().any(|line| line["event"] == "verified"));
    farm.redis.kill();
    assert_ne!(one.status(id(1)), CallStatus::Success);
    farm.redis.restart();
    let statuses = [poll(&one, 1), poll(&two, 1), poll(&one, 1), poll(&two, 1)];
    let successes = statuses.iter().filter(|status| **status == CallStatus::Success).count();
    assert!(successes <= 1, "{statuses:?}");
}

/// As after a failover to a server that had not received the last writes.
#[test]
fn an_approval_that_redis_has_lost_is_not_called_used() {
    let farm = farm();
    let node = farm.node();
    node.initiate(id(1), NUMBER);
    farm.wait_for_rings(1);
    farm.answer("1");
    wait_until("the call is verified", || node.snapshot(id(1)).status == CallStatus::Success);
    farm.redis.cli(&["FLUSHALL"]);
    assert_eq!(poll(&node, 1), CallStatus::Failed);
    let text = node.gate().failure_message(id(1));
    assert!(text.contains("the store has lost it"), "{text}");
}
