//! Plays 100,000 calls of each method to recordings that press keys without listening, and prints how many were
//! approved, and the number that the odds predict.
//!
//! ```sh
//! cargo run -p phonegate-approval --example odds --release
//! ```

#[path = "../tests/support/mod.rs"]
mod support;

use phonegate_approval::policy::{Method, Policy};

use support::odds::{Recording, approved};
use support::policy;

const CALLS: u64 = 100_000;

fn main() {
    println!("{:<14} {:>6} {:<45} {:>9} {:>9}", "method", "digits", "recording", "approved", "expected");
    for method in Method::ALL {
        for recording in Recording::ALL {
            print(policy(method), recording);
        }
    }
    for digits in [1, 2, 4] {
        if let Ok(policy) = Policy::default().with_code_digits(digits) {
            print(policy, Recording::GuessInTime);
        }
    }
}

fn print(policy: Policy, recording: Recording) {
    let approved = approved(policy, recording, CALLS);
    let expected = recording.odds(&policy) * CALLS as f64;
    let (method, digits, recording) = (policy.method(), policy.code_digits(), recording.describe());
    println!("{:<14} {digits:>6} {recording:<45} {approved:>9} {expected:>9.1}", format!("{method:?}"));
}
