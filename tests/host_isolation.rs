//! The library does not change the state of the host's process.

mod support;

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::fs;
use std::process::Command;

use libloading::Library;
use phonegate::abi::ResultCode;
use serde_json::json;
use support::abi::{Abi, FAILED, NUMBER, PENDING, approves, fresh_id, fresh_number, rings_on};

type Initiate = unsafe extern "C" fn(*const c_char, *const c_char, *const c_char) -> i32;
type Status = unsafe extern "C" fn(*const c_char) -> i32;
type Initialize = unsafe extern "C" fn(*const c_char, *mut c_char, usize, *mut usize) -> i32;
type Shutdown = unsafe extern "C" fn(u32) -> i32;

/// The parts of a process's state that a library could change.
#[derive(Debug, PartialEq)]
struct Process {
    signals: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    current_folder: std::path::PathBuf,
    threads: Vec<String>,
}

impl Process {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let lines = status.lines().filter_map(|line| line.split_once(':'));
        let signals = lines.filter(|(key, _)| matches!(*key, "SigBlk" | "SigIgn" | "SigCgt" | "Umask"));
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        let mut threads: Vec<_> =
            tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok()).collect();
        threads.sort();
        Self {
            signals: signals.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            environment: std::env::vars().collect(),
            current_folder: std::env::current_dir().unwrap(),
            threads,
        }
    }
}

#[test]
fn a_start_and_shutdown_leave_the_process_state_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({
        "use": ["demo"],
        "allow_test_backends": true,
        "backends": { "demo": { "type": "simulated", "answer_after_ms": 0, "press_after_ms": 0 } },
        "numbers": { "default_country": "US" },
        "store": { "path": "calls.db" },
        "log": { "directory": folder.path().join("log") },
    });
    let path = folder.path().join("phonegate.json");
    fs::write(&path, config.to_string()).unwrap();
    let path = CString::new(path.to_str().unwrap()).unwrap();
    let number = c"+1 4255551212";
    let id = c"00000000-0000-0000-0000-000000000001";

    let before = Process::now();
    // SAFETY: the types are those of phonegate.h, and every text is NUL-terminated and outlives its call.
    unsafe {
        let library = Library::new(support::built_library()).unwrap();
        let initialize = library.get::<Initialize>(b"PhoneGateInitialize").unwrap();
        let initiate = library.get::<Initiate>(b"InitiateCall").unwrap();
        let status = library.get::<Status>(b"GetCallStatus").unwrap();
        let shut_down = library.get::<Shutdown>(b"PhoneGateShutdown").unwrap();
        for _ in 0..3 {
            let mut error = [0; 512];
            let result = initialize(path.as_ptr(), error.as_mut_ptr(), error.len(), std::ptr::null_mut());
            assert_eq!(result, 0, "{:?}", CStr::from_ptr(error.as_ptr()));
            initiate(number.as_ptr(), id.as_ptr(), std::ptr::null());
            support::wait_until("the call is verified", || status(id.as_ptr()) == 1);
            assert_eq!(shut_down(60_000), 0);
        }
    }
    support::abi::uses_no_sqlite_itself();
    assert_eq!(Process::now(), before, "its threads have ended when the shutdown returns");
}

#[test]
fn the_library_never_writes_to_stdout_or_stderr() {
    let folder = tempfile::tempdir().unwrap();
    let demo = fs::read_to_string(support::project_folder().join("examples/demo.json")).unwrap();
    let mut demo: serde_json::Value = serde_json::from_str(&demo).unwrap();
    demo["log"] = json!({ "level": "trace", "directory": folder.path().join("log") });
    let path = folder.path().join("phonegate.json");
    fs::write(&path, demo.to_string()).unwrap();
    let output = Command::new(support::place_call())
        .args([support::built_library().as_os_str(), "+1 4255551212".as_ref()])
        .env("PHONEGATE_CONFIG", path)
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    // The example indents the lines of the log callback.
    let others: Vec<_> = stdout.lines().filter(|line| !line.starts_with("  {")).collect();
    assert_eq!(others, ["Calling. The library logs:", "Verified: the right key was pressed."]);
}

/// Runs the checks in a process that is forked from this one, in their order. Fails if one of them does.
fn in_a_forked_process(checks: &[(&str, &dyn Fn() -> bool)]) {
    // SAFETY: the new process only runs the checks and ends. Its copy of this test has no other thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let failing = || checks.iter().position(|(_, check)| !check()).map_or(0, |index| index + 1);
        let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(failing)).unwrap_or(99);
        // SAFETY: it ends the process without the test's destructors, which belong to the first process.
        unsafe { libc::_exit(code as i32) }
    }
    assert!(child > 0);
    let mut status = 0;
    // SAFETY: the status is a valid place for the answer.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert!(libc::WIFEXITED(status), "the process was ended by a signal: {status:#x}");
    match libc::WEXITSTATUS(status) as usize {
        0 => {}
        code => panic!("{}", checks.get(code - 1).map_or("a check panicked", |(expected, _)| expected)),
    }
}

/// It has a copy of the gate, but none of its threads.
#[test]
fn a_process_forked_from_a_running_gate_fails_at_once() {
    let abi = Abi::load(&rings_on());
    let (id, other) = (fresh_id(), fresh_id());
    assert_eq!(abi.initiate(Some(NUMBER), Some(&id), None), PENDING);
    let is_explained = |id| abi.message(id).starts_with("This process was forked from one that uses PhoneGate");
    let forked = ResultCode::Forked.code();
    in_a_forked_process(&[
        ("the first process's call has failed here", &|| abi.status(Some(&id)) == FAILED),
        ("no call is begun", &|| abi.initiate(Some(&fresh_number()), Some(&other), None) == FAILED),
        ("the failures are explained", &|| is_explained(&id) && is_explained(&other)),
        ("no gate is started", &|| abi.initialize(None).0 == forked),
        // SAFETY: there is no callback.
        ("no callback is set", &|| unsafe { abi.set_log_callback(None, std::ptr::null_mut()) } == forked),
        ("the shutdown returns", &|| abi.shut_down(1_000) == forked),
    ]);
    assert_eq!(abi.status(Some(&id)), PENDING, "the call of the first process goes on");
    assert_eq!(abi.shut_down(60_000), 0);
}

#[test]
fn a_process_forked_before_the_start_places_calls() {
    let abi = Abi::load(&approves());
    in_a_forked_process(&[
        ("calls are placed", &|| {
            abi.still_places_calls();
            true
        }),
        ("the gate ends", &|| abi.shut_down(60_000) == 0),
    ]);
    abi.still_places_calls();
    assert_eq!(abi.shut_down(60_000), 0);
}
