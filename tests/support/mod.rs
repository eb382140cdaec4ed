//! Helpers that the tests share.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod abi;
pub mod alerts;
pub mod approval;
pub mod attacker;
pub mod backend;
pub mod bad_inputs;
pub mod baresip;
pub mod calls;
pub mod certificate;
pub mod crowd;
pub mod dns;
pub mod flood;
pub mod gate;
pub mod handset;
pub mod host;
pub mod kamailio;
pub mod limits;
pub mod network;
pub mod options;
pub mod page;
pub mod pins;
pub mod pjsua;
pub mod ports;
pub mod process;
pub mod prometheus;
pub mod redis;
pub mod service;
pub mod sip;
pub mod sip_server;
pub mod sipp;
pub mod sipp_log;
pub mod tab;
pub mod tls;
pub mod trunk;
pub mod twilio;
pub mod wine;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Maximum time that a test waits for an event.
pub const EVENT_TIMEOUT: Duration = Duration::from_secs(60);

/// The time between the answer of a call and its first key, in milliseconds. A key is too early in the first second of
/// PhoneGate's prompt, which on a busy machine may begin some hundred milliseconds after its ACK.
pub const UNTIL_ASKED_MS: u32 = 2_200;

/// Presses a key until a call that was just answered has ended. Each prompt is heard for a second before that.
pub fn press_until(mut press: impl FnMut(), has_ended: impl Fn() -> bool) {
    let mut next = Instant::now() + Duration::from_millis(UNTIL_ASKED_MS.into());
    wait_until("the call ends after the key", || {
        if Instant::now() >= next && !has_ended() {
            press();
            next += Duration::from_secs(6);
        }
        has_ended()
    });
}

/// The library as a host gets it, built by `make`: see CONTRIBUTING.md. PHONEGATE_LIBRARY names another one.
pub fn built_library() -> PathBuf {
    let path = match std::env::var_os("PHONEGATE_LIBRARY") {
        Some(path) => PathBuf::from(path),
        None => target_folder().join("debug/libphonegate.so"),
    };
    assert!(path.exists(), "{} does not exist; run `make build` first, as `make test` does", path.display());
    path
}

/// The program of examples/rust, built by `make build`: it places one call through the library.
pub fn place_call() -> PathBuf {
    let path = target_folder().join("debug/place_call");
    assert!(path.exists(), "{} does not exist; run `make build` first, as `make test` does", path.display());
    path
}

/// Returns a library of the system, below the folder of its libraries. If it is missing, fails and says how to install
/// it.
pub fn shared_library(path: &str, debian_package: &str) -> PathBuf {
    let folders = ["/usr/lib", "/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
    let found = folders.iter().map(|folder| Path::new(folder).join(path)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("this test needs {path}: apt-get install {debian_package}"))
}

/// Cargo's target folder.
pub fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from).unwrap_or_else(|| project_folder().join("target"))
}

/// The project's top folder.
pub fn project_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Waits until `condition` holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < EVENT_TIMEOUT, "timed out while waiting until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Returns a program that the tests need. If it is missing, fails and says how to install it.
pub fn tool(program: &str, debian_package: &str) -> Command {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    assert!(found, "this test needs {program}: apt-get install {debian_package}");
    Command::new(program)
}

/// How many bytes this process has read from files so far (Linux).
pub fn bytes_read_by_this_process() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").expect("/proc/self/io shows what this process has read");
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("rchar is in it");
    line.parse().expect("a number")
}
