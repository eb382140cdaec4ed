//! Calls step by step: what a user hears, presses and gets.

mod support;

use std::time::Duration;

use phonegate_approval::attempts::Attempts;
use phonegate_approval::ivr::{Ivr, MAX_PIECE, Output, PromptId};
use phonegate_approval::policy::Method;
use phonegate_approval::script::Piece;
use phonegate_approval::secret::Key;
use phonegate_approval::verdict::{Denial, PinAnswer};

use support::*;

const WRONG: Result<(), Denial> = Err(Denial::WrongEntry { counts_against_pin: false });
const FRAUD: Result<(), Denial> = Err(Denial::FraudReported);

fn method(method: Method) -> Attempts {
    attempts(policy(method), 1)
}

/// When a prompt of a call in which nothing is pressed begins to say its code, or has been heard for a second.
fn opens(attempts: &Attempts, prompt: usize) -> u64 {
    let call = play(attempts, &[]);
    let prompt = &call.prompts[prompt];
    let digit = prompt.pieces.iter().find(|(_, piece)| piece.is_digit());
    digit.map_or(prompt.at + 1_000, |(began, _)| *began)
}

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
fn a_key_from_before_the_code_poisons_its_entry() {
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
fn a_repeat_says_the_same_code_and_takes_it_at_once() {
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
fn the_prompt_runs_on_until_the_code_was_said_once() {
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

fn slow(attempts: &Attempts, check_takes: Option<u64>, keys: &str) -> Call {
    play_with(Setting { attempts, check_takes }, &pressed(2_000, 100, keys))
}

#[test]
fn a_check_of_a_pin_that_never_ends_denies() {
    let attempts = method(Method::Pin);
    assert_eq!(slow(&attempts, Some(9_999), "2580#").result, Ok(()));
    for takes in [Some(10_000), Some(60_000), None] {
        let call = slow(&attempts, takes, "2580#");
        assert_eq!((call.result, call.ended), (Err(Denial::PinNotChecked), 2_400 + 10_000));
    }
}

#[test]
fn a_fraud_report_while_a_pin_is_checked_counts() {
    let attempts = method(Method::Pin);
    for takes in [150, 1_000, 9_000] {
        assert_eq!(slow(&attempts, Some(takes), "2580#0#").result, FRAUD, "{takes} ms");
        // A pause cuts it: it is not reported, and the PIN does not approve.
        let call = slow(&attempts, Some(takes), "2580#0");
        assert_eq!((call.result, call.counted), (WRONG, 0), "{takes} ms");
        // Both halves come while the PIN is checked.
        let keys = [pressed(2_000, 100, "2580#0"), vec![(6_000, '#')]].concat();
        let call = play_with(Setting { attempts: &attempts, check_takes: Some(takes.max(4_000)) }, &keys);
        assert_eq!(call.result, FRAUD, "{takes} ms");
        // The other half is heard in the next prompt.
        let keys = [pressed(2_000, 100, "2580#0"), vec![(5_600.max(2_400 + takes) + 100, '#')]].concat();
        let call = play_with(Setting { attempts: &attempts, check_takes: Some(takes) }, &keys);
        assert_eq!(call.result, FRAUD, "{takes} ms");
    }
}

#[test]
fn other_keys_while_a_pin_is_checked_only_delay_the_verdict() {
    let attempts = method(Method::Pin);
    for (keys, ended) in [("2580##", 3_400), ("2580#5#", 3_400), ("2580#5", 5_500), ("2580#55555", 5_900)] {
        let call = slow(&attempts, Some(1_000), keys);
        assert_eq!((call.result, call.ended, call.counted), (Ok(()), ended, 0), "{keys}");
    }
}

#[test]
fn a_pin_that_cannot_be_right_ends_the_call() {
    for (answer, denial) in [
        (PinAnswer::Locked, Denial::PinLocked),
        (PinAnswer::NotSet, Denial::PinNotSet),
        (PinAnswer::Failed, Denial::PinNotChecked),
    ] {
        let attempts = method(Method::Pin);
        let mut ivr = Ivr::new(&attempts, Duration::ZERO);
        let Some(Output::Speak { prompt, .. }) = ivr.poll_output() else { panic!("the prompt comes first") };
        ivr.piece_began(Duration::ZERO, prompt, 0);
        ivr.first_second_spoken(Duration::from_secs(1), prompt);
        for (at, key) in pressed(2_000, 100, "2580#") {
            ivr.key_pressed(Duration::from_millis(at), Key::from_char(key));
        }
        let outputs: Vec<_> = std::iter::from_fn(|| ivr.poll_output()).collect();
        let Ok([Output::StopSpeaking, Output::CheckPin(check)]) = <[_; 2]>::try_from(outputs) else {
            panic!("the PIN is checked")
        };
        ivr.pin_checked(Duration::from_secs(3), check, answer);
        let Some(Output::Ended { result, .. }) = ivr.poll_output() else { panic!("the call is over") };
        assert_eq!(result, Err(denial));
    }
}

/// The key was pressed before the code, and is reported after it: its press decides.
#[test]
fn a_key_that_is_reported_late_is_still_early() {
    let attempts = attempts(policy(Method::Code).with_code_digits(1).unwrap().with_attempts(1).unwrap(), 1);
    let code = code(&attempts, 1).chars().next().unwrap();
    for (at, is_early) in [(6_999, true), (7_000, false)] {
        let mut ivr = Ivr::new(&attempts, Duration::ZERO);
        let Some(Output::Speak { prompt, .. }) = ivr.poll_output() else { panic!("the prompt comes first") };
        for (index, began) in [0, 6_000, 7_000].into_iter().enumerate() {
            ivr.piece_began(Duration::from_millis(began), prompt, index);
        }
        ivr.key_pressed(Duration::from_millis(at), Key::from_char(code));
        ivr.key_pressed(Duration::from_millis(7_500), Key::Pound);
        let result = std::iter::from_fn(|| ivr.poll_output()).find_map(|output| match output {
            Output::Ended { result, .. } => Some(result.is_err()),
            _ => None,
        });
        assert_eq!(result, Some(is_early), "pressed at {at} ms");
    }
}

/// The caller does not say that the code began: no key can be right.
#[test]
fn a_prompt_whose_progress_is_not_reported_never_approves() {
    for method in Method::ALL {
        let attempts = attempts(policy(method), 1);
        let mut ivr = Ivr::new(&attempts, Duration::ZERO);
        let Some(Output::Speak { prompt, script }) = ivr.poll_output() else { panic!("the prompt comes first") };
        // There is no such piece.
        ivr.piece_began(Duration::ZERO, prompt, script.pieces().count());
        for (at, key) in pressed(20_000, 100, &(right_entry(&attempts, 1) + "#")) {
            ivr.key_pressed(Duration::from_millis(at), Key::from_char(key));
        }
        let outputs: Vec<_> = std::iter::from_fn(|| ivr.poll_output()).collect();
        assert!(outputs.iter().any(|output| matches!(output, Output::WrongEntry { .. })));
        assert!(!outputs.iter().any(|output| matches!(output, Output::CheckPin(_) | Output::Ended { .. })));
        // It ends, too.
        let timeout = ivr.next_timeout().unwrap();
        assert!(timeout <= Duration::from_secs(21) + MAX_PIECE);
        ivr.handle_timeout(timeout);
        let ends = std::iter::from_fn(|| ivr.poll_output())
            .any(|output| matches!(output, Output::Ended { result: Err(Denial::PlaybackStalled), .. }));
        assert!(ends && ivr.next_timeout().is_none());
    }
}

/// A report about a prompt that was stopped must not open the next one.
#[test]
fn a_late_report_about_an_earlier_prompt_has_no_effect() {
    let attempts = method(Method::Code);
    let mut ivr = Ivr::new(&attempts, Duration::ZERO);
    let Some(Output::Speak { prompt: first, .. }) = ivr.poll_output() else { panic!("the prompt comes first") };
    ivr.key_pressed(Duration::from_secs(1), Key::Pound);
    ivr.piece_began(Duration::from_secs(2), first, 2);
    ivr.prompt_ended(Duration::from_secs(2), first);
    for (at, key) in pressed(2_100, 100, &(right_entry(&attempts, 2) + "#")) {
        ivr.key_pressed(Duration::from_millis(at), Key::from_char(key));
    }
    let result = std::iter::from_fn(|| ivr.poll_output()).find_map(|output| match output {
        Output::Ended { result, .. } => Some(result),
        _ => None,
    });
    assert_eq!(result.unwrap().map(drop), WRONG);
}

#[test]
fn the_end_of_time_is_an_end() {
    for method in Method::ALL {
        let attempts = attempts(policy(method), 1);
        let mut ivr = Ivr::new(&attempts, Duration::ZERO);
        ivr.key_pressed(Duration::MAX, Key::Digit(1));
        ivr.handle_timeout(Duration::MAX);
        assert!(ivr.next_timeout().is_none());
    }
}

/// The result of a call with the method `pound` and one attempt in which `#` is pressed, after these reports.
fn pound(at: u64, report: impl Fn(&mut Ivr<'_>, PromptId)) -> Result<(), Denial> {
    let attempts = attempts(policy(Method::Pound).with_attempts(1).unwrap(), 1);
    let mut ivr = Ivr::new(&attempts, Duration::ZERO);
    let Some(Output::Speak { prompt, .. }) = ivr.poll_output() else { panic!("the prompt comes first") };
    report(&mut ivr, prompt);
    ivr.key_pressed(Duration::from_millis(at), Key::Pound);
    let result = std::iter::from_fn(|| ivr.poll_output()).find_map(|output| match output {
        Output::Ended { result, .. } => Some(result.map(drop)),
        _ => None,
    });
    result.expect("the call is over")
}

/// As while the peer holds the call: nothing of the prompt is sent.
#[test]
fn a_second_in_which_nothing_is_spoken_is_not_heard() {
    let begins = |ivr: &mut Ivr<'_>, prompt| ivr.piece_began(Duration::ZERO, prompt, 0);
    assert_eq!(pound(30_000, begins), WRONG);
    let heard = |ivr: &mut Ivr<'_>, prompt| {
        begins(ivr, prompt);
        ivr.first_second_spoken(Duration::from_secs(20), prompt);
    };
    assert_eq!([pound(19_999, heard), pound(20_000, heard)], [WRONG, Ok(())]);
}

/// Own recordings may be that short.
#[test]
fn a_prompt_of_less_than_a_second_is_heard_a_second_after_it_began() {
    let speak = |ivr: &mut Ivr<'_>, prompt| {
        ivr.piece_began(Duration::ZERO, prompt, 0);
        ivr.prompt_ended(Duration::from_millis(400), prompt);
    };
    assert_eq!([pound(999, speak), pound(1_000, speak)], [WRONG, Ok(())]);
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
