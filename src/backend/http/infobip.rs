//! The preset for voice scenarios at Infobip.
//!
//! A scenario of the account speaks, and collects one entry. Its report is polled, and can be read only once.
//! <https://www.infobip.com/docs/api/channels/voice>

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::config::HttpConfig;
use crate::config::{ConfigError, Secret, provider_url};

/// A voice scenario at Infobip.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InfobipConfig {
    /// The account's own address, such as `https://abcde.api.infobip.com`.
    pub(super) base_url: String,
    /// An API key with the scope for voice messages.
    pub(super) api_key: Secret,
    /// The scenario, which speaks `${code}` and collects one entry.
    pub(super) scenario_id: String,
    /// The caller id: 3 to 14 digits.
    pub(super) from: String,
}

impl InfobipConfig {
    /// Returns the declaration of the service. `path` is that of these settings.
    ///
    /// # Errors
    /// A setting cannot work.
    pub(super) fn declared(&self, path: &str) -> Result<HttpConfig, ConfigError> {
        let at = |key: &str| format!("{path}.{key}");
        let base = provider_url(&at("base_url"), &self.base_url)?;
        let is_caller_id = (3..=14).contains(&self.from.len()) && self.from.bytes().all(|byte| byte.is_ascii_digit());
        if !is_caller_id {
            return Err(ConfigError::invalid(at("from"), "must be 3 to 14 digits, such as 14255550100"));
        }
        if self.scenario_id.is_empty() || !self.scenario_id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(ConfigError::invalid(at("scenario_id"), "must be letters and digits, as Infobip shows it"));
        }
        let base = base.as_str().trim_end_matches('/');
        let headers = json!({ "Authorization": "App {secrets.api_key}", "Accept": "application/json" });
        let declared = json!({
            "start": {
                "url": format!("{base}/voice/ivr/1/messages"),
                "headers": headers,
                "json": { "messages": [{
                    "scenarioId": self.scenario_id,
                    "from": self.from,
                    "destinations": [{ "to": "{number_without_plus}" }],
                    "callbackData": "{call_id}",
                    "parameters": { "code": "{spoken_1}", "language": "{language}" }
                }] },
                "error": "/requestError/serviceException/messageId"
            },
            "reference": "/messages/0/messageId",
            "poll": {
                "url": format!("{base}/voice/1/reports?messageId={{reference}}&limit=1"),
                "headers": headers,
                "every_ms": 2000,
                "once": true,
                "names": { "reference": "/results/0/messageId" },
                "empty": "/results",
                "state": "/results/0/status/groupName",
                "pending": { "PENDING": "ringing" }
            },
            "pressed": { "state": "DELIVERED", "digits": "/results/0/voiceCall/dtmfCodes" },
            "failed": { "UNDELIVERABLE": "Unreachable", "EXPIRED": "Unreachable", "REJECTED": "CannotPlace" }
        });
        let declared = serde_json::from_value::<HttpConfig>(declared);
        let mut declared = declared.map_err(|error| ConfigError::invalid(path, error))?;
        declared.secrets.insert("api_key".to_owned(), self.api_key.clone());
        Ok(declared)
    }
}
