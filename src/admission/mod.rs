//! May this call be placed? Everything that can be said without asking anybody: the number, its country, its rate, the
//! block list of the configuration.

mod number;

use std::collections::HashSet;

use rlibphonenumber::Region;

use crate::call::{Failure, FailureReason, PhoneNumber};
use crate::config::{ConfigError, NumbersConfig, country};
use number::Parsed;

/// The rules of one configuration.
pub struct Admission {
    default_country: Option<Region>,
    allowed_countries: HashSet<Region>,
    allow_premium: bool,
    /// In E.164, without extensions.
    blocked: HashSet<Box<str>>,
}

impl Admission {
    /// Reads the rules, and makes ready what the first call would otherwise wait for.
    ///
    /// # Errors
    /// An unknown country, no country at all, or a blocked number that is not one.
    pub fn new(numbers: &NumbersConfig) -> Result<Self, ConfigError> {
        let default_country = match &numbers.default_country {
            Some(code) => Some(country("numbers.default_country", code)?),
            None => None,
        };
        let allowed_countries = match (&numbers.allowed_countries, default_country) {
            (Some(codes), _) if codes.is_empty() => {
                return Err(ConfigError::invalid("numbers.allowed_countries", "is empty: no call could be placed"));
            }
            (Some(codes), _) => codes
                .iter()
                .enumerate()
                .map(|(index, code)| country(&format!("numbers.allowed_countries[{index}]"), code))
                .collect::<Result<_, _>>()?,
            (None, Some(id)) => HashSet::from([id]),
            (None, None) => {
                return Err(ConfigError::invalid(
                    "numbers",
                    "needs `default_country`, `allowed_countries` or both: which countries may be called?",
                ));
            }
        };
        let blocked = numbers
            .blocked
            .iter()
            .enumerate()
            .map(|(index, text)| match number::parse(text, default_country) {
                Some(parsed) => Ok(parsed.number.e164().into()),
                None => Err(ConfigError::invalid(
                    format!("numbers.blocked[{index}]"),
                    "is not a valid telephone number; write it as +14255550199",
                )),
            })
            .collect::<Result<_, _>>()?;
        number::warm_up(default_country.iter().chain(&allowed_countries));
        Ok(Self { default_country, allowed_countries, allow_premium: numbers.allow_premium, blocked })
    }

    /// The number that a text means, whether it may be called or not.
    ///
    /// # Errors
    /// InvalidNumber.
    pub fn read(&self, text: &str) -> Result<PhoneNumber, Failure> {
        self.parse(text).map(|parsed| parsed.number)
    }

    /// The number to dial for what the host gave.
    ///
    /// # Errors
    /// InvalidNumber, Blocked or CountryNotAllowed.
    pub fn admit(&self, text: &str) -> Result<PhoneNumber, Failure> {
        let Parsed { number, country, premium } = self.parse(text)?;
        if self.blocked.contains(number.e164()) {
            return Err(Failure::new(
                FailureReason::Blocked,
                format_args!("{number} is in `numbers.blocked` of the configuration."),
            ));
        }
        match country {
            Some(id) if self.allowed_countries.contains(&id) => {}
            Some(id) => {
                return Err(Failure::new(
                    FailureReason::CountryNotAllowed,
                    format_args!("{number} is in the country {}, which `numbers` does not allow.", id.as_region_str()),
                ));
            }
            None => {
                return Err(Failure::new(
                    FailureReason::CountryNotAllowed,
                    format_args!("{number} belongs to no country."),
                ));
            }
        }
        if premium && !self.allow_premium {
            return Err(Failure::new(
                FailureReason::CountryNotAllowed,
                format_args!("{number} is a premium-rate number, which `numbers` does not allow."),
            ));
        }
        Ok(number)
    }

    fn parse(&self, text: &str) -> Result<Parsed, Failure> {
        number::parse(text, self.default_country).ok_or_else(|| {
            let hint = match self.default_country {
                Some(_) => "",
                None => " Without `numbers.default_country` it needs a country code.",
            };
            Failure::new(
                FailureReason::InvalidNumber,
                format_args!("The phone number is not a valid, dialable number.{hint}"),
            )
        })
    }
}
