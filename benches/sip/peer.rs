//! The callees: a process of its own, and what it heard.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::crowd::{Arrival, Crowd, Reaction};
use crate::{LISTENS, myself};

pub const ROLE: &str = "callee";

/// The time between two packets, in microseconds.
const PERIOD_US: f64 = 20_000.0;

/// What the callees received from a caller.
#[derive(Default)]
pub struct Heard {
    pub calls: usize,
    pub hung_up: usize,
    pub packets: usize,
    /// Packets whose number is missing.
    pub lost: usize,
    /// How far the time between two packets is from 20 ms, in microseconds: the median, the 99th and 99.9th percentiles,
    /// and the longest.
    pub off: [f64; 4],
    /// The CPU time of the callees.
    pub cpu: Duration,
}

/// The process.
pub struct PeerProcess {
    process: Child,
    commands: ChildStdin,
    said: BufReader<std::process::ChildStdout>,
    pub port: u16,
}

impl PeerProcess {
    pub fn start(talks: bool) -> Self {
        let mut process = myself(ROLE).arg(talks.to_string()).spawn().expect("the callees run");
        let commands = process.stdin.take().expect("a pipe");
        let mut said = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut port = String::new();
        said.read_line(&mut port).expect("they say their port");
        Self { process, commands, said, port: port.trim().parse().expect("a port") }
    }

    /// Ends the process.
    pub fn finish(mut self) -> Heard {
        drop(self.commands);
        let mut text = String::new();
        self.said.read_to_string(&mut text).expect("they say what they heard");
        assert!(self.process.wait().expect("they end").success());
        let said: Value = serde_json::from_str(&text).expect("JSON");
        let number = |value: &Value| value.as_f64().expect("a number");
        Heard {
            calls: number(&said["calls"]) as usize,
            hung_up: number(&said["hung_up"]) as usize,
            packets: number(&said["packets"]) as usize,
            lost: number(&said["lost"]) as usize,
            off: [0, 1, 2, 3].map(|n| number(&said["off"][n])),
            cpu: Duration::from_secs_f64(number(&said["cpu"])),
        }
    }
}

/// The process of the callees.
pub fn run() {
    let talks = std::env::args().nth(2).is_some_and(|talks| talks == "true");
    let crowd = Crowd { reaction: |_| Reaction::PressesAfter(LISTENS), talks, records: true }.start();
    println!("{}", crowd.port);
    // Until the other end closes it.
    let _ = std::io::stdin().read(&mut [0]);
    let seen = crowd.finish();
    let cpu = crate::cpu().as_secs_f64();
    let (off, lost) = pacing(&seen.arrivals);
    println!(
        "{}",
        json!({ "calls": seen.calls, "hung_up": seen.hung_up, "packets": seen.packets, "lost": lost, "off": off, "cpu": cpu })
    );
}

/// How far packets in a row are from 20 ms apart, and how many are missing.
fn pacing(streams: &HashMap<(SocketAddr, u32), Vec<Arrival>>) -> ([f64; 4], u64) {
    let (mut off, mut lost) = (Vec::new(), 0);
    for pair in streams.values().flat_map(|arrivals| arrivals.windows(2)) {
        // What comes out of order is neither lost nor in time.
        let ahead = pair[1].sequence.wrapping_sub(pair[0].sequence).cast_signed();
        lost += u64::try_from(i32::from(ahead) - 1).unwrap_or_default();
        if ahead == 1 {
            off.push((pair[1].at.cast_signed() - pair[0].at.cast_signed()) as f64 / 1e3 - PERIOD_US);
        }
    }
    off.iter_mut().for_each(|off| *off = off.abs());
    off.sort_by(f64::total_cmp);
    let at = |share: f64| off.get((off.len().saturating_sub(1) as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    ([at(0.5), at(0.99), at(0.999), at(1.0)], lost)
}
