//! The host's process is killed at any moment of a call. The next one claims the call, or reports how it ended. A call
//! is never placed twice, and never lost without a message.

mod codes;
mod kills;
#[path = "../support/mod.rs"]
mod support;

use std::ffi::CString;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use phonegate::config;
use phonegate::gate::{Gate, LogTo};
use phonegate::registry::Registry;
use phonegate::store::{LEASE, RENEW_EVERY};
use serde_json::{Value, json};
use support::abi::{Abi, FAILED, PENDING, SUCCESS, fresh_id, fresh_number};
use support::calls::{Calls, is_intact};
use support::gate::{admitted, no_limits, with_test_defaults};
use support::host::Host;
use support::sip::prompts;
use support::sipp::{Callee, Step, UNTIL_ASKED};
use support::twilio::{About, Scenario, Twilio};
use support::wait_until;
use tempfile::TempDir;

/// Processes that are killed at each moment.
const KILLS: usize = 6;

const RINGS: Step = Step::Answer(180, "Ringing", "");

/// A machine whose processes share a store.
struct Machine {
    folder: TempDir,
    config: Value,
}

/// A call that a process began before it was killed.
struct Begun {
    id: CString,
    number: CString,
    what: String,
}

impl Machine {
    fn new(backend: Value) -> Self {
        Self::with(backend, json!({}))
    }

    /// As `new`, with further sections of the configuration.
    fn with(backend: Value, sections: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = json!({
            "use": ["phone"],
            "allow_test_backends": matches!(backend["type"].as_str(), Some("simulated" | "file")),
            "backends": { "phone": backend },
            "numbers": { "default_country": "US" },
            "limits": no_limits(),
            "store": { "type": "sqlite", "path": folder.path().join("calls.db") },
        });
        config.as_object_mut().unwrap().extend(sections.as_object().unwrap().clone());
        let config = with_test_defaults(config);
        std::fs::write(folder.path().join("phonegate.json"), config.to_string()).unwrap();
        Self { folder, config }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a process that places a call.
    fn call(&self, what: impl Into<String>) -> (Host, Begun) {
        let call = Begun::new(what);
        (self.place(&call), call)
    }

    /// Starts a process that places this call.
    fn place(&self, call: &Begun) -> Host {
        Host::start(self.folder.path(), call.id.to_str().unwrap(), call.number())
    }

    /// Opens the store. Its file must exist.
    fn calls(&self) -> Calls {
        Calls::of(&self.path("phonegate.json"))
    }

    /// Waits until the store has the backend's reference of a call.
    fn has_placed(&self, call: &Begun) {
        wait_until("it is placed", || self.path("calls.db").exists() && self.calls().placed(&call.id) > 0);
    }

    /// Starts the next process, which is this one.
    fn next(&self) -> Abi {
        Abi::load(&self.config)
    }
}

impl Begun {
    fn new(what: impl Into<String>) -> Self {
        Self { id: fresh_id(), number: fresh_number(), what: what.into() }
    }

    fn number(&self) -> &str {
        self.number.to_str().unwrap()
    }
}

/// Waits for the ends of all calls in the next process, and compares them with how often each number was rung.
fn settle(next: &Abi, calls: &[Begun], rings: impl Fn(&Begun) -> usize) -> Vec<(i32, String)> {
    let ends: Vec<_> = calls
        .iter()
        .map(|call| {
            wait_until(&format!("{} has ended", call.what), || next.status(Some(&call.id)) != PENDING);
            (next.status(Some(&call.id)), next.message(&call.id))
        })
        .collect();
    for (call, (status, text)) in calls.iter().zip(&ends) {
        let rung = rings(call);
        assert!(rung <= 1, "{}: rung {rung} times", call.what);
        match *status {
            SUCCESS => assert_eq!(rung, 1, "{}", call.what),
            // The store never had the call, and no phone rang.
            FAILED if text.contains("(UnknownCall)") => assert_eq!(rung, 0, "{}: {text}", call.what),
            FAILED => assert!(text.ends_with(')'), "{}: {text}", call.what),
            other => panic!("{other}"),
        }
    }
    let rung: usize = calls.iter().map(rings).sum();
    println!("{} processes killed, {rung} rings, none twice", calls.len());
    ends
}

/// Approves every ringing call in a file of calls. Returns the file's text before that.
fn approve(phone: &Path) -> String {
    let text = std::fs::read_to_string(phone).unwrap();
    std::fs::write(phone, text.replace(";0;", ";1;")).unwrap();
    text
}

#[test]
fn a_call_outlives_two_processes() {
    let folder = tempfile::tempdir().unwrap();
    let phone = folder.path().join("phone.txt");
    let machine = Machine::new(json!({ "type": "file", "path": phone }));
    let (first, call) = machine.call("placed");
    machine.has_placed(&call);
    first.kill_after(0);

    let (mut second, other) = machine.call("taking up");
    second.logs("claimed");
    machine.has_placed(&other);
    second.kill_after(0);

    let text = approve(&phone);
    assert_eq!(text.lines().count(), 2, "one line a call: {text}");
    let rings = |call: &Begun| text.lines().filter(|line| line.split(';').nth(1) == Some(call.number())).count();
    let ends = settle(&machine.next(), &[call, other], rings);
    assert_eq!([ends[0].0, ends[1].0], [SUCCESS, SUCCESS], "{ends:?}");
}

/// The next process asks other backends by now, but still has the one that placed the call.
#[test]
fn a_call_is_claimed_by_a_backend_of_another_route() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| json!({ "type": "file", "path": folder.path().join(name) });
    let route = |country: &str| json!([{ "countries": [country], "use": ["of route"] }]);
    let numbers = json!({ "default_country": "US", "allowed_countries": ["US", "DE"] });
    let sections = json!({
        "backends": { "phone": file("other.txt"), "of route": file("phone.txt") }, "numbers": numbers, "routes": route("US"),
    });
    let mut machine = Machine::with(file("other.txt"), sections);
    let (host, call) = machine.call("placed by a route");
    machine.has_placed(&call);
    host.kill_after(0);

    machine.config["routes"] = route("DE");
    let next = machine.next();
    let phone = folder.path().join("phone.txt");
    assert_eq!(approve(&phone).lines().count(), 1);
    let ends = settle(&next, &[call], |_| 1);
    assert_eq!(ends[0].0, SUCCESS, "{ends:?}");
    assert!(!folder.path().join("other.txt").exists(), "the first backend of `use` placed nothing");
}

#[test]
fn a_repeat_of_an_orphan_rings_no_phone() {
    let folder = tempfile::tempdir().unwrap();
    let phone = folder.path().join("phone.txt");
    let machine = Machine::new(json!({ "type": "file", "path": phone }));
    let (host, call) = machine.call("placed");
    machine.has_placed(&call);
    host.kill_after(0);

    // The request is repeated before any process can claim the call.
    let next = machine.next();
    let log = || std::fs::read_to_string(next.path("state/phonegate/phonegate.log")).unwrap_or_default();
    assert_eq!(next.initiate(Some(&call.number), Some(&call.id), None), PENDING);
    wait_until("the call is claimed", || log().contains("claimed"));
    assert_eq!(next.initiate(Some(&call.number), Some(&call.id), None), PENDING);
    assert_eq!(next.status(Some(&call.id)), PENDING);
    let text = approve(&phone);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(next.outcome(&call.id), SUCCESS);
}

/// Kills a process whose phone ends with it.
fn ends_with_its_process(backend: Value, rings: impl Fn(&Calls, &Begun) -> usize) {
    const DEADLINE_S: u64 = 25;
    let machine = Machine::with(backend, json!({ "call": { "deadline_s": DEADLINE_S } }));
    let begun = Instant::now();
    let (host, call) = machine.call("ringing");
    machine.has_placed(&call);
    host.kill_after(0);

    let (next, store) = (machine.next(), machine.calls());
    // The phone may still ring.
    let number_is_free = || {
        let other = fresh_id();
        next.initiate(Some(&call.number), Some(&other), None);
        wait_until("another call is placed or refused", || {
            store.placed(&other) > 0 || next.status(Some(&other)) != PENDING
        });
        let (status, text) = (next.status(Some(&other)), next.message(&other));
        assert!(status == PENDING || text.contains("(AlreadyInProgress"), "{status} {text}");
        status == PENDING
    };
    assert!(!number_is_free(), "right after the start");
    let ends = settle(&next, std::slice::from_ref(&call), |call| rings(&store, call));
    assert_eq!(ends[0].0, FAILED);
    assert!(ends[0].1.ends_with("(Interrupted)"), "{ends:?}");
    assert_eq!(rings(&store, &call), 1);
    wait_until("the number is free", number_is_free);
    assert!(begun.elapsed() >= Duration::from_secs(DEADLINE_S), "free after {:?}", begun.elapsed());
}

#[test]
fn a_killed_sip_call_is_interrupted_and_holds_its_number() {
    let callee = Callee::start(&[Step::Invite, RINGS], 1000);
    ends_with_its_process(callee.trunk(), |_, call| callee.rings(call.number()));
}

#[test]
fn a_killed_simulated_call_is_interrupted_and_holds_its_number() {
    let backend = json!({ "type": "simulated", "answer_after_ms": 60_000 });
    ends_with_its_process(backend, |store, call| store.placed(&call.id));
}

#[test]
fn a_fraud_report_is_not_lost_while_no_process_runs() {
    let twilio = Twilio::start();
    twilio.play(Scenario { polls: Some(2), ..Scenario::ends("FRAUD") });
    let machine = Machine::with(twilio.backend(), json!({ "call": { "deadline_s": 4 } }));
    let (host, call) = machine.call("killed while it rings");
    machine.has_placed(&call);
    wait_until("it is looked at", || !twilio.seen(About::Poll).is_empty());
    host.kill_after(0);

    let next = machine.next();
    let rings = |call: &Begun| twilio.starts_of(call.number());
    let ends = settle(&next, std::slice::from_ref(&call), rings);
    assert_eq!(ends[0].0, FAILED);
    assert!(ends[0].1.contains("(FraudReported, code 112)"), "{ends:?}");
    let log = std::fs::read_to_string(next.path("state/phonegate/phonegate.log")).unwrap();
    assert!(log.contains("claimed"), "{log}");
    assert_eq!(machine.calls().blocked(), [admitted(call.number()).hash().to_string()]);
}

#[test]
fn a_second_gate_claims_no_call_of_a_running_service() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::new(json!({ "type": "file", "path": folder.path().join("phone.txt") }));
    let (host, call) = machine.call("placed");
    machine.has_placed(&call);
    host.kill_after(0);

    let mut loaded = config::load(&machine.path("phonegate.json"), &phonegate::TYPES).unwrap();
    loaded.config.log.directory = Some(folder.path().to_owned());
    let registry = Arc::new(Registry::new(Duration::from_secs(60)));
    let log_to = LogTo::file("tool.log");
    let tool = Gate::start_beside_service(loaded, registry, log_to).unwrap();
    std::thread::sleep(LEASE + 2 * RENEW_EVERY);
    assert!(tool.shut_down(support::EVENT_TIMEOUT));
    let log = std::fs::read_to_string(folder.path().join("tool.log")).unwrap();
    assert!(!log.contains("claimed"), "{log}");

    // This process has used SQLite for the gate, and cannot load the library.
    let mut next = Host::start(machine.folder.path(), call.id.to_str().unwrap(), call.number());
    next.logs("claimed");
    assert_eq!(approve(&folder.path().join("phone.txt")).lines().count(), 1);
    assert_eq!(next.last_words(), "Verified: the right key was pressed.");
}

#[test]
#[should_panic(expected = "Two copies of SQLite in one process")]
fn a_test_that_has_used_sqlite_cannot_load_the_library() {
    drop(rusqlite::Connection::open_in_memory().unwrap());
    Abi::load(&json!({ "use": [] }));
}

#[test]
#[should_panic(expected = "Two copies of SQLite in one process")]
fn a_test_that_has_loaded_the_library_fails_if_it_uses_sqlite() {
    let _abi = Abi::load(&json!({ "use": [] }));
    drop(rusqlite::Connection::open_in_memory().unwrap());
}
