//! Codes, PINs and entries. None has `Debug`, `Display` or `Clone`; each is zeroized when it is dropped, and compared
//! in constant time.
//!
//! A value that is moved may leave a copy on the stack, as everywhere in Rust: zeroizing shortens the life of a secret,
//! it does not end it.
//!
//! ```compile_fail
//! let entry = phonegate_approval::secret::Entry::from_text("471");
//! println!("{entry:?}");
//! ```
//!
//! ```compile_fail
//! let entry = phonegate_approval::secret::Entry::from_text("471");
//! println!("{entry}");
//! ```
//!
//! ```compile_fail
//! let entry = phonegate_approval::secret::Entry::from_text("471");
//! let copy = entry.clone();
//! ```

use std::ops::RangeInclusive;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::policy::{CODE_DIGITS, Policy};

/// Allowed numbers of digits of a PIN.
pub const PIN_DIGITS: RangeInclusive<u8> = 4..=12;

/// Maximum digits of a PIN.
const MAX_PIN: usize = *PIN_DIGITS.end() as usize;

/// Maximum digits of a code.
const MAX_CODE: usize = *CODE_DIGITS.end() as usize;

/// Maximum digits of an entry that can be right: a PIN and a code.
const MAX_ENTRY: usize = MAX_PIN + MAX_CODE;

/// Recorded length of an entry that is too long to be right.
const TOO_LONG: u8 = MAX_ENTRY as u8 + 1;

/// Recorded for a key that is no digit.
const NO_DIGIT: u8 = b'?';

/// Maximum bytes that are drawn for one digit. Of random bytes, at most 4 of 256 are rejected, so a source that needs more
/// is not random.
const MAX_DRAWS: usize = 64;

/// Why no code could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RandomError<E> {
    /// The source failed.
    #[error("the source of random numbers failed: {0}")]
    Source(E),
    /// The source returned only bytes that are rejected; the chance of that is below 2^-380.
    #[error("the source of random numbers returns no random numbers")]
    NotRandom,
}

/// The digits that are spoken in one attempt.
pub struct Code {
    /// ASCII digits, then zeros.
    digits: [u8; MAX_CODE],
    len: u8,
}

impl Code {
    /// Draws a code, uniformly from all that are allowed: no digit is the fraud key, and no digit occurs twice in a row
    /// (a repeated tone is easily lost, and a repeated word easily misheard).
    ///
    /// `fill` fills a buffer with random bytes. A byte that would favour some digits is rejected.
    pub(crate) fn draw<E>(
        policy: &Policy,
        fill: &mut impl FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self, RandomError<E>> {
        let mut code = Self { digits: [0; MAX_CODE], len: 0 };
        let mut previous = None;
        for place in code.digits.iter_mut().take(usize::from(policy.code_digits())) {
            let allowed = |digit: &u8| *digit != policy.fraud_key() && Some(*digit) != previous;
            // 9 for the first digit, then 8: the same number whatever the digits before, so all codes are as likely.
            let count = (0..10).filter(allowed).count();
            let chosen = draw_below(count, fill)?;
            let digit = (0..10).filter(allowed).nth(chosen).ok_or(RandomError::NotRandom)?;
            *place = b'0'.saturating_add(digit);
            previous = Some(digit);
            code.len = code.len.saturating_add(1);
        }
        Ok(code)
    }

    /// Reads a code from the form that [`as_bytes`](Self::as_bytes) returns. `None` if the policy does not allow it.
    pub(crate) fn read(policy: &Policy, text: &[u8]) -> Option<Self> {
        let mut code = Self { digits: [0; MAX_CODE], len: u8::try_from(text.len()).ok()? };
        if code.len != policy.code_digits() {
            return None;
        }
        let fraud_key = b'0'.saturating_add(policy.fraud_key());
        let mut previous = None;
        for (place, digit) in code.digits.iter_mut().zip(text) {
            if !digit.is_ascii_digit() || *digit == fraud_key || previous == Some(*digit) {
                return None;
            }
            *place = *digit;
            previous = Some(*digit);
        }
        Some(code)
    }

    /// Returns the ASCII digits, for what speaks the code alone.
    pub fn as_bytes(&self) -> &[u8] {
        self.digits.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Returns whether these are exactly the digits of the code.
    fn is(&self, digits: &[u8]) -> bool {
        let mut padded = Zeroizing::new([0; MAX_CODE]);
        for (place, digit) in padded.iter_mut().zip(digits) {
            *place = *digit;
        }
        let same_len = digits.len().ct_eq(&usize::from(self.len));
        (same_len & self.digits.ct_eq(&*padded)).into()
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        self.digits.zeroize();
    }
}

/// Draws a number below `count`, which is 1 to 255.
fn draw_below<E>(count: usize, fill: &mut impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<usize, RandomError<E>> {
    let mut byte = Zeroizing::new([0]);
    // The largest multiple of `count` up to 256: below it each remainder is as likely.
    let limit = 256_usize.checked_rem(count).map_or(0, |rest| 256 - rest);
    for _ in 0..MAX_DRAWS {
        fill(&mut *byte).map_err(RandomError::Source)?;
        let [drawn] = *byte;
        let drawn = usize::from(drawn);
        if drawn < limit {
            return drawn.checked_rem(count).ok_or(RandomError::NotRandom);
        }
    }
    Err(RandomError::NotRandom)
}

/// A PIN that was entered, or is to be set: 4 to 12 digits.
pub struct Pin {
    digits: [u8; MAX_PIN],
    len: u8,
}

impl Pin {
    /// Reads a PIN that is to be set. `None` if it is not 4 to 12 digits.
    pub fn from_digits(digits: &str) -> Option<Self> {
        Self::new(digits.as_bytes())
    }

    /// Returns these digits as a PIN. `None` if they cannot be one.
    fn new(digits: &[u8]) -> Option<Self> {
        let len = u8::try_from(digits.len()).ok().filter(|len| PIN_DIGITS.contains(len))?;
        let mut pin = Self { digits: [0; MAX_PIN], len };
        for (place, digit) in pin.digits.iter_mut().zip(digits) {
            if !digit.is_ascii_digit() {
                return None;
            }
            *place = *digit;
        }
        Some(pin)
    }

    /// Returns the ASCII digits, for the check of the PIN alone.
    pub fn as_bytes(&self) -> &[u8] {
        self.digits.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.digits.zeroize();
        self.len.zeroize();
    }
}

/// A key of a telephone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// 0 to 9.
    Digit(u8),
    /// `#`, which ends an entry.
    Pound,
    /// `*`, `A` to `D`, or a press that arrived incomplete. It makes an entry wrong.
    Other,
}

impl Key {
    /// Returns the key that a character names. Every character that is neither a digit nor `#` is [`Key::Other`].
    pub fn from_char(key: char) -> Self {
        match key {
            '#' => Self::Pound,
            _ => key.to_digit(10).and_then(|digit| u8::try_from(digit).ok()).map_or(Self::Other, Self::Digit),
        }
    }
}

/// What was pressed in one attempt, without the `#` that ended it.
#[derive(Default)]
pub struct Entry {
    /// ASCII digits, or [`NO_DIGIT`]; then zeros.
    keys: [u8; MAX_ENTRY],
    /// Up to [`TOO_LONG`].
    len: u8,
}

impl Entry {
    /// Reads the entry that a provider reports. No text is refused: one with other characters than digits makes the
    /// entry wrong.
    pub fn from_text(text: &str) -> Self {
        let mut entry = Self::default();
        // A longer text is wrong, too.
        text.chars().take(usize::from(TOO_LONG)).for_each(|key| entry.push(Key::from_char(key)));
        entry
    }

    /// Appends a key.
    pub(crate) fn push(&mut self, key: Key) {
        let byte = match key {
            Key::Digit(digit @ 0..=9) => b'0'.saturating_add(digit),
            Key::Digit(_) | Key::Pound | Key::Other => NO_DIGIT,
        };
        if let Some(place) = self.keys.get_mut(usize::from(self.len)) {
            *place = byte;
        }
        self.len = self.len.saturating_add(1).min(TOO_LONG);
    }

    /// Returns whether no key was pressed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the keys. `None` if there were too many.
    fn keys(&self) -> Option<&[u8]> {
        self.keys.get(..usize::from(self.len))
    }

    /// Returns whether the entry is exactly this digit, 0 to 9.
    pub(crate) fn is_digit(&self, digit: u8) -> bool {
        self.keys() == Some(&[b'0'.saturating_add(digit)])
    }

    /// Returns whether the entry is exactly the code.
    pub(crate) fn is_code(&self, code: &Code) -> bool {
        self.keys().is_some_and(|keys| code.is(keys))
    }

    /// Returns the entry as a PIN. `None` if it cannot be one.
    pub(crate) fn to_pin(&self) -> Option<Pin> {
        self.keys().and_then(Pin::new)
    }

    /// Returns the PIN before the code. `None` if the entry does not end with the code, or the rest cannot be a PIN.
    pub(crate) fn to_pin_before(&self, code: &Code) -> Option<Pin> {
        let keys = self.keys()?;
        let (pin, last) = keys.split_at_checked(keys.len().checked_sub(usize::from(code.len))?)?;
        if code.is(last) { Pin::new(pin) } else { None }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.keys.zeroize();
        self.len.zeroize();
    }
}
