//! The recordings that are played in one attempt.

use std::fmt;
use std::iter;

use crate::policy::Method;
use crate::secret::Code;

/// A recording: a sentence, a part of one, or a digit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Piece {
    /// Who calls, and why.
    Intro,
    /// "If you made this request, press", which a code continues.
    PressCode,
    /// A digit of a code, 0 to 9. It is a secret until the call is over.
    Digit(u8),
    /// "then the pound key.", the end of a sentence after a code.
    ThenPound,
    /// That the pound key approves, for [`Method::Pound`].
    PressPound,
    /// That the PIN and the pound key approve.
    EnterPin,
    /// "If you made this request, enter your PIN, then press", which a code continues.
    EnterPinThen,
    /// How to report a request that the user did not make.
    NotYou,
    /// That the entry was wrong. What to press is said after it.
    WrongKey,
    /// That the request is approved.
    Verified,
    /// That a fraud was reported.
    FraudReported,
    /// That the request is not approved.
    Goodbye,
}

const DIGIT_NAMES: [&str; 10] =
    ["digit_0", "digit_1", "digit_2", "digit_3", "digit_4", "digit_5", "digit_6", "digit_7", "digit_8", "digit_9"];

impl Piece {
    /// Every piece, in order.
    pub const ALL: [Self; 21] = [
        Self::Intro,
        Self::PressCode,
        Self::Digit(0),
        Self::Digit(1),
        Self::Digit(2),
        Self::Digit(3),
        Self::Digit(4),
        Self::Digit(5),
        Self::Digit(6),
        Self::Digit(7),
        Self::Digit(8),
        Self::Digit(9),
        Self::ThenPound,
        Self::PressPound,
        Self::EnterPin,
        Self::EnterPinThen,
        Self::NotYou,
        Self::WrongKey,
        Self::Verified,
        Self::FraudReported,
        Self::Goodbye,
    ];

    /// Returns the name, for example of its file. The name of a digit shows its value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Intro => "intro",
            Self::PressCode => "press_code",
            Self::Digit(digit) => DIGIT_NAMES.get(usize::from(digit)).copied().unwrap_or("no_digit"),
            Self::ThenPound => "then_pound",
            Self::PressPound => "press_pound",
            Self::EnterPin => "enter_pin",
            Self::EnterPinThen => "enter_pin_then",
            Self::NotYou => "not_you",
            Self::WrongKey => "wrong_key",
            Self::Verified => "verified",
            Self::FraudReported => "fraud_reported",
            Self::Goodbye => "goodbye",
        }
    }

    /// Returns whether it is a digit.
    pub fn is_digit(self) -> bool {
        matches!(self, Self::Digit(_))
    }

    /// Returns whether a call with this method may speak it.
    pub fn is_spoken_with(self, method: Method) -> bool {
        let is_farewell = matches!(self, Self::Verified | Self::FraudReported | Self::Goodbye);
        is_farewell || [1, 2].into_iter().any(|attempt| pieces(method, attempt, ALL_DIGITS).any(|piece| piece == self))
    }
}

/// The name of the piece, without the value of a digit.
impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_digit() { "digit" } else { self.name() })
    }
}

/// A code for [`pieces`] with every digit.
pub const ALL_DIGITS: &str = "0123456789";

/// The pieces of one prompt of an attempt, or of its repeat after silence.
///
/// | method | first prompt | after a wrong entry | repeat |
/// |---|---|---|---|
/// | `code` | `Intro`, `PressCode`, digits, `ThenPound`, digits, `NotYou` | `WrongKey`, `PressCode`, digits, `ThenPound`, digits | `PressCode`, digits, `ThenPound` |
/// | `pin_and_code` | the same with `EnterPinThen` in place of `PressCode` | | |
/// | `pound` | `Intro`, `PressPound`, `NotYou` | `WrongKey`, `PressPound` | `PressPound` |
/// | `pin` | the same with `EnterPin` in place of `PressPound` | | |
///
/// A code is spoken twice in its first prompt. A repeat leaves out what the user has heard, because all prompts of a call
/// must end before its deadline. The caller adds pauses.
#[derive(Clone, Copy)]
pub struct Script<'a> {
    method: Method,
    /// The first is 1.
    attempt: u8,
    /// ASCII. Empty if the method has no code.
    digits: &'a [u8],
    is_repeat: bool,
}

impl<'a> Script<'a> {
    pub(crate) fn new(method: Method, attempt: u8, code: Option<&'a Code>) -> Self {
        Self { method, attempt, digits: code.map(Code::as_bytes).unwrap_or_default(), is_repeat: false }
    }

    /// Returns what is spoken again after silence.
    pub(crate) fn repeated(self) -> Self {
        Self { is_repeat: true, ..self }
    }

    /// Returns the pieces in order, at most 12.
    pub fn pieces(self) -> impl Iterator<Item = Piece> + 'a {
        let again = (!self.is_repeat).then(|| self.code()).into_iter().flatten();
        let ending = (self.attempt == 1 && !self.is_repeat).then_some(Piece::NotYou);
        self.opening().into_iter().chain(self.request()).chain(again).chain(ending)
    }

    fn opening(self) -> Option<Piece> {
        let opening = if self.attempt == 1 { Piece::Intro } else { Piece::WrongKey };
        (!self.is_repeat).then_some(opening)
    }

    /// The digits of the code, none if the method has no code.
    fn code(self) -> impl Iterator<Item = Piece> + 'a {
        let digits = if self.method.has_code() { self.digits } else { &[] };
        digits.iter().map(|digit| Piece::Digit(digit.saturating_sub(b'0')))
    }

    /// What the user is asked to press.
    fn request(self) -> impl Iterator<Item = Piece> + 'a {
        let first = match self.method {
            Method::Code => Piece::PressCode,
            Method::Pound => Piece::PressPound,
            Method::Pin => Piece::EnterPin,
            Method::PinAndCode => Piece::EnterPinThen,
        };
        let last = self.method.has_code().then_some(Piece::ThenPound);
        iter::once(first).chain(self.code()).chain(last)
    }

    /// Returns the index of the code's first digit. `None` if the method has no code.
    pub(crate) fn code_begins(self) -> Option<usize> {
        self.pieces().position(Piece::is_digit)
    }

    /// Returns the index of the piece after the first request. Once it begins, the code was spoken once.
    pub(crate) fn first_request_is_over(self) -> usize {
        self.opening().iter().count().saturating_add(self.request().count())
    }
}

/// Returns the pieces of an attempt's first prompt with any code, to listen to them or to check recordings. They belong
/// to no call, so they approve nothing.
///
/// The first attempt is 1. A method without a code ignores `digits`.
///
/// ```
/// use phonegate_approval::policy::Method;
/// use phonegate_approval::script::{Piece, pieces};
///
/// let pieces: Vec<_> = pieces(Method::Pound, 1, "").collect();
/// assert_eq!(pieces, [Piece::Intro, Piece::PressPound, Piece::NotYou]);
/// ```
pub fn pieces(method: Method, attempt: u8, digits: &str) -> impl Iterator<Item = Piece> {
    Script { method, attempt, digits: digits.as_bytes(), is_repeat: false }.pieces()
}

/// The pieces of a repeat, as [`pieces`] returns those of a first prompt.
pub fn repeated_pieces(method: Method, attempt: u8, digits: &str) -> impl Iterator<Item = Piece> {
    Script { method, attempt, digits: digits.as_bytes(), is_repeat: true }.pieces()
}
