//! Telephone numbers as users store them: `+1 4255551212`, `12135551212`, `+1 4255551234X12345`.

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberType, Region};

use crate::call::PhoneNumber;

/// The longest text that is looked at, in bytes; E.164 has 15 digits, extensions 11 at most in what follows.
const MAX_BYTES: usize = 64;

/// The longest extension, in digits.
const MAX_EXTENSION_DIGITS: usize = 11;

/// A valid number and what admission asks about it.
pub(super) struct Parsed {
    pub(super) number: PhoneNumber,
    pub(super) country: Option<Region>,
    pub(super) premium: bool,
}

/// Reads a number. One without `+` that is not valid in the default country is tried once with it. None where there
/// is no valid number: possible is not enough, so emergency and other short numbers never pass.
pub(super) fn parse(text: &str, default_country: Option<Region>) -> Option<Parsed> {
    let text = text.trim();
    if text.len() > MAX_BYTES {
        return None;
    }
    let (digits, extension) = split(text)?;
    if digits.starts_with('+') {
        return valid(None, digits, extension);
    }
    let national = default_country.and_then(|id| valid(Some(id), digits, extension));
    national.or_else(|| valid(None, &format!("+{digits}"), extension))
}

/// The digits with their usual separators, and the extension's digits. The library would also take numbers spelled
/// with letters, and skip what it does not know; a second factor should ring only what was meant.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    let is_separator = |c: char| matches!(c, ' ' | '-' | '.' | '(' | ')' | '/' | '\u{a0}');
    let body = text.strip_prefix('+').unwrap_or(text);
    let end =
        text.len() - body.len() + body.find(|c: char| !c.is_ascii_digit() && !is_separator(c)).unwrap_or(body.len());
    let (digits, rest) = text.split_at_checked(end)?;
    if !body.starts_with(|c: char| c.is_ascii_digit() || c == '(') {
        return None;
    }
    if rest.is_empty() {
        return Some((digits, None));
    }
    let marker_end = rest.find(|c: char| c.is_ascii_digit())?;
    let (marker, extension) = rest.split_at_checked(marker_end)?;
    let marker = marker.trim_end_matches([' ', ':', '.']).to_ascii_lowercase();
    let is_extension = matches!(marker.as_str(), "x" | "ext" | "extension" | "#" | ";ext=")
        && extension.len() <= MAX_EXTENSION_DIGITS
        && extension.bytes().all(|byte| byte.is_ascii_digit());
    is_extension.then_some((digits, Some(extension)))
}

fn valid(country: Option<Region>, digits: &str, extension: Option<&str>) -> Option<Parsed> {
    let number = rlibphonenumber::PhoneNumber::parse(digits, country).ok()?;
    // A number that fits no pattern of its country has no type.
    let kind = number.get_type();
    if kind == PhoneNumberType::Unknown {
        return None;
    }
    let country_code_digits = number.country_code.checked_ilog10()?.checked_add(1)?;
    let country = number.get_region_code();
    let dialled = PhoneNumber::new(
        number.to_string(),
        extension.map(str::to_owned),
        u8::try_from(country_code_digits).unwrap_or_default(),
    );
    Some(Parsed {
        country,
        premium: kind == PhoneNumberType::PremiumRate,
        number: match country {
            Some(region) => dialled.in_country(region.as_region_str().as_str()),
            None => dialled,
        },
    })
}

/// Compiles the patterns of these countries, which takes milliseconds each.
pub(super) fn warm_up<'a>(countries: impl Iterator<Item = &'a Region>) {
    for region in countries {
        if let Ok(example) = PHONE_NUMBER_UTIL.get_example_number(*region) {
            valid(None, &example.to_string(), None);
        }
    }
}
