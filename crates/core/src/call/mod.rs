//! A call: its id, its number, its progress and its outcome.

mod call_ref;
mod country;
mod event;
mod failure;
mod limit;
mod number_hash;
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
pub use number_hash::{HashedNumber, KeyFingerprint, NumberHash};

/// The id of a request: the host's GUID. Never nil.
///
/// It is stored as a number, so that a look-up keeps it in registers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(NonZeroU128);

/// The reason why a text is not a [`CallId`].
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
    /// If the text has none of these forms, or is nil.
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

    /// Returns the id of a GUID, unless it is nil.
    pub fn new(uuid: Uuid) -> Option<Self> {
        NonZeroU128::new(uuid.as_u128()).map(Self)
    }

    /// Returns the sixteen bytes, in the order of the digits.
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

/// An attempt at a call. A request that is repeated after its end has the same id, and another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// The id of the request.
    pub id: CallId,
    /// Differs from that of every other attempt of this id, in any process.
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
    /// The hashes with the other keys of the configuration. The store may know the number by any of them.
    hashed_otherwise: Box<[HashedNumber]>,
}

impl PhoneNumber {
    /// Creates a number from `+` and its digits, of which the first `country_code_digits` are the country code, and
    /// from the digits to dial after the answer. Its hashes are made without a secret.
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

    /// Returns the number with its country (ISO 3166-1 alpha-2).
    pub fn in_country(self, country: &str) -> Self {
        Self { country: Country::parse(country), ..self }
    }

    /// Returns the number in E.164, with its `+`. Personal data: only for the telephony provider.
    pub fn e164(&self) -> &str {
        &self.e164
    }

    /// Returns the number within its country, without a trunk prefix. Personal data.
    pub fn national(&self) -> &str {
        self.e164.get(usize::from(self.country_code_digits) + 1..).unwrap_or_default()
    }

    /// Returns its country, unless it is a number of no country, such as +800.
    pub fn country(&self) -> Option<&Country> {
        self.country.as_ref()
    }

    /// Returns the digits of the extension. Personal data.
    pub fn extension(&self) -> Option<&str> {
        self.extension.as_deref()
    }

    /// Replaces the hashes.
    pub fn hashed_as(self, hashed: HashedNumber, hashed_otherwise: Box<[HashedNumber]>) -> Self {
        Self { hashed, hashed_otherwise, ..self }
    }

    /// Returns the hash with the current key.
    pub fn hash(&self) -> NumberHash {
        self.hashed.number
    }

    /// Returns its hash and that of its line, with the current key.
    pub fn hashed(&self) -> HashedNumber {
        self.hashed
    }

    /// Returns the hashes with the other keys of the configuration. The store may know the number by one of them.
    pub fn hashed_otherwise(&self) -> &[HashedNumber] {
        &self.hashed_otherwise
    }

    /// Returns whether this is a hash of the number, with any key of the configuration.
    pub fn is_known_as(&self, hash: NumberHash) -> bool {
        self.hashed.number == hash || self.hashed_otherwise.iter().any(|hashed| hashed.number == hash)
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

/// A call for a backend to place.
#[derive(Clone, Debug)]
pub struct Call {
    /// The attempt.
    pub attempt: Attempt,
    /// The number to ring.
    pub number: PhoneNumber,
    /// The end of the time that it may take.
    pub deadline: Deadline,
    /// The language of the prompts, if the host asked for one.
    pub language: Option<Box<str>>,
    /// The number that the callee sees, in E.164, in place of that of the backend's settings: that of the call's route.
    pub caller_id: Option<Arc<str>>,
    /// What the user is to press. A backend whose provider speaks needs the codes. It does not judge the entries.
    pub attempts: Arc<Attempts>,
}

/// The status that a host gets. The numbers are part of the C ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(i32)]
pub enum CallStatus {
    /// No outcome yet.
    Pending = 0,
    /// The user approved.
    Success = 1,
    /// Anything else, including any uncertainty.
    Failed = 2,
}

/// The progress of a pending call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// A backend was asked to place it.
    Dialling,
    /// The backend has accepted it. The phone rings, as far as the backend can know.
    Ringing,
    /// A person or a machine answered.
    Answered,
}

/// The outcome of a call that was judged in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The user approved. Only `crates/approval` can create an [`Approval`].
    Verified(Approval),
    /// Anything else, including any uncertainty.
    Failed(Failure),
}

/// The recorded outcome of a call, which another process may have judged.
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
