//! Entries: which approve, which are wrong, and when they end.

use phonegate_approval::policy::Method;
use phonegate_approval::script::Piece;
use phonegate_approval::verdict::Denial;

use super::support::*;
use super::{WRONG, method, opens};

#[test]
fn the_right_entry_approves_once_its_code_begins() {
    for seed in 0..20 {
        for method in Method::ALL {
            let attempts = attempts(policy(method), seed);
            let right = right_entry(&attempts, 1) + "#";
            let opens = opens(&attempts, 0);
            for from in (opens..opens + 10_000).step_by(250) {
                let call = play(&attempts, &pressed(from, 300, &right));
                assert_eq!(call.result, Ok(()), "{method:?} from {from} ms");
                assert_eq!(call.farewell, Piece::Verified);
                assert_eq!(call.ended, from + 300 * (right.len() as u64 - 1));
            }
        }
    }
}

/// The last key must come within 3 s of the one before.
#[test]
fn an_entry_lasts_as_long_as_no_pause_reaches_3_seconds() {
    let attempts = method(Method::PinAndCode);
    let right = right_entry(&attempts, 1) + "#";
    let opens = opens(&attempts, 0);
    assert_eq!(play(&attempts, &pressed(opens, 2_999, &right)).result, Ok(()));
    assert_eq!(play(&attempts, &pressed(opens, 3_000, &right)).result, WRONG);
}

#[test]
fn an_early_key_makes_its_entry_wrong() {
    for method in Method::ALL {
        let attempts = attempts(policy(method), 1);
        let right = right_entry(&attempts, 1) + "#";
        let opens = opens(&attempts, 0);
        let call = play(&attempts, &pressed(opens - 1, 1, &right));
        assert_eq!(call.prompts[1].wrong, 1, "the entry used an attempt: {method:?}");
        assert!(call.result.is_err());
        // Not even if the early key is not part of the right entry.
        let early = [vec![(opens - 1, '5')], pressed(opens, 1, &right)].concat();
        assert!(play(&attempts, &early).result.is_err());
    }
}

#[test]
fn only_the_whole_entry_counts() {
    let attempts = attempts(policy(Method::Code).with_attempts(1).unwrap(), 1);
    let code = right_entry(&attempts, 1);
    let opens = opens(&attempts, 0);
    for entry in [
        format!("4{code}#"),
        format!("{code}4#"),
        format!("{}#", &code[1..]),
        format!("*{code}#"),
        format!("{code}?#"),
        format!("{}#", code.chars().rev().collect::<String>()),
        "#".to_owned(),
    ] {
        let call = play(&attempts, &[pressed(opens, 100, &entry), pressed(opens + 4_000, 100, &code)].concat());
        assert_eq!((call.result, call.prompts.len()), (WRONG, 1), "{entry}");
    }
    assert_eq!(play(&attempts, &pressed(opens, 100, &code)).result, WRONG, "without pound");
}

#[test]
fn the_next_attempt_has_the_next_code() {
    for seed in 0..20 {
        let attempts = attempts(policy(Method::Code), seed);
        let (first, second) = (code(&attempts, 1), code(&attempts, 2));
        if first == second {
            continue;
        }
        let wrong = pressed(8_000, 100, "55555#");
        let with = |code: &str| play(&attempts, &[wrong.clone(), pressed(12_000, 100, &format!("{code}#"))].concat());
        assert_eq!(with(&second).result, Ok(()));
        assert_eq!(with(&first).result, WRONG);
        let heard: Vec<_> = with(&second).prompts.iter().map(|prompt| prompt.code.clone()).collect();
        assert_eq!(heard, [first, second]);
    }
}

#[test]
fn a_repeat_speaks_the_same_code_and_accepts_it() {
    let attempts = method(Method::Code);
    let second_prompt = play(&attempts, &[]).prompts[1].at;
    // The user has heard the code, so no key in the repeat is early.
    let call = play(&attempts, &pressed(second_prompt + 1, 100, &(code(&attempts, 1) + "#")));
    assert_eq!(call.result, Ok(()));
    assert_eq!(call.prompts[0].code, call.prompts[1].code);
    let repeated = play(&attempts, &[]).prompts.swap_remove(1);
    let said: Vec<_> = repeated.pieces.iter().map(|(_, piece)| piece.name()).collect();
    assert_eq!((said[0], said.last().copied()), ("press_code", Some("then_pound")), "what was heard is left out");
}

#[test]
fn silence_ends_the_call_after_the_repeats() {
    for method in Method::ALL {
        let policy = policy(method).with_repeats(4).unwrap();
        let call = play(&attempts(policy, 1), &[]);
        let prompts = if method == Method::PinAndCode { 3 } else { 4 };
        assert_eq!((call.result, call.prompts.len(), call.counted), (Err(Denial::NoEntry), prompts, 0));
        assert_eq!(call.farewell, Piece::Goodbye);
        // Three seconds after each prompt.
        let mut expected = 0;
        for prompt in &call.prompts {
            assert_eq!(prompt.at, expected);
            expected = prompt.ended.unwrap() + 3_000;
        }
        assert_eq!(call.ended, expected);
    }
}

#[test]
fn silence_after_a_wrong_entry_is_a_wrong_entry() {
    let call = play(&method(Method::Code), &pressed(8_000, 100, "5#"));
    assert_eq!((call.result, call.prompts.len()), (WRONG, 1 + 3));
}

#[test]
fn another_entry_that_a_pause_cuts_uses_one_attempt() {
    let attempts = method(Method::Pound);
    // The pound key continues the entry 5, and is not the next entry.
    let call = play(&attempts, &[(2_000, '5'), (5_500, '#')]);
    assert_eq!(
        (call.result, call.prompts.iter().map(|prompt| prompt.wrong).collect::<Vec<_>>()),
        (WRONG, vec![0, 1, 1, 1, 1])
    );
    let call = play(&attempts, &[(2_000, '5'), (5_500, '#'), (7_000, '#')]);
    assert_eq!(call.result, Ok(()), "the attempt that is left may be right");
}

/// Keys of which only one packet arrived are reported as such: they may have been the fraud key.
#[test]
fn an_unclear_key_makes_its_entry_wrong() {
    let attempts = attempts(policy(Method::Pound).with_attempts(1).unwrap(), 1);
    for entry in ["?#", "?0#", "0?#", "*#", "A#"] {
        assert_eq!(play(&attempts, &pressed(2_000, 100, entry)).result, WRONG, "{entry}");
    }
}

/// A user who presses each digit as it is heard must hear the next one.
#[test]
fn the_prompt_continues_until_the_code_was_spoken_once() {
    let attempts = method(Method::Code);
    let opens = opens(&attempts, 0);
    let call = play(&attempts, &pressed(opens + 200, 700, &code(&attempts, 1)));
    let prompt = &call.prompts[0];
    let heard: Vec<_> = prompt.pieces.iter().map(|(_, piece)| format!("{piece:?}")).collect();
    assert!(prompt.stopped);
    assert_eq!(heard.join(" "), "intro press_code digit digit digit then_pound digit");
    // After that, a key stops it.
    let call = play(&attempts, &[(12_000, '4')]);
    assert_eq!((call.prompts[0].ended, call.prompts[0].stopped), (Some(12_000), true));
}

#[test]
fn a_key_stops_a_prompt_without_a_code() {
    for method in [Method::Pound, Method::Pin] {
        let call = play(&attempts(policy(method), 1), &[(300, '4')]);
        assert_eq!((call.prompts[0].ended, call.prompts[0].stopped), (Some(300), true));
    }
}

/// The greeting of a mailbox, say. Each call ends at once.
#[test]
fn a_recording_that_presses_from_the_answer_on_is_denied() {
    for method in Method::ALL {
        for key in "#123456789*".chars() {
            let attempts = attempts(policy(method), 1);
            let keys: Vec<_> = (0..6_000).map(|place| (place * 100, key)).collect();
            let call = play(&attempts, &keys);
            let expected = Err(Denial::WrongEntry { counts_against_pin: false });
            assert_eq!(call.result, expected, "{method:?} {key}");
        }
    }
}

#[test]
fn an_entry_without_end_ends_the_call() {
    // With the last one, the entry is too long before it is continued.
    for gap in [100, 2_999, 3_000, 3_751] {
        let keys: Vec<_> = (0..1_000).map(|place| (1 + place * gap, '5')).collect();
        let call = play(&method(Method::Code), &keys);
        assert_eq!(call.result, WRONG);
        assert!(call.ended <= 66_000, "60 s after its first key, or with the next one: {} ms", call.ended);
    }
}

/// A pause ended the entry each time, and the next key continued it.
#[test]
fn each_wrong_entry_counts_against_the_pin_once() {
    for method in Method::ALL {
        let attempts = attempts(policy(method).with_attempts(3).unwrap(), 1);
        let keys: Vec<_> = [pressed(100, 100, "5#"), pressed(300, 3_100, "1234"), pressed(20_000, 100, "5#")].concat();
        let call = play(&attempts, &keys);
        assert_eq!((call.counted, call.checks), (if method.has_pin() { 3 } else { 0 }, 0), "{method:?}");
    }
    // The check counts a PIN that it compares.
    let call = play(&method(Method::Pin), &[pressed(2_000, 100, "1111#"), pressed(6_000, 100, "2222#")].concat());
    assert_eq!((call.result, call.counted, call.checks), (WRONG, 0, 2));
}
