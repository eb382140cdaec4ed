//! The service in the built library, loaded as a host loads it: a configuration of its own, and its log.
//!
//! [`TestGate`](super::gate::TestGate) is the same service in the test's own code, which sees more of it and is quicker to
//! build.

use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::path::PathBuf;

use phonegate::call::FailureReason;
use serde_json::{Value, json};

use super::abi::{Abi, PENDING, SUCCESS, fresh_id};

/// A running service. A process has one at a time.
pub struct Service {
    abi: Abi,
    is_over: Cell<bool>,
}

/// Why a call failed: the reason in the log, and the text of GetFailureMessage. `None`: it was verified.
pub type Ending = Option<(FailureReason, String)>;

impl Service {
    /// Starts a service from a configuration, in which relative paths lie in its folder.
    pub fn start(mut config: Value) -> Self {
        let object = config.as_object_mut().unwrap();
        object.entry("numbers").or_insert(json!({ "default_country": "US" }));
        object.entry("limits").or_insert(super::gate::no_limits());
        object.entry("store").or_insert(json!({ "type": "memory" }));
        object.entry("log").or_insert(json!({ "level": "trace", "directory": "log" }));
        let abi = Abi::exports();
        let path = abi.other_config("phonegate.json", &config);
        assert_eq!(abi.initialize(Some(&path)), (0, String::new()), "the service starts");
        Self { abi, is_over: Cell::new(false) }
    }

    /// The path of a file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.abi.path(name)
    }

    /// Starts a call, and returns its id.
    pub fn initiate(&self, number: &str) -> CString {
        let id = fresh_id();
        self.abi.initiate(Some(&CString::new(number).unwrap()), Some(&id), None);
        id
    }

    /// Returns whether a call has not ended.
    pub fn is_pending(&self, id: &CStr) -> bool {
        self.abi.status(Some(id)) == PENDING
    }

    /// Waits for the end of a call.
    pub fn ends(&self, id: &CStr) -> Ending {
        if self.abi.outcome(id) == SUCCESS {
            self.logs(id, "verified");
            return None;
        }
        let reason = self.logs(id, "failed")["reason"].as_str().and_then(FailureReason::named);
        Some((reason.expect("a reason in the log"), self.abi.message(id)))
    }

    /// Places a call and waits for its end.
    pub fn ending(&self, number: &str) -> Ending {
        self.ends(&self.initiate(number))
    }

    /// Waits until the library has logged this event of a call, and returns its line.
    pub fn logs(&self, id: &CStr, event: &str) -> Value {
        let id = id.to_str().unwrap();
        let line = || self.log().into_iter().find(|line| line["id"] == id && line["event"] == event);
        super::wait_until(&format!("{event} is logged"), || line().is_some());
        line().unwrap()
    }

    /// The log's lines so far.
    pub fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.abi.path("log/phonegate.log")).unwrap_or_default();
        // The last line may not be whole yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// Ends the service.
    pub fn end(&self) {
        self.is_over.set(true);
        assert_eq!(self.abi.shut_down(60_000), 0, "the service ends in time");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if !self.is_over.get() && !std::thread::panicking() {
            self.end();
        }
    }
}
