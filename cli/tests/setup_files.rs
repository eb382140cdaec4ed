//! `phonegate setup` and the file that it writes: what is there already, and what cannot be written.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::terminal::Terminal;
use support::{Place, Ran};

/// Options that answer every question.
const EXEC: [&str; 7] = ["setup", "--has", "exec", "--program", "/bin/sh", "--default-country", "US"];

fn setup(place: &Place, options: &[&str]) -> Ran {
    place.run(&[&EXEC, options].concat())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Whatever the file has, its number keys are unknown.
#[test]
fn a_link_to_a_missing_file_is_never_replaced() {
    for force in [&[][..], &["--force"], &["--force", "--number-key-file", "key.txt"]] {
        let place = Place::empty();
        symlink("missing.json", place.config()).unwrap();
        let ran = setup(&place, force).exits(2);
        assert!(
            ran.stderr.contains("phonegate.json is a link to missing.json, which does not exist"),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains("remove the link") && !ran.stderr.contains("--force"), "{}", ran.stderr);
        assert_eq!(names(place.path()), ["phonegate.json"]);
    }
}

#[test]
fn only_a_file_is_replaced() {
    let place = Place::empty();
    fs::create_dir(place.path().join("folder")).unwrap();
    let made = Command::new("mkfifo").arg(place.path().join("pipe")).status();
    assert!(made.expect("this test needs mkfifo: apt-get install coreutils").success());
    fs::write(place.path().join("key.txt"), "not-a-real-number-key-0123456789abcdef").unwrap();
    for (name, expected) in [("folder", "folder is a folder"), ("pipe", "pipe is not a regular file")] {
        for force in [&[][..], &["--force", "--number-key-file", "key.txt"]] {
            let ran = setup(&place, &[force, &["--config", name]].concat()).exits(2);
            assert!(ran.stderr.contains(expected) && !ran.stderr.contains("--force"), "{}", ran.stderr);
        }
    }
    assert_eq!(names(place.path()), ["folder", "key.txt", "pipe"]);
}

#[test]
fn a_folder_that_is_read_only_is_named_before_a_question() {
    let place = Place::empty();
    // No user can create a file there.
    let options = ["setup", "--config", "/proc/phonegate.json"];
    let terminal = Terminal::run(place.command(&options).env("TERM", "xterm"));
    let (code, shown) = terminal.ends();
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("cannot create files in /proc") && !shown.contains("company"), "{shown}");
}

/// A configuration cannot be that long, but another file can have its name.
#[test]
fn a_file_that_is_too_long_is_not_replaced() {
    let place = Place::empty();
    fs::File::create(place.config()).unwrap().set_len(1 << 40).unwrap();
    fs::write(place.path().join("key.txt"), "not-a-real-number-key-0123456789abcdef").unwrap();
    for options in [&["--force"][..], &["--force", "--number-key-file", "key.txt"]] {
        let ran = setup(&place, options);
        assert!(ran.code != 0 && ran.stderr.contains("is longer than 1048576 bytes"), "{}", ran.stderr);
    }
    assert_eq!(names(place.path()), ["key.txt", "phonegate.json"]);
}

#[test]
fn a_secret_that_cannot_be_used_is_refused_before_anything_is_written() {
    let place = Place::empty();
    let example: Value = serde_json::from_str(include_str!("../../examples/http.json")).unwrap();
    let mut service = example["backends"]["web"].clone();
    for (secret, expected) in [
        (json!({ "file": "missing.txt" }), "auth.bearer: "),
        (json!({ "dpapi": "AAAA" }), "auth.bearer: cannot be opened here"),
        (json!("ключ"), "auth.bearer: has characters that a header cannot contain"),
    ] {
        service["auth"] = json!({ "bearer": secret });
        fs::write(place.path().join("service.json"), service.to_string()).unwrap();
        let options = ["setup", "--has", "http", "--service-file", "service.json", "--default-country", "US"];
        let ran = place.run(&options).exits(2);
        assert!(ran.stderr.contains(expected) && !ran.stderr.contains("ключ"), "{}", ran.stderr);
        assert_eq!(names(place.path()), ["service.json"]);
    }
    // Too long for digest authentication.
    fs::write(place.path().join("password.txt"), "s".repeat(4096)).unwrap();
    let options = ["setup", "--has", "sip", "--trunk", "192.0.2.1", "--transport", "udp", "--username", "mim"];
    let ran =
        place.run(&[&options[..], &["--secret-file", "password.txt", "--default-country", "US"]].concat()).exits(2);
    assert!(ran.stderr.contains("--has sip: password: "), "{}", ran.stderr);
    assert_eq!(names(place.path()), ["password.txt", "service.json"]);
}
