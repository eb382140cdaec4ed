//! Calls, blocks and locks of a store after `privacy.number_key` is set or changed.

mod support;

use serde_json::{Value, json};
use support::{HIDDEN, NUMBER, Place, kept};

const ONE: &str = "not-a-real-number-key-0123456789abcdef";
const TWO: &str = "not-a-real-number-key-fedcba9876543210";

fn with_keys(privacy: Value) -> Value {
    let mut config = kept(None);
    config["privacy"] = privacy;
    config
}

fn refused(place: &Place) -> Value {
    place.run(&["call", "--store", "--json", NUMBER]).exits(1).record("failed")["reason"].clone()
}

#[test]
fn calls_and_blocks_of_a_number_are_found_by_every_number_key() {
    let place = Place::with(&kept(None));
    place.run(&["call", "--store", NUMBER]).exits(0);
    place.run(&["blocks", "add", NUMBER, "--reason", "left"]).exits(0);

    // A key is set: the block list stays in force, and a new block replaces the old one.
    place.configure(&with_keys(json!({ "number_key": ONE })));
    let added = place.run(&["blocks", "add", NUMBER, "--reason", "again", "--json"]).exits(0);
    assert_eq!(added.record("replaced")["reason"], "left");
    assert_eq!(place.run(&["blocks", "list", "--json"]).exits(0).records().len(), 1);
    assert_eq!(place.run(&["calls", "--number", NUMBER, "--json"]).exits(0).records().len(), 1);
    assert_eq!(refused(&place), "Blocked");
    assert_eq!(place.run(&["calls", "--number", NUMBER, "--json"]).exits(0).records().len(), 2);

    // The key is changed.
    place.configure(&with_keys(json!({ "number_key": TWO, "other_number_keys": [ONE] })));
    let ran = place.run(&["blocks", "remove", NUMBER]).exits(0);
    assert!(ran.stdout.contains("is no longer on the block list"), "{}", ran.stdout);
    place.run(&["blocks", "remove", NUMBER]).exits(1);
    place.run(&["call", "--store", NUMBER]).exits(0);
    let calls = place.run(&["calls", "--number", NUMBER, "--json"]).exits(0);
    assert_eq!(calls.records().len(), 3);
    assert!(![HIDDEN, ONE, TWO].iter().any(|secret| calls.all().contains(secret)), "{}", calls.all());
}

#[test]
fn a_block_of_the_other_scope_holds_after_a_change_of_the_key() {
    let place = Place::with(&kept(None));
    place.run(&["blocks", "add", NUMBER, "--only-this-number", "--reason", "fraud"]).exits(0);
    place.configure(&with_keys(json!({ "number_key": ONE })));
    let ran = place.run(&["blocks", "add", NUMBER, "--days", "1", "--json"]).exits(0);
    assert_eq!(ran.record("kept")["reason"], "fraud");
    let listed = place.run(&["blocks", "list", "--json"]).exits(0).records();
    let mut found: Vec<_> = listed.iter().map(|block| (block["scope"].as_str(), block["reason"].as_str())).collect();
    found.sort_unstable();
    assert_eq!(found, [(Some("line"), Some("an administrator blocked it")), (Some("number"), Some("fraud"))]);
    assert!(
        listed.iter().all(|block| block["number_hash"] == listed[0]["number_hash"]),
        "both have the new hash: {listed:?}"
    );
}

#[test]
fn a_lock_is_listed_and_ended_after_a_change_of_the_key() {
    let mut config = kept(Some("5"));
    config["limits"] = json!({ "denials": { "count": 1 } });
    let place = Place::with(&config);
    for number_key in [ONE, TWO] {
        place.configure(&config);
        place.run(&["call", "--store", "--json", NUMBER]).exits(1);
        config["privacy"] = json!({ "number_key": number_key, "other_number_keys": [ONE] });
        place.configure(&config);
        let ran = place.run(&["limits", "list", "--json"]).exits(0);
        assert_eq!(ran.record("lock")["locks"], 1);
        let ran = place.run(&["limits", "unlock", "--json", NUMBER]).exits(0);
        assert_eq!(ran.record("unlocked")["was_locked"], true);
    }
}

#[test]
fn a_block_by_an_old_key_or_an_earlier_call_holds() {
    let place = Place::with(&kept(None));
    place.run(&["call", "--store", NUMBER]).exits(0);
    let call = place.run(&["calls", "--json"]).exits(0).record("call");
    place.configure(&with_keys(json!({ "number_key": ONE })));
    for arguments in [["--call", call["id"].as_str().unwrap()], ["--json", call["number_hash"].as_str().unwrap()]] {
        place.run(&[&["blocks", "add"][..], &arguments].concat()).exits(0);
        assert_eq!(refused(&place), "Blocked");
        place.run(&["blocks", "remove", NUMBER]).exits(0);
    }
    place.run(&["call", "--store", NUMBER]).exits(0);
}

#[test]
fn a_store_with_another_number_key_is_refused() {
    let place = Place::with(&with_keys(json!({ "number_key": ONE })));
    place.run(&["call", "--store", NUMBER]).exits(0);
    for privacy in [json!({}), json!({ "number_key": TWO })] {
        place.configure(&with_keys(privacy));
        for command in
            [&["calls"][..], &["blocks", "list"], &["blocks", "add", NUMBER], &["report", "--html", "r.html"]]
        {
            let ran = place.run(command).exits(1);
            assert!(ran.stderr.contains("hashed with another number key (fingerprint "), "{}", ran.stderr);
            assert!(!ran.all().contains(ONE), "{}", ran.all());
        }
        let ran = place.run(&["check"]).exits(1);
        assert!(ran.stdout.contains("hashed with another number key (fingerprint "), "{}", ran.stdout);
        let ran = place.run(&["call", "--store", NUMBER]).exits(2);
        assert!(ran.stderr.contains("privacy.number_key: does not fit "), "{}", ran.stderr);
    }
}

#[test]
fn check_recommends_a_number_key_if_numbers_are_stored() {
    let recommends = |config: &Value| {
        let place = Place::with(config);
        let (shown, records) = (place.run(&["check"]).exits(0), place.run(&["check", "--json"]).exits(0).records());
        let recommended = records.iter().any(|record| {
            record["event"] == "recommendation" && record["text"].as_str().unwrap().contains("privacy.number_key")
        });
        assert_eq!(shown.stderr.contains("recommended: privacy.number_key"), recommended, "{}", shown.stderr);
        recommended
    };
    assert!(recommends(&kept(None)));
    let keyed = with_keys(json!({ "number_key": ONE, "other_number_keys": [TWO] }));
    assert!(!recommends(&keyed));
    let warned = Place::with(&keyed).run(&["check"]).exits(0).stderr;
    for path in ["privacy.number_key", "privacy.other_number_keys[0]"] {
        assert!(warned.contains(&format!("{path}: the secret is in the configuration in plain text")), "{warned}");
    }
    let mut in_memory = kept(None);
    in_memory["store"] = json!({ "type": "memory" });
    assert!(!recommends(&in_memory), "nothing is kept");
}
