//! `phonegate backup`.

mod support;

use std::fs;
use std::process::Command;

use phonegate::platform::{self, Grant};
use serde_json::{Value, json};
use support::ports::unused_address;
use support::{NUMBER, Place, Running, at_a_desk, kept};

/// Returns all calls.
fn calls(place: &Place) -> Vec<Value> {
    place.run(&["calls", "--json"]).exits(0).records()
}

#[test]
fn a_backup_during_a_call_is_complete_and_restorable() {
    let place = Place::with(&at_a_desk());
    place.run(&["blocks", "add", "+1 4255551313", "--reason", "left"]).exits(0);
    let ringing = Running::start(&mut place.command(&["call", "--store", NUMBER]));
    place.rings(1);
    let written = place.run(&["backup", "copy.db", "--json"]).exits(0).record("written");
    let copy = place.path().join("copy.db");
    assert_eq!(written, json!({ "event": "written", "file": "copy.db", "bytes": copy.metadata().unwrap().len() }));
    assert_eq!(platform::exposure(&copy, Grant::CurrentUser).unwrap().describe(), None);
    place.answer("1;");
    ringing.wait().exits(0);
    assert_eq!(calls(&place)[0]["outcome"], "verified");

    // As the help says it.
    fs::copy(&copy, place.path().join("calls.db")).unwrap();
    for name in ["calls.db-wal", "calls.db-shm"] {
        // The last process to close the file may have removed them.
        let _ = fs::remove_file(place.path().join(name));
    }
    let restored = calls(&place);
    assert_eq!((restored.len(), &restored[0]["outcome"]), (1, &json!("pending")));
    assert_eq!(place.run(&["blocks", "list", "--json"]).exits(0).record("block")["reason"], "left");
}

#[test]
fn backup_replaces_no_file_and_leaves_no_partial_one() {
    let place = Place::with_store(&kept(None));
    fs::write(place.path().join("other.db"), "another file").unwrap();
    let ran = place.run(&["backup", "other.db"]).exits(1);
    assert!(ran.stderr.contains("other.db already exists; name a new file"), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(place.path().join("other.db")).unwrap(), "another file");
    let ran = place.run(&["backup", "there/is/no/such/folder.db"]).exits(1);
    assert!(ran.stderr.contains("name a file in a folder that you may write to"), "{}", ran.stderr);

    fs::write(place.path().join("calls.db"), "no database".repeat(100)).unwrap();
    let ran = place.run(&["backup", "copy.db", "--json"]).exits(1);
    assert!(ran.record("error")["text"].as_str().unwrap().contains("calls.db"), "{}", ran.stdout);
    assert!(!place.path().join("copy.db").exists());
}

#[test]
fn backup_of_a_store_without_a_file_says_what_to_do() {
    let place = Place::with(&kept(None));
    let store = |store: Value| {
        let mut config = kept(None);
        config["store"] = store;
        config
    };
    for (config, code, words) in [
        (store(json!({ "type": "redis", "url": format!("redis://{}", unused_address()) })), 2, "BGSAVE"),
        (store(json!({ "type": "memory" })), 2, "hint: store.type sqlite keeps calls"),
        (kept(None), 1, "`store.path` is mistyped"),
    ] {
        place.configure(&config);
        let ran = place.run(&["backup", "copy.db"]).exits(code);
        assert!(ran.stderr.contains(words), "{words} in {}", ran.stderr);
        assert!(!place.path().join("copy.db").exists() && !place.path().join("calls.db").exists());
    }
    let help = place.run(&["backup", "--help"]).exits(0).stdout;
    for words in ["Examples:", "To restore:", "chown", "phonegate check", "-wal", "Exit codes:"] {
        assert!(help.contains(words), "{words} in {help}");
    }
}

#[test]
fn deleted_rows_are_in_no_backup() {
    let place = Place::with_store(&kept(None));
    place.run(&["blocks", "add", NUMBER, "--reason", "a word of its own"]).exits(0);
    place.run(&["blocks", "remove", NUMBER]).exits(0);
    place.run(&["backup", "copy.db"]).exits(0);
    let found = Command::new("grep").args(["-c", "a word of its own"]).arg(place.path().join("copy.db")).output();
    assert_eq!(String::from_utf8(found.unwrap().stdout).unwrap(), "0\n");
}
