//! `phonegate calls show` and `--follow`: one call step by step, and calls as they happen.

mod support;

use serde_json::{Value, json};
use support::{MASKED, NUMBER, Place, Running, at_a_desk, kept, tool};

const OTHER: &str = "+1 4255551313x77";

#[test]
fn a_call_is_shown_step_by_step() {
    let mut config = kept(Some("5"));
    config["use"] = json!(["broken", "phone"]);
    config["backends"]["broken"] = json!({ "type": "file", "path": "there/is/no/such/folder.txt" });
    let place = Place::with(&config);
    place.run(&["call", "--store", NUMBER]).exits(1);
    let id = place.run(&["calls", "--json"]).record("call")["id"].as_str().unwrap().to_owned();
    let ran = place.run(&["calls", "show", &id]).exits(0);
    let mut rest = &*ran.stdout;
    for words in [
        &*format!("Call {id}\n"),
        "requested on ",
        &format!("to {MASKED}\n"),
        " s  dialling by broken\n",
        " s  refused by broken: ",
        " s  dialling by phone\n",
        " s  placed by phone\n",
        " s  ringing by phone\n",
        " s  answered by phone\n",
        " s  Failed: ",
        "(WrongKey, code 12)\n",
    ] {
        rest = rest.split_once(words).unwrap_or_else(|| panic!("{words:?} in its place in\n{}", ran.stdout)).1;
    }
    let records = place.run(&["calls", "show", &id, "--json"]).exits(0).records();
    assert_eq!((&records[0]["event"], &records[0]["reason"]), (&json!("call"), &json!("WrongKey")));
    let steps: Vec<_> = records[1..].iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["dialling", "backend_refused", "dialling", "placed", "ringing", "answered", "clean_up"]);
    assert!(records[1..].iter().all(|step| step["ms"].is_u64() && step["at"].is_string()), "{records:?}");
}

#[test]
fn the_judge_of_an_approval_is_shown_if_it_is_known() {
    let place = Place::with(&kept(None));
    place.run(&["call", "--store", NUMBER]).exits(0);
    place.configure(&at_a_desk());
    let desk = Running::start(&mut place.command(&["call", "--store", NUMBER]));
    place.rings(1);
    place.answer("1;");
    desk.wait().exits(0);
    place.configure(&kept(Some("5")));
    place.run(&["call", "--store", NUMBER]).exits(1);

    let shown = |judges: [Option<&str>; 3], sentences: [&str; 2]| {
        let calls = place.run(&["calls", "--json"]).exits(0).records();
        let found: Vec<_> = calls.iter().map(|call| call.get("judged_by").and_then(Value::as_str)).collect();
        assert_eq!(found, judges, "{calls:?}");
        let csv = place.run(&["calls", "--csv"]).exits(0).stdout;
        let rows = csv::Reader::from_reader(csv.as_bytes()).deserialize().map(Result::unwrap).collect::<Vec<_>>();
        let found: Vec<_> =
            rows.iter().map(|row: &std::collections::HashMap<String, String>| &*row["judged_by"]).collect();
        assert_eq!(found, judges.map(Option::unwrap_or_default), "{csv}");
        for (call, sentence) in calls.iter().zip(sentences) {
            let story = place.run(&["calls", "show", call["id"].as_str().unwrap()]).exits(0).stdout;
            assert!(story.contains(&format!("  Verified: the user approved.{sentence}\n")), "{sentence:?} in\n{story}");
        }
    };
    shown([Some("phonegate"), Some("provider"), None], [" Judged by PhoneGate.", " Judged by the provider."]);
    // As an older version wrote it, which did not record the judge.
    let mut sqlite3 = tool("sqlite3", "sqlite3");
    let forgot =
        sqlite3.arg(place.path().join("calls.db")).arg("UPDATE attempts SET judged_by = NULL").status().unwrap();
    assert!(forgot.success());
    shown([None; 3], ["", ""]);
}

#[test]
fn follow_shows_changes_until_ctrl_c() {
    let place = Place::with(&kept(None));
    place.run(&["call", "--store", NUMBER]).exits(0);
    let mut following = Running::start(&mut place.command(&["calls", "--follow", "--json"]));
    let mut failures = Running::start(&mut place.command(&["calls", "--follow", "--reason", "CannotPlace"]));
    following.read_until(r#""outcome":"verified""#);
    place.configure(&at_a_desk());
    let call = Running::start(&mut place.command(&["call", "--store", OTHER]));
    let pending = following.read_until("1313x…");
    assert!(pending.contains(r#""outcome":"pending""#), "{pending}");
    place.rings(1);
    place.answer("2;not me");
    let ended = following.read_until(r#""outcome":"failed""#);
    assert!(ended.contains("CannotPlace") && ended.contains("1313x…"), "{ended}");
    assert!(failures.read_until("CannotPlace").contains("+1******1313x…"));
    call.wait().exits(1);
    following.signal("INT");
    following.wait().exits(130);
    failures.signal("INT");
    failures.wait().exits(130);
}
