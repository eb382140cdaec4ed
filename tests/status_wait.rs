//! `call.status_wait_ms`: how long GetCallStatus waits for an outcome, how many callers wait at a time, and what ends
//! their wait.

mod support;

use std::ffi::{CStr, c_char, c_void};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use phonegate::call::CallStatus;
use phonegate::config;
use serde_json::json;
use support::abi::{Abi, FAILED, NUMBER, PENDING, fresh_id, rings_on};
use support::gate::{TestGate, id};
use support::redis::Redis;
use support::{EVENT_TIMEOUT, wait_until};

/// Maximum number of callers that wait at a time.
const WAITS: usize = 64;

/// The longest wait for a status. It is at least as long as the tests wait.
const LONGEST_MS: u64 = 60_000;

/// A gate whose telephone rings until the call is ended.
fn gate(call: serde_json::Value, store: serde_json::Value) -> TestGate {
    TestGate::start(json!({
        "use": ["demo"], "allow_test_backends": true,
        "backends": { "demo": { "type": "simulated", "answer_after_ms": 600_000 } },
        "call": call, "store": store,
    }))
}

#[test]
fn a_status_waits_five_seconds_unless_the_configuration_says_otherwise() {
    let config =
        json!({ "use": ["c"], "backends": { "c": { "type": "file", "path": "x" } }, "allow_test_backends": true });
    assert_eq!(config::parse(&config.to_string(), &phonegate::TYPES).unwrap().call.status_wait_ms.get(), 5_000);
}

#[test]
fn sixty_four_callers_wait_and_others_are_answered_at_once() {
    let gate = gate(json!({ "status_wait_ms": LONGEST_MS, "deadline_s": 600 }), json!({ "type": "memory" }));
    gate.initiate(id(1), "+1 4255551212");
    std::thread::scope(|scope| {
        let (sender, answers) = channel();
        let ask = || {
            let sender = sender.clone();
            scope.spawn(|| {
                let sender = sender;
                sender.send(gate.status(id(1))).unwrap();
            });
        };
        let answer = |answers: &Receiver<_>| answers.recv_timeout(EVENT_TIMEOUT / 2).expect("an answer");
        (0..WAITS + 16).for_each(|_| ask());
        for _ in 0..16 {
            assert_eq!(answer(&answers), CallStatus::Pending);
        }
        // As many callers wait as may wait, so each further one is answered at once.
        ask();
        assert_eq!(answer(&answers), CallStatus::Pending);
        assert!(answers.try_recv().is_err(), "{WAITS} wait");
        // All of them get the outcome, and then other callers may wait.
        gate.end();
        for _ in 0..WAITS {
            answer(&answers);
        }
    });
}

/// The store does not answer, so the call has no outcome that would wake a waiting caller.
#[test]
fn a_shutdown_wakes_all_waiting_callers() {
    let redis = Redis::start();
    let store = json!({ "type": "redis", "url": redis.url() });
    let gate = gate(json!({ "status_wait_ms": LONGEST_MS, "deadline_s": 600 }), store);
    gate.initiate(id(1), "+1 4255551212");
    wait_until("it is placed", || gate.log().iter().any(|line| line["event"] == "placed"));
    std::thread::scope(|scope| {
        let (sender, answer) = channel();
        let gate = &gate;
        scope.spawn(move || sender.send(gate.status(id(1))).unwrap());
        assert!(answer.recv_timeout(std::time::Duration::from_millis(500)).is_err(), "it waits");
        redis.pause();
        scope.spawn(|| gate.gate().shut_down(EVENT_TIMEOUT));
        assert_eq!(answer.recv_timeout(EVENT_TIMEOUT / 2), Ok(CallStatus::Pending), "it gets the status that is known");
        redis.resume();
    });
    assert_eq!(gate.status(id(1)), CallStatus::Failed);
}

static ANSWERS: Mutex<Option<Sender<i32>>> = Mutex::new(None);
static ABI: Mutex<Option<(unsafe extern "C" fn(*const c_char) -> i32, std::ffi::CString)>> = Mutex::new(None);

/// Asks for the status of the call whose begin a log line reports.
unsafe extern "C" fn ask(_: *mut c_void, _: i32, message: *const c_char) {
    // SAFETY: the library's promise: it is text that ends with NUL.
    let line = unsafe { CStr::from_ptr(message) }.to_string_lossy();
    if line.contains("\"event\":\"placed\"")
        && let Some((get_call_status, id)) = &*ABI.lock().unwrap()
        && let Some(answers) = &*ANSWERS.lock().unwrap()
    {
        // SAFETY: the text ends with NUL and outlives the call.
        let _ = answers.send(unsafe { get_call_status(id.as_ptr()) });
    }
}

/// A wait in the callback would block the log of all calls.
#[test]
fn a_poll_inside_the_log_callback_never_waits() {
    let mut config = rings_on();
    config["call"] = json!({ "status_wait_ms": LONGEST_MS, "deadline_s": 10 });
    let abi = Abi::load(&config);
    let (sender, answers) = channel();
    let id = fresh_id();
    *ANSWERS.lock().unwrap() = Some(sender);
    *ABI.lock().unwrap() = Some((abi.get_call_status, id.clone()));
    // SAFETY: the callback is a function of this program, and uses no user data.
    assert_eq!(unsafe { abi.set_log_callback(Some(ask), std::ptr::null_mut()) }, 0);
    assert_eq!(abi.initiate(Some(NUMBER), Some(&id), None), PENDING);
    // A caller in the callback does not wait: a wait would end at the deadline, with Failed.
    assert_eq!(answers.recv_timeout(EVENT_TIMEOUT), Ok(PENDING));
    assert_eq!(abi.status(Some(&id)), FAILED, "anywhere else it waits for that");
    // SAFETY: as above.
    assert_eq!(unsafe { abi.set_log_callback(None, std::ptr::null_mut()) }, 0);
}
