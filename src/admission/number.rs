//! What a written number means: the rules for numbers without `+`.

use std::collections::HashSet;

use rlibphonenumber::{CountryCodeSource, PHONE_NUMBER_UTIL, PhoneNumberFormat, Region};

use super::input::{Input, InputError};
use crate::call::PhoneNumber;
use crate::config::{NumberType, WithoutPlus};

/// The calling code of the North American Numbering Plan.
const NORTH_AMERICA: i32 = 1;

/// A valid number and what admission asks about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) number: PhoneNumber,
    /// None for numbers of no country, such as those of satellite networks.
    pub(super) country: Option<Region>,
    pub(super) kind: NumberType,
}

/// Why a text means no number.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    /// It has not the form of a number.
    Form(InputError),
    /// No valid number. Possible is not enough, so emergency and other short numbers never pass.
    Invalid,
    /// Two valid numbers: of the default country, and one with a country code.
    Ambiguous(Box<PhoneNumber>, Box<PhoneNumber>),
}

/// How numbers are read by one configuration.
pub(super) struct Reader<'a> {
    pub(super) default_country: Option<Region>,
    pub(super) allowed_countries: &'a HashSet<Region>,
    pub(super) without_plus: WithoutPlus,
}

impl Reader<'_> {
    /// The number that a text means.
    pub(super) fn read(&self, text: &str) -> Result<Parsed, ReadError> {
        let input = Input::read(text).map_err(ReadError::Form)?;
        let Some(without_zero) = input.without_trunk_zero() else { return self.read_input(&input) };
        // In Italy the zero is part of a number: +39 (0)331 123456 is a fixed line, and +39 331 123456 a mobile phone.
        match (self.read_input(&without_zero), self.read_input(&input)) {
            (Ok(without), Ok(with)) if without != with => {
                Err(ReadError::Ambiguous(without.number.into(), with.number.into()))
            }
            (Err(ReadError::Invalid), with) => with,
            (without, _) => without,
        }
    }

    fn read_input(&self, input: &Input) -> Result<Parsed, ReadError> {
        let valid = |parsed: Option<Parsed>| parsed.ok_or(ReadError::Invalid);
        if input.has_plus {
            return valid(international(&input.digits, input));
        }
        let national = match (self.default_country, input.digits.strip_prefix("00")) {
            (None, Some(digits)) => return valid(international(digits, input)),
            (None, None) => None,
            (Some(country), _) => match national(input, country) {
                // 00, or what the country dials in its place, says as much as `+`.
                Some((parsed, CountryCodeSource::FromNumberWithIdd)) => return valid(parsed),
                Some((parsed, CountryCodeSource::FromDefaultCountry)) => parsed,
                // The library took the calling code away. In North America it is also what is dialled before an area
                // code.
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
            WithoutPlus::International => valid(international(&input.digits, input)),
            WithoutPlus::Strict => self.strict(input, national),
        }
    }

    /// The number if only one reading makes sense. `49 151 23456789` starts with Germany's calling code, and must never
    /// ring the number 04915 123456789 of Germany.
    fn strict(&self, input: &Input, national: Option<Parsed>) -> Result<Parsed, ReadError> {
        let code = calling_code(&input.digits);
        let is_first_group = code.is_some_and(|code| input.first_group == code.to_string());
        let default_code = self.default_country.and_then(|own| PHONE_NUMBER_UTIL.get_country_code_for_region(own));
        if is_first_group && code == default_code {
            return international(&input.digits, input).ok_or(ReadError::Invalid);
        }
        // Reading a number of a country for the first time takes milliseconds.
        let could_count = code.is_some_and(|code| is_first_group || self.allows_one_of(code));
        let international = could_count.then(|| international(&input.digits, input)).flatten().filter(|parsed| {
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

/// The number of a country, and where the library has its country code from.
fn national(input: &Input, country: Region) -> Option<(Option<Parsed>, CountryCodeSource)> {
    let number = PHONE_NUMBER_UTIL.parse_and_keep_raw_input(&input.digits, Some(country));
    match number {
        Ok(number) => {
            let source = number.country_code_source();
            Some((parsed(&number, input), source))
        }
        Err(_) => None,
    }
}

/// The number whose digits start with a country code.
fn international(digits: &str, input: &Input) -> Option<Parsed> {
    let number = PHONE_NUMBER_UTIL.parse(format!("+{digits}"), None).ok()?;
    parsed(&number, input)
}

/// The calling code at the start of these digits. No code is the start of another one (ITU-T E.164, 6.2.1).
fn calling_code(digits: &str) -> Option<i32> {
    let codes = (1..=3).filter_map(|length| digits.get(..length)?.parse().ok());
    let is_known = |code: &i32| PHONE_NUMBER_UTIL.get_regions_for_country_calling_code(*code).is_some();
    if digits.starts_with('0') { None } else { codes.into_iter().find(is_known) }
}

fn parsed(number: &rlibphonenumber::PhoneNumber, input: &Input) -> Option<Parsed> {
    let kind = NumberType::of(number.get_type())?;
    let country_code_digits = number.country_code.checked_ilog10()?.checked_add(1)?;
    let country = number.get_region_code();
    let dialled = PhoneNumber::new(
        number.format_as(PhoneNumberFormat::E164).into_owned(),
        input.extension.clone(),
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
