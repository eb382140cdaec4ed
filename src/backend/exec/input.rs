//! What a program reads: one line of JSON, in ASCII.

use phonegate_approval::secret::Code;
use serde_json::{Map, Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::call::Call;
use crate::clock::Moment;
use crate::config::FraudKey;

/// The version of the protocol: of the input and of the events.
const VERSION: u8 = 1;

/// Maximum length of an input, in bytes. The pipe to the program holds as much before the program runs: 4,096 bytes on
/// Windows, and at least as much on Linux. The longest input, with ten attempts, has about 1,000.
pub(super) const MAX_INPUT: usize = 4_000;

/// Returns the input about a call. It contains the number and the codes.
pub(super) fn of_call(call: &Call, id: Uuid, language: &str, fraud_key: FraudKey) -> Zeroizing<String> {
    let policy = call.attempts.policy();
    let attempts = (1..=policy.attempts()).map(|attempt| match call.attempts.code(attempt) {
        Some(code) => json!({ "code": text(code, ""), "spoken": text(code, ", ") }),
        None => json!({ "code": null, "spoken": null }),
    });
    let mut input = Map::new();
    let mut insert = |key: &str, value: Value| input.insert(key.to_owned(), value);
    insert("version", VERSION.into());
    insert("request_id", call.attempt.id.to_string().into());
    insert("call_id", id.to_string().into());
    insert("number", call.number.e164().into());
    insert("extension", call.number.extension().into());
    insert("language", language.into());
    insert("method", policy.method().name().into());
    insert("fraud_key", fraud_key.get().to_string().into());
    insert("deadline_s", call.deadline.left(Moment::now()).as_secs().into());
    insert("attempts", attempts.collect());
    line(Value::Object(input))
}

/// Returns the input of a check.
pub(super) fn of_check() -> Zeroizing<String> {
    line(json!({ "version": VERSION, "check": true }))
}

fn line(input: Value) -> Zeroizing<String> {
    Zeroizing::new(format!("{input}\n"))
}

/// Returns the digits of a code, with a text between them.
fn text(code: &Code, between: &str) -> String {
    let digits: Vec<_> = code.as_bytes().iter().map(|digit| char::from(*digit).to_string()).collect();
    digits.join(between)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::time::Duration;

    use phonegate_approval::attempts::Attempts;
    use phonegate_approval::policy::{Method, Policy};

    use super::*;
    use crate::call::{Attempt, CallId, PhoneNumber};
    use crate::clock::Deadline;

    #[test]
    fn the_longest_input_fits_into_the_pipe_in_ascii() {
        let policy = Policy::default().with_method(Method::PinAndCode);
        let policy = policy.with_code_digits(4).unwrap().with_attempts(10).unwrap();
        let fill = |bytes: &mut [u8]| -> Result<(), Infallible> {
            bytes.fill_with(|| fastrand::u8(..));
            Ok(())
        };
        let call = Call {
            attempt: Attempt { id: CallId::new(Uuid::from_u128(1)).unwrap(), generation: u64::MAX },
            number: PhoneNumber::new("+14255551212345".to_owned(), Some("9".repeat(40)), 1),
            deadline: Deadline::after(Moment::now(), Duration::from_secs(600)),
            language: None,
            attempts: Arc::new(Attempts::new(policy, fill).unwrap()),
            caller_id: None,
        };
        let input = of_call(&call, Uuid::new_v4(), &"x".repeat(100), FraudKey::default());
        assert!(input.len() < MAX_INPUT && input.is_ascii() && input.ends_with("}\n"), "{}", input.len());
        let json: Value = serde_json::from_str(&input).unwrap();
        assert_eq!(json["attempts"].as_array().unwrap().len(), 10);
        let spoken = json["attempts"][9]["spoken"].as_str().unwrap();
        assert_eq!(spoken.replace(", ", ""), json["attempts"][9]["code"].as_str().unwrap());
    }
}
