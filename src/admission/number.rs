//! Telephone numbers as users store them: `+1 4255551212`, `12135551212`, `+1 4255551234X12345`.

use phonenumber::metadata::DATABASE;
use phonenumber::{Mode, Type, country};

use crate::call::PhoneNumber;

/// The longest text that is looked at, in bytes; E.164 has 15 digits, extensions 11 at most in what follows.
const MAX_BYTES: usize = 64;

/// The longest extension, in digits.
const MAX_EXTENSION_DIGITS: usize = 11;

/// A valid number and what admission asks about it.
pub(super) struct Parsed {
    pub(super) number: PhoneNumber,
    pub(super) country: Option<country::Id>,
    pub(super) premium: bool,
}

/// Reads a number. One without `+` that is not valid in the default country is tried once with it. None where there
/// is no valid number: possible is not enough, so emergency and other short numbers never pass.
pub(super) fn parse(text: &str, default_country: Option<country::Id>) -> Option<Parsed> {
    let text = text.trim();
    if text.len() > MAX_BYTES || !is_plain(text) {
        return None;
    }
    if text.starts_with('+') {
        return valid(None, text);
    }
    default_country.and_then(|id| valid(Some(id), text)).or_else(|| valid(None, &format!("+{text}")))
}

/// Digits and their usual separators, then perhaps an extension. The library would also take numbers spelled with
/// letters, and skip what it does not know; a second factor should ring only what was meant.
fn is_plain(text: &str) -> bool {
    let separator = |c: char| matches!(c, ' ' | '-' | '.' | '(' | ')' | '/' | '\u{a0}');
    let digits_end = text.find(|c: char| !(c.is_ascii_digit() || separator(c) || c == '+')).unwrap_or(text.len());
    let (digits, extension) = text.split_at(digits_end);
    let extension = extension.to_ascii_lowercase();
    let markers = [";ext=", "extension", "ext.", "ext", "x", "#"];
    let is_extension = |marker: &str| {
        extension.strip_prefix(marker).is_some_and(|rest| {
            let rest = rest.trim_start_matches([' ', ':', '.']);
            (1..=MAX_EXTENSION_DIGITS).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_digit())
        })
    };
    digits.rfind('+').is_none_or(|at| at == 0) && (extension.is_empty() || markers.into_iter().any(is_extension))
}

fn valid(country: Option<country::Id>, text: &str) -> Option<Parsed> {
    let number = phonenumber::parse(country, text).ok()?;
    // A number that fits no pattern of its country has no type.
    let kind = number.number_type(&DATABASE);
    if kind == Type::Unknown {
        return None;
    }
    let e164 = number.format().mode(Mode::E164).to_string();
    let code_digits = number.country().code().to_string().len();
    Some(Parsed {
        country: number.country().id(),
        premium: kind == Type::PremiumRate,
        number: PhoneNumber::new(
            e164,
            number.extension().map(ToString::to_string),
            u8::try_from(code_digits).unwrap_or_default(),
        ),
    })
}

/// Compiles the patterns of these countries, which takes milliseconds each.
pub(super) fn warm_up<'a>(countries: impl Iterator<Item = &'a country::Id>) {
    for id in countries {
        let example = DATABASE.by_id(id.as_ref()).map(|metadata| metadata.country_code());
        if let Some(code) = example {
            valid(None, &format!("+{code}5550100123"));
        }
    }
}
