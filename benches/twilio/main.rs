//! The memory of ten thousand calls by Twilio that are in flight at once. Prints one table.
//!
//! Another process stands in for Twilio, over TLS, and takes 100 ms for each reply. All of its phones ring until the
//! end.

#[path = "../../tests/support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use phonegate::call::{CallStatus, Progress};
use serde_json::{Value, json};
use support::gate::{TestGate, id};
use support::twilio::{Scenario, Twilio, tls};

const CALLS: u128 = 10_000;

/// The calls that are begun at once.
const BATCH: usize = 200;

/// How long Twilio takes for each reply.
const LATENCY: Duration = Duration::from_millis(100);

/// How long all calls are in flight.
const HELD: Duration = Duration::from_secs(30);

/// The argument of the process that plays Twilio.
const STAND_IN: &str = "stand-in";

fn main() {
    if std::env::args().nth(1).as_deref() == Some(STAND_IN) {
        return play_twilio();
    }
    let mut stand_in = Command::new(std::env::current_exe().expect("this program has a path"))
        .arg(STAND_IN)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the stand-in starts");
    let mut line = String::new();
    BufReader::new(stand_in.stdout.take().expect("it is piped")).read_line(&mut line).expect("it says where it is");
    let printed: Value = serde_json::from_str(&line).expect("the stand-in prints its address as JSON");

    let gate = TestGate::start(json!({
        "use": ["cloud"],
        "backends": { "cloud": printed["backend"] },
        "call": { "deadline_s": 600 },
        "store": { "type": "sqlite", "path": "calls.db" },
        "network": { "proxy": "none", "ca_file": printed["authority"] },
        "log": { "directory": "log" },
    }));
    let before = kilobytes("VmRSS:");
    let start = Instant::now();
    // The calls are not begun all at once: a slow machine would lose some of them.
    let rings = |n| gate.snapshot(id(n)).progress == Some(Progress::Ringing);
    for first in (1..=CALLS).step_by(BATCH) {
        let batch = first..first + BATCH as u128;
        for n in batch.clone() {
            gate.initiate(id(n), &format!("+1 425{}", 2_000_000 + n));
        }
        for n in batch {
            support::wait_until("a call rings", || rings(n) || gate.status(id(n)) == CallStatus::Failed);
        }
    }
    let took = start.elapsed();
    std::thread::sleep(HELD);
    let (now, peak) = (kilobytes("VmRSS:"), kilobytes("VmHWM:"));
    let in_flight = (1..=CALLS).filter(|n| gate.status(id(*n)) == CallStatus::Pending).count();
    drop(stand_in.stdin.take());
    stand_in.wait().expect("it ends");

    println!("calls by Twilio, in flight at once                {in_flight:>8}");
    println!("  seconds until all of them rang                  {:>8.1}", took.as_secs_f64());
    println!("resident memory, in megabytes");
    println!("  before the first call                           {:>8.1}", before as f64 * 0.001024);
    println!("  {} s after all of them rang                     {:>8.1}", HELD.as_secs(), now as f64 * 0.001024);
    println!("  the most                                        {:>8.1}", peak as f64 * 0.001024);
}

/// Prints the address at which it listens, and answers until its input ends.
fn play_twilio() {
    let twilio = Twilio::start();
    twilio.play(Scenario::rings());
    twilio.loaded(LATENCY);
    let (port, authority) = tls::with_tls(&twilio);
    let mut backend = twilio.backend();
    backend["base_url"] = json!(format!("https://localhost:{port}"));
    println!("{}", json!({ "backend": backend, "authority": authority.path() }));
    std::io::stdout().flush().expect("it is read");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// Returns a value from this process's memory statistics (Linux), in units of 1,024 bytes.
fn kilobytes(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc describes this process");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("it is in it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
