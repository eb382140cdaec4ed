//! The flow that PhoneGate brings, and how it gets into an account.

use std::path::Path;

use serde::Deserialize;

use super::api::{Api, ApiError, is_sid};
use crate::call::{Failure, FailureReason};
use crate::config::{NetworkConfig, TwilioStudioConfig};

/// The flow's definition: <https://www.twilio.com/docs/studio/flow-definition>.
const DEFINITION: &str = include_str!("flow.json");

/// Its name in the account: a flow of that name is replaced.
const NAME: &str = "PhoneGate";

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

/// Lets Twilio check the flow, then creates it in the account, or replaces the one of the same name, and publishes it.
/// `name` is the backend's. The configuration's `flow_sid` and `from` are not used.
///
/// # Errors
/// What is wrong with the credentials, or what Twilio said.
pub async fn install_flow(
    name: &str,
    config: &TwilioStudioConfig,
    network: &NetworkConfig,
    base: &Path,
) -> Result<Installed, Failure> {
    let api = Api::new(&format!("backends.{name}"), config, network, base)
        .map_err(|error| Failure::new(FailureReason::NotConfigured, format_args!("{error}.")))?;
    install(&api).await.map_err(|error| error.failure())
}

async fn install(api: &Api) -> Result<Installed, ApiError> {
    let form = [
        ("FriendlyName", NAME),
        ("Status", "published"),
        ("Definition", DEFINITION),
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
