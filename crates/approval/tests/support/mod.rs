//! Attempts and what approves in them.
#![allow(dead_code, reason = "each test file uses a part")]

use std::convert::Infallible;

use phonegate_approval::attempts::Attempts;
use phonegate_approval::policy::{Method, Policy};
use phonegate_approval::script::{Piece, Script};

pub const METHODS: [Method; 4] = [Method::Code, Method::Pound, Method::Pin, Method::PinAndCode];

/// The PIN of every simulated number.
pub const PIN: &str = "2580";

/// A source of random bytes for tests.
pub fn seeded(seed: u64) -> impl FnMut(&mut [u8]) -> Result<(), Infallible> {
    let mut random = fastrand::Rng::with_seed(seed);
    move |buffer| {
        random.fill(buffer);
        Ok(())
    }
}

pub fn attempts(policy: Policy, seed: u64) -> Attempts {
    Attempts::new(policy, seeded(seed)).unwrap()
}

pub fn policy(method: Method) -> Policy {
    Policy::default().with_method(method)
}

/// The digits that are spoken once in an attempt.
pub fn code(attempts: &Attempts, attempt: u8) -> String {
    spoken_code(attempts.script(attempt).unwrap())
}

fn spoken_code(script: Script<'_>) -> String {
    let digits: String = script
        .steps()
        .filter_map(|step| match step.piece {
            Piece::Digit(digit) => Some(char::from(b'0' + digit)),
            _ => None,
        })
        .collect();
    digits[..digits.len() / 2].to_owned()
}

/// What the user presses to approve in an attempt, without `#`.
pub fn right_entry(attempts: &Attempts, attempt: u8) -> String {
    let pin = if attempts.policy().method().has_pin() { PIN } else { "" };
    format!("{pin}{}", code(attempts, attempt))
}
