//! Repeats of a request on another node.

use super::*;

#[test]
fn a_repeat_on_another_node_never_dials_twice() {
    let farm = Farm::new();
    let nodes = [farm.node(), farm.node(), farm.node()];
    std::thread::scope(|scope| {
        for node in &nodes {
            scope.spawn(|| (1..=8).for_each(|n| assert_eq!(node.initiate(id(n), &number(n)), CallStatus::Pending)));
        }
    });
    farm.wait_for_rings(8);
    nodes.iter().for_each(|node| assert_eq!(node.status(id(1)), CallStatus::Pending));
    farm.answer("1");
    for n in 1..=8 {
        nodes.iter().for_each(|node| status_is(node, n, CallStatus::Success));
    }
    assert_eq!(farm.rings(), 8);
}

#[test]
fn a_node_that_mirrors_a_call_asks_redis_before_it_dials() {
    let farm = Farm::new();
    let [one, two] = [farm.node(), farm.node()];
    one.initiate(id(1), NUMBER);
    farm.wait_for_rings(1);
    wait_until("the other node mirrors it", || {
        two.gate().snapshot(id(1)).is_some() || {
            two.status(id(1));
            false
        }
    });
    assert_eq!(two.initiate(id(1), NUMBER), CallStatus::Pending);
    farm.answer("2");
    for node in [&one, &two] {
        status_is(node, 1, CallStatus::Failed);
    }
    assert_eq!(farm.rings(), 1);
    // It has ended, so a repeat is a new call.
    two.initiate(id(1), NUMBER);
    farm.wait_for_rings(2);
}

#[test]
fn success_is_reported_for_the_latest_attempt_only() {
    let farm = Farm::new();
    let [one, two] = [farm.node(), farm.node()];
    farm.verifies_the_first(&one);
    // The same id again, on the other node.
    two.initiate(id(1), NUMBER);
    farm.wait_for_rings(2);
    for _ in 0..20 {
        assert_eq!(one.status(id(1)), CallStatus::Pending);
    }
    farm.answer("2");
    status_is(&one, 1, CallStatus::Failed);
    status_is(&two, 1, CallStatus::Failed);
}

#[test]
fn a_repeat_with_another_number_gets_no_result_of_the_first() {
    let farm = Farm::new();
    let [one, two, three] = [farm.node(), farm.node(), farm.node()];
    one.initiate(id(1), &number(1));
    farm.wait_for_rings(1);
    // A node that does not know the call yet, and one that mirrors it.
    is_refused(&two, 1, &number(2), "already calling another number");
    wait_until("the third node mirrors it", || {
        three.status(id(1));
        three.gate().snapshot(id(1)).is_some()
    });
    assert_eq!(three.initiate(id(1), "12"), CallStatus::Failed);
    let explained = |node: &TestGate| node.gate().explain(id(1)).unwrap().failure.unwrap().text().to_owned();
    let text = explained(&two);
    assert!(explained(&three).contains("(InvalidNumber"), "{}", explained(&three));
    farm.answer("1");
    // A text that is no number changes nothing.
    for node in [&one, &three] {
        status_is(node, 1, CallStatus::Success);
    }
    for _ in 0..5 {
        assert_eq!(two.status(id(1)), CallStatus::Failed);
    }
    assert_eq!((explained(&two), farm.rings()), (text, 1));
}

/// How long an id stays pending that Redis does not have.
const NOT_FOUND_PENDING: Duration = Duration::from_secs(2);

#[test]
fn a_call_about_to_begin_is_pending_on_the_other_nodes() {
    let farm = Farm::new();
    let [one, two] = [farm.node(), farm.node()];
    let (mut n, mut in_time) = (0, 0);
    wait_until("ten calls have begun in time", || {
        n += 1;
        let asked = Instant::now();
        assert_eq!(two.status(id(n)), CallStatus::Pending);
        one.initiate(id(n), &number(n));
        let mut was_pending = true;
        wait_until("it rings", || {
            was_pending &= two.status(id(n)) == CallStatus::Pending;
            // On a busy machine that time may pass.
            assert!(was_pending || asked.elapsed() >= NOT_FOUND_PENDING, "after {:?}", asked.elapsed());
            farm.rings() == n as usize
        });
        in_time += u32::from(was_pending);
        in_time == 10
    });
}

#[test]
fn an_approval_of_a_later_attempt_approves_no_lost_call() {
    let farm = Farm::new();
    let [one, two] = [farm.node(), farm.node()];
    one.initiate(id(1), NUMBER);
    farm.has_reference(1);
    farm.redis.cli(&["FLUSHALL"]);
    // The first attempt is lost, so the repeat rings again.
    two.initiate(id(1), NUMBER);
    farm.wait_for_rings(2);
    farm.answer_ring(2, "1");
    status_is(&two, 1, CallStatus::Success);
    assert_eq!(one.snapshot(id(1)).status, CallStatus::Pending);
    farm.answer_ring(1, "1");
    let ended = || one.log().into_iter().find(|line| line["event"] == "verified" || line["event"] == "failed");
    wait_until("the first has ended", || ended().is_some());
    let ended = ended().unwrap();
    assert_eq!(ended["event"], "failed", "{ended}");
    assert!(ended["text"].as_str().is_some_and(|text| text.contains("the store has lost it")), "{ended}");
}
