//! Emergency numbers. A number that is dialled without its country code must not begin with one.

use rlibphonenumber::Region;

use crate::config::{ConfigError, NumbersConfig};

/// A line for each country: its code and its emergency numbers, from Google's libphonenumber (ShortNumberMetadata.xml).
/// A test compares the two.
const NUMBERS: &str = include_str!("emergency.txt");

/// The emergency numbers of the countries that may be called.
pub(crate) struct EmergencyNumbers(Vec<&'static str>);

impl EmergencyNumbers {
    /// Returns the emergency numbers of `numbers.default_country` and of the countries that may be called.
    ///
    /// # Errors
    /// If a country is unknown, or there is none.
    pub(crate) fn new(numbers: &NumbersConfig) -> Result<Self, ConfigError> {
        let mut countries = numbers.allowed_countries()?;
        countries.extend(numbers.default_country()?);
        Ok(Self(countries.into_iter().flat_map(of_country).collect()))
    }

    /// Returns the emergency number that these digits begin with.
    pub(crate) fn at_start_of(&self, digits: &str) -> Option<&'static str> {
        self.0.iter().copied().find(|number| digits.starts_with(number))
    }
}

fn of_country(country: Region) -> impl Iterator<Item = &'static str> {
    let code = country.as_region_str();
    let line = NUMBERS.lines().find_map(|line| line.strip_prefix(code.as_str()));
    line.unwrap_or_default().split_ascii_whitespace()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::{EmergencyNumbers, NumbersConfig};

    #[test]
    fn emergency_numbers_are_found_at_the_start() {
        let numbers = NumbersConfig {
            default_country: Some("DE".to_owned()),
            allowed_countries: Some(vec!["IN".to_owned()]),
            ..NumbersConfig::default()
        };
        let numbers = EmergencyNumbers::new(&numbers).unwrap();
        for (digits, found) in
            [("1123456789", Some("112")), ("112", Some("112")), ("1101", Some("110")), ("9111234567", None)]
        {
            assert_eq!(numbers.at_start_of(digits), found, "{digits}");
        }
    }
}
