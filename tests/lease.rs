//! A living process that has lost its lease or its calls: it hangs up its own call, reports the outcome that the store
//! has, and no phone rings twice.

mod support;

use std::time::Duration;

use phonegate::call::CallStatus;
use serde_json::{Value, json};
use support::gate::{TestGate, id, no_limits};
use support::host::Host;
use support::redis::Redis;
use support::sipp::{Callee, Step};
use support::twilio::{About, Fault, Scenario, Twilio};
use support::wait_until;
use tempfile::TempDir;

const RINGS: Step = Step::Answer(180, "Ringing", "");

/// Nodes with one Redis and one telephone: processes with the built library, and gates in this process.
struct Farm {
    redis: Redis,
    folder: TempDir,
    config: Value,
}

impl Farm {
    fn new(backend: Value, deadline_s: u64) -> Self {
        Self::with(backend, json!({ "deadline_s": deadline_s }))
    }

    fn with(backend: Value, call: Value) -> Self {
        let (redis, folder) = (Redis::start(), tempfile::tempdir().unwrap());
        let config = support::gate::with_test_defaults(json!({
            "use": ["phone"],
            "allow_test_backends": backend["type"] == "file",
            "backends": { "phone": backend },
            "numbers": { "default_country": "US" },
            "limits": no_limits(),
            "call": call,
            "store": { "type": "redis", "url": redis.url() },
        }));
        std::fs::write(folder.path().join("phonegate.json"), config.to_string()).unwrap();
        Self { redis, folder, config }
    }

    /// A process that places call n.
    fn process(&self, n: u128) -> Host {
        Host::start(self.folder.path(), &id(n).to_string(), &format!("+1425555{:04}", 1000 + n))
    }

    fn node(&self) -> TestGate {
        TestGate::start(self.config.clone())
    }
}

/// Redis loses everything once this event is logged. At its deadline the call is hung up, and fails.
fn is_hung_up_if_redis_loses_it_after(event: &str, callee: Callee) {
    let farm = Farm::new(callee.trunk(), 15);
    let mut host = farm.process(1);
    host.logs(event);
    let forget = "local kept = redis.call('GET', KEYS[1]) redis.call('FLUSHALL') return kept";
    let forgotten = farm.redis.cli(&["EVAL", forget, "1", "{phonegate}:attempt:1"]);
    assert!(forgotten.contains("\"owner\"") && !forgotten.contains("\"outcome\""), "not pending: {forgotten}");
    callee.finish();
    let words = host.last_words();
    assert!(words.starts_with("Failed: ") && words.contains("(DeadlinePassed"), "{words}");
}

#[test]
fn a_ringing_call_that_redis_lost_is_cancelled_at_its_deadline() {
    let callee = Callee::start(&[Step::Invite, RINGS, Step::Cancelled], 1);
    is_hung_up_if_redis_loses_it_after("ringing", callee);
}

#[test]
fn an_answered_call_that_redis_lost_is_hung_up_at_its_deadline() {
    let callee = Callee::start(&[Step::Invite, RINGS, Step::PickUp, Step::Receive("BYE")], 1);
    is_hung_up_if_redis_loses_it_after("answered", callee);
}

#[test]
fn a_stalled_process_hangs_up_and_reports_the_claimed_outcome() {
    let callee = Callee::start(&[Step::Invite, RINGS, Step::Cancelled], 1);
    let farm = Farm::new(callee.trunk(), 20);
    let node = farm.node();
    let mut host = farm.process(1);
    host.logs("ringing");
    host.pause();
    let (status, text) = node.ends(id(1));
    assert_eq!(status, CallStatus::Failed);
    assert!(text.contains("(Interrupted"), "{text}");
    host.resume();
    callee.finish();
    assert_eq!(host.last_words(), format!("Failed: {text}"));
    assert_eq!(node.ends(id(1)), (CallStatus::Failed, text));
}

#[test]
fn an_approval_after_a_claim_is_success_on_both_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let phone = folder.path().join("phone.txt");
    let farm = Farm::new(json!({ "type": "file", "path": phone }), 90);
    let node = farm.node();
    let mut hosts = [1, 2].map(|n| farm.process(n));
    let reference = |n: u128| farm.redis.cli(&["GET", &format!("{{phonegate}}:attempt:{n}")]).contains("\"reference\"");
    wait_until("Redis has the references", || reference(1) && reference(2));
    hosts.iter().for_each(Host::pause);
    let claimed = || node.log().iter().filter(|line| line["event"] == "claimed").count();
    wait_until("the other node has claimed both", || claimed() == 2);

    // The first process resumes before the approval, the second one after it.
    hosts[0].resume();
    let text = std::fs::read_to_string(&phone).unwrap();
    std::fs::write(&phone, text.replace(";0;", ";1;")).unwrap();
    for n in [1, 2] {
        assert_eq!(node.ends(id(n)), (CallStatus::Success, String::new()));
    }
    hosts[1].resume();
    for host in &mut hosts {
        assert_eq!(host.last_words(), "Verified: the right key was pressed.");
    }
    let text = std::fs::read_to_string(&phone).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn a_stalled_mirror_reports_no_expired_success() {
    let folder = tempfile::tempdir().unwrap();
    let phone = folder.path().join("phone.txt");
    let call = json!({ "deadline_s": 90, "keep_finished_s": 5 });
    let farm = Farm::with(json!({ "type": "file", "path": phone }), call);
    let node = farm.node();
    node.initiate(id(1), "+14255551001");
    let text = || std::fs::read_to_string(&phone).unwrap_or_default();
    wait_until("it rings", || text().contains(";0;"));
    let mut host = farm.process(1);
    host.logs("remote");
    host.pause();
    std::fs::write(&phone, text().replace(";0;", ";1;")).unwrap();
    wait_until("it is approved", || node.status(id(1)) == CallStatus::Success);
    wait_until("the success has expired", || node.status(id(1)) == CallStatus::Failed);
    host.resume();
    let words = host.last_words();
    assert!(words.starts_with("Failed: ") && words.contains("(UnknownCall"), "{words}");
    assert_eq!(text().lines().count(), 1, "{}", text());
}

#[test]
fn an_unrecorded_line_is_hung_up_by_the_process_that_placed_it() {
    let twilio = Twilio::start();
    twilio.play(Scenario::rings());
    twilio.fail(About::Start, Fault::Slow(Duration::from_secs(3)));
    let mut farm = Farm::new(twilio.backend(), 30);
    let node = farm.node();
    let mut host = farm.process(1);
    wait_until("Twilio is asked", || !twilio.seen(About::Start).is_empty());
    farm.redis.kill();
    host.logs("placed");
    host.pause();
    farm.redis.restart();
    let (status, text) = node.ends(id(1));
    assert_eq!(status, CallStatus::Failed);
    assert!(text.contains("(Interrupted"), "{text}");
    host.resume();
    assert_eq!(host.last_words(), format!("Failed: {text}"));
    assert_eq!(twilio.seen(About::End).len(), 1);
    assert!(twilio.is_clean());
}
