//! What is spoken in one attempt.

use std::fmt;
use std::iter;
use std::time::Duration;

use crate::policy::Method;
use crate::secret::Code;

/// The silence between two digits of a code.
pub const DIGIT_PAUSE: Duration = Duration::from_millis(250);

/// A recording. A sentence is made of several, so each must be recorded to fit its neighbours.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Piece {
    /// Who calls and why, up to "to approve", which the next piece continues.
    Intro,
    /// "press", before a code.
    PressCode,
    /// A digit of a code, 0 to 9. It is a secret until the call is over.
    Digit(u8),
    /// "then pound", after a code or a PIN.
    ThenPound,
    /// "press pound", for [`Method::Pound`].
    PressPound,
    /// "enter your PIN".
    EnterPin,
    /// How to report a request that is not one's own.
    NotYou,
    /// That the entry was wrong, up to "to approve", which the next piece continues.
    WrongKey,
    /// That the request is approved.
    Verified,
    /// That a fraud was reported.
    FraudReported,
    /// That the request is not approved.
    Goodbye,
}

/// The name of the piece, without the value of a digit.
impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Intro => "Intro",
            Self::PressCode => "PressCode",
            Self::Digit(_) => "Digit(_)",
            Self::ThenPound => "ThenPound",
            Self::PressPound => "PressPound",
            Self::EnterPin => "EnterPin",
            Self::NotYou => "NotYou",
            Self::WrongKey => "WrongKey",
            Self::Verified => "Verified",
            Self::FraudReported => "FraudReported",
            Self::Goodbye => "Goodbye",
        })
    }
}

/// A piece of a script, and the silence before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// How long nothing is spoken before the piece.
    pub pause: Duration,
    /// What is spoken.
    pub piece: Piece,
}

/// What is spoken in one attempt, from its beginning to its end. A repeat speaks it again.
///
/// | method | pieces |
/// |---|---|
/// | `code` | `Intro`, twice (`PressCode`, digits, `ThenPound`), `NotYou` |
/// | `pound` | `Intro`, `PressPound`, `NotYou` |
/// | `pin` | `Intro`, `EnterPin`, `ThenPound`, `NotYou` |
/// | `pin_and_code` | `Intro`, twice (`EnterPin`, `PressCode`, digits, `ThenPound`), `NotYou` |
///
/// After a wrong entry the script begins with `WrongKey` and not with `Intro`.
#[derive(Clone, Copy)]
pub struct Script<'a> {
    opening: Piece,
    method: Method,
    /// `None` if the method has no code.
    code: Option<&'a Code>,
}

impl<'a> Script<'a> {
    /// The script of the first attempt, or of one after a wrong entry.
    pub(crate) fn new(is_first: bool, method: Method, code: Option<&'a Code>) -> Self {
        Self { opening: if is_first { Piece::Intro } else { Piece::WrongKey }, method, code }
    }

    /// Returns the steps in order, at most 17.
    pub fn steps(self) -> impl Iterator<Item = Step> + 'a {
        let times = if self.code.is_some() { 2 } else { 1 };
        let requests = (0..times).flat_map(move |_| self.request());
        iter::once(step(self.opening)).chain(requests).chain(iter::once(step(Piece::NotYou)))
    }

    /// What the user is asked to press.
    fn request(self) -> impl Iterator<Item = Step> + 'a {
        let enter_pin = self.method.has_pin().then_some(Piece::EnterPin);
        let press = match self.method {
            Method::Code | Method::PinAndCode => Some(Piece::PressCode),
            Method::Pound => Some(Piece::PressPound),
            Method::Pin => None,
        };
        let then_pound = (self.method != Method::Pound).then_some(Piece::ThenPound);
        let digits = self.code.map(Code::as_bytes).unwrap_or_default().iter().enumerate().map(|(place, digit)| Step {
            pause: if place == 0 { Duration::ZERO } else { DIGIT_PAUSE },
            piece: Piece::Digit(digit.saturating_sub(b'0')),
        });
        enter_pin.into_iter().chain(press).map(step).chain(digits).chain(then_pound.map(step))
    }

    /// Returns the index of the code's first digit. `None` if the method has no code.
    pub(crate) fn code_begins(self) -> Option<usize> {
        self.steps().position(|step| matches!(step.piece, Piece::Digit(_)))
    }

    /// Returns the index of the piece after the first request. Once it begins, the code was spoken once.
    pub(crate) fn first_request_is_over(self) -> usize {
        self.request().count().saturating_add(1)
    }
}

fn step(piece: Piece) -> Step {
    Step { pause: Duration::ZERO, piece }
}
