//! `phonegate blocks`, and calls to blocked numbers.

mod support;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use support::{HIDDEN, MASKED, NUMBER, Place, Ran, kept};

/// Returns the reason for which a call to this number fails.
fn refused(place: &Place, number: &str) -> Value {
    place.run(&["call", "--store", "--json", number]).exits(1).record("failed")["reason"].clone()
}

#[test]
fn a_blocked_number_is_not_called_until_it_is_removed() {
    let place = Place::with_store(&kept(None));
    assert_eq!(place.run(&["blocks", "list"]).exits(0).stderr, "No number is blocked.\n");
    let ran = place.run(&["blocks", "add", "+1", "(425)", "555-1212", "--reason", "left the company"]).exits(0);
    assert_eq!(ran.stdout, format!("Blocked {MASKED} (whole line) forever: left the company\n"));
    let failed = place.run(&["call", "--store", "--json", NUMBER]).exits(1).record("failed");
    assert_eq!(failed["reason"], "Blocked");
    assert!(failed["text"].as_str().unwrap().contains("left the company"), "{failed}");
    // Without --store, the store does not concern a test call.
    place.run(&["call", NUMBER]).exits(0);
    let ran = place.run(&["blocks", "remove", NUMBER]).exits(0);
    let removed = "removed: whole line, forever: left the company";
    assert_eq!(ran.stdout, format!("{MASKED} is no longer on the block list.\n{removed}\n"));
    place.run(&["call", "--store", NUMBER]).exits(0);
    let ran = place.run(&["blocks", "remove", NUMBER]).exits(1);
    assert!(ran.stderr.contains("not on the block list"), "{}", ran.stderr);
}

#[test]
fn a_block_covers_the_line_or_only_its_extension() {
    let place = Place::with(&kept(None));
    place.run(&["blocks", "add", "+1 4255551212x77"]).exits(0);
    assert_eq!(refused(&place, "+1 4255551212x77"), "Blocked");
    place.run(&["call", "--store", "+1 4255551212x78"]).exits(0);
    place.run(&["blocks", "add", NUMBER]).exits(0);
    assert_eq!(refused(&place, "+1 4255551212x78"), "Blocked");
    place.run(&["blocks", "remove", "+1 4255551212x77"]).exits(0);
    assert_eq!(place.run(&["blocks", "list", "--json"]).exits(0).record("block")["number"], MASKED);
}

#[test]
fn a_block_of_only_a_number_excludes_its_extensions() {
    let place = Place::with(&kept(None));
    let ran = place.run(&["blocks", "add", NUMBER, "--only-this-number", "--reason", "left"]).exits(0);
    assert_eq!(ran.stdout, format!("Blocked {MASKED} (only this number) forever: left\n"));
    assert_eq!(refused(&place, NUMBER), "Blocked");
    place.run(&["call", "--store", "+1 4255551212x77"]).exits(0);
    // The same by the id of a call, and with an extension.
    let id = place.run(&["calls", "--json", "--reason", "Blocked"]).record("call")["id"].as_str().unwrap().to_owned();
    place.run(&["blocks", "remove", &id]).exits(0);
    let added = place.run(&["blocks", "add", "--call", &id, "--only-this-number", "--json"]).exits(0).record("block");
    assert_eq!(added["scope"], "number");
    let added = place.run(&["blocks", "add", "+1 4255551212x78", "--json"]).exits(0).record("block");
    assert_eq!(added["scope"], "number");
    place.run(&["call", "--store", "+1 4255551212x77"]).exits(0);
}

#[test]
fn remove_removes_the_blocks_of_both_scopes() {
    let place = Place::with(&kept(None));
    place.run(&["blocks", "add", NUMBER, "--only-this-number", "--reason", "the user reported a fraud"]).exits(0);
    let ran = place.run(&["blocks", "add", NUMBER, "--days", "7", "--reason", "tried", "--json"]).exits(0);
    let (line, kept) = (ran.record("block"), ran.record("kept"));
    assert_eq!((&line["scope"], &kept["scope"]), (&json!("line"), &json!("number")));
    let ran = place.run(&["blocks", "add", NUMBER, "--days", "8", "--reason", "tried"]).exits(0);
    let also =
        "also blocked: only this number, forever: the user reported a fraud; `phonegate blocks remove` removes both";
    assert!(ran.stdout.lines().any(|line| line == also), "{}", ran.stdout);
    let listed = place.run(&["blocks", "list"]).exits(0).stdout;
    for words in ["BLOCKED", "whole line", "only this number", "To remove a block: phonegate blocks remove HASH\n"] {
        assert!(listed.contains(words), "{words} in\n{listed}");
    }
    assert_eq!(place.run(&["blocks", "list", "--json"]).exits(0).records().len(), 2);
    assert_eq!(refused(&place, "+1 4255551212x77"), "Blocked");
    let page = place.run(&["report", "--html", "-"]).exits(0).stdout;
    let headline = r#"Blocked numbers</p><p class="figure">1</p>"#;
    assert!(page.contains(headline), "one number: {page}");

    let ran = place.run(&["blocks", "remove", NUMBER]).exits(0);
    let mut removed: Vec<_> = ran.stdout.lines().skip(1).collect();
    removed.sort_unstable();
    assert_eq!(removed.len(), 2, "{}", ran.stdout);
    assert_eq!(removed[0], "removed: only this number, forever: the user reported a fraud");
    assert!(removed[1].starts_with("removed: whole line, until 2") && removed[1].ends_with(": tried"), "{removed:?}");
    place.run(&["call", "--store", NUMBER]).exits(0);
    assert_eq!(place.run(&["blocks", "list"]).exits(0).stderr, "No number is blocked.\n");
}

#[test]
fn the_list_shows_masked_numbers_reasons_times_and_keys() {
    let place = Place::with(&kept(None));
    place.run(&["blocks", "add", NUMBER, "--reason", "ask +1 (425) 555-1212", "--days", "7"]).exits(0);
    // A number in a country that is not allowed can be blocked.
    let german = place.run(&["blocks", "add", "--json", "+49 30 901820"]).exits(0).record("block");
    let ran = place.run(&["blocks", "list"]).exits(0);
    for words in [
        "NUMBER",
        "BLOCKED",
        "SINCE",
        "UNTIL",
        "HASH",
        "REASON",
        MASKED,
        "+49",
        "forever",
        german["number_hash"].as_str().unwrap(),
    ] {
        assert!(ran.stdout.contains(words), "{words} in\n{}", ran.stdout);
    }
    assert!(!ran.all().contains(HIDDEN) && !ran.all().contains("555-12"), "{}", ran.all());
    let listed = place.run(&["blocks", "list", "--json"]).exits(0).records();
    assert_eq!((listed.len(), &listed[0]), (2, &german), "the newest first");
    let keys = |block: &Value| block.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&listed[0]), ["event", "number", "number_hash", "reason", "scope", "since"]);
    assert_eq!(keys(&listed[1]), ["event", "number", "number_hash", "reason", "scope", "since", "until"]);
    let removed = place.run(&["blocks", "remove", "--json", german["number_hash"].as_str().unwrap()]).exits(0);
    assert_eq!(removed.record("removed")["number_hash"], german["number_hash"]);
    // It replaces the existing block.
    place.run(&["blocks", "add", NUMBER, "--reason", "again"]).exits(0);
    let block = place.run(&["blocks", "list", "--json"]).exits(0).record("block");
    assert_eq!((&block["reason"], &block["until"]), (&json!("again"), &Value::Null));
}

#[test]
fn a_day_of_a_block_has_24_hours() {
    let place = Place::with(&kept(None));
    for days in [1, 7, 36_500] {
        let added =
            place.run(&["blocks", "add", NUMBER, "--days", &days.to_string(), "--json"]).exits(0).record("block");
        let time = |name: &str| added[name].as_str().unwrap().parse::<Timestamp>().unwrap();
        assert_eq!(time("until").duration_since(time("since")), SignedDuration::from_hours(days * 24), "{added}");
        assert!(time("since").duration_until(Timestamp::now()) < SignedDuration::from_mins(1), "{added}");
        assert_eq!(place.run(&["blocks", "list", "--json"]).exits(0).record("block"), added, "as it is kept");
    }
    place.run(&["blocks", "remove", NUMBER]).exits(0);
    // People see the end in their own time zone.
    let command = &mut place.command(&["blocks", "add", NUMBER, "--days", "7"]);
    let ran = Ran::from(command.env("TZ", "UTC").output().unwrap()).exits(0);
    let block = place.run(&["blocks", "list", "--json"]).exits(0).record("block");
    let until = block["until"].as_str().unwrap().split_once('.').unwrap().0.replace('T', " ");
    assert_eq!(ran.stdout, format!("Blocked {MASKED} (whole line) until {until}: an administrator blocked it\n"));
}

#[test]
fn a_number_is_blocked_by_the_id_of_a_call() {
    let place = Place::with(&kept(None));
    place.run(&["call", "--store", NUMBER]).exits(0);
    let id = place.run(&["calls", "--json"]).record("call")["id"].as_str().unwrap().to_owned();
    place.run(&["blocks", "add", "--call", &id]).exits(0);
    assert_eq!(refused(&place, NUMBER), "Blocked");
    let ran = place.run(&["blocks", "add", "--call", "6f9619ff-8b86-d011-b42d-00c04fc964ff"]).exits(1);
    assert!(ran.stderr.contains("phonegate calls"), "{}", ran.stderr);
}

#[test]
fn a_number_is_blocked_by_its_key() {
    let place = Place::with(&kept(None));
    place.run(&["call", "--store", "+1 4255551212x77"]).exits(0);
    let of_extension = place.run(&["calls", "--json"]).record("call")["number_hash"].as_str().unwrap().to_owned();
    let added = place.run(&["blocks", "add", &of_extension, "--json"]).exits(0).record("block");
    assert_eq!((&added["number_hash"], &added["number"]), (&json!(of_extension), &json!("+1******1212x…")));
    assert_eq!(refused(&place, "+1 4255551212x77"), "Blocked");
    place.run(&["call", "--store", NUMBER]).exits(0);
    // The hash of a line is found by the last call to it.
    place.run(&["blocks", "add", NUMBER]).exits(0);
    let of_line =
        place.run(&["blocks", "list", "--json"]).exits(0).records()[0]["number_hash"].as_str().unwrap().to_owned();
    place.run(&["blocks", "remove", &of_line]).exits(0);
    assert_eq!(refused(&place, "+1 4255551212x77"), "Blocked");
    let ran = place.run(&["blocks", "add", &of_line, "--reason", "left"]).exits(0);
    assert_eq!((&*ran.stdout, &*ran.stderr), (&*format!("Blocked {MASKED} (whole line) forever: left\n"), ""));
    assert_eq!(refused(&place, NUMBER), "Blocked");
    // No call has this hash, so it may be a mistake.
    let unknown = place.run(&["blocks", "add", &"0f".repeat(16)]).exits(0);
    assert!(unknown.stderr.contains("check that it is the right one"), "{}", unknown.stderr);
    assert!(place.run(&["blocks", "list"]).exits(0).stdout.contains("(not known)"));
    place.run(&["blocks", "remove", &"0f".repeat(16)]).exits(0);
}

#[test]
fn a_reason_loses_its_full_stop() {
    let place = Place::with(&kept(None));
    place.run(&["blocks", "add", NUMBER, "--reason", " left the company. "]).exits(0);
    let failed = place.run(&["call", "--store", "--json", NUMBER]).exits(1).record("failed");
    let text = failed["text"].as_str().unwrap();
    assert!(text.starts_with(&format!("{MASKED} is on the block list: left the company. (")), "{text}");
}

#[test]
fn wrong_usage_says_what_would_be_right() {
    let place = Place::with_store(&kept(None));
    for (arguments, words) in [
        (&["blocks"][..], "Usage: "),
        (&["blocks", "add"], "NUMBER"),
        (&["blocks", "add", "12"], "write the number as +14255551212"),
        (&["blocks", "add", NUMBER, "--days", "0"], "1..=36500"),
        (&["blocks", "add", NUMBER, "--reason", ""], "the reason is empty"),
        (&["blocks", "add", NUMBER, "--reason", " . "], "the reason is empty"),
        (&["blocks", "remove"], "NUMBER|HASH|ID"),
        (&["blocks", "remove", "00ff"], "write the number as +14255551212"),
    ] {
        let ran = place.run(arguments).exits(2);
        assert!(ran.stderr.contains(words), "{arguments:?}: {words} in {}", ran.stderr);
    }
}
