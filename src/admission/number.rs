//! Interprets a written number: the rules for numbers without `+`.

use std::collections::HashSet;

use rlibphonenumber::{CountryCodeSource, PHONE_NUMBER_UTIL, PhoneNumberFormat, Region};

use super::written::{FormError, WrittenNumber};
use crate::call::PhoneNumber;
use crate::config::{NumberType, WithoutPlus};

/// The calling code of the North American Numbering Plan.
const NORTH_AMERICA: i32 = 1;

/// A valid number, with its country and type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) number: PhoneNumber,
    /// `None` for numbers of no country, such as those of satellite networks.
    pub(super) country: Option<Region>,
    pub(super) kind: NumberType,
}

/// Why a text cannot be read as a number.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    /// It does not have the form of a number.
    Form(FormError),
    /// Not a valid number. A number that is only possible is not enough, so emergency and other short numbers never
    /// pass.
    Invalid,
    /// Two valid numbers: of the default country, and one with a country code.
    Ambiguous(Box<PhoneNumber>, Box<PhoneNumber>),
}

/// Reads numbers by the settings of a configuration.
pub(super) struct NumberReader<'a> {
    pub(super) default_country: Option<Region>,
    pub(super) allowed_countries: &'a HashSet<Region>,
    pub(super) without_plus: WithoutPlus,
}

impl NumberReader<'_> {
    /// Reads a number.
    pub(super) fn read(&self, text: &str) -> Result<Parsed, ReadError> {
        let written = WrittenNumber::read(text).map_err(ReadError::Form)?;
        let Some(without_zero) = written.without_trunk_zero() else { return self.read_written(&written) };
        // In Italy the zero is part of a number: +39 (0)331 123456 is a fixed line, and +39 331 123456 a mobile phone.
        match (self.read_written(&without_zero), self.read_written(&written)) {
            (Ok(without), Ok(with)) if without != with => {
                Err(ReadError::Ambiguous(without.number.into(), with.number.into()))
            }
            (Err(ReadError::Invalid), with) => with,
            (without, _) => without,
        }
    }

    fn read_written(&self, written: &WrittenNumber) -> Result<Parsed, ReadError> {
        let valid = |parsed: Option<Parsed>| parsed.ok_or(ReadError::Invalid);
        if written.has_plus {
            return valid(international(&written.digits, written));
        }
        let national = match (self.default_country, written.digits.strip_prefix("00")) {
            (None, Some(digits)) => return valid(international(digits, written)),
            (None, None) => None,
            (Some(country), _) => match national(written, country) {
                // `00`, or the country's own international prefix, means the same as `+`.
                Some((parsed, CountryCodeSource::FromNumberWithIdd)) => return valid(parsed),
                Some((parsed, CountryCodeSource::FromDefaultCountry)) => parsed,
                // The library removed the calling code. In North America it is also the trunk prefix.
                Some((parsed, CountryCodeSource::FromNumberWithoutPlusSign))
                    if PHONE_NUMBER_UTIL.get_country_code_for_region(country) == Some(NORTH_AMERICA) =>
                {
                    parsed
                }
                _ => None,
            },
        };
        match self.without_plus {
            WithoutPlus::National => valid(national),
            WithoutPlus::International => valid(international(&written.digits, written)),
            WithoutPlus::Strict => self.strict(written, national),
        }
    }

    /// Returns the number if only one reading is possible. `49 151 23456789` starts with Germany's calling code, and
    /// must never ring the number 04915 123456789 of Germany.
    fn strict(&self, written: &WrittenNumber, national: Option<Parsed>) -> Result<Parsed, ReadError> {
        let code = calling_code(&written.digits);
        let is_first_group = code.is_some_and(|code| written.first_group == code.to_string());
        let default_code = self.default_country.and_then(|own| PHONE_NUMBER_UTIL.get_country_code_for_region(own));
        if is_first_group && code == default_code {
            return international(&written.digits, written).ok_or(ReadError::Invalid);
        }
        // Reading a number of a country for the first time takes milliseconds.
        let could_count = code.is_some_and(|code| is_first_group || self.allows_one_of(code));
        let international = could_count.then(|| international(&written.digits, written)).flatten().filter(|parsed| {
            is_first_group || parsed.country.is_some_and(|country| self.allowed_countries.contains(&country))
        });
        match (national, international) {
            (Some(national), Some(international)) if national != international => {
                Err(ReadError::Ambiguous(national.number.into(), international.number.into()))
            }
            (Some(parsed), _) | (None, Some(parsed)) => Ok(parsed),
            (None, None) => Err(ReadError::Invalid),
        }
    }

    fn allows_one_of(&self, code: i32) -> bool {
        let regions = PHONE_NUMBER_UTIL.get_regions_for_country_calling_code(code);
        regions.is_some_and(|mut regions| regions.any(|region| self.allowed_countries.contains(&region)))
    }
}

/// Reads the digits as a number of this country. Also returns how the library found the country code.
fn national(written: &WrittenNumber, country: Region) -> Option<(Option<Parsed>, CountryCodeSource)> {
    let number = PHONE_NUMBER_UTIL.parse_and_keep_raw_input(&written.digits, Some(country)).ok()?;
    Some((parsed(&number, written), number.country_code_source()))
}

/// Returns the number whose digits start with a country code.
fn international(digits: &str, written: &WrittenNumber) -> Option<Parsed> {
    let number = PHONE_NUMBER_UTIL.parse(format!("+{digits}"), None).ok()?;
    parsed(&number, written)
}

/// Returns the calling code at the start of these digits. No code is the start of another one (ITU-T E.164, 6.2.1).
fn calling_code(digits: &str) -> Option<i32> {
    if digits.starts_with('0') {
        return None;
    }
    let is_known = |code: &i32| PHONE_NUMBER_UTIL.get_regions_for_country_calling_code(*code).is_some();
    (1..=3).filter_map(|length| digits.get(..length)?.parse().ok()).find(is_known)
}

fn parsed(number: &rlibphonenumber::PhoneNumber, written: &WrittenNumber) -> Option<Parsed> {
    let kind = NumberType::of(number.get_type())?;
    let country_code_digits = number.country_code.checked_ilog10()?.checked_add(1)?;
    let country = number.get_region_code();
    let dialled = PhoneNumber::new(
        number.format_as(PhoneNumberFormat::E164).into_owned(),
        written.extension.clone(),
        u8::try_from(country_code_digits).unwrap_or_default(),
    );
    let number = match country {
        Some(region) => dialled.in_country(region.as_region_str().as_str()),
        None => dialled,
    };
    Some(Parsed { number, country, kind })
}

/// Compiles the patterns of these countries, which takes milliseconds each.
pub(super) fn warm_up<'a>(countries: impl Iterator<Item = &'a Region>) {
    for region in countries {
        if let Ok(example) = PHONE_NUMBER_UTIL.get_example_number(*region) {
            example.get_type();
        }
    }
}
