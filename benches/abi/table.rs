//! The table that `make bench` prints, from what criterion wrote down.

use std::path::PathBuf;

use crate::host::Longest;

/// Prints all that was measured.
pub fn print(known: &[usize], threads: &[usize], ended_bytes: usize, longest: &[Longest]) {
    println!("\n{:<40} {:>14} {:>14}", "nanoseconds, each thread", "1,000 calls", "1,000,000 calls");
    for name in ["status/GetCallStatus", "status/bare map", "status/dashmap", "initiate/InitiateCall"] {
        let (group, function) = name.split_once('/').unwrap_or((name, name));
        for threads in threads {
            let cells: Vec<_> = known.iter().map(|known| median(group, *known, function, *threads)).collect();
            let label = format!("{function}, {threads} thread{}", if *threads == 1 { "" } else { "s" });
            println!("{label:<40} {:>14} {:>14}", cell(cells.first()), cell(cells.last()));
        }
    }
    println!("\n{:<40} {:>14}", "bytes for each ended call", ended_bytes);
    println!("\n{:<40} {:>14}", "longest that an export blocked", "microseconds");
    for Longest { export, took, times } in longest {
        println!("{:<40} {:>14.1}", format!("{export}, of {times}"), took.as_secs_f64() * 1e6);
    }
}

fn cell(nanoseconds: Option<&Option<f64>>) -> String {
    nanoseconds.copied().flatten().map_or_else(|| "not run".to_owned(), |ns| format!("{ns:.1}"))
}

/// The median that criterion estimated, in nanoseconds; none where a filter left it out.
fn median(group: &str, known: usize, function: &str, threads: usize) -> Option<f64> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let folder = format!("criterion/{group}_{known}/{function}/{threads}/new/estimates.json");
    let text = std::fs::read_to_string(target.join(folder)).ok()?;
    let estimates: serde_json::Value = serde_json::from_str(&text).ok()?;
    estimates.get("median")?.get("point_estimate")?.as_f64()
}
