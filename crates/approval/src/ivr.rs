//! The state machine of a call whose audio this side has. Keys and their times go in; prompts and a verdict come out.
//!
//! The rules:
//!
//! - An entry is what is pressed until `#` or a pause of [`PAUSE`]. The end of a prompt does not end it. Only the whole
//!   entry counts: for the code 471, `4471#` is wrong.
//! - Early keys poison. A key is early before the first digit of its attempt's code begins to be spoken; without a
//!   spoken code, until a second of the prompt was spoken ([`UNTIL_HEARD`]). With `pin_and_code` the code decides. An entry
//!   with an early key is never an approval: it is a fraud report, or wrong. Early keys are never dropped, or the rest
//!   of the entry could be right.
//! - The fraud key and then `#` is a fraud report, from the first sample of a prompt.
//! - A fraud report that is cut in two is never an approval. If a pause ended an entry, early keys of the next prompt
//!   continue it: the fraud key, a pause, and `#` before the user can have heard the new prompt is a fraud report. An
//!   entry that continues is poisoned, and does not use another attempt. After the last attempt there is no next prompt;
//!   the call then goes on for another [`PAUSE`], in which only the rest of the report counts.
//! - The first key stops the prompt, but not before the code was spoken once: a user who presses along must hear the
//!   next digit.
//! - While a PIN is checked, a fraud report still counts: an entry that is in progress delays the verdict until it
//!   ends, and if a pause ends it after the fraud key, the PIN does not approve.

mod prompt;
mod typing;

use std::collections::VecDeque;
use std::time::Duration;

use crate::attempts::{Attempts, Judged};
use crate::script::{Piece, Script};
use crate::secret::Key;
use crate::verdict::{Approval, Denial, PinAnswer, PinCheck};
use prompt::Prompt;
use typing::Typing;

/// An entry ends after this long without a key, and so does the wait for a first key after a prompt.
pub const PAUSE: Duration = Duration::from_secs(3);

/// The time in which a user cannot yet have heard what a prompt says, and is perhaps still pressing a key for the last
/// one.
pub const UNTIL_HEARD: Duration = Duration::from_secs(1);

/// The longest entry, from its first key. A longer one ends the call: no user needs it.
pub const MAX_ENTRY: Duration = Duration::from_secs(60);

/// The longest check of a PIN.
pub const MAX_PIN_CHECK: Duration = Duration::from_secs(10);

/// The longest time between two reports of a prompt's progress. A recording has at most 60 s.
pub const MAX_PIECE: Duration = Duration::from_secs(90);

/// Identifies one [`Output::Speak`], so that a late report about an earlier prompt has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptId(u32);

/// What the caller must do.
pub enum Output<'a> {
    /// Speak a prompt. Nothing else is being spoken.
    Speak {
        /// Names the prompt in [`Ivr::piece_began`], [`Ivr::first_second_spoken`] and [`Ivr::prompt_ended`].
        prompt: PromptId,
        /// What is spoken.
        script: Script<'a>,
    },
    /// Stop the prompt at once.
    StopSpeaking,
    /// Check whether this is the PIN of the number, and call [`Ivr::pin_checked`] within [`MAX_PIN_CHECK`].
    CheckPin(PinCheck),
    /// An entry was wrong. The next output is another prompt, or the end.
    WrongEntry {
        /// Whether this counts as a failure of the PIN: see [`Denial::WrongEntry`].
        counts_against_pin: bool,
    },
    /// The last output. What the user presses from now on has no effect.
    Ended {
        /// The verdict. A wrong entry in it was counted by [`Output::WrongEntry`].
        result: Result<Approval, Denial>,
        /// What to speak before the call is hung up.
        farewell: Piece,
    },
}

/// The state machine of one answered call.
///
/// The contract: *after each method call, poll outputs until there are none and do what they say, and call
/// [`handle_timeout`](Self::handle_timeout) when [`next_timeout`](Self::next_timeout) is reached.* Any other order is
/// safe: it can deny an approval, and never create one.
///
/// Times count from any fixed origin. A time before an earlier one counts as that one, except that a key stays as early
/// as it is. A call ends after at most `attempts` wrong entries and `repeats` prompts without a key; each entry, prompt
/// and check has a limit, so the call has one, too. Its deadline is up to the caller, as is what is pressed before the
/// first prompt (an extension is dialled then).
///
/// ```
/// use std::time::Duration;
/// use phonegate_approval::attempts::Attempts;
/// use phonegate_approval::ivr::{Ivr, Output};
/// use phonegate_approval::policy::{Method, Policy};
/// use phonegate_approval::secret::Key;
///
/// # fn fill_with_random_bytes(buffer: &mut [u8]) -> Result<(), std::convert::Infallible> { buffer.fill(7); Ok(()) }
/// let attempts = Attempts::new(Policy::default().with_method(Method::Pound), fill_with_random_bytes)?;
/// let mut ivr = Ivr::new(&attempts, Duration::ZERO);
/// let Some(Output::Speak { prompt, .. }) = ivr.poll_output() else { unreachable!("the first output") };
/// ivr.piece_began(Duration::ZERO, prompt, 0);
/// ivr.first_second_spoken(Duration::from_secs(1), prompt);
/// ivr.key_pressed(Duration::from_secs(4), Key::Pound);
/// assert!(matches!(ivr.poll_output(), Some(Output::StopSpeaking)));
/// assert!(matches!(ivr.poll_output(), Some(Output::Ended { result: Ok(_), .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Ivr<'a> {
    attempts: &'a Attempts,
    now: Duration,
    /// Prompts that ended without a key.
    silent: u8,
    /// Wrong entries, which is also how many attempts are used.
    wrong: u8,
    prompt: Prompt,
    /// The entry in progress.
    typing: Option<Typing>,
    /// The last entry, if a pause ended it: early keys continue it.
    unfinished: Option<Typing>,
    check: Option<PinWait>,
    outputs: VecDeque<Output<'a>>,
    /// Whether no attempt is left, and the call goes on only to hear the rest of a fraud report.
    is_closing: bool,
    is_over: bool,
}

/// A PIN that is being checked.
struct PinWait {
    since: Duration,
    /// Set if it is held back until the entry in progress ends.
    answer: Option<PinAnswer>,
    /// Whether half a fraud report was pressed since. Then the PIN does not approve.
    is_doubtful: bool,
}

impl<'a> Ivr<'a> {
    /// Starts the conversation. The first output is a prompt.
    pub fn new(attempts: &'a Attempts, now: Duration) -> Self {
        let mut ivr = Self {
            attempts,
            now,
            silent: 0,
            wrong: 0,
            prompt: Prompt::new(now),
            typing: None,
            unfinished: None,
            check: None,
            outputs: VecDeque::new(),
            is_closing: false,
            is_over: false,
        };
        ivr.speak(false);
        ivr
    }

    /// Returns the next thing to do.
    pub fn poll_output(&mut self) -> Option<Output<'a>> {
        self.outputs.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) must be called. `None` only if the conversation is over.
    pub fn next_timeout(&self) -> Option<Duration> {
        let check = self.check.as_ref().filter(|check| check.answer.is_none());
        let check_ends = check.map(|check| check.since.saturating_add(MAX_PIN_CHECK));
        let other = match (&self.typing, self.prompt.reported) {
            (Some(typing), _) => Some(typing.ends()),
            (None, _) if self.check.is_some() => None,
            (None, Some(reported)) => Some(reported.saturating_add(MAX_PIECE)),
            (None, None) => Some(self.prompt.ended.saturating_add(PAUSE)),
        };
        check_ends.into_iter().chain(other).min().filter(|_| !self.is_over)
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.now = self.now.max(now);
        // Each round ends the conversation, or what has timed out: what it begins times out later than now.
        while self.next_timeout().is_some_and(|at| at <= self.now) {
            self.time_out();
        }
    }

    /// A piece of a prompt began to be spoken, at `now`, though it may be reported later. `index` counts the pieces of the script from 0.
    pub fn piece_began(&mut self, now: Duration, prompt: PromptId, index: usize) {
        self.handle_timeout(now);
        if let Some(script) = self.script().filter(|_| self.prompt.is_speaking(prompt)) {
            self.prompt.piece_began(self.now, script, index);
            self.stop_for_key();
        }
    }

    /// The first second ([`UNTIL_HEARD`]) of a prompt was spoken, from the beginning of its first piece. Time in which
    /// nothing was sent, because the peer held the call, does not count.
    ///
    /// A prompt that is shorter is heard when it ends, and not before a second has passed.
    pub fn first_second_spoken(&mut self, now: Duration, prompt: PromptId) {
        self.handle_timeout(now);
        if let Some(script) = self.script().filter(|_| self.prompt.is_speaking(prompt)) {
            self.prompt.heard(self.now, script);
        }
    }

    /// A prompt was spoken to its end. Not called for one that was stopped.
    pub fn prompt_ended(&mut self, now: Duration, prompt: PromptId) {
        self.first_second_spoken(now, prompt);
        if self.prompt.is_speaking(prompt) {
            self.prompt.end(self.now);
        }
    }

    /// A key was pressed. `at` is when the press began; it may be reported later.
    pub fn key_pressed(&mut self, at: Duration, key: Key) {
        self.handle_timeout(at);
        if self.is_over {
            return;
        }
        let is_early = self.check.is_some() || self.is_closing || self.prompt.is_early(at);
        let unfinished = self.unfinished.take().filter(|_| is_early).map(Typing::continued);
        let mut typing = self.typing.take().or(unfinished).unwrap_or_else(|| Typing::new(self.now));
        typing.is_poisoned |= is_early;
        match key {
            Key::Pound => self.entry_ended(typing, true),
            _ => {
                typing.push(self.now, key);
                self.typing = Some(typing);
                self.stop_for_key();
                // One that was continued may already be too long.
                self.handle_timeout(self.now);
            }
        }
    }

    /// The PIN of [`Output::CheckPin`] was checked.
    pub fn pin_checked(&mut self, now: Duration, check: PinCheck, answer: PinAnswer) {
        drop(check);
        self.handle_timeout(now);
        if let Some(check) = &mut self.check {
            check.answer.get_or_insert(answer);
            self.finish_check();
        }
    }

    fn time_out(&mut self) {
        if let Some(typing) = self.typing.take_if(|typing| typing.ends() <= self.now) {
            if typing.is_endless() {
                self.report_wrong_entry(&typing);
                self.end(Err(Denial::WrongEntry { counts_against_pin: false }));
            } else {
                self.entry_ended(typing, false);
            }
        } else if self.check.is_some() {
            self.end(Err(Denial::PinNotChecked));
        } else if self.prompt.reported.is_some() {
            self.end(Err(Denial::PlaybackStalled));
        } else if self.is_closing {
            self.end(Err(Denial::WrongEntry { counts_against_pin: false }));
        } else {
            self.prompt_was_silent();
        }
    }

    fn prompt_was_silent(&mut self) {
        self.silent = self.silent.saturating_add(1);
        if self.silent < self.attempts.policy().repeats() {
            self.speak(true);
        } else if self.wrong == 0 {
            self.end(Err(Denial::NoEntry));
        } else {
            self.end(Err(Denial::WrongEntry { counts_against_pin: false }));
        }
    }

    /// `#` or a pause ended an entry.
    fn entry_ended(&mut self, typing: Typing, by_pound: bool) {
        let is_fraud_report = typing.is_fraud_report(self.attempts.policy().fraud_key());
        if by_pound && is_fraud_report {
            return self.end(Err(Denial::FraudReported));
        }
        if let Some(check) = &mut self.check {
            check.is_doubtful |= is_fraud_report;
            self.unfinished = (!by_pound).then_some(typing);
            return self.finish_check();
        }
        self.stop_speaking();
        if by_pound && !typing.is_poisoned {
            match self.attempts.judge_digits(self.attempt(), typing.entry()) {
                Judged::Right => return self.end(Ok(Approval::of_entry())),
                Judged::NeedsPin(pin) => {
                    self.check = Some(PinWait { since: self.now, answer: None, is_doubtful: false });
                    return self.outputs.push_back(Output::CheckPin(PinCheck::new(pin)));
                }
                Judged::Wrong => {}
            }
        }
        self.report_wrong_entry(&typing);
        self.unfinished = (!by_pound).then_some(typing);
        self.ask_again();
    }

    /// Uses the answer about a PIN, unless an entry is in progress.
    fn finish_check(&mut self) {
        if self.typing.is_some() {
            return;
        }
        let Some(answer) = self.check.as_ref().and_then(|check| check.answer) else { return };
        let is_doubtful = self.check.take().is_some_and(|check| check.is_doubtful);
        match answer.judge() {
            Err(Denial::WrongEntry { counts_against_pin }) => self.use_attempt(counts_against_pin),
            Ok(_) if is_doubtful => self.use_attempt(false),
            result => return self.end(result),
        }
        self.ask_again();
    }

    /// An entry was wrong without a check of its PIN. One that continues has used its attempt.
    fn report_wrong_entry(&mut self, typing: &Typing) {
        if !typing.is_continued {
            self.use_attempt(self.attempts.policy().method().has_pin());
        }
    }

    fn use_attempt(&mut self, counts_against_pin: bool) {
        self.wrong = self.wrong.saturating_add(1);
        self.outputs.push_back(Output::WrongEntry { counts_against_pin });
    }

    /// Speaks the prompt of the next attempt, or ends the conversation if there is none. If the last attempt ended with
    /// half a fraud report, the user has a pause more to complete it.
    fn ask_again(&mut self) {
        let policy = self.attempts.policy();
        let is_half_report = self.unfinished.as_ref().is_some_and(|typing| typing.is_fraud_report(policy.fraud_key()));
        if self.wrong < policy.attempts() {
            self.speak(false);
        } else if is_half_report && !self.is_closing {
            self.is_closing = true;
            self.prompt.end(self.now);
        } else {
            self.end(Err(Denial::WrongEntry { counts_against_pin: false }));
        }
    }

    fn speak(&mut self, is_repeat: bool) {
        let prompt = self.prompt.begin(self.now, is_repeat);
        let Some(script) = self.script() else { return self.end(Err(Denial::PlaybackStalled)) };
        self.outputs.push_back(Output::Speak { prompt, script });
    }

    /// Stops the prompt if a key was pressed and the user can have heard what to press.
    fn stop_for_key(&mut self) {
        if self.typing.is_some() && self.prompt.may_stop {
            self.stop_speaking();
        }
    }

    fn stop_speaking(&mut self) {
        if self.prompt.reported.is_some() {
            self.prompt.end(self.now);
            self.outputs.push_back(Output::StopSpeaking);
        }
    }

    fn end(&mut self, result: Result<Approval, Denial>) {
        self.stop_speaking();
        self.is_over = true;
        (self.typing, self.unfinished, self.check) = (None, None, None);
        let farewell = match result {
            Ok(_) => Piece::Verified,
            Err(Denial::FraudReported) => Piece::FraudReported,
            Err(_) => Piece::Goodbye,
        };
        self.outputs.push_back(Output::Ended { result, farewell });
    }

    /// The current attempt. The first is 1.
    fn attempt(&self) -> u8 {
        self.wrong.saturating_add(1)
    }

    fn script(&self) -> Option<Script<'a>> {
        let script = self.attempts.script(self.attempt())?;
        Some(if self.prompt.is_repeat { script.repeated() } else { script })
    }
}
