//! The flow that PhoneGate generates, and how it gets into an account.

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

/// Its name in the account: a flow of that name is replaced.
const NAME: &str = "PhoneGate";

/// What a flow is generated for.
pub(super) struct Plan {
    method: Method,
    attempts: u8,
    repeats: u8,
    pub(super) fraud_key: FraudKey,
    pub(super) languages: Languages,
}

impl Plan {
    /// # Errors
    /// The configuration names a language in which a flow cannot ask.
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
/// The configuration names a language in which a flow cannot ask.
pub fn flow_definition(config: &Config) -> Result<Value, ConfigError> {
    Ok(definition::definition(&Plan::new(config.approval_policy()?, config.fraud.key, &config.prompts)?))
}

/// A flow that was installed.
#[derive(Debug)]
pub struct Installed {
    /// Its identifier, for `flow_sid`.
    pub sid: String,
    /// Its revision.
    pub revision: u64,
    /// Was there none of that name before?
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

/// Generates the flow for this configuration, lets Twilio check it, then creates it in the account, or replaces the one of
/// the same name, and publishes it. `name` is the backend's. Its `flow_sid` and `from` are not used.
///
/// # Errors
/// What is wrong with the configuration or the credentials, or what Twilio said.
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
    let there = find(api).await?;
    let flow: Flow = match &there {
        Some(sid) => api.post(&["v2", "Flows", sid], &form).await?,
        None => api.post(&["v2", "Flows"], &form).await?,
    };
    match is_sid("FW", &flow.sid) {
        true => Ok(Installed { sid: flow.sid, revision: flow.revision, created: there.is_none() }),
        false => Err(ApiError::Malformed),
    }
}

/// The account's flow of that name. An account has 1,000 flows at most, which is one page:
/// <https://www.twilio.com/docs/studio/user-guide/faqs>.
async fn find(api: &Api) -> Result<Option<String>, ApiError> {
    let page: Flows = api.get_page(&["v2", "Flows"], 1_000).await?;
    let flow = page.flows.into_iter().find(|flow| flow.friendly_name == NAME);
    Ok(flow.map(|flow| flow.sid).filter(|sid| is_sid("FW", sid)))
}
