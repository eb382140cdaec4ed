//! The metrics: their values after known calls, and that collectors can always read the file.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use phonegate::call::{CallLimit, CallStatus, Failure, FailureReason, StoredOutcome};
use phonegate::config::Level;
use phonegate::telemetry::{CallCounts, Log, Metrics, PrometheusTextfile, Sinks};
use serde_json::{Value, json};
use support::abi::{Abi, approves};
use support::approval::stored_as_verified;
use support::gate::{TestGate, id};
use support::prometheus::Figures;
use support::wait_until;

const NUMBER: &str = "+1 4255551212";
const FILE: &str = "phonegate.prom";

/// A phone that approves.
fn phone() -> Value {
    json!({ "type": "simulated", "answer_after_ms": 0, "press_after_ms": 0 })
}

/// A backend that refuses every call before a phone rings: its file is a folder.
fn broken() -> Value {
    json!({ "type": "file", "path": "." })
}

/// A configuration that writes metrics, with these backends in this order.
fn uses(backends: &[(&str, Value)]) -> Value {
    json!({
        "use": backends.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "allow_test_backends": true,
        "backends": backends.iter().cloned().map(|(name, backend)| (name.to_owned(), backend)).collect::<serde_json::Map<_, _>>(),
        "numbers": { "default_country": "US", "blocked": ["+14255550199"] },
        "metrics": { "textfile": FILE },
    })
}

/// The metrics in the file after a gate has ended.
fn left_behind(gate: &TestGate) -> Figures {
    gate.end();
    Figures::read(&gate.folder().join(FILE))
}

#[test]
fn metrics_count_the_calls_that_were_made() {
    let gate = TestGate::start(uses(&[("broken", broken()), ("demo", phone())]));
    for n in [1, 2] {
        gate.initiate(id(n), NUMBER);
        assert_eq!(gate.ends(id(n)).0, CallStatus::Success);
    }
    for (n, number) in [(3, "12"), (4, "+1 4255550199"), (5, "+1 4255550199")] {
        assert_eq!(gate.initiate(id(n), number), CallStatus::Failed);
    }
    let figures = left_behind(&gate);
    let calls = |outcome, reason, backend| {
        figures.get("phonegate_calls_total", &[("outcome", outcome), ("reason", reason), ("backend", backend)])
    };
    assert_eq!(calls("verified", "none", "demo"), 2.0);
    assert_eq!(calls("failed", "InvalidNumber", "none"), 1.0);
    assert_eq!(calls("failed", "Blocked", "none"), 2.0);
    assert_eq!(figures.sum("phonegate_calls_total"), 5.0);

    let errors =
        |backend, reason| figures.get("phonegate_backend_errors_total", &[("backend", backend), ("reason", reason)]);
    assert_eq!(errors("broken", "CannotPlace"), 2.0);
    assert_eq!(figures.sum("phonegate_backend_errors_total"), 2.0);

    assert_eq!(figures.get("phonegate_call_answer_seconds_count", &[("backend", "demo")]), 2.0);
    assert_eq!(figures.get("phonegate_call_answer_seconds_count", &[("backend", "broken")]), 0.0);
    let verdict = [("outcome", "verified"), ("backend", "demo")];
    assert_eq!(figures.get("phonegate_call_verdict_seconds_count", &verdict), 2.0);
    assert!(figures.get("phonegate_call_verdict_seconds_sum", &verdict) > 0.0);
    assert_eq!(figures.sum("phonegate_call_verdict_seconds_count"), 2.0);

    let store = |operation| figures.get("phonegate_store_operation_seconds_count", &[("operation", operation)]);
    assert_eq!((store("begin"), store("end")), (2.0, 2.0));
    assert!(store("record") > 0.0);
    assert_eq!(figures.sum("phonegate_store_errors_total"), 0.0);

    assert_eq!((figures.get("phonegate_calls_known", &[]), figures.get("phonegate_calls_pending", &[])), (5.0, 0.0));
    assert_eq!(figures.get("phonegate_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let written = figures.get("phonegate_metrics_written_timestamp_seconds", &[]);
    assert!(written <= now && written > now - support::EVENT_TIMEOUT.as_secs_f64(), "{written} at {now}");
}

#[test]
fn times_are_in_seconds_and_in_the_right_buckets() {
    let mut slow = phone();
    slow["answer_after_ms"] = json!(1500);
    let gate = TestGate::start(uses(&[("demo", slow)]));
    gate.initiate(id(1), NUMBER);
    assert_eq!(gate.ends(id(1)).0, CallStatus::Success);
    let figures = left_behind(&gate);
    let of = [("backend", "demo")];
    let verified = [("outcome", "verified"), ("backend", "demo")];
    for (name, labels) in [("phonegate_call_answer_seconds", &of[..]), ("phonegate_call_verdict_seconds", &verified)] {
        let sum = figures.get(&format!("{name}_sum"), labels);
        assert!((1.5..60.0).contains(&sum), "{name}: {sum}");
        let mut below = 0;
        for sample in figures.0.iter().filter(|sample| sample["name"] == format!("{name}_bucket")) {
            let is_one_of_them = labels.iter().all(|(label, value)| sample["labels"][*label] == *value);
            let up_to: f64 = sample["labels"]["le"].as_str().unwrap().parse().unwrap();
            let count = if is_one_of_them && up_to >= sum { 1.0 } else { 0.0 };
            assert_eq!(sample["value"], count, "{sum} s: {sample}");
            below += usize::from(is_one_of_them && up_to < 1.5);
        }
        assert!(below > 0, "{name} has a bucket below 1.5 s");
    }
}

#[test]
fn a_call_that_admission_refuses_is_counted_with_its_reason() {
    let gate = TestGate::start(uses(&[("desk", json!({ "type": "file", "path": "phone.txt" }))]));
    let file = gate.folder().join("phone.txt");
    for (n, answer) in [(1, ";1;"), (2, ";2;")] {
        gate.initiate(id(n), NUMBER);
        let text = || std::fs::read_to_string(&file).unwrap_or_default();
        wait_until("the call has a line", || text().contains(&id(n).to_string()));
        std::fs::write(&file, text().replace(";0;", answer)).unwrap();
        gate.ends(id(n));
    }
    let reason = gate.snapshot(id(2)).failure.unwrap().reason();
    let figures = left_behind(&gate);
    let calls = |outcome, reason| {
        figures.get("phonegate_calls_total", &[("outcome", outcome), ("reason", reason), ("backend", "desk")])
    };
    assert_eq!((calls("verified", "none"), calls("failed", reason.name())), (1.0, 1.0));
    assert_eq!(figures.sum("phonegate_calls_total"), 2.0);
}

#[test]
fn every_counter_exists_at_zero_from_the_start() {
    let gate = TestGate::start(uses(&[("first", phone()), ("second", phone())]));
    let file = gate.folder().join(FILE);
    wait_until("the file is written", || file.exists());
    let figures = Figures::read(&file);
    for backend in ["first", "second"] {
        for reason in FailureReason::ALL {
            let labels = [("outcome", "failed"), ("reason", reason.name()), ("backend", backend)];
            assert_eq!(figures.get("phonegate_calls_total", &labels), 0.0);
            assert_eq!(
                figures.get("phonegate_backend_errors_total", &[("backend", backend), ("reason", reason.name())]),
                0.0
            );
        }
        let verified = [("outcome", "verified"), ("reason", "none"), ("backend", backend)];
        assert_eq!(figures.get("phonegate_calls_total", &verified), 0.0);
    }
    assert_eq!(figures.get("phonegate_store_errors_total", &[("operation", "begin")]), 0.0);
    for limit in CallLimit::ALL {
        assert_eq!(figures.get("phonegate_calls_refused_total", &[("limit", limit.name())]), 0.0);
    }
    assert_eq!(figures.get("phonegate_lockouts_total", &[]), 0.0);
}

#[test]
fn each_refusal_counts_for_the_limit_that_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let (file, metrics, _) = text_file(&path);
    let failed = |failure| metrics.ended(&StoredOutcome::Failed(failure), None, Duration::ZERO);
    for (n, limit) in CallLimit::ALL.into_iter().enumerate() {
        (0..=n).for_each(|_| failed(Failure::limited(limit, "Too many calls.")));
    }
    // The provider's limit is not one of the configuration.
    failed(Failure::new(FailureReason::Throttled, "Too many requests."));
    metrics.locked_out();
    file.write();
    let figures = Figures::read(&path);
    for (n, limit) in CallLimit::ALL.into_iter().enumerate() {
        assert_eq!(figures.get("phonegate_calls_refused_total", &[("limit", limit.name())]), n as f64 + 1.0);
    }
    let throttled = [("outcome", "failed"), ("reason", "Throttled"), ("backend", "none")];
    assert_eq!(figures.get("phonegate_calls_total", &throttled), figures.sum("phonegate_calls_refused_total") + 1.0);
    assert_eq!(figures.get("phonegate_lockouts_total", &[]), 1.0);
}

#[test]
fn a_call_shows_as_pending_while_it_rings() {
    let mut slow = phone();
    slow["answer_after_ms"] = json!(600_000);
    let gate = TestGate::start(uses(&[("demo", slow)]));
    let file = gate.folder().join(FILE);
    wait_until("the file is written", || file.exists());
    gate.initiate(id(1), NUMBER);
    wait_until("the file is written again", || {
        std::fs::read_to_string(&file).unwrap().lines().any(|line| line == "phonegate_calls_pending 1")
    });
    let interrupted = [("outcome", "failed"), ("reason", "Interrupted"), ("backend", "demo")];
    assert_eq!(left_behind(&gate).get("phonegate_calls_total", &interrupted), 1.0);
}

#[test]
fn store_timeouts_are_counted_and_measured() {
    let mut config = uses(&[("demo", phone())]);
    config["store"] = json!({ "type": "sqlite", "path": "calls.db" });
    let gate = TestGate::start(config);
    gate.initiate(id(1), NUMBER);
    assert_eq!(gate.ends(id(1)).0, CallStatus::Success);
    let lock = rusqlite::Connection::open(gate.folder().join("calls.db")).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    gate.initiate(id(2), NUMBER);
    assert_eq!(gate.ends(id(2)).0, CallStatus::Failed);
    lock.execute_batch("ROLLBACK").unwrap();
    let figures = left_behind(&gate);
    let of = |name, operation| figures.get(name, &[("operation", operation)]);
    assert_eq!(of("phonegate_store_errors_total", "begin"), 1.0);
    assert_eq!(of("phonegate_store_operation_seconds_count", "begin"), 2.0);
    let waited = of("phonegate_store_operation_seconds_sum", "begin");
    assert!((0.1..60.0).contains(&waited), "it was waited for: {waited} s");
    let failed = [("outcome", "failed"), ("reason", "CannotPlace"), ("backend", "none")];
    assert_eq!(figures.get("phonegate_calls_total", &failed), 1.0);
}

#[test]
fn the_built_library_writes_the_file_and_starts_at_zero() {
    let mut config = approves();
    config["metrics"] = json!({ "textfile": FILE });
    let abi = Abi::load(&config);
    for calls in [2, 1] {
        (0..calls).for_each(|_| abi.still_places_calls());
        assert_eq!(abi.shut_down(60_000), 0);
        let figures = Figures::read(&abi.path(FILE));
        assert_eq!(figures.sum("phonegate_calls_total"), f64::from(calls));
    }
}

/// A metrics file without a gate, its metrics, and the events in its log.
fn text_file(path: &Path) -> (Arc<PrometheusTextfile>, Metrics, impl Fn() -> Vec<String> + use<>) {
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let tee: phonegate::telemetry::Tee = Arc::new(move |_, line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        seen.lock().unwrap().push(line["event"].as_str().unwrap().to_owned());
    });
    let log = Log::start(Level::Info, Sinks { tee: Some(tee), ..Sinks::default() }).unwrap();
    let metrics = Metrics::new(["demo"]).unwrap();
    for _ in 0..1000 {
        metrics.ended(&stored_as_verified(), Some("demo"), Duration::from_secs(5));
    }
    let file = Arc::new(PrometheusTextfile::new(path.to_owned(), metrics.clone(), CallCounts::default, log.clone()));
    (file, metrics, move || {
        log.close(support::EVENT_TIMEOUT);
        events.lock().unwrap().clone()
    })
}

#[test]
fn a_reader_never_sees_half_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let (file, _, events) = text_file(&path);
    file.write();
    let whole = std::fs::read_to_string(&path).unwrap().lines().count();
    let is_over = AtomicBool::new(false);
    let versions = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut versions = std::collections::BTreeSet::new();
            while !is_over.load(Ordering::Relaxed) {
                let text = std::fs::read_to_string(&path).expect("there is always a file");
                assert_eq!((text.lines().count(), text.ends_with('\n')), (whole, true), "half a file: {text}");
                versions.insert(text);
            }
            versions.len()
        });
        for _ in 0..2_000 {
            file.write();
        }
        is_over.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(versions > 10, "{versions}");
    assert_eq!(events(), Vec::<String>::new());
    assert_eq!(folder.path().read_dir().unwrap().count(), 1, "the folder has no other file");
}

#[test]
fn a_failing_folder_is_logged_once_and_its_recovery_once() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("metrics");
    let (file, _, events) = text_file(&place.join(FILE));
    for _ in 0..2 {
        (0..3).for_each(|_| file.write());
        std::fs::create_dir(&place).unwrap();
        (0..3).for_each(|_| file.write());
        std::fs::remove_dir_all(&place).unwrap();
    }
    assert_eq!(events(), ["metrics_fail", "metrics_work", "metrics_fail", "metrics_work"]);

    let mut config = uses(&[("demo", phone())]);
    config["metrics"]["textfile"] = json!("no-such-folder/phonegate.prom");
    let gate = TestGate::start(config);
    gate.initiate(id(1), NUMBER);
    assert_eq!(gate.ends(id(1)).0, CallStatus::Success);
    // The file was written at least twice: at the start, and at the end.
    let log = gate.end();
    let seen: Vec<_> = log.iter().filter(|line| line["event"] == "metrics_fail").collect();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0]["level"], "warn");
    assert!(seen[0]["text"].as_str().unwrap().contains("no-such-folder/phonegate.prom: No such file"), "{}", seen[0]);
}

#[test]
fn the_file_is_world_readable_and_never_written_through_a_link() {
    // SAFETY: it cannot fail, and nextest gives each test a process of its own.
    unsafe { libc::umask(0o077) };
    let folder = tempfile::tempdir().unwrap();
    let (path, victim) = (folder.path().join(FILE), folder.path().join("victim"));
    std::fs::write(&victim, "untouched").unwrap();
    std::os::unix::fs::symlink(&victim, folder.path().join(format!("{FILE}.new"))).unwrap();
    let (file, ..) = text_file(&path);
    file.write();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
}
