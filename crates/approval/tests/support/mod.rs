//! Plays calls in virtual time: speaks the prompts, presses keys at given moments, and checks PINs.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod odds;
pub mod rules;

use std::convert::Infallible;
use std::time::Duration;

use phonegate_approval::attempts::Attempts;
use phonegate_approval::ivr::{Ivr, MAX_ENTRY, MAX_PIN_CHECK, Output, PAUSE, PromptId};
use phonegate_approval::policy::{Method, Policy};
use phonegate_approval::script::{Piece, Script};
use phonegate_approval::secret::Key;
use phonegate_approval::verdict::{Denial, PinAnswer, PinCheck};

/// The PIN of every simulated number.
pub const PIN: &str = "2580";

/// No simulated recording is longer than this, in milliseconds.
const LONGEST_PIECE: u64 = 6_000;

/// The silence between two digits, in milliseconds.
const DIGIT_PAUSE: u64 = 250;

/// A key and when its press begins, in milliseconds after the answer.
pub type Press = (u64, char);

/// A source of random bytes for tests.
pub fn seeded(seed: u64) -> impl FnMut(&mut [u8]) -> Result<(), Infallible> {
    let mut random = fastrand::Rng::with_seed(seed);
    move |buffer| {
        random.fill(buffer);
        Ok(())
    }
}

pub fn attempts(policy: Policy, seed: u64) -> Attempts {
    Attempts::new(policy, seeded(seed)).unwrap()
}

pub fn policy(method: Method) -> Policy {
    Policy::default().with_method(method)
}

/// The digits that are spoken once in an attempt.
pub fn code(attempts: &Attempts, attempt: u8) -> String {
    spoken_code(attempts, attempts.script(attempt).unwrap())
}

/// The code of a script, which speaks it once or twice.
fn spoken_code(attempts: &Attempts, script: Script<'_>) -> String {
    let digits: String = script
        .pieces()
        .filter_map(|piece| match piece {
            Piece::Digit(digit) => Some(char::from(b'0' + digit)),
            _ => None,
        })
        .collect();
    digits[..attempts.policy().code_digits().into()].to_owned()
}

/// What the user presses to approve in an attempt, without `#`.
pub fn right_entry(attempts: &Attempts, attempt: u8) -> String {
    let pin = if attempts.policy().method().has_pin() { PIN } else { "" };
    format!("{pin}{}", code(attempts, attempt))
}

/// Keys with the same time between them.
pub fn pressed(from: u64, gap: u64, keys: &str) -> Vec<Press> {
    (0..).map(|place| from + place * gap).zip(keys.chars()).collect()
}

pub fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

/// How long a recording is, in milliseconds.
pub fn length(piece: Piece) -> u64 {
    match piece {
        Piece::Intro => LONGEST_PIECE,
        Piece::Digit(_) => 450,
        Piece::NotYou => 4_000,
        Piece::WrongKey => 2_000,
        _ => 700,
    }
}

/// A prompt of a call.
pub struct Prompt {
    /// When it was to begin.
    pub at: u64,
    /// Wrong entries before it.
    pub wrong: u8,
    /// The digits that it says, if its script was spoken to the end.
    pub code: String,
    /// The pieces that began.
    pub pieces: Vec<(u64, Piece)>,
    /// When it ended or was stopped.
    pub ended: Option<u64>,
    /// Whether it was stopped.
    pub stopped: bool,
}

/// A call that is over.
pub struct Call {
    pub result: Result<(), Denial>,
    pub farewell: Piece,
    pub ended: u64,
    /// How many keys were pressed before the end.
    pub keys: usize,
    pub prompts: Vec<Prompt>,
    /// Failures to count against the PIN.
    pub counted: usize,
    /// PINs that were checked.
    pub checks: usize,
}

/// The constants of a simulation.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    pub attempts: &'a Attempts,
    /// How long the check of a PIN takes. `None`: it never answers.
    pub check_takes: Option<u64>,
}

/// Plays a call in which these keys are pressed, in order of time. The check of a PIN takes no time.
pub fn play(attempts: &Attempts, keys: &[Press]) -> Call {
    play_with(Setting { attempts, check_takes: Some(0) }, keys)
}

/// The longest call of a policy, in milliseconds, whatever is pressed.
pub fn longest_call(policy: &Policy) -> u64 {
    // The longest script: an opening, twice a request with its pauses, and the report.
    let prompt = LONGEST_PIECE + 2 * (2 * 700 + 4 * (450 + DIGIT_PAUSE)) + 4_000;
    let round = prompt + ms(PAUSE);
    let entry = ms(MAX_ENTRY) + ms(MAX_PIN_CHECK) + ms(MAX_ENTRY);
    u64::from(policy.repeats() + policy.attempts()) * round + u64::from(policy.attempts()) * entry
}

pub fn play_with(setting: Setting<'_>, keys: &[Press]) -> Call {
    let policy = setting.attempts.policy();
    let mut game = Game {
        attempts: setting.attempts,
        ivr: Ivr::new(setting.attempts, Duration::ZERO),
        now: 0,
        check_takes: setting.check_takes,
        check: None,
        speaking: None,
        call: Call {
            result: Ok(()),
            farewell: Piece::Goodbye,
            ended: 0,
            keys: 0,
            prompts: Vec::new(),
            counted: 0,
            checks: 0,
        },
        wrong: 0,
    };
    let mut keys = keys.iter().copied().peekable();
    let bound = longest_call(policy);
    while !game.obey() {
        let timeout = game.ivr.next_timeout().map(ms).expect("a call that is not over has a next timeout");
        assert!(timeout >= game.now, "the next timeout is not in the past");
        let piece = game.next_piece();
        let check = game.check.as_ref().map(|(at, _)| *at);
        let key = keys.peek().map(|(at, _)| *at);
        let next = [Some(timeout), piece, check, key].into_iter().flatten().min().unwrap();
        game.now = next.max(game.now);
        assert!(game.now <= bound, "no call is longer than {bound} ms");
        let now = Duration::from_millis(game.now);
        // At the same time, what is spoken comes before a timeout, and both before a key.
        if piece == Some(next) {
            game.advance_prompt(now);
        } else if check == Some(next) {
            let (_, check) = game.check.take().unwrap();
            let answer = if check.pin().as_bytes() == PIN.as_bytes() { PinAnswer::Right } else { PinAnswer::Wrong };
            game.ivr.pin_checked(now, check, answer);
        } else if timeout == next {
            game.ivr.handle_timeout(now);
        } else if let Some((at, key)) = keys.next() {
            game.call.keys += 1;
            game.ivr.key_pressed(Duration::from_millis(at), Key::from_char(key));
        }
    }
    assert!(game.ivr.next_timeout().is_none(), "a call that is over waits for nothing");
    assert!(game.ivr.poll_output().is_none(), "the end is the last output");
    game.call
}

struct Game<'a> {
    attempts: &'a Attempts,
    ivr: Ivr<'a>,
    now: u64,
    check_takes: Option<u64>,
    check: Option<(u64, PinCheck)>,
    speaking: Option<Speaking>,
    call: Call,
    wrong: u8,
}

/// The prompt that is spoken: when each piece begins, and when the last one ends.
struct Speaking {
    prompt: PromptId,
    pieces: Vec<(u64, Piece)>,
    next: usize,
    /// When the first second was spoken, until that is reported.
    second: Option<u64>,
    ends: u64,
}

impl Game<'_> {
    /// Performs the outputs of the state machine. Returns whether the call has ended.
    fn obey(&mut self) -> bool {
        while let Some(output) = self.ivr.poll_output() {
            match output {
                Output::Speak { prompt, script } => {
                    assert!(self.speaking.is_none(), "a prompt is stopped before another one");
                    let (mut ends, mut after_digit) = (self.now, false);
                    let pieces = script.pieces().map(|piece| {
                        let begins = if after_digit && piece.is_digit() { ends + DIGIT_PAUSE } else { ends };
                        (ends, after_digit) = (begins + length(piece), piece.is_digit());
                        (begins, piece)
                    });
                    let pieces = pieces.collect();
                    let second = Some(self.now + 1_000);
                    self.speaking = Some(Speaking { prompt, pieces, next: 0, second, ends });
                    let (at, wrong, code) = (self.now, self.wrong, spoken_code(self.attempts, script));
                    self.call.prompts.push(Prompt { at, wrong, code, pieces: Vec::new(), ended: None, stopped: false });
                }
                Output::StopSpeaking => {
                    assert!(self.speaking.take().is_some(), "only a prompt that is spoken is stopped");
                    let prompt = self.call.prompts.last_mut().unwrap();
                    (prompt.ended, prompt.stopped) = (Some(self.now), true);
                }
                Output::CheckPin(check) => {
                    assert!(self.check.is_none(), "one PIN is checked at a time");
                    self.call.checks += 1;
                    self.check = Some((self.check_takes.map_or(u64::MAX, |takes| self.now + takes), check));
                }
                Output::WrongEntry { counts_against_pin } => {
                    self.wrong += 1;
                    self.call.counted += usize::from(counts_against_pin);
                }
                Output::Ended { result, farewell } => {
                    assert!(self.speaking.is_none(), "no prompt is spoken after the end");
                    self.call.result = result.map(drop);
                    self.call.farewell = farewell;
                    self.call.ended = self.now;
                    return true;
                }
            }
        }
        false
    }

    fn next_piece(&self) -> Option<u64> {
        let speaking = self.speaking.as_ref()?;
        let piece = speaking.pieces.get(speaking.next).map_or(speaking.ends, |(begins, _)| *begins);
        Some(speaking.second.map_or(piece, |second| second.min(piece)))
    }

    fn advance_prompt(&mut self, now: Duration) {
        let Some(speaking) = &mut self.speaking else { return };
        let prompt = speaking.prompt;
        let recorded = self.call.prompts.last_mut().unwrap();
        let piece_at = speaking.pieces.get(speaking.next).map_or(speaking.ends, |(begins, _)| *begins);
        if speaking.second.take_if(|second| *second < piece_at).is_some() {
            self.ivr.first_second_spoken(now, prompt);
        } else if let Some(piece) = speaking.pieces.get(speaking.next) {
            recorded.pieces.push(*piece);
            speaking.next += 1;
            self.ivr.piece_began(now, prompt, speaking.next - 1);
        } else {
            recorded.ended = Some(self.now);
            self.speaking = None;
            self.ivr.prompt_ended(now, prompt);
        }
    }
}
