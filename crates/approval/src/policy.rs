//! The method of approval and its limits.

use std::ops::RangeInclusive;

/// Allowed numbers of digits of a code.
pub const CODE_DIGITS: RangeInclusive<u8> = 1..=4;

/// Allowed numbers of attempts, and of repeats, of a call.
pub const ROUNDS: RangeInclusive<u8> = 1..=10;

/// What the user must press to approve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// The digits that are spoken, then `#`.
    Code,
    /// `#` alone. A recording can press it.
    Pound,
    /// The PIN of the number, then `#`.
    Pin,
    /// The PIN, then the digits that are spoken, then `#`.
    PinAndCode,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 4] = [Self::Code, Self::Pound, Self::Pin, Self::PinAndCode];

    /// Returns the name for commands and stores.
    pub fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Pound => "pound",
            Self::Pin => "pin",
            Self::PinAndCode => "pin_and_code",
        }
    }

    /// Returns whether a code is spoken and expected.
    pub fn has_code(self) -> bool {
        matches!(self, Self::Code | Self::PinAndCode)
    }

    /// Returns whether a PIN is expected.
    pub fn has_pin(self) -> bool {
        matches!(self, Self::Pin | Self::PinAndCode)
    }
}

/// Why a value cannot be part of a [`Policy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Not in [`CODE_DIGITS`].
    #[error("a code has 1 to 4 digits")]
    CodeDigits,
    /// Not in [`ROUNDS`].
    #[error("there are 1 to 10 attempts")]
    Attempts,
    /// Not in [`ROUNDS`].
    #[error("there are 1 to 10 repeats")]
    Repeats,
    /// Not `0` to `9`.
    #[error("the fraud key is a digit")]
    FraudKey,
}

/// The rules of a call. They come from the configuration; the host cannot choose them.
///
/// ```
/// use phonegate_approval::policy::{Method, Policy};
///
/// let policy = Policy::default().with_method(Method::PinAndCode).with_code_digits(4)?;
/// # Ok::<(), phonegate_approval::policy::PolicyError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    method: Method,
    code_digits: u8,
    attempts: u8,
    repeats: u8,
    /// 0 to 9.
    fraud_key: u8,
}

/// [`Method::Code`] with 3 digits, 2 attempts, 3 repeats, and the fraud key `0`.
impl Default for Policy {
    fn default() -> Self {
        Self { method: Method::Code, code_digits: 3, attempts: 2, repeats: 3, fraud_key: 0 }
    }
}

impl Policy {
    /// Sets the method.
    pub fn with_method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    /// Sets the digits of a code, 1 to 4. A method without a code ignores them.
    ///
    /// # Errors
    ///
    /// [`PolicyError::CodeDigits`].
    pub fn with_code_digits(self, code_digits: u8) -> Result<Self, PolicyError> {
        CODE_DIGITS.contains(&code_digits).then_some(Self { code_digits, ..self }).ok_or(PolicyError::CodeDigits)
    }

    /// Sets how many entries the user may make, 1 to 10. Each has a code of its own.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Attempts`].
    pub fn with_attempts(self, attempts: u8) -> Result<Self, PolicyError> {
        ROUNDS.contains(&attempts).then_some(Self { attempts, ..self }).ok_or(PolicyError::Attempts)
    }

    /// Sets how many prompts may end without a key before the call ends, 1 to 10.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Repeats`].
    pub fn with_repeats(self, repeats: u8) -> Result<Self, PolicyError> {
        ROUNDS.contains(&repeats).then_some(Self { repeats, ..self }).ok_or(PolicyError::Repeats)
    }

    /// Sets the digit that, followed by `#`, reports a fraud: `0` to `9`. It is never part of a code.
    ///
    /// # Errors
    ///
    /// [`PolicyError::FraudKey`].
    pub fn with_fraud_key(self, fraud_key: char) -> Result<Self, PolicyError> {
        let digit = fraud_key.to_digit(10).and_then(|digit| u8::try_from(digit).ok());
        digit.map(|fraud_key| Self { fraud_key, ..self }).ok_or(PolicyError::FraudKey)
    }

    /// Returns the method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Returns the number of digits of a code: 0 if the method has no code.
    pub fn code_digits(&self) -> u8 {
        if self.method.has_code() { self.code_digits } else { 0 }
    }

    /// Returns the maximum number of entries.
    pub fn attempts(&self) -> u8 {
        self.attempts
    }

    /// Returns how many prompts may end without a key. With [`Method::PinAndCode`], whose prompts are the longest, this
    /// is one less than the setting, so that all prompts end before the deadline of a call.
    pub fn repeats(&self) -> u8 {
        match self.method {
            Method::PinAndCode => self.repeats.saturating_sub(1).max(1),
            Method::Code | Method::Pound | Method::Pin => self.repeats,
        }
    }

    /// Returns the fraud key, 0 to 9.
    pub(crate) fn fraud_key(&self) -> u8 {
        self.fraud_key
    }
}
