//! `phonegate simulate` with a configuration that points at Twilio Studio's endpoints.

mod support;

use serde_json::{Value, json};
use support::{HIDDEN, NUMBER, Place, Running};

/// Starts a simulator whose telephones end calls so, and returns it with a place that is configured for it.
fn simulator(ending: &str, settings: &Value) -> (Running, Place) {
    let place = Place::empty();
    let mut running = Running::start(&mut place.command(&["simulate", "--ending", ending, "--json"]));
    let ready: Value = serde_json::from_str(&running.read_until("ready")).unwrap();
    let mut config = json!({
        "use": ["twilio"],
        "allow_test_backends": true,
        "backends": { "twilio": ready["backends"]["twilio"] },
        "numbers": { "default_country": "US" },
        "store": { "type": "memory" },
    });
    config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    (running, Place::with(&config))
}

#[test]
fn the_printed_backend_passes_check_and_its_call_is_approved() {
    let (running, place) = simulator("approve", &json!({}));
    let ran = place.run(&["check", "--json"]).exits(0);
    assert_eq!(ran.record("backend")["result"], "ok");
    let ran = place.run(&["call", NUMBER, "--json"]).exits(0);
    assert_eq!(ran.record("verified")["backend"], "twilio");
    running.signal("INT");
    let ended = running.wait().exits(0);
    assert!(!ended.stdout.contains(HIDDEN) && !ended.stderr.contains(HIDDEN), "no number is printed");
}

#[test]
fn a_flow_for_other_settings_is_installed_as_at_twilio() {
    let (_running, place) = simulator("wrong_code", &json!({ "prompts": { "attempts": 1 } }));
    let ran = place.run(&["check", "--json"]).exits(1);
    assert!(ran.record("backend")["text"].as_str().unwrap().contains("install it again"), "{}", ran.stdout);
    place.run(&["twilio", "install-flow"]).exits(0);
    place.run(&["check"]).exits(0);
    let ran = place.run(&["call", NUMBER, "--json"]).exits(1);
    assert_eq!(ran.record("failed")["reason"], "WrongKey");
}
