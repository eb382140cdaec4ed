//! The log: it has a line for each step, contains no personal data, and never delays a call.

mod support;

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use phonegate::call::{CallEvent, CallId, CallStatus, Failure, FailureReason, GateEvent};
use phonegate::config::{self, ErrorKind, Level};
use phonegate::gate::{CallRequest, Gate, LogTo};
use phonegate::registry::Registry;
use phonegate::telemetry::{CallObserver, Log, LogEntry, Sinks, SystemEventId, SystemLog};
use serde_json::{Value, json};
use support::gate::{TestGate, id};

fn demo(log: Value) -> Value {
    json!({
        "use": ["demo"],
        "allow_test_backends": true,
        "backends": { "demo": { "type": "simulated", "answer_after_ms": 10, "press_after_ms": 10 } },
        "numbers": { "default_country": "US", "blocked": ["+14255550199"] },
        "store": { "type": "memory" },
        "log": log,
    })
}

#[test]
fn each_step_of_a_call_has_a_line_with_its_id_and_its_duration() {
    let gate = TestGate::start(demo(json!({ "level": "info", "directory": "log" })));
    gate.initiate(id(1), "+1 4255551212");
    assert_eq!(gate.ends(id(1)).0, CallStatus::Success);
    let log = gate.end();
    let of_call: Vec<_> = log.iter().filter(|line| line["id"] == id(1).to_string()).collect();
    let events: Vec<_> = of_call.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["started_call", "dialling", "placed", "ringing", "answered", "verified"]);
    assert_eq!(of_call[0]["number"], "+1******1212");
    for line in &of_call[1..] {
        assert!(line["ms"].is_u64() && line["backend"] == "demo", "{line}");
    }
    for line in &log {
        let time = line["time"].as_str().unwrap();
        assert!(time.ends_with('Z') && time.contains('T') && line["level"].is_string(), "{line}");
    }
    assert_eq!(log.first().unwrap()["event"], "started");
    assert_eq!(log.last().unwrap()["event"], "ended");
}

#[test]
fn each_start_warns_of_weak_approval() {
    for (approval, words) in [
        (json!({ "method": "pound" }), "approval.method: is `pound`: a recording can press #"),
        (json!({ "method": "code", "code_digits": 1 }), "approval.code_digits: "),
    ] {
        let mut config = demo(json!({ "directory": "log" }));
        config["approval"] = approval;
        let log = TestGate::start(config).end();
        let is_warned = |line: &Value| line["text"].as_str().is_some_and(|text| text.starts_with(words));
        let warned: Vec<_> = log.iter().filter(|line| is_warned(line)).collect();
        assert!(
            matches!(warned[..], [line] if line["event"] == "configuration" && line["level"] == "warn"),
            "{words} in {log:?}"
        );
    }
}

#[test]
fn a_refusal_has_its_reason_and_its_text() {
    let gate = TestGate::start(demo(json!({ "directory": "log" })));
    assert_eq!(gate.initiate(id(1), "+1 4255550199"), CallStatus::Failed);
    let log = gate.end();
    let line = log.iter().find(|line| line["event"] == "refused").unwrap();
    assert_eq!((&line["reason"], &line["status"]), (&json!("Blocked"), &json!("failed")));
    assert!(line["text"].as_str().unwrap().ends_with("(Blocked, code 14)"), "{line}");
}

#[test]
fn no_line_shows_a_number_or_the_value_of_an_attribute() {
    let gate = TestGate::start(demo(json!({ "level": "trace", "directory": "log" })));
    let numbers = [
        "+1 4255551212",
        "14255551213",
        "4255551214",
        "+1 4255551215X12345",
        "+1 4255550199",
        "+44 7911 123456",
        "+1 900 555 1216",
        "911",
        "not a number 4255551217",
        "+14255551218;1;x\r\n4255551219",
    ];
    for (n, number) in (1..).zip(numbers) {
        let attributes = vec!["Locale".to_owned(), "+14255551220".to_owned(), "a\nb".to_owned()];
        gate.gate().initiate(CallRequest { id: id(n), number, attributes, language: None }).unwrap();
        gate.ends(id(n));
    }
    let log = gate.end();
    for (n, number) in (1..).zip(numbers) {
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        let texts = log.iter().map(|line| line["text"].as_str().unwrap_or_default().to_owned());
        let failure = gate.gate().snapshot(id(n)).and_then(|snapshot| snapshot.failure);
        for shown in texts.chain(failure.map(|failure| failure.text().to_owned())) {
            assert!(digits.len() < 7 || !shown.contains(&digits[digits.len() - 7..]), "{shown}");
        }
    }
    for file in gate.folder().join("log").read_dir().unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for part in ["555121", "5551220", "5550199", "123456", "12345\"", "x12345"] {
            assert!(!text.contains(part), "{part} is in the log");
        }
    }
    let started = log.iter().find(|line| line["event"] == "started_call").unwrap();
    assert_eq!(started["attributes"], json!(["Locale", "+*******1220", "a b"]));
}

#[test]
fn another_receiver_gets_the_same_lines_as_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("phonegate.json");
    std::fs::write(&path, demo(json!({ "level": "debug", "directory": "log" })).to_string()).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let tee: phonegate::telemetry::Tee =
        Arc::new(move |level, line| sink.lock().unwrap().push((level, line.to_owned())));
    let log_to = LogTo { tee: Some(tee), ..LogTo::file("phonegate.log") };
    let registry = Arc::new(Registry::new(Duration::from_secs(600)));
    let gate = Gate::start(config::load(&path, &phonegate::TYPES).unwrap(), registry, log_to).unwrap();
    gate.initiate(CallRequest { id: id(1), number: "+1 4255551212", attributes: Vec::new(), language: None });
    support::wait_until("the call ends", || gate.status(id(1)) == CallStatus::Success);
    assert!(gate.shut_down(support::EVENT_TIMEOUT));
    let file = std::fs::read_to_string(folder.path().join("log/phonegate.log")).unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.len() > 6);
    assert_eq!(file.lines().collect::<Vec<_>>(), seen.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>());
    for (level, line) in &*seen {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["level"], format!("{level:?}").to_lowercase());
    }
}

#[test]
fn dropped_lines_are_counted_and_reported() {
    let (entered, is_blocked) = sync_channel(1);
    let (release, released) = channel::<()>();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let (sink, released) = (Arc::clone(&lines), Mutex::new(released));
    let tee: phonegate::telemetry::Tee = Arc::new(move |_, line: &str| {
        // The first line blocks the log, until the sender is dropped.
        let _ = entered.try_send(());
        let _ = released.lock().unwrap().recv();
        sink.lock().unwrap().push(serde_json::from_str::<Value>(line).unwrap());
    });
    let log = Log::start(Level::Info, Sinks { tee: Some(tee), ..Sinks::default() }).unwrap();
    let written = 40_000;
    for _ in 0..written {
        log.write(&LogEntry::new(GateEvent::Configuration));
    }
    is_blocked.recv().unwrap();
    drop(release);
    assert!(log.close(support::EVENT_TIMEOUT));
    let lines = lines.lock().unwrap();
    let arrived = lines.iter().filter(|line| line["event"] == "configuration").count() as u64;
    let reports = lines.iter().filter(|line| line["event"] == "lines_dropped");
    let dropped: u64 = reports.map(|line| line["count"].as_u64().unwrap()).sum();
    assert!(dropped > 0 && arrived < written);
    assert_eq!(arrived + dropped, written);
}

#[test]
fn lines_below_the_level_are_not_written() {
    let gate = TestGate::start(demo(json!({ "level": "warn", "directory": "log" })));
    gate.initiate(id(1), "+1 4255551212");
    gate.ends(id(1));
    let levels: HashSet<_> = gate.end().iter().map(|line| line["level"].as_str().unwrap().to_owned()).collect();
    assert_eq!(levels, HashSet::from(["warn".to_owned()]), "only that test backends are allowed");
}

#[test]
fn only_its_owner_can_read_the_log() {
    let gate = TestGate::start(demo(json!({ "directory": "log" })));
    for path in [gate.folder().join("log"), gate.folder().join("log/phonegate.log")] {
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
}

#[test]
fn a_folder_that_others_can_write_to_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    std::fs::create_dir(&log).unwrap();
    std::fs::set_permissions(&log, std::fs::Permissions::from_mode(0o777)).unwrap();
    let path = folder.path().join("phonegate.json");
    std::fs::write(&path, demo(json!({ "directory": "log" })).to_string()).unwrap();
    let log_to = LogTo::file("phonegate.log");
    let registry = Arc::new(Registry::new(Duration::from_secs(600)));
    let error =
        Gate::start(config::load(&path, &phonegate::TYPES).unwrap(), registry, log_to).err().expect("it is refused");
    assert_eq!(error.kind(), ErrorKind::StateFolder);
    assert!(error.to_string().starts_with(&format!("log.directory: {}: ", log.display())), "{error}");
}

/// A full disk, here a device that is always full, harms no call, and missing lines are reported once there is room.
#[test]
fn calls_continue_without_a_log_and_missing_lines_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("phonegate.log");
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let gate = TestGate::start(demo(json!({ "directory": folder.path() })));
    for n in 1..=20 {
        gate.initiate(id(n), "+1 4255551212");
        assert_eq!(gate.ends(id(n)).0, CallStatus::Success);
    }
    std::fs::remove_file(&file).unwrap();
    assert!(gate.gate().shut_down(support::EVENT_TIMEOUT));
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> =
        text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect();
    let report = lines.iter().find(|line| line["event"] == "lines_dropped").expect("the loss is reported");
    assert!(report["count"].as_u64().unwrap() >= 20, "{report}");
}

#[test]
fn a_failing_disk_loses_no_line_of_the_callback_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("phonegate.log");
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let (sender, passed) = channel();
    let (sender, passed) = (Mutex::new(sender), Mutex::new(passed));
    let tee: phonegate::telemetry::Tee =
        Arc::new(move |_, line: &str| sender.lock().unwrap().send(line.to_owned()).unwrap());
    let log = Log::start(
        Level::Info,
        Sinks { file: Some((folder.path(), "phonegate.log", 1_000_000)), tee: Some(tee), ..Sinks::default() },
    )
    .unwrap();
    let write = || log.write(&LogEntry::new(GateEvent::Configuration));
    (0..20).for_each(|_| write());
    let received: Vec<String> = passed.lock().unwrap().iter().take(20).collect();
    assert!(received.iter().all(|line| line.contains(r#""event":"configuration""#)), "{received:?}");
    std::fs::remove_file(&file).unwrap();
    write();
    assert!(log.close(support::EVENT_TIMEOUT));
    assert_eq!(passed.lock().unwrap().try_iter().count(), 1);
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> =
        text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&lines[0]["event"], &lines[1]["event"], &lines[1]["count"]),
        (&json!("configuration"), &json!("lines_dropped"), &json!(20))
    );
    assert_eq!(lines.len(), 2);
}

#[test]
fn missing_lines_are_reported_at_the_end_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("phonegate.log");
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let (sender, passed) = channel();
    let sender = Mutex::new(sender);
    let tee: phonegate::telemetry::Tee = Arc::new(move |_, _: &str| sender.lock().unwrap().send(()).unwrap());
    let log = Log::start(
        Level::Info,
        Sinks { file: Some((folder.path(), "phonegate.log", 1_000_000)), tee: Some(tee), ..Sinks::default() },
    )
    .unwrap();
    (0..20).for_each(|_| log.write(&LogEntry::new(GateEvent::Configuration)));
    assert_eq!(passed.iter().take(20).count(), 20);
    std::fs::remove_file(&file).unwrap();
    assert!(log.close(support::EVENT_TIMEOUT));
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let line: Value = serde_json::from_str(text.trim()).unwrap_or_default();
    assert_eq!((&line["event"], &line["count"]), (&json!("lines_dropped"), &json!(20)), "{text}");
    assert_eq!(passed.try_iter().count(), 0);
}

#[test]
fn the_systems_log_gets_few_events_at_every_level() {
    use SystemEventId::{
        BackendDown, BackendUp, CapReached, Defect, FraudReported, LockedOut, NotConfigured, Started, Unlocked,
        UnsafePermissions,
    };
    let (sender, passed) = channel();
    let system: SystemLog = Box::new(move |event| sender.send((event.id, event.strings.clone())).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = Some((folder.path(), "phonegate.log", 1_000_000));
    let log = Log::start(Level::Error, Sinks { file, system: Some(system), ..Sinks::default() }).unwrap();
    const CALL: &str = "6f9619ff-8b86-d011-b42d-00c04fc964ff";
    let call = CallId::parse(CALL).unwrap();
    let fraud = Failure::new(FailureReason::FraudReported, "The fraud key was pressed.");
    let busy = Failure::new(FailureReason::Unreachable, "Busy.");
    let write = |entry: LogEntry<'_>| {
        let (number, backend, text) = (Some("+1******1212"), Some("trunk"), Some("words"));
        log.write(&LogEntry { id: Some(call), number, backend, text, ..entry });
    };
    let failed = |event: CallEvent, failure| LogEntry { failure: Some(failure), ..LogEntry::new(event) };
    write(LogEntry::new(GateEvent::Started));
    write(LogEntry::new(GateEvent::NotConfigured));
    write(LogEntry::new(CallEvent::Requested));
    write(LogEntry::new(GateEvent::BackendDown));
    write(failed(CallEvent::BackendRefused, &busy));
    write(LogEntry::new(GateEvent::BackendUp));
    write(failed(CallEvent::Failed, &busy));
    write(failed(CallEvent::Failed, &fraud));
    write(LogEntry::new(GateEvent::UnsafePermissions));
    write(LogEntry::new(CallEvent::LockedOut));
    write(LogEntry::new(CallEvent::CapReached));
    write(LogEntry::new(GateEvent::Unlocked));
    write(LogEntry::new(GateEvent::Defect));
    assert!(log.close(support::EVENT_TIMEOUT));
    let passed: Vec<_> = passed.iter().collect();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let expected = [
        (Started, words(&["words"])),
        (NotConfigured, words(&["words"])),
        (BackendDown, words(&["trunk", "words"])),
        (BackendUp, words(&["trunk"])),
        (FraudReported, words(&[CALL, &format!("phonegate blocks remove {CALL}")])),
        (UnsafePermissions, words(&["words"])),
        (LockedOut, words(&[CALL, "words"])),
        (CapReached, words(&["words"])),
        (Unlocked, words(&["+1******1212", "words"])),
        (Defect, words(&["words", CALL])),
    ];
    assert_eq!(passed, expected);
    let text = std::fs::read_to_string(folder.path().join("phonegate.log")).unwrap();
    assert_eq!(text.lines().count(), 1, "the file has its level still: {text}");
}

/// Starts a gate of a simulated phone that logs only errors, and observes its calls.
fn observed(observer: CallObserver) -> (tempfile::TempDir, Gate) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("phonegate.json");
    std::fs::write(&path, demo(json!({ "level": "error", "directory": "log" })).to_string()).unwrap();
    let log_to = LogTo { observer: Some(observer), ..LogTo::file("phonegate.log") };
    let registry = Arc::new(Registry::new(Duration::from_secs(600)));
    let loaded = config::load(&path, &phonegate::TYPES).unwrap();
    (folder, Gate::start(loaded, registry, log_to).unwrap())
}

fn call_once(gate: &Gate) {
    gate.initiate(CallRequest { id: id(1), number: "+1 4255551212", attributes: Vec::new(), language: None });
    support::wait_until("the call ends", || gate.status(id(1)) == CallStatus::Success);
}

#[test]
fn an_observer_gets_every_event_of_a_call_whatever_the_log_level() {
    let (observer, events) = sync_channel(100);
    let (_folder, gate) = observed(observer);
    call_once(&gate);
    gate.finish_publishing();
    let mut seen: Vec<_> = events.try_iter().collect();
    assert!(seen.iter().any(|event| event.event == CallEvent::Verified), "the outcome is observed: {seen:?}");
    assert!(gate.shut_down(support::EVENT_TIMEOUT));
    seen.extend(events.try_iter());
    let events = seen;
    let kinds: Vec<_> = events.iter().map(|event| event.event).collect();
    assert_eq!(
        kinds,
        [
            CallEvent::Requested,
            CallEvent::Dialling,
            CallEvent::Placed,
            CallEvent::Ringing,
            CallEvent::Answered,
            CallEvent::Verified,
            CallEvent::CleanedUp
        ]
    );
    assert_eq!(events[0].number.as_deref(), Some("+1******1212"));
    for event in &events {
        assert_eq!(event.id, Some(id(1)), "{event:?}");
    }
    for event in &events[1..] {
        assert!(event.backend.as_deref() == Some("demo") && event.ms.is_some(), "{event:?}");
    }
}

#[test]
fn an_observer_that_is_full_or_gone_delays_no_call() {
    let (observer, full) = sync_channel(1);
    let (_folder, gate) = observed(observer);
    call_once(&gate);
    gate.finish_publishing();
    assert_eq!(full.try_iter().map(|event| event.event).collect::<Vec<_>>(), [CallEvent::Requested]);
    assert!(gate.shut_down(support::EVENT_TIMEOUT));

    let (observer, gone) = sync_channel(1);
    drop(gone);
    let (_folder, gate) = observed(observer);
    call_once(&gate);
    assert!(gate.shut_down(support::EVENT_TIMEOUT));
}
