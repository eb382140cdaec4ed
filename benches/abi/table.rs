//! The table that `make bench` prints, from criterion's results.

use std::path::PathBuf;

use crate::host::Longest;
use crate::shim::Poll;

/// The providers of Poll.cs.
const PROVIDERS: [(&str, &str); 4] = [
    ("CustomPhoneGate", "C#: the shim"),
    ("ByText", "C#: ConcurrentDictionary<string, ...>"),
    ("ByGuid", "C#: ConcurrentDictionary<Guid, ...>"),
    ("FileSample", "C#: the sample of the article"),
];

/// Prints all that was measured.
pub fn print(known: &[usize], threads: &[usize], polls: &[Poll], ended_bytes: usize, longest: &[Longest]) {
    let row = |label: &str, cells: &[Option<f64>]| {
        let cells: Vec<_> = cells.iter().map(|cell| format!("{:>16}", shown(*cell))).collect();
        println!("{label:<44}{}", cells.concat());
    };
    println!();
    let header: Vec<_> = known.iter().map(|known| format!("{:>16}", format!("{known} calls"))).collect();
    println!("{:<44}{}", "nanoseconds a poll, each thread", header.concat());
    for (provider, label) in PROVIDERS {
        let cell = |known: &usize| polls.iter().find(|poll| poll.provider == provider && poll.known == *known);
        row(label, &known.iter().map(|known| Some(cell(known)?.nanoseconds)).collect::<Vec<_>>());
    }
    for (function, label) in [
        ("status/GetCallStatus", "C ABI: GetCallStatus"),
        ("status/bare map", "Rust: read the GUID, bare map"),
        ("status/dashmap", "Rust: read the GUID, dashmap"),
        ("initiate/InitiateCall", "C ABI: InitiateCall"),
    ] {
        let (group, function) = function.split_once('/').unwrap_or((function, function));
        for threads in threads {
            let cells: Vec<_> = known.iter().map(|known| median(group, *known, function, *threads)).collect();
            row(&format!("{label}, {threads} thread{}", if *threads == 1 { "" } else { "s" }), &cells);
        }
    }
    println!("\n{:<44}{:>16}", "bytes for each ended call", ended_bytes);
    println!("\n{:<44}{:>16}", "longest that an export blocked", "microseconds");
    for Longest { export, took, times } in longest {
        println!("{:<44}{:>16.1}", format!("{export}, of {times}"), took.as_secs_f64() * 1e6);
    }
}

fn shown(nanoseconds: Option<f64>) -> String {
    nanoseconds.map_or_else(|| "not run".to_owned(), |ns| format!("{ns:.1}"))
}

/// The median that criterion estimated, in nanoseconds. `None` if a filter excluded it.
fn median(group: &str, known: usize, function: &str, threads: usize) -> Option<f64> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let folder = format!("criterion/{group}_{known}/{function}/{threads}/new/estimates.json");
    let text = std::fs::read_to_string(target.join(folder)).ok()?;
    let estimates: serde_json::Value = serde_json::from_str(&text).ok()?;
    estimates.get("median")?.get("point_estimate")?.as_f64()
}
