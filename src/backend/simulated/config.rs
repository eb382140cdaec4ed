//! The settings of a simulated telephone.

use std::sync::Arc;

use phonegate_approval::policy;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Simulated;
use crate::backend::{BackendContext, BuildBackend, TelephonyBackend};
use crate::config::{ApprovalConfig, BackendSettings, Bounded, ConfigError, Secret};

/// A simulated telephone, for tests and demonstrations.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SimulatedConfig {
    /// Milliseconds until the phone answers.
    #[serde(default)]
    pub(super) answer_after_ms: Bounded<0, 600_000, 1500>,
    /// Milliseconds from the answer until the phone presses a key or hangs up.
    #[serde(default)]
    pub(super) press_after_ms: Bounded<0, 600_000, 1500>,
    /// What the phone does: presses this key and then `#`, which reports a fraud if it is `fraud.key`; `none`, `busy`,
    /// `no_answer` or `hang_up`. By default it presses what approves.
    #[serde(default)]
    #[schemars(with = "String", regex(pattern = r"^([0-9#*]|none|busy|no_answer|hang_up)$"))]
    pub(super) press: Press,
    /// The PIN that the phone presses first, if `approval.method` is `pin` or `pin_and_code`.
    #[serde(default)]
    pub(super) pin: Option<Secret>,
}

/// What a simulated telephone does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum Press {
    /// Presses what approves.
    #[default]
    Right,
    /// Presses this key, and then `#`. `#` itself is pressed once.
    Key(char),
    /// Answers, and presses nothing.
    None,
    /// Is busy.
    Busy,
    /// Does not answer.
    NoAnswer,
    /// Answers and hangs up.
    HangUp,
}

impl TryFrom<String> for Press {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "none" => Ok(Self::None),
            "busy" => Ok(Self::Busy),
            "no_answer" => Ok(Self::NoAnswer),
            "hang_up" => Ok(Self::HangUp),
            other => match other.chars().next() {
                Some(key @ ('0'..='9' | '*' | '#')) if other.len() == 1 => Ok(Self::Key(key)),
                _ => Err(format!("is `{other}`, but must be a key (0 to 9, * or #), none, busy, no_answer or hang_up")),
            },
        }
    }
}

impl BackendSettings for SimulatedConfig {
    fn secrets(&self) -> Vec<(&'static str, Option<&Secret>)> {
        vec![("pin", self.pin.as_ref())]
    }

    fn check_pins(&self, path: &str, approval: &ApprovalConfig) -> Result<(), ConfigError> {
        if self.pin.is_some() {
            return Ok(());
        }
        let method = policy::Method::from(approval.method).name();
        let problem =
            format_args!("is missing: with `{method}`, the simulated phone presses this PIN, which is a secret");
        Err(ConfigError::invalid(format!("{path}.pin"), problem))
    }
}

impl BuildBackend for SimulatedConfig {
    fn build(&self, context: &BackendContext<'_>) -> Result<Arc<dyn TelephonyBackend>, ConfigError> {
        Ok(Arc::new(Simulated::new(self, context)?))
    }
}
