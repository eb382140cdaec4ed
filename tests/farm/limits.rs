//! Limits and locks count on all nodes together, also if a node is killed.

use phonegate::call::{CallLimit, FailureReason};
use phonegate::store::LimitStore;
use support::twilio::{About, Scenario, Twilio};

use super::*;

/// Returns limits that no test reaches, with these in place.
fn limits(these: Value) -> Value {
    let mut all = no_limits();
    all.as_object_mut().unwrap().extend(these.as_object().unwrap().clone());
    all
}

fn is_refused_by(node: &TestGate, n: u128, number: &str, limit: CallLimit) {
    node.initiate(id(n), number);
    let (_, text) = node.ends(id(n));
    let failure = node.snapshot(id(n)).failure.unwrap();
    assert_eq!((failure.reason(), failure.limit()), (FailureReason::Throttled, Some(limit)), "{text}");
}

/// Returns the lines about an event.
fn events<'a>(log: &'a [Value], event: &str) -> Vec<&'a Value> {
    log.iter().filter(|line| line["event"] == event).collect()
}

#[test]
fn limits_of_lines_and_days_count_on_all_nodes_together() {
    for (these, limit, numbers) in [
        (json!({ "calls_per_minute": 2 }), CallLimit::CallsPerMinute, [1, 2, 3].map(number)),
        (
            json!({ "calls_per_line": { "per_minute": 2 } }),
            CallLimit::CallsPerLine,
            ["x1", "x2", "x3"].map(|extension| format!("{NUMBER}{extension}")),
        ),
        (
            json!({ "calls_per_line": { "in_progress": 2 } }),
            CallLimit::CallsPerLine,
            ["x1", "", "x3"].map(|extension| format!("{NUMBER}{extension}")),
        ),
        (json!({ "calls_per_day": 2 }), CallLimit::CallsPerDay, [1, 2, 3].map(number)),
        (json!({ "by_country": { "US": { "per_day": 2 } } }), CallLimit::ByCountry, [1, 2, 3].map(number)),
    ] {
        let farm = Farm::new().and("limits", limits(these));
        let [one, two] = [farm.node(), farm.node()];
        one.initiate(id(1), &numbers[0]);
        farm.wait_for_rings(1);
        two.initiate(id(2), &numbers[1]);
        farm.wait_for_rings(2);
        is_refused_by(&one, 3, &numbers[2], limit);
        is_refused_by(&two, 4, &numbers[2], limit);
        assert_eq!(farm.rings(), 2, "{limit}");
    }
}

#[test]
fn denials_on_two_nodes_lock_the_number_on_both() {
    let wrong = json!({ "type": "simulated", "answer_after_ms": 0, "press_after_ms": 0, "press": "5" });
    let farm = Farm::with(wrong).and("limits", limits(json!({ "denials": { "count": 2 } })));
    let [one, two] = [farm.node(), farm.node()];
    for (n, node) in [(1, &one), (2, &two)] {
        node.initiate(id(n), NUMBER);
        let (_, text) = node.ends(id(n));
        assert!(text.contains("(WrongKey"), "{text}");
    }
    for (n, node) in [(3, &one), (4, &two)] {
        is_refused_by(node, n, NUMBER, CallLimit::Denials);
    }
    let hash = admitted(NUMBER).hash();
    assert!(farm.ask(async |store| store.unlock(&[hash]).await).unwrap());
    one.initiate(id(5), NUMBER);
    assert!(one.ends(id(5)).1.contains("(WrongKey"), "it is called again");
    let log = [one, two].map(|node| node.end()).concat();
    let locked: Vec<_> = events(&log, "locked_out").iter().map(|line| &line["id"]).collect();
    assert_eq!(locked, [&json!(id(2).to_string())], "the second denial locks the number");
}

/// A denial is counted by the node that claims the call.
#[test]
fn denials_of_killed_processes_count_once() {
    let twilio = Twilio::start();
    let farm = Farm::with(twilio.backend()).and("limits", limits(json!({ "denials": { "count": 2 } })));
    let node = farm.node();
    let locks = || farm.ask(async |store| store.locks().await).unwrap();
    for n in [1, 2] {
        assert_eq!(locks(), []);
        twilio.play(Scenario { polls: Some(4), ..Scenario::ends("WRONG_KEY") });
        let process = farm.process_to(n, NUMBER);
        farm.has_reference(n);
        process.kill_after(0);
        let (_, text) = node.ends(id(n));
        assert!(text.contains("(WrongKey"), "{text}");
    }
    let restarted = farm.node();
    for (n, node) in [(3, &node), (4, &restarted)] {
        is_refused_by(node, n, NUMBER, CallLimit::Denials);
    }
    assert_eq!(
        locks().iter().map(|lock| (lock.number, lock.locks)).collect::<Vec<_>>(),
        [(admitted(NUMBER).hash(), 1)]
    );
    assert_eq!(twilio.seen(About::Start).len(), 2);
    let log = node.end();
    assert_eq!(events(&log, "claimed").len(), 2, "the node claimed both calls");
    assert_eq!(events(&log, "locked_out").len(), 1);
}

/// A killed process's call counts as in progress until it ends.
#[test]
fn calls_of_a_killed_process_count_for_every_limit() {
    let farm = Farm::new().and(
        "limits",
        limits(json!({ "calls_per_line": { "in_progress": 1 }, "calls_per_number_per_day": 1, "calls_per_day": 2 })),
    );
    let node = farm.node();
    let process = farm.process_to(1, NUMBER);
    farm.has_reference(1);
    process.kill_after(0);
    is_refused_by(&node, 2, &format!("{NUMBER}x7"), CallLimit::CallsPerLine);
    wait_until("the node claims it", || node.log().iter().any(|line| line["event"] == "claimed"));
    is_refused_by(&node, 3, &format!("{NUMBER}x7"), CallLimit::CallsPerLine);
    farm.answer("1");
    status_is(&node, 1, CallStatus::Success);
    is_refused_by(&node, 4, NUMBER, CallLimit::CallsPerNumberPerDay);
    node.initiate(id(5), &format!("{NUMBER}x7"));
    farm.wait_for_rings(2);
    is_refused_by(&node, 6, &number(6), CallLimit::CallsPerDay);
}
