//! `phonegate pins`: sets, lists, unlocks and removes PINs, and shows none.

#[path = "support/pins.rs"]
mod pins;
mod support;

use phonegate::platform;
use pins::{
    OTHER, OTHER_PEPPER, PEPPER, PIN, file, guess_wrong, hides_pins, import, is_clean, list, logged, place, set,
    with_pepper, with_stdin,
};
use serde_json::{Value, json};
use support::{MASKED, NUMBER, Place};

#[test]
fn a_pin_is_set_listed_replaced_and_reset() {
    let place = place();
    assert_eq!(place.run(&["pins", "list"]).exits(0).stderr, "No PIN is set.\n");
    let first = set(&place, NUMBER).record("set");
    assert_eq!((&first["number"], &first["replaced"]), (&json!(MASKED), &json!(false)));
    let listed = list(&place);
    assert_eq!(listed.len(), 1);
    let keys: Vec<_> = listed[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["event", "failures", "number", "number_hash", "set"]);
    assert_eq!((&listed[0]["number"], &listed[0]["number_hash"]), (&json!(MASKED), &first["number_hash"]));

    let ran = with_stdin(&place, &["pins", "set", "(425)", "555-1212", "--pin-stdin"], "862057\r\n").exits(0);
    assert_eq!(ran.stdout, format!("The PIN of {MASKED} is set, and replaces the one before.\n"));
    assert_eq!(list(&place).len(), 1);
    let ran = hides_pins(place.run(&["pins", "list"])).exits(0);
    for words in ["NUMBER", "SET", "FAILURES", "LOCKED UNTIL", "HASH", MASKED, first["number_hash"].as_str().unwrap()] {
        assert!(ran.stdout.contains(words), "{words} in\n{}", ran.stdout);
    }

    let ran = place.run(&["pins", "reset", NUMBER]).exits(0);
    assert_eq!(ran.stdout, format!("{MASKED} no longer has a PIN.\n"));
    let ran = place.run(&["pins", "reset", NUMBER]).exits(1);
    assert!(ran.stderr.contains("no PIN is set for that number"), "{}", ran.stderr);
    assert_eq!(list(&place), Vec::<Value>::new());
}

#[test]
fn an_extension_has_a_pin_of_its_own() {
    let place = place();
    set(&place, "+1 4255551212x77");
    place.run(&["pins", "reset", NUMBER]).exits(1);
    set(&place, NUMBER);
    assert_eq!(list(&place).len(), 2);
    place.run(&["pins", "reset", "+1 4255551212x77"]).exits(0);
    assert_eq!(list(&place)[0]["number"], MASKED);
}

#[test]
fn a_lock_is_listed_and_unlock_ends_it() {
    let place = place();
    set(&place, NUMBER);
    guess_wrong(&place, NUMBER, 4);
    let four = list(&place);
    assert_eq!((&four[0]["failures"], &four[0]["locked_until"]), (&json!(4), &Value::Null));
    guess_wrong(&place, NUMBER, 1);
    let locked = list(&place);
    assert_eq!(locked[0]["failures"], 5);
    assert!(locked[0]["locked_until"].as_str().unwrap().ends_with('Z'), "{locked:?}");
    let ran = hides_pins(place.run(&["pins", "unlock", NUMBER])).exits(0);
    let expected = format!("The PIN of {MASKED} is no longer locked; wrong PINs are counted from 0 again.\n");
    assert_eq!(ran.stdout, expected);
    let unlocked = list(&place);
    assert_eq!((&unlocked[0]["failures"], &unlocked[0]["locked_until"]), (&json!(0), &Value::Null));
    // By the hash that the list shows.
    let hash = locked[0]["number_hash"].as_str().unwrap();
    assert!(place.run(&["pins", "unlock", hash]).exits(0).stdout.contains("was not locked"));
    place.run(&["pins", "unlock", OTHER]).exits(1);
    // A new PIN ends a lock, too.
    guess_wrong(&place, NUMBER, 5);
    set(&place, NUMBER);
    assert_eq!(list(&place)[0]["failures"], 0);
}

#[test]
fn a_pin_is_read_from_a_file() {
    let place = place();
    for text in [PIN.to_owned(), format!("{PIN}\n"), format!("\u{feff}{PIN}\r\n")] {
        std::fs::write(place.path().join("pin.txt"), text).unwrap();
        hides_pins(place.run(&["pins", "set", NUMBER, "--pin-file", "pin.txt"])).exits(0);
    }
    for text in [format!("{PIN}\n{PIN}\n"), format!(" {PIN}"), String::new(), PIN.repeat(20), "a\u{0}b".to_owned()] {
        std::fs::write(place.path().join("pin.txt"), &text).unwrap();
        hides_pins(place.run(&["pins", "set", NUMBER, "--pin-file", "pin.txt"])).exits(2);
    }
    let ran = place.run(&["pins", "set", NUMBER, "--pin-file", "missing.txt"]).exits(2);
    assert!(ran.stderr.contains("missing.txt: cannot be read"), "{}", ran.stderr);
}

#[test]
fn a_refused_pin_is_not_shown() {
    let place = place();
    for pin in ["98", "0000", "2345", "12a4", "", "7391046285173"] {
        let ran = with_stdin(&place, &["pins", "set", NUMBER, "--pin-stdin"], pin).exits(2);
        assert!(ran.stderr.starts_with("error: ") && (pin.is_empty() || !ran.stderr.contains(pin)), "{}", ran.stderr);
    }
    let mut config = with_pepper(PEPPER);
    config["approval"]["pin"]["min_digits"] = json!(7);
    place.configure(&config);
    let ran = with_stdin(&place, &["pins", "set", NUMBER, "--pin-stdin"], PIN).exits(2);
    assert!(ran.stderr.contains('7') && !ran.stderr.contains(PIN), "{}", ran.stderr);
    assert_eq!(list(&place), Vec::<Value>::new());
}

#[test]
fn a_pin_in_place_of_a_number_is_not_shown() {
    let place = place();
    for arguments in [&[PIN][..], &[NUMBER, PIN], &[NUMBER, "--pin-file", "pin.txt", PIN]] {
        let ran = place.run(&[&["pins", "set"], arguments].concat()).exits(2);
        assert!(ran.stderr.contains("write the number as +14255551212") && !ran.stderr.contains(PIN), "{}", ran.stderr);
    }
    // clap would show an unknown value.
    let ran = place.run(&["pins", "set", NUMBER, "--pin", PIN]).exits(2);
    assert!(!ran.all().contains(PIN), "{}", ran.all());
}

#[test]
fn wrong_usage_says_what_would_be_right() {
    let place = place();
    for (arguments, words) in [
        (&["pins"][..], "Usage: "),
        (&["pins", "set"], "NUMBER"),
        (&["pins", "set", "12", "--pin-stdin"], "write the number as +14255551212"),
        (&["pins", "set", NUMBER, "--pin-stdin", "--pin-file", "pin.txt"], "cannot be used with"),
        (&["pins", "reset"], "NUMBER|HASH|ID"),
        (&["pins", "import"], "FILE.csv"),
        (&["pins", "import", "missing.csv"], "missing.csv: cannot be read"),
    ] {
        let ran = place.run(arguments).exits(2);
        assert!(ran.stderr.contains(words), "{arguments:?}: {words} in {}", ran.stderr);
    }
    let memory = json!({ "type": "memory" });
    for (section, value, words) in [
        ("store", memory, "set store.type to \"sqlite\" or \"redis\""),
        ("approval", json!({}), "approval.pin.pepper is missing"),
        ("approval", json!({ "pin": { "pepper": "too-short" } }), "approval.pin.pepper: has 9 characters"),
        ("approval", json!({ "pin": { "pepper": { "file": "missing.txt" } } }), "approval.pin.pepper: "),
    ] {
        let mut config = with_pepper(PEPPER);
        config[section] = value;
        place.configure(&config);
        let ran = with_stdin(&place, &["pins", "set", NUMBER, "--pin-stdin"], PIN).exits(2);
        assert!(ran.stderr.contains(words), "{words} in {}", ran.stderr);
    }
}

#[test]
fn another_pepper_is_refused_before_a_pin_is_read() {
    let place = place();
    set(&place, NUMBER);
    place.configure(&with_pepper(OTHER_PEPPER));
    for arguments in [&["pins", "set", NUMBER, "--pin-stdin"][..], &["pins", "import", "pins.csv"], &["check"]] {
        file(&place, &format!("number,pin\n{OTHER},{PIN}\n"));
        let ran = hides_pins(place.run(arguments)).exits(1);
        assert!(ran.all().contains("pepper"), "{}", ran.all());
    }
    // Without the old pepper, its PINs can still be removed.
    let ran = place.run(&["pins", "reset", "--all", "--json"]).exits(0);
    assert_eq!(ran.record("removed")["number"], MASKED);
    assert_eq!(place.run(&["pins", "reset", "--all"]).exits(0).stdout, "PINs removed: 0.\n");
    set(&place, NUMBER);
}

#[test]
fn a_pin_is_found_after_a_change_of_the_number_key() {
    let place = place();
    set(&place, NUMBER);
    let mut config = with_pepper(PEPPER);
    config["privacy"] = json!({ "number_key": "not-a-real-number-key-0123456789abcdef" });
    place.configure(&config);
    assert_eq!(set(&place, NUMBER).record("set")["replaced"], true);
    assert_eq!(list(&place).len(), 1);
    assert_eq!(import(&place, &format!("number,pin\n{NUMBER},{PIN}\n"), &["--json"]).record("imported")["replaced"], 1);
    place.run(&["pins", "reset", NUMBER]).exits(0);
    assert_eq!(list(&place), Vec::<Value>::new());
}

#[test]
fn each_change_is_logged_with_its_user() {
    let mut config = with_pepper(PEPPER);
    config["log"] = json!({ "level": "error" });
    let place = Place::with_store(&config);
    set(&place, NUMBER);
    import(&place, &format!("pin;number\n{PIN};{NUMBER}\n862057;{OTHER}\n"), &[]).exits(0);
    place.run(&["pins", "unlock", NUMBER]).exits(0);
    place.run(&["pins", "reset", NUMBER]).exits(0);
    // A command that changes nothing writes no line.
    place.run(&["pins", "reset", NUMBER]).exits(1);
    place.run(&["pins", "list"]).exits(0);

    let by = format!("by {}", platform::user_name());
    let set = logged(&place, "pin_set");
    let texts: Vec<_> = set.iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert!(matches!(texts[..], [a, b, c] if a == by && c == by && b.starts_with(&format!("{by}; replaces: set 2"))));
    assert_eq!(set[0]["number"], MASKED);
    for event in ["pin_unlocked", "pin_removed"] {
        let lines = logged(&place, event);
        assert_eq!((lines.len(), &lines[0]["number"]), (1, &json!(MASKED)));
        assert!(lines[0]["text"].as_str().unwrap().starts_with(&format!("{by}; it was: set 2")), "{lines:?}");
    }
    is_clean(&place.log());
}

#[test]
fn no_change_is_made_without_an_audit_log() {
    let mut config = with_pepper(PEPPER);
    config["log"] = json!({ "directory": "phonegate.json" });
    let place = Place::with_store(&config);
    let ran = with_stdin(&place, &["pins", "set", NUMBER, "--pin-stdin"], PIN).exits(2);
    assert!(ran.stderr.contains("log.directory"), "{}", ran.stderr);
    import(&place, &format!("number,pin\n{NUMBER},{PIN}\n"), &[]).exits(2);
    assert_eq!(list(&place), Vec::<Value>::new());
}
