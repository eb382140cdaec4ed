//! Whether the published flow matches a call. Studio goes through the flow anyway, and says nothing.

use std::collections::BTreeSet;

use serde_json::Value;

use super::flow::Flow;

/// Returns why the flow does not match a call with these parameters, and what to do.
///
/// Whether the flow asks for a PIN cannot be compared: a call has no parameter that says so.
pub(super) fn mismatch(flow: &Flow, parameters: &Value) -> Option<String> {
    let sent: BTreeSet<&str> = parameters.as_object()?.keys().filter_map(|key| key.strip_prefix("spoken_")).collect();
    let said = flow.spoken_codes();
    let parameter = |name: &str| parameters.get(name).and_then(Value::as_str);
    let differs = |key, name| flow.made_for(key).zip(parameter(name)).is_some_and(|(made, sent)| made != sent);
    let lacks = |language| flow.made_for("languages").is_some_and(|made| !made.split(',').any(|made| made == language));
    let problem = if sent.is_empty() != said.is_empty() {
        "it was made for another `approval.method`"
    } else if sent != said {
        "it was made for another number of attempts (`prompts.attempts`)"
    } else if differs("fraud_key", "fraud_key") {
        "it was made for another `fraud.key`"
    } else if parameter("language").is_some_and(lacks) {
        "it does not have the language of this call (`prompts`)"
    } else {
        return None;
    };
    Some(format!(
        "The published flow does not match this call: {problem}. Install it again with `phonegate twilio install-flow`."
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
        let matching = json!({ "spoken_1": "4", "spoken_2": "7", "fraud_key": "0", "language": "de-DE" });
        assert_eq!(mismatch(&flow, &matching), None);
        for (parameters, expected) in [
            (json!({ "fraud_key": "0", "language": "de-DE" }), "it was made for another `approval.method`."),
            (json!({ "spoken_1": "4" }), "it was made for another number of attempts (`prompts.attempts`)."),
            (
                json!({ "spoken_1": "4", "spoken_2": "7", "spoken_3": "1" }),
                "it was made for another number of attempts (`prompts.attempts`).",
            ),
            (json!({ "spoken_1": "4", "spoken_2": "7", "fraud_key": "9" }), "it was made for another `fraud.key`."),
            (
                json!({ "spoken_1": "4", "spoken_2": "7", "language": "fr-FR" }),
                "it does not have the language of this call (`prompts`).",
            ),
        ] {
            let problem = mismatch(&flow, &parameters).unwrap_or_default();
            assert!(problem.contains(expected), "{expected}: {problem}");
        }
    }
}
