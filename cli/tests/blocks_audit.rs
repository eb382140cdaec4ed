//! The audit lines of `phonegate blocks`, and the protection of longer blocks.

mod support;

use phonegate::platform;
use serde_json::Value;
use support::{HIDDEN, MASKED, NUMBER, Place, kept};

/// Returns the lines of the tool's log about this event.
fn logged(place: &Place, event: &str) -> Vec<Value> {
    let lines: Vec<Value> = place.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.into_iter().filter(|line| line["event"] == event).collect()
}

#[test]
fn each_change_is_logged_with_its_user_and_old_block() {
    let mut config = kept(None);
    config["log"] = serde_json::json!({ "level": "error" });
    let place = Place::with_store(&config);
    place.run(&["blocks", "add", NUMBER, "--days", "7", "--reason", "ask +1 (425) 555-1212"]).exits(0);
    let ran = place.run(&["blocks", "add", NUMBER, "--reason", "left the company"]).exits(0);
    let replaces = ran.stdout.lines().nth(1).unwrap();
    assert!(replaces.starts_with("replaced: ask ") && replaces.contains(", until 2"), "{}", ran.stdout);
    place.run(&["blocks", "remove", NUMBER]).exits(0);

    let (added, removed) = (logged(&place, "block_added"), logged(&place, "block_removed"));
    let texts = [&added[0], &added[1], &removed[0]].map(|line| line["text"].as_str().unwrap());
    let user = platform::user_name();
    assert!(
        texts[0].starts_with(&format!("by {user}: ask ")) && texts[0].contains(", whole line, until 2"),
        "{texts:?}"
    );
    assert!(
        texts[1].starts_with(&format!("by {user}: left the company, whole line, forever; replaces: ask ")),
        "{texts:?}"
    );
    assert_eq!(texts[2], format!("by {user}; it was: left the company, whole line, forever"));
    assert!([&added[..], &removed].concat().iter().all(|line| line["number"] == MASKED), "{added:?}, {removed:?}");
    assert!(!place.log().contains(HIDDEN) && !place.log().contains("555-12"), "{}", place.log());
    // A command that changes nothing writes no line.
    place.run(&["blocks", "remove", NUMBER]).exits(1);
    place.run(&["blocks", "list"]).exits(0);
    assert_eq!((logged(&place, "block_added").len(), logged(&place, "block_removed").len()), (2, 1));
}

#[test]
fn a_longer_block_is_replaced_only_with_replace() {
    let place = Place::with(&kept(Some("0")));
    place.run(&["call", "--store", NUMBER]).exits(1);
    let of_fraud = place.run(&["blocks", "list", "--json"]).exits(0).record("block");
    assert_eq!(of_fraud["scope"], "number", "a report of fraud blocks no line");
    let shorter = ["blocks", "add", NUMBER, "--only-this-number", "--days", "1"];
    let ran = place.run(&shorter).exits(1);
    for words in [MASKED, of_fraud["reason"].as_str().unwrap(), "until 2", "add --replace"] {
        assert!(ran.stderr.contains(words), "{words} in {}", ran.stderr);
    }
    assert_eq!(place.run(&["blocks", "list", "--json"]).exits(0).record("block"), of_fraud, "it is still there");

    let ran = place.run(&[&shorter[..], &["--replace", "--json"]].concat()).exits(0);
    let (replaced, block) = (ran.record("replaced"), ran.record("block"));
    for name in ["number_hash", "number", "reason", "since", "until"] {
        assert_eq!(replaced[name], of_fraud[name]);
    }
    assert_eq!(place.run(&["blocks", "list", "--json"]).exits(0).record("block"), block);
    // A longer block needs no --replace. A block without an end is the longest.
    let exactly = ["blocks", "add", NUMBER, "--only-this-number"];
    assert_eq!(place.run(&exactly).exits(0).stdout.lines().count(), 2);
    place.run(&[&exactly[..], &["--reason", "again"]].concat()).exits(0);
    place.run(&[&exactly[..], &["--days", "36500"]].concat()).exits(1);
}

#[test]
fn no_change_is_made_without_an_audit_log() {
    let mut config = kept(None);
    config["log"] = serde_json::json!({ "directory": "phonegate.json" });
    let place = Place::with_store(&config);
    let ran = place.run(&["blocks", "add", NUMBER]).exits(2);
    assert!(ran.stderr.contains("log.directory"), "{}", ran.stderr);
    assert_eq!(place.run(&["blocks", "list"]).exits(0).stderr, "No number is blocked.\n");
}

#[test]
fn a_failure_names_the_list_that_blocks_the_number() {
    let mut config = kept(None);
    config["numbers"]["blocked"] = serde_json::json!([NUMBER]);
    let place = Place::with(&config);
    let text = |number: &str| {
        let failed = place.run(&["call", "--store", "--json", number]).exits(1).record("failed");
        assert_eq!(failed["reason"], "Blocked");
        failed["text"].as_str().unwrap().to_owned()
    };
    let configured = format!("{MASKED} is in `numbers.blocked` of the configuration. (Blocked, code 14)");
    assert_eq!(text(NUMBER), configured);
    place.run(&["blocks", "add", "+1 4255551313"]).exits(0);
    assert!(text("+1 4255551313").contains("is on the block list: "), "{}", text("+1 4255551313"));
}
