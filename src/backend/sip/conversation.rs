//! Asks the user on the telephone: speaks prompts, passes keys on, and reports the verdict.
//!
//! Which keys approve, [`Ivr`] decides.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use phonegate_approval::ivr::{Ivr, Output};
use phonegate_approval::script::{Piece, Script};
use phonegate_approval::secret::{Key, Pin};
use phonegate_approval::verdict::PinAnswer;

use super::media::{Press, SpeechEvent, SpeechProgress};
use crate::approval::Approver;
use crate::call::{Failure, FailureReason, Outcome};
use crate::prompts::ComposeError;

/// The wait between the answer and the first digit of an extension.
const BEFORE_EXTENSION: Duration = Duration::from_secs(1);

/// The wait after an extension, until a person or a machine has answered there.
const AFTER_EXTENSION: Duration = Duration::from_secs(2);

/// The telephone of a call, or of a test.
pub(super) trait Line {
    /// Returns the time from a fixed origin.
    fn now(&self) -> Duration;
    /// Begins to speak. Nothing is being spoken.
    ///
    /// # Errors
    /// The language cannot speak it.
    fn speak(&mut self, script: Script<'_>) -> Result<(), ComposeError>;
    /// Stops speaking.
    fn stop_speaking(&mut self);
    /// Waits for the next event. May be dropped and called again.
    async fn event(&mut self) -> LineEvent;
    /// Presses the digits of an extension at the other side. Returns whether that is possible.
    async fn press(&mut self, digits: &str) -> bool;
    /// Ignores the keys that were pressed before now.
    fn forget_keys(&mut self);
}

/// Something that happened on a line.
pub(super) enum LineEvent {
    /// The user pressed a key.
    Key(Press),
    /// A part of the prompt was spoken.
    Speech(SpeechEvent),
}

/// The PIN of the number, or that of a test.
pub(super) trait CheckPin {
    /// Checks whether this is the PIN, and counts a failure if it is not.
    async fn check_pin(&self, pin: &Pin) -> PinAnswer;
    /// Counts a failure.
    async fn count_failure(&self);
}

impl CheckPin for Approver {
    async fn check_pin(&self, pin: &Pin) -> PinAnswer {
        self.check_pin(pin).await
    }

    async fn count_failure(&self) {
        self.count_failure().await;
    }
}

/// Asks the user, from the answer of the phone to the outcome. [`farewell`] returns what is said after it.
///
/// While a PIN is checked, keys and the audio go on. A check that is no longer needed is dropped.
pub(super) async fn converse(
    line: &mut impl Line,
    approver: &Approver,
    pins: &impl CheckPin,
    extension: Option<&str>,
) -> Outcome {
    // What a conversation said that was given up is not said on.
    line.stop_speaking();
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
    let mut ivr = Ivr::new(approver.attempts(), line.now());
    let mut speaking = None;
    // One at a time: the next entry is judged after the answer.
    let mut checks = FuturesUnordered::new();
    loop {
        while let Some(output) = ivr.poll_output() {
            match output {
                Output::Speak { prompt, script } => {
                    // The error may name a digit of the code.
                    if line.speak(script).is_err() {
                        let sentence = "The user cannot be asked: the language has no recording of what is to be said; \
                                        see `phonegate prompts check`.";
                        return failed(FailureReason::CannotPlace, sentence);
                    }
                    speaking = Some(prompt);
                }
                Output::StopSpeaking => {
                    line.stop_speaking();
                    speaking = None;
                }
                Output::WrongEntry { counts_against_pin } => {
                    if counts_against_pin {
                        // A PIN that is locked by it is denied when the next one is checked.
                        pins.count_failure().await;
                    }
                }
                Output::CheckPin(check) => checks.push(async move {
                    let answer = pins.check_pin(check.pin()).await;
                    (check, answer)
                }),
                Output::Ended { result, .. } => return approver.outcome(result),
            }
        }
        let timeout = ivr.next_timeout().unwrap_or_default().saturating_sub(line.now());
        tokio::select! {
            biased;
            event = line.event() => match (event, speaking) {
                (LineEvent::Key(press), _) => ivr.key_pressed(press.began, Key::from_char(press.key)),
                (LineEvent::Speech(SpeechEvent { at, progress }), Some(prompt)) => match progress {
                    SpeechProgress::PieceBegan(index) => ivr.piece_began(at, prompt, index),
                    SpeechProgress::SecondSent => ivr.first_second_spoken(at, prompt),
                    SpeechProgress::Ended => ivr.prompt_ended(at, prompt),
                },
                (LineEvent::Speech(_), None) => {}
            },
            Some((check, answer)) = checks.next() => ivr.pin_checked(line.now(), check, answer),
            () = tokio::time::sleep(timeout) => ivr.handle_timeout(line.now()),
        }
    }
}

/// What is said once the outcome is known.
pub(super) fn farewell(outcome: &Outcome) -> Piece {
    match outcome {
        Outcome::Verified(_) => Piece::Verified,
        Outcome::Failed(failure) if failure.reason() == FailureReason::FraudReported => Piece::FraudReported,
        Outcome::Failed(_) => Piece::Goodbye,
    }
}

fn failed(reason: FailureReason, sentence: &str) -> Outcome {
    Outcome::Failed(Failure::new(reason, sentence))
}

#[cfg(test)]
mod tests;
