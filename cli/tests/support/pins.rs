//! Sets and lists PINs with the command, and checks that it shows none.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use phonegate::admission::Admission;
use phonegate::approval::pins::{Pepper, PinChecker, number_hashes};
use phonegate::call::PhoneNumber;
use phonegate::config;
use phonegate::store::{PinLimits, SqliteStore};
use serde_json::{Value, json};

use crate::support::{HIDDEN, Place, Ran, kept};

pub const PEPPER: &str = "not-a-real-pepper-0123456789abcdef";
pub const OTHER_PEPPER: &str = "not-a-real-pepper-fedcba9876543210";
pub const PIN: &str = "739104";
pub const OTHER: &str = "+1 4255551313x77";

/// A store, and the pepper of its PINs.
pub fn with_pepper(pepper: &str) -> Value {
    let mut config = kept(None);
    config["approval"] = json!({ "pin": { "pepper": pepper } });
    config
}

pub fn place() -> Place {
    Place::with_store(&with_pepper(PEPPER))
}

/// Runs the command with this text on standard input.
pub fn with_stdin(place: &Place, arguments: &[&str], text: &str) -> Ran {
    let mut child = place.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
    // A command that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    child.wait_with_output().unwrap().into()
}

/// Sets the PIN of a number from standard input.
pub fn set(place: &Place, number: &str) -> Ran {
    hides_pins(with_stdin(place, &["pins", "set", number, "--pin-stdin", "--json"], PIN)).exits(0)
}

pub fn file(place: &Place, text: &str) -> PathBuf {
    let file = place.path().join("pins.csv");
    std::fs::write(&file, text).unwrap();
    file
}

pub fn import(place: &Place, text: &str, arguments: &[&str]) -> Ran {
    let file = file(place, text);
    hides_pins(place.run(&[&["pins", "import", file.to_str().unwrap()], arguments].concat()))
}

pub fn list(place: &Place) -> Vec<Value> {
    hides_pins(place.run(&["pins", "list", "--json"])).exits(0).records()
}

/// No PIN of these tests, no hash, no pepper and no whole number is shown.
#[track_caller]
pub fn hides_pins(ran: Ran) -> Ran {
    is_clean(&ran.all());
    ran
}

#[track_caller]
pub fn is_clean(text: &str) {
    for secret in [PIN, "862057", "argon2", PEPPER, OTHER_PEPPER, HIDDEN, "555131"] {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
}

/// The lines of the tool's log about this event.
pub fn logged(place: &Place, event: &str) -> Vec<Value> {
    let lines: Vec<Value> = place.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.into_iter().filter(|line| line["event"] == event).collect()
}

/// Counts this many wrong PINs of a number, as calls do.
pub fn guess_wrong(place: &Place, number: &str, count: u32) {
    let config = config::load(&place.config(), &phonegate::TYPES).unwrap();
    let number: PhoneNumber = Admission::new(&config.config.numbers).unwrap().read(number).unwrap();
    let store = Arc::new(SqliteStore::open(&place.path().join("calls.db")).unwrap());
    let pepper = Pepper::new(&PEPPER.into()).map_err(|short| short.chars).unwrap();
    let limits: PinLimits = config.config.approval.pin.limits();
    let checker = PinChecker::new(store, pepper, limits);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for _ in 0..count {
        runtime.block_on(checker.count_failure(&number_hashes(&number)));
    }
}
