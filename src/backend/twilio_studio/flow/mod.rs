//! The flow that PhoneGate generates, and its installation in an account.

mod definition;
mod marker;
mod speech;

use std::path::Path;

use phonegate_approval::policy::{Method, Policy};
use serde::Deserialize;
use serde_json::Value;

use super::TwilioStudioConfig;
use super::api::{Api, ApiError, is_sid};
use crate::call::{Failure, FailureReason};
use crate::config::{Config, ConfigError, FraudKey, PromptsConfig};
pub(super) use speech::{Languages, Speech};

/// The name of the flow in the account. A flow with this name is replaced.
const NAME: &str = "PhoneGate";

/// The settings that a flow is generated for.
pub(super) struct Plan {
    method: Method,
    attempts: u8,
    repeats: u8,
    pub(super) fraud_key: FraudKey,
    pub(super) languages: Languages,
}

impl Plan {
    /// # Errors
    /// `prompts` names a language that a flow cannot speak.
    pub(super) fn new(policy: Policy, fraud_key: FraudKey, prompts: &PromptsConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            method: policy.method(),
            attempts: policy.attempts(),
            repeats: policy.repeats(),
            fraud_key,
            languages: Languages::new(prompts)?,
        })
    }

    /// Returns why an installed flow cannot be used, by the description in its definition.
    pub(super) fn mismatch(&self, definition: &Value) -> Option<String> {
        marker::mismatch(definition.get("description").and_then(Value::as_str).unwrap_or_default(), self)
    }
}

/// Returns the definition of the flow for this configuration.
///
/// # Errors
/// The configuration names a language that a flow cannot speak.
pub fn flow_definition(config: &Config) -> Result<Value, ConfigError> {
    Ok(definition::definition(&Plan::new(config.approval_policy()?, config.fraud.key, &config.prompts)?))
}

/// An installed flow.
#[derive(Debug)]
pub struct Installed {
    /// The identifier of the flow, for `flow_sid`.
    pub sid: String,
    /// The revision that is published now.
    pub revision: u64,
    /// Whether the account had no flow with this name before.
    pub created: bool,
}

#[derive(Deserialize)]
struct Flow {
    sid: String,
    friendly_name: String,
    #[serde(default)]
    revision: u64,
}

#[derive(Deserialize)]
struct Flows {
    flows: Vec<Flow>,
}

#[derive(Deserialize)]
struct Verdict {
    valid: bool,
}

/// Generates the flow for this configuration, has Twilio validate it, and publishes it in the account. Replaces a flow with
/// the same name. `name` is that of the backend, whose `flow_sid` and `from` are not used.
///
/// # Errors
/// The configuration or the credentials cannot be used, or Twilio refused or did not reply.
pub async fn install_flow(
    name: &str,
    backend: &TwilioStudioConfig,
    config: &Config,
    base: &Path,
) -> Result<Installed, Failure> {
    let invalid = |error: ConfigError| Failure::new(FailureReason::NotConfigured, format_args!("{error}."));
    let definition = flow_definition(config).map_err(invalid)?;
    let api = Api::new(&format!("backends.{name}"), backend, &config.network, base).map_err(invalid)?;
    install(&api, &definition.to_string()).await.map_err(|error| error.failure())
}

async fn install(api: &Api, definition: &str) -> Result<Installed, ApiError> {
    let form = [
        ("FriendlyName", NAME),
        ("Status", "published"),
        ("Definition", definition),
        ("CommitMessage", concat!("PhoneGate ", env!("CARGO_PKG_VERSION"))),
    ];
    let verdict: Verdict = api.post(&["v2", "Flows", "Validate"], &form).await?;
    if !verdict.valid {
        return Err(ApiError::Malformed);
    }
    let existing = find(api).await?;
    let flow: Flow = match &existing {
        Some(sid) => api.post(&["v2", "Flows", sid], &form).await?,
        None => api.post(&["v2", "Flows"], &form).await?,
    };
    match is_sid("FW", &flow.sid) {
        true => Ok(Installed { sid: flow.sid, revision: flow.revision, created: existing.is_none() }),
        false => Err(ApiError::Malformed),
    }
}

/// Returns the account's flow with that name. An account has at most 1,000 flows, which fit on one page:
/// <https://www.twilio.com/docs/studio/user-guide/faqs>.
async fn find(api: &Api) -> Result<Option<String>, ApiError> {
    let page: Flows = api.get_page(&["v2", "Flows"], 1_000).await?;
    let flow = page.flows.into_iter().find(|flow| flow.friendly_name == NAME);
    Ok(flow.map(|flow| flow.sid).filter(|sid| is_sid("FW", sid)))
}
