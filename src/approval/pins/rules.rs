//! The rules for PINs that are set.

use phonegate_approval::secret::{PIN_DIGITS, Pin};

use crate::call::PhoneNumber;
use crate::config::PinConfig;

/// The rules for PINs that are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinRules {
    /// Minimum length in digits, from 4 to 12.
    pub min_digits: u8,
}

/// The reason why a PIN may not be set. It does not show the PIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PinRefused {
    /// It has other characters than the digits 0 to 9.
    #[error("a PIN has digits only: choose another one")]
    NotDigits,
    /// It is too short.
    #[error("the PIN is too short: choose one of {min} to {max} digits", max = PIN_DIGITS.end())]
    TooShort {
        /// Minimum length in digits.
        min: u8,
    },
    /// It is too long.
    #[error("the PIN is too long: choose one of at most {max} digits", max = PIN_DIGITS.end())]
    TooLong,
    /// One digit repeated, such as 0000.
    #[error("the PIN is one digit repeated, which is guessed first: choose another one")]
    OneDigit,
    /// Digits in order, such as 1234, 4321 or 7890.
    #[error("the PIN is a sequence of digits in order, which is guessed first: choose another one")]
    Sequence,
    /// A part repeated, such as 1212 or 123123.
    #[error("the PIN is a part repeated, which is guessed first: choose another one")]
    RepeatedPart,
    /// The end of the user's number, or the extension.
    #[error("the PIN is the end of the telephone number, or the extension, which is guessed first: choose another one")]
    InNumber,
}

impl From<&PinConfig> for PinRules {
    fn from(config: &PinConfig) -> Self {
        Self { min_digits: u8::try_from(config.min_digits.get()).unwrap_or(*PIN_DIGITS.end()) }
    }
}

impl PinRules {
    /// Checks a PIN to set for a number.
    ///
    /// # Errors
    /// If it has the wrong form, or is easy to guess.
    pub fn check(&self, digits: &str, number: &PhoneNumber) -> Result<Pin, PinRefused> {
        if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(PinRefused::NotDigits);
        }
        let min = self.min_digits.max(*PIN_DIGITS.start());
        if digits.len() < usize::from(min) {
            return Err(PinRefused::TooShort { min });
        }
        let pin = Pin::from_digits(digits).ok_or(PinRefused::TooLong)?;
        let bytes = pin.as_bytes();
        if has_step(bytes, 0) {
            return Err(PinRefused::OneDigit);
        }
        // Down is nine up, modulo ten.
        if has_step(bytes, 1) || has_step(bytes, 9) {
            return Err(PinRefused::Sequence);
        }
        if (2..=bytes.len() / 2).any(|part| bytes.len().is_multiple_of(part) && repeats(bytes, part)) {
            return Err(PinRefused::RepeatedPart);
        }
        let is_end = |digits: &str| digits.as_bytes().ends_with(bytes);
        if is_end(number.e164()) || number.extension().is_some_and(is_end) {
            return Err(PinRefused::InNumber);
        }
        Ok(pin)
    }
}

/// Returns whether each digit is the one before it plus `step`, modulo ten.
fn has_step(digits: &[u8], step: u8) -> bool {
    digits.windows(2).all(|pair| matches!(*pair, [one, next] if next == b'0' + (one - b'0' + step) % 10))
}

fn repeats(digits: &[u8], part: usize) -> bool {
    digits.iter().zip(digits.iter().skip(part)).all(|(one, next)| one == next)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn check(min_digits: u8, digits: &str) -> Result<String, PinRefused> {
        let number = PhoneNumber::new("+14255551302".to_owned(), Some("7418529".to_owned()), 1);
        let pin = PinRules { min_digits }.check(digits, &number)?;
        Ok(String::from_utf8(pin.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn pins_that_are_guessed_first_are_refused() {
        for (digits, refused) in [
            ("", PinRefused::TooShort { min: 4 }),
            ("482", PinRefused::TooShort { min: 4 }),
            ("4826193750482", PinRefused::TooLong),
            ("48 26", PinRefused::NotDigits),
            ("4826#", PinRefused::NotDigits),
            ("٤٨٢٦", PinRefused::NotDigits),
            ("0000", PinRefused::OneDigit),
            ("777777777777", PinRefused::OneDigit),
            ("1234", PinRefused::Sequence),
            ("7890", PinRefused::Sequence),
            ("987654", PinRefused::Sequence),
            ("2109", PinRefused::Sequence),
            ("012345678901", PinRefused::Sequence),
            ("1212", PinRefused::RepeatedPart),
            ("482482", PinRefused::RepeatedPart),
            ("482648264826", PinRefused::RepeatedPart),
            ("1302", PinRefused::InNumber),
            ("551302", PinRefused::InNumber),
            ("7418529", PinRefused::InNumber),
            ("8529", PinRefused::InNumber),
        ] {
            assert_eq!(check(4, digits), Err(refused), "{digits}");
        }
    }

    #[test]
    fn other_pins_of_4_to_12_digits_may_be_set() {
        for digits in ["4826", "0001", "1233", "1357", "48264", "12125", "1303", "482619375048"] {
            assert_eq!(check(4, digits).unwrap(), digits);
        }
        assert_eq!(check(6, "48261"), Err(PinRefused::TooShort { min: 6 }));
        assert_eq!(check(6, "482619").unwrap(), "482619");
    }

    #[test]
    fn a_refusal_does_not_show_the_pin() {
        for digits in ["482", "4826193750482", "48 26", "0000", "1234", "1212", "1302"] {
            let text = check(4, digits).unwrap_err().to_string();
            assert!(!text.contains(digits) && text.contains("choose"), "{text}");
        }
    }
}
