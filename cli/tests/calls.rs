//! `phonegate calls`, with calls of `phonegate call --store`.

mod support;

use serde_json::{Value, json};
use support::ports::unused_address;
use support::{HIDDEN, MASKED, NUMBER, Place, Ran, Running, at_a_desk, kept, simulated};

const OTHER: &str = "+1 4255551313x77";

/// A place with three calls: one verified, one denied, and one to another number that was not answered.
fn place() -> Place {
    let place = Place::with(&kept(None));
    place.run(&["call", "--store", NUMBER]).exits(0);
    place.configure(&kept(Some("5")));
    place.run(&["call", "--store", NUMBER]).exits(1);
    place.configure(&kept(Some("no_answer")));
    place.run(&["call", "--store", OTHER]).exits(1);
    place
}

/// Lists calls, and returns the outcome or reason of each.
fn outcomes(place: &Place, arguments: &[&str]) -> Vec<String> {
    let records = place.run(&[&["calls", "--json"], arguments].concat()).exits(0).records();
    let word = |call: &Value| call["reason"].as_str().or(call["outcome"].as_str()).unwrap().to_owned();
    records.iter().map(word).collect()
}

#[test]
fn test_calls_are_stored_and_limited_only_with_store() {
    let mut config = kept(None);
    config["limits"] = json!({ "calls_per_number": 1 });
    config["metrics"] = json!({ "textfile": "phonegate.prom" });
    let place = Place::with_store(&config);
    for _ in 0..2 {
        place.run(&["call", NUMBER]).exits(0);
        place.run(&["check"]).exits(0);
    }
    assert_eq!(place.run(&["calls"]).exits(0).stderr, "No call matches.\n");
    place.run(&["call", "--store", NUMBER]).exits(0);
    let failed = place.run(&["call", "--store", "--json", NUMBER]).exits(1).record("failed");
    assert_eq!(failed["reason"], "Throttled");
    assert_eq!(outcomes(&place, &[]), ["verified", "Throttled"]);
    assert!(!place.path().join("phonegate.prom").exists(), "only the service writes metrics");
    let ran = place.run(&["call", "--demo", "--store", NUMBER]).exits(2);
    assert!(ran.stderr.contains("cannot be used with"), "{}", ran.stderr);
}

#[test]
fn calls_are_filtered_by_time_reason_number_and_id() {
    let place = place();
    assert_eq!(outcomes(&place, &[]), ["verified", "WrongKey", "Unreachable"]);
    assert_eq!(outcomes(&place, &["--reason", "wrongkey"]), ["WrongKey"]);
    assert_eq!(outcomes(&place, &["--limit", "2"]), ["WrongKey", "Unreachable"]);
    assert_eq!(outcomes(&place, &["--since", "1h"]).len(), 3);
    assert_eq!(outcomes(&place, &["--since", "1h ago"]).len(), 3);
    assert_eq!(outcomes(&place, &["--until", "1h"]), [""; 0]);
    for (number, found) in [
        ("(425) 555-1212", &["verified", "WrongKey"][..]),
        ("+1 4255551313", &["Unreachable"]),
        (OTHER, &["Unreachable"]),
        ("+1 4255551313 ext. 78", &[]),
        // A country that is not allowed.
        ("+49 30 901820", &[]),
    ] {
        assert_eq!(outcomes(&place, &["--number", number]), found, "{number}");
    }
    let calls = place.run(&["calls", "--json"]).records();
    let hash = calls[1]["number_hash"].as_str().unwrap();
    assert_eq!(outcomes(&place, &["--number", hash]), ["verified", "WrongKey"]);
    let id = calls[1]["id"].as_str().unwrap();
    assert_eq!(outcomes(&place, &["--id", id]), ["WrongKey"]);
    let started = calls[1]["started"].as_str().unwrap();
    assert_eq!(outcomes(&place, &["--since", started]), ["WrongKey", "Unreachable"]);
    assert_eq!(outcomes(&place, &["--until", started]), ["verified"]);
}

#[test]
fn a_call_is_listed_with_its_times_and_its_number_masked() {
    let place = place();
    let ran = place.run(&["calls"]).exits(0);
    let rows: Vec<Vec<_>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["STARTED", "OUTCOME", "NUMBER", "BACKEND", "ANSWERED", "ENDED", "ID"]);
    assert_eq!(rows.iter().map(|row| row.len()).collect::<Vec<_>>(), [7, 10, 10, 9], "{}", ran.stdout);
    assert_eq!((rows[1][2], rows[1][3], rows[1][4]), ("verified", MASKED, "phone"));
    assert_eq!((rows[3][2], rows[3][3], rows[3][5]), ("Unreachable", "+1******1313x…", "-"));

    let ran = place.run(&["calls", "--json", "--reason", "WrongKey"]).exits(0);
    let call = ran.record("call");
    let keys: Vec<_> = call.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "answered",
        "attempt",
        "backend",
        "code",
        "ended",
        "event",
        "id",
        "node",
        "number",
        "number_hash",
        "outcome",
        "placed",
        "reason",
        "ringing",
        "started",
        "text",
    ];
    assert_eq!(keys, expected);
    let times = ["started", "placed", "ringing", "answered", "ended"].map(|time| call[time].as_str().unwrap());
    assert!(times.is_sorted(), "{call}");
    assert_eq!((&call["number"], &call["code"], &call["outcome"]), (&json!(MASKED), &json!(12), &json!("failed")));

    let all = place.run(&["calls", "--csv"]).exits(0);
    let mut csv = csv::Reader::from_reader(all.stdout.as_bytes());
    assert_eq!(csv.headers().unwrap().len(), 19);
    let rows: Vec<std::collections::HashMap<String, String>> = csv.deserialize().map(Result::unwrap).collect();
    assert_eq!(rows.iter().map(|row| &*row["outcome"]).collect::<Vec<_>>(), ["verified", "failed", "failed"]);
    assert_eq!((&*rows[1]["id"], &*rows[1]["text"]), (call["id"].as_str().unwrap(), call["text"].as_str().unwrap()));
    assert_eq!(rows[1]["number"], format!("'{MASKED}"), "a spreadsheet would compute what begins with +");
    for shown in [place.run(&["calls"]), ran, all] {
        assert!(!shown.all().contains(HIDDEN), "{}", shown.all());
    }
}

#[test]
fn a_backend_with_a_long_name_stays_in_its_column() {
    let mut config = kept(None);
    let name = "the-trunk-of-the-office-in-München";
    config["use"] = json!([name]);
    config["backends"] = json!({ name: config["backends"]["phone"] });
    let place = Place::with(&config);
    place.run(&["call", "--store", NUMBER]).exits(0);
    place.run(&["call", "--store", "911"]).exits(1);
    let columns_of_ids = |place: &Place| {
        let shown = place.run(&["calls"]).exits(0).stdout;
        // Each line ends with an id, but the header.
        let at: Vec<_> = shown.lines().skip(1).map(|line| line.chars().count() - 36).collect();
        (shown, at)
    };
    let (shown, at) = columns_of_ids(&place);
    assert!(shown.contains(name) && at.len() == 2 && at[0] == at[1], "{shown}");
    // The backend of the call is no longer configured.
    place.configure(&kept(None));
    let (shown, at) = columns_of_ids(&place);
    assert!(shown.contains("  the-trunk…  ") && at[0] == at[1], "{shown}");
}

#[test]
fn a_full_disk_exits_with_1_and_says_why() {
    let place = place();
    place.run(&["blocks", "add", NUMBER]).exits(0);
    let to = |arguments: &[&str], file: &str| -> Ran {
        let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
        place.command(arguments).stdout(file).output().unwrap().into()
    };
    for arguments in [
        &["calls"][..],
        &["calls", "--json"],
        &["calls", "--csv"],
        &["calls", "--follow"],
        &["blocks", "list"],
        &["blocks", "list", "--json"],
        &["check"],
        &["check", "--json"],
    ] {
        let ran = to(arguments, "/dev/full").exits(1);
        assert!(ran.stderr.contains("error: cannot write to stdout: No space left"), "{arguments:?}: {}", ran.stderr);
        if !arguments.contains(&"--follow") {
            to(arguments, "/dev/null").exits(0);
        }
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let place = place();
    for arguments in [&["calls", "--csv"][..], &["calls", "--json"], &["blocks", "add", NUMBER], &["check", "--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = Ran::from(place.command(arguments).stdout(writer).output().unwrap()).exits(0);
        assert!(!ran.stderr.contains("error"), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn a_store_that_is_down_is_not_blamed_on_the_provider() {
    let mut config = kept(None);
    config["store"] = json!({ "type": "redis", "url": format!("redis://{}", unused_address()) });
    let place = Place::with(&config);
    let ran = place.run(&["call", "--store", "--json", NUMBER]).exits(1);
    assert_eq!(ran.record("failed")["reason"], "CannotPlace");
    let records = ran.records();
    let last = records.last().unwrap();
    assert_eq!(last["event"], "warning", "{}", ran.stdout);
    let text = last["text"].as_str().unwrap();
    assert!(text.contains("the store did not write the record of this call in time"), "{text}");
}

#[test]
fn an_unusable_store_exits_with_1_and_a_hint() {
    let verbs = [&["calls"][..], &["blocks", "list"], &["call", "--store", NUMBER], &["check"]];
    let place = Place::with(&kept(None));
    let path = |path: &str| {
        let mut config = kept(None);
        config["store"]["path"] = json!(path);
        config
    };
    std::fs::write(place.path().join("calls.db"), "no database").unwrap();
    std::fs::create_dir(place.path().join("folder")).unwrap();
    for (store, words) in [
        ("calls.db", "docs/store.md"),
        // For SQLite, a folder gives the same error as a file without permission.
        ("folder", "run this as an administrator"),
        ("phonegate.json/calls.db", "phonegate.json is not a folder; name a file in one"),
        ("/proc/nope/calls.db", "run this as an administrator, or name another folder"),
    ] {
        place.configure(&path(store));
        for verb in verbs {
            let ran = place.run(verb).exits(1);
            assert!(ran.all().contains(words) && ran.all().contains("store.path"), "{verb:?} {store}:\n{}", ran.all());
        }
    }
}

#[test]
fn whole_numbers_are_shown_only_with_full_numbers() {
    let mut config = kept(None);
    config["audit"] = json!({ "full_numbers": true });
    let place = Place::with(&config);
    place.run(&["call", "--store", OTHER]).exits(0);
    assert_eq!(place.run(&["calls", "--json"]).record("call")["full_number"], "+14255551313x77");
    assert!(place.run(&["calls", "--csv"]).stdout.contains(",'+14255551313x77,"));
    assert!(!place.run(&["calls"]).stdout.contains("555131"));
}

#[test]
fn a_formula_in_a_text_is_not_evaluated() {
    let place = Place::with(&at_a_desk());
    let texts = ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)"];
    for (calls, text) in texts.iter().enumerate() {
        let running = Running::start(&mut place.command(&["call", "--store", NUMBER]));
        place.rings(calls + 1);
        place.answer(&format!("2;{text}"));
        running.wait().exits(1);
    }
    let csv = place.run(&["calls", "--csv"]).exits(0).stdout;
    let mut csv = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<std::collections::HashMap<String, String>> = csv.deserialize().map(Result::unwrap).collect();
    let shown: Vec<_> = rows.iter().map(|row| &*row["text"]).collect();
    assert_eq!(shown, texts.map(|text| format!("'{text}")));
    for row in &rows {
        let computed = |field: &str| field.starts_with(['=', '+', '-', '@', '\t', '\r']);
        assert!(!row.values().any(|field| computed(field)), "no field of {row:?} may be computed");
    }
    let records = place.run(&["calls", "--json"]).exits(0).records();
    let shown: Vec<_> = records.iter().map(|record| [&record["text"], &record["number"]]).collect();
    assert_eq!(json!(shown), json!(texts.map(|text| [text, MASKED])), "JSON is for programs");
}

#[test]
fn a_closed_pipe_ends_follow() {
    let place = place();
    let mut following = Running::start(&mut place.command(&["calls", "--follow"]));
    following.close_stdout();
    following.wait().exits(0);
}

#[test]
fn the_list_says_that_there_are_more_calls() {
    let place = Place::with(&kept(None));
    let mut config = kept(None);
    config["limits"] = json!({ "calls_per_number": 1 });
    place.configure(&config);
    for _ in 0..101 {
        place.run(&["call", "--store", NUMBER]);
    }
    let ran = place.run(&["calls"]).exits(0);
    assert_eq!(ran.stdout.lines().count(), 101, "the header, and 100 calls");
    assert!(ran.stderr.contains("the last 100; --limit N shows more"), "{}", ran.stderr);
    assert_eq!(outcomes(&place, &[]).len(), 101);
    assert_eq!(place.run(&["calls", "--limit", "200"]).exits(0).stderr, "");
}

#[test]
fn each_mistake_is_answered_with_what_to_do() {
    let place = Place::with_store(&kept(None));
    for (arguments, code, words) in [
        (&["calls", "--since", "yesterday"][..], 2, "write a duration, such as 2h or 7d"),
        (&["calls", "--reason", "WrongKy"], 2, "WrongKey"),
        (&["calls", "--number", "911"], 2, "write the number as +14255551212"),
        (&["calls", "--id", "12"], 2, "not a GUID"),
        (&["calls", "--since", "1h", "--until", "2h"], 2, "--until must be later than --since"),
        (&["calls", "--json", "--csv"], 2, "--json cannot be used with --csv"),
        (&["--json", "calls", "list", "--csv"], 2, "--json cannot be used with --csv"),
        (&["calls", "show"], 2, "Usage: "),
        (&["calls", "show", "6f9619ff-8b86-d011-b42d-00c04fc964ff"], 1, "audit.keep_days"),
    ] {
        let ran = place.run(arguments).exits(code);
        assert!(ran.stderr.contains(words), "{arguments:?}: {words} in {}", ran.stderr);
    }
    let mut config = simulated(None, 0);
    config["store"] = json!({ "type": "memory" });
    place.configure(&config);
    let ran = place.run(&["calls", "--json"]).exits(2);
    let error = ran.record("error");
    assert!(error["text"].as_str().unwrap().contains("phonegate.json: store.type is memory"), "{error}");
    assert!(error["hints"][0].as_str().unwrap().contains("\"sqlite\""), "{error}");
    let ran = place.run(&["call", "--store", "--json", NUMBER]).exits(2);
    assert_eq!(ran.record("error"), error, "the call could not be stored");
    std::fs::write(place.path().join("calls.db"), "no database").unwrap();
    place.configure(&kept(None));
    let ran = place.run(&["calls"]).exits(1);
    assert!(ran.stderr.contains("store.path") && ran.stderr.contains("calls.db"), "{}", ran.stderr);
}

#[test]
fn help_teaches_examples_fields_and_exit_codes() {
    let place = Place::empty();
    for (arguments, words) in [
        (
            &["--help"][..],
            &["phonegate calls --since 2h", "phonegate report --html", "event (error), kind", "`hint: TEXT`"][..],
        ),
        (&["calls", "--help"], &["Examples:", "--follow", "full_number", "Exit codes:", "NoKeyPressed", "130"]),
        (&["calls", "--help"], &["NUMBER|HASH|ID", "--json", "warnings and errors included"]),
        (&["calls", "show", "--help"], &["Example:", "backend", "warnings and errors included", "Exit codes:"]),
        (&["blocks", "--help"], &["Examples:", "blocks add --call", "fraud.block_for_days", "Exit codes:"]),
        (&["blocks", "--help"], &["--replace", "phonegate-tool.log", "anyone can find the number of a hash"]),
        (
            &["blocks", "add", "--help"],
            &["--replace", "replaced", "--days", "forever", "until", "NUMBER|HASH", "warnings and errors included"],
        ),
        (&["report", "--help"], &["warnings and errors included", "Examples:", "--since 2026-03-01", "Exit codes:"]),
        (&["call", "--help"], &["--store"]),
    ] {
        let ran = place.run(arguments).exits(0);
        for word in words {
            assert!(ran.stdout.contains(word), "{word} in {arguments:?}:\n{}", ran.stdout);
        }
    }
}

#[test]
fn options_of_list_and_show_are_written_after_the_verb() {
    let place = Place::with_store(&kept(None));
    place.run(&["call", "--store", NUMBER]).exits(0);
    for arguments in [["calls", "--json", "list"], ["calls", "list", "--json"], ["--json", "calls", "list"]] {
        place.run(&arguments).exits(0).record("call");
    }
    let ran = place.run(&["calls", "--csv", "list"]).exits(2);
    assert!(ran.stderr.contains("after `list` or `show`"), "{}", ran.stderr);
}
