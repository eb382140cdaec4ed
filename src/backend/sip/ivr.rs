//! Runs the dialogue with the user of an established call: plays prompts, forwards digits, and returns the outcome.
//!
//! [`Ivr`] decides which digits approve. This module only passes its inputs and outputs on.

mod audio;

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use phonegate_approval::ivr::{Ivr, Output, PromptId};
use phonegate_approval::script::{Piece, Script};
use phonegate_approval::secret::{Key, Pin};
use phonegate_approval::verdict::PinAnswer;

pub(super) use audio::MediaAudio;

use super::media::{DigitPress, PlaybackEvent, PlaybackProgress};
use crate::approval::Approver;
use crate::call::{Failure, FailureReason, Outcome};
use crate::prompts::ComposeError;

/// Pause between the 2xx and the first digit of an extension.
const BEFORE_EXTENSION: Duration = Duration::from_secs(1);

/// Pause after the last digit of an extension, in which the extension answers.
const AFTER_EXTENSION: Duration = Duration::from_secs(2);

/// The audio of an established call, or a simulation of it in tests.
pub(super) trait CallAudio {
    /// Returns the time from a fixed origin.
    fn now(&self) -> Duration;
    /// Starts to play a script. No other script is playing.
    ///
    /// # Errors
    /// The language has no recording of a piece.
    fn play(&mut self, script: Script<'_>) -> Result<(), ComposeError>;
    /// Stops the script that is playing.
    fn stop(&mut self);
    /// Waits for the next event. Cancel safe.
    async fn next_event(&mut self) -> AudioEvent;
    /// Sends the digits of an extension. Returns false if the peer does not accept telephone events.
    async fn send_digits(&mut self, digits: &str) -> bool;
    /// Discards digits whose press began before now.
    fn discard_digits(&mut self);
}

/// An event of the audio.
pub(super) enum AudioEvent {
    /// The user pressed a digit.
    Digit(DigitPress),
    /// The script progressed.
    Playback(PlaybackEvent),
}

/// Checks entered PINs: the [`Approver`], or a stub in tests.
pub(super) trait PinChecker {
    /// Compares a PIN with that of the number, and counts a failure if they differ.
    async fn check_pin(&self, pin: &Pin) -> PinAnswer;
    /// Counts a wrong entry that held no PIN to compare.
    async fn count_failure(&self);
}

impl PinChecker for Approver {
    async fn check_pin(&self, pin: &Pin) -> PinAnswer {
        self.check_pin(pin).await
    }

    async fn count_failure(&self) {
        self.count_failure().await;
    }
}

/// Runs the dialogue with the user until there is an outcome. [`farewell`] returns the recording to play after it.
///
/// Digits and playback continue while a PIN is checked. A check whose result is no longer needed is dropped.
pub(super) async fn run_ivr(
    audio: &mut impl CallAudio,
    approver: &Approver,
    pins: &impl PinChecker,
    extension: Option<&str>,
) -> Outcome {
    // An earlier run that was cancelled may have left a script playing.
    audio.stop();
    if let Some(digits) = extension
        && let Err(failure) = dial_extension(audio, digits).await
    {
        return Outcome::Failed(failure);
    }
    // Digits count from the first prompt on.
    audio.discard_digits();
    let mut ivr = Ivr::new(approver.attempts(), audio.now());
    let mut playing = None;
    // At most one is pending: the next entry is checked after its result.
    let mut checks = FuturesUnordered::new();
    loop {
        while let Some(output) = ivr.poll_output() {
            match output {
                Output::Speak { prompt, script } => {
                    // The error is not reported, because it may name a digit of the code.
                    if audio.play(script).is_err() {
                        let sentence = "The prompt cannot be played: the language has no recording of a piece of it; see \
                                        `phonegate prompts check`.";
                        return Outcome::Failed(Failure::new(FailureReason::CannotPlace, sentence));
                    }
                    playing = Some(prompt);
                }
                Output::StopSpeaking => {
                    audio.stop();
                    playing = None;
                }
                // If this locks the PIN, its next check denies the call.
                Output::WrongEntry { counts_against_pin: true } => pins.count_failure().await,
                Output::WrongEntry { counts_against_pin: false } => {}
                Output::CheckPin(check) => checks.push(async move {
                    let answer = pins.check_pin(check.pin()).await;
                    (check, answer)
                }),
                Output::Ended { result, .. } => return approver.outcome(result),
            }
        }
        let timeout = ivr.next_timeout().unwrap_or_default().saturating_sub(audio.now());
        tokio::select! {
            biased;
            event = audio.next_event() => forward(&mut ivr, event, playing),
            Some((check, answer)) = checks.next() => ivr.pin_checked(audio.now(), check, answer),
            () = tokio::time::sleep(timeout) => ivr.handle_timeout(audio.now()),
        }
    }
}

/// Sends the digits of an extension, with pauses before and after them.
///
/// # Errors
/// The peer does not accept telephone events.
async fn dial_extension(audio: &mut impl CallAudio, digits: &str) -> Result<(), Failure> {
    tokio::time::sleep(BEFORE_EXTENSION).await;
    if !audio.send_digits(digits).await {
        let sentence = "The extension cannot be dialled: the trunk does not accept key events (RFC 4733).";
        return Err(Failure::new(FailureReason::CannotPlace, sentence));
    }
    tokio::time::sleep(AFTER_EXTENSION).await;
    Ok(())
}

/// Passes an event of the audio to the state machine.
fn forward(ivr: &mut Ivr<'_>, event: AudioEvent, playing: Option<PromptId>) {
    match (event, playing) {
        (AudioEvent::Digit(press), _) => ivr.key_pressed(press.began, Key::from_char(press.digit)),
        (AudioEvent::Playback(PlaybackEvent { at, progress }), Some(prompt)) => match progress {
            PlaybackProgress::PieceBegan(index) => ivr.piece_began(at, prompt, index),
            PlaybackProgress::FirstSecondSent => ivr.first_second_spoken(at, prompt),
            PlaybackProgress::Ended => ivr.prompt_ended(at, prompt),
        },
        (AudioEvent::Playback(_), None) => {}
    }
}

/// Returns the recording to play once the outcome is known.
pub(super) fn farewell(outcome: &Outcome) -> Piece {
    match outcome {
        Outcome::Verified(_) => Piece::Verified,
        Outcome::Failed(failure) if failure.reason() == FailureReason::FraudReported => Piece::FraudReported,
        Outcome::Failed(_) => Piece::Goodbye,
    }
}

#[cfg(test)]
mod tests;
