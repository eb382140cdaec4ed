//! A simulated phone approves by every method, and never with another PIN.

use std::io::Write;
use std::process::Stdio;

use phonegate::call::FailureReason;
use serde_json::{Value, json};

use crate::support;
use crate::support::calls::Calls;
use crate::support::service::Service;

const NUMBER: &str = "+1 4255551212";
const PIN: &str = "739104";

/// Calls a simulated phone with these settings, through the built library as its host sees it, and returns why the call
/// failed. If `has_pin`, the number has the PIN `PIN`.
fn simulated_call(method: &str, phone: Value, has_pin: bool) -> Option<FailureReason> {
    let folder = tempfile::tempdir().unwrap();
    let mut backend = json!({ "type": "simulated", "answer_after_ms": 0, "press_after_ms": 0 });
    backend.as_object_mut().unwrap().extend(phone.as_object().unwrap().clone());
    let config = json!({
        "use": ["phone"],
        "allow_test_backends": true,
        "backends": { "phone": backend },
        "numbers": { "default_country": "US" },
        "limits": support::gate::no_limits(),
        "approval": { "method": method, "pin": { "pepper": "not-a-real-pepper-0123456789abcdef" } },
        "store": { "type": "sqlite", "path": folder.path().join("calls.db") },
        "log": { "level": "trace", "directory": "log" }
    });
    if has_pin {
        // By the command line: a test that has loaded the library must not use SQLite itself.
        let file = folder.path().join("phonegate.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let mut set = Calls::of(&file).command(&["pins", "set", NUMBER, "--pin-stdin"]);
        let mut set = set.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        set.stdin.take().unwrap().write_all(PIN.as_bytes()).unwrap();
        assert!(set.wait().unwrap().success(), "the PIN is set");
    }
    let service = Service::start(config);
    let ending = service.ending(NUMBER);
    service.end();
    for line in service.log() {
        assert!(!line.to_string().contains(PIN), "no PIN in the log: {line}");
    }
    ending.map(|(reason, _)| reason)
}

#[test]
fn a_simulated_phone_approves_by_each_method() {
    for method in ["code", "pound", "pin", "pin_and_code"] {
        assert_eq!(simulated_call(method, json!({ "pin": PIN }), true), None, "{method}");
    }
}

#[test]
fn a_simulated_phone_with_another_pin_never_approves() {
    for method in ["pin", "pin_and_code"] {
        let wrong = simulated_call(method, json!({ "pin": "862057" }), true);
        assert_eq!(wrong, Some(FailureReason::WrongKey), "{method}: another PIN");
        let pound = simulated_call(method, json!({ "pin": PIN, "press": "#" }), true);
        assert_eq!(pound, Some(FailureReason::WrongKey), "{method}: # alone");
        let none = simulated_call(method, json!({ "pin": PIN }), false);
        assert_eq!(none, Some(FailureReason::PinNotSet), "{method}: the number has no PIN");
    }
}
