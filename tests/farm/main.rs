//! A farm: several nodes with one Redis. All nodes know every call; the calls of a node that dies are claimed by another
//! one; and while Redis is unreachable, no call succeeds.

mod fraud;
mod kills;
mod limits;
mod nodes;
mod number_keys;
mod outages;
mod repeats;
mod single_use;
#[path = "../support/mod.rs"]
mod support;

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use phonegate::call::{CallStatus, Progress};
use phonegate::config::NetworkConfig;
use phonegate::store::{Block, BlockScope, CallStore, DEADLINE_GRACE, RedisStore, StoredNumber};
use serde_json::{Value, json};
use support::abi::{Abi, FAILED, PENDING, SUCCESS};
use support::gate::{TestGate, admitted, id, no_limits, with_test_defaults};
use support::host::Host;
use support::redis::Redis;
use support::wait_until;
use tempfile::TempDir;

const NUMBER: &str = "+1 4255551212";

/// A Redis, and a telephone that every node has: one file of calls, or another backend.
struct Farm {
    redis: Redis,
    folder: TempDir,
    backend: Option<Value>,
    /// Further keys of every node's configuration.
    more: Vec<(&'static str, Value)>,
}

impl Farm {
    fn new() -> Self {
        Self { redis: Redis::start(), folder: tempfile::tempdir().unwrap(), backend: None, more: Vec::new() }
    }

    fn with(backend: Value) -> Self {
        Self { backend: Some(backend), ..Self::new() }
    }

    /// Adds a key to the configuration of every node.
    fn and(mut self, key: &'static str, value: Value) -> Self {
        self.more.push((key, value));
        self
    }

    fn phone(&self) -> PathBuf {
        self.folder.path().join("phone.txt")
    }

    fn config(&self) -> Value {
        let backend = self.backend.clone().unwrap_or_else(|| json!({ "type": "file", "path": self.phone() }));
        let mut config = json!({
            "use": ["phone"],
            "allow_test_backends": backend["type"] != "twilio_studio",
            "backends": { "phone": backend },
            "store": { "type": "redis", "url": self.redis.url() },
            "limits": no_limits(),
        });
        self.more.iter().for_each(|(key, value)| config[key] = value.clone());
        config
    }

    fn node(&self) -> TestGate {
        TestGate::start(self.config())
    }

    fn node_with(&self, key: &str, value: Value) -> TestGate {
        let mut config = self.config();
        config[key] = value;
        TestGate::start(config)
    }

    /// Returns the configuration for a file.
    fn whole_config(&self) -> Value {
        let mut config = self.config();
        config["numbers"] = json!({ "default_country": "US" });
        with_test_defaults(config)
    }

    /// Starts a process that places call n through the library, as a host does, and waits for its end.
    fn process(&self, n: u128) -> Host {
        self.process_to(n, &number(n))
    }

    /// As `process`, to this number.
    fn process_to(&self, n: u128, number: &str) -> Host {
        let folder = self.folder.path().join(n.to_string());
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("phonegate.json"), self.whole_config().to_string()).unwrap();
        Host::start(&folder, &id(n).to_string(), number)
    }

    /// Uses Redis as a node does, on a connection of its own.
    fn ask<T>(&self, question: impl AsyncFnOnce(&RedisStore) -> T) -> T {
        let mut settings = self.config()["store"].clone();
        // The settings of the type that `type` names.
        settings.as_object_mut().unwrap().remove("type");
        let config = serde_json::from_value(settings).unwrap();
        let store = RedisStore::open(&config, &NetworkConfig::default(), Path::new("")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(question(&store))
    }

    /// Waits until Redis has the backend's reference of the n-th attempt.
    fn has_reference(&self, n: u128) {
        let key = format!("{{phonegate}}:attempt:{n}");
        wait_until("Redis has the reference", || self.redis.cli(&["GET", &key]).contains("\"reference\""));
    }

    /// Returns how often the telephone rang.
    fn rings(&self) -> usize {
        std::fs::read_to_string(self.phone()).unwrap_or_default().lines().count()
    }

    fn wait_for_rings(&self, count: usize) {
        wait_until(&format!("it rang {count} times"), || self.rings() == count);
    }

    /// Places and approves call 1, which must be the first to ring.
    fn verifies_the_first(&self, node: &TestGate) {
        node.initiate(id(1), NUMBER);
        self.wait_for_rings(1);
        self.answer("1");
        status_is(node, 1, CallStatus::Success);
    }

    /// Answers all calls that ring: `1` approves, `2` refuses.
    fn answer(&self, with: &str) {
        self.answer_where(with, |_| true);
    }

    /// Answers call n.
    fn answer_call(&self, n: u128, with: &str) {
        self.answer_where(with, |(_, line)| line.contains(&id(n).to_string()));
    }

    /// Answers the call that rang as the n-th.
    fn answer_ring(&self, n: usize, with: &str) {
        self.answer_where(with, |(ring, _)| ring + 1 == n);
    }

    fn answer_where(&self, with: &str, selects: impl Fn((usize, &str)) -> bool) {
        let text = std::fs::read_to_string(self.phone()).unwrap();
        let lines = text.lines().enumerate().map(|(ring, line)| match selects((ring, line)) {
            true => line.replace(";0;", &format!(";{with};")) + "\n",
            false => line.to_owned() + "\n",
        });
        std::fs::write(self.phone(), lines.collect::<String>()).unwrap();
    }
}

fn status_is(node: &TestGate, n: u128, status: CallStatus) {
    wait_until(&format!("call {n} is {status:?}"), || node.status(id(n)) == status);
}

/// Places a call that must be refused for this reason.
fn is_refused(node: &TestGate, n: u128, number: &str, reason: &str) {
    node.initiate(id(n), number);
    let (status, text) = node.ends(id(n));
    assert_eq!(status, CallStatus::Failed);
    assert!(text.contains(reason), "{text}");
}

/// The n-th number.
fn number(n: u128) -> String {
    format!("+1 425555{:04}", 1000 + n)
}
