//! The host's process is killed at any moment of a call: the next one takes the call up, or says what became of it. A
//! call is never placed twice, and never lost without a text.

mod support;

use std::ffi::CString;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use phonegate::call::CallId;
use phonegate::config;
use phonegate::gate::{Gate, LogTo};
use phonegate::registry::Registry;
use phonegate::store::{CallStore, LEASE, Query, RENEW_EVERY, SqliteStore};
use serde_json::{Value, json};
use support::abi::{Abi, FAILED, PENDING, SUCCESS, fresh_id, fresh_number};
use support::gate::no_limits;
use support::sipp::{Callee, Step};
use support::twilio::{About, Fault, Story, Twilio};
use support::wait_until;
use tempfile::TempDir;

/// So many processes are killed at each moment.
const KILLS: usize = 6;

/// A machine whose processes keep their calls in one file.
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

/// A process that places one call through the library, as a host does.
struct Host(Child);

impl Machine {
    fn new(backend: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "use": ["phone"],
            "allow_test_backends": matches!(backend["type"].as_str(), Some("simulated" | "file")),
            "backends": { "phone": backend },
            "numbers": { "default_country": "US" },
            "limits": no_limits(),
            "store": { "type": "sqlite", "path": folder.path().join("calls.db") },
        });
        std::fs::write(folder.path().join("phonegate.json"), config.to_string()).unwrap();
        Self { folder, config }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a process that calls.
    fn call(&self, what: impl Into<String>) -> (Host, Begun) {
        let (id, number) = (fresh_id(), fresh_number());
        (Host::start(self.folder.path(), &id, &number), Begun { id, number, what: what.into() })
    }

    /// Waits until the store has the backend's reference of a call.
    fn has_placed(&self, call: &Begun) {
        let store = SqliteStore::open(&self.path("calls.db")).unwrap();
        let id = CallId::parse(call.id.to_str().unwrap()).unwrap();
        let query = Query { id: Some(id), most: 1, ..Query::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        wait_until("it is placed", || {
            runtime.block_on(store.rows(&query)).unwrap().iter().any(|row| row.placed.is_some())
        });
    }

    /// The next process: this one.
    fn next(&self) -> Abi {
        Abi::load(&self.config)
    }
}

impl Host {
    fn start(folder: &Path, id: &CString, number: &CString) -> Self {
        let process = Command::new(support::example("place_call"))
            .arg(support::built_library())
            .args([number, id].map(|text| text.to_str().unwrap()))
            .env("PHONEGATE_CONFIG", folder.join("phonegate.json"))
            .env("XDG_STATE_HOME", folder.join(format!("state-{}", id.to_str().unwrap())))
            .stdout(Stdio::piped())
            .spawn();
        Self(process.unwrap())
    }

    /// Waits until the library has logged this event.
    fn logs(&mut self, event: &str) {
        let words = format!("\"event\":\"{event}\"");
        let lines = BufReader::new(self.0.stdout.as_mut().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.contains(&words)), "it logs {event}");
    }

    /// SIGKILL, after so many milliseconds.
    fn kill_after(mut self, ms: u64) {
        std::thread::sleep(Duration::from_millis(ms));
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Waits for the ends of all calls in the next process, and holds them against how often each number was rung.
fn settle(machine: &Machine, calls: &[Begun], rings: impl Fn(&str) -> usize) -> Vec<(i32, String)> {
    let next = machine.next();
    let ends: Vec<_> = calls
        .iter()
        .map(|call| {
            wait_until(&format!("{} has ended", call.what), || next.status(Some(&call.id)) != PENDING);
            (next.status(Some(&call.id)), next.message(&call.id))
        })
        .collect();
    for (call, (status, text)) in calls.iter().zip(&ends) {
        let rung = rings(call.number.to_str().unwrap());
        assert!(rung <= 1, "{}: rung {rung} times", call.what);
        match *status {
            SUCCESS => assert_eq!(rung, 1, "{}", call.what),
            // It never came into the store, and nobody was rung.
            FAILED if text.contains("(UnknownCall)") => assert_eq!(rung, 0, "{}: {text}", call.what),
            FAILED => assert!(text.ends_with(')'), "{}: {text}", call.what),
            other => panic!("{other}"),
        }
    }
    let rung: usize = calls.iter().map(|call| rings(call.number.to_str().unwrap())).sum();
    println!("{} processes killed, {rung} rings, none twice", calls.len());
    ends
}

#[test]
fn a_process_that_is_killed_at_any_moment_leaves_calls_that_the_next_one_takes_up() {
    let twilio = Twilio::start();
    let machine = Machine::new(twilio.backend());
    let mut calls = Vec::new();
    let mut spread = 0..;
    let mut pause = |most: u64| spread.next().unwrap_or(0) * 37 % most;
    for n in 0..KILLS {
        // Half of them would be refused by whoever answers.
        let (word, looks) = (if n % 2 == 0 { "APPROVED" } else { "WRONG_KEY" }, Some(2));
        twilio.tell(Story { looks, ..Story::ends(word) });
        let starts = || twilio.seen(About::Start).len();
        let looks = || twilio.seen(About::Look).len();

        let (mut host, call) = machine.call(format!("{word}, killed as it begins"));
        host.logs("started_call");
        host.kill_after(pause(12));
        calls.push(call);

        twilio.fail(About::Start, Fault::Slow(Duration::from_millis(300)));
        let before = starts();
        let (host, call) = machine.call(format!("{word}, killed before Twilio answers"));
        wait_until("Twilio is asked", || starts() > before);
        host.kill_after(pause(280));
        calls.push(call);

        let before = starts();
        let (host, call) = machine.call(format!("{word}, killed as Twilio answers"));
        wait_until("Twilio is asked", || starts() > before);
        host.kill_after(pause(15));
        calls.push(call);

        let before = looks();
        let (host, call) = machine.call(format!("{word}, killed while it rings"));
        wait_until("it is looked at", || looks() > before);
        host.kill_after(pause(400));
        calls.push(call);

        let before = twilio.seen(About::Delete).len();
        let (host, call) = machine.call(format!("{word}, killed at its end"));
        wait_until("its end is known", || twilio.seen(About::Delete).len() > before);
        host.kill_after(pause(10));
        calls.push(call);
    }
    let rung = twilio.seen(About::Start);
    let rings = |number: &str| rung.iter().filter(|seen| seen.form["To"] == number).count();
    let ends = settle(&machine, &calls, rings);
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
fn a_call_outlives_two_processes() {
    let folder = tempfile::tempdir().unwrap();
    let phone = folder.path().join("phone.txt");
    let machine = Machine::new(json!({ "type": "file", "path": phone }));
    let (first, call) = machine.call("placed");
    machine.has_placed(&call);
    first.kill_after(0);

    let (mut second, other) = machine.call("taking up");
    second.logs("taken_up");
    machine.has_placed(&other);
    second.kill_after(0);

    let text = std::fs::read_to_string(&phone).unwrap();
    assert_eq!(text.lines().count(), 2, "one line a call: {text}");
    std::fs::write(&phone, text.replace(";0;", ";1;")).unwrap();
    let rings = |number: &str| text.lines().filter(|line| line.split(';').nth(1) == Some(number)).count();
    let ends = settle(&machine, &[call, other], rings);
    assert_eq!([ends[0].0, ends[1].0], [SUCCESS, SUCCESS], "{ends:?}");
}

#[test]
fn a_repeat_of_a_call_that_its_process_has_left_rings_nobody_again() {
    let folder = tempfile::tempdir().unwrap();
    let phone = folder.path().join("phone.txt");
    let machine = Machine::new(json!({ "type": "file", "path": phone }));
    let (host, call) = machine.call("placed");
    machine.has_placed(&call);
    host.kill_after(0);

    // The host is asked anew before anybody could take the call up.
    let next = machine.next();
    let log = || std::fs::read_to_string(next.path("state/phonegate/phonegate.log")).unwrap_or_default();
    assert_eq!(next.initiate(Some(&call.number), Some(&call.id), None), PENDING);
    wait_until("the call is taken up", || log().contains("taken_up"));
    assert_eq!(next.initiate(Some(&call.number), Some(&call.id), None), PENDING);
    assert_eq!(next.status(Some(&call.id)), PENDING);
    let text = std::fs::read_to_string(&phone).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    std::fs::write(&phone, text.replace(";0;", ";1;")).unwrap();
    assert_eq!(next.outcome(&call.id), SUCCESS);
}

/// Kills a process whose phone ends with it.
fn ends_with_its_process(backend: Value) {
    let machine = Machine::new(backend);
    let (host, call) = machine.call("ringing");
    machine.has_placed(&call);
    host.kill_after(0);
    let ends = settle(&machine, &[call], |_| 1);
    assert_eq!(ends[0].0, FAILED);
    assert!(ends[0].1.ends_with("(Interrupted)"), "{ends:?}");
}

#[test]
fn a_sip_call_is_interrupted_where_its_process_ends() {
    let callee = Callee::start(&[Step::Invite, Step::Answer(180, "Ringing", "")], 1);
    ends_with_its_process(callee.trunk());
}

#[test]
fn a_simulated_call_is_interrupted_where_its_process_ends() {
    ends_with_its_process(json!({ "type": "simulated", "answer_after_ms": 60_000 }));
}

#[test]
fn a_gate_beside_a_service_takes_none_of_its_calls_up() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::new(json!({ "type": "file", "path": folder.path().join("phone.txt") }));
    let (host, call) = machine.call("placed");
    machine.has_placed(&call);
    host.kill_after(0);

    let mut loaded = config::load(&machine.path("phonegate.json")).unwrap();
    loaded.config.log.directory = Some(folder.path().to_owned());
    let registry = Arc::new(Registry::new(Duration::from_secs(60)));
    let log_to = LogTo { file_name: "tool.log", tee: None, system: None };
    let tool = Gate::start_beside_a_service(loaded, registry, log_to).unwrap();
    std::thread::sleep(LEASE + 2 * RENEW_EVERY);
    assert!(tool.shut_down(support::PATIENCE));
    let log = std::fs::read_to_string(folder.path().join("tool.log")).unwrap();
    assert!(!log.contains("taken_up"), "{log}");

    let next = machine.next();
    wait_until("the call is known", || next.status(Some(&call.id)) == PENDING);
    let phone = folder.path().join("phone.txt");
    let text = std::fs::read_to_string(&phone).unwrap();
    std::fs::write(&phone, text.replace(";0;", ";1;")).unwrap();
    assert_eq!(next.outcome(&call.id), SUCCESS);
}
