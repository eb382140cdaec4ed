//! Formats numbers as a trunk expects them.

use super::config::{NumberFormat, SipConfig};
use crate::admission::EmergencyNumbers;
use crate::call::{Failure, FailureReason, PhoneNumber};
use crate::config::{ConfigError, NumbersConfig};

/// Formats numbers for a trunk, by `number_format` and `number_prefix`, and rejects those that start with an emergency
/// number.
pub struct DialStringFormat {
    format: NumberFormat,
    prefix: String,
    emergency: EmergencyNumbers,
}

impl DialStringFormat {
    /// Reads the settings of the trunk whose configuration is at `path`.
    ///
    /// # Errors
    /// The prefix contains a character that cannot be dialled, or `numbers` names an unknown country.
    pub fn new(path: &str, config: &SipConfig, numbers: &NumbersConfig) -> Result<Self, ConfigError> {
        let prefix = config.number_prefix.clone().unwrap_or_default();
        if !prefix.chars().all(|c| c.is_ascii_digit() || "+*#".contains(c)) {
            return Err(ConfigError::invalid(format!("{path}.number_prefix"), "may contain only digits, +, * and #"));
        }
        Ok(Self { format: config.number_format, prefix, emergency: EmergencyNumbers::new(numbers)? })
    }

    /// Returns the dial string of a number.
    ///
    /// # Errors
    /// [`FailureReason::CannotPlace`] if the dial string, with or without the prefix, starts with an emergency number, which
    /// a PBX that dials digit by digit would call.
    pub fn dial_string(&self, number: &PhoneNumber) -> Result<String, Failure> {
        let digits = match self.format {
            NumberFormat::E164Plus => return Ok(format!("{}{}", self.prefix, number.e164())),
            NumberFormat::E164 => number.e164().trim_start_matches('+'),
            NumberFormat::National => number.national(),
        };
        let dialled = format!("{}{digits}", self.prefix);
        let emergency = [digits, &dialled].into_iter().find_map(|digits| self.emergency.at_start_of(digits));
        match emergency {
            None => Ok(dialled),
            Some(emergency) => Err(Failure::new(
                FailureReason::CannotPlace,
                format_args!(
                    "{number} is not dialled: in this trunk's number format, it starts with the emergency number \
                     {emergency}. Set `number_format` to e164_plus."
                ),
            )),
        }
    }
}
