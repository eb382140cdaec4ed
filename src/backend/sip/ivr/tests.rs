//! The dialogue with a simulated user, in virtual time. The tests of `phonegate_approval` show what each digit means.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use phonegate_approval::attempts::Attempts;
use phonegate_approval::policy::{Method, Policy};
use phonegate_approval::verdict::ProviderVerdicts;
use tokio::time::{Instant, sleep_until};

use super::super::media::UNCLEAR_DIGIT;
use super::*;

/// Duration of each piece of a prompt.
const PIECE: Duration = Duration::from_millis(800);

/// When a digit is pressed.
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

/// A user who presses digits by a plan, and the audio that the user hears.
struct User {
    start: Instant,
    plan: Vec<(When, What)>,
    presses: VecDeque<(Instant, char)>,
    /// The code of each prompt.
    heard: Vec<String>,
    /// The remaining progress of the prompt.
    playback: VecDeque<(Instant, PlaybackProgress)>,
    dialled: Option<String>,
    accepts_events: bool,
}

impl User {
    fn with_plan(plan: &[(When, What)]) -> Self {
        let start = Instant::now();
        let mut user = Self {
            start,
            plan: plan.to_vec(),
            presses: VecDeque::new(),
            heard: Vec::new(),
            playback: VecDeque::new(),
            dialled: None,
            accepts_events: true,
        };
        for (when, what) in plan {
            if let (When::At(at), What::Key(key)) = (when, what) {
                user.presses.push_back((start + Duration::from_millis(*at), *key));
            }
        }
        user
    }
}

impl CallAudio for User {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn play(&mut self, script: Script<'_>) -> Result<(), ComposeError> {
        let pieces: Vec<_> = script.pieces().collect();
        let code = pieces.iter().filter_map(|piece| match piece {
            Piece::Digit(digit) => Some(digit.to_string()),
            _ => None,
        });
        let code: String = code.collect();
        self.heard.push(match pieces.first() {
            // A first prompt has its code twice.
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
            self.playback.push_back((at, PlaybackProgress::PieceBegan(index)));
            at += PIECE;
            if (at - PIECE..at).contains(&heard) {
                self.playback.push_back((heard, PlaybackProgress::FirstSecondSent));
            }
        }
        self.playback.push_back((at, PlaybackProgress::Ended));
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

    fn stop(&mut self) {
        self.playback.clear();
    }

    async fn next_event(&mut self) -> AudioEvent {
        let (playback, press) = (self.playback.front().map(|(at, _)| *at), self.presses.front().map(|(at, _)| *at));
        match (playback, press) {
            (None, None) => std::future::pending().await,
            (Some(playback), press) if press.is_none_or(|press| playback <= press) => {
                sleep_until(playback).await;
                let progress = self.playback.pop_front().unwrap().1;
                AudioEvent::Playback(PlaybackEvent { at: playback - self.start, progress })
            }
            (_, press) => {
                sleep_until(press.unwrap()).await;
                let (at, key) = self.presses.pop_front().unwrap();
                AudioEvent::Digit(DigitPress { digit: key, began: at - self.start })
            }
        }
    }

    async fn send_digits(&mut self, digits: &str) -> bool {
        self.dialled = Some(digits.to_owned());
        self.accepts_events
    }

    fn discard_digits(&mut self) {
        self.presses.retain(|(at, _)| *at >= Instant::now());
    }
}

/// Returns the reason of the failure, `None` if the call is verified, and the number of prompts.
fn outcome_of(method: Method, plan: &[(When, What)]) -> (Option<FailureReason>, usize) {
    outcome_with(Policy::default().with_method(method), plan)
}

fn outcome_with(policy: Policy, plan: &[(When, What)]) -> (Option<FailureReason>, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut user = User::with_plan(plan);
        let outcome = run_ivr(&mut user, &approver(policy), &Pins::with_result(PinAnswer::NotSet), None).await;
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
fn the_spoken_code_verifies() {
    assert_eq!(outcome_of(Method::Code, &[(AfterPrompt(1, 500), Code(1))]), (None, 1));
}

#[test]
fn the_code_of_an_earlier_attempt_is_wrong() {
    let wrong = [(AfterPrompt(1, 500), Pressed('*')), (AfterPrompt(1, 900), Pressed('#'))];
    let right = [wrong[0], wrong[1], (AfterPrompt(2, 500), Code(2))];
    assert_eq!(outcome_of(Method::Code, &right), (None, 2), "the next attempt has a code of its own");
    // One of 576 codes is the same by chance.
    let policy = Policy::default().with_code_digits(4).unwrap();
    let stale =
        (0..20).filter(|_| outcome_with(policy, &[wrong[0], wrong[1], (AfterPrompt(2, 500), Code(1))]).0.is_none());
    assert!(stale.count() < 3, "the code of the first attempt does not approve in the second");
}

#[test]
fn a_recording_of_pound_keys_never_approves() {
    let recording: Vec<_> = (0..900).map(|n| (At(n * 100), Pressed('#'))).collect();
    for method in [Method::Code, Method::Pound] {
        assert_eq!(outcome_of(method, &recording), (Some(FailureReason::WrongKey), 2), "{method:?}");
    }
}

#[test]
fn the_pound_key_verifies_and_the_fraud_key_before_it_reports() {
    assert_eq!(outcome_of(Method::Pound, &[(At(1_100), Pressed('#'))]), (None, 1));
    for method in [Method::Pound, Method::Code] {
        let report = [(At(100), Pressed('0')), (At(900), Pressed('#'))];
        assert_eq!(outcome_of(method, &report).0, Some(FailureReason::FraudReported), "{method:?}");
    }
}

#[test]
fn another_fraud_key_replaces_zero() {
    let policy = Policy::default().with_method(Method::Pound).with_fraud_key('9').unwrap().with_attempts(1).unwrap();
    let with = |key| outcome_with(policy, &[(At(2_000), Pressed(key)), (At(2_500), Pressed('#'))]).0;
    assert_eq!(with('9'), Some(FailureReason::FraudReported));
    assert_eq!(with('0'), Some(FailureReason::WrongKey));
}

/// The media reports a press of which only one packet arrived as an unclear digit: it may have been the fraud key.
#[test]
fn an_entry_with_an_unclear_digit_is_wrong() {
    let policy = Policy::default().with_method(Method::Pound).with_attempts(1).unwrap();
    let unclear = [(At(2_000), Pressed(UNCLEAR_DIGIT)), (At(2_200), Pressed('#'))];
    assert_eq!(outcome_with(policy, &unclear).0, Some(FailureReason::WrongKey));
}

#[test]
fn silence_fails_after_the_configured_prompts() {
    for method in [Method::Code, Method::Pound] {
        assert_eq!(outcome_of(method, &[]), (Some(FailureReason::NoKeyPressed), 3));
    }
}

#[tokio::test(start_paused = true)]
async fn an_extension_that_cannot_be_dialled_plays_no_prompt() {
    let mut user = User { accepts_events: false, ..User::with_plan(&[(At(10_000), Pressed('#'))]) };
    let outcome =
        run_ivr(&mut user, &approver(Policy::default()), &Pins::with_result(PinAnswer::NotSet), Some("42")).await;
    assert_eq!(reason(&outcome), Some(FailureReason::CannotPlace));
    assert_eq!((user.dialled.as_deref(), user.heard.len()), (Some("42"), 0));
}

#[tokio::test(start_paused = true)]
async fn digits_before_the_first_prompt_never_count() {
    let mut user = User::with_plan(&[(At(0), Pressed('#')), (At(900), Pressed('#')), (At(1_500), Pressed('#'))]);
    let approver = approver(Policy::default().with_method(Method::Pound));
    let outcome = run_ivr(&mut user, &approver, &Pins::with_result(PinAnswer::NotSet), Some("42")).await;
    assert_eq!(reason(&outcome), Some(FailureReason::NoKeyPressed));
}

/// The PIN of the user.
const PIN: &str = "2580";

/// Duration of the check of a PIN.
const CHECK: Duration = Duration::from_secs(2);

/// A stub of the PIN store.
struct Pins {
    /// The result for the right PIN. Any other PIN is wrong.
    right: PinAnswer,
    /// `None`: the check never ends.
    takes: Option<Duration>,
    checks: Cell<usize>,
    /// Wrong entries without a PIN to check.
    failures: Cell<usize>,
}

impl Pins {
    fn with_result(right: PinAnswer) -> Self {
        Self { right, takes: Some(CHECK), checks: Cell::new(0), failures: Cell::new(0) }
    }
}

impl PinChecker for Pins {
    async fn count_failure(&self) {
        self.failures.set(self.failures.get() + 1);
    }

    async fn check_pin(&self, pin: &Pin) -> PinAnswer {
        self.checks.set(self.checks.get() + 1);
        match self.takes {
            Some(takes) => tokio::time::sleep(takes).await,
            None => std::future::pending().await,
        }
        if pin.as_bytes() == PIN.as_bytes() { self.right } else { PinAnswer::Wrong }
    }
}

/// Runs a call with the method `pin` in which these digits are pressed after the first and after the second prompt. Returns
/// the reason of the failure, `None` if the call is verified, and the number of PINs that were checked.
fn checked(pins: &Pins, [first, second]: [&str; 2]) -> (Option<FailureReason>, usize) {
    let after = |prompt, keys: &str| {
        let keys: Vec<_> = keys.chars().zip(0..).collect();
        keys.into_iter().map(move |(key, n)| (AfterPrompt(prompt, 500 + 300 * n), Pressed(key)))
    };
    let plan: Vec<_> = after(1, first).chain(after(2, second)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let approver = approver(Policy::default().with_method(Method::Pin));
    let outcome = runtime.block_on(run_ivr(&mut User::with_plan(&plan), &approver, pins, None));
    (reason(&outcome), pins.checks.get())
}

#[test]
fn the_right_pin_verifies_even_after_a_wrong_one() {
    assert_eq!(checked(&Pins::with_result(PinAnswer::Right), ["2580#", ""]), (None, 1));
    assert_eq!(checked(&Pins::with_result(PinAnswer::Right), ["2581#", "2580#"]), (None, 2));
    assert_eq!(checked(&Pins::with_result(PinAnswer::Right), ["2581#", "0852#"]), (Some(FailureReason::WrongKey), 2));
}

#[test]
fn a_pin_that_cannot_be_compared_ends_the_call() {
    for answer in [PinAnswer::Locked, PinAnswer::NotSet, PinAnswer::Failed] {
        let pins = Pins::with_result(answer);
        let (reason, checks) = checked(&pins, ["2580#", "2580#"]);
        assert!(reason.is_some() && checks == 1, "{answer:?}: {reason:?}");
    }
}

#[test]
fn a_pin_check_that_never_ends_is_a_failure() {
    let pins = Pins { takes: None, ..Pins::with_result(PinAnswer::Right) };
    let (reason, checks) = checked(&pins, ["2580#", ""]);
    assert!(reason.is_some() && checks == 1, "{reason:?}");
}

/// Digits are read during the check, or the report would come too late.
#[test]
fn a_fraud_report_during_a_pin_check_counts() {
    let pins = Pins::with_result(PinAnswer::Right);
    assert_eq!(checked(&pins, ["2580#0#", ""]), (Some(FailureReason::FraudReported), 1));
}
