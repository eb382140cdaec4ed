//! The parameters of an Execution.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::execution_ref::Nonce;
use super::flow::Speech;
use crate::call::Call;
use crate::config::FraudKey;

/// The parameters as JSON. They contain the codes of the call.
pub(super) struct Parameters(Zeroizing<String>);

impl Parameters {
    pub(super) fn new(call: &Call, speech: &Speech, fraud_key: FraudKey, nonce: &Nonce) -> Self {
        // A pause of two seconds before the extension: https://www.twilio.com/docs/voice/api/call-resource
        let send_digits = call.number.extension().map(|digits| format!("wwww{digits}")).unwrap_or_default();
        let mut parameters = Map::new();
        let mut insert = |key: &str, value: String| parameters.insert(key.to_owned(), Value::String(value));
        insert("fraud_key", fraud_key.get().to_string());
        insert("send_digits", send_digits);
        insert("language", speech.tag.to_owned());
        insert("nonce", nonce.to_string());
        let policy = call.attempts.policy();
        for attempt in (1..=policy.attempts()).filter(|_| policy.method().has_code()) {
            // A script speaks its code twice.
            let digits = call.attempts.script(attempt).into_iter().flat_map(|script| script.pieces());
            let code: Vec<_> =
                digits.filter(|piece| piece.is_digit()).take(usize::from(policy.code_digits())).collect();
            let text = code.iter().filter_map(|digit| digit.name().strip_prefix("digit_")).collect();
            insert(&format!("code_{attempt}"), text);
            insert(&format!("spoken_{attempt}"), speech.digits(code.into_iter()));
        }
        Self(Zeroizing::new(Value::Object(parameters).to_string()))
    }

    pub(super) fn as_json(&self) -> &str {
        &self.0
    }
}
