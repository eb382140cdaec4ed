//! The settings of a Twilio account and its flow.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use phonegate_approval::policy;
use phonegate_net::loopback::is_loopback_url;
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::TwilioStudio;
use crate::backend::{BackendContext, BuildBackend, TelephonyBackend};
use crate::config::{ApprovalConfig, BackendSettings, ConfigError, Secret};

/// Calls by a flow in Twilio Studio.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TwilioStudioConfig {
    /// The account: `AC` and 32 hexadecimal digits.
    pub account_sid: String,
    /// The API key (`SK…`), for production. Absent: the account's own token authenticates.
    #[serde(default)]
    pub api_key_sid: Option<String>,
    /// The API key's secret.
    #[serde(default)]
    pub api_key_secret: Option<Secret>,
    /// The account's token, if there is no API key.
    #[serde(default)]
    pub auth_token: Option<Secret>,
    /// The flow: `FW` and 32 hexadecimal digits. `phonegate twilio install-flow` creates it and prints it.
    pub flow_sid: String,
    /// The caller id: a number of the account in E.164. A route may have another one.
    pub from: String,
    /// Another address of the service, such as a regional one.
    #[serde(default = "default_base_url")]
    pub base_url: String,
    /// Allows a `base_url` at a loopback address. Any user of this machine could listen there in its place and approve
    /// calls, so without this key such a backend is a test backend.
    #[serde(default)]
    pub local_peer: bool,
    /// A PEM file with certificates of authorities that are trusted in addition to those of the operating system. It
    /// replaces `network.ca_file`.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

fn default_base_url() -> String {
    "https://studio.twilio.com".to_owned()
}

impl BackendSettings for TwilioStudioConfig {
    fn secrets(&self) -> Vec<(&'static str, Option<&Secret>)> {
        vec![("api_key_secret", self.api_key_secret.as_ref()), ("auth_token", self.auth_token.as_ref())]
    }

    fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    fn is_local_test(&self) -> bool {
        // A URL that cannot be read is refused elsewhere.
        !self.local_peer && Url::parse(&self.base_url).is_ok_and(|url| is_loopback_url(&url))
    }

    fn can_change_caller_id(&self) -> bool {
        true
    }

    fn check_pins(&self, path: &str, approval: &ApprovalConfig) -> Result<(), ConfigError> {
        if approval.pin.allow_provider {
            return Ok(());
        }
        let method = policy::Method::from(approval.method).name();
        let problem = format_args!(
            "is of type twilio_studio: with `{method}`, the PINs of users stay in the provider's logs; if that is \
             acceptable, set \"allow_provider\": true in `approval.pin`"
        );
        Err(ConfigError::invalid(path, problem))
    }
}

impl BuildBackend for TwilioStudioConfig {
    fn build(&self, context: &BackendContext<'_>) -> Result<Arc<dyn TelephonyBackend>, ConfigError> {
        Ok(Arc::new(TwilioStudio::new(self, context)?))
    }
}
