//! `phonegate report`. `report_browser.rs` tests the look of its page.

mod support;

use std::fs;
use std::process::Command;

use phonegate::platform::{self, Grant};
use serde_json::json;
use support::{NUMBER, Place, kept, simulated};

#[test]
fn real_calls_are_on_the_page_with_their_numbers_masked() {
    let place = Place::with_store(&kept(None));
    let page = place.path().join("report.html");
    let report = ["report", "--html", "report.html", "--json"];
    let written = place.run(&report).exits(0).record("written");
    assert_eq!(written, json!({ "event": "written", "file": "report.html", "calls": 0, "verified": 0 }));
    assert!(fs::read_to_string(&page).unwrap().contains("There were no calls in this time."));

    place.run(&["call", "--store", NUMBER]).exits(0);
    let mut config = kept(Some("5"));
    config["limits"] = json!({ "calls_per_number": 2 });
    place.configure(&config);
    place.run(&["call", "--store", NUMBER]).exits(1);
    place.run(&["call", "--store", NUMBER]).exits(1);
    let written = place.run(&report).exits(0).record("written");
    assert_eq!((&written["calls"], &written["verified"]), (&json!(3), &json!(1)));
    let page = fs::read_to_string(&page).unwrap();
    for words in ["WrongKey", "Throttled", support::MASKED, "Of 2 that were placed, 50 % were approved."] {
        assert!(page.contains(words), "{words} in {page}");
    }
    assert!(!page.contains(support::HIDDEN), "{page}");
}

#[test]
fn a_backend_that_refuses_every_call_is_on_the_page() {
    let mut config = kept(None);
    config["use"] = json!(["broken"]);
    config["backends"] = json!({ "broken": { "type": "file", "path": "there/is/no/such/folder.txt" } });
    let place = Place::with(&config);
    place.run(&["call", "--store", NUMBER]).exits(1);
    let call = place.run(&["calls", "--json"]).exits(0).record("call");
    assert_eq!(
        (&call["reason"], &call["backend"], &call["placed"]),
        (&json!("CannotPlace"), &json!("broken"), &json!(null))
    );
    place.run(&["report", "--html", "report.html"]).exits(0);
    let page = fs::read_to_string(place.path().join("report.html")).unwrap();
    let row = r#"<th scope="row">broken</th><td class="n">1</td><td class="n">0 %</td><td class="n">100 %</td>"#;
    assert!(page.contains(row) && page.contains("None of them was placed."), "{page}");
}

#[test]
fn a_report_is_private_and_replaces_the_old_one() {
    let place = Place::with_store(&kept(None));
    let page = place.path().join("report.html");
    let link = place.path().join("link.html");
    place.run(&["report", "--html", "report.html"]).exits(0);
    assert_eq!(platform::exposure(&page, Grant::CurrentUser).unwrap().describe(), None);
    fs::write(&page, "the old one").unwrap();
    std::os::unix::fs::symlink("report.html", &link).unwrap();
    place.run(&["report", "--html", "link.html"]).exits(0);
    assert!(link.is_symlink());
    assert!(!page.is_symlink() && fs::read_to_string(&page).unwrap().ends_with("</html>"));
    let names = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = names.filter(|name| name.starts_with(".tmp")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn only_a_regular_file_is_replaced() {
    let place = Place::with_store(&kept(None));
    let made = Command::new("mkfifo").arg(place.path().join("pipe")).status();
    assert!(made.expect("this test needs mkfifo: apt-get install coreutils").success());
    fs::create_dir(place.path().join("folder")).unwrap();
    for (link, to) in [("to-pipe", "pipe"), ("to-nothing", "gone.html")] {
        std::os::unix::fs::symlink(to, place.path().join(link)).unwrap();
    }
    let kinds = || {
        ["pipe", "folder", "to-pipe", "to-nothing"]
            .map(|name| place.path().join(name).symlink_metadata().unwrap().file_type())
    };
    let before = kinds();
    for (target, what) in [
        ("pipe", "pipe is a device or a pipe"),
        ("to-pipe", "to-pipe is a device or a pipe"),
        ("folder", "folder is a folder"),
        ("to-nothing", "to-nothing is a link to a missing file"),
    ] {
        let ran = place.run(&["report", "--html", target]).exits(1);
        assert!(ran.stderr.contains(what) && ran.stderr.contains("name a file, or - for stdout"), "{}", ran.stderr);
    }
    assert_eq!(kinds(), before);
    assert!(!place.path().join("gone.html").exists());
}

#[test]
fn a_dash_is_stdout() {
    let place = Place::with_store(&kept(None));
    let ran = place.run(&["report", "--html", "-"]).exits(0);
    assert!(ran.stdout.starts_with("<!DOCTYPE html>") && ran.stdout.ends_with("</html>"), "{}", ran.stdout);
    let ran = place.run(&["report", "--html", "-", "--json"]).exits(2);
    assert!(ran.stderr.contains("name a file"), "{}", ran.stderr);
    assert!(!place.path().join("-").exists());
}

#[test]
fn a_failed_report_says_why_and_leaves_the_old_one() {
    let place = Place::with_store(&kept(None));
    let ran = place.run(&["report", "--html", "there/is/no/such/folder.html"]).exits(1);
    assert!(ran.stderr.contains("cannot write there/is/no/such/folder.html"), "{}", ran.stderr);
    let ran = place.run(&["report"]).exits(2);
    assert!(ran.stderr.contains("--html <FILE>"), "{}", ran.stderr);
    fs::write(place.path().join("report.html"), "the old one").unwrap();
    for times in [&["--since", "soon"][..], &["--since", "2026-03-02", "--until", "2026-03-01"]] {
        let ran = place.run(&[&["report", "--html", "report.html"], times].concat()).exits(2);
        assert!(ran.stderr.contains("--since"), "{}", ran.stderr);
    }
    let mut config = simulated(None, 0);
    config["store"] = json!({ "type": "memory" });
    place.configure(&config);
    let ran = place.run(&["report", "--html", "report.html"]).exits(2);
    assert!(ran.stderr.contains("store.type is memory"), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(place.path().join("report.html")).unwrap(), "the old one");
}
