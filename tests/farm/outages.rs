//! Redis is unreachable for a while, or cannot confirm what it stores.

use super::*;

#[test]
fn an_unknown_call_is_pending_until_redis_can_tell() {
    let farm = Farm::new();
    let node = farm.node();
    farm.redis.pause();
    for _ in 0..30 {
        assert_eq!(node.status(id(1)), CallStatus::Pending);
        std::thread::sleep(Duration::from_millis(100));
    }
    farm.redis.resume();
    status_is(&node, 1, CallStatus::Failed);
}

/// Returns two nodes: one refused call 1 because Redis was unreachable, then the other one rang it.
fn refused_and_rung() -> (Farm, [TestGate; 2]) {
    let mut farm = Farm::new();
    let [one, two] = [farm.node(), farm.node()];
    farm.redis.kill();
    is_refused(&one, 1, NUMBER, "(CannotPlace");
    farm.redis.restart();
    wait_until("Redis has the failure", || farm.redis.cli(&["GET", "{phonegate}:attempt:1"]).contains("CannotPlace"));
    two.initiate(id(1), NUMBER);
    farm.wait_for_rings(1);
    (farm, [one, two])
}

#[test]
fn a_failure_on_one_node_yields_to_a_later_success() {
    let (farm, [one, two]) = refused_and_rung();
    farm.answer("1");
    status_is(&two, 1, CallStatus::Success);
    // This holds even before that node is polled.
    wait_until("it reports no failure any more", || {
        let call = one.gate().explain(id(1)).unwrap();
        (call.status, call.failure) == (CallStatus::Success, None)
    });
    status_is(&one, 1, CallStatus::Success);
}

/// Returns why call 1 failed, according to a node whose status is not polled.
fn explained(node: &TestGate) -> String {
    node.gate().explain(id(1)).unwrap().failure.map(|failure| failure.text().to_owned()).unwrap_or_default()
}

#[test]
fn a_failure_on_one_node_yields_to_a_later_failure() {
    let (farm, [one, two]) = refused_and_rung();
    farm.answer("2");
    status_is(&two, 1, CallStatus::Failed);
    wait_until("the later one is reported", || explained(&one) == "Description is not found");
    assert_eq!(one.ends(id(1)).1, "Description is not found");
}

#[test]
fn a_success_yields_to_a_later_failure_once_redis_has_it() {
    let farm = Farm::new();
    let [one, two] = [farm.node(), farm.node()];
    two.initiate(id(1), NUMBER);
    farm.wait_for_rings(1);
    farm.answer("1");
    for node in [&two, &one] {
        status_is(node, 1, CallStatus::Success);
    }
    farm.redis.pause();
    is_refused(&one, 1, NUMBER, "(CannotPlace");
    let text = one.ends(id(1)).1;
    farm.redis.resume();
    wait_until("the other node reports it", || {
        assert_ne!(one.status(id(1)), CallStatus::Success);
        explained(&two) == text
    });
    assert_ne!(one.status(id(1)), CallStatus::Success);
    status_is(&two, 1, CallStatus::Failed);
    assert_eq!(farm.rings(), 1);
}

#[test]
fn a_call_begun_while_redis_stalls_is_pending_and_rings_once() {
    let farm = Farm::new();
    let [one, two] = [farm.node(), farm.node()];
    farm.verifies_the_first(&one);
    farm.redis.pause();
    // A call that Redis does not answer fails after a while. On a busy machine that may happen before it is seen pending.
    let mut n = 1;
    wait_until("a call is pending that Redis cannot know", || {
        n += 1;
        let begun = one.initiate(id(n), &number(n));
        [begun, one.snapshot(id(n)).status] == [CallStatus::Pending; 2]
    });
    farm.redis.resume();
    wait_until("it rings or has failed", || farm.rings() == 2 || one.status(id(n)) == CallStatus::Failed);
    if one.status(id(n)) == CallStatus::Failed {
        assert!(one.ends(id(n)).1.contains("(CannotPlace"), "{}", one.ends(id(n)).1);
        assert_eq!(farm.rings(), 1);
        return;
    }
    assert_eq!(one.initiate(id(n), &number(n)), CallStatus::Pending);
    farm.answer("1");
    for node in [&one, &two] {
        status_is(node, n, CallStatus::Success);
    }
    assert_eq!(farm.rings(), 2);
}

#[test]
fn success_needs_confirmation_by_redis() {
    let farm = Farm::new();
    let node = farm.node();
    farm.verifies_the_first(&node);
    farm.redis.pause();
    assert_eq!(node.status(id(1)), CallStatus::Pending);
    farm.redis.resume();
    status_is(&node, 1, CallStatus::Success);
}

#[test]
fn a_master_that_has_lost_its_replicas_confirms_no_success() {
    let farm = Farm::new();
    let [one, two] = [farm.node(), farm.node()];
    farm.verifies_the_first(&one);
    farm.redis.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert_eq!(one.status(id(1)), CallStatus::Pending);
    assert_ne!(two.status(id(1)), CallStatus::Success);
    farm.redis.cli(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    status_is(&one, 1, CallStatus::Success);
    status_is(&two, 1, CallStatus::Success);
}

/// Places calls before, during and after an outage of Redis.
fn calls_during_an_outage(away: impl Fn(&mut Redis), back: impl Fn(&mut Redis)) {
    let mut farm = Farm::new();
    let [one, two] = [farm.node(), farm.node()];
    one.initiate(id(1), NUMBER);
    one.initiate(id(2), &number(2));
    farm.wait_for_rings(2);
    [1, 2].iter().for_each(|n| farm.has_reference(*n));
    away(&mut farm.redis);
    // New calls are refused, and no phone rings.
    is_refused(&two, 3, &number(3), "(CannotPlace");
    assert_eq!(farm.rings(), 2);
    // Pending calls go on: a failure is reported at once, a success as soon as Redis has it.
    farm.answer_call(1, "1");
    farm.answer_call(2, "2");
    status_is(&one, 2, CallStatus::Failed);
    assert_eq!(one.status(id(1)), CallStatus::Pending);
    back(&mut farm.redis);
    for node in [&one, &two] {
        status_is(node, 1, CallStatus::Success);
        status_is(node, 2, CallStatus::Failed);
    }
    for (node, event) in [(&two, "backend_down"), (&two, "backend_up"), (&one, "backend_up")] {
        let is_logged = |line: &Value| line["event"] == event && line["backend"] == "the store";
        wait_until(&format!("{event} is logged for the store"), || node.log().iter().any(is_logged));
    }
    // Redis is used again.
    let mut n = 10;
    wait_until("calls are placed again", || {
        n += 1;
        two.initiate(id(n), &number(n));
        wait_until("it is known", || farm.rings() == 3 || two.status(id(n)) == CallStatus::Failed);
        farm.rings() == 3
    });
    farm.answer("1");
    status_is(&one, n, CallStatus::Success);
}

#[test]
fn calls_outlive_a_redis_that_restarts() {
    calls_during_an_outage(Redis::kill, Redis::restart);
}

#[test]
fn calls_outlive_a_redis_that_stalls() {
    calls_during_an_outage(|redis| redis.pause(), |redis| redis.resume());
}

/// Starts a node with this deadline of calls.
fn with_deadline(farm: &Farm, seconds: u64) -> TestGate {
    farm.node_with("call", json!({ "deadline_s": seconds }))
}

#[test]
fn an_approval_that_redis_did_not_confirm_says_so() {
    let mut farm = Farm::new();
    // Long enough for all that precedes the approval.
    let node = with_deadline(&farm, 15);
    node.initiate(id(1), NUMBER);
    farm.wait_for_rings(1);
    farm.redis.kill();
    farm.answer("1");
    let (status, text) = node.ends(id(1));
    assert_eq!(status, CallStatus::Failed);
    assert!(text.starts_with("The call was approved, but the store did not confirm that"), "{text}");
    assert!(text.ends_with("(DeadlinePassed, code 11)"), "{text}");
    let is_logged = |line: &Value| line["event"] == "backend_down" && line["backend"] == "the store";
    wait_until("the outage is logged", || node.log().iter().any(is_logged));
}

#[test]
fn an_outcome_published_in_an_outage_is_what_redis_gets() {
    let farm = Farm::new();
    let [one, two] = [with_deadline(&farm, 5), with_deadline(&farm, 5)];
    one.initiate(id(1), NUMBER);
    farm.wait_for_rings(1);
    farm.redis.pause();
    farm.answer("2");
    let (_, text) = one.ends(id(1));
    // Long enough for any node to claim the call.
    std::thread::sleep(Duration::from_secs(5) + DEADLINE_GRACE + Duration::from_secs(1));
    farm.redis.resume();
    wait_until("the other node reports it", || two.status(id(1)) == CallStatus::Failed && two.ends(id(1)).1 == text);
    wait_until("Redis has it", || farm.redis.cli(&["GET", "{phonegate}:attempt:1"]).contains(&text));
    assert_eq!(one.ends(id(1)).1, text);
}

#[test]
fn a_read_only_store_is_reported_down_once() {
    let farm = Farm::new();
    let node = farm.node();
    farm.verifies_the_first(&node);
    farm.redis.cli(&["CONFIG", "SET", "maxmemory", "100kb"]);
    let logged = |event: &str| {
        let is_it = |line: &&Value| line["event"] == event && line["backend"] == "the store";
        node.log().iter().filter(is_it).count()
    };
    for n in 10..20 {
        is_refused(&node, n, &number(n), "OOM");
        node.status(id(1));
    }
    wait_until("it is logged as down", || logged("backend_down") == 1);
    assert_eq!(logged("backend_up"), 0);
    farm.redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    wait_until("it is logged as up", || logged("backend_up") == 1);
    node.end();
    assert_eq!((logged("backend_down"), logged("backend_up")), (1, 1));
}

/// As after a failover to a server that had not received the last writes.
#[test]
fn an_approval_that_redis_has_lost_fails_with_a_reason() {
    let farm = Farm::new();
    let node = farm.node();
    farm.verifies_the_first(&node);
    farm.redis.cli(&["FLUSHALL"]);
    status_is(&node, 1, CallStatus::Failed);
    let text = node.gate().failure_message(id(1));
    assert!(text.contains("the store has lost it") && text.contains("(Interrupted)"), "{text}");
    assert_eq!(node.status(id(1)), CallStatus::Failed, "it stays failed");
    assert_eq!(node.gate().failure_message(id(1)), text, "the text of an ended call never changes");
    let failed = |line: &&Value| line["event"] == "failed" && line["reason"] == "Interrupted";
    assert_eq!(node.end().iter().filter(failed).count(), 1, "logged once");
}
