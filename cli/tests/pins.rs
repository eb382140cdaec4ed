//! What `phonegate pins` promises: PINs are set, listed, unlocked and removed, and none is ever shown.

mod support;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use phonegate::admission::Admission;
use phonegate::approval::pins::{Pepper, PinChecker, number_keys};
use phonegate::call::PhoneNumber;
use phonegate::config;
use phonegate::platform;
use phonegate::store::{PinLimits, SqliteStore};
use serde_json::{Value, json};
use support::{HIDDEN, MASKED, NUMBER, Place, Ran, kept, simulated};

const PEPPER: &str = "not-a-real-pepper-0123456789abcdef";
const OTHER_PEPPER: &str = "not-a-real-pepper-fedcba9876543210";
const PIN: &str = "739104";
const OTHER: &str = "+1 4255551313x77";

/// A store, and the pepper of its PINs.
fn with_pepper(pepper: &str) -> Value {
    let mut config = kept(None);
    config["approval"] = json!({ "pin": { "pepper": pepper } });
    config
}

fn place() -> Place {
    Place::with_store(&with_pepper(PEPPER))
}

/// Runs the command with this text on standard input.
fn with_stdin(place: &Place, arguments: &[&str], text: &str) -> Ran {
    let mut child = place.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
    // A command that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    child.wait_with_output().unwrap().into()
}

/// Sets the PIN of a number from standard input.
fn set(place: &Place, number: &str) -> Ran {
    hides_pins(with_stdin(place, &["pins", "set", number, "--pin-stdin", "--json"], PIN)).exits(0)
}

fn file(place: &Place, text: &str) -> PathBuf {
    let file = place.path().join("pins.csv");
    std::fs::write(&file, text).unwrap();
    file
}

fn import(place: &Place, text: &str, arguments: &[&str]) -> Ran {
    let file = file(place, text);
    hides_pins(place.run(&[&["pins", "import", file.to_str().unwrap()], arguments].concat()))
}

fn list(place: &Place) -> Vec<Value> {
    hides_pins(place.run(&["pins", "list", "--json"])).exits(0).records()
}

/// No PIN of these tests, no hash, no pepper and no whole number is shown.
#[track_caller]
fn hides_pins(ran: Ran) -> Ran {
    is_clean(&ran.all());
    ran
}

#[track_caller]
fn is_clean(text: &str) {
    for secret in [PIN, "862057", "argon2", PEPPER, OTHER_PEPPER, HIDDEN, "555131"] {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
}

/// The lines of the tool's log about this event.
fn logged(place: &Place, event: &str) -> Vec<Value> {
    let lines: Vec<Value> = place.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.into_iter().filter(|line| line["event"] == event).collect()
}

/// Counts this many wrong PINs of a number, as calls do.
fn guess_wrong(place: &Place, number: &str, count: u32) {
    let config = config::load(&place.config(), &phonegate::TYPES).unwrap();
    let number: PhoneNumber = Admission::new(&config.config.numbers).unwrap().read(number).unwrap();
    let store = Arc::new(SqliteStore::open(&place.path().join("calls.db")).unwrap());
    let pepper = Pepper::new(&PEPPER.into()).map_err(|short| short.chars).unwrap();
    let limits: PinLimits = config.config.approval.pin.limits();
    let checker = PinChecker::new(store, pepper, limits);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for _ in 0..count {
        runtime.block_on(checker.count_failure(&number_keys(&number)));
    }
}

#[test]
fn a_pin_is_set_listed_replaced_and_reset() {
    let place = place();
    assert_eq!(place.run(&["pins", "list"]).exits(0).stderr, "No PIN is set.\n");
    let first = set(&place, NUMBER).record("set");
    assert_eq!((&first["number"], &first["replaced"]), (&json!(MASKED), &json!(false)));
    let listed = list(&place);
    assert_eq!(listed.len(), 1);
    let keys: Vec<_> = listed[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["event", "failures", "key", "number", "set"]);
    assert_eq!((&listed[0]["number"], &listed[0]["key"]), (&json!(MASKED), &first["key"]));

    let ran = with_stdin(&place, &["pins", "set", "(425)", "555-1212", "--pin-stdin"], "862057\r\n").exits(0);
    assert_eq!(ran.stdout, format!("The PIN of {MASKED} is set, in place of the one that it had.\n"));
    assert_eq!(list(&place).len(), 1);
    let ran = hides_pins(place.run(&["pins", "list"])).exits(0);
    for words in ["NUMBER", "SET", "FAILURES", "LOCKED UNTIL", "KEY", MASKED, first["key"].as_str().unwrap()] {
        assert!(ran.stdout.contains(words), "{words} in\n{}", ran.stdout);
    }

    let ran = place.run(&["pins", "reset", NUMBER]).exits(0);
    assert_eq!(ran.stdout, format!("{MASKED} has no PIN any more.\n"));
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
    let expected = format!("The PIN of {MASKED} is not locked any more; wrong PINs are counted from 0 again.\n");
    assert_eq!(ran.stdout, expected);
    let unlocked = list(&place);
    assert_eq!((&unlocked[0]["failures"], &unlocked[0]["locked_until"]), (&json!(0), &Value::Null));
    // By the key that the list shows.
    let key = locked[0]["key"].as_str().unwrap();
    assert!(place.run(&["pins", "unlock", key]).exits(0).stdout.contains("was not locked"));
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
fn a_refused_pin_is_named_by_its_fault_alone() {
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
fn a_pin_in_the_place_of_a_number_is_not_shown() {
    let place = place();
    for arguments in [&[PIN][..], &[NUMBER, PIN], &[NUMBER, "--pin-file", "pin.txt", PIN]] {
        let ran = place.run(&[&["pins", "set"], arguments].concat()).exits(2);
        assert!(ran.stderr.contains("Write it as +14255551212") && !ran.stderr.contains(PIN), "{}", ran.stderr);
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
        (&["pins", "set", "12", "--pin-stdin"], "Write it as +14255551212"),
        (&["pins", "set", NUMBER, "--pin-stdin", "--pin-file", "pin.txt"], "cannot be used with"),
        (&["pins", "reset"], "NUMBER|KEY|ID"),
        (&["pins", "import"], "FILE.csv"),
        (&["pins", "import", "missing.csv"], "missing.csv: cannot be read"),
    ] {
        let ran = place.run(arguments).exits(2);
        assert!(ran.stderr.contains(words), "{arguments:?}: {words} in {}", ran.stderr);
    }
    let memory = json!({ "type": "memory" });
    for (section, value, words) in [
        ("store", memory, "no PIN can be set in it; use \"sqlite\" or \"redis\""),
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
fn each_change_is_a_line_that_says_who_made_it() {
    let mut config = with_pepper(PEPPER);
    config["log"] = json!({ "level": "error" });
    let place = Place::with_store(&config);
    set(&place, NUMBER);
    import(&place, &format!("pin;number\n{PIN};{NUMBER}\n862057;{OTHER}\n"), &[]).exits(0);
    place.run(&["pins", "unlock", NUMBER]).exits(0);
    place.run(&["pins", "reset", NUMBER]).exits(0);
    // What changes nothing leaves no line.
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
fn a_change_that_could_leave_no_line_is_not_made() {
    let mut config = with_pepper(PEPPER);
    config["log"] = json!({ "directory": "phonegate.json" });
    let place = Place::with_store(&config);
    let ran = with_stdin(&place, &["pins", "set", NUMBER, "--pin-stdin"], PIN).exits(2);
    assert!(ran.stderr.contains("log.directory"), "{}", ran.stderr);
    import(&place, &format!("number,pin\n{NUMBER},{PIN}\n"), &[]).exits(2);
    assert_eq!(list(&place), Vec::<Value>::new());
}

#[test]
fn import_sets_every_row_and_may_run_again() {
    let place = place();
    let text = format!("name,Number ,PIN\r\nAnn,\"{NUMBER}\",{PIN}\r\n,,\r\nBob,{OTHER},862057\r\n");
    let ran = import(&place, &text, &["--json"]).exits(0);
    let (set, end) = (&ran.records()[..2], ran.record("imported"));
    assert_eq!((&set[0]["line"], &set[0]["number"], &set[0]["replaced"]), (&json!(2), &json!(MASKED), &json!(false)));
    assert_eq!((&set[1]["line"], &set[1]["event"]), (&json!(4), &json!("set")));
    assert_eq!(end, json!({ "event": "imported", "pins": 2, "replaced": 0, "dry_run": false }));
    assert_eq!(list(&place).len(), 2);
    let ran = import(&place, &text, &[]).exits(0);
    assert_eq!((&*ran.stdout, &*ran.stderr), ("PINs set: 2; 2 of them in place of another.\n", ""));
    // From standard input, as a program pipes it.
    let ran = with_stdin(&place, &["pins", "import", "-"], "pin\tnumber\n862057\t4255551414\n").exits(0);
    assert_eq!(ran.stdout, "PINs set: 1; 0 of them in place of another.\n");
}

#[test]
fn import_names_every_bad_row_and_sets_none() {
    let place = place();
    let rows = [
        format!("{NUMBER},{PIN}"),
        format!("{PIN},{NUMBER}"),
        format!("{OTHER},2345"),
        format!("{OTHER},862057"),
        format!("+14255551212,{PIN}"),
        "4255551515,".to_owned(),
        "\"4255551616".to_owned(),
    ];
    let text = format!("number,pin\n{}\n", rows.join("\n"));
    let ran = import(&place, &text, &["--json"]).exits(2);
    let refused: Vec<_> = ran.records().into_iter().filter(|record| record["event"] == "refused").collect();
    let lines: Vec<_> = refused.iter().map(|row| row["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [3, 4, 6, 7, 8], "{}", ran.stdout);
    assert!(refused[0]["text"].as_str().unwrap().contains("(InvalidNumber)"), "{refused:?}");
    assert_eq!(refused[2]["text"], "the number is that of line 2; keep one of them");
    assert!(ran.record("error")["text"].as_str().unwrap().contains("5 of 7 rows cannot be used, so no PIN was set"));
    let ran = import(&place, &text, &[]).exits(2);
    assert!(ran.stderr.contains("line 6: the number is that of line 2"), "{}", ran.stderr);
    assert_eq!(list(&place), Vec::<Value>::new());
}

#[test]
fn a_file_without_the_two_columns_is_refused_unseen() {
    let place = place();
    for (text, words) in [
        (format!("{NUMBER},{PIN}\n"), "its first row must name the columns `number` and `pin`"),
        (format!("number;code\n{NUMBER};{PIN}\n"), "its first row must name the columns"),
        (String::new(), "its first row must name the columns"),
        ("number,pin\n\n,\n".to_owned(), "no row below"),
    ] {
        let ran = import(&place, &text, &[]).exits(2);
        assert!(ran.stderr.contains(words), "{words} in {}", ran.stderr);
    }
    let file = file(&place, "number,pin\n");
    std::fs::File::options().write(true).open(&file).unwrap().set_len(32 * 1024 * 1024 + 1).unwrap();
    let ran = place.run(&["pins", "import", file.to_str().unwrap()]).exits(2);
    assert!(ran.stderr.contains("more than 32 MiB"), "{}", ran.stderr);
}

#[test]
fn a_dry_run_sets_no_pin_and_leaves_no_line() {
    let place = place();
    set(&place, NUMBER);
    let before = (list(&place), logged(&place, "pin_set").len());
    let text = format!("number,pin\n{NUMBER},862057\n{OTHER},{PIN}\n");
    let ran = import(&place, &text, &["--dry-run"]).exits(0);
    assert_eq!(ran.stdout, "PINs could be set: 2; 1 of them in place of another.\n");
    assert_eq!((list(&place), logged(&place, "pin_set").len()), before);
    // It makes no store, either.
    std::fs::remove_file(place.path().join("calls.db")).unwrap();
    import(&place, &text, &["--dry-run"]).exits(0);
    assert!(!place.path().join("calls.db").exists());
}

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
    // Nobody who has no PINs reads of them.
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
