//! `phonegate limits`, and the limits and locks that `phonegate calls` and `phonegate report` show.

mod support;

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use phonegate::platform;
use serde_json::{Value, json};
use support::{HIDDEN, MASKED, NUMBER, Place, Ran, kept};

const EXTENSION: &str = "+1 4255551212x77";
const UNKNOWN_CALL: &str = "6f9619ff-8b86-d011-b42d-00c04fc964ff";

/// A phone that presses this. Two denials lock a number.
fn config(press: Option<&str>) -> Value {
    let mut config = kept(press);
    config["numbers"]["allowed_countries"] = json!(["US", "LV"]);
    config["limits"] =
        json!({ "denials": { "count": 2 }, "calls_per_day": 4, "by_country": { "LV": { "per_day": 1 } } });
    config
}

/// A store without calls.
fn place(press: Option<&str>) -> Place {
    Place::with_store(&config(press))
}

/// Denies two calls to a number, and returns the id of the one that locks it.
fn lock(place: &Place, number: &str) -> String {
    for _ in 0..2 {
        place.run(&["call", "--store", number]).exits(1);
    }
    let calls = place.run(&["calls", "--json", "--limit", "1"]).exits(0).record("call");
    calls["id"].as_str().unwrap().to_owned()
}

fn list(place: &Place, event: &str) -> Vec<Value> {
    let records = shows_no_number(place.run(&["limits", "list", "--json"])).exits(0).records();
    records.into_iter().filter(|record| record["event"] == event).collect()
}

/// Places a call, and returns its outcome: `verified`, or a reason.
fn outcome(place: &Place, number: &str) -> String {
    let records = place.run(&["call", "--store", "--json", number]).records();
    let last = records.last().unwrap();
    last["reason"].as_str().or(last["event"].as_str()).unwrap().to_owned()
}

#[track_caller]
fn shows_no_number(ran: Ran) -> Ran {
    assert!(!ran.all().contains(HIDDEN), "{}", ran.all());
    ran
}

fn keys(record: &Value) -> Vec<&str> {
    record.as_object().unwrap().keys().map(String::as_str).collect()
}

fn time(record: &Value, name: &str) -> Timestamp {
    record[name].as_str().unwrap().parse().unwrap()
}

/// Returns the lines of the tool's log about this event.
fn logged(place: &Place, event: &str) -> Vec<Value> {
    let lines: Vec<Value> = place.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.into_iter().filter(|line| line["event"] == event).collect()
}

#[test]
fn a_lock_is_listed_with_its_end_and_masked() {
    let place = place(Some("5"));
    let ran = place.run(&["limits", "list"]).exits(0);
    assert!(ran.stdout.starts_with("No number is locked.\n"), "{}", ran.stdout);
    assert_eq!(list(&place, "lock"), Vec::<Value>::new());
    lock(&place, NUMBER);
    assert_eq!(outcome(&place, NUMBER), "Throttled");
    assert_eq!(outcome(&place, EXTENSION), "WrongKey", "an extension has denials of its own");

    let locks = list(&place, "lock");
    assert_eq!(locks.len(), 1, "{locks:?}");
    assert_eq!(keys(&locks[0]), ["event", "locks", "number", "number_hash", "since", "until"]);
    assert_eq!((&locks[0]["number"], &locks[0]["locks"]), (&json!(MASKED), &json!(1)));
    assert_eq!(time(&locks[0], "until").duration_since(time(&locks[0], "since")), SignedDuration::from_hours(1));

    let ran = shows_no_number(place.run(&["limits", "list"])).exits(0);
    let hash = locks[0]["number_hash"].as_str().unwrap();
    for words in ["NUMBER", "SINCE", "UNTIL", "LOCKS IN A ROW", "HASH", MASKED, hash, "phonegate limits unlock HASH"] {
        assert!(ran.stdout.contains(words), "{words} in\n{}", ran.stdout);
    }
}

#[test]
fn unlock_takes_a_number_a_hash_or_the_id_of_a_call() {
    let place = place(Some("5"));
    for how in ["number", "hash", "id"] {
        let mut config = config(Some("5"));
        config["limits"] = json!({ "denials": { "count": 2 }, "calls_per_number": 100 });
        place.configure(&config);
        let id = lock(&place, NUMBER);
        let before = list(&place, "lock").remove(0);
        assert_eq!(before["locks"], 1, "the one before was reset");
        let argument = match how {
            "number" => NUMBER,
            "hash" => before["number_hash"].as_str().unwrap(),
            _ => &id,
        };
        let unlocked =
            shows_no_number(place.run(&["limits", "unlock", "--json", argument])).exits(0).record("unlocked");
        let expected = json!({
            "event": "unlocked", "number_hash": before["number_hash"], "number": MASKED, "was_locked": true,
            "since": before["since"], "until": before["until"], "locks": 1
        });
        assert_eq!(unlocked, expected, "{how}");
        assert_eq!(list(&place, "lock"), Vec::<Value>::new());
        assert_eq!(outcome(&place, NUMBER), "WrongKey", "the phone rings again");
        place.run(&["limits", "unlock", NUMBER]).exits(0);
    }
}

#[test]
fn unlocking_an_unlocked_number_is_no_error() {
    let place = place(Some("5"));
    place.run(&["call", "--store", NUMBER]).exits(1);
    let unlocked = place.run(&["limits", "unlock", "--json", NUMBER]).exits(0).record("unlocked");
    assert_eq!(keys(&unlocked), ["event", "number", "number_hash", "was_locked"]);
    assert_eq!(unlocked["was_locked"], false);
    // The one denial does not count any more.
    assert_eq!(outcome(&place, NUMBER), "WrongKey");
    assert_eq!(list(&place, "lock"), Vec::<Value>::new());

    lock(&place, EXTENSION);
    let ran = shows_no_number(place.run(&["limits", "unlock", "+1", "(425)", "555-1212"])).exits(0);
    assert!(ran.stdout.starts_with(&format!("{MASKED} was not locked;")), "{}", ran.stdout);
    assert!(ran.stdout.contains("a number with an extension has a lock of its own"), "{}", ran.stdout);
    assert_eq!(list(&place, "lock").len(), 1);
    let ran = place.run(&["limits", "unlock", EXTENSION]).exits(0);
    assert_eq!(ran.stdout, format!("{MASKED}x… is no longer locked; denials are counted from 0 again.\n"));
    // There is no call to this number.
    let ran = place.run(&["limits", "unlock", &"0f".repeat(16)]).exits(0);
    assert!(ran.stderr.contains("check that it is the right one"), "{}", ran.stderr);
}

#[test]
fn each_unlock_is_logged_with_its_user() {
    let mut with_log = config(Some("5"));
    with_log["log"] = json!({ "level": "error" });
    let place = Place::with_store(&with_log);
    lock(&place, NUMBER);
    place.run(&["limits", "unlock", NUMBER]).exits(0);
    place.run(&["limits", "unlock", NUMBER]).exits(0);
    place.run(&["limits", "unlock", UNKNOWN_CALL]).exits(1);
    place.run(&["limits", "list"]).exits(0);
    let by = format!("by {}; it was", platform::user_name());
    let (unlocked, reset) = (logged(&place, "unlocked"), logged(&place, "denials_reset"));
    let text = |lines: &[Value]| lines.iter().map(|line| line["text"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!((unlocked.len(), &unlocked[0]["number"]), (1, &json!(MASKED)));
    assert!(text(&unlocked)[0].starts_with(&format!("{by}: locked from 2")), "{unlocked:?}");
    assert!(text(&unlocked)[0].ends_with("Z, lock 1 in a row"), "{unlocked:?}");
    assert_eq!(text(&reset), [format!("{by} not locked")]);
    assert!(!place.log().contains(HIDDEN), "{}", place.log());

    lock(&place, NUMBER);
    with_log["log"] = json!({ "directory": "phonegate.json" });
    place.configure(&with_log);
    let ran = place.run(&["limits", "unlock", NUMBER]).exits(2);
    assert!(ran.stderr.contains("log.directory"), "{}", ran.stderr);
    assert_eq!(list(&place, "lock").len(), 1, "what could leave no line is not done");
}

#[test]
fn the_use_of_the_daily_limits_is_listed() {
    let place = place(None);
    let usage = |limit: &str, country: Option<&str>, calls: u64, cap: Option<u64>| {
        let mut usage = json!({ "event": "usage", "limit": limit, "calls": calls });
        country.into_iter().for_each(|country| usage["country"] = json!(country));
        cap.into_iter().for_each(|cap| usage["cap"] = json!(cap));
        usage
    };
    let none = [usage("calls_per_day", None, 0, Some(4)), usage("by_country", Some("LV"), 0, Some(1))];
    assert_eq!(list(&place, "usage"), none);
    for (number, expected) in [
        (NUMBER, "verified"),
        ("+371 2012 3456", "verified"),
        ("+371 2012 3457", "Throttled"),
        (NUMBER, "verified"),
        ("+1 2065550143", "verified"),
        (NUMBER, "Throttled"),
    ] {
        assert_eq!(outcome(&place, number), expected, "{number}");
    }
    let used = [
        usage("calls_per_day", None, 4, Some(4)),
        usage("by_country", Some("LV"), 1, Some(1)),
        usage("by_country", Some("US"), 3, None),
    ];
    assert_eq!(list(&place, "usage"), used);
    let ran = place.run(&["limits", "list"]).exits(0);
    let rows: Vec<String> =
        ran.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for row in [
        "LIMIT CALLS CAP",
        "limits.calls_per_day 4 4 reached: further calls are refused",
        "limits.by_country.LV 1 1 reached: further calls are refused",
        "limits.by_country.US 3 none",
    ] {
        assert!(rows.iter().any(|line| line == row), "{row} in\n{}", ran.stdout);
    }
    // The limit of each refusal.
    let calls = place.run(&["calls", "--json", "--reason", "Throttled"]).exits(0).records();
    let limits: Vec<_> = calls.iter().map(|call| call["limit"].as_str().unwrap()).collect();
    assert_eq!(limits, ["by_country", "calls_per_day"]);
    let page = place.run(&["report", "--html", "-"]).exits(0).stdout;
    for words in [
        "limits.calls_per_day was reached on 1 day.",
        "limits.by_country.LV was reached on 1 day.",
        "by_country<small>calls to a country in 24 hours</small>",
    ] {
        assert!(page.contains(words), "{words} in {page}");
    }
    assert!(!page.contains("371201") && !page.contains(HIDDEN), "{page}");
}

#[test]
fn a_call_shows_its_limit_and_the_lock_that_it_caused() {
    let place = place(Some("5"));
    let id = lock(&place, NUMBER);
    place.run(&["call", "--store", NUMBER]).exits(1);
    let calls = place.run(&["calls", "--json"]).exits(0).records();
    let of = |name: &str| calls.iter().map(|call| call[name].as_str()).collect::<Vec<_>>();
    assert_eq!(of("limit"), [None, None, Some("denials")]);
    let until = of("locked_until");
    assert!(until[0].is_none() && until[2].is_none(), "{calls:?}");
    assert_eq!(until[1], list(&place, "lock")[0]["until"].as_str());

    let csv = place.run(&["calls", "--csv"]).exits(0).stdout;
    let rows: Vec<HashMap<String, String>> =
        csv::Reader::from_reader(csv.as_bytes()).deserialize().map(Result::unwrap).collect();
    assert_eq!(rows.iter().map(|row| &*row["limit"]).collect::<Vec<_>>(), ["", "", "denials"]);
    assert_eq!(
        rows.iter().map(|row| &*row["locked_until"]).collect::<Vec<_>>(),
        until.iter().map(|until| until.unwrap_or("")).collect::<Vec<_>>()
    );

    let story = place.run(&["calls", "show", &id]).exits(0).stdout;
    assert!(story.contains("This call locked the number until 2"), "{story}");
    assert!(story.contains(&format!("`phonegate limits unlock {id}` ends the lock.")), "{story}");
    let first = calls[0]["id"].as_str().unwrap();
    assert!(!place.run(&["calls", "show", first]).exits(0).stdout.contains("locked"));

    let page = place.run(&["report", "--html", "-"]).exits(0).stdout;
    for words in [
        "1 is locked now.",
        "1 number was locked, because calls were not approved.",
        &format!("{MASKED}<small><code>{id}</code>"),
    ] {
        assert!(page.contains(words), "{words} in {page}");
    }
}

#[test]
fn wrong_usage_says_what_would_be_right() {
    let place = place(None);
    for (arguments, code, words) in [
        (&["limits"][..], 2, "Usage: "),
        (&["limits", "unlock"], 2, "NUMBER|HASH|ID"),
        (&["limits", "unlock", "12"], 2, "write the number as +14255551212"),
        (&["limits", "unlock", UNKNOWN_CALL], 1, "no call 6f9619ff"),
    ] {
        let ran = place.run(arguments).exits(code);
        assert!(ran.stderr.contains(words), "{arguments:?}: {words} in {}", ran.stderr);
    }
    let mut memory = config(None);
    memory["store"] = json!({ "type": "memory" });
    place.configure(&memory);
    let ran = place.run(&["limits", "list", "--json"]).exits(2);
    assert!(ran.record("error")["text"].as_str().unwrap().contains("store.type is memory"), "{}", ran.stdout);
    let absent = Place::with(&config(None));
    let ran = absent.run(&["limits", "list"]).exits(1);
    assert!(ran.stderr.contains("calls.db does not exist"), "{}", ran.stderr);
}

#[test]
fn help_says_when_a_number_is_locked_and_what_to_ask() {
    let place = Place::empty();
    for (arguments, words) in [
        (&["--help"][..], &["limits   Lists locked numbers"][..]),
        (
            &["limits", "--help"],
            &["limits.denials", "ask the user", "Examples:", "phonegate-tool.log", "1009", "Exit codes:"],
        ),
        (&["limits", "list", "--help"], &["locks (how many in a row", "no cap", "ten minutes longer"]),
        (&["limits", "unlock", "--help"], &["NUMBER|HASH|ID", "was_locked", "Exit codes:"]),
        (&["calls", "--help"], &["limit     of a call that a limit refused", "locked_until"]),
        (&["blocks", "add", "--help"], &["--only-this-number", "scope", "kept"]),
    ] {
        let ran = place.run(arguments).exits(0);
        for word in words {
            assert!(ran.stdout.contains(word), "{word} in {arguments:?}:\n{}", ran.stdout);
        }
    }
}
