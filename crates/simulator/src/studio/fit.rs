//! Whether a call fits the published flow. Studio goes through the flow anyway, and says nothing.

use std::collections::BTreeSet;

use serde_json::Value;

use super::flow::Flow;

/// Returns why a call with these parameters cannot succeed as its configuration wants it, and what to do.
///
/// Whether the flow asks for a PIN cannot be compared: a call has no parameter that says so.
pub(super) fn misfit(flow: &Flow, parameters: &Value) -> Option<String> {
    let sent: BTreeSet<&str> = parameters.as_object()?.keys().filter_map(|key| key.strip_prefix("spoken_")).collect();
    let said = flow.spoken_codes();
    let parameter = |name: &str| parameters.get(name).and_then(Value::as_str);
    let differs = |key, name| flow.made_for(key).zip(parameter(name)).is_some_and(|(made, sent)| made != sent);
    let lacks = |language| flow.made_for("languages").is_some_and(|made| !made.split(',').any(|made| made == language));
    let setting = if sent.is_empty() != said.is_empty() {
        "approval.method"
    } else if sent != said {
        "prompts.attempts"
    } else if differs("fraud_key", "fraud_key") {
        "fraud.key"
    } else if parameter("language").is_some_and(lacks) {
        "prompts, without the language of this call"
    } else {
        return None;
    };
    Some(format!(
        "The published flow does not fit this call, because it was made for another {setting}. Install it again: phonegate \
         twilio install-flow."
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::studio::walk::tests::definition;

    #[test]
    fn a_flow_for_other_settings_is_noticed_at_the_call() {
        let mut flow = definition();
        flow["description"] =
            json!("PhoneGate flow: version=2 method=code attempts=2 fraud_key=0 languages=en-US,de-DE");
        let (flow, _) = Flow::parse(&flow.to_string()).unwrap();
        let fits = json!({ "spoken_1": "4", "spoken_2": "7", "fraud_key": "0", "language": "de-DE" });
        assert_eq!(misfit(&flow, &fits), None);
        for (parameters, setting) in [
            (json!({ "fraud_key": "0", "language": "de-DE" }), "approval.method."),
            (json!({ "spoken_1": "4" }), "prompts.attempts."),
            (json!({ "spoken_1": "4", "spoken_2": "7", "spoken_3": "1" }), "prompts.attempts."),
            (json!({ "spoken_1": "4", "spoken_2": "7", "fraud_key": "9" }), "fraud.key."),
            (json!({ "spoken_1": "4", "spoken_2": "7", "language": "fr-FR" }), "without the language of this call."),
        ] {
            let problem = misfit(&flow, &parameters).unwrap_or_default();
            assert!(problem.contains(setting), "{setting}: {problem}");
        }
    }
}
