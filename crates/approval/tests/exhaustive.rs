//! Every sequence of a few keys, at every moment of a grid, compared with the rules in `support/rules.rs`.
//!
//! The grid is made of the times between keys: below a pause, a pause, and above it, so that keys fall before, into and
//! after the moments at which entries, prompts and their codes begin. The first key has more moments than the others.

mod support;

use phonegate_approval::attempts::Attempts;
use phonegate_approval::policy::Method;
use phonegate_approval::verdict::Denial;

use support::rules::{Worth, worth};
use support::*;

/// Counts that show that the test reached approvals and reports.
#[derive(Debug, Default)]
struct Counts {
    calls: u64,
    approved: u64,
    fraud: u64,
}

struct Model<'a> {
    attempts: &'a Attempts,
    keys: &'a [char],
    gaps: &'a [u64],
    /// The time between two moments of the first key.
    step: usize,
    most: usize,
    counts: Counts,
}

impl Model<'_> {
    /// Plays the calls in which these keys are pressed, and every continuation.
    fn explore(&mut self, keys: &mut Vec<Press>) {
        let call = play(self.attempts, keys);
        self.counts.calls += 1;
        let found = match call.result {
            Ok(()) => Worth::Approval,
            Err(Denial::FraudReported) => Worth::Fraud,
            Err(_) => Worth::Nothing,
        };
        let is_over_before_last = call.keys < keys.len();
        // The verdict about the keys before the last one was checked before that one was added.
        let expected = match keys.last() {
            Some((_, '#')) if !is_over_before_last => {
                worth(self.attempts.policy().method(), '0', &call, keys, keys.len() - 1)
            }
            _ => Worth::Nothing,
        };
        assert_eq!(found, expected, "{keys:?}: {:?} after {} ms", call.result, call.ended);
        match found {
            Worth::Approval => self.counts.approved += 1,
            Worth::Fraud => self.counts.fraud += 1,
            Worth::Nothing => {}
        }
        if keys.len() == self.most || is_over_before_last || found != Worth::Nothing {
            return;
        }
        let last = keys.last().map(|(at, _)| *at);
        let moments: Vec<u64> = match last {
            None => (0..40_000).step_by(self.step).collect(),
            Some(last) => self.gaps.iter().map(|gap| last + gap).collect(),
        };
        for at in moments {
            for key in self.keys {
                keys.push((at, *key));
                self.explore(keys);
                keys.pop();
            }
        }
    }
}

fn explore(method: Method, most: usize, step: usize, gaps: &[u64]) -> Counts {
    let attempts = attempts(policy(method).with_code_digits(1).unwrap().with_repeats(2).unwrap(), 5);
    let digits: Vec<char> = (1..=2).filter_map(|attempt| code(&attempts, attempt).chars().next()).collect();
    let keys: Vec<char> = match method {
        // The codes of both attempts.
        Method::Code => digits.into_iter().chain("0#".chars()).collect(),
        _ => "05#".chars().collect(),
    };
    let mut model = Model { attempts: &attempts, keys: &keys, gaps, step, most, counts: Counts::default() };
    model.explore(&mut Vec::new());
    model.counts
}

#[test]
fn every_short_sequence_of_keys_is_judged_by_the_rules() {
    for method in [Method::Code, Method::Pound] {
        let counts = explore(method, 3, 1_000, &[100, 2_999, 3_000, 3_999, 4_000, 5_800]);
        assert!(counts.calls > 10_000 && counts.approved > 200 && counts.fraud > 200, "{method:?}: {counts:?}");
    }
}

#[test]
fn every_sequence_of_four_keys_is_judged_by_the_rules_long() {
    for method in [Method::Code, Method::Pound] {
        let counts = explore(method, 4, 500, &[1, 2_999, 3_000, 3_999, 4_000, 6_000]);
        assert!(counts.calls > 200_000 && counts.approved > 5_000 && counts.fraud > 5_000, "{method:?}: {counts:?}");
        println!("{method:?}: {counts:?}");
    }
}
