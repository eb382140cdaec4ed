//! The settings of each kind of backend.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::bounded::Bounded;
use super::error::ConfigError;
use super::load::invalid_at;
use super::secret::Secret;
use super::sip::SipConfig;

/// The types that there are.
const TYPES: &str = "simulated, file, twilio_studio and sip";

/// A backend's settings, told apart by `type`.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(tag = "type", rename_all = "snake_case")]
pub enum BackendConfig {
    /// A simulated telephone, for tests and demonstrations.
    Simulated(SimulatedConfig),
    /// A text file in which somebody answers the calls, as in Microsoft's sample.
    File(FileConfig),
    /// Calls by a flow in Twilio Studio.
    TwilioStudio(TwilioStudioConfig),
    /// Calls over a SIP trunk.
    Sip(Box<SipConfig>),
}

impl BackendConfig {
    /// Does it approve without a telephone?
    pub fn is_for_tests(&self) -> bool {
        matches!(self, Self::Simulated(_) | Self::File(_))
    }

    /// Returns whether the backend judges its calls itself: it reports a verdict, not what the user pressed.
    pub fn judges_by_itself(&self) -> bool {
        match self {
            Self::File(_) => true,
            Self::Simulated(_) | Self::TwilioStudio(_) | Self::Sip(_) => false,
        }
    }

    /// The setting `accept_provider_verdict` of a backend that judges by itself.
    pub(super) fn accept_provider_verdict(&self) -> Option<bool> {
        match self {
            Self::File(config) => config.accept_provider_verdict,
            Self::Simulated(_) | Self::TwilioStudio(_) | Self::Sip(_) => None,
        }
    }

    /// Its `type`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Simulated(_) => "simulated",
            Self::File(_) => "file",
            Self::TwilioStudio(_) => "twilio_studio",
            Self::Sip(_) => "sip",
        }
    }

    /// Its own file of certificate authorities.
    pub(super) fn ca_file(&self) -> Option<&Path> {
        match self {
            Self::TwilioStudio(config) => config.ca_file.as_deref(),
            Self::Sip(config) => config.ca_file.as_deref(),
            Self::Simulated(_) | Self::File(_) => None,
        }
    }

    /// The secrets, each with its key.
    pub(super) fn secrets(&self) -> Vec<(&'static str, &Secret)> {
        let secrets = match self {
            Self::TwilioStudio(config) => {
                vec![("api_key_secret", &config.api_key_secret), ("auth_token", &config.auth_token)]
            }
            Self::Sip(config) => vec![("password", &config.password), ("client_key", &config.client_key)],
            Self::Simulated(config) => vec![("pin", &config.pin)],
            Self::File(_) => Vec::new(),
        };
        secrets.into_iter().filter_map(|(key, secret)| Some((key, secret.as_ref()?))).collect()
    }

    /// Reads the settings of the backend `name`.
    pub(super) fn parse(name: &str, mut value: Value) -> Result<Self, ConfigError> {
        let path = format!("backends.{name}");
        let Some(settings) = value.as_object_mut() else {
            return Err(ConfigError::invalid(path, "must be an object with a `type`"));
        };
        match settings.remove("type") {
            Some(Value::String(kind)) => match kind.as_str() {
                "simulated" => settings_at(&path, value).map(Self::Simulated),
                "file" => settings_at(&path, value).map(Self::File),
                "twilio_studio" => settings_at(&path, value).map(Self::TwilioStudio),
                "sip" => settings_at(&path, value).map(|config| Self::Sip(Box::new(config))),
                other => {
                    let problem = format!("unknown type `{other}`; there are {TYPES}");
                    Err(ConfigError::invalid(path + ".type", problem))
                }
            },
            _ => Err(ConfigError::invalid(path + ".type", format_args!("is missing; there are {TYPES}"))),
        }
    }
}

fn settings_at<T: DeserializeOwned>(path: &str, value: Value) -> Result<T, ConfigError> {
    serde_path_to_error::deserialize(value).map_err(|error| invalid_at(path, &error))
}

/// A simulated telephone.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SimulatedConfig {
    /// Milliseconds until it answers.
    #[serde(default)]
    pub answer_after_ms: Bounded<0, 600_000, 1500>,
    /// Milliseconds from the answer until it presses a key or hangs up.
    #[serde(default)]
    pub press_after_ms: Bounded<0, 600_000, 1500>,
    /// What it does: presses this key and then `#`, which reports a fraud if it is `fraud.key`; `none`, `busy`,
    /// `no_answer` or `hang_up`. By default it presses what approves.
    #[serde(default)]
    #[schemars(with = "String", regex(pattern = r"^([0-9#*]|none|busy|no_answer|hang_up)$"))]
    pub press: Press,
    /// The PIN that it presses first, if `approval.method` is `pin` or `pin_and_code`.
    #[serde(default)]
    pub pin: Option<Secret>,
}

/// What a simulated telephone does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Press {
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

/// A text file in which somebody answers the calls.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// The file: one call a line, `requestId;phoneNumber;status;message`. Relative to the configuration.
    pub path: PathBuf,
    /// Whether a call is approved because the file says so, without a code that PhoneGate compares. By default
    /// `allow_test_backends` decides; if false, the backend cannot be in `use`.
    #[serde(default)]
    pub accept_provider_verdict: Option<bool>,
}

/// Calls by a flow in Twilio Studio.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TwilioStudioConfig {
    /// The account: `AC` and 32 hexadecimal digits.
    pub account_sid: String,
    /// The API key (`SK…`) for production; absent: the account's own token authenticates.
    #[serde(default)]
    pub api_key_sid: Option<String>,
    /// The API key's secret.
    #[serde(default)]
    pub api_key_secret: Option<Secret>,
    /// The account's token, where there is no API key.
    #[serde(default)]
    pub auth_token: Option<Secret>,
    /// The flow: `FW` and 32 hexadecimal digits. `phonegate twilio install-flow` makes it and prints it.
    pub flow_sid: String,
    /// The caller id, a number of the account in E.164.
    pub from: String,
    /// Another address of the service, such as a regional one.
    #[serde(default = "default_base_url")]
    pub base_url: String,
    /// A PEM file with certificates of authorities that are trusted besides the operating system's, in place of those of
    /// `network.ca_file`.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

fn default_base_url() -> String {
    "https://studio.twilio.com".to_owned()
}
