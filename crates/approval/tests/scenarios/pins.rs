//! Checks of PINs: their results, and what is pressed during a check.

use std::time::Duration;

use phonegate_approval::ivr::{Ivr, Output};
use phonegate_approval::policy::Method;
use phonegate_approval::secret::Key;
use phonegate_approval::verdict::{Denial, PinAnswer};

use super::support::*;
use super::{FRAUD, WRONG, method, slow};

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
