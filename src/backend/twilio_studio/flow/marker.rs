//! The description of a flow, which names the settings that it was generated for.

use std::collections::{BTreeMap, BTreeSet};

use super::Plan;

/// Version of the flow's structure, parameters and variables.
const VERSION: &str = "2";

const PREFIX: &str = "PhoneGate flow:";

/// Returns the description of a flow.
pub(super) fn describe(plan: &Plan) -> String {
    let languages: Vec<_> = plan.languages.all().iter().map(|speech| speech.tag).collect();
    format!(
        "{PREFIX} version={VERSION} method={} attempts={} fraud_key={} languages={}",
        plan.method.name(),
        plan.attempts,
        plan.fraud_key.get(),
        languages.join(","),
    )
}

/// Returns why the flow of this description cannot be used with this plan.
pub(super) fn mismatch(description: &str, plan: &Plan) -> Option<String> {
    let Some(settings) = description.strip_prefix(PREFIX) else {
        return Some("is not PhoneGate's, or of an earlier version".to_owned());
    };
    let installed: BTreeMap<_, _> = settings.split_whitespace().filter_map(|setting| setting.split_once('=')).collect();
    let has = |key: &str| installed.get(key).copied().unwrap_or("nothing");
    if has("version") != VERSION {
        return Some("is of another version of PhoneGate".to_owned());
    }
    let attempts = plan.attempts.to_string();
    let fraud_key = plan.fraud_key.get().to_string();
    for (key, path, configured) in [
        ("method", "approval.method", plan.method.name()),
        ("attempts", "prompts.attempts", attempts.as_str()),
        ("fraud_key", "fraud.key", fraud_key.as_str()),
    ] {
        if has(key) != configured {
            return Some(format!("was made for {path} {}, which is {configured} now", has(key)));
        }
    }
    let spoken: BTreeSet<_> = has("languages").split(',').collect();
    let missing = plan.languages.all().into_iter().find(|speech| !spoken.contains(speech.tag))?;
    Some(format!("has no {}", missing.tag))
}
