//! Measures a thousand concurrent calls over a SIP trunk: their cost, and how evenly their packets are spaced, compared
//! with sipp as the caller.
//!
//! The caller is a process of its own, and so are the callees; each is on the same machine. `make bench` runs it and
//! prints its table. The library is target/release/libphonegate.so, or what PHONEGATE_LIBRARY names.

mod gate;
mod peer;
mod sipp;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use peer::{Heard, PeerProcess};

/// Calls at once.
const CALLS: usize = 1_000;

/// How long each callee listens before it presses a key.
const LISTENS: Duration = Duration::from_secs(12);

/// The results of one caller, and its cost.
struct Run {
    verified: usize,
    seconds: f64,
    /// The CPU time of the caller, from the first call on.
    cpu: Duration,
    /// Resident memory that was added for each call, in bytes.
    memory: Option<usize>,
    heard: Heard,
}

fn main() {
    let role = std::env::args().nth(1).unwrap_or_default();
    match role.as_str() {
        gate::ROLE => return gate::run(),
        peer::ROLE => return peer::run(),
        _ => {}
    }
    for talks in [false, true] {
        let peer = PeerProcess::start(talks);
        let ours = gate::place(peer.port);
        let ours = Run { heard: peer.finish(), ..ours };
        let peer = PeerProcess::start(talks);
        let theirs = sipp::place(peer.port, ours.heard.packets / ours.heard.hung_up.max(1));
        let theirs = Run { heard: peer.finish(), ..theirs };
        print(talks, &ours, &theirs);
    }
}

fn print(talks: bool, ours: &Run, theirs: &Run) {
    let how = if talks { "that also sends audio" } else { "that only listens" };
    println!("{CALLS} calls at once to a callee {how}: answered, spoken to for {} s, #, BYE", LISTENS.as_secs());
    println!("{:<50}{:>12}{:>12}", "", "PhoneGate", sipp::name());
    let row = |label: &str, value: &dyn Fn(&Run) -> String| {
        println!("  {label:<48}{:>12}{:>12}", value(ours), value(theirs));
    };
    let per_call = |run: &Run, cpu: Duration| format!("{:.2}", cpu.as_secs_f64() * 1e3 / run.heard.calls.max(1) as f64);
    row("calls that the callee saw", &|run| run.heard.calls.to_string());
    row("ended by the caller's BYE", &|run| run.heard.hung_up.to_string());
    row("keys lost", &|run| CALLS.saturating_sub(run.verified).to_string());
    row("seconds", &|run| format!("{:.1}", run.seconds));
    row("packets that arrived", &|run| run.heard.packets.to_string());
    row("packets lost", &|run| run.heard.lost.to_string());
    row("CPU of the caller, seconds", &|run| format!("{:.2}", run.cpu.as_secs_f64()));
    row("CPU of the callee, seconds", &|run| format!("{:.2}", run.heard.cpu.as_secs_f64()));
    row("CPU of the caller a call, milliseconds", &|run| per_call(run, run.cpu));
    row("CPU of the caller a packet sent, microseconds", &|run| {
        format!("{:.2}", run.cpu.as_secs_f64() * 1e6 / (run.heard.packets + run.heard.lost).max(1) as f64)
    });
    row("share of one core, per cent", &|run| format!("{:.0}", 100.0 * run.cpu.as_secs_f64() / run.seconds));
    row("resident memory a call, KB", &|run| {
        run.memory.map_or_else(|| "-".to_owned(), |bytes| format!("{:.1}", bytes as f64 / 1024.0))
    });
    println!("  microseconds off the 20 ms between two packets");
    for (label, percentile) in ["median", "99th percentile", "99.9th percentile", "longest"].into_iter().zip(0..) {
        row(&format!("  {label}"), &|run| format!("{:.0}", run.heard.off[percentile]));
    }
    println!();
}

/// The CPU time of this process so far.
fn cpu() -> Duration {
    // SAFETY: all zeroes is a valid rusage, and it is a place for the answer.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    total(&usage)
}

/// User and system time.
fn total(usage: &libc::rusage) -> Duration {
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// This program in another role. It reads commands from its standard input.
fn myself(role: &str) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().expect("the path of this program"));
    command.arg(role).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    command
}
