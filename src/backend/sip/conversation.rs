//! What is said to the user, and what the keys mean.
//!
//! An entry is what is pressed in one attempt, until `#` or a pause of 3 s. Exactly `#` verifies; the fraud key and `#`
//! reports a fraud; anything else spends the attempt. The first key stops the prompt, and from then on only the pause
//! ends the entry: were the end of the prompt to end it too, `0` at its end and `#` after it would verify what was
//! meant as a report of a fraud.

use std::time::Duration;

use crate::call::{Failure, FailureReason, Outcome};
use crate::prompts::Prompt;

/// An entry is over after so long a pause, and so is the wait for a first key after a prompt.
const PAUSE: Duration = Duration::from_secs(3);

/// The wait between the answer and the first digit of an extension.
const BEFORE_EXTENSION: Duration = Duration::from_secs(1);

/// The wait after an extension until somebody listens.
const AFTER_EXTENSION: Duration = Duration::from_secs(2);

/// The most keys of an entry that are kept; more make no entry right.
const MAX_KEYS: usize = 16;

/// The key that reports a fraud, followed by `#`.
const FRAUD_KEY: char = '0';

/// How often what is said, and how often what may be entered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) repeat: u64,
    pub(super) attempts: u64,
}

/// Where the conversation is had: on the telephone, or in a test.
pub(super) trait Line {
    /// Says a prompt. A key that is pressed meanwhile stops it.
    async fn say_until_key(&mut self, prompt: Prompt) -> Option<char>;
    /// Presses the digits of an extension at the other side.
    async fn press(&mut self, digits: &str);
    /// The next key. May be dropped and called again.
    async fn key(&mut self) -> char;
    /// Forgets the keys until now.
    fn forget_keys(&mut self);
}

/// Asks the user, from the answer of the phone to the outcome. What is to be said at the end, [`farewell`] says.
pub(super) async fn converse(line: &mut impl Line, policy: Policy, extension: Option<&str>) -> Outcome {
    if let Some(digits) = extension {
        tokio::time::sleep(BEFORE_EXTENSION).await;
        line.press(digits).await;
        tokio::time::sleep(AFTER_EXTENSION).await;
    }
    // Keys count from the first prompt on.
    line.forget_keys();
    let (mut silent, mut wrong) = (0, 0);
    let mut prompt = Prompt::Greeting;
    loop {
        let entry = entry(line, prompt).await;
        match entry.as_str() {
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
            entry if entry.strip_suffix('#').is_some_and(|keys| keys.chars().eq([FRAUD_KEY])) => {
                return failed(FailureReason::FraudReported, "The user reported that this sign-in is not theirs.");
            }
            _ => {
                wrong += 1;
                if wrong >= policy.attempts {
                    return failed(FailureReason::WrongKey, "Another key than # was pressed each time.");
                }
                prompt = Prompt::WrongKey;
            }
        }
    }
}

/// What is said once the outcome is known.
pub(super) fn farewell(outcome: &Outcome) -> Prompt {
    match outcome {
        Outcome::Verified => Prompt::Verified,
        Outcome::Failed(failure) if failure.reason() == FailureReason::FraudReported => Prompt::FraudReported,
        Outcome::Failed(_) => Prompt::Goodbye,
    }
}

/// One entry: empty where no key was pressed.
async fn entry(line: &mut impl Line, prompt: Prompt) -> String {
    let mut entry = String::new();
    let mut next = match line.say_until_key(prompt).await {
        Some(key) => Some(key),
        None => tokio::time::timeout(PAUSE, line.key()).await.ok(),
    };
    while let Some(key) = next {
        if entry.len() < MAX_KEYS {
            entry.push(key);
        }
        if key == '#' {
            break;
        }
        next = tokio::time::timeout(PAUSE, line.key()).await.ok();
    }
    entry
}

fn failed(reason: FailureReason, sentence: &str) -> Outcome {
    Outcome::Failed(Failure::new(reason, sentence))
}
