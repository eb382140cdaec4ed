//! PINs in `phonegate check`, in `phonegate doctor` and in test calls.

#[path = "support/pins.rs"]
mod pins;
mod support;

use std::io::Read;

use pins::{OTHER, PEPPER, PIN, guess_wrong, hides_pins, is_clean, place, set, with_pepper};
use serde_json::{Value, json};
use support::{NUMBER, Place, simulated};

#[test]
fn check_counts_the_pins_if_there_is_a_pepper() {
    let place = place();
    let pins = |place: &Place| hides_pins(place.run(&["check", "--json"])).exits(0).record("pins");
    let none = json!({ "event": "pins", "result": "ok", "set": 0, "locked": 0, "text": "none is set" });
    assert_eq!(pins(&place), none);
    set(&place, NUMBER);
    set(&place, OTHER);
    guess_wrong(&place, NUMBER, 5);
    assert_eq!((&pins(&place)["set"], &pins(&place)["locked"]), (&json!(2), &json!(1)));
    let ran = place.run(&["check"]).exits(0);
    assert!(ran.stdout.contains("PINs: 2 are set, 1 of them is locked\n"), "{}", ran.stdout);
    // Without PINs, the output does not mention them.
    place.configure(&simulated(None, 0));
    assert!(!place.run(&["check"]).exits(0).stdout.contains("PIN"));
}

/// A configuration whose calls ask for a PIN.
fn asking() -> Value {
    let mut config = with_pepper(PEPPER);
    config["approval"]["method"] = json!("pin");
    config["backends"]["phone"]["pin"] = PIN.into();
    config
}

#[test]
fn check_and_doctor_warn_if_calls_ask_for_pins_and_none_is_set() {
    let place = Place::with_store(&asking());
    let warns = |arguments: &[&str]| hides_pins(place.run(arguments)).all().contains("no PIN is set in the store");
    for verb in ["check", "doctor"] {
        assert!(warns(&[verb]) && warns(&[verb, "--json"]), "{verb}");
    }
    set(&place, NUMBER);
    assert!(!warns(&["check"]) && !warns(&["doctor"]));
}

#[test]
fn a_test_call_that_asks_for_a_pin_needs_the_store() {
    let place = Place::with_store(&asking());
    let ran = hides_pins(place.run(&["call", "+12065550143"])).exits(2);
    assert!(ran.stderr.contains("add --store"), "{}", ran.stderr);
}

#[test]
fn a_support_file_shows_no_pin_and_no_pepper() {
    let place = place();
    let mut config = with_pepper(PEPPER);
    config["backends"]["phone"]["pin"] = PIN.into();
    config["approval"]["pin"]["lock_minutes"] = json!(45);
    place.configure(&config);
    set(&place, NUMBER);
    hides_pins(place.run(&["doctor", "--zip", "support.zip"]));
    let mut zip = zip::ZipArchive::new(std::fs::File::open(place.path().join("support.zip")).unwrap()).unwrap();
    for index in 0..zip.len() {
        let mut text = String::new();
        zip.by_index(index).unwrap().read_to_string(&mut text).unwrap();
        is_clean(&text);
    }
    let mut shown = String::new();
    zip.by_name("phonegate.json").unwrap().read_to_string(&mut shown).unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["approval"]["pin"], json!({ "pepper": "…", "lock_minutes": 45 }));
    let mut report = String::new();
    zip.by_name("report.txt").unwrap().read_to_string(&mut report).unwrap();
    assert!(report.contains("1 is set"), "{report}");
}
