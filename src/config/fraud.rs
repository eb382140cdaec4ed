//! The section `fraud`: what happens when a user reports that a call is not theirs.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::bounded::Bounded;

/// What happens when a user reports that a call is not theirs.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FraudConfig {
    /// The digit that reports a fraud, followed by `#`. PhoneGate's own recordings say zero: with another digit, put
    /// custom ones of `not_you` into `prompts.directory`. The flow of `twilio_studio` says this digit.
    pub key: FraudKey,
    /// Days that the number is not called after a report.
    pub block_for_days: Bounded<1, 3650, 90>,
}

/// A digit that reports a fraud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FraudKey(char);

impl FraudKey {
    /// Returns the digit.
    pub fn get(self) -> char {
        self.0
    }
}

impl Default for FraudKey {
    fn default() -> Self {
        Self('0')
    }
}

impl<'de> Deserialize<'de> for FraudKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(digit @ '0'..='9'), None) => Ok(Self(digit)),
            _ => Err(D::Error::custom(format_args!("is {text:?}, but must be one digit, such as \"0\""))),
        }
    }
}

impl JsonSchema for FraudKey {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "FraudKey".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]$", "default": "0" })
    }
}
