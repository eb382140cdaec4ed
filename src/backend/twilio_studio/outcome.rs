//! The word with which the flow ends, and what it means.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::call::{Failure, FailureReason, Outcome};
use crate::telemetry::foreign_text;

/// The context of an Execution: <https://www.twilio.com/docs/studio/rest-api/v2/execution-context>.
#[derive(Deserialize)]
pub(super) struct Context {
    execution_sid: String,
    context: Inner,
}

#[derive(Deserialize)]
struct Inner {
    #[serde(default)]
    widgets: Map<String, Value>,
    #[serde(default)]
    flow: Flow,
}

#[derive(Default, Deserialize)]
struct Flow {
    #[serde(default)]
    variables: Option<Map<String, Value>>,
}

impl Context {
    /// Whose context it is.
    pub(super) fn execution_sid(&self) -> &str {
        &self.execution_sid
    }

    /// Does some widget tell of a call that was answered?
    pub(super) fn is_answered(&self) -> bool {
        let statuses = self.context.widgets.values().filter_map(|widget| widget.get("CallStatus")?.as_str());
        statuses.into_iter().any(|status| matches!(status, "in-progress" | "answered"))
    }

    /// The outcome of an Execution that has ended.
    pub(super) fn outcome(&self, answered: bool) -> Outcome {
        let result = self.context.flow.variables.as_ref().and_then(|variables| variables.get("result"));
        let (reason, sentence) = match result {
            Some(Value::String(word)) if word == "APPROVED" => return Outcome::Verified,
            Some(Value::String(word)) => match word.as_str() {
                "WRONG_KEY" => (FailureReason::WrongKey, "Another key than # was pressed."),
                "NO_KEY" => (FailureReason::NoKeyPressed, "The call was answered, but no key was pressed."),
                "FRAUD" => (FailureReason::FraudReported, "The user reported that the request was not theirs."),
                "BUSY" => (FailureReason::Unreachable, "The phone is busy."),
                "NO_ANSWER" => (FailureReason::Unreachable, "The phone was not answered."),
                "FAILED" => (FailureReason::CannotPlace, "Twilio could not put the call through."),
                "MACHINE" => (FailureReason::Voicemail, "An answering machine took the call."),
                word => {
                    let word = foreign_text(word);
                    let sentence = format!("The flow ended with the word \"{word}\", which PhoneGate does not know.");
                    return Outcome::Failed(Failure::new(FailureReason::CannotPlace, sentence));
                }
            },
            Some(_) => (FailureReason::CannotPlace, "The flow's result is not a word."),
            // Who hangs up ends the Execution where it stands.
            None if answered => (FailureReason::CallEnded, "The call was answered and hung up without a key."),
            None => (FailureReason::CannotPlace, "The flow ended without a result; is it PhoneGate's flow?"),
        };
        Outcome::Failed(Failure::new(reason, sentence))
    }
}
