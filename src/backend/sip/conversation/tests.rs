//! What keys mean, by when they are pressed, in time that passes as the tests say.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::VecDeque;

use proptest::prelude::*;
use tokio::time::sleep_until;

use super::super::media::UNCLEAR_KEY;
use super::*;

/// How long every prompt is.
const PROMPT: Duration = Duration::from_secs(4);

/// A user who presses keys at certain times after the answer, in milliseconds.
struct User {
    keys: VecDeque<(Instant, char)>,
    heard: Vec<Prompt>,
    dialled: Option<String>,
    takes_keys: bool,
}

impl User {
    fn pressing(keys: &[(u64, char)]) -> Self {
        let now = Instant::now();
        let mut keys: Vec<_> = keys.iter().map(|(at, key)| (now + Duration::from_millis(*at), *key)).collect();
        keys.sort();
        Self { keys: keys.into(), heard: Vec::new(), dialled: None, takes_keys: true }
    }
}

impl Line for User {
    async fn say_until_key(&mut self, prompt: Prompt) -> Option<char> {
        self.heard.push(prompt);
        tokio::time::timeout(PROMPT, self.key()).await.ok()
    }

    async fn press(&mut self, digits: &str) -> bool {
        self.dialled = Some(digits.to_owned());
        self.takes_keys
    }

    async fn key(&mut self) -> char {
        match self.keys.front() {
            Some((at, _)) => sleep_until(*at).await,
            None => std::future::pending().await,
        }
        self.keys.pop_front().unwrap().1
    }

    fn forget_keys(&mut self) {
        self.keys.retain(|(at, _)| *at >= Instant::now());
    }
}

/// `None` where it is verified, else the reason; and the prompts before the farewell.
fn held(keys: &[(u64, char)], repeat: u64, attempts: u64) -> (Option<FailureReason>, Vec<Prompt>) {
    held_with('0', keys, repeat, attempts)
}

fn held_with(
    fraud_key: char,
    keys: &[(u64, char)],
    repeat: u64,
    attempts: u64,
) -> (Option<FailureReason>, Vec<Prompt>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut user = User::pressing(keys);
        let outcome = converse(&mut user, Policy { repeat, attempts, fraud_key }, None).await;
        (reason(&outcome), user.heard)
    })
}

fn reason(outcome: &Outcome) -> Option<FailureReason> {
    match outcome {
        Outcome::Verified => None,
        Outcome::Failed(failure) => Some(failure.reason()),
    }
}

fn ends(keys: &[(u64, char)]) -> Option<FailureReason> {
    held(keys, 3, 2).0
}

#[test]
fn the_pound_key_verifies_at_once_and_the_fraud_key_before_it_reports() {
    assert_eq!(held(&[(100, '#')], 3, 2), (None, vec![Prompt::Greeting]));
    assert_eq!(ends(&[(100, '0'), (900, '#')]), Some(FailureReason::FraudReported));
}

#[test]
fn another_fraud_key_takes_the_place_of_zero() {
    let reason = |keys: &[(u64, char)]| held_with('9', keys, 3, 1).0;
    assert_eq!(reason(&[(100, '9'), (900, '#')]), Some(FailureReason::FraudReported));
    assert_eq!(reason(&[(100, '0'), (900, '#')]), Some(FailureReason::WrongKey));
    assert_eq!(reason(&[(100, '#')]), None);
}

#[test]
fn a_wrong_entry_is_told_and_the_next_one_may_be_right() {
    assert_eq!(held(&[(100, '5'), (300, '#'), (2000, '#')], 3, 2), (None, vec![Prompt::Greeting, Prompt::WrongKey]));
    assert_eq!(held(&[(100, '5'), (300, '#'), (2000, '#')], 3, 1).0, Some(FailureReason::WrongKey));
}

/// The media reports a press of which only one packet arrived as an unclear key: it may have been the fraud key.
#[test]
fn an_entry_with_an_unclear_key_spends_the_attempt() {
    let unclear = (100, UNCLEAR_KEY);
    assert_eq!(held(&[unclear, (200, '#')], 3, 1), (Some(FailureReason::WrongKey), vec![Prompt::Greeting]));
    assert_eq!(held(&[unclear, (200, '0'), (300, '#')], 3, 1).0, Some(FailureReason::WrongKey));
    assert_eq!(held(&[(50, '0'), unclear, (300, '#')], 3, 1).0, Some(FailureReason::WrongKey));
    let verified = (None, vec![Prompt::Greeting, Prompt::WrongKey]);
    assert_eq!(held(&[unclear, (200, '#'), (2000, '#')], 3, 2), verified, "the next entry may be right");
}

#[test]
fn silence_is_no_key_after_as_many_prompts_as_are_to_be_said() {
    assert_eq!(held(&[], 3, 2), (Some(FailureReason::NoKeyPressed), vec![Prompt::Greeting; 3]));
}

#[test]
fn the_fraud_key_never_verifies_however_late_its_pound_key_is() {
    // The wrong-key prompt begins 3 s after the fraud key.
    for late in [2900, 3100, 3900] {
        assert_eq!(ends(&[(1000, '0'), (1000 + late, '#')]), Some(FailureReason::FraudReported), "{late} ms");
    }
    // Who has heard the prompt answers it.
    assert_eq!(ends(&[(1000, '0'), (5500, '#')]), None);
    // And one that goes on spends no second attempt.
    assert_eq!(ends(&[(1000, '5'), (4100, '#'), (6000, '#')]), None);
}

#[tokio::test(start_paused = true)]
async fn an_extension_that_cannot_be_dialled_ends_the_call_before_a_word_is_said() {
    let mut user = User { takes_keys: false, ..User::pressing(&[(10_000, '#')]) };
    let outcome = converse(&mut user, Policy { repeat: 3, attempts: 2, fraud_key: '0' }, Some("42")).await;
    assert_eq!(reason(&outcome), Some(FailureReason::CannotPlace));
    assert_eq!((user.dialled.as_deref(), user.heard.len()), (Some("42"), 0));
}

#[tokio::test(start_paused = true)]
async fn keys_before_the_first_prompt_never_count() {
    let mut user = User::pressing(&[(0, '#'), (900, '#'), (1500, '#')]);
    let outcome = converse(&mut user, Policy { repeat: 3, attempts: 2, fraud_key: '0' }, Some("42")).await;
    assert_eq!(reason(&outcome), Some(FailureReason::NoKeyPressed));
}

/// The keys up to the first pound key, or pause, from the first one on.
fn first_entry(keys: &[(u64, char)]) -> String {
    let mut entry = String::new();
    for (index, (at, key)) in keys.iter().enumerate() {
        if index > 0 && at - keys[index - 1].0 >= 3000 {
            break;
        }
        entry.push(*key);
        if *key == '#' {
            break;
        }
    }
    entry
}

fn presses() -> impl Strategy<Value = Vec<(u64, char)>> {
    let key = prop_oneof![3 => Just('#'), 2 => Just('0'), 1 => proptest::char::range('1', '9'), 1 => Just('*'), 1 => Just(UNCLEAR_KEY)];
    let gap = prop_oneof![3 => 50..2999u64, 1 => 3001..9000u64];
    proptest::collection::vec((gap, key), 0..8).prop_map(|presses| {
        let mut now = 0;
        let pressed = presses.into_iter().map(|(gap, key)| {
            now += gap;
            (now, key)
        });
        pressed.collect()
    })
}

proptest! {
    #[test]
    fn with_one_attempt_the_first_entry_decides(keys in presses()) {
        // Two greetings of 4 s with a pause of 3 s after each.
        let silent = keys.first().is_none_or(|(at, _)| *at >= 14_000);
        prop_assume!(keys.first().is_none_or(|(at, _)| *at != 14_000));
        let expected = match first_entry(&keys).as_str() {
            _ if silent => Some(FailureReason::NoKeyPressed),
            "#" => None,
            "0#" => Some(FailureReason::FraudReported),
            _ => Some(FailureReason::WrongKey),
        };
        prop_assert_eq!(held(&keys, 2, 1).0, expected);
    }

    /// Only a pound key verifies that begins an entry: after another pound key, or long after any other key.
    #[test]
    fn a_pound_key_after_another_key_never_verifies(keys in presses()) {
        let begins = |index: usize| index == 0 || keys[index - 1].1 == '#' || keys[index].0 - keys[index - 1].0 >= 4000;
        let may_verify = keys.iter().enumerate().any(|(index, (_, key))| *key == '#' && begins(index));
        prop_assert!(may_verify || held(&keys, 3, 3).0.is_some());
    }
}
