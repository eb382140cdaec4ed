//! A defect that panics, in a backend or in any export, is a failure with a message: the host continues, and nothing of
//! it reaches the host's stderr or panic hook. Needs a debug build of the library, in which PHONEGATE_FAULT works.

mod support;

use std::ffi::CStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use phonegate::abi::ResultCode;
use serde_json::{Value, json};
use support::abi::{Abi, FAILED, NUMBER, SUCCESS, approves, fresh_id, fresh_number};

const OK: i32 = 0;
const DEFECT: &str = "A defect in PhoneGate; see its log. (Internal)";

/// Runs `body` while the library panics at `place`. No call may be in flight.
fn with_fault<T>(place: &str, body: impl FnOnce() -> T) -> T {
    // SAFETY: no thread reads the environment meanwhile: the library's threads do so only while they drive a call.
    unsafe { std::env::set_var("PHONEGATE_FAULT", place) };
    let result = body();
    // SAFETY: as above.
    unsafe { std::env::remove_var("PHONEGATE_FAULT") };
    result
}

/// Returns what any thread of this process writes to stderr during `body`.
fn stderr_of(body: impl FnOnce()) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = File::create(folder.path().join("stderr")).unwrap();
    // SAFETY: the numbers are open files of this process.
    let saved = unsafe { libc::dup(2) };
    assert!(saved >= 0);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), 2) }, 2);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    // SAFETY: as above.
    unsafe {
        libc::dup2(saved, 2);
        libc::close(saved);
    }
    let written = std::fs::read_to_string(folder.path().join("stderr")).unwrap();
    if let Err(panic) = result {
        eprintln!("{written}");
        std::panic::resume_unwind(panic);
    }
    written
}

fn logged() -> Value {
    let mut config = approves();
    config["log"] = json!({ "directory": "log" });
    config
}

/// The log's lines about an event, after a shutdown.
fn log_of(abi: &Abi, event: &str) -> Vec<Value> {
    assert_eq!(abi.shut_down(60_000), OK);
    let text = std::fs::read_to_string(abi.path("log/phonegate.log")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == event).collect()
}

#[test]
fn a_panic_in_a_backend_fails_its_call_alone() {
    for place in ["backend.place", "backend.follow"] {
        let abi = Abi::load(&logged());
        let (first, second) = (fresh_id(), fresh_id());
        let stderr = stderr_of(|| {
            with_fault(place, || {
                for id in [&first, &second] {
                    abi.initiate(Some(&fresh_number()), Some(id), None);
                    assert_eq!(abi.outcome(id), FAILED, "{place}: is the library a debug build?");
                    let text = abi.message(id);
                    assert_eq!(text, "A defect in PhoneGate ended the call; see its log. (Internal)");
                }
            });
            abi.still_places_calls();
        });
        assert_eq!(stderr, "", "{place}");
        assert_eq!(abi.status(Some(&first)), FAILED, "the failure stays");
        assert_eq!(log_of(&abi, "defect").len(), 2, "{place}");
    }
}

#[test]
fn a_panic_before_the_calls_task_starts_fails_the_call() {
    let abi = Abi::load(&logged());
    let id = fresh_id();
    with_fault("gate.initiate", || assert_eq!(abi.initiate(Some(NUMBER), Some(&id), None), FAILED));
    assert_eq!(abi.status(Some(&id)), FAILED, "and not pending for ever");
    assert_eq!(abi.message(&id), DEFECT);
    abi.initiate(Some(NUMBER), Some(&id), None);
    assert_eq!(abi.outcome(&id), SUCCESS, "the id and its number are free again");
    let failed = log_of(&abi, "failed");
    assert_eq!(failed[0]["reason"], "Internal", "{failed:?}");
}

/// Calls each export with a panic in it, and checks what it returns.
fn insult_every_export(abi: &Abi) {
    let id = fresh_id();
    with_fault("export.InitiateCall", || {
        assert_eq!(abi.initiate(Some(&fresh_number()), Some(&id), None), FAILED, "is the library a debug build?");
    });
    assert_eq!(abi.status(Some(&id)), FAILED);
    assert_eq!(abi.message(&id), DEFECT);
    with_fault("export.GetCallStatus", || assert_eq!(abi.status(Some(&id)), FAILED));
    with_fault("export.GetFailureMessage", || {
        let (mut buffer, mut needed) = ([0xaau8; 64], 0);
        let mut ask = |capacity| {
            // SAFETY: the id is NUL-terminated, and the buffer is longer than any capacity asked with.
            unsafe { (abi.get_failure_message)(id.as_ptr(), buffer.as_mut_ptr().cast(), capacity, &mut needed) }
        };
        assert_eq!(ask(10), ResultCode::Internal.code());
        assert_eq!(ask(64), ResultCode::Internal.code());
        assert_eq!(CStr::from_bytes_until_nul(&buffer).unwrap().to_str().unwrap(), DEFECT);
        assert_eq!(needed, DEFECT.len() + 1);
    });
    with_fault("export.PhoneGateInitialize", || {
        assert_eq!(abi.initialize(None).0, ResultCode::Internal.code());
    });
    with_fault("export.PhoneGateShutdown", || assert_eq!(abi.shut_down(1_000), ResultCode::Internal.code()));
    with_fault("export.PhoneGateSetLogCallback", || {
        // SAFETY: there is no callback.
        let result = unsafe { abi.set_log_callback(None, std::ptr::null_mut()) };
        assert_eq!(result, ResultCode::Internal.code());
    });
}

#[test]
fn a_panic_in_any_export_is_its_failure() {
    let abi = Abi::load(&logged());
    let stderr = stderr_of(|| {
        // First while no gate runs, so that no log can receive the message.
        insult_every_export(&abi);
        abi.still_places_calls();
        insult_every_export(&abi);
        abi.still_places_calls();
    });
    assert_eq!(stderr, "");
    let defects = log_of(&abi, "defect");
    assert!(defects.len() >= 7, "each panic of a running gate is logged: {defects:?}");
    assert!(
        defects.iter().all(|line| line["level"] == "error" && line["text"].as_str().unwrap().contains("failpoint.rs"))
    );
}

#[test]
fn a_panic_in_the_start_is_logged_and_fails_calls() {
    let abi = Abi::load(&logged());
    let id = fresh_id();
    let stderr = stderr_of(|| {
        with_fault("gate.start", || {
            assert_eq!(abi.initialize(None), (ResultCode::Internal.code(), DEFECT.to_owned()));
            assert_eq!(abi.initiate(Some(NUMBER), Some(&id), None), FAILED);
            assert_eq!((abi.status(Some(&id)), abi.message(&id)), (FAILED, DEFECT.to_owned()));
        });
    });
    assert_eq!(stderr, "");
    assert_eq!(abi.shut_down(60_000), OK);
    let text = std::fs::read_to_string(abi.path("state/phonegate/phonegate.log")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let defects: Vec<_> = lines.iter().filter(|line| line["event"] == "defect").collect();
    assert!(!defects.is_empty(), "{text}");
    for defect in defects {
        assert_eq!((&defect["level"], &defect["reason"]), (&json!("error"), &json!("Internal")), "{defect}");
        assert!(defect["text"].as_str().unwrap().contains("failpoint.rs"), "{defect}");
    }
    abi.still_places_calls();
}

#[test]
fn the_hosts_panic_hook_is_its_own() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    std::panic::set_hook(Box::new(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    }));
    let abi = Abi::load(&approves());
    insult_every_export(&abi);
    with_fault("backend.place", || {
        let id = fresh_id();
        abi.initiate(Some(NUMBER), Some(&id), None);
        assert_eq!(abi.outcome(&id), FAILED);
    });
    abi.still_places_calls();
    assert_eq!(seen.load(Ordering::SeqCst), 0, "the library's panics are not the host's");

    // Also on a thread that is named like the library's.
    let thread = std::thread::Builder::new().name("phonegate-host".to_owned());
    assert!(thread.spawn(|| panic!("the host's own")).unwrap().join().is_err());
    assert_eq!(seen.load(Ordering::SeqCst), 1, "the host's panics are the host's");
}

#[test]
fn this_test_sees_what_is_written_to_stderr() {
    let seen = stderr_of(|| {
        // Written past the test harness, which captures the output of print macros.
        std::io::stderr().write_all(b"a word").unwrap();
    });
    assert_eq!(seen, "a word");
}
