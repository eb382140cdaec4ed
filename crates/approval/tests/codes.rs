//! Codes: the allowed ones, their equal likelihood, and the error without random numbers.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use phonegate_approval::attempts::Attempts;
use phonegate_approval::policy::{Method, Policy, PolicyError};
use phonegate_approval::script::{Piece, pieces, repeated_pieces};
use phonegate_approval::secret::RandomError;

use support::{attempts, code, policy};

/// Returns the codes of a call whose random bytes are these. `None` if it needs more.
fn codes_from(policy: Policy, bytes: &[u8]) -> Option<Vec<String>> {
    let mut bytes = bytes.iter();
    let attempts = Attempts::new(policy, |buffer: &mut [u8]| {
        buffer.iter_mut().try_for_each(|place| bytes.next().map(|byte| *place = *byte).ok_or(()))
    });
    let attempts = attempts.ok()?;
    Some((1..=policy.attempts()).map(|attempt| code(&attempts, attempt)).collect())
}

/// Every pair of bytes once: each code of two digits comes from the same number of pairs.
#[test]
fn every_allowed_code_is_exactly_as_likely() {
    for fraud_key in ['0', '7'] {
        let policy = Policy::default().with_fraud_key(fraud_key).unwrap().with_attempts(1).unwrap();
        let mut one_digit = BTreeMap::new();
        let mut two_digits = BTreeMap::new();
        for first in 0..=255 {
            for code in codes_from(policy.with_code_digits(1).unwrap(), &[first]).into_iter().flatten() {
                *one_digit.entry(code).or_insert(0) += 1;
            }
            for second in 0..=255 {
                for code in codes_from(policy.with_code_digits(2).unwrap(), &[first, second]).into_iter().flatten() {
                    *two_digits.entry(code).or_insert(0) += 1;
                }
            }
        }
        assert_eq!(one_digit.len(), 9);
        assert!(one_digit.values().all(|count| *count == 28), "of 252 bytes, each digit has 28: {one_digit:?}");
        assert_eq!(two_digits.len(), 9 * 8);
        assert!(two_digits.values().all(|count| *count == 28 * 32), "of 252 * 256 pairs: {two_digits:?}");
    }
}

/// Every allowed code occurs, and no other.
#[test]
fn no_code_has_the_fraud_key_or_a_digit_twice_in_a_row() {
    for (digits, possible) in [(1, 9), (2, 72), (3, 576), (4, 4608)] {
        for fraud_key in ['0', '7'] {
            let policy = Policy::default().with_code_digits(digits).unwrap().with_fraud_key(fraud_key).unwrap();
            let policy = policy.with_attempts(10).unwrap();
            let mut seen = BTreeSet::new();
            for seed in 0..possible * 2 {
                let attempts = attempts(policy, seed);
                seen.extend((1..=10).map(|attempt| code(&attempts, attempt)));
            }
            for code in &seen {
                assert_eq!(code.len(), usize::from(digits));
                assert!(!code.contains(fraud_key), "{code} has the fraud key {fraud_key}");
                assert!(code.as_bytes().windows(2).all(|pair| pair[0] != pair[1]), "{code} repeats a digit");
            }
            assert_eq!(seen.len() as u64, possible, "every code of {digits} digits occurs");
        }
    }
}

#[test]
fn each_attempt_has_a_code_of_its_own() {
    let different = (0..1000).filter(|seed| {
        let attempts = attempts(policy(Method::Code), *seed);
        code(&attempts, 1) != code(&attempts, 2)
    });
    let different = different.count();
    assert!((985..1000).contains(&different), "1 of 576 is equal by chance, but {different} of 1000 differ");
}

#[test]
fn a_failing_source_of_random_numbers_makes_no_code() {
    for available in 0..6 {
        let mut left = available;
        let result = Attempts::new(policy(Method::Code), |buffer: &mut [u8]| {
            left = usize::checked_sub(left, 1).ok_or("no entropy")?;
            buffer.fill(0);
            Ok(())
        });
        assert_eq!(result.err(), Some(RandomError::Source("no entropy")), "after {available} bytes");
    }
}

#[test]
fn a_source_that_is_not_random_ends() {
    let mut drawn = 0;
    let result = Attempts::new(policy(Method::Code), |buffer: &mut [u8]| {
        drawn += buffer.len();
        buffer.fill(u8::MAX);
        Ok::<(), Infallible>(())
    });
    assert_eq!(result.err(), Some(RandomError::NotRandom));
    assert_eq!(drawn, 64);
}

#[test]
fn a_method_without_a_code_draws_nothing() {
    for method in [Method::Pound, Method::Pin] {
        let attempts = Attempts::new(policy(method), |_: &mut [u8]| Err("not needed")).unwrap();
        assert_eq!(code(&attempts, 1), "");
        assert_eq!(attempts.policy().code_digits(), 0);
    }
}

/// The names of the pieces.
fn names(pieces: impl Iterator<Item = Piece>) -> String {
    pieces.map(Piece::name).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_script_speaks_its_code_twice_and_says_how_to_report() {
    for (method, first, again, repeat) in [
        (
            Method::Code,
            "intro press_code digit_4 digit_7 then_pound digit_4 digit_7 not_you",
            "wrong_key press_code digit_4 digit_7 then_pound digit_4 digit_7",
            "press_code digit_4 digit_7 then_pound",
        ),
        (Method::Pound, "intro press_pound not_you", "wrong_key press_pound", "press_pound"),
        (Method::Pin, "intro enter_pin not_you", "wrong_key enter_pin", "enter_pin"),
        (
            Method::PinAndCode,
            "intro enter_pin_then digit_4 digit_7 then_pound digit_4 digit_7 not_you",
            "wrong_key enter_pin_then digit_4 digit_7 then_pound digit_4 digit_7",
            "enter_pin_then digit_4 digit_7 then_pound",
        ),
    ] {
        assert_eq!(names(pieces(method, 1, "47")), first);
        assert_eq!(names(pieces(method, 2, "47")), again);
        for attempt in [1, 2] {
            assert_eq!(names(repeated_pieces(method, attempt, "47")), repeat);
            // A call speaks the same, with the code that it drew.
            let attempts = attempts(policy(method).with_code_digits(2).unwrap(), 1);
            let spoken = attempts.script(attempt).unwrap().pieces();
            assert!(spoken.eq(pieces(method, attempt, &code(&attempts, attempt))));
        }
    }
}

#[test]
fn debug_output_shows_no_digit_of_a_code() {
    let shown = |digits| format!("{:?}", pieces(Method::Code, 1, digits).collect::<Vec<_>>());
    assert_eq!(shown("47"), shown("85"));
    let code = "press_code, digit, digit, then_pound";
    assert_eq!(shown("47"), format!("[intro, {code}, digit, digit, not_you]"));
}

#[test]
fn every_piece_has_a_name_of_its_own_and_a_method() {
    let all: BTreeSet<_> = Piece::ALL.map(Piece::name).into();
    assert_eq!(all.len(), Piece::ALL.len());
    assert!(Piece::ALL.is_sorted());
    let spoken = |method| names(Piece::ALL.into_iter().filter(|piece| piece.is_spoken_with(method)));
    let digits: Vec<_> = (0..10).map(|digit| format!("digit_{digit}")).collect();
    let digits = digits.join(" ");
    for (method, expected) in Method::ALL.into_iter().zip([
        format!("press_code {digits} then_pound"),
        "press_pound".to_owned(),
        "enter_pin".to_owned(),
        format!("{digits} then_pound enter_pin_then"),
    ]) {
        let end = "not_you wrong_key verified fraud_reported goodbye";
        assert_eq!(spoken(method), format!("intro {expected} {end}"), "{method:?}");
    }
}

#[test]
fn an_attempt_that_does_not_exist_has_no_script() {
    for method in Method::ALL {
        let attempts = attempts(policy(method), 1);
        let exist: Vec<_> = (0..=u8::MAX).filter(|attempt| attempts.script(*attempt).is_some()).collect();
        assert_eq!(exist, [1, 2]);
    }
}

#[test]
fn a_code_is_spoken_twice_alike() {
    for seed in 0..100 {
        let attempts = attempts(policy(Method::PinAndCode).with_code_digits(4).unwrap(), seed);
        let digits: Vec<_> = attempts.script(1).unwrap().pieces().filter(|piece| piece.is_digit()).collect();
        assert_eq!(digits[..4], digits[4..]);
    }
}

#[test]
fn a_policy_rejects_values_out_of_range() {
    let policy = Policy::default();
    for digits in [0, 5, 255] {
        assert_eq!(policy.with_code_digits(digits), Err(PolicyError::CodeDigits));
    }
    for rounds in [0, 11] {
        assert_eq!(policy.with_attempts(rounds), Err(PolicyError::Attempts));
        assert_eq!(policy.with_repeats(rounds), Err(PolicyError::Repeats));
    }
    for key in ['#', '*', 'a', '٣'] {
        assert_eq!(policy.with_fraud_key(key), Err(PolicyError::FraudKey));
    }
}
