//! The vocabulary of a call: its id, its number, its progress and its outcome. Everything speaks in these types, and
//! they depend on nothing else of PhoneGate but its clock.

mod call_ref;
mod country;
mod event;
mod failure;
mod limit;
mod number_key;
#[cfg(feature = "rusqlite")]
mod sql;

use std::fmt;
use std::num::NonZeroU128;
use std::sync::Arc;

use phonegate_approval::attempts::Attempts;
use phonegate_approval::verdict::{Approval, StoredApproval};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::clock::Deadline;
pub use call_ref::CallRef;
pub use country::Country;
pub use event::{CallEvent, GateEvent};
pub use failure::{Failure, FailureReason};
pub use limit::CallLimit;
pub use number_key::{HashedNumber, KeyFingerprint, NumberKey};

/// The identity of a request: the host's GUID. Never nil.
///
/// It is a number, not bytes, so that a look-up has it in registers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(NonZeroU128);

/// Why a text is not a [`CallId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallIdError {
    /// Not a GUID in format D, N, B or P.
    #[error("The call id is not a GUID.")]
    Malformed,
    /// The GUID of zeroes.
    #[error("The call id is the nil GUID, which names no call.")]
    Nil,
}

impl CallId {
    /// Reads a GUID in .NET's format D (`8-4-4-4-12`), N (32 digits), B (D in braces) or P (D in parentheses), in
    /// either case.
    ///
    /// # Errors
    /// [`CallIdError`] where the text is none of these, or nil.
    pub fn parse(text: &str) -> Result<Self, CallIdError> {
        Self::parse_ascii(text.as_bytes())
    }

    /// Like [`CallId::parse`], for bytes that need not be valid UTF-8.
    ///
    /// # Errors
    /// As [`CallId::parse`].
    #[inline]
    pub fn parse_ascii(text: &[u8]) -> Result<Self, CallIdError> {
        let digits = match text {
            [b'{', inner @ .., b'}'] | [b'(', inner @ .., b')'] if inner.len() == 36 => inner,
            _ if matches!(text.len(), 32 | 36) => text,
            _ => return Err(CallIdError::Malformed),
        };
        let uuid = Uuid::try_parse_ascii(digits).map_err(|_| CallIdError::Malformed)?;
        Self::new(uuid).ok_or(CallIdError::Nil)
    }

    /// The id of a GUID, unless it is nil.
    pub fn new(uuid: Uuid) -> Option<Self> {
        NonZeroU128::new(uuid.as_u128()).map(Self)
    }

    /// Its sixteen bytes, in the order of the digits.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.get().to_be_bytes()
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Uuid::from_u128(self.0.get()).as_hyphenated(), f)
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for CallId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One attempt at a call: its id, and the generation that tells a repeat from the attempt before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// The host's id.
    pub id: CallId,
    /// Tells it from every other attempt of this id, in whatever process.
    pub generation: u64,
}

/// A valid, dialable telephone number. Of PhoneGate's code, only `src/admission` creates one: `tests/imports.rs` checks
/// that. `Display` and `Debug` show it masked.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PhoneNumber {
    e164: Box<str>,
    extension: Option<Box<str>>,
    country_code_digits: u8,
    country: Option<Country>,
    hashed: HashedNumber,
    /// The hashes with the other keys of the configuration: the store may have the number under any of them.
    hashed_otherwise: Box<[HashedNumber]>,
}

impl PhoneNumber {
    /// A number from its parts: `+` and digits of which the first `country_code_digits` are the country code, and the
    /// digits to dial after the answer.
    pub fn new(e164: String, extension: Option<String>, country_code_digits: u8) -> Self {
        let hashed = HashedNumber::unkeyed(&e164, extension.as_deref());
        Self {
            e164: e164.into(),
            extension: extension.map(Into::into),
            country_code_digits,
            country: None,
            hashed,
            hashed_otherwise: Box::default(),
        }
    }

    /// The number, which is one of this country (ISO 3166-1 alpha-2).
    pub fn in_country(self, country: &str) -> Self {
        Self { country: Country::parse(country), ..self }
    }

    /// The number in E.164, with its `+`. Personal data: for the telephony provider alone.
    pub fn e164(&self) -> &str {
        &self.e164
    }

    /// The number within its country, without a trunk prefix. Personal data.
    pub fn national(&self) -> &str {
        self.e164.get(usize::from(self.country_code_digits) + 1..).unwrap_or_default()
    }

    /// Its country, unless it is a number of no country, such as +800.
    pub fn country(&self) -> Option<&Country> {
        self.country.as_ref()
    }

    /// The extension's digits. Personal data.
    pub fn extension(&self) -> Option<&str> {
        self.extension.as_deref()
    }

    /// Replaces the hashes, which are made without a secret at first.
    pub fn hashed_as(self, hashed: HashedNumber, hashed_otherwise: Box<[HashedNumber]>) -> Self {
        Self { hashed, hashed_otherwise, ..self }
    }

    /// The hash that the number is known by.
    pub fn key(&self) -> NumberKey {
        self.hashed.number
    }

    /// Its hash and that of its line.
    pub fn hashed(&self) -> HashedNumber {
        self.hashed
    }

    /// The hashes with the other keys of the configuration, by which the store may know the number, too.
    pub fn hashed_otherwise(&self) -> &[HashedNumber] {
        &self.hashed_otherwise
    }

    /// Returns whether this is a hash of the number, with any key of the configuration.
    pub fn is_known_as(&self, key: NumberKey) -> bool {
        self.hashed.number == key || self.hashed_otherwise.iter().any(|hashed| hashed.number == key)
    }
}

/// Returns how many digits at the end of a number a mask leaves readable: at most four, at most half of `digits` (the
/// length without the country code), and at least four fewer than `digits`.
pub fn shown_digits(digits: usize) -> usize {
    4.min(digits / 2).min(digits.saturating_sub(4))
}

/// Masked: `+1******1212`, with `x…` if there is an extension. Short numbers show fewer digits.
impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, total) = (usize::from(self.country_code_digits) + 1, self.e164.len());
        let shown = shown_digits(total.saturating_sub(code));
        for (i, c) in self.e164.chars().enumerate() {
            let visible = i < code || i + shown >= total;
            write!(f, "{}", if visible { c } else { '*' })?;
        }
        match &self.extension {
            Some(_) => write!(f, "x…"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A call that a backend is to place.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which attempt this is.
    pub attempt: Attempt,
    /// Whom to ring.
    pub number: PhoneNumber,
    /// When it must be over.
    pub deadline: Deadline,
    /// The language in which the user is to be spoken to, as the host asked for it.
    pub language: Option<Box<str>>,
    /// What the user is to press. A backend that speaks by itself is given the codes; it does not judge.
    pub attempts: Arc<Attempts>,
}

/// What the host is told. The numbers are part of the C ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(i32)]
pub enum CallStatus {
    /// No outcome yet.
    Pending = 0,
    /// The user approved.
    Success = 1,
    /// Anything else.
    Failed = 2,
}

/// How far a pending call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// A backend is asked to place it.
    Dialling,
    /// The backend has taken it; the phone rings, as far as one can know.
    Ringing,
    /// Somebody, or a machine, answered.
    Answered,
}

/// How a call ended, as it was judged in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The user approved. Only `crates/approval` can create an [`Approval`].
    Verified(Approval),
    /// Anything else, including any uncertainty.
    Failed(Failure),
}

/// How a call ended, as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredOutcome {
    /// The user approved.
    Verified(StoredApproval),
    /// Anything else, including any uncertainty.
    Failed(Failure),
}

impl StoredOutcome {
    /// Returns whether the user approved.
    pub fn is_verified(&self) -> bool {
        matches!(self, Self::Verified(_))
    }
}

impl From<&Outcome> for StoredOutcome {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Verified(approval) => Self::Verified(approval.into()),
            Outcome::Failed(failure) => Self::Failed(failure.clone()),
        }
    }
}
