//! The built library, loaded as a host loads it, and a folder of its own for its configuration, log and state.

use std::ffi::{CStr, CString, c_char, c_void};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use libloading::Library;
use phonegate::abi::{LogCallback, ResultCode};
use phonegate::call::CallStatus;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

pub const PENDING: i32 = CallStatus::Pending as i32;
pub const SUCCESS: i32 = CallStatus::Success as i32;
pub const FAILED: i32 = CallStatus::Failed as i32;

/// A number that may be called.
pub const NUMBER: &CStr = c"+1 4255551212";

/// The exports.
pub struct Abi {
    pub initiate_call: unsafe extern "C" fn(*const c_char, *const c_char, *const c_char) -> i32,
    pub get_call_status: unsafe extern "C" fn(*const c_char) -> i32,
    pub get_failure_message: unsafe extern "C" fn(*const c_char, *mut c_char, usize, *mut usize) -> i32,
    pub initialize: unsafe extern "C" fn(*const c_char, *mut c_char, usize, *mut usize) -> i32,
    shut_down: extern "C" fn(u32) -> i32,
    set_log_callback: unsafe extern "C" fn(Option<LogCallback>, *mut c_void) -> i32,
    abi_version: extern "C" fn() -> u32,
    version: extern "C" fn() -> *const c_char,
    folder: TempDir,
}

/// A configuration whose telephone answers at once and approves.
pub fn approves() -> Value {
    json!({
        "use": ["demo"],
        "allow_test_backends": true,
        "backends": { "demo": { "type": "simulated", "answer_after_ms": 0, "press_after_ms": 0 } },
        "numbers": { "default_country": "US" },
        "limits": { "calls_per_number": 1_000_000, "concurrent_calls": 10_000, "calls_per_minute": 1_000_000 },
    })
}

/// A configuration whose telephone is busy.
pub fn is_busy() -> Value {
    let mut config = approves();
    config["backends"]["demo"]["press"] = json!("busy");
    config
}

/// A configuration whose telephone rings until the call is ended.
pub fn rings_on() -> Value {
    let mut config = approves();
    config["backends"]["demo"]["answer_after_ms"] = json!(600_000);
    config
}

/// An id that no other call has.
pub fn fresh_id() -> CString {
    CString::new(Uuid::new_v4().to_string()).unwrap()
}

/// A valid number that no other call of this process rings.
pub fn fresh_number() -> CString {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    CString::new(format!("+1425{}{:04}", 200 + next / 10_000, next % 10_000)).unwrap()
}

/// More than any text of the library needs: one with the longest path in it.
pub const LONGEST_TEXT: usize = 70_000;

fn text_in(buffer: &[c_char]) -> String {
    let bytes: Vec<u8> = buffer.iter().map(|c| c.cast_unsigned()).collect();
    CStr::from_bytes_until_nul(&bytes).unwrap().to_str().unwrap().to_owned()
}

fn pointer(text: Option<&CStr>) -> *const c_char {
    text.map_or(std::ptr::null(), CStr::as_ptr)
}

/// Fails if this process has used the copy of SQLite that is linked into the test.
///
/// The loaded library has another copy. POSIX drops all locks that a process has on a file when it closes any descriptor
/// of it (fcntl(2)); one copy of SQLite handles that, but two copies do not coordinate, and the database is soon
/// damaged (<https://www.sqlite.org/howtocorrupt.html>, 2.2.1). So a test that loads the library reads the store by
/// [`super::calls`].
#[track_caller]
pub fn uses_no_sqlite_itself() {
    // SAFETY: it has no preconditions, and only returns a counter: the most bytes that SQLite ever had at once.
    let used = unsafe { rusqlite::ffi::sqlite3_memory_highwater(0) };
    assert!(
        used == 0,
        "this test has loaded the library and used SQLite itself. Two copies of SQLite in one process damage the \
         database: read it with support::calls, in a process of its own"
    );
}

impl Drop for Abi {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            uses_no_sqlite_itself();
        }
    }
}

impl Abi {
    /// Loads the library, with `config` as its default configuration, and starts nothing.
    pub fn load(config: &Value) -> Self {
        let abi = Self::exports();
        // SAFETY: nextest runs each test in a process of its own, in which no other thread reads the environment yet.
        unsafe {
            std::env::set_var("PHONEGATE_CONFIG", abi.path("phonegate.json"));
            std::env::set_var("XDG_STATE_HOME", abi.path("state"));
        }
        abi.configure(config);
        abi
    }

    /// Loads the library, without a default configuration.
    pub fn exports() -> Self {
        uses_no_sqlite_itself();
        let folder = tempfile::tempdir().unwrap();
        // SAFETY: loading runs no code of the library, and the types are those of phonegate.h (see abi_header.rs).
        unsafe {
            let library = Library::new(super::built_library()).unwrap();
            let abi = Self {
                initiate_call: *library.get(b"InitiateCall").unwrap(),
                get_call_status: *library.get(b"GetCallStatus").unwrap(),
                get_failure_message: *library.get(b"GetFailureMessage").unwrap(),
                initialize: *library.get(b"PhoneGateInitialize").unwrap(),
                shut_down: *library.get(b"PhoneGateShutdown").unwrap(),
                set_log_callback: *library.get(b"PhoneGateSetLogCallback").unwrap(),
                abi_version: *library.get(b"PhoneGateAbiVersion").unwrap(),
                version: *library.get(b"PhoneGateVersion").unwrap(),
                folder,
            };
            std::mem::forget(library);
            abi
        }
    }

    /// The path of a file in the library's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces the default configuration.
    pub fn configure(&self, config: &Value) {
        std::fs::write(self.path("phonegate.json"), super::gate::with_test_defaults(config.clone()).to_string())
            .unwrap();
    }

    /// Writes another configuration, and returns its path.
    pub fn other_config(&self, name: &str, config: &Value) -> CString {
        std::fs::write(self.path(name), super::gate::with_test_defaults(config.clone()).to_string()).unwrap();
        CString::new(self.path(name).to_str().unwrap()).unwrap()
    }

    pub fn initiate(&self, number: Option<&CStr>, id: Option<&CStr>, attributes: Option<&CStr>) -> i32 {
        // SAFETY: each pointer is NULL or NUL-terminated.
        unsafe { (self.initiate_call)(pointer(number), pointer(id), pointer(attributes)) }
    }

    pub fn status(&self, id: Option<&CStr>) -> i32 {
        // SAFETY: the pointer is NULL or NUL-terminated.
        unsafe { (self.get_call_status)(pointer(id)) }
    }

    /// The text of GetFailureMessage, which succeeds.
    pub fn message(&self, id: &CStr) -> String {
        let mut buffer = vec![0; LONGEST_TEXT];
        // SAFETY: the buffer has the size that is said.
        let result =
            unsafe { (self.get_failure_message)(id.as_ptr(), buffer.as_mut_ptr(), buffer.len(), std::ptr::null_mut()) };
        assert_eq!(result, ResultCode::Ok.code());
        text_in(&buffer)
    }

    /// The result of PhoneGateInitialize, and its text.
    pub fn initialize(&self, path: Option<&CStr>) -> (i32, String) {
        let mut buffer = vec![0; LONGEST_TEXT];
        // SAFETY: the path is NULL or NUL-terminated, and the buffer has the size that is said.
        let result =
            unsafe { (self.initialize)(pointer(path), buffer.as_mut_ptr(), buffer.len(), std::ptr::null_mut()) };
        (result, text_in(&buffer))
    }

    pub fn shut_down(&self, timeout_ms: u32) -> i32 {
        (self.shut_down)(timeout_ms)
    }

    /// # Safety
    /// As PhoneGateSetLogCallback.
    pub unsafe fn set_log_callback(&self, callback: Option<LogCallback>, user_data: *mut c_void) -> i32 {
        // SAFETY: the caller's promise.
        unsafe { (self.set_log_callback)(callback, user_data) }
    }

    pub fn abi_version(&self) -> u32 {
        (self.abi_version)()
    }

    pub fn version(&self) -> &CStr {
        // SAFETY: the header promises text that lives as long as the process.
        unsafe { CStr::from_ptr((self.version)()) }
    }

    /// Waits for the end of a call.
    pub fn outcome(&self, id: &CStr) -> i32 {
        super::wait_until("the call ends", || self.status(Some(id)) != PENDING);
        self.status(Some(id))
    }

    /// Checks that the library still works. The default configuration must be one that approves.
    pub fn still_places_calls(&self) {
        let id = fresh_id();
        let begun = self.initiate(Some(&fresh_number()), Some(&id), None);
        assert!(begun == PENDING || begun == SUCCESS, "{begun}: {}", self.message(&id));
        assert_eq!(self.outcome(&id), SUCCESS, "{}", self.message(&id));
        assert_eq!(self.message(&id), "The call has not failed: it was verified.");
    }
}
