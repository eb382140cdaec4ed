//! A farm: several nodes with one Redis. What one of them begins, all of them know; whoever dies leaves its calls to the
//! others; and where Redis is away, nobody gets in.

mod support;

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use phonegate::call::{CallStatus, Progress};
use phonegate::config::NetworkConfig;
use phonegate::store::{Block, CallStore, RedisStore, StoredNumber};
use serde_json::{Value, json};
use support::abi::{Abi, FAILED, PENDING, SUCCESS};
use support::gate::{TestGate, admitted, id};
use support::redis::Redis;
use support::wait_until;
use tempfile::TempDir;

const NUMBER: &str = "+1 4255551212";

/// A Redis, and a telephone that every node has: one file of calls.
struct Farm {
    redis: Redis,
    folder: TempDir,
}

impl Farm {
    fn new() -> Self {
        Self { redis: Redis::start(), folder: tempfile::tempdir().unwrap() }
    }

    fn phone(&self) -> PathBuf {
        self.folder.path().join("phone.txt")
    }

    fn config(&self) -> Value {
        json!({
            "use": ["phone"],
            "allow_test_backends": true,
            "backends": { "phone": { "type": "file", "path": self.phone() } },
            "store": { "type": "redis", "url": self.redis.url() },
        })
    }

    fn node(&self) -> TestGate {
        TestGate::start(self.config())
    }

    fn node_with(&self, key: &str, value: Value) -> TestGate {
        let mut config = self.config();
        config[key] = value;
        TestGate::start(config)
    }

    /// The configuration as a file has it.
    fn whole_config(&self) -> Value {
        let mut config = self.config();
        config["numbers"] = json!({ "default_country": "US" });
        config
    }

    /// A process that places call n through the library, as a host does, and waits for its end.
    fn process(&self, n: u128) -> Child {
        let folder = self.folder.path().join(n.to_string());
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("phonegate.json"), self.whole_config().to_string()).unwrap();
        Command::new(support::example("place_call"))
            .arg(support::built_library())
            .args([number(n), id(n).to_string()])
            .env("PHONEGATE_CONFIG", folder.join("phonegate.json"))
            .env("XDG_STATE_HOME", &folder)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// How often the telephone rang.
    fn rings(&self) -> usize {
        std::fs::read_to_string(self.phone()).unwrap_or_default().lines().count()
    }

    fn wait_for_rings(&self, count: usize) {
        wait_until(&format!("it rang {count} times"), || self.rings() == count);
    }

    /// Answers all calls that ring: `1` approves, `2` refuses.
    fn answer(&self, with: &str) {
        self.answer_where(with, |_| true);
    }

    /// Answers call n.
    fn answer_call(&self, n: u128, with: &str) {
        self.answer_where(with, |line| line.contains(&id(n).to_string()));
    }

    fn answer_where(&self, with: &str, is_meant: impl Fn(&str) -> bool) {
        let text = std::fs::read_to_string(self.phone()).unwrap();
        let lines = text.lines().map(|line| match is_meant(line) {
            true => line.replace(";0;", &format!(";{with};")) + "\n",
            false => line.to_owned() + "\n",
        });
        std::fs::write(self.phone(), lines.collect::<String>()).unwrap();
    }
}

fn status_is(node: &TestGate, n: u128, status: CallStatus) {
    wait_until(&format!("call {n} is {status:?}"), || node.status(id(n)) == status);
}

/// A call that is refused says why.
fn is_refused(node: &TestGate, n: u128, number: &str, reason: &str) {
    node.initiate(id(n), number);
    let (status, text) = node.ends(id(n));
    assert_eq!(status, CallStatus::Failed);
    assert!(text.contains(reason), "{text}");
}

#[test]
fn a_call_that_one_node_begins_is_answered_for_by_the_others() {
    let farm = Farm::new();
    let [one, two, three] = [farm.node(), farm.node(), farm.node()];
    one.initiate(id(1), NUMBER);
    farm.wait_for_rings(1);
    assert_eq!(two.status(id(1)), CallStatus::Pending);
    let progress = || two.gate().snapshot(id(1)).and_then(|call| call.progress);
    wait_until("the other node sees it ring", || progress() == Some(Progress::Ringing));
    farm.answer("1");
    for node in [&two, &one, &three] {
        status_is(node, 1, CallStatus::Success);
    }
    one.initiate(id(2), NUMBER);
    farm.wait_for_rings(2);
    farm.answer("2");
    let (status, text) = two.ends(id(2));
    assert_eq!(status, CallStatus::Failed);
    // A node that was never asked for its status knows the text, too.
    let explained = three.gate().explain(id(2)).unwrap().failure.unwrap();
    assert_eq!(explained.text(), text);
    assert_eq!(text, one.ends(id(2)).1);
}

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

/// The n-th number.
fn number(n: u128) -> String {
    format!("+1 425555{:04}", 1000 + n)
}

#[test]
fn limits_and_a_call_in_progress_count_on_all_nodes_together() {
    let farm = Farm::new();
    let limits = json!({ "calls_per_number": 2, "concurrent_calls": 2, "calls_per_minute": 4 });
    let [one, two] = [farm.node_with("limits", limits.clone()), farm.node_with("limits", limits)];
    one.initiate(id(1), NUMBER);
    farm.wait_for_rings(1);
    is_refused(&two, 2, NUMBER, "(AlreadyInProgress");
    two.initiate(id(3), &number(3));
    farm.wait_for_rings(2);
    is_refused(&one, 4, &number(4), "Too many calls are in progress");
    farm.answer("1");
    for node in [&one, &two] {
        status_is(node, 1, CallStatus::Success);
        status_is(node, 3, CallStatus::Success);
    }
    two.initiate(id(5), NUMBER);
    farm.wait_for_rings(3);
    farm.answer("1");
    status_is(&two, 5, CallStatus::Success);
    is_refused(&one, 6, NUMBER, "There were too many calls to +1");
    one.initiate(id(7), &number(7));
    farm.wait_for_rings(4);
    is_refused(&two, 8, &number(8), "There were too many calls within a minute");
    assert_eq!(farm.rings(), 4);
}

#[test]
fn a_block_counts_on_all_nodes() {
    let farm = Farm::new();
    let [one, two] = [farm.node(), farm.node()];
    let config = serde_json::from_value(farm.config()["store"].clone()).unwrap();
    let store = RedisStore::open(&config, &NetworkConfig::default(), Path::new("")).unwrap();
    let blocked = StoredNumber::new(&admitted(NUMBER), false);
    let reason = "the phone was stolen".into();
    let block = Block { number: blocked.key, masked: blocked.masked, reason, since: SystemTime::now(), until: None };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(store.block(&block)).unwrap();
    is_refused(&one, 1, NUMBER, "the phone was stolen");
    is_refused(&two, 2, &format!("{NUMBER}x7"), "(Blocked");
    assert!(runtime.block_on(store.unblock(block.number)).unwrap());
    two.initiate(id(3), NUMBER);
    farm.wait_for_rings(1);
}

#[test]
fn a_node_that_watches_a_call_asks_redis_before_it_dials() {
    let farm = Farm::new();
    let [one, two] = [farm.node(), farm.node()];
    one.initiate(id(1), NUMBER);
    farm.wait_for_rings(1);
    wait_until("the other node watches it", || {
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
    // It has ended: the same request anew is a new call.
    two.initiate(id(1), NUMBER);
    farm.wait_for_rings(2);
}

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

#[test]
fn one_process_begins_a_call_and_the_library_of_another_answers_for_it() {
    let farm = Farm::new();
    let here = Abi::load(&farm.whole_config());
    let mut processes: Vec<_> = [1, 2].map(|n| farm.process(n)).into_iter().collect();
    farm.wait_for_rings(2);
    let calls = [1, 2].map(|n| CString::new(id(n).to_string()).unwrap());
    calls.iter().for_each(|call| assert_eq!(here.status(Some(call)), PENDING));
    farm.answer_call(1, "1");
    farm.answer_call(2, "2");
    wait_until("both have ended", || calls.iter().all(|call| here.status(Some(call)) != PENDING));
    assert_eq!(calls.each_ref().map(|call| here.status(Some(call))), [SUCCESS, FAILED]);
    assert_eq!(here.message(&calls[1]), "Description is not found", "the file says no more");
    let codes = processes.iter_mut().map(|process| process.wait().unwrap().success());
    assert_eq!(codes.collect::<Vec<_>>(), [true, false]);
    assert_eq!(farm.rings(), 2);
}

#[test]
fn a_node_that_dies_leaves_its_calls_to_the_others() {
    let farm = Farm::new();
    let node = farm.node();
    let mut dying = farm.process(1);
    wait_until("Redis has the reference", || farm.redis.cli(&["GET", "{phonegate}:a:1"]).contains("\"reference\""));
    assert_eq!(node.status(id(1)), CallStatus::Pending);
    dying.kill().unwrap();
    dying.wait().unwrap();
    wait_until("the other node takes it up", || node.log().iter().any(|line| line["event"] == "taken_up"));
    // It rings on, and is not rung again.
    assert_eq!((node.status(id(1)), farm.rings()), (CallStatus::Pending, 1));
    farm.answer("1");
    status_is(&node, 1, CallStatus::Success);
    status_is(&farm.node(), 1, CallStatus::Success);
    assert_eq!(farm.rings(), 1);
}

#[test]
fn success_is_told_of_the_current_attempt_alone() {
    let farm = Farm::new();
    let [one, two] = [farm.node(), farm.node()];
    one.initiate(id(1), NUMBER);
    farm.wait_for_rings(1);
    farm.answer("1");
    status_is(&one, 1, CallStatus::Success);
    // The same id anew, on the other node.
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
fn a_failure_on_one_node_gives_way_to_a_later_success_on_another() {
    let mut farm = Farm::new();
    let [one, two] = [farm.node(), farm.node()];
    farm.redis.kill();
    is_refused(&one, 1, NUMBER, "(CannotPlace");
    farm.redis.restart();
    wait_until("Redis has the failure", || farm.redis.cli(&["GET", "{phonegate}:a:1"]).contains("CannotPlace"));
    two.initiate(id(1), NUMBER);
    farm.wait_for_rings(1);
    farm.answer("1");
    for node in [&two, &one] {
        status_is(node, 1, CallStatus::Success);
    }
}

#[test]
fn a_success_does_not_outlive_a_later_failure_of_which_redis_has_not_heard() {
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
    farm.redis.resume();
    wait_until("the other node hears of it", || {
        assert_ne!(one.status(id(1)), CallStatus::Success);
        two.status(id(1)) == CallStatus::Failed
    });
    assert_eq!(farm.rings(), 1);
}

#[test]
fn what_redis_cannot_confirm_is_no_success() {
    let farm = Farm::new();
    let node = farm.node();
    node.initiate(id(1), NUMBER);
    farm.wait_for_rings(1);
    farm.answer("1");
    status_is(&node, 1, CallStatus::Success);
    farm.redis.pause();
    assert_eq!(node.status(id(1)), CallStatus::Pending);
    farm.redis.resume();
    status_is(&node, 1, CallStatus::Success);
}

#[test]
fn a_master_that_has_lost_its_replicas_confirms_no_success() {
    let farm = Farm::new();
    let [one, two] = [farm.node(), farm.node()];
    one.initiate(id(1), NUMBER);
    farm.wait_for_rings(1);
    farm.answer("1");
    status_is(&one, 1, CallStatus::Success);
    farm.redis.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert_eq!(one.status(id(1)), CallStatus::Pending);
    assert_ne!(two.status(id(1)), CallStatus::Success);
    farm.redis.cli(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    status_is(&one, 1, CallStatus::Success);
    status_is(&two, 1, CallStatus::Success);
}

/// Redis is away in this way, and comes back.
fn redis_is_away(away: impl Fn(&mut Redis), back: impl Fn(&mut Redis)) {
    let mut farm = Farm::new();
    let [one, two] = [farm.node(), farm.node()];
    one.initiate(id(1), NUMBER);
    one.initiate(id(2), &number(2));
    farm.wait_for_rings(2);
    wait_until("Redis has the references", || {
        ["1", "2"].iter().all(|n| farm.redis.cli(&["GET", &format!("{{phonegate}}:a:{n}")]).contains("\"reference\""))
    });
    away(&mut farm.redis);
    // New ones are refused, and nobody is rung.
    is_refused(&two, 3, &number(3), "(CannotPlace");
    assert_eq!(farm.rings(), 2);
    // Pending ones go on: a failure is told, and a success as soon as Redis has it.
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
        let is_told = |line: &Value| line["event"] == event && line["backend"] == "the store";
        wait_until(&format!("{event} is told of the store"), || node.log().iter().any(is_told));
    }
    // All is as before.
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
fn calls_outlive_a_redis_that_is_killed_and_started_again() {
    redis_is_away(Redis::kill, Redis::restart);
}

#[test]
fn calls_outlive_a_redis_that_stands_still() {
    redis_is_away(|redis| redis.pause(), |redis| redis.resume());
}
