//! What a trunk is asked to dial.

use super::config::{NumberFormat, SipConfig};
use crate::admission::EmergencyNumbers;
use crate::call::{Failure, FailureReason, PhoneNumber};
use crate::config::{ConfigError, NumbersConfig};

/// How a trunk wants numbers.
pub struct Dialling {
    format: NumberFormat,
    prefix: String,
    emergency: EmergencyNumbers,
}

impl Dialling {
    /// Reads the settings of the trunk whose configuration is at `path`.
    ///
    /// # Errors
    /// A prefix that cannot be dialled, or countries that `numbers` does not name rightly.
    pub fn new(path: &str, config: &SipConfig, numbers: &NumbersConfig) -> Result<Self, ConfigError> {
        let prefix = config.number_prefix.clone().unwrap_or_default();
        if !prefix.chars().all(|c| c.is_ascii_digit() || "+*#".contains(c)) {
            return Err(ConfigError::invalid(format!("{path}.number_prefix"), "may have digits, +, * and # alone"));
        }
        Ok(Self { format: config.number_format, prefix, emergency: EmergencyNumbers::new(numbers)? })
    }

    /// What is dialled for a number.
    ///
    /// # Errors
    /// CannotPlace if a PBX could take its first digits, with or without the prefix, for an emergency number.
    pub fn dialled(&self, number: &PhoneNumber) -> Result<String, Failure> {
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
                    "{number} is not dialled: as this trunk wants numbers, it starts with the emergency number \
                     {emergency}. Set `number_format` to e164_plus."
                ),
            )),
        }
    }
}
