//! Any thread may call any export at any time: starts, shutdowns and the log callback race with calls here. The number
//! of operations is bounded, and no time is measured: a defect shows as a crash, a hang, or a wrong answer.

mod support;

use std::ffi::{CStr, c_char, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use phonegate::abi::ResultCode;
use phonegate::config::ErrorKind;
use serde_json::{Value, json};
use support::abi::{Abi, FAILED, NUMBER, PENDING, SUCCESS, approves, fresh_id, fresh_number, is_busy, rings_on};
use support::{EVENT_TIMEOUT, wait_until};

const OK: i32 = 0;
const THREADS: usize = 8;

/// Runs `work` on this many threads and waits for all of them.
fn on_threads(work: impl Fn(usize) + Sync) {
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let work = &work;
            scope.spawn(move || work(thread));
        }
    });
}

/// Returns a pointer to pass as a callback's user data.
fn user_data<T>(of: &T) -> *mut c_void {
    std::ptr::from_ref(of).cast_mut().cast()
}

unsafe extern "C" fn count(counter: *mut c_void, _: i32, _: *const c_char) {
    // SAFETY: the tests hand over counters that live until the callback is taken back.
    unsafe { &*counter.cast::<AtomicUsize>() }.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn many_first_calls_start_one_gate() {
    let mut config = approves();
    config["log"] = json!({ "directory": "log" });
    let abi = Abi::load(&config);
    on_threads(|_| abi.still_places_calls());
    assert_eq!(abi.shut_down(60_000), OK);
    let log = std::fs::read_to_string(abi.path("log/phonegate.log")).unwrap();
    assert_eq!(log.matches(r#""event":"started""#).count(), 1);
}

#[test]
fn two_configurations_at_once_start_one_and_reject_the_other() {
    let abi = Abi::load(&approves());
    let files: Vec<_> = (0..THREADS).map(|n| abi.other_config(&format!("{n}.json"), &approves())).collect();
    for _ in 0..20 {
        let accepted = AtomicUsize::new(0);
        on_threads(|thread| match abi.initialize(Some(&files[thread])).0 {
            OK => _ = accepted.fetch_add(1, Ordering::SeqCst),
            refused => assert_eq!(refused, ResultCode::AlreadyInitialized.code()),
        });
        assert_eq!(accepted.into_inner(), 1, "one configuration is in use, so one thread got OK");
        assert_eq!(abi.shut_down(60_000), OK);
    }
}

#[test]
fn calls_alone_notice_a_corrected_configuration() {
    let abi = Abi::load(&json!({ "use": [] }));
    let first = fresh_id();
    on_threads(|_| {
        let id = fresh_id();
        assert_eq!(abi.initiate(Some(&fresh_number()), Some(&id), None), FAILED);
        assert!(abi.message(&id).ends_with("(NotConfigured)"));
    });
    assert_eq!(abi.initiate(Some(NUMBER), Some(&first), None), FAILED);
    abi.configure(&approves());
    on_threads(|_| {
        wait_until("the mended file is read", || {
            abi.initiate(Some(&fresh_number()), Some(&fresh_id()), None) != FAILED
        });
        abi.still_places_calls();
    });
    assert_eq!(abi.status(Some(&first)), FAILED, "what was refused before stays so");
}

#[test]
fn everything_at_once_never_gives_a_wrong_answer() {
    let abi = Abi::load(&is_busy());
    let usual = abi.other_config("phonegate.json", &is_busy());
    let counter = AtomicUsize::new(0);
    on_threads(|thread| {
        for round in 0..40 {
            match (thread, round % 4) {
                (0, 0) => _ = abi.shut_down(60_000),
                (0, _) => assert_eq!(abi.initialize(Some(&usual)), (OK, String::new())),
                // SAFETY: the counter outlives the threads, and the callback is taken back before its end.
                (1, 0) => assert_eq!(unsafe { abi.set_log_callback(None, std::ptr::null_mut()) }, OK),
                // SAFETY: as above.
                (1, _) => assert_eq!(unsafe { abi.set_log_callback(Some(count), user_data(&counter)) }, OK),
                _ => {
                    let id = fresh_id();
                    let begun = abi.initiate(Some(&fresh_number()), Some(&id), Some(c"{\"a\":1}"));
                    assert_ne!(begun, SUCCESS, "no user pressed #");
                    assert_eq!(abi.outcome(&id), FAILED);
                    let text = abi.message(&id);
                    assert!(text.contains("Unreachable") || text.contains("Interrupted"), "{text}");
                    assert_eq!(abi.message(&id), text, "the text of an ended call never changes");
                }
            }
        }
    });
    // SAFETY: there is no callback any more.
    assert_eq!(unsafe { abi.set_log_callback(None, std::ptr::null_mut()) }, OK);
    abi.configure(&approves());
    assert_eq!(abi.shut_down(60_000), OK);
    abi.still_places_calls();
}

#[test]
fn calls_in_flight_at_racing_shutdowns_all_end() {
    let abi = Abi::load(&rings_on());
    let ids: Vec<_> = (0..THREADS * 20).map(|_| fresh_id()).collect();
    on_threads(|thread| {
        for (n, id) in ids.iter().enumerate().filter(|(n, _)| n % THREADS == thread) {
            let begun = abi.initiate(Some(&fresh_number()), Some(id), None);
            assert_ne!(begun, SUCCESS);
            if n % 5 == 0 {
                abi.shut_down(60_000);
            }
        }
    });
    assert_eq!(abi.shut_down(60_000), OK);
    for id in &ids {
        assert_eq!(abi.status(Some(id)), FAILED);
        assert!(abi.message(id).ends_with("(Interrupted)"), "{}", abi.message(id));
    }
}

/// The state of a callback that waits in its first line until the test lets it return.
struct Gatekeeper {
    entered: Sender<()>,
    leave: Receiver<()>,
    calls: AtomicUsize,
}

unsafe extern "C" fn wait_at_the_gate(gatekeeper: *mut c_void, _: i32, _: *const c_char) {
    // SAFETY: the test hands over a gatekeeper that lives until the callback is taken back; one log thread calls it.
    let gatekeeper = unsafe { &*gatekeeper.cast::<Gatekeeper>() };
    if gatekeeper.calls.fetch_add(1, Ordering::SeqCst) == 0 {
        gatekeeper.entered.send(()).unwrap();
        gatekeeper.leave.recv_timeout(EVENT_TIMEOUT).unwrap();
    }
}

#[test]
fn a_removed_callback_is_never_called_again() {
    let abi = Abi::load(&approves());
    let (entered, has_entered) = channel();
    let (may_leave, leave) = channel();
    let gatekeeper = Gatekeeper { entered, leave, calls: AtomicUsize::new(0) };
    // SAFETY: the gatekeeper lives until the callback is taken back.
    assert_eq!(unsafe { abi.set_log_callback(Some(wait_at_the_gate), user_data(&gatekeeper)) }, OK);
    abi.still_places_calls();
    has_entered.recv_timeout(EVENT_TIMEOUT).unwrap();

    let taken_back = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // SAFETY: there is no callback after this.
                assert_eq!(unsafe { abi.set_log_callback(None, std::ptr::null_mut()) }, OK);
                taken_back.store(true, Ordering::SeqCst);
            });
        }
        // Calls continue while the callback hangs.
        abi.still_places_calls();
        assert!(!taken_back.load(Ordering::SeqCst), "it is still running");
        may_leave.send(()).unwrap();
    });
    let calls = gatekeeper.calls.load(Ordering::SeqCst);
    abi.still_places_calls();
    assert_eq!(abi.shut_down(60_000), OK, "the log is written out");
    assert_eq!(gatekeeper.calls.load(Ordering::SeqCst), calls);
}

#[test]
fn a_hanging_callback_delays_no_shutdown_beyond_its_timeout() {
    let abi = Abi::load(&approves());
    let (entered, has_entered) = channel();
    let (may_leave, leave) = channel();
    let gatekeeper = Gatekeeper { entered, leave, calls: AtomicUsize::new(0) };
    // SAFETY: the gatekeeper lives until the callback is taken back.
    assert_eq!(unsafe { abi.set_log_callback(Some(wait_at_the_gate), user_data(&gatekeeper)) }, OK);
    abi.still_places_calls();
    has_entered.recv_timeout(EVENT_TIMEOUT).unwrap();
    assert_eq!(abi.shut_down(50), ResultCode::TimedOut.code());
    abi.still_places_calls();
    may_leave.send(()).unwrap();
    // SAFETY: there is no callback after this.
    assert_eq!(unsafe { abi.set_log_callback(None, std::ptr::null_mut()) }, OK);
}

/// Hangs until the test sets the flag.
unsafe extern "C" fn wait_until_set(set: *mut c_void, _: i32, _: *const c_char) {
    // SAFETY: the test hands over a flag that lives until the callback is taken back.
    let set = unsafe { &*set.cast::<AtomicBool>() };
    wait_until("the callback is set", || set.load(Ordering::SeqCst));
}

#[test]
fn setting_a_callback_does_not_wait_for_the_new_one() {
    let abi = Abi::load(&approves());
    for _ in 0..20 {
        let (entered, has_entered) = channel();
        let (may_leave, leave) = channel();
        let gatekeeper = Gatekeeper { entered, leave, calls: AtomicUsize::new(0) };
        let set = AtomicBool::new(false);
        // SAFETY: the gatekeeper lives until the callback is replaced.
        assert_eq!(unsafe { abi.set_log_callback(Some(wait_at_the_gate), user_data(&gatekeeper)) }, OK);
        abi.still_places_calls();
        has_entered.recv_timeout(EVENT_TIMEOUT).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // SAFETY: the flag lives until the callback is taken back.
                assert_eq!(unsafe { abi.set_log_callback(Some(wait_until_set), user_data(&set)) }, OK);
                set.store(true, Ordering::SeqCst);
            });
            // Lines for the new callback wait until the old callback has finished its line.
            on_threads(|_| abi.still_places_calls());
            may_leave.send(()).unwrap();
        });
        // SAFETY: there is no callback after this.
        assert_eq!(unsafe { abi.set_log_callback(None, std::ptr::null_mut()) }, OK);
    }
}

/// The results that a callback got when it called the library from within.
struct Caller {
    abi: Arc<Abi>,
    results: Sender<[i32; 5]>,
}

unsafe extern "C" fn call_from_within(caller: *mut c_void, _: i32, message: *const c_char) {
    // SAFETY: the test hands over a caller that lives until the callback is taken back; the message is a text.
    let (caller, line) = unsafe { (&*caller.cast::<Caller>(), CStr::from_ptr(message)) };
    let line: Value = serde_json::from_slice(line.to_bytes()).unwrap();
    if line["event"] != "started_call" || line["attributes"] != json!(["outer"]) {
        return;
    }
    let (abi, id) = (&caller.abi, fresh_id());
    let begun = abi.initiate(Some(&fresh_number()), Some(&id), None);
    let status = abi.outcome(&id);
    assert!(!abi.message(&id).is_empty());
    // SAFETY: there is no user data.
    let set = unsafe { abi.set_log_callback(None, std::ptr::null_mut()) };
    caller.results.send([begun, status, abi.initialize(None).0, abi.shut_down(60_000), set]).unwrap();
}

#[test]
fn a_callback_may_place_calls_but_not_start_or_end_the_gate() {
    let abi = Arc::new(Abi::load(&approves()));
    let (results, received) = channel();
    let caller = Caller { abi: Arc::clone(&abi), results };
    // SAFETY: the caller lives until the callback is taken back.
    assert_eq!(unsafe { abi.set_log_callback(Some(call_from_within), user_data(&caller)) }, OK);
    abi.initiate(Some(NUMBER), Some(&fresh_id()), Some(c"{\"outer\":1}"));
    let [begun, status, initialized, ended, set] = received.recv_timeout(EVENT_TIMEOUT).unwrap();
    assert!(begun == PENDING || begun == SUCCESS);
    assert_eq!(status, SUCCESS);
    assert_eq!([initialized, ended, set], [ResultCode::InCallback.code(); 3]);
    // SAFETY: there is no callback after this.
    assert_eq!(unsafe { abi.set_log_callback(None, std::ptr::null_mut()) }, OK);
    abi.still_places_calls();
}

#[test]
fn a_refused_start_is_reported_to_the_callback() {
    let abi = Abi::load(&json!({ "use": [] }));
    let counter = AtomicUsize::new(0);
    // SAFETY: the counter lives until the callback is taken back.
    unsafe { abi.set_log_callback(Some(count), user_data(&counter)) };
    assert_eq!(abi.initialize(None).0, ErrorKind::Invalid as i32);
    assert_eq!(abi.shut_down(60_000), OK, "what was refused is written out");
    assert_eq!(counter.load(Ordering::SeqCst), 1);
    // SAFETY: there is no callback after this.
    assert_eq!(unsafe { abi.set_log_callback(None, std::ptr::null_mut()) }, OK);
}

/// A timer of the library's runtime needs the runtime's threads. Needs a debug build of the library, in which
/// PHONEGATE_FAULT works.
#[test]
fn threads_that_hang_do_not_hold_a_shutdown() {
    // SAFETY: nextest runs each test in a process of its own, in which no other thread reads the environment yet.
    unsafe { std::env::set_var("PHONEGATE_FAULT", "engine.place") };
    let mut config = rings_on();
    config["log"] = json!({ "directory": "log" });
    let abi = Abi::load(&config);
    let ids = [fresh_id(), fresh_id()];
    for id in &ids {
        assert_eq!(abi.initiate(Some(&fresh_number()), Some(id), None), PENDING);
    }
    let log = || std::fs::read_to_string(abi.path("log/phonegate.log")).unwrap_or_default();
    wait_until("a call hangs on each thread", || log().matches(r#""event":"dialling""#).count() == ids.len());
    assert_eq!(abi.shut_down(2_000), ResultCode::TimedOut.code(), "is the library a debug build?");
    for id in &ids {
        assert_eq!(abi.status(Some(id)), FAILED);
        assert!(abi.message(id).contains("(Interrupted)"), "{}", abi.message(id));
    }
    assert_eq!(abi.shut_down(60_000), OK, "the next gate has threads of its own");
}
