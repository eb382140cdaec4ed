//! `phonegate numbers check`.

mod support;

use serde_json::{Value, json};
use support::{HIDDEN, MASKED, NUMBER, Place};

/// A configuration that allows two countries, and needs no store.
fn rules() -> Value {
    json!({
        "use": ["demo"],
        "allow_test_backends": true,
        "backends": { "demo": { "type": "simulated" } },
        "numbers": { "default_country": "US", "allowed_countries": ["US", "NO"] },
    })
}

#[test]
fn each_number_is_shown_as_it_is_read() {
    let place = Place::with(&rules());
    let ran = place.run(&["numbers", "check", NUMBER, "47 22 12 34 56", "+44 20 7946 0958"]).exits(1);
    for words in [MASKED, "US", "fixed_line_or_mobile", "admitted", "InvalidNumber", "can be +1", "GB"] {
        assert!(ran.stdout.contains(words), "{words} in\n{}", ran.stdout);
    }
    assert_eq!(ran.stderr, "3 numbers: 1 admitted, 1 CountryNotAllowed, 1 InvalidNumber.\n");
    assert!(!ran.all().contains(HIDDEN) && !ran.all().contains("7946"), "{}", ran.all());
    place.run(&["numbers", "check", NUMBER]).exits(0);
}

#[test]
fn a_column_of_a_file_is_checked_with_its_lines() {
    let place = Place::with(&rules());
    let users = place.path().join("users.csv");
    let text =
        format!("displayName;msidmPhoneGatePhoneNumber\r\nAnn;{NUMBER}\r\nBob;\r\nEve;+1 900 555 1234\r\nJoe;911\r\n");
    std::fs::write(&users, text).unwrap();
    let users = users.to_str().unwrap();

    let ran = place.run(&["numbers", "check", "--file", users, "--json"]).exits(1);
    let records = ran.records();
    let of = |at: usize| ["row", "number", "country", "type", "result", "reason"].map(|key| records[at][key].clone());
    let expected = json!([2, MASKED, "US", "fixed_line_or_mobile", "admitted", null]);
    assert_eq!(json!(of(0)), expected);
    assert_eq!(json!(of(1)), json!([4, "+1******1234", "US", "premium_rate", "refused", "CountryNotAllowed"]));
    assert_eq!(json!(of(2)), json!([5, null, null, null, "refused", "InvalidNumber"]));
    let summary = json!({
        "event": "summary", "numbers": 3, "admitted": 1, "empty": 1,
        "refused": { "CountryNotAllowed": 1, "InvalidNumber": 1 },
    });
    assert_eq!(records[3], summary);
    assert!(!ran.all().contains(HIDDEN), "{}", ran.all());

    let ran = place.run(&["numbers", "check", "--file", users, "--csv", "--full"]).exits(1);
    let mut csv = csv::Reader::from_reader(ran.stdout.as_bytes());
    let rows: Vec<std::collections::HashMap<String, String>> = csv.deserialize().map(Result::unwrap).collect();
    assert_eq!((&*rows[0]["written"], &*rows[0]["number"]), (&*format!("'{NUMBER}"), "'+14255551212"));
    assert_eq!((&*rows[2]["written"], &*rows[2]["reason"]), ("911", "InvalidNumber"));
}

/// Delhi's area code is 11, so without the country code the number starts with 112.
#[test]
fn a_number_that_no_trunk_dials_is_refused() {
    let trunk = |format: &str| json!({ "type": "sip", "trunk": "sip:sbc.contoso.local", "number_format": format });
    let mut rules = json!({
        "use": ["trunk"],
        "backends": { "trunk": trunk("national"), "other": trunk("e164_plus") },
        "numbers": { "default_country": "IN" },
    });
    let place = Place::with(&rules);
    let ran = place.run(&["numbers", "check", "--json", "+91 11 2345 6789"]).exits(1);
    let record = ran.record("number");
    assert_eq!((&record["result"], &record["reason"]), (&json!("refused"), &json!("CannotPlace")));
    assert!(record["text"].as_str().unwrap().contains("emergency number 112"), "{record}");
    rules["use"] = json!(["trunk", "other"]);
    place.configure(&rules);
    place.run(&["numbers", "check", "+91 11 2345 6789"]).exits(0);

    // The route of the number decides which trunks count.
    for (order, of_route, code) in [("trunk", "other", 0), ("other", "trunk", 1)] {
        rules["use"] = json!([order]);
        rules["routes"] = json!([{ "countries": ["IN"], "use": [of_route] }]);
        place.configure(&rules);
        place.run(&["numbers", "check", "+91 11 2345 6789"]).exits(code);
    }
}

#[test]
fn an_unreadable_file_is_an_error_of_usage_with_a_hint() {
    let place = Place::with(&rules());
    let users = place.path().join("users.csv");
    std::fs::write(&users, "name,mobile\nAnn,+1 4255551212\n").unwrap();
    let users = users.to_str().unwrap();
    let ran = place.run(&["numbers", "check", "--file", users]).exits(2);
    assert!(ran.stderr.contains("the first row names: name, mobile. Choose one by --column NAME"), "{}", ran.stderr);
    place.run(&["numbers", "check", "--file", users, "--column", "Mobile"]).exits(0);
    let ran = place.run(&["numbers", "check", "--file", "nowhere.csv", "--json"]).exits(2);
    assert!(ran.record("error")["text"].as_str().unwrap().contains("nowhere.csv: cannot be read"), "{}", ran.all());
    let ran = place.run(&["numbers", "check", "--column", "mobile", NUMBER]).exits(2);
    assert!(ran.stderr.contains("--file"), "{}", ran.stderr);
}
