//! Prefixes of numbers that are never called.

use std::fmt;

use crate::config::ConfigError;

/// Maximum length, in characters: a whole number of E.164, which has at most 15 digits.
const MAX_CHARS: usize = 16;

/// A prefix: `+`, digits, and `?` for any digit.
#[derive(Debug)]
pub(super) struct BlockedPrefix(Box<str>);

impl BlockedPrefix {
    /// Parses the prefix at `path` of the configuration.
    ///
    /// # Errors
    /// If it has another form.
    pub(super) fn parse(path: &str, text: &str) -> Result<Self, ConfigError> {
        let is_one = text.len() <= MAX_CHARS
            && text.strip_prefix('+').is_some_and(|rest| {
                rest.starts_with(|c: char| c.is_ascii_digit()) && rest.chars().all(|c| c.is_ascii_digit() || c == '?')
            });
        if !is_one {
            return Err(ConfigError::invalid(
                path,
                "is not a prefix of a number: write `+` and digits, with `?` for any digit, such as +1???976",
            ));
        }
        Ok(Self(text.into()))
    }

    /// Returns whether a number in E.164 starts with it.
    pub(super) fn starts(&self, e164: &str) -> bool {
        let mut digits = e164.bytes();
        self.0.bytes().all(|own| digits.next().is_some_and(|digit| own == digit || own == b'?'))
    }
}

impl fmt::Display for BlockedPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
