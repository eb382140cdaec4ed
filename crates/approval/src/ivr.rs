//! The state machine of a call whose audio this side has. Keys and their times go in; prompts and a verdict come out.
//!
//! The rules:
//!
//! - An entry is what is pressed until `#` or a pause of [`PAUSE`]. The end of a prompt does not end it. Only the whole
//!   entry counts: for the code 471, `4471#` is wrong.
//! - A key is early before the first digit of its attempt's code is spoken; without a code, until a second of the prompt
//!   was spoken ([`UNTIL_HEARD`]). With `pin_and_code`, the code decides. An entry with an early key never approves: it is
//!   a fraud report, or wrong. Early keys are not dropped, because the rest of the entry could then be right.
//! - The fraud key and then `#` is a fraud report, from the first sample of a prompt.
//! - A fraud report that a pause cuts in two never approves. If a pause ended an entry, early keys of the next prompt
//!   continue it: the fraud key, a pause, and `#` before the user can have heard the new prompt is a fraud report. A
//!   continued entry never approves, and does not use another attempt. After the last attempt there is no next prompt;
//!   the call then continues for another [`PAUSE`], in which only the rest of a report counts.
//! - The first key stops the prompt, but not before the code was spoken once: a user who presses each digit as it is
//!   spoken must hear the next one.
//! - While a PIN is checked, a fraud report still counts: an entry that is in progress delays the verdict until it
//!   ends, and if a pause ends it after the fraud key, the PIN does not approve.

mod pressed;
mod prompt;

use std::collections::VecDeque;
use std::time::Duration;

use crate::attempts::{Attempts, Judged};
use crate::script::{Piece, Script};
use crate::secret::Key;
use crate::verdict::{Approval, Denial, PinAnswer, PinCheck};
use pressed::PressedEntry;
use prompt::Prompt;

/// An entry ends after this long without a key, and so does the wait for a first key after a prompt.
pub const PAUSE: Duration = Duration::from_secs(3);

/// Time from the start of a prompt in which a key cannot be a response to it. It may belong to the prompt before.
pub const UNTIL_HEARD: Duration = Duration::from_secs(1);

/// Maximum duration of an entry from its first key. A longer one ends the call.
pub const MAX_ENTRY: Duration = Duration::from_secs(60);

/// Maximum duration of the check of a PIN.
pub const MAX_PIN_CHECK: Duration = Duration::from_secs(10);

/// Maximum time between two reports of a prompt's progress. A recording has at most 60 s.
pub const MAX_PIECE: Duration = Duration::from_secs(90);

/// Identifies one [`Output::Speak`], so that a late report about an earlier prompt has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptId(u32);

/// An action that the caller must perform.
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
/// Times are measured from any fixed origin. A time before an earlier one is treated as that one, except that a key stays
/// early. A call ends after at most `attempts` wrong entries and `repeats` prompts without a key. Each entry, prompt and
/// check has a time limit, and so has the call. The caller sets its deadline, and discards keys that were pressed before
/// the first prompt, when an extension is dialled.
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
    /// Number of prompts that ended without a key.
    silent_prompts: u8,
    /// Number of wrong entries, and so of used attempts.
    wrong_entries: u8,
    prompt: Prompt,
    /// The entry in progress.
    entry: Option<PressedEntry>,
    /// The last entry, if a pause ended it. Early keys continue it.
    unfinished: Option<PressedEntry>,
    check: Option<PinWait>,
    outputs: VecDeque<Output<'a>>,
    /// Whether no attempt is left, and the call continues only for the rest of a fraud report.
    awaits_report: bool,
    is_over: bool,
}

/// A PIN that is being checked.
struct PinWait {
    since: Duration,
    /// The result, if it waits for the end of the entry in progress.
    answer: Option<PinAnswer>,
    /// Whether the first half of a fraud report was pressed since. Then the PIN does not approve.
    has_partial_report: bool,
}

impl<'a> Ivr<'a> {
    /// Starts the conversation. The first output is a prompt.
    pub fn new(attempts: &'a Attempts, now: Duration) -> Self {
        let mut ivr = Self {
            attempts,
            now,
            silent_prompts: 0,
            wrong_entries: 0,
            prompt: Prompt::new(now),
            entry: None,
            unfinished: None,
            check: None,
            outputs: VecDeque::new(),
            awaits_report: false,
            is_over: false,
        };
        ivr.speak(false);
        ivr
    }

    /// Returns the next output.
    pub fn poll_output(&mut self) -> Option<Output<'a>> {
        self.outputs.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) must be called. `None` only if the conversation is over.
    pub fn next_timeout(&self) -> Option<Duration> {
        let check = self.check.as_ref().filter(|check| check.answer.is_none());
        let check_ends = check.map(|check| check.since.saturating_add(MAX_PIN_CHECK));
        let other = match (&self.entry, self.prompt.reported) {
            (Some(entry), _) => Some(entry.ends()),
            (None, _) if self.check.is_some() => None,
            (None, Some(reported)) => Some(reported.saturating_add(MAX_PIECE)),
            (None, None) => Some(self.prompt.ended.saturating_add(PAUSE)),
        };
        check_ends.into_iter().chain(other).min().filter(|_| !self.is_over)
    }

    /// Handles the timeouts until `now`.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.now = self.now.max(now);
        // Each round ends the conversation or the timeout that is due. What it starts times out later than now.
        while self.next_timeout().is_some_and(|at| at <= self.now) {
            self.time_out();
        }
    }

    /// Handles the start of a piece of a prompt. `now` is when it started, which may be reported later. `index` is its
    /// position in the script, from 0.
    pub fn piece_began(&mut self, now: Duration, prompt: PromptId, index: usize) {
        self.handle_timeout(now);
        if let Some(script) = self.script().filter(|_| self.prompt.is_speaking(prompt)) {
            self.prompt.piece_began(self.now, script, index);
            self.stop_for_key();
        }
    }

    /// Handles that the first second ([`UNTIL_HEARD`]) of a prompt was spoken, from the start of its first piece. Time in
    /// which nothing was sent, because the peer held the call, does not count.
    ///
    /// A shorter prompt counts as heard when it ends, but not before a second has passed.
    pub fn first_second_spoken(&mut self, now: Duration, prompt: PromptId) {
        self.handle_timeout(now);
        if let Some(script) = self.script().filter(|_| self.prompt.is_speaking(prompt)) {
            self.prompt.heard(self.now, script);
        }
    }

    /// Handles the end of a prompt. Not called for a prompt that was stopped.
    pub fn prompt_ended(&mut self, now: Duration, prompt: PromptId) {
        self.first_second_spoken(now, prompt);
        if self.prompt.is_speaking(prompt) {
            self.prompt.end(self.now);
        }
    }

    /// Handles a key. `at` is when the press began, which may be reported later.
    pub fn key_pressed(&mut self, at: Duration, key: Key) {
        self.handle_timeout(at);
        if self.is_over {
            return;
        }
        let is_early = self.check.is_some() || self.awaits_report || self.prompt.is_early(at);
        let unfinished = self.unfinished.take().filter(|_| is_early).map(PressedEntry::continued);
        let mut entry = self.entry.take().or(unfinished).unwrap_or_else(|| PressedEntry::new(self.now));
        entry.has_early_key |= is_early;
        match key {
            Key::Pound => self.entry_ended(entry, true),
            _ => {
                entry.push(self.now, key);
                self.entry = Some(entry);
                self.stop_for_key();
                // A continued entry may already be too long.
                self.handle_timeout(self.now);
            }
        }
    }

    /// Handles the result of [`Output::CheckPin`].
    pub fn pin_checked(&mut self, now: Duration, check: PinCheck, answer: PinAnswer) {
        drop(check);
        self.handle_timeout(now);
        if let Some(check) = &mut self.check {
            check.answer.get_or_insert(answer);
            self.finish_check();
        }
    }

    fn time_out(&mut self) {
        if let Some(entry) = self.entry.take_if(|entry| entry.ends() <= self.now) {
            if entry.is_too_long() {
                self.report_wrong_entry(&entry);
                self.end(Err(Denial::WrongEntry { counts_against_pin: false }));
            } else {
                self.entry_ended(entry, false);
            }
        } else if self.check.is_some() {
            self.end(Err(Denial::PinNotChecked));
        } else if self.prompt.reported.is_some() {
            self.end(Err(Denial::PlaybackStalled));
        } else if self.awaits_report {
            self.end(Err(Denial::WrongEntry { counts_against_pin: false }));
        } else {
            self.prompt_was_silent();
        }
    }

    fn prompt_was_silent(&mut self) {
        self.silent_prompts = self.silent_prompts.saturating_add(1);
        if self.silent_prompts < self.attempts.policy().repeats() {
            self.speak(true);
        } else if self.wrong_entries == 0 {
            self.end(Err(Denial::NoEntry));
        } else {
            self.end(Err(Denial::WrongEntry { counts_against_pin: false }));
        }
    }

    /// Handles the end of an entry by `#` or by a pause.
    fn entry_ended(&mut self, entry: PressedEntry, by_pound: bool) {
        let is_fraud_report = entry.is_fraud_report(self.attempts.policy().fraud_key());
        if by_pound && is_fraud_report {
            return self.end(Err(Denial::FraudReported));
        }
        if let Some(check) = &mut self.check {
            check.has_partial_report |= is_fraud_report;
            self.unfinished = (!by_pound).then_some(entry);
            return self.finish_check();
        }
        self.stop_speaking();
        if by_pound && !entry.has_early_key {
            match self.attempts.judge_digits(self.attempt(), entry.keys()) {
                Judged::Right => return self.end(Ok(Approval::of_entry())),
                Judged::NeedsPin(pin) => {
                    self.check = Some(PinWait { since: self.now, answer: None, has_partial_report: false });
                    return self.outputs.push_back(Output::CheckPin(PinCheck::new(pin)));
                }
                Judged::Wrong => {}
            }
        }
        self.report_wrong_entry(&entry);
        self.unfinished = (!by_pound).then_some(entry);
        self.ask_again();
    }

    /// Applies the result of the check of a PIN, unless an entry is in progress.
    fn finish_check(&mut self) {
        if self.entry.is_some() {
            return;
        }
        let Some(answer) = self.check.as_ref().and_then(|check| check.answer) else { return };
        let has_partial_report = self.check.take().is_some_and(|check| check.has_partial_report);
        match answer.judge() {
            Err(Denial::WrongEntry { counts_against_pin }) => self.use_attempt(counts_against_pin),
            Ok(_) if has_partial_report => self.use_attempt(false),
            result => return self.end(result),
        }
        self.ask_again();
    }

    /// Reports a wrong entry whose PIN was not checked. A continued entry has used its attempt already.
    fn report_wrong_entry(&mut self, entry: &PressedEntry) {
        if !entry.is_continued {
            self.use_attempt(self.attempts.policy().method().has_pin());
        }
    }

    fn use_attempt(&mut self, counts_against_pin: bool) {
        self.wrong_entries = self.wrong_entries.saturating_add(1);
        self.outputs.push_back(Output::WrongEntry { counts_against_pin });
    }

    /// Speaks the prompt of the next attempt, or ends the conversation if there is none. If the last attempt ended with the
    /// first half of a fraud report, the user has another [`PAUSE`] to complete it.
    fn ask_again(&mut self) {
        let policy = self.attempts.policy();
        let is_half_report = self.unfinished.as_ref().is_some_and(|entry| entry.is_fraud_report(policy.fraud_key()));
        if self.wrong_entries < policy.attempts() {
            self.speak(false);
        } else if is_half_report && !self.awaits_report {
            self.awaits_report = true;
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
        if self.entry.is_some() && self.prompt.may_stop {
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
        (self.entry, self.unfinished, self.check) = (None, None, None);
        let farewell = match result {
            Ok(_) => Piece::Verified,
            Err(Denial::FraudReported) => Piece::FraudReported,
            Err(_) => Piece::Goodbye,
        };
        self.outputs.push_back(Output::Ended { result, farewell });
    }

    /// Returns the current attempt. The first is 1.
    fn attempt(&self) -> u8 {
        self.wrong_entries.saturating_add(1)
    }

    fn script(&self) -> Option<Script<'a>> {
        let script = self.attempts.script(self.attempt())?;
        Some(if self.prompt.is_repeat { script.repeated() } else { script })
    }
}
