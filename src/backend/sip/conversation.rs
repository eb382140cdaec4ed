//! What is said to the user, and what the keys mean.
//!
//! An entry is what is pressed in one attempt, until `#` or a pause of 3 s. Exactly `#` verifies; the fraud key and `#`
//! reports a fraud; anything else spends the attempt. The first key stops the prompt, and from then on only the pause
//! ends the entry: were the end of the prompt to end it too, `0` at its end and `#` after it would verify what was
//! meant as a report of a fraud. For the same reason a key that comes before the user can have heard the next prompt
//! begin still belongs to the entry that the pause ended.

use std::time::Duration;

use phonegate_approval::script::Piece;
use tokio::time::Instant;

use crate::call::{Failure, FailureReason, Outcome};

/// An entry is over after so long a pause, and so is the wait for a first key after a prompt.
const PAUSE: Duration = Duration::from_secs(3);

/// So long it takes to hear that a prompt has begun, and to stop pressing the next key.
const UNTIL_HEARD: Duration = Duration::from_secs(1);

/// The wait between the answer and the first digit of an extension.
const BEFORE_EXTENSION: Duration = Duration::from_secs(1);

/// The wait after an extension until somebody listens.
const AFTER_EXTENSION: Duration = Duration::from_secs(2);

/// The most keys of an entry that are kept; more make no entry right.
const MAX_KEYS: usize = 16;

/// How often what is said, how often what may be entered, and the key that reports a fraud, followed by `#`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) repeat: u64,
    pub(super) attempts: u64,
    pub(super) fraud_key: char,
}

/// What the user is asked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prompt {
    /// Who calls, which key approves, and what to do if one did not ask for it.
    Greeting,
    /// That it was another key, and which one approves.
    WrongKey,
}

/// Where the conversation is had: on the telephone, or in a test.
pub(super) trait Line {
    /// Says a prompt. A key that is pressed meanwhile stops it.
    async fn say_until_key(&mut self, prompt: Prompt) -> Option<char>;
    /// Presses the digits of an extension at the other side. Says whether that can be done.
    async fn press(&mut self, digits: &str) -> bool;
    /// The next key: a DTMF key, or a character that is none, for a press that arrived incomplete. May be dropped and
    /// called again.
    async fn key(&mut self) -> char;
    /// Forgets the keys until now.
    fn forget_keys(&mut self);
}

/// Asks the user, from the answer of the phone to the outcome. What is to be said at the end, [`farewell`] says.
pub(super) async fn converse(line: &mut impl Line, policy: Policy, extension: Option<&str>) -> Outcome {
    if let Some(digits) = extension {
        tokio::time::sleep(BEFORE_EXTENSION).await;
        if !line.press(digits).await {
            let sentence = "The extension cannot be dialled, since the trunk takes no key events (RFC 4733).";
            return failed(FailureReason::CannotPlace, sentence);
        }
        tokio::time::sleep(AFTER_EXTENSION).await;
    }
    // Keys count from the first prompt on.
    line.forget_keys();
    let (mut silent, mut wrong) = (0, 0);
    let mut prompt = Prompt::Greeting;
    let mut entry = Entry::default();
    loop {
        entry = entry.next(line, prompt).await;
        match entry.keys.as_str() {
            "#" => return Outcome::Verified,
            "" => {
                silent += 1;
                if silent >= policy.repeat {
                    let sentence = "Somebody or a machine answered, but no key was pressed.";
                    return match wrong {
                        0 => failed(FailureReason::NoKeyPressed, sentence),
                        _ => failed(FailureReason::WrongKey, "Another key than # was pressed, and then none."),
                    };
                }
            }
            keys if keys.strip_suffix('#').is_some_and(|keys| keys.chars().eq([policy.fraud_key])) => {
                return failed(FailureReason::FraudReported, "The user reported that this sign-in is not theirs.");
            }
            _ => {
                // One that goes on has spent its attempt already.
                wrong += u64::from(!entry.goes_on);
                if wrong >= policy.attempts {
                    return failed(FailureReason::WrongKey, "Another key than # was pressed each time.");
                }
                prompt = Prompt::WrongKey;
            }
        }
    }
}

/// What is said once the outcome is known.
pub(super) fn farewell(outcome: &Outcome) -> Piece {
    match outcome {
        Outcome::Verified => Piece::Verified,
        Outcome::Failed(failure) if failure.reason() == FailureReason::FraudReported => Piece::FraudReported,
        Outcome::Failed(_) => Piece::Goodbye,
    }
}

/// What was pressed in one attempt.
#[derive(Default)]
struct Entry {
    /// Empty where no key was.
    keys: String,
    /// Did it begin as the entry before, which a pause had ended?
    goes_on: bool,
}

impl Entry {
    /// Says a prompt, and reads the entry after this one.
    async fn next(self, line: &mut impl Line, prompt: Prompt) -> Self {
        let begun = Instant::now();
        let mut next = match line.say_until_key(prompt).await {
            Some(key) => Some(key),
            None => tokio::time::timeout(PAUSE, line.key()).await.ok(),
        };
        let unfinished = !self.keys.is_empty() && !self.keys.ends_with('#');
        let goes_on = unfinished && next.is_some() && begun.elapsed() < UNTIL_HEARD;
        let mut keys = if goes_on { self.keys } else { String::new() };
        while let Some(key) = next {
            // Those left out leave an entry wrong that is wrong already, and its end must not be missed.
            if keys.len() < MAX_KEYS || key == '#' {
                keys.push(key);
            }
            if key == '#' {
                break;
            }
            next = tokio::time::timeout(PAUSE, line.key()).await.ok();
        }
        Self { keys, goes_on }
    }
}

fn failed(reason: FailureReason, sentence: &str) -> Outcome {
    Outcome::Failed(Failure::new(reason, sentence))
}

#[cfg(test)]
mod tests;
