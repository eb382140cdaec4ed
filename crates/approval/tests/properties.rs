//! Any keys at any moment: what approves and what reports a fraud, compared with the rules in `support/rules.rs`.
//!
//! Every call that is played is also checked to end, within a bound, and to have a next timeout until then.

mod support;

use std::time::Duration;

use phonegate_approval::attempts::Attempts;
use phonegate_approval::ivr::{Ivr, Output, PromptId};
use phonegate_approval::policy::{Method, Policy};
use phonegate_approval::secret::Key;
use phonegate_approval::verdict::{Denial, PinAnswer, PinCheck};
use proptest::prelude::*;

use support::rules::{Worth, worth};
use support::*;

/// Checks that the call ended with the effect of the first `#` that has one.
fn check(attempts: &Attempts, fraud_key: char, keys: &[Press]) -> Result<(), TestCaseError> {
    let call = play(attempts, keys);
    let method = attempts.policy().method();
    let mut expected = Worth::Nothing;
    let keys = &keys[..call.keys];
    for (index, (at, _)) in keys.iter().enumerate().filter(|(_, (_, key))| *key == '#') {
        expected = worth(method, fraud_key, &call, keys, index);
        if expected != Worth::Nothing {
            prop_assert_eq!(call.ended, *at, "{:?} by key {} ends the call: {:?}", expected, index, call.result);
            break;
        }
    }
    let found = match call.result {
        Ok(()) => Worth::Approval,
        Err(Denial::FraudReported) => Worth::Fraud,
        Err(_) => Worth::Nothing,
    };
    prop_assert_eq!(found, expected, "the call ended after {} ms: {:?}", call.ended, call.result);
    Ok(())
}

/// A call's codes and keys. Most keys are those of the right entry, of a fraud report, or `#`; most entries begin when
/// something happens.
fn calls() -> impl Strategy<Value = (Policy, u64, Vec<Press>)> {
    let method = prop::sample::select(Method::ALL.to_vec());
    let rounds = (1..4u8, 1..4u8, 1..5u8);
    (method, rounds, any::<u64>()).prop_flat_map(|(method, (attempt_count, repeats, digits), seed)| {
        let policy = policy(method).with_code_digits(digits).unwrap();
        let policy = policy.with_attempts(attempt_count).unwrap().with_repeats(repeats).unwrap();
        let attempts = attempts(policy, seed);
        let right = (1..=attempt_count).map(|attempt| right_entry(&attempts, attempt) + "#");
        let mut entries: Vec<String> = right.collect();
        entries.extend(["#", "0#", "0", "00#", "5", "5#", "*", "?#", "A", "12345678901234567"].map(str::to_owned));
        let gap = prop_oneof![
            5 => 1..1_000u64,
            3 => 1_000..2_999u64,
            2 => 3_000..4_200u64,
            2 => 4_200..15_000u64,
            1 => prop::sample::select(vec![0, 250, 2_999, 3_000, 3_001, 4_000, 10_000, 11_200]),
        ];
        let entry = (prop::sample::select(entries), gap.clone(), prop_oneof![3 => 1..500u64, 1 => gap]);
        prop::collection::vec(entry, 0..10).prop_map(move |entries| {
            let mut now = 0;
            let mut keys = Vec::new();
            for (entry, wait, gap) in entries {
                now += wait;
                for key in entry.chars() {
                    keys.push((now, key));
                    now += gap;
                }
            }
            (policy, seed, keys)
        })
    })
}

/// Something that the caller may do, in any order.
#[derive(Clone, Debug)]
enum Call {
    Key(char),
    PieceBegan(usize, usize),
    SecondSpoken(usize),
    PromptEnded(usize),
    TimeOut,
    AnswerPin(u8),
}

fn any_calls() -> impl Strategy<Value = Vec<(u64, Call)>> {
    let call = prop_oneof![
        4 => prop::sample::select(vec!['0', '1', '2', '#', '*']).prop_map(Call::Key),
        3 => (0..3usize, 0..20usize).prop_map(|(prompt, index)| Call::PieceBegan(prompt, index)),
        1 => (0..3usize).prop_map(Call::SecondSpoken),
        1 => (0..3usize).prop_map(Call::PromptEnded),
        2 => Just(Call::TimeOut),
        1 => (0..5u8).prop_map(Call::AnswerPin),
    ];
    let time = prop_oneof![8 => 0..120_000u64, 1 => Just(u64::MAX)];
    prop::collection::vec((time, call), 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn only_what_the_rules_name_approves_or_reports_fraud((policy, seed, keys) in calls()) {
        check(&attempts(policy, seed), '0', &keys)?;
    }

    #[test]
    fn no_single_key_but_pound_approves(
        method in prop::sample::select(Method::ALL.to_vec()), at in 0..40_000u64, key in "[0-9*A-D?]", seed: u64,
    ) {
        let keys: Vec<_> = key.chars().map(|key| (at, key)).collect();
        prop_assert!(play(&attempts(policy(method), seed), &keys).result.is_err());
    }

    /// A fraud report at any moment, cut by any pause, in any call that would be approved right after it.
    #[test]
    fn a_cut_fraud_report_never_becomes_an_approval(
        method in prop::sample::select(Method::ALL.to_vec()), seed: u64, at in 0..30_000u64, gap in 0..4_000u64,
    ) {
        let attempts = attempts(policy(method), seed);
        let call = play(&attempts, &[(at, '0'), (at + gap, '#')]);
        prop_assert!(call.result.is_err());
        // Within the pause, it is always reported, whatever is spoken.
        if gap < 3_000 && call.keys > 0 {
            prop_assert_eq!(call.result, Err(Denial::FraudReported));
        }
    }

    /// Times that go back, prompts that are not spoken, answers to nothing: the conversation ends, and at most once.
    #[test]
    fn any_order_of_calls_is_safe(method in prop::sample::select(Method::ALL.to_vec()), calls in any_calls()) {
        // The source gives codes such as 989, which are never pressed here, nor is a PIN.
        let attempts = Attempts::new(policy(method), |buffer| { buffer.fill(251); Ok::<(), ()>(()) }).unwrap();
        let mut ivr = Ivr::new(&attempts, Duration::ZERO);
        let mut prompts: Vec<PromptId> = Vec::new();
        let mut checks: Vec<PinCheck> = Vec::new();
        let mut ends = 0;
        let mut waiting = 0;
        for (at, call) in calls {
            let at = Duration::from_millis(at);
            match call {
                Call::Key(key) => ivr.key_pressed(at, Key::from_char(key)),
                Call::PieceBegan(back, index) => {
                    if let Some(prompt) = prompts.iter().rev().nth(back) {
                        ivr.piece_began(at, *prompt, index);
                    }
                }
                Call::SecondSpoken(back) => {
                    if let Some(prompt) = prompts.iter().rev().nth(back) {
                        ivr.first_second_spoken(at, *prompt);
                    }
                }
                Call::PromptEnded(back) => {
                    if let Some(prompt) = prompts.iter().rev().nth(back) {
                        ivr.prompt_ended(at, *prompt);
                    }
                }
                Call::TimeOut => ivr.handle_timeout(at),
                Call::AnswerPin(answer) => {
                    let wrong = [PinAnswer::Wrong, PinAnswer::Locked, PinAnswer::NotSet, PinAnswer::Failed];
                    if let (Some(check), Some(answer)) = (checks.pop(), wrong.get(usize::from(answer))) {
                        ivr.pin_checked(at, check, *answer);
                    }
                }
            }
            waiting = 0;
            while let Some(output) = ivr.poll_output() {
                waiting += 1;
                match output {
                    Output::Speak { prompt, .. } => prompts.push(prompt),
                    Output::CheckPin(check) => checks.push(check),
                    Output::Ended { result, .. } => {
                        ends += 1;
                        let is_pound = method == Method::Pound;
                        prop_assert!(is_pound || result.is_err(), "nothing right was pressed");
                    }
                    Output::StopSpeaking | Output::WrongEntry { .. } => {}
                }
            }
            prop_assert_eq!(ends, i32::from(ivr.next_timeout().is_none()), "it ends once, and waits until then");
            prop_assert!(waiting < 100, "outputs are bounded");
        }
        while let Some(at) = ivr.next_timeout() {
            ivr.handle_timeout(at);
            while ivr.poll_output().is_some() {}
            waiting += 1;
            prop_assert!(waiting < 100, "it ends");
        }
    }
}
