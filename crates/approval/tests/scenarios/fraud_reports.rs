//! Fraud reports: when they count, and that one that is cut in two never approves.

use phonegate_approval::policy::Method;
use phonegate_approval::script::Piece;

use super::support::*;
use super::{FRAUD, WRONG, method, opens};

#[test]
fn a_fraud_report_counts_from_the_first_sample() {
    for method in Method::ALL {
        for fraud_key in ['0', '6'] {
            let attempts = attempts(policy(method).with_fraud_key(fraud_key).unwrap(), 1);
            let end = play(&attempts, &[]).ended;
            for from in (0..end).step_by(100) {
                let call = play(&attempts, &pressed(from, 100, &format!("{fraud_key}#")));
                assert_eq!((call.result, call.farewell), (FRAUD, Piece::FraudReported), "{method:?} from {from} ms");
            }
        }
    }
}

/// In the prompt after an entry that a pause ended, too: the report is not taken for a part of that entry.
#[test]
fn a_fraud_report_counts_in_the_prompt_after_a_pause() {
    for method in Method::ALL {
        for first in ["5", "00", "0", "12"] {
            for late in [0, 1, 500, 999, 1_000, 2_000, 5_000] {
                let attempts = attempts(policy(method), 1);
                let wrong = pressed(1_000, 100, first);
                let from = wrong.last().unwrap().0 + 3_000 + late;
                let call = play(&attempts, &[wrong, pressed(from, 100, "0#")].concat());
                assert_eq!(call.result, FRAUD, "{method:?}: {first}, {late} ms");
            }
        }
    }
}

#[test]
fn a_fraud_report_that_a_pause_cuts_never_approves() {
    let attempts = method(Method::Pound);
    // The next prompt begins 3 s after the fraud key.
    for late in [2_900, 3_000, 3_100, 3_999] {
        assert_eq!(play(&attempts, &[(2_000, '0'), (2_000 + late, '#')]).result, FRAUD, "{late} ms");
    }
    // A user who has heard the next prompt answers it.
    assert_eq!(play(&attempts, &[(2_000, '0'), (6_000, '#')]).result, Ok(()));
    // With a code, until the next one begins: here 2.7 s after the prompt.
    let attempts = method(Method::Code);
    assert_eq!(play(&attempts, &[(8_000, '0'), (8_000 + 3_000 + 2_699, '#')]).result, FRAUD);
    assert_eq!(play(&attempts, &[(8_000, '0'), (8_000 + 3_000 + 2_700, '#')]).result, WRONG);
}

/// The prompt ends 3 s before the pause does.
#[test]
fn a_fraud_report_that_the_end_of_a_prompt_cuts_never_approves() {
    for method in Method::ALL {
        let attempts = attempts(policy(method), 1);
        let ended = play(&attempts, &[]).prompts[0].ended.unwrap();
        for before in [1, 1_000, 2_900] {
            for gap in [1, 500, 2_999] {
                let keys = [(ended - before, '0'), (ended - before + gap, '#')];
                assert_eq!(play(&attempts, &keys).result, FRAUD, "{method:?}: {before} ms, {gap} ms");
            }
        }
    }
}

#[test]
fn a_fraud_report_that_a_pause_cuts_in_the_last_attempt_counts() {
    for method in Method::ALL {
        let attempts = attempts(policy(method).with_attempts(1).unwrap(), 1);
        let opens = opens(&attempts, 0);
        let report = |gap| play(&attempts, &[(opens, '0'), (opens + gap, '#')]);
        for gap in [3_000, 4_000, 5_999] {
            assert_eq!(report(gap).result, FRAUD, "{method:?}, cut by {gap} ms");
        }
        let late = report(6_000);
        assert_eq!((late.result, late.ended), (WRONG, opens + 6_000), "{method:?}");
        // Nothing else that is pressed then counts, nor prolongs the call for ever.
        let right = right_entry(&attempts, 1) + "#";
        let then = |keys: &str| play(&attempts, &[vec![(opens, '0')], pressed(opens + 3_500, 100, keys)].concat());
        assert_eq!(then(&right).result, if right == "#" { FRAUD } else { WRONG }, "{method:?}");
        assert_eq!(then("0").ended, opens + 6_500, "{method:?}");
        // Another wrong entry has no such time.
        assert_eq!(play(&attempts, &[(opens, '5')]).ended, opens + 3_000, "{method:?}");
    }
}
