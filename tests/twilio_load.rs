//! Many concurrent calls by Twilio: how many requests are in flight, and which queued requests are dropped.

mod support;

use std::time::Duration;

use phonegate::call::Progress;
use serde_json::json;
use support::gate::{TestGate, id};
use support::twilio::{About, Fault, Scenario, Twilio};
use support::wait_until;

/// Maximum concurrent requests that start calls, and that poll them.
const STARTS: usize = 64;
const POLLS: usize = 192;

fn gate(twilio: &Twilio) -> TestGate {
    let call = json!({ "deadline_s": 600 });
    TestGate::start(json!({ "use": ["cloud"], "backends": { "cloud": twilio.backend() }, "call": call }))
}

/// The telephone number of the n-th call, as it is dialled.
fn number(n: usize) -> String {
    format!("+1425{}", 2_000_000 + n)
}

fn begin(gate: &TestGate, calls: std::ops::Range<usize>) {
    for n in calls {
        gate.initiate(id(n as u128 + 1), &number(n));
    }
}

#[test]
fn many_calls_keep_to_the_limits_of_connections() {
    const CALLS: usize = 600;
    let twilio = Twilio::start();
    twilio.play(Scenario::rings());
    twilio.loaded(Duration::from_millis(200));
    let gate = gate(&twilio);
    begin(&gate, 0..CALLS);
    for n in 0..CALLS {
        let progress = || gate.snapshot(id(n as u128 + 1)).progress;
        wait_until("all of them ring", || progress() == Some(Progress::Ringing));
    }
    wait_until("as many polls wait as may", || twilio.most_at_once() >= POLLS);
    std::thread::sleep(Duration::from_secs(3));
    let most = twilio.most_at_once();
    assert!(most <= POLLS + STARTS, "{most} requests at once");
}

#[test]
fn a_queued_start_is_dropped_at_shutdown() {
    let twilio = Twilio::start();
    twilio.play(Scenario::rings());
    for _ in 0..STARTS {
        twilio.fail(About::Start, Fault::Slow(Duration::from_secs(2)));
    }
    let gate = gate(&twilio);
    begin(&gate, 0..STARTS);
    wait_until("as many are sent as may", || twilio.seen(About::Start).len() == STARTS);
    begin(&gate, STARTS..STARTS + 20);
    let dialled = || gate.log().iter().filter(|line| line["event"] == "dialling").count();
    wait_until("the others wait", || dialled() == STARTS + 20);
    // The replies arrive within this time, and then queued requests are sent.
    gate.end();
    assert_eq!(twilio.seen(About::Start).len(), STARTS);
    assert!(twilio.is_clean(), "those that were started are hung up");
}

#[test]
fn a_queued_start_is_dropped_at_its_deadline() {
    let twilio = Twilio::start();
    twilio.play(Scenario::rings());
    for _ in 0..STARTS {
        twilio.fail(About::Start, Fault::Slow(Duration::from_secs(3)));
    }
    let backends = json!({ "cloud": twilio.backend() });
    let call = json!({ "deadline_s": 2 });
    let gate = TestGate::start(json!({ "use": ["cloud"], "backends": backends, "call": call }));
    begin(&gate, 0..STARTS + 1);
    gate.ends(id(STARTS as u128 + 1));
    wait_until("the late ones are hung up", || twilio.is_clean() && twilio.seen(About::End).len() == STARTS);
    assert_eq!(twilio.seen(About::Start).len(), STARTS);
    gate.end();
}
