//! Calls step by step: what a user hears, presses, and gets.

#[path = "../support/mod.rs"]
mod support;

mod entries;
mod fraud_reports;
mod pins;
mod progress;

use phonegate_approval::attempts::Attempts;
use phonegate_approval::policy::Method;
use phonegate_approval::verdict::Denial;

use support::{Call, Setting, attempts, play, play_with, policy, pressed};

const WRONG: Result<(), Denial> = Err(Denial::WrongEntry { counts_against_pin: false });
const FRAUD: Result<(), Denial> = Err(Denial::FraudReported);

fn method(method: Method) -> Attempts {
    attempts(policy(method), 1)
}

/// Returns when keys stop being early in a prompt of a call without keys: its code begins, or a second of it was heard.
fn opens(attempts: &Attempts, prompt: usize) -> u64 {
    let call = play(attempts, &[]);
    let prompt = &call.prompts[prompt];
    let digit = prompt.pieces.iter().find(|(_, piece)| piece.is_digit());
    digit.map_or(prompt.at + 1_000, |(began, _)| *began)
}

/// Plays a call in which the check of a PIN takes this many milliseconds. `None`: it never ends.
fn slow(attempts: &Attempts, check_takes: Option<u64>, keys: &str) -> Call {
    play_with(Setting { attempts, check_takes }, &pressed(2_000, 100, keys))
}
