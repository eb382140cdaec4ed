//! The word with which the flow ends, and what it means.

use phonegate_approval::secret::Entry;
use phonegate_approval::verdict::{Answer, EndedBy};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::call::{Failure, FailureReason};
use crate::telemetry::foreign_text;

/// The status of a call that was answered and has ended:
/// <https://www.twilio.com/docs/voice/api/call-resource#call-status-values>.
const COMPLETED: &str = "completed";

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
        self.call_statuses().any(|status| matches!(status, "in-progress" | "answered" | COMPLETED))
    }

    /// Returns whether a widget reports a call that was answered and has ended.
    pub(super) fn call_has_completed(&self) -> bool {
        self.call_statuses().any(|status| status == COMPLETED)
    }

    fn call_statuses(&self) -> impl Iterator<Item = &str> {
        self.context.widgets.values().filter_map(|widget| widget.get("CallStatus")?.as_str())
    }

    /// The outcome of an Execution that is still active long after its call has ended. It is never an approval: the
    /// flow writes the approval as its last step, and this Execution has not ended.
    pub(super) fn outcome_of_completed_call(&self) -> Result<Answer, Failure> {
        match self.outcome(true) {
            Ok(_) => {
                let sentence = "The call ended before the flow did, so its approval does not count.";
                Err(Failure::new(FailureReason::CallEnded, sentence))
            }
            failed => failed,
        }
    }

    /// The outcome of an Execution that has ended.
    pub(super) fn outcome(&self, answered: bool) -> Result<Answer, Failure> {
        let result = self.context.flow.variables.as_ref().and_then(|variables| variables.get("result"));
        let (reason, sentence) = match result {
            Some(Value::String(word)) if word == "APPROVED" => {
                return Ok(Answer::Entry { attempt: 1, digits: Entry::default(), ended_by: EndedBy::Pound });
            }
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
                    return Err(Failure::new(FailureReason::CannotPlace, sentence));
                }
            },
            Some(_) => (FailureReason::CannotPlace, "The flow's result is not a word."),
            // Who hangs up ends the Execution where it stands.
            None if answered => (FailureReason::CallEnded, "The call was answered and hung up without a key."),
            None => (FailureReason::CannotPlace, "The flow ended without a result; is it PhoneGate's flow?"),
        };
        Err(Failure::new(reason, sentence))
    }
}
