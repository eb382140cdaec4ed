//! Output that is given to others: it has the ids of calls, by which commands find their numbers, and no keys.

mod support;

use std::path::Path;
use std::time::{Duration, SystemTime};

use phonegate::admission::Admission;
use phonegate::call::{Attempt, CallId};
use phonegate::store::{Begun, CallStore, NewAttempt, Owner, SqliteStore, StoredNumber};
use serde_json::{Value, json};
use support::limits::NO_LIMITS;
use support::{MASKED, NUMBER, Place, kept};
use uuid::Uuid;

const OTHER: &str = "+1 4255551313x77";

fn id(n: u128) -> CallId {
    CallId::new(Uuid::from_u128(n)).unwrap()
}

/// Stores a pending call of a process that is gone, which began this many minutes ago.
fn abandon(file: &Path, n: u128, number: &str, minutes: u64) {
    let numbers = serde_json::from_str(r#"{ "default_country": "US" }"#).unwrap();
    let number = Admission::new(&numbers).unwrap().read(number).unwrap();
    let new = NewAttempt {
        attempt: Attempt { id: id(n), generation: 1 },
        started: SystemTime::now() - Duration::from_secs(60 * minutes),
        deadline: Duration::from_secs(600),
        number: StoredNumber::new(&number, false),
        owner: Owner(Uuid::from_u128(7)),
        node: "MIM01".into(),
    };
    let store = SqliteStore::open(file).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    assert_eq!(runtime.block_on(store.begin(&new, &NO_LIMITS)).unwrap(), Begun::New);
}

#[test]
fn a_call_whose_process_is_gone_is_shown_as_gone() {
    let place = Place::with(&kept(None));
    let file = place.path().join("calls.db");
    abandon(&file, 1, NUMBER, 12);
    abandon(&file, 2, OTHER, 9);
    let states = |arguments: &[&str]| -> Vec<Value> {
        let calls = place.run(arguments).exits(0).records();
        calls.iter().map(|call| call["state"].clone()).collect()
    };
    assert_eq!(states(&["calls", "--json"]), ["gone", "dialling"]);
    let csv = place.run(&["calls", "--csv"]).exits(0).stdout;
    assert!(csv.contains(",pending,gone,") && csv.contains(",pending,dialling,"), "{csv}");
    let listed = place.run(&["calls"]).exits(0).stdout;
    assert!(listed.contains("process is gone") && listed.contains("dialling…"), "{listed}");
    let shown = |n| place.run(&["calls", "show", &id(n).to_string()]).exits(0).stdout;
    assert!(shown(1).contains("It has not ended, and its process is gone."), "{}", shown(1));
    assert!(shown(2).contains("It has not ended yet."), "{}", shown(2));
    let page = place.run(&["report", "--html", "-"]).exits(0).stdout;
    let words = "1 call has not ended: the process is gone, and no other has claimed the call. Does the service run?";
    assert!(page.contains(words) && page.contains(&format!("phonegate calls show {}", id(1))), "{page}");
}

#[test]
fn the_id_of_a_call_identifies_its_number_without_showing_it() {
    let mut config = kept(None);
    config["limits"] = json!({ "calls_per_number": 1 });
    let place = Place::with(&config);
    place.run(&["call", "--store", NUMBER]).exits(0);
    place.run(&["call", "--store", NUMBER]).exits(1);
    place.run(&["call", "--store", OTHER]).exits(0);
    let calls = place.run(&["calls", "--json"]).exits(0).records();
    let (hash, id) = (calls[1]["number_hash"].as_str().unwrap(), calls[1]["id"].as_str().unwrap());
    let page = place.run(&["report", "--html", "-"]).exits(0).stdout;
    let csv = place.run(&["calls", "--csv"]).exits(0).stdout;
    assert!(page.contains(id) && csv.contains(id) && page.contains("phonegate blocks add --call ID"), "{page}");
    assert!(!page.contains(hash) && !csv.contains(hash), "{page}\n{csv}");

    // The commands on the page work.
    let of_number = |number: &[&str]| {
        let calls = place.run(&[&["calls", "--json", "--number"], number].concat()).exits(0).records();
        calls.iter().map(|call| call["number"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of_number(&[id]), [MASKED; 2]);
    assert_eq!(of_number(&["+1", "4255551212"]), [MASKED; 2], "spaces need no quotation marks");
    assert_eq!(of_number(&["+1", "(425)", "555-1212", "--limit", "1"]), [MASKED]);
    let (since, until) = page.split_once("--number ID --since ").unwrap().1.split_once(" --until ").unwrap();
    let until = until.split_once('<').unwrap().0;
    assert_eq!(of_number(&[id, "--since", since, "--until", until]), [MASKED; 2]);
    place.run(&["blocks", "add", "--call", id]).exits(0);
    place.run(&["blocks", "remove", id]).exits(0);

    let unknown = place.run(&["calls", "--number", "6f9619ff-8b86-d011-b42d-00c04fc964ff"]).exits(1);
    assert!(unknown.stderr.contains("no call 6f9619ff"), "{}", unknown.stderr);
    let none = place.run(&["calls", "--limit", "0"]).exits(2);
    assert!(none.stderr.contains("write a number of at least 1"), "{}", none.stderr);
}

#[test]
fn a_spreadsheet_keeps_every_digit_of_attempts_and_numbers() {
    let mut config = kept(None);
    config["audit"] = json!({ "full_numbers": true });
    let place = Place::with(&config);
    place.run(&["call", "--store", NUMBER]).exits(0);
    let attempt = place.run(&["calls", "--json"]).record("call")["attempt"].to_string();
    let csv = place.run(&["calls", "--csv"]).exits(0).stdout;
    assert!(csv.contains(&format!(",'{attempt},")) && csv.contains(",'+14255551212,"), "{csv}");
    let help = place.run(&["calls", "--help"]).exits(0).stdout;
    assert!(help.contains("byte order mark") && help.contains("with an apostrophe"), "{help}");
}
