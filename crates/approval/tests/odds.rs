//! How often a recording is approved that presses keys without listening.

mod support;

use phonegate_approval::policy::{Method, Policy};

use support::odds::{Recording, approved};
use support::policy;

/// Five standard deviations round the expected count; none if the odds are 0 or 1.
fn check(policy: Policy, recording: Recording, calls: u64) {
    let odds = recording.odds(&policy);
    let expected = odds * calls as f64;
    let deviation = (expected * (1.0 - odds)).sqrt();
    let count = approved(policy, recording, calls) as f64;
    assert!(
        (count - expected).abs() <= (5.0 * deviation).ceil(),
        "{:?}, {} digits, {}: {count} of {calls} were approved, and {expected:.1} are expected",
        policy.method(),
        policy.code_digits(),
        recording.describe()
    );
}

fn check_all(calls: u64) {
    for method in Method::ALL {
        for recording in Recording::ALL {
            check(policy(method), recording, calls);
        }
    }
    for digits in [1, 2, 4] {
        check(Policy::default().with_code_digits(digits).unwrap(), Recording::GuessInTime, calls);
    }
}

#[test]
fn a_recording_is_approved_as_often_as_the_odds_say() {
    check_all(1_000);
}

#[test]
fn a_recording_is_approved_as_often_as_the_odds_say_long() {
    check_all(100_000);
}
