//! Decides whether the configuration allows a call: by the number, its country, its type, and the block lists. It does
//! no I/O.

mod emergency;

mod number;
mod number_hasher;
mod prefix;
mod written;

use std::collections::HashSet;

use rlibphonenumber::Region;

use crate::call::{Failure, FailureReason, PhoneNumber};
use crate::config::{ConfigError, NumberType, NumbersConfig, WithoutPlus};
pub(crate) use emergency::EmergencyNumbers;
use number::{NumberReader, Parsed, ReadError};
pub use number_hasher::NumberHasher;
use prefix::BlockedPrefix;

/// The rules of a configuration.
pub struct Admission {
    default_country: Option<Region>,
    allowed_countries: HashSet<Region>,
    without_plus: WithoutPlus,
    allowed_types: Vec<NumberType>,
    /// In E.164, without extensions.
    blocked: HashSet<Box<str>>,
    blocked_prefixes: Vec<BlockedPrefix>,
    hasher: NumberHasher,
}

/// A number that was read from text, and whether it may be called.
#[derive(Debug)]
pub struct Reading {
    /// The number.
    pub number: PhoneNumber,
    /// Its type.
    pub kind: NumberType,
    /// Why it may not be called, if so.
    pub refusal: Option<Failure>,
}

impl Admission {
    /// Reads the rules. Also compiles the patterns of the countries, so that the first call does not wait for that.
    ///
    /// # Errors
    /// If a country is unknown, no country or no type is allowed, or a blocked number or prefix is not valid.
    pub fn new(numbers: &NumbersConfig) -> Result<Self, ConfigError> {
        let default_country = numbers.default_country()?;
        let allowed_countries: HashSet<_> = numbers.allowed_countries()?.into_iter().collect();
        if numbers.allowed_types.is_empty() {
            return Err(ConfigError::invalid("numbers.allowed_types", "is empty: no call could be placed"));
        }
        let blocked_prefixes = numbers
            .blocked_prefixes
            .iter()
            .enumerate()
            .map(|(index, text)| BlockedPrefix::parse(&format!("numbers.blocked_prefixes[{index}]"), text))
            .collect::<Result<_, _>>()?;
        let mut rules = Self {
            default_country,
            allowed_countries,
            without_plus: numbers.without_plus,
            allowed_types: numbers.allowed_types.clone(),
            blocked: HashSet::new(),
            blocked_prefixes,
            hasher: NumberHasher::default(),
        };
        for (index, text) in numbers.blocked.iter().enumerate() {
            let parsed = rules.parse(text).map_err(|failure| {
                let path = format!("numbers.blocked[{index}]");
                ConfigError::invalid(
                    path,
                    format_args!(
                        "is not a valid telephone number; write it as +14255550199 ({})",
                        failure.text().trim_end_matches('.')
                    ),
                )
            })?;
            rules.blocked.insert(parsed.number.e164().into());
        }
        number::warm_up(default_country.iter().chain(&rules.allowed_countries));
        Ok(rules)
    }

    /// Returns the same rules with a hasher for the numbers that they admit.
    pub fn hashing_with(self, hasher: NumberHasher) -> Self {
        Self { hasher, ..self }
    }

    /// Reads a number, whether it may be called or not.
    ///
    /// # Errors
    /// InvalidNumber.
    pub fn read(&self, text: &str) -> Result<PhoneNumber, Failure> {
        self.parse(text).map(|parsed| parsed.number)
    }

    /// Reads a number that the host passed, and checks that it may be called.
    ///
    /// # Errors
    /// InvalidNumber, Blocked or CountryNotAllowed.
    pub fn admit(&self, text: &str) -> Result<PhoneNumber, Failure> {
        let Reading { number, refusal, .. } = self.examine(text)?;
        refusal.map_or(Ok(number), Err)
    }

    /// Reads a number. Also returns why it may not be called, if so.
    ///
    /// # Errors
    /// InvalidNumber.
    pub fn examine(&self, text: &str) -> Result<Reading, Failure> {
        let parsed = self.parse(text)?;
        let refusal = self.refusal(&parsed);
        Ok(Reading { number: parsed.number, kind: parsed.kind, refusal })
    }

    fn refusal(&self, parsed: &Parsed) -> Option<Failure> {
        let Parsed { number, country, kind } = parsed;
        if self.blocked.contains(number.e164()) {
            return Some(Failure::new(
                FailureReason::Blocked,
                format_args!("{number} is in `numbers.blocked` of the configuration."),
            ));
        }
        if let Some(prefix) = self.blocked_prefixes.iter().find(|prefix| prefix.starts(number.e164())) {
            return Some(Failure::new(
                FailureReason::Blocked,
                format_args!("{number} starts with {prefix}, which `numbers.blocked_prefixes` has."),
            ));
        }
        let not_allowed = |text: std::fmt::Arguments<'_>| Some(Failure::new(FailureReason::CountryNotAllowed, text));
        match country {
            Some(id) if self.allowed_countries.contains(id) => {}
            Some(id) => {
                let id = id.as_region_str();
                return not_allowed(format_args!("{number} is in the country {id}, which `numbers` does not allow."));
            }
            None => return not_allowed(format_args!("{number} belongs to no country.")),
        }
        if !self.allowed_types.contains(kind) {
            let kind = kind.name();
            return not_allowed(format_args!(
                "{number} is of the type {kind}, which `numbers.allowed_types` does not have."
            ));
        }
        None
    }

    fn parse(&self, text: &str) -> Result<Parsed, Failure> {
        let reader = NumberReader {
            default_country: self.default_country,
            allowed_countries: &self.allowed_countries,
            without_plus: self.without_plus,
        };
        let invalid = |text: std::fmt::Arguments<'_>| Failure::new(FailureReason::InvalidNumber, text);
        let parsed = reader.read(text).map(|parsed| Parsed { number: self.hasher.hash(parsed.number), ..parsed });
        parsed.map_err(|error| match error {
            ReadError::Form(error) => invalid(format_args!("{error}")),
            ReadError::Ambiguous(national, international) => invalid(format_args!(
                "The phone number can be {national} or {international}: write it with `+` and its country code."
            )),
            ReadError::Invalid if self.default_country.is_none() => invalid(format_args!(
                "The phone number is not a valid, dialable number. Without `numbers.default_country` it needs a \
                 country code."
            )),
            ReadError::Invalid => invalid(format_args!(
                "The phone number is not a valid, dialable number. With a country code, write `+` before it."
            )),
        })
    }
}
