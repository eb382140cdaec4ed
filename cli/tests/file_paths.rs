//! Paths in the configuration: mistyped, of missing files, or absent.

mod support;

use std::fs;

use serde_json::{Value, json};
use support::ports::unused_address;
use support::{NUMBER, Place, kept, simulated};

#[test]
fn reading_commands_create_no_store() {
    let place = Place::with(&kept(None));
    let id = "6f9619ff-8b86-d011-b42d-00c04fc964ff";
    for verb in [
        &["calls"][..],
        &["calls", "--follow"],
        &["calls", "show", id],
        &["report", "--html", "report.html"],
        &["blocks", "list"],
        &["blocks", "remove", NUMBER],
        &["blocks", "add", "--call", id],
        &["backup", "copy.db"],
    ] {
        let ran = place.run(verb).exits(1);
        for words in ["calls.db", "no call has been placed yet", "`store.path` is mistyped"] {
            assert!(ran.stderr.contains(words), "{verb:?}: {words} in {}", ran.stderr);
        }
    }
    let store = place.run(&["check", "--json"]).exits(0).record("store");
    assert!(store["text"].as_str().unwrap().contains("calls.db does not exist yet"), "{store}");
    let names: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| *name == "phonegate.json" || *name == "state"), "{names:?}");
}

#[test]
fn a_block_in_a_new_store_is_a_warning() {
    let place = Place::with(&kept(None));
    let ran = place.run(&["blocks", "add", NUMBER, "--json"]).exits(0);
    let warning = ran.record("warning")["text"].as_str().unwrap().to_owned();
    assert!(warning.contains("calls.db") && warning.contains("a new, empty store was created there"), "{warning}");
    assert_eq!(place.run(&["blocks", "add", NUMBER]).exits(0).stderr, "", "it is there now");
    place.run(&["blocks", "list", "--json"]).exits(0).record("block");
}

#[test]
fn a_bad_path_of_the_metrics_file_is_reported() {
    let mut config = simulated(None, 0);
    config["metrics"] = json!({ "textfile": "phonegate.prom" });
    let place = Place::with(&config);
    fs::create_dir(place.path().join("phonegate.prom")).unwrap();
    for verb in [&["check"][..], &["doctor"]] {
        let ran = place.run(verb);
        assert!(ran.all().contains("phonegate.prom is a folder; name a file in it"), "{verb:?}: {}", ran.all());
    }
    config["metrics"] = json!({ "textfile": "metrics/.prom" });
    place.configure(&config);
    let ran = place.run(&["check"]).exits(2);
    let words = "metrics.textfile: `metrics/.prom` has nothing before .prom; name a file such as phonegate.prom";
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
}

#[test]
fn an_address_without_a_password_is_no_secret() {
    let place = Place::with(&kept(None));
    let warns = |url: String| {
        let mut config = kept(None);
        config["store"] = json!({ "type": "redis", "url": url });
        place.configure(&config);
        let warnings = place.run(&["check", "--json"]).exits(1).records();
        let is_about_it =
            |record: &Value| record["event"] == "warning" && record["text"].to_string().contains("store.url");
        warnings.iter().any(is_about_it)
    };
    assert!(!warns(format!("redis://{}/2", unused_address())));
    assert!(warns(format!("redis://:secret@{}", unused_address())));
}
