//! What the conversation does with prompts and keys, in virtual time. What each key means, the tests of the judge show.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use phonegate_approval::attempts::Attempts;
use phonegate_approval::policy::{Method, Policy};
use phonegate_approval::verdict::ProviderVerdicts;
use tokio::time::{Instant, sleep_until};

use super::super::media::UNCLEAR_KEY;
use super::*;

/// How long each piece of a prompt is.
const PIECE: Duration = Duration::from_millis(800);

/// When a key is pressed.
#[derive(Clone, Copy)]
enum When {
    /// After the answer, in milliseconds.
    At(u64),
    /// After the end of the prompt of this number, the first being 1, in milliseconds.
    AfterPrompt(usize, u64),
}

/// What a user presses.
#[derive(Clone, Copy)]
enum What {
    Key(char),
    /// The digits that this prompt spoke, then `#`.
    Code(usize),
}

/// A user who presses keys, and a telephone that speaks to them.
struct User {
    start: Instant,
    plan: Vec<(When, What)>,
    presses: VecDeque<(Instant, char)>,
    /// The code of each prompt.
    heard: Vec<String>,
    /// What is to be spoken of the prompt.
    speech: VecDeque<(Instant, SpeechProgress)>,
    dialled: Option<String>,
    takes_keys: bool,
}

impl User {
    fn who(plan: &[(When, What)]) -> Self {
        let start = Instant::now();
        let mut user = Self {
            start,
            plan: plan.to_vec(),
            presses: VecDeque::new(),
            heard: Vec::new(),
            speech: VecDeque::new(),
            dialled: None,
            takes_keys: true,
        };
        for (when, what) in plan {
            if let (When::At(at), What::Key(key)) = (when, what) {
                user.presses.push_back((start + Duration::from_millis(*at), *key));
            }
        }
        user
    }
}

impl Line for User {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn speak(&mut self, script: Script<'_>) -> Result<(), ComposeError> {
        let pieces: Vec<_> = script.pieces().collect();
        let code = pieces.iter().filter_map(|piece| match piece {
            Piece::Digit(digit) => Some(digit.to_string()),
            _ => None,
        });
        let code: String = code.collect();
        self.heard.push(match pieces.first() {
            // It is said twice.
            Some(Piece::Intro | Piece::WrongKey) => {
                let (once, twice) = code.split_at(code.len() / 2);
                assert_eq!(once, twice, "the code is said twice");
                once.to_owned()
            }
            _ => code,
        });
        let mut at = Instant::now();
        let heard = at + Duration::from_secs(1);
        for index in 0..pieces.len() {
            self.speech.push_back((at, SpeechProgress::PieceBegan(index)));
            at += PIECE;
            if (at - PIECE..at).contains(&heard) {
                self.speech.push_back((heard, SpeechProgress::SecondSent));
            }
        }
        self.speech.push_back((at, SpeechProgress::Ended));
        for (when, what) in &self.plan {
            let When::AfterPrompt(prompt, after) = when else { continue };
            if *prompt != self.heard.len() {
                continue;
            }
            let keys = match what {
                What::Key(key) => key.to_string(),
                What::Code(prompt) => format!("{}#", self.heard.get(prompt - 1).unwrap()),
            };
            let presses = keys.chars().zip(0..).map(|(key, n)| (at + Duration::from_millis(after + 300 * n), key));
            self.presses.extend(presses);
        }
        Ok(())
    }

    fn stop_speaking(&mut self) {
        self.speech.clear();
    }

    async fn event(&mut self) -> LineEvent {
        let (speech, press) = (self.speech.front().map(|(at, _)| *at), self.presses.front().map(|(at, _)| *at));
        match (speech, press) {
            (None, None) => std::future::pending().await,
            (Some(speech), press) if press.is_none_or(|press| speech <= press) => {
                sleep_until(speech).await;
                let progress = self.speech.pop_front().unwrap().1;
                LineEvent::Speech(SpeechEvent { at: speech - self.start, progress })
            }
            (_, press) => {
                sleep_until(press.unwrap()).await;
                let (at, key) = self.presses.pop_front().unwrap();
                LineEvent::Key(Press { key, began: at - self.start })
            }
        }
    }

    async fn press(&mut self, digits: &str) -> bool {
        self.dialled = Some(digits.to_owned());
        self.takes_keys
    }

    fn forget_keys(&mut self) {
        self.presses.retain(|(at, _)| *at >= Instant::now());
    }
}

/// `None` if it is verified, else the reason; and how many prompts were spoken.
fn held(method: Method, plan: &[(When, What)]) -> (Option<FailureReason>, usize) {
    held_with(Policy::default().with_method(method), plan)
}

fn held_with(policy: Policy, plan: &[(When, What)]) -> (Option<FailureReason>, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut user = User::who(plan);
        let outcome = converse(&mut user, &approver(policy), &Pins::keeping(PinAnswer::NotSet), None).await;
        (reason(&outcome), user.heard.len())
    })
}

fn approver(policy: Policy) -> Approver {
    let fill = |bytes: &mut [u8]| -> Result<(), std::convert::Infallible> {
        bytes.fill_with(|| fastrand::u8(..));
        Ok(())
    };
    Approver::new(Arc::new(Attempts::new(policy, fill).unwrap()), ProviderVerdicts::Refused)
}

fn reason(outcome: &Outcome) -> Option<FailureReason> {
    match outcome {
        Outcome::Verified(_) => None,
        Outcome::Failed(failure) => Some(failure.reason()),
    }
}

use What::{Code, Key as Pressed};
use When::{AfterPrompt, At};

#[test]
fn the_code_that_was_spoken_verifies() {
    assert_eq!(held(Method::Code, &[(AfterPrompt(1, 500), Code(1))]), (None, 1));
}

#[test]
fn the_code_of_an_earlier_attempt_is_wrong() {
    let wrong = [(AfterPrompt(1, 500), Pressed('*')), (AfterPrompt(1, 900), Pressed('#'))];
    let right = [wrong[0], wrong[1], (AfterPrompt(2, 500), Code(2))];
    assert_eq!(held(Method::Code, &right), (None, 2), "the next attempt has a code of its own");
    // One of 576 codes is the same by chance.
    let policy = Policy::default().with_code_digits(4).unwrap();
    let stale =
        (0..20).filter(|_| held_with(policy, &[wrong[0], wrong[1], (AfterPrompt(2, 500), Code(1))]).0.is_none());
    assert!(stale.count() < 3, "the code of the first attempt does not approve in the second");
}

#[test]
fn a_recording_of_pound_keys_never_approves() {
    let recording: Vec<_> = (0..900).map(|n| (At(n * 100), Pressed('#'))).collect();
    for method in [Method::Code, Method::Pound] {
        assert_eq!(held(method, &recording), (Some(FailureReason::WrongKey), 2), "{method:?}");
    }
}

#[test]
fn the_pound_key_verifies_and_the_fraud_key_before_it_reports() {
    assert_eq!(held(Method::Pound, &[(At(1_100), Pressed('#'))]), (None, 1));
    for method in [Method::Pound, Method::Code] {
        let report = [(At(100), Pressed('0')), (At(900), Pressed('#'))];
        assert_eq!(held(method, &report).0, Some(FailureReason::FraudReported), "{method:?}");
    }
}

#[test]
fn another_fraud_key_takes_the_place_of_zero() {
    let policy = Policy::default().with_method(Method::Pound).with_fraud_key('9').unwrap().with_attempts(1).unwrap();
    let with = |key| held_with(policy, &[(At(2_000), Pressed(key)), (At(2_500), Pressed('#'))]).0;
    assert_eq!(with('9'), Some(FailureReason::FraudReported));
    assert_eq!(with('0'), Some(FailureReason::WrongKey));
}

/// The media reports a press of which only one packet arrived as an unclear key: it may have been the fraud key.
#[test]
fn an_entry_with_an_unclear_key_is_wrong() {
    let policy = Policy::default().with_method(Method::Pound).with_attempts(1).unwrap();
    let unclear = [(At(2_000), Pressed(UNCLEAR_KEY)), (At(2_200), Pressed('#'))];
    assert_eq!(held_with(policy, &unclear).0, Some(FailureReason::WrongKey));
}

#[test]
fn silence_is_no_key_after_as_many_prompts_as_configured() {
    for method in [Method::Code, Method::Pound] {
        assert_eq!(held(method, &[]), (Some(FailureReason::NoKeyPressed), 3));
    }
}

#[tokio::test(start_paused = true)]
async fn an_extension_that_cannot_be_dialled_ends_the_call_before_a_word_is_said() {
    let mut user = User { takes_keys: false, ..User::who(&[(At(10_000), Pressed('#'))]) };
    let outcome =
        converse(&mut user, &approver(Policy::default()), &Pins::keeping(PinAnswer::NotSet), Some("42")).await;
    assert_eq!(reason(&outcome), Some(FailureReason::CannotPlace));
    assert_eq!((user.dialled.as_deref(), user.heard.len()), (Some("42"), 0));
}

#[tokio::test(start_paused = true)]
async fn keys_before_the_first_prompt_never_count() {
    let mut user = User::who(&[(At(0), Pressed('#')), (At(900), Pressed('#')), (At(1_500), Pressed('#'))]);
    let approver = approver(Policy::default().with_method(Method::Pound));
    let outcome = converse(&mut user, &approver, &Pins::keeping(PinAnswer::NotSet), Some("42")).await;
    assert_eq!(reason(&outcome), Some(FailureReason::NoKeyPressed));
}

/// The PIN of the user.
const PIN: &str = "2580";

/// How long the check of a PIN takes.
const CHECK: Duration = Duration::from_secs(2);

/// A store of PINs.
struct Pins {
    /// The answer to the right PIN. Another one is wrong.
    to_right: PinAnswer,
    /// `None`: the check never ends.
    takes: Option<Duration>,
    checks: Cell<usize>,
    /// Wrong entries that had no PIN to check.
    failures: Cell<usize>,
}

impl Pins {
    fn keeping(to_right: PinAnswer) -> Self {
        Self { to_right, takes: Some(CHECK), checks: Cell::new(0), failures: Cell::new(0) }
    }
}

impl CheckPin for Pins {
    async fn count_failure(&self) {
        self.failures.set(self.failures.get() + 1);
    }

    async fn check_pin(&self, pin: &Pin) -> PinAnswer {
        self.checks.set(self.checks.get() + 1);
        match self.takes {
            Some(takes) => tokio::time::sleep(takes).await,
            None => std::future::pending().await,
        }
        if pin.as_bytes() == PIN.as_bytes() { self.to_right } else { PinAnswer::Wrong }
    }
}

/// The result of a call with the method `pin` in which keys are pressed after the prompts: these after the first, those
/// after the second. `None` if it is verified; and how many PINs were checked.
fn checked(pins: &Pins, [first, second]: [&str; 2]) -> (Option<FailureReason>, usize) {
    let after = |prompt, keys: &str| {
        let keys: Vec<_> = keys.chars().zip(0..).collect();
        keys.into_iter().map(move |(key, n)| (AfterPrompt(prompt, 500 + 300 * n), Pressed(key)))
    };
    let plan: Vec<_> = after(1, first).chain(after(2, second)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let approver = approver(Policy::default().with_method(Method::Pin));
    let outcome = runtime.block_on(converse(&mut User::who(&plan), &approver, pins, None));
    (reason(&outcome), pins.checks.get())
}

#[test]
fn the_right_pin_verifies_also_after_a_wrong_one() {
    assert_eq!(checked(&Pins::keeping(PinAnswer::Right), ["2580#", ""]), (None, 1));
    assert_eq!(checked(&Pins::keeping(PinAnswer::Right), ["2581#", "2580#"]), (None, 2));
    assert_eq!(checked(&Pins::keeping(PinAnswer::Right), ["2581#", "0852#"]), (Some(FailureReason::WrongKey), 2));
}

#[test]
fn a_pin_that_cannot_be_compared_ends_the_call_at_once() {
    for answer in [PinAnswer::Locked, PinAnswer::NotSet, PinAnswer::Failed] {
        let pins = Pins::keeping(answer);
        let (reason, checks) = checked(&pins, ["2580#", "2580#"]);
        assert!(reason.is_some() && checks == 1, "{answer:?}: {reason:?}");
    }
}

#[test]
fn a_pin_check_that_never_ends_is_a_failure() {
    let pins = Pins { takes: None, ..Pins::keeping(PinAnswer::Right) };
    let (reason, checks) = checked(&pins, ["2580#", ""]);
    assert!(reason.is_some() && checks == 1, "{reason:?}");
}

/// The keys are read while the check goes on, or the report would come too late.
#[test]
fn a_fraud_report_during_a_pin_check_counts() {
    let pins = Pins::keeping(PinAnswer::Right);
    assert_eq!(checked(&pins, ["2580#0#", ""]), (Some(FailureReason::FraudReported), 1));
}
