//! The section `approval`.

mod warnings;

use std::time::Duration;

use phonegate_approval::policy::{self, Policy, PolicyError};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Bounded, Config, ConfigError, Secret};
use crate::limits::PinLimits;

/// The path of the pepper in the configuration.
pub const PEPPER: &str = "approval.pin.pepper";

/// What a user must do to approve.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApprovalConfig {
    /// What the user must press.
    pub method: ApprovalMethod,
    /// Digits of a code, for the methods `code` and `pin_and_code`. Each attempt has another code.
    pub code_digits: Bounded<1, 4, 3>,
    /// Allows the methods `pin` and `pin_and_code` over a SIP trunk without SRTP over TLS. Anyone who can read the
    /// packets between PhoneGate and the trunk then learns the PINs.
    pub allow_plain_pin: bool,
    /// The PINs of the methods `pin` and `pin_and_code`.
    pub pin: PinConfig,
}

/// What a user must press to approve.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalMethod {
    /// The digits that the prompt speaks, then `#`. A recording cannot know them.
    #[default]
    Code,
    /// `#` alone. A recording can press it, such as a mailbox greeting of tones.
    Pound,
    /// The PIN that `phonegate pins` set for the number, then `#`.
    Pin,
    /// The PIN, then the digits that the prompt speaks, then `#`.
    PinAndCode,
}

impl From<ApprovalMethod> for policy::Method {
    fn from(method: ApprovalMethod) -> Self {
        match method {
            ApprovalMethod::Code => Self::Code,
            ApprovalMethod::Pound => Self::Pound,
            ApprovalMethod::Pin => Self::Pin,
            ApprovalMethod::PinAndCode => Self::PinAndCode,
        }
    }
}

/// The PINs of the methods `pin` and `pin_and_code`. `phonegate pins` sets them.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PinConfig {
    /// The secret that PINs are hashed with, besides a salt: random text of at least 32 characters, the same on every
    /// node. `openssl rand -hex 32` makes one. Keep a copy of it: without it, or with another one, all PINs must be set
    /// again.
    pub pepper: Option<Secret>,
    /// The fewest digits of a PIN that is set. A PIN has at most 12.
    pub min_digits: Bounded<4, 12, 4>,
    /// Wrong PINs in a row, in all calls to a number, after which its PIN is locked.
    pub max_failures: Bounded<1, 100, 5>,
    /// Minutes that a PIN is locked.
    pub lock_minutes: Bounded<1, 1_440, 30>,
    /// Allows a provider that takes the keys itself, such as `twilio_studio`. The PINs of users then stay in its logs.
    pub allow_provider: bool,
}

impl PinConfig {
    /// Returns the limits of wrong PINs.
    pub fn limits(&self) -> PinLimits {
        PinLimits {
            max_failures: u32::try_from(self.max_failures.get()).unwrap_or(1),
            lock: Duration::from_secs(self.lock_minutes.get().saturating_mul(60)),
        }
    }

    /// Returns the secrets, each with its path in the file.
    pub(super) fn secrets(&self) -> impl Iterator<Item = (String, &Secret)> {
        self.pepper.iter().map(|pepper| (PEPPER.to_owned(), pepper))
    }
}

impl Config {
    /// Returns the rules by which entries are judged.
    ///
    /// # Errors
    /// If a setting is outside the limits of [`Policy`].
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
    let method = policy::Method::from(config.approval.method);
    if method.has_pin() { check_pins(config, method) } else { Ok(()) }
}

/// Checks what a method with a PIN needs, of the section and of every backend in use.
fn check_pins(config: &Config, method: policy::Method) -> Result<(), ConfigError> {
    let method = method.name();
    let approval = &config.approval;
    if approval.pin.pepper.is_none() {
        return Err(ConfigError::invalid(
            PEPPER,
            format_args!(
                "is missing, and `{method}` needs it: a secret of at least 32 characters, such as {{\"file\": \
                 \"pepper.txt\"}}; `openssl rand -hex 32` makes one"
            ),
        ));
    }
    config.in_use().try_for_each(|(name, backend)| backend.facts().check_pins(&format!("backends.{name}"), approval))
}
