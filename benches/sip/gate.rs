//! PhoneGate as the caller: the library in a process of its own, loaded as a host loads it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::peer::Heard;
use crate::support::abi::{Abi, FAILED, PENDING, SUCCESS, fresh_id, fresh_number};
use crate::support::gate::no_limits;
use crate::support::process::{Held, allow_files};
use crate::{CALLS, LISTENS, Run, myself};

pub const ROLE: &str = "gate";

/// Places the calls by a process with the library, and waits for all outcomes.
pub fn place(port: u16) -> Run {
    let built = || crate::support::target_folder().join("release/libphonegate.so");
    let library = std::env::var_os("PHONEGATE_LIBRARY").map_or_else(built, Into::into);
    let output = myself(ROLE)
        .arg(port.to_string())
        .env("PHONEGATE_LIBRARY", library)
        .stderr(std::process::Stdio::inherit())
        .output()
        .expect("the gate runs");
    assert!(output.status.success(), "the gate: {}", output.status);
    let said: Value = serde_json::from_slice(&output.stdout).expect("it says what it did");
    let number = |name: &str| said[name].as_f64().expect("a number");
    Run {
        verified: number("verified") as usize,
        seconds: number("seconds"),
        cpu: Duration::from_secs_f64(number("cpu")),
        memory: Some(number("memory") as usize),
        heard: Heard::default(),
    }
}

/// The process of the gate.
pub fn run() {
    let port = std::env::args().nth(2).expect("the port of the callee");
    allow_files(3 * CALLS + 200);
    let abi = Abi::load(&json!({
        "use": ["trunk"],
        "backends": { "trunk": { "type": "sip", "trunk": format!("sip:127.0.0.1:{port}"), "local_peer": true } },
        "numbers": { "default_country": "US" },
        "limits": no_limits(),
        "store": { "type": "memory" },
        "log": { "directory": "log" },
    }));
    let (started, text) = abi.initialize(None);
    assert_eq!(started, 0, "{text}");
    let ids: Vec<_> = (0..CALLS).map(|_| fresh_id()).collect();
    let (start, cpu, memory) = (Instant::now(), crate::cpu(), Held::now().memory);
    for id in &ids {
        assert_eq!(abi.initiate(Some(&fresh_number()), Some(id), None), PENDING, "{}", abi.message(id));
    }
    // All are answered by then, and none has pressed its key.
    std::thread::sleep((start + LISTENS * 3 / 4).saturating_duration_since(Instant::now()));
    let memory = (Held::now().memory - memory) / CALLS;
    let mut verified = 0;
    for id in &ids {
        while abi.status(Some(id)) == PENDING {
            std::thread::sleep(Duration::from_millis(10));
        }
        match abi.status(Some(id)) {
            SUCCESS => verified += 1,
            FAILED => eprintln!("{}", abi.message(id)),
            _ => {}
        }
    }
    // This ends the calls, after their farewells.
    assert_eq!(abi.shut_down(60_000), 0);
    let cpu = (crate::cpu() - cpu).as_secs_f64();
    let seconds = start.elapsed().as_secs_f64();
    println!("{}", json!({ "verified": verified, "seconds": seconds, "cpu": cpu, "memory": memory }));
}
