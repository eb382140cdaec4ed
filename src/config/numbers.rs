//! The section `numbers`: which numbers may be called, and how they are read.

use std::collections::BTreeSet;

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberType, Region};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Config, ConfigError, country};
use crate::call::Country;

/// Which numbers may be called.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NumbersConfig {
    /// The country of numbers without a country code, as ISO 3166-1 alpha-2: `US`. Absent: such numbers are refused.
    pub default_country: Option<String>,
    /// The countries that may be called. Absent: `default_country` only.
    pub allowed_countries: Option<Vec<String>>,
    /// How numbers without `+` are read.
    pub without_plus: WithoutPlus,
    /// The types of numbers that may be called, as Google's libphonenumber classifies them.
    pub allowed_types: Vec<NumberType>,
    /// Numbers that are never called, whatever their extension.
    pub blocked: Vec<String>,
    /// Prefixes of numbers that are never called, in E.164; `?` matches any digit. The default is the premium-rate
    /// exchange 976 of North America.
    pub blocked_prefixes: Vec<String>,
}

impl Default for NumbersConfig {
    fn default() -> Self {
        Self {
            default_country: None,
            allowed_countries: None,
            without_plus: WithoutPlus::default(),
            allowed_types: vec![
                NumberType::FixedLine,
                NumberType::Mobile,
                NumberType::FixedLineOrMobile,
                NumberType::Voip,
            ],
            blocked: Vec::new(),
            blocked_prefixes: vec!["+1???976".to_owned()],
        }
    }
}

/// How a number without `+` is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WithoutPlus {
    /// As a number of `default_country` and as one that starts with a country code. If it can be both, it is refused.
    #[default]
    Strict,
    /// As a number of `default_country` only.
    National,
    /// As one that starts with a country code only.
    International,
}

/// The type of a number, as Google's libphonenumber classifies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NumberType {
    /// A fixed line.
    FixedLine,
    /// A mobile phone.
    Mobile,
    /// A fixed line or a mobile phone, in countries whose numbers do not say which.
    FixedLineOrMobile,
    /// Telephony over the Internet, at no fixed location.
    Voip,
    /// Free for the caller.
    TollFree,
    /// Paid by the caller, to the callee's profit.
    PremiumRate,
    /// The cost is shared between caller and callee.
    SharedCost,
    /// Follows a person; often expensive.
    PersonalNumber,
    /// A pager.
    Pager,
    /// A company's number for all of its locations (universal access number).
    Uan,
    /// A voicemail service.
    Voicemail,
}

impl NumberType {
    /// Returns the type of a valid number. `None` for a number that fits no pattern of its country.
    pub(crate) fn of(found: PhoneNumberType) -> Option<Self> {
        Some(match found {
            PhoneNumberType::FixedLine => Self::FixedLine,
            PhoneNumberType::Mobile => Self::Mobile,
            PhoneNumberType::FixedLineOrMobile => Self::FixedLineOrMobile,
            PhoneNumberType::VoIP => Self::Voip,
            PhoneNumberType::TollFree => Self::TollFree,
            PhoneNumberType::PremiumRate => Self::PremiumRate,
            PhoneNumberType::SharedCost => Self::SharedCost,
            PhoneNumberType::PersonalNumber => Self::PersonalNumber,
            PhoneNumberType::Pager => Self::Pager,
            PhoneNumberType::UAN => Self::Uan,
            PhoneNumberType::VoiceMail => Self::Voicemail,
            PhoneNumberType::Unknown => return None,
        })
    }

    /// Returns its name in `numbers.allowed_types`.
    pub fn name(self) -> &'static str {
        match self {
            Self::FixedLine => "fixed_line",
            Self::Mobile => "mobile",
            Self::FixedLineOrMobile => "fixed_line_or_mobile",
            Self::Voip => "voip",
            Self::TollFree => "toll_free",
            Self::PremiumRate => "premium_rate",
            Self::SharedCost => "shared_cost",
            Self::PersonalNumber => "personal_number",
            Self::Pager => "pager",
            Self::Uan => "uan",
            Self::Voicemail => "voicemail",
        }
    }
}

impl NumbersConfig {
    /// Returns the country of numbers without a country code.
    ///
    /// # Errors
    /// If the country is unknown.
    pub(crate) fn default_country(&self) -> Result<Option<Region>, ConfigError> {
        self.default_country.as_deref().map(|code| country("numbers.default_country", code)).transpose()
    }

    /// Returns the countries that may be called.
    ///
    /// # Errors
    /// If a country is unknown, or there is none.
    pub(crate) fn allowed_countries(&self) -> Result<Vec<Region>, ConfigError> {
        match (&self.allowed_countries, self.default_country()?) {
            (Some(codes), _) if codes.is_empty() => {
                Err(ConfigError::invalid("numbers.allowed_countries", "is empty: no call could be placed"))
            }
            (Some(codes), _) => codes
                .iter()
                .enumerate()
                .map(|(index, code)| country(&format!("numbers.allowed_countries[{index}]"), code))
                .collect(),
            (None, Some(region)) => Ok(vec![region]),
            (None, None) => Err(ConfigError::invalid(
                "numbers",
                "needs `default_country`, `allowed_countries` or both: they say which countries may be called",
            )),
        }
    }
}

/// The numbers that a backend is asked to call.
#[derive(Clone, Copy)]
pub struct BackendNumbers<'a> {
    config: &'a Config,
    backend: &'a str,
}

impl BackendNumbers<'_> {
    /// Returns the calling codes of the countries that may be called and whose route, or else `use`, has the backend.
    ///
    /// # Errors
    /// A country of `numbers` is unknown, or there is none.
    pub(crate) fn calling_codes(self) -> Result<BTreeSet<i32>, ConfigError> {
        let mut allowed = self.config.numbers.allowed_countries()?;
        allowed.retain(|region| {
            let order = self.config.backends_for(Country::parse(&region.as_region_str()).as_ref());
            order.iter().any(|name| name == self.backend)
        });
        Ok(allowed.iter().filter_map(|region| PHONE_NUMBER_UTIL.get_country_code_for_region(*region)).collect())
    }
}

/// Checks the settings of every backend against the numbers that it is asked to call.
pub(super) fn check_backends(config: &Config) -> Result<(), ConfigError> {
    config.backends.iter().try_for_each(|(name, backend)| {
        backend.facts().check_numbers(&format!("backends.{name}"), BackendNumbers { config, backend: name })
    })
}
