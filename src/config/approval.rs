//! The section `approval`.

use phonegate_approval::policy::{self, Policy, PolicyError};
use schemars::JsonSchema;
use serde::Deserialize;

use super::backend::BackendConfig;
use super::{Bounded, Config, ConfigError};

/// What a user must do to approve.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApprovalConfig {
    /// What the user must press.
    pub method: ApprovalMethod,
    /// Digits of a code, for the method `code`. Each attempt has another code.
    pub code_digits: Bounded<1, 4, 3>,
}

/// What a user must press to approve.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalMethod {
    /// The digits that the prompt speaks, then `#`. A recording cannot know them.
    Code,
    /// `#` alone. A recording can press it, such as a mailbox greeting of tones.
    #[default]
    Pound,
}

impl From<ApprovalMethod> for policy::Method {
    fn from(method: ApprovalMethod) -> Self {
        match method {
            ApprovalMethod::Code => Self::Code,
            ApprovalMethod::Pound => Self::Pound,
        }
    }
}

impl Config {
    /// Returns the rules by which entries are judged.
    ///
    /// # Errors
    /// A setting is outside of the limits of [`Policy`].
    pub fn approval_policy(&self) -> Result<Policy, ConfigError> {
        let small = |number: u64| u8::try_from(number).unwrap_or(u8::MAX);
        let policy = || -> Result<Policy, PolicyError> {
            Policy::default()
                .with_method(self.approval.method.into())
                .with_code_digits(small(self.approval.code_digits.get()))?
                .with_attempts(small(self.prompts.attempts.get()))?
                .with_repeats(small(self.prompts.repeat.get()))?
                .with_fraud_key(self.fraud.key.get())
        };
        policy().map_err(|error| ConfigError::invalid("approval", error))
    }
}

/// Checks that every backend in use can ask by the method.
pub(super) fn check_method(config: &Config) -> Result<(), ConfigError> {
    if config.approval.method == ApprovalMethod::Pound {
        return Ok(());
    }
    let speaks_code = |name: &&String| !matches!(config.backends.get(*name), Some(BackendConfig::TwilioStudio(_)));
    match config.use_order.iter().find(|name| !speaks_code(name)) {
        None => Ok(()),
        Some(name) => Err(ConfigError::invalid(
            "approval.method",
            format_args!(
                "is `code`, which a backend of type twilio_studio cannot ask for yet; use `pound`, or remove `{name}` \
                 from `use`"
            ),
        )),
    }
}
