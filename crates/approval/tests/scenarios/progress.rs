//! The progress of prompts: reports that are late, missing, or about an earlier prompt.

use std::time::Duration;

use phonegate_approval::ivr::{Ivr, MAX_PIECE, Output, PromptId};
use phonegate_approval::policy::Method;
use phonegate_approval::secret::Key;
use phonegate_approval::verdict::Denial;

use super::support::*;
use super::{WRONG, method};

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
fn the_maximum_time_ends_the_call() {
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
