//! A gate in this process, with a folder of its own for its log.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use phonegate::admission::Admission;
use phonegate::call::{CallEvent, CallId, CallStatus, GateEvent, PhoneNumber};
use phonegate::config::{self, ConfigError, Loaded, NumbersConfig, Types};
use phonegate::gate::{CallRequest, Gate, LogTo};
use phonegate::registry::{Registry, Snapshot};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use uuid::Uuid;

/// A gate and its folder.
pub struct TestGate {
    gate: Arc<Gate>,
    folder: TempDir,
}

/// The n-th id.
pub fn id(n: u128) -> CallId {
    CallId::new(Uuid::from_u128(n)).unwrap()
}

/// Returns the admission of the gates of tests.
pub fn admission() -> Admission {
    let numbers = NumbersConfig { default_country: Some("US".to_owned()), ..NumbersConfig::default() };
    Admission::new(&numbers).unwrap()
}

/// Returns a number that admission has accepted.
pub fn admitted(number: &str) -> PhoneNumber {
    admission().admit(number).unwrap()
}

/// The highest limits, for tests that are about something else.
pub fn no_limits() -> Value {
    json!({
        "calls_per_number": 1_000_000,
        "calls_per_number_per_day": 1_000_000,
        "calls_per_line": { "in_progress": 10_000, "per_minute": 1_000_000 },
        "concurrent_calls": 10_000,
        "calls_per_minute": 1_000_000,
        "denials": { "count": 1000 },
    })
}

impl TestGate {
    /// Starts a gate from a configuration, in which relative paths lie in its folder.
    pub fn start(config: Value) -> Self {
        Self::start_with(config, Arc::new(Registry::new(Duration::from_secs(600))))
    }

    /// As `start`, with backends of these types.
    pub fn start_of(types: &Types, config: Value) -> Self {
        let registry = Arc::new(Registry::new(Duration::from_secs(600)));
        Self::try_start(types, config, registry).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As `start`, on a registry that is there.
    pub fn start_with(config: Value, registry: Arc<Registry>) -> Self {
        Self::try_start(&phonegate::TYPES, config, registry).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns the error with which a gate refuses this configuration.
    pub fn why_not(config: Value) -> String {
        match Self::try_start(&phonegate::TYPES, config, Arc::new(Registry::new(Duration::from_secs(600)))) {
            Ok(_) => panic!("it starts"),
            Err(error) => error.to_string(),
        }
    }

    fn try_start(types: &Types, config: Value, registry: Arc<Registry>) -> Result<Self, ConfigError> {
        let mut config = with_test_defaults(config);
        let folder = tempfile::tempdir().unwrap();
        let object = config.as_object_mut().unwrap();
        object.entry("numbers").or_insert(json!({ "default_country": "US" }));
        object.entry("limits").or_insert(no_limits());
        object.entry("store").or_insert(json!({ "type": "memory" }));
        object.entry("log").or_insert(json!({ "level": "trace", "directory": "log" }));
        let path = folder.path().join("phonegate.json");
        std::fs::write(&path, config.to_string()).unwrap();
        let loaded: Loaded = config::load(&path, types).unwrap();
        let log_to = LogTo::file("phonegate.log");
        let gate = Gate::start(loaded, registry, log_to)?;
        Ok(Self { gate: Arc::new(gate), folder })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The gate.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Starts a call.
    pub fn initiate(&self, id: CallId, number: &str) -> CallStatus {
        self.gate.initiate(CallRequest { id, number, attributes: Vec::new(), language: None }).expect("the gate runs")
    }

    /// The status of a call.
    pub fn status(&self, id: CallId) -> CallStatus {
        self.gate.status(id)
    }

    /// Returns what is known of a call.
    pub fn snapshot(&self, id: CallId) -> Snapshot {
        self.gate.snapshot(id).expect("the call is known")
    }

    /// Waits for the end of a call: its status, and its failure's text.
    pub fn ends(&self, id: CallId) -> (CallStatus, String) {
        super::wait_until("the call ends", || self.status(id) != CallStatus::Pending);
        let failure = self.snapshot(id).failure;
        (self.status(id), failure.map(|failure| failure.text().to_owned()).unwrap_or_default())
    }

    /// Ends the gate, so that its log is whole, and returns the log's lines.
    pub fn end(&self) -> Vec<Value> {
        assert!(self.gate.shut_down(super::EVENT_TIMEOUT), "the gate ends in time");
        self.log()
    }

    /// The log's lines so far.
    pub fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder().join("log/phonegate.log")).unwrap_or_default();
        // The last line may not be whole yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")));
        lines.inspect(has_documented_fields).collect()
    }
}

/// Checks that a line of the log has only the fields that its event may have.
fn has_documented_fields(line: &Value) {
    let name = line["event"].as_str().unwrap();
    let of_call = CallEvent::ALL.iter().map(|event| (event.name(), event.fields()));
    let of_gate = GateEvent::ALL.iter().map(|event| (event.name(), event.fields()));
    let (_, fields) = of_call.chain(of_gate).find(|(known, _)| *known == name).expect("the event is known");
    for field in line.as_object().unwrap().keys() {
        let is_known = ["time", "level", "event"].contains(&&**field) || fields.contains(&&**field);
        assert!(is_known, "`{name}` may not have `{field}`: {line}");
    }
}

/// Adds what the tests' hosts and callees need, unless the configuration says otherwise: GetCallStatus does not wait, `#`
/// approves calls of backends that ring a callee, since most callees press only that, and these backends may be on this
/// machine (`local_peer`) without being test backends.
pub fn with_test_defaults(mut config: Value) -> Value {
    let rings = |backend: &&mut Value| matches!(backend["type"].as_str(), Some("sip" | "twilio_studio"));
    let allows_tests = config["allow_test_backends"] == true;
    let backends = config.get_mut("backends").and_then(Value::as_object_mut);
    let mut has_callees = false;
    for backend in backends.into_iter().flat_map(Map::values_mut).filter(rings) {
        has_callees = true;
        if let Some(settings) = backend.as_object_mut().filter(|_| !allows_tests) {
            settings.entry("local_peer").or_insert(json!(true));
        }
    }
    let Some(sections) = config.as_object_mut() else { return config };
    if has_callees {
        sections.entry("approval").or_insert(json!({ "method": "pound" }));
    }
    if let Some(call) = sections.entry("call").or_insert(json!({})).as_object_mut() {
        call.entry("status_wait_ms").or_insert(json!(0));
    }
    config
}
