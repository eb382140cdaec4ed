//! A deadline holds whatever happens to the clocks. libfaketime moves the wall clock of a process, and `support/sleep.c`
//! makes its machine seem to have slept.

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

/// A process with one call in progress, whose clocks can be moved.
struct Caller {
    folder: TempDir,
    process: Child,
}

impl Caller {
    /// Starts a call with this deadline, and returns when it rings.
    fn start(deadline_s: u64) -> (Self, impl Iterator<Item = String>) {
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "use": ["demo"],
            "allow_test_backends": true,
            "backends": { "demo": { "type": "simulated", "answer_after_ms": 600_000 } },
            "numbers": { "default_country": "US" },
            "call": { "deadline_s": deadline_s, "status_wait_ms": 0 },
            "store": { "path": "calls.db" },
            "log": { "directory": "log" },
        });
        std::fs::write(folder.path().join("phonegate.json"), config.to_string()).unwrap();
        std::fs::write(folder.path().join("clock"), "+0").unwrap();
        let faketime = support::shared_library("faketime/libfaketimeMT.so.1", "faketime");
        let preload = format!("{}:{}", sleep_library(folder.path()).display(), faketime.display());
        let process = Command::new(support::place_call())
            .args([support::built_library().as_os_str(), "+1 4255551212".as_ref()])
            .env("PHONEGATE_CONFIG", folder.path().join("phonegate.json"))
            .env("LD_PRELOAD", preload)
            .env("SLEPT", folder.path().join("slept"))
            .env("FAKETIME_TIMESTAMP_FILE", folder.path().join("clock"))
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut caller = Self { folder, process };
        let mut lines = BufReader::new(caller.process.stdout.take().unwrap()).lines().map(Result::unwrap);
        lines.find(|line| line.contains(r#""event":"ringing""#)).expect("the call rings");
        (caller, lines)
    }

    fn set_clock(&self, offset: &str) {
        std::fs::write(self.folder.path().join("clock"), offset).unwrap();
    }

    fn sleep(&self, seconds: u32) {
        std::fs::write(self.folder.path().join("slept"), seconds.to_string()).unwrap();
    }
}

fn sleep_library(folder: &Path) -> PathBuf {
    let library = folder.join("sleep.so");
    let mut gcc = support::tool("gcc", "gcc");
    gcc.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(support::project_folder().join("tests/support/sleep.c"));
    assert!(gcc.arg("-ldl").status().unwrap().success());
    library
}

impl Drop for Caller {
    fn drop(&mut self) {
        // The process has usually exited already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// As after a sleep of the machine, in which the monotonic clock did not advance.
#[test]
fn a_wall_clock_that_leaps_ahead_ends_the_call() {
    let (caller, mut lines) = Caller::start(600);
    caller.set_clock("+1h");
    let failed = lines.find(|line| line.contains(r#""event":"failed""#)).expect("the call fails");
    assert!(failed.contains(r#""reason":"DeadlinePassed""#), "{failed}");
    let line: serde_json::Value = serde_json::from_str(failed.trim()).unwrap();
    assert!(line["ms"].as_u64().unwrap() >= 3_600_000, "{failed}");
}

#[test]
fn a_wall_clock_that_is_set_back_does_not_stretch_the_deadline() {
    let (caller, mut lines) = Caller::start(3);
    caller.set_clock("-1h");
    let failed = lines.find(|line| line.contains(r#""event":"failed""#)).expect("the call fails");
    assert!(failed.contains(r#""reason":"DeadlinePassed""#), "{failed}");
}

/// The monotonic clock does not advance in a sleep, and the wall clock is still behind after it.
#[test]
fn a_sleep_counts_after_the_wall_clock_was_set_back() {
    let (caller, mut lines) = Caller::start(120);
    caller.set_clock("-10h");
    caller.sleep(3600);
    let failed = lines.find(|line| line.contains(r#""event":"failed""#)).expect("the call fails");
    assert!(failed.contains(r#""reason":"DeadlinePassed""#), "{failed}");
    let line: serde_json::Value = serde_json::from_str(failed.trim()).unwrap();
    assert!(line["ms"].as_u64().unwrap() >= 3_600_000, "{failed}");
}

/// The formats of dates that programs exchange have four digits for the year.
#[test]
fn a_wall_clock_after_the_year_9999_ends_no_host() {
    let (mut caller, mut lines) = Caller::start(600);
    caller.set_clock("+8000y");
    let failed = lines.find(|line| line.contains(r#""event":"failed""#)).expect("the call fails");
    assert!(failed.contains(r#""reason":"DeadlinePassed""#), "{failed}");
    assert!(failed.contains(r#""time":"9999-12-31T23:59:59Z""#), "{failed}");
    assert!(lines.any(|line| line.contains(r#""event":"ended""#)), "the gate ends");
    assert_eq!(caller.process.wait().unwrap().code(), Some(1), "the host ends by itself");
}
