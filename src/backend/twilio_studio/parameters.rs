//! The parameters of an Execution.

use phonegate_approval::script::Piece;
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
        for attempt in 1..=call.attempts.policy().attempts() {
            let Some(code) = call.attempts.code(attempt) else { continue };
            let digits = code.as_bytes().iter();
            insert(&format!("code_{attempt}"), digits.clone().copied().map(char::from).collect());
            let pieces = digits.map(|digit| Piece::Digit(digit.saturating_sub(b'0')));
            insert(&format!("spoken_{attempt}"), speech.digits(pieces));
        }
        Self(Zeroizing::new(Value::Object(parameters).to_string()))
    }

    pub(super) fn as_json(&self) -> &str {
        &self.0
    }
}
