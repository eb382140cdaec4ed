//! The recordings that prompts are made of.

use std::fmt;

use serde::Serialize;

/// A recording of a language: a sentence, a part of one, or a digit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    /// Who calls, and why.
    Intro,
    /// "If you made this request, press", which a code continues.
    PressCode,
    /// The digit 0.
    #[serde(rename = "digit_0")]
    Digit0,
    /// The digit 1.
    #[serde(rename = "digit_1")]
    Digit1,
    /// The digit 2.
    #[serde(rename = "digit_2")]
    Digit2,
    /// The digit 3.
    #[serde(rename = "digit_3")]
    Digit3,
    /// The digit 4.
    #[serde(rename = "digit_4")]
    Digit4,
    /// The digit 5.
    #[serde(rename = "digit_5")]
    Digit5,
    /// The digit 6.
    #[serde(rename = "digit_6")]
    Digit6,
    /// The digit 7.
    #[serde(rename = "digit_7")]
    Digit7,
    /// The digit 8.
    #[serde(rename = "digit_8")]
    Digit8,
    /// The digit 9.
    #[serde(rename = "digit_9")]
    Digit9,
    /// "then the pound key", which ends a sentence after a code.
    ThenPound,
    /// Which key approves, if that is the pound key alone.
    PressPound,
    /// That the PIN and the pound key approve.
    EnterPin,
    /// "enter your PIN, then press", which a code continues.
    EnterPinThen,
    /// How to report a request that is not one's own.
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

impl Piece {
    /// Every piece, in the order of `prompts.json`.
    pub const ALL: [Self; 21] = [
        Self::Intro,
        Self::PressCode,
        Self::Digit0,
        Self::Digit1,
        Self::Digit2,
        Self::Digit3,
        Self::Digit4,
        Self::Digit5,
        Self::Digit6,
        Self::Digit7,
        Self::Digit8,
        Self::Digit9,
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

    /// The digits, in order.
    pub const DIGITS: [Self; 10] = [
        Self::Digit0,
        Self::Digit1,
        Self::Digit2,
        Self::Digit3,
        Self::Digit4,
        Self::Digit5,
        Self::Digit6,
        Self::Digit7,
        Self::Digit8,
        Self::Digit9,
    ];

    /// The piece of a digit `0` to `9`.
    pub fn digit(digit: char) -> Option<Self> {
        let value = usize::try_from(digit.to_digit(10)?).ok()?;
        Self::DIGITS.get(value).copied()
    }

    /// Returns whether it is a digit.
    pub fn is_digit(self) -> bool {
        Self::DIGITS.contains(&self)
    }

    /// Its name, which is also that of its file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Intro => "intro",
            Self::PressCode => "press_code",
            Self::Digit0 => "digit_0",
            Self::Digit1 => "digit_1",
            Self::Digit2 => "digit_2",
            Self::Digit3 => "digit_3",
            Self::Digit4 => "digit_4",
            Self::Digit5 => "digit_5",
            Self::Digit6 => "digit_6",
            Self::Digit7 => "digit_7",
            Self::Digit8 => "digit_8",
            Self::Digit9 => "digit_9",
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
}

/// Without the value of a digit: it may be one of a code, which is a secret until the call is over.
impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_digit() { "digit" } else { self.name() })
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
