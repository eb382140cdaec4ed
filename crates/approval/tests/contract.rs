//! The answers that a backend may report and their verdicts, and attempts that another process judges.

mod support;

use phonegate_approval::attempts::{Attempts, RestoreError, StoredAttempts};
use phonegate_approval::policy::{Method, Policy};
use phonegate_approval::secret::Entry;
use phonegate_approval::verdict::{
    Answer, Denial, EndedBy, JudgedBy, PinAnswer, ProviderVerdicts, StoredApproval, Verdict,
};

use support::{PIN, attempts, code, policy, right_entry};

/// The verdict about an answer, with the check of its PIN, and the number of such checks.
fn judge(attempts: &Attempts, verdicts: ProviderVerdicts, answer: &Answer) -> (Result<JudgedBy, Denial>, usize) {
    match attempts.judge(verdicts, answer) {
        Verdict::Approved(approval) => (Ok(approval.judged_by()), 0),
        Verdict::Denied(denial) => (Err(denial), 0),
        Verdict::CheckPin(check) => {
            let is_right = check.pin().as_bytes() == PIN.as_bytes();
            let result = check.finish(if is_right { PinAnswer::Right } else { PinAnswer::Wrong });
            (result.map(|approval| approval.judged_by()), 1)
        }
    }
}

fn entry(attempt: u8, digits: &str, ended_by: EndedBy) -> Answer {
    Answer::Entry { attempt, digits: Entry::from_text(digits), ended_by }
}

fn worth(attempts: &Attempts, attempt: u8, digits: &str, ended_by: EndedBy) -> Result<JudgedBy, Denial> {
    judge(attempts, ProviderVerdicts::Refused, &entry(attempt, digits, ended_by)).0
}

#[test]
fn only_the_right_entry_of_its_attempt_approves() {
    for method in Method::ALL {
        for seed in 0..50 {
            let digits = u8::try_from(seed % 4 + 1).unwrap();
            let attempts = attempts(policy(method).with_code_digits(digits).unwrap(), seed);
            for attempt in [1, 2] {
                let right = right_entry(&attempts, attempt);
                let worth = |attempt, digits: &str| worth(&attempts, attempt, digits, EndedBy::Pound);
                assert_eq!(worth(attempt, &right), Ok(JudgedBy::PhoneGate));
                for other in [0, 3, u8::MAX] {
                    assert!(worth(other, &right).is_err(), "there is no attempt {other}");
                }
                if right_entry(&attempts, 3 - attempt) != right {
                    assert!(worth(3 - attempt, &right).is_err(), "a code approves in its own attempt only");
                }
                for wrong in [
                    format!("4{right}"),
                    format!("{right}4"),
                    format!("{right}#"),
                    format!("#{right}"),
                    format!("{right} "),
                    format!("{right}\0"),
                    format!("{right}{}", "1".repeat(300)),
                ] {
                    assert!(worth(attempt, &wrong).is_err(), "{wrong:?} is not {right:?}");
                }
            }
        }
    }
}

/// Every entry of up to four digits, with every code of three.
#[test]
fn exactly_one_entry_approves() {
    for method in [Method::Code, Method::Pound] {
        let attempts = attempts(policy(method), 3);
        let all = (0..=4usize).flat_map(|len| (0..10usize.pow(len as u32)).map(move |n| (len, n)));
        let approving: Vec<String> = all
            .map(|(len, n)| if len == 0 { String::new() } else { format!("{n:0len$}") })
            .filter(|digits| worth(&attempts, 1, digits, EndedBy::Pound).is_ok())
            .collect();
        assert_eq!(approving, [right_entry(&attempts, 1)]);
    }
}

#[test]
fn only_pound_ends_an_entry_that_approves_or_reports() {
    for method in Method::ALL {
        let attempts = attempts(policy(method), 1);
        for ended_by in [EndedBy::Pause, EndedBy::Full] {
            let wrong = Err(Denial::WrongEntry { counts_against_pin: method.has_pin() });
            assert_eq!(worth(&attempts, 1, "", ended_by), Err(Denial::NoEntry));
            assert_eq!(worth(&attempts, 1, "0", ended_by), wrong);
            if method != Method::Pound {
                assert_eq!(worth(&attempts, 1, &right_entry(&attempts, 1), ended_by), wrong);
            }
        }
    }
}

#[test]
fn a_fraud_report_counts_in_any_attempt() {
    for method in Method::ALL {
        for (fraud_key, key) in [('0', "0"), ('8', "8")] {
            let attempts = attempts(policy(method).with_fraud_key(fraud_key).unwrap(), 1);
            for attempt in 0..=u8::MAX {
                assert_eq!(worth(&attempts, attempt, key, EndedBy::Pound), Err(Denial::FraudReported));
            }
            for other in ["00", "08", "1", "*", "?"] {
                assert_ne!(worth(&attempts, 1, other, EndedBy::Pound), Err(Denial::FraudReported), "{other}");
            }
        }
    }
}

#[test]
fn a_provider_verdict_counts_only_if_accepted_without_a_pin() {
    for method in Method::ALL {
        let attempts = attempts(policy(method), 1);
        let refused = judge(&attempts, ProviderVerdicts::Refused, &Answer::ProviderApproved);
        assert_eq!(refused.0, Err(Denial::ProviderVerdictRefused));
        let accepted = judge(&attempts, ProviderVerdicts::Accepted, &Answer::ProviderApproved);
        let expected = if method.has_pin() { Err(Denial::ProviderVerdictRefused) } else { Ok(JudgedBy::Provider) };
        assert_eq!(accepted.0, expected, "{method:?}");
        // To accept verdicts makes no entry right.
        let wrong = judge(&attempts, ProviderVerdicts::Accepted, &entry(1, "5", EndedBy::Pound));
        assert!(wrong.0.is_err());
    }
}

/// An entry that cannot be right is counted by the caller; one whose PIN was checked, by the check.
#[test]
fn every_wrong_entry_counts_against_the_pin_once() {
    let attempts = attempts(policy(Method::PinAndCode), 1);
    let code = code(&attempts, 1);
    let counted = Err(Denial::WrongEntry { counts_against_pin: true });
    let checked = Err(Denial::WrongEntry { counts_against_pin: false });
    for (digits, expected) in [
        (format!("{PIN}{code}"), (Ok(JudgedBy::PhoneGate), 1)),
        (format!("9999{code}"), (checked, 1)),
        (format!("123456789012{code}"), (checked, 1)),
        // No check: the code is wrong, or what precedes it is no PIN.
        (format!("{PIN}000"), (counted, 0)),
        (format!("{code}{PIN}"), (counted, 0)),
        (format!("258{code}"), (counted, 0)),
        (format!("258*{code}"), (counted, 0)),
        (format!("1234567890123{code}"), (counted, 0)),
        (PIN.to_owned(), (counted, 0)),
        (code.clone(), (counted, 0)),
        (String::new(), (counted, 0)),
    ] {
        let found = judge(&attempts, ProviderVerdicts::Refused, &entry(1, &digits, EndedBy::Pound));
        assert_eq!(found, expected, "{digits:?}");
    }
}

#[test]
fn a_pin_has_4_to_12_digits() {
    let attempts = attempts(policy(Method::Pin), 1);
    for len in 0..20 {
        let checks = judge(&attempts, ProviderVerdicts::Refused, &entry(1, &"7".repeat(len), EndedBy::Pound)).1;
        assert_eq!(checks, usize::from((4..=12).contains(&len)), "{len} digits");
    }
}

#[test]
fn only_a_right_pin_approves() {
    let attempts = attempts(policy(Method::Pin), 1);
    for (answer, expected) in [
        (PinAnswer::Right, None),
        (PinAnswer::Wrong, Some(Denial::WrongEntry { counts_against_pin: false })),
        (PinAnswer::Locked, Some(Denial::PinLocked)),
        (PinAnswer::NotSet, Some(Denial::PinNotSet)),
        (PinAnswer::Failed, Some(Denial::PinNotChecked)),
    ] {
        let verdict = attempts.judge(ProviderVerdicts::Refused, &entry(1, PIN, EndedBy::Pound));
        let Verdict::CheckPin(check) = verdict else { panic!("a PIN is checked") };
        assert_eq!(check.finish(answer).err(), expected);
    }
}

#[test]
fn a_stored_approval_says_who_judged() {
    let attempts = attempts(policy(Method::Pound), 1);
    let answers = [(Answer::ProviderApproved, JudgedBy::Provider), (entry(1, "", EndedBy::Pound), JudgedBy::PhoneGate)];
    for (answer, judge) in answers {
        let Verdict::Approved(approval) = attempts.judge(ProviderVerdicts::Accepted, &answer) else {
            panic!("it is approved")
        };
        let stored = StoredApproval::from(&approval);
        assert_eq!(stored.judged_by, Some(judge));
        assert_eq!(JudgedBy::from_name(judge.name()), Some(judge), "the name is stored, and read again");
    }
    assert_eq!(JudgedBy::from_name(""), None);
}

#[test]
fn another_process_judges_by_the_same_codes() {
    for method in Method::ALL {
        for seed in 0..200 {
            let policy = policy(method).with_attempts(10).unwrap().with_code_digits(4).unwrap();
            let attempts = attempts(policy, seed);
            let stored = attempts.to_stored();
            assert!(stored.as_text().len() <= 80 && stored.as_text().bytes().all(|byte| matches!(byte, b' '..=b'~')));
            let read = StoredAttempts::from_text(stored.as_text().to_owned());
            let restored = Attempts::restore(policy, &read).unwrap();
            for attempt in 1..=10 {
                let right = right_entry(&attempts, attempt);
                assert_eq!(worth(&restored, attempt, &right, EndedBy::Pound), Ok(JudgedBy::PhoneGate));
            }
        }
    }
}

#[test]
fn a_store_cannot_choose_the_rules() {
    let other = |policy: Policy| {
        let stored = attempts(policy, 1).to_stored();
        Attempts::restore(Policy::default(), &stored).err()
    };
    assert_eq!(other(Policy::default()), None);
    assert_eq!(other(Policy::default().with_repeats(9).unwrap()), None, "another process speaks no prompts");
    for policy in [
        policy(Method::Pound),
        policy(Method::Pin),
        policy(Method::PinAndCode),
        Policy::default().with_code_digits(1).unwrap(),
        Policy::default().with_attempts(3).unwrap(),
        Policy::default().with_fraud_key('9').unwrap(),
    ] {
        assert_eq!(other(policy), Some(RestoreError::PolicyChanged), "{policy:?}");
    }
}

/// Every text that differs in one byte, or is cut, is refused, or is another code that is allowed.
#[test]
fn a_damaged_stored_form_is_rejected() {
    let restore = |text: &str| Attempts::restore(Policy::default(), &StoredAttempts::from_text(text.to_owned()));
    let text = attempts(Policy::default(), 1).to_stored().as_text().to_owned();
    assert!(restore(&text).is_ok());
    let codes = text.rfind(' ').and_then(|last| text[..last].rfind(' ')).unwrap();
    for end in 0..text.len() {
        assert!(restore(&text[..end]).is_err(), "{:?}", &text[..end]);
    }
    for place in 0..text.len() {
        for byte in 0..128 {
            let mut damaged = text.clone().into_bytes();
            damaged[place] = byte;
            let damaged = String::from_utf8(damaged).unwrap();
            if damaged != text && (place < codes || !byte.is_ascii_digit() || byte == b'0') {
                assert!(restore(&damaged).is_err(), "{damaged:?}");
            }
        }
    }
    for damaged in
        ["", " ", "1", "2 code 3 0 2 123 456", &format!("{text} 123"), &format!("{text} "), "1 code 3 0 2 112 345"]
    {
        assert!(restore(damaged).is_err(), "{damaged:?}");
    }
}
