//! A host that loads the built library.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use libloading::Library;
use tempfile::TempDir;

type Initiate = unsafe extern "C" fn(*const c_char, *const c_char, *const c_char) -> i32;
type Status = unsafe extern "C" fn(*const c_char) -> i32;
type Message = unsafe extern "C" fn(*const c_char, *mut c_char, usize, *mut usize) -> i32;
type Initialize = unsafe extern "C" fn(*const c_char, *mut c_char, usize, *mut usize) -> i32;
type Shutdown = unsafe extern "C" fn(u32) -> i32;

const BLOCKED: &CStr = c"+14255550199";

/// The library with a store and a simulated telephone that answers and approves at once.
pub struct Host {
    _library: Library,
    _folder: TempDir,
    initiate: Initiate,
    status: Status,
    message: Message,
    shut_down: Shutdown,
    start_took: Duration,
    next_number: AtomicU32,
}

/// The longest duration of an export.
pub struct Longest {
    pub export: &'static str,
    pub took: Duration,
    pub times: usize,
}

impl Host {
    /// Loads the library and starts its gate, which logs as it does by default, with this store.
    pub fn start(store: serde_json::Value) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = config(store);
        let path = folder.path().join("phonegate.json");
        std::fs::write(&path, config.to_string()).expect("the configuration is written");
        let path = CString::new(path.into_os_string().into_encoded_bytes()).expect("a path has no NUL");
        // SAFETY: the types are those of phonegate.h; `_library` outlives the functions; the path outlives the call.
        unsafe {
            let library = Library::new(library_path()).expect("the library loads");
            let initialize = *library.get::<Initialize>(b"PhoneGateInitialize").expect("an export");
            let start = Instant::now();
            assert_eq!(initialize(path.as_ptr(), std::ptr::null_mut(), 0, std::ptr::null_mut()), 0);
            Self {
                initiate: *library.get(b"InitiateCall").expect("an export"),
                status: *library.get(b"GetCallStatus").expect("an export"),
                message: *library.get(b"GetFailureMessage").expect("an export"),
                shut_down: *library.get(b"PhoneGateShutdown").expect("an export"),
                start_took: start.elapsed(),
                next_number: AtomicU32::new(0),
                _library: library,
                _folder: folder,
            }
        }
    }

    /// A valid number that was not called yet.
    pub fn number(&self) -> CString {
        let next = self.next_number.fetch_add(1, Ordering::Relaxed) % 7_000_000;
        CString::new(format!("+1 425{}", 2_000_000 + next)).expect("digits have no NUL")
    }

    pub fn initiate(&self, number: &CStr, id: &CStr) -> i32 {
        // SAFETY: NUL-terminated texts that outlive the call.
        unsafe { (self.initiate)(number.as_ptr(), id.as_ptr(), std::ptr::null()) }
    }

    pub fn status(&self, id: &CStr) -> i32 {
        // SAFETY: NUL-terminated text that outlives the call.
        unsafe { (self.status)(id.as_ptr()) }
    }

    /// Registers calls that fail at once.
    pub fn refuse(&self, ids: &[CString]) {
        for id in ids {
            assert_eq!(self.initiate(BLOCKED, id), 2);
        }
    }

    /// Places a call. Ends the process if it fails at once.
    pub fn place(&self, number: &CStr, id: &CStr) {
        if self.initiate(number, id) == 2 {
            self.give_up(id);
        }
    }

    /// Waits until these calls are verified. Ends the process if one fails: no call lasts longer than its deadline.
    pub fn wait_for<'a>(&self, ids: impl Iterator<Item = &'a CString>) {
        for id in ids {
            loop {
                // Asked once each time: with Redis, a verified call is pending again while the store does not confirm it.
                match self.status(id) {
                    0 => std::thread::sleep(Duration::from_micros(100)),
                    1 => break,
                    _ => self.give_up(id),
                }
            }
        }
    }

    /// Says which call failed, and why, and ends the process: other threads would go on to place calls.
    fn give_up(&self, id: &CStr) -> ! {
        eprintln!("call {} failed: {}", id.to_string_lossy(), self.message(id));
        std::process::exit(1);
    }

    /// Why a call failed.
    pub fn message(&self, id: &CStr) -> String {
        let mut text = [0; 512];
        // SAFETY: NUL-terminated text, and a buffer of that size, which outlive the call.
        let message = unsafe { (self.message)(id.as_ptr(), text.as_mut_ptr(), text.len(), std::ptr::null_mut()) };
        match message {
            // SAFETY: the library has ended the text with a NUL.
            0 => unsafe { CStr::from_ptr(text.as_ptr()) }.to_string_lossy().into_owned(),
            _ => "GetFailureMessage does not say why".to_owned(),
        }
    }

    /// Returns the longest duration of each export while two threads place calls and poll.
    pub fn longest(&self) -> Vec<Longest> {
        const TIMES: usize = 50_000;
        let took = RefCell::new([Duration::ZERO; 3]);
        let timed = |export: usize, call: &dyn Fn()| {
            let start = Instant::now();
            call();
            let longest = &mut took.borrow_mut()[export];
            *longest = start.elapsed().max(*longest);
        };
        std::thread::scope(|scope| {
            scope.spawn(|| self.place_and_wait(TIMES));
            for _ in 0..TIMES {
                let (number, id) = (self.number(), crate::id());
                timed(0, &|| assert_ne!(self.initiate(&number, &id), 2));
                timed(1, &|| assert_ne!(self.status(&id), 2));
                timed(2, &|| {
                    let mut buffer = [0; 512];
                    // SAFETY: NUL-terminated text, and a buffer of that size, which outlive the call.
                    let message =
                        unsafe { (self.message)(id.as_ptr(), buffer.as_mut_ptr(), buffer.len(), std::ptr::null_mut()) };
                    assert_eq!(message, 0);
                });
                self.wait_for([&id].into_iter());
            }
        });
        let start = Instant::now();
        // SAFETY: no pointer is handed over.
        assert_eq!(unsafe { (self.shut_down)(60_000) }, 0);
        let ended = Longest { export: "PhoneGateShutdown, nothing in flight", took: start.elapsed(), times: 1 };
        let started = Longest { export: "PhoneGateInitialize", took: self.start_took, times: 1 };
        let each = ["InitiateCall", "GetCallStatus", "GetFailureMessage"].into_iter().zip(took.into_inner());
        each.map(|(export, took)| Longest { export, took, times: TIMES }).chain([started, ended]).collect()
    }

    fn place_and_wait(&self, times: usize) {
        for _ in 0..times {
            let (number, id) = (self.number(), crate::id());
            self.place(&number, &id);
            self.wait_for([&id].into_iter());
        }
    }
}

/// The memory of this process, in bytes (Linux).
pub fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc describes this process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS is in it");
    let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

/// A configuration whose telephone answers and approves at once, and whose polls never wait.
pub fn config(store: serde_json::Value) -> serde_json::Value {
    serde_json::json!({
        "use": ["demo"],
        "allow_test_backends": true,
        "backends": { "demo": { "type": "simulated", "answer_after_ms": 0, "press_after_ms": 0 } },
        "numbers": { "default_country": "US", "blocked": [BLOCKED.to_str().expect("digits")] },
        "limits": { "calls_per_number": 1_000_000, "concurrent_calls": 10_000, "calls_per_minute": 1_000_000 },
        "call": { "keep_finished_s": 86_400, "status_wait_ms": 0 },
        "store": store,
        "log": { "directory": "log" },
    })
}

/// The library that is measured.
pub fn library_path() -> PathBuf {
    if let Some(path) = std::env::var_os("PHONEGATE_LIBRARY") {
        return path.into();
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let path = target.join("release/libphonegate.so");
    assert!(path.exists(), "{} does not exist; `make bench` builds it first", path.display());
    path
}
