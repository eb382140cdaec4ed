//! The attempts of one call: what is spoken, and what approves.

use std::fmt;

use zeroize::Zeroizing;

use crate::policy::{CODE_DIGITS, Method, Policy, ROUNDS};
use crate::script::Script;
use crate::secret::{Code, Entry, Pin, RandomError};

/// Version of the form of [`StoredAttempts`], and its first part.
const FORM: &str = "1";

/// The attempts of one call: for each, what is spoken and what approves.
///
/// All codes are made at the start of the call. A repeat of a prompt speaks the same code; the next attempt has the
/// next one. The codes are independent, so two may be equal.
///
/// ```
/// use phonegate_approval::attempts::Attempts;
/// use phonegate_approval::policy::Policy;
///
/// # fn fill_with_random_bytes(buffer: &mut [u8]) -> Result<(), std::convert::Infallible> { buffer.fill(7); Ok(()) }
/// let attempts = Attempts::new(Policy::default(), fill_with_random_bytes)?;
/// assert_eq!(attempts.code(1).map(|code| code.as_bytes().len()), Some(3));
/// let pieces = attempts.script(1).into_iter().flat_map(|script| script.pieces());
/// assert_eq!(pieces.filter(|piece| piece.is_digit()).count(), 6, "three digits, twice");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Attempts {
    policy: Policy,
    /// One for each attempt. Empty if the method has no code.
    codes: Vec<Code>,
}

impl Attempts {
    /// Draws the codes of a call.
    ///
    /// `fill` fills a buffer with random bytes: the operating system's source. If it fails, there are no attempts and
    /// no call; there is no other source to fall back to.
    ///
    /// # Errors
    ///
    /// [`RandomError`].
    pub fn new<E>(policy: Policy, mut fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<Self, RandomError<E>> {
        let count = if policy.method().has_code() { policy.attempts() } else { 0 };
        let codes = (0..count).map(|_| Code::draw(&policy, &mut fill)).collect::<Result<_, _>>()?;
        Ok(Self { policy, codes })
    }

    /// Returns the rules of the call.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns what is spoken in an attempt. The first is 1. `None` if there is no such attempt.
    pub fn script(&self, attempt: u8) -> Option<Script<'_>> {
        let code = match self.policy.method() {
            _ if !self.exists(attempt) => return None,
            Method::Code | Method::PinAndCode => Some(self.code(attempt)?),
            Method::Pound | Method::Pin => None,
        };
        Some(Script::new(self.policy.method(), attempt, code))
    }

    /// Returns the code of an attempt, for a provider that speaks it. The first attempt is 1. `None` if the method has no
    /// code, or there is no such attempt. To judge an entry, use [`Attempts::judge`].
    pub fn code(&self, attempt: u8) -> Option<&Code> {
        self.codes.get(usize::from(attempt.checked_sub(1)?))
    }

    /// Returns the form in which a store keeps the attempts, so that another process can judge.
    ///
    /// Store it only for a call that outlives its process, with the pending attempt, and delete it with the call's end.
    pub fn to_stored(&self) -> StoredAttempts {
        let policy = &self.policy;
        let mut text = Zeroizing::new(String::with_capacity(CAPACITY));
        for field in [policy.method().name(), &digit(policy.code_digits()), &digit(policy.fraud_key())] {
            push_field(&mut text, field);
        }
        push_field(&mut text, &policy.attempts().to_string());
        for code in &self.codes {
            push_field(&mut text, std::str::from_utf8(code.as_bytes()).unwrap_or_default());
        }
        StoredAttempts(text)
    }

    /// Restores attempts that another process stored.
    ///
    /// `policy` is that of this process. If the other process had another policy, the call cannot be judged: a store must
    /// not choose the method.
    ///
    /// # Errors
    ///
    /// [`RestoreError`].
    pub fn restore(policy: Policy, stored: &StoredAttempts) -> Result<Self, RestoreError> {
        let mut fields = stored.0.split(' ');
        if fields.next() != Some(FORM) {
            return Err(RestoreError::Malformed);
        }
        let expected = [
            policy.method().name().to_owned(),
            digit(policy.code_digits()),
            digit(policy.fraud_key()),
            policy.attempts().to_string(),
        ];
        for expected in expected {
            match fields.next() {
                Some(field) if field == expected => {}
                Some(_) => return Err(RestoreError::PolicyChanged),
                None => return Err(RestoreError::Malformed),
            }
        }
        let codes: Option<Vec<_>> =
            fields.take(MAX_CODES + 1).map(|field| Code::read(&policy, field.as_bytes())).collect();
        let count = if policy.method().has_code() { policy.attempts() } else { 0 };
        let codes = codes.filter(|codes| codes.len() == usize::from(count)).ok_or(RestoreError::Malformed)?;
        Ok(Self { policy, codes })
    }

    /// Judges the digits of an entry that `#` ended and that is not a fraud report.
    pub(crate) fn judge_digits(&self, attempt: u8, entry: &Entry) -> Judged {
        let needs_pin = |pin: Option<Pin>| pin.map_or(Judged::Wrong, Judged::NeedsPin);
        let is_right = match self.policy.method() {
            _ if !self.exists(attempt) => false,
            Method::Code => self.code(attempt).is_some_and(|code| entry.is_code(code)),
            Method::Pound => entry.is_empty(),
            Method::Pin => return needs_pin(entry.to_pin()),
            Method::PinAndCode => return needs_pin(self.code(attempt).and_then(|code| entry.to_pin_before(code))),
        };
        if is_right { Judged::Right } else { Judged::Wrong }
    }

    fn exists(&self, attempt: u8) -> bool {
        (1..=self.policy.attempts()).contains(&attempt)
    }
}

/// Without the codes.
impl fmt::Debug for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempts").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// The judgement of the digits of an entry.
pub(crate) enum Judged {
    /// They approve.
    Right,
    /// The digits approve if this is the PIN of the number.
    NeedsPin(Pin),
    /// They do not approve.
    Wrong,
}

/// The attempts of a call as a store keeps them. They contain the codes: never log them.
#[derive(PartialEq, Eq)]
pub struct StoredAttempts(Zeroizing<String>);

/// Without the codes.
impl fmt::Debug for StoredAttempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredAttempts").finish_non_exhaustive()
    }
}

/// Why stored attempts cannot be used. The call then fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Not in the form that this version writes.
    #[error("the stored codes of the call cannot be read")]
    Malformed,
    /// The call was placed under other rules.
    #[error("the settings of `approval` changed since the call was placed")]
    PolicyChanged,
}

impl StoredAttempts {
    /// Wraps a text that was read from a store. [`Attempts::restore`] checks it.
    pub fn from_text(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Returns the text to write into a store: printable ASCII, at most 80 bytes.
    pub fn as_text(&self) -> &str {
        &self.0
    }
}

/// Maximum codes of a call, one for each attempt.
const MAX_CODES: usize = *ROUNDS.end() as usize;

/// Maximum length of a stored text, in bytes. It is allocated at once, so that no shorter copy stays in memory.
const CAPACITY: usize = 80;

// The longest text: the form, the longest name of a method, three numbers, and the codes, each after a blank.
const _: () = assert!(
    FORM.len() + " pin_and_code 4 9 10".len() + MAX_CODES * (1 + *CODE_DIGITS.end() as usize) <= CAPACITY,
    "a stored text fits into its buffer"
);

fn push_field(text: &mut String, field: &str) {
    if text.is_empty() {
        text.push_str(FORM);
    }
    text.push(' ');
    text.push_str(field);
}

fn digit(digit: u8) -> String {
    digit.to_string()
}
