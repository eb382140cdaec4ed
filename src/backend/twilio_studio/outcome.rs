//! Reads the result that the flow reports, and checks that it belongs to the call.
//!
//! It does not matter for which `approval.method` the installed flow was generated. The flow decides what the user hears, and
//! the entry approves by the configured method alone, as if the right flow had reported it. So a flow for another method
//! approves nothing that is not right by the configured one, and mostly makes entries wrong. A call does not ask for the
//! flow's description, which would cost a request; `check` does.

use phonegate_approval::secret::Entry;
use phonegate_approval::verdict::{Answer, EndedBy};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::backend::reported::{NO_ATTEMPT, Reported};
use crate::call::{Failure, FailureReason};
use crate::redact::sanitize_untrusted;

/// The status of a call that was answered and has ended:
/// <https://www.twilio.com/docs/voice/api/call-resource#call-status-values>.
const COMPLETED: &str = "completed";

/// The digits of an entry whose report has no text there: another key than a digit, which makes the entry wrong.
const NO_DIGITS: &str = "?";

/// The results of earlier flows, which judged the entry themselves.
const EARLIER_RESULTS: [&str; 3] = ["APPROVED", "WRONG_KEY", "FRAUD"];

/// The context of an Execution: <https://www.twilio.com/docs/studio/rest-api/v2/execution-context>.
#[derive(Deserialize)]
pub(super) struct Context {
    pub(super) execution_sid: String,
    pub(super) flow_sid: String,
    context: Inner,
}

#[derive(Deserialize)]
struct Inner {
    #[serde(default)]
    widgets: Map<String, Value>,
    #[serde(default)]
    flow: Flow,
    #[serde(default)]
    contact: Contact,
}

#[derive(Default, Deserialize)]
struct Flow {
    #[serde(default)]
    variables: Option<Map<String, Value>>,
}

#[derive(Default, Deserialize)]
struct Contact {
    #[serde(default)]
    channel: Channel,
}

#[derive(Default, Deserialize)]
struct Channel {
    #[serde(default)]
    address: String,
}

/// What the result of a call must contain.
pub(super) struct Expected<'a> {
    pub(super) nonce: &'a str,
    /// The number that the Execution was started for.
    pub(super) contact: &'a str,
}

impl Context {
    /// Returns whether a widget reports a call that was answered.
    pub(super) fn is_answered(&self) -> bool {
        self.call_statuses().any(|status| matches!(status, "in-progress" | "answered" | COMPLETED))
    }

    /// Returns whether a widget reports a call that was answered and has ended.
    pub(super) fn call_has_completed(&self) -> bool {
        self.call_statuses().any(|status| status == COMPLETED)
    }

    fn call_statuses(&self) -> impl Iterator<Item = &str> {
        self.of_widgets("CallStatus")
    }

    /// Returns the values of a variable, of all widgets that have it.
    fn of_widgets(&self, name: &str) -> impl Iterator<Item = &str> {
        self.context.widgets.values().filter_map(move |widget| widget.get(name)?.as_str())
    }

    fn variable(&self, name: &str) -> Option<&Value> {
        self.context.flow.variables.as_ref()?.get(name)
    }

    /// Returns what the user pressed. `is_answered` is whether the call was answered at any time.
    ///
    /// # Errors
    /// Nothing was pressed, or the result is not one that this flow writes for this call.
    pub(super) fn answer(&self, expected: &Expected<'_>, is_answered: bool) -> Result<Reported, Failure> {
        let (reason, sentence) = match self.variable("result") {
            Some(Value::String(result)) => match result.as_str() {
                "PRESSED" => return self.entry(expected),
                "NO_KEY" => (FailureReason::NoKeyPressed, "The call was answered, but no key was pressed."),
                "BUSY" => (FailureReason::Unreachable, "The phone is busy."),
                "NO_ANSWER" => (FailureReason::Unreachable, "The phone was not answered."),
                "FAILED" => (FailureReason::CannotPlace, "Twilio could not put the call through."),
                "MACHINE" => (FailureReason::Voicemail, "An answering machine took the call."),
                earlier if EARLIER_RESULTS.contains(&earlier) => {
                    let sentence = "The flow at Twilio is of an earlier version of PhoneGate, so its result does not count; \
                                    install it again: phonegate twilio install-flow.";
                    (FailureReason::NotConfigured, sentence)
                }
                other => {
                    let other = sanitize_untrusted(other);
                    let sentence =
                        format!("The flow ended with the result \"{other}\", which PhoneGate does not know.");
                    return Err(Failure::new(FailureReason::CannotPlace, sentence));
                }
            },
            Some(_) => (FailureReason::CannotPlace, "The flow's result is not a word."),
            // A user who hangs up ends the Execution at its current widget.
            None if is_answered => (FailureReason::CallEnded, "The call was answered and hung up without a key."),
            None => (FailureReason::CannotPlace, "The flow ended without a result; is it PhoneGate's flow?"),
        };
        Err(Failure::new(reason, sentence))
    }

    /// Returns the entry that the flow reports.
    ///
    /// # Errors
    /// It is not known to be one of this call.
    fn entry(&self, expected: &Expected<'_>) -> Result<Reported, Failure> {
        let foreign = |what: &str| {
            let sentence = format_args!("The result at Twilio does not belong to this call: it has another {what}.");
            Err(Failure::new(FailureReason::CannotPlace, sentence))
        };
        if self.variable("nonce").and_then(Value::as_str) != Some(expected.nonce) {
            return foreign("nonce");
        }
        let is_contact = |number: &str| number == expected.contact;
        if !is_contact(&self.context.contact.channel.address) || !self.of_widgets("To").all(is_contact) {
            return foreign("number");
        }
        let attempt = match self.variable("attempt") {
            Some(Value::String(attempt)) => attempt.parse().ok(),
            Some(attempt) => attempt.as_u64().and_then(|attempt| u8::try_from(attempt).ok()),
            None => None,
        };
        let digits = self.variable("digits");
        let ended_by = match self.variable("ended_by").and_then(Value::as_str) {
            Some("pound") => Some(EndedBy::Pound),
            Some("pause") => Some(EndedBy::Pause),
            Some("full") => Some(EndedBy::Full),
            _ => None,
        };
        if let (Some(attempt), Some(Value::String(digits)), Some(ended_by)) = (attempt, digits, ended_by) {
            return Ok(Answer::Entry { attempt, digits: Entry::from_text(digits), ended_by }.into());
        }
        // The flow says that the user made an entry, so this counts for `limits.denials`.
        let digits = Entry::from_text(digits.map_or("", |digits| digits.as_str().unwrap_or(NO_DIGITS)));
        let answer = Answer::Entry { attempt: NO_ATTEMPT, digits, ended_by: ended_by.unwrap_or(EndedBy::Pause) };
        let problem = "The flow does not say how the entry was made; install it again: phonegate twilio install-flow.";
        Ok(Reported::incomplete(answer, problem))
    }
}
