//! The form of a telephone number that a user wrote or pasted. `number` interprets it.

use std::fmt;

/// Maximum length of a text, in bytes. A pasted number may have an invisible mark next to each digit.
const MAX_BYTES: usize = 256;

/// Maximum length of a number, in visible characters. E.164 has at most 15 digits; separators and an extension follow.
const MAX_CHARS: usize = 64;

/// Maximum length of an extension, in digits.
const MAX_EXTENSION_DIGITS: usize = 11;

/// Minimum digits after a slash. With fewer, the slash separates two numbers, as in `030 901820/21`.
const MIN_DIGITS_AFTER_SLASH: usize = 4;

/// The parts of a written number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrittenNumber {
    /// Whether `+` precedes the digits.
    pub(super) has_plus: bool,
    /// The digits before the first separator.
    pub(super) first_group: String,
    /// All digits but those of the extension.
    pub(super) digits: String,
    /// The digits without those of a `(0)`.
    without_zero: Option<String>,
    /// The digits to dial after the answer.
    pub(super) extension: Option<String>,
}

/// The reason why a text does not have the form of a number.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FormError {
    /// No digits.
    Empty,
    /// More than [`MAX_CHARS`].
    TooLong,
    /// A character that no number has at that place.
    Character(char),
    /// An extension without digits, or with too many.
    Extension,
}

impl fmt::Display for FormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "The phone number is empty."),
            Self::TooLong => write!(f, "The phone number has more than {MAX_CHARS} characters."),
            Self::Character(c) => {
                write!(
                    f,
                    "The phone number has the character U+{:04X} in it: write only `+`, digits and separators.",
                    u32::from(*c)
                )
            }
            Self::Extension => {
                write!(f, "The phone number's extension must have 1 to {MAX_EXTENSION_DIGITS} digits.")
            }
        }
    }
}

impl WrittenNumber {
    /// Reads a number with its usual separators and its extension: `+1 4255551234X12345`, `(+44) 20 7946 0958`,
    /// `tel:+1-425-555-1234;ext=44` (RFC 3966, section 3).
    pub(super) fn read(text: &str) -> Result<Self, FormError> {
        if text.len() > MAX_BYTES {
            return Err(FormError::TooLong);
        }
        let text: String = text.chars().filter(|c| !is_invisible(*c)).map(to_ascii).collect();
        let text = text.trim();
        if text.chars().count() > MAX_CHARS {
            return Err(FormError::TooLong);
        }
        let text = match text.split_at_checked(4) {
            Some((scheme, number)) if scheme.eq_ignore_ascii_case("tel:") => number,
            _ => text,
        };
        let start = text.trim_start_matches(['(', ' ']);
        let (has_plus, body) = match start.strip_prefix('+') {
            Some(body) => (true, body.trim_start_matches(' ')),
            None => (false, text),
        };
        if let Some(c) = body.chars().next().filter(|c| !c.is_ascii_digit() && *c != '(') {
            return Err(FormError::Character(c));
        }
        let end = body.find(|c: char| !c.is_ascii_digit() && !is_separator(c)).unwrap_or(body.len());
        let (number, rest) = body.split_at_checked(end).unwrap_or((body, ""));
        let digits = digits_of(number);
        if digits.is_empty() {
            return Err(rest.chars().next().map_or(FormError::Empty, FormError::Character));
        }
        if number.rsplit_once('/').is_some_and(|(_, after)| digits_of(after).len() < MIN_DIGITS_AFTER_SLASH) {
            return Err(FormError::Character('/'));
        }
        let first_group = number.split(is_separator).find(|group| !group.is_empty()).unwrap_or_default().to_owned();
        let without_zero = without_trunk_zero(number).map(|number| digits_of(&number));
        Ok(Self { has_plus, first_group, digits, without_zero, extension: extension(rest)? })
    }

    /// Returns the same number without the `(0)`, if there is one.
    pub(super) fn without_trunk_zero(&self) -> Option<Self> {
        let digits = self.without_zero.clone()?;
        Some(Self { digits, without_zero: None, ..self.clone() })
    }
}

fn digits_of(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// Parses the extension after a number.
fn extension(rest: &str) -> Result<Option<String>, FormError> {
    let Some(first) = rest.chars().next() else { return Ok(None) };
    let (marker, digits) = rest.split_at(rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len()));
    let marker = marker.trim_end_matches([' ', ':', '.']).to_ascii_lowercase();
    if !matches!(marker.as_str(), "x" | "ext" | "extension" | "#" | ";ext=") {
        return Err(FormError::Character(first));
    }
    if let Some(c) = digits.chars().find(|c| !c.is_ascii_digit()) {
        return Err(FormError::Character(c));
    }
    if digits.is_empty() || digits.len() > MAX_EXTENSION_DIGITS {
        return Err(FormError::Extension);
    }
    Ok(Some(digits.to_owned()))
}

/// Returns the number without its `(0)`. Most countries dial this zero within the country only, as in `+44 (0)20 7946
/// 0958`.
fn without_trunk_zero(number: &str) -> Option<String> {
    for (open, _) in number.match_indices('(') {
        let (before, rest) = number.split_at(open);
        let Some((inner, after)) = rest.trim_start_matches('(').split_once(')') else { break };
        if inner.trim_matches(' ') == "0" && before.contains(|c: char| c.is_ascii_digit()) {
            return Some(format!("{before} {after}"));
        }
    }
    None
}

fn is_separator(c: char) -> bool {
    matches!(c, ' ' | '-' | '.' | '(' | ')' | '/')
}

/// Returns whether it is a mark without width: directions, joiners, soft hyphens, byte order marks. Pasted text often
/// contains them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Typographic hyphens, blanks and full-width forms as ASCII.
fn to_ascii(c: char) -> char {
    match c {
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' => '-',
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => ' ',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::{FormError, WrittenNumber};

    fn read(text: &str) -> Result<(bool, String, String, Option<String>), FormError> {
        let written = WrittenNumber::read(text)?;
        let written = written.without_trunk_zero().unwrap_or(written);
        Ok((written.has_plus, written.first_group, written.digits, written.extension))
    }

    #[test]
    fn pasted_numbers_are_read() {
        for (text, has_plus, first_group, digits, extension) in [
            ("\u{202a}+1 425 555 1212\u{202c}", true, "1", "14255551212", None),
            ("\u{2066}\u{200e}+1\u{a0}425\u{2011}555\u{2013}1212\u{2069}\u{feff}", true, "1", "14255551212", None),
            ("+1 425 555\u{ad}1212\u{2060}", true, "1", "14255551212", None),
            ("＋１（４２５）５５５－１２１２", true, "1", "14255551212", None),
            ("\u{3000}425\u{2009}555\u{202f}1212", false, "425", "4255551212", None),
            ("(+44) 20 7946 0958", true, "44", "442079460958", None),
            ("( +44 ) 20 7946 0958", true, "44", "442079460958", None),
            ("+ 1 425 555 1212", true, "1", "14255551212", None),
            ("tel:+1-425-555-1212;ext=44", true, "1", "14255551212", Some("44")),
            ("TEL:+1-425-555-1212", true, "1", "14255551212", None),
            ("+44 (0)20 7946 0958", true, "44", "442079460958", None),
            ("+44(0)2079460958", true, "44", "442079460958", None),
            ("+44 ( 0 ) 20 7946 0958", true, "44", "442079460958", None),
            ("(0)30 901820", false, "0", "030901820", None),
            ("(425) 555-1212", false, "425", "4255551212", None),
            ("49/151.23456789 x 7", false, "49", "4915123456789", Some("7")),
        ] {
            let expected = (has_plus, first_group.to_owned(), digits.to_owned(), extension.map(str::to_owned));
            assert_eq!(read(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn refusals_name_the_problem() {
        for (text, error) in [
            ("", FormError::Empty),
            ("+", FormError::Empty),
            ("tel:", FormError::Empty),
            ("++14255551212", FormError::Character('+')),
            ("-14255551212", FormError::Character('-')),
            ("030 901820/21", FormError::Character('/')),
            ("030/901820/1", FormError::Character('/')),
            ("4255551212\r\n4255551213", FormError::Character('\r')),
            ("425\u{2028}5551212", FormError::Character('\u{2028}')),
            ("425 555 1212;phone-context=+1", FormError::Character(';')),
            ("1-800-FLOWERS", FormError::Character('F')),
            ("٤٢٥", FormError::Character('٤')),
            ("425 555 1212 x7y", FormError::Character('y')),
            ("425 555 1212 x", FormError::Extension),
            ("425 555 1212 x123456789012", FormError::Extension),
            (&"4".repeat(65), FormError::TooLong),
            (&"\u{200e}".repeat(100_000), FormError::TooLong),
        ] {
            assert_eq!(read(text), Err(error), "{text:?}");
        }
        assert_eq!(
            FormError::Character('\u{2028}').to_string(),
            "The phone number has the character U+2028 in it: write only `+`, digits and separators."
        );
    }
}
