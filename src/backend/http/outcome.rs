//! Reads what a reply says about a call, by the tables of the configuration. Pure: no I/O, no clock.

use std::collections::BTreeMap;

use phonegate_approval::secret::Entry;
use phonegate_approval::verdict::{Answer, EndedBy};
use serde_json::Value;

use super::call_ref::HttpRef;
use super::config::{EndedByConfig, HttpConfig, PollConfig, PressedConfig};
use super::redaction::Redactor;
use crate::backend::reported::{NO_ATTEMPT, Reported};
use crate::call::{Failure, FailureReason, Progress};
use crate::config::ConfigError;

/// The tables by which replies are read.
pub(super) struct Rules {
    /// Where the reply to a start has the service's id.
    reference: Option<String>,
    /// Where a refusal of a start says why.
    start_error: Option<String>,
    names_reference: Option<String>,
    names_call_id: Option<String>,
    state: String,
    empty: Option<String>,
    pending: BTreeMap<String, Progress>,
    failed: BTreeMap<String, FailureReason>,
    success: Success,
}

/// How a reply says that the call has ended with an answer.
enum Success {
    Pressed { state: String, digits: String, attempt: Option<String>, ended_by: Option<EndedByConfig> },
    Approved { state: String, pointer: String, text: String },
}

/// What a reply says about a call.
pub(super) enum Report {
    /// The call goes on. The progress, if the reply says it.
    Pending(Option<Progress>),
    /// The user's answer.
    Answered(Reported),
    /// The call failed, and its phone no longer rings.
    Failed(Failure),
    /// The reply cannot be used, so the call fails. Its phone may still ring.
    Unusable(Failure),
}

/// The value at a JSON pointer.
enum Found<'a> {
    Value(&'a Value),
    /// It, or a value above it, is null.
    Null,
    Missing,
}

impl Rules {
    /// Reads the tables of the backend at `path`.
    ///
    /// # Errors
    /// A pointer or a table that cannot work, with its path.
    pub(super) fn new(path: &str, config: &HttpConfig, poll: &PollConfig) -> Result<Self, ConfigError> {
        let optional = |key: &str, text: &Option<String>| match text {
            Some(text) => pointer(&format!("{path}.{key}"), text).map(Some),
            None => Ok(None),
        };
        let start_error = config.start.as_ref().and_then(|start| start.error.clone());
        let rules = Self {
            reference: optional("reference", &config.reference)?,
            start_error: optional("start.error", &start_error)?,
            names_reference: optional("poll.names.reference", &poll.names.reference)?,
            names_call_id: optional("poll.names.call_id", &poll.names.call_id)?,
            state: pointer(&format!("{path}.poll.state"), &poll.state)?,
            empty: optional("poll.empty", &poll.empty)?,
            pending: poll.pending.iter().map(|(text, state)| (text.clone(), (*state).into())).collect(),
            failed: config.failed.iter().map(|(text, reason)| (text.clone(), (*reason).into())).collect(),
            success: Success::new(path, config, &poll.state)?,
        };
        rules.check(path)?;
        Ok(rules)
    }

    fn check(&self, path: &str) -> Result<(), ConfigError> {
        let invalid = |key: &str, problem: &str| Err(ConfigError::invalid(format!("{path}.{key}"), problem));
        if self.names_reference.is_none() && self.names_call_id.is_none() {
            let problem =
                "must have `reference` or `call_id`: a reply that does not name the call could be about another";
            return invalid("poll.names", problem);
        }
        if self.names_reference.is_some() && self.reference.is_none() {
            return invalid(
                "poll.names.reference",
                "needs the key `reference`, which says where the reply to `start` has it",
            );
        }
        let (key, state) = match &self.success {
            Success::Pressed { state, .. } => ("pressed.state", state),
            Success::Approved { state, .. } => ("approved", state),
        };
        if self.pending.contains_key(state) || self.failed.contains_key(state) {
            return invalid(key, "has a text that `poll.pending` or `failed` has, too");
        }
        if let Success::Approved { text, .. } = &self.success
            && self.failed.contains_key(text)
        {
            return invalid("approved.text", "is a text that `failed` has, too");
        }
        match self.pending.keys().find(|text| self.failed.contains_key(*text)) {
            Some(text) => invalid("failed", &format!("has the text `{text}`, which `poll.pending` has, too")),
            None => Ok(()),
        }
    }

    /// Returns whether calls have an id of the service.
    pub(super) fn has_reference(&self) -> bool {
        self.reference.is_some()
    }

    /// Returns the service's id in the reply to a start.
    ///
    /// # Errors
    /// The reply has no id where it must be, or calls have none.
    pub(super) fn reference(&self, reply: &Value) -> Result<String, Failure> {
        let pointer = self.reference.as_deref().unwrap_or_default();
        let id = if let Found::Value(value) = find(reply, pointer) { id_text(value) } else { None };
        id.ok_or_else(|| {
            let sentence = format!("The provider's reply to the start has no id of the call at {pointer}.");
            Failure::new(FailureReason::CannotPlace, sentence)
        })
    }

    /// Returns whether refusals of starts say why, in a text.
    pub(super) fn has_start_error(&self) -> bool {
        self.start_error.is_some()
    }

    /// Returns why a start was refused, if the refusal has a text: the reason if it is in the table, and the text.
    pub(super) fn refusal<'a>(&self, reply: &'a Value) -> Option<(Option<FailureReason>, &'a str)> {
        match find(reply, self.start_error.as_ref()?) {
            Found::Value(Value::String(text)) => Some((self.failed.get(text).copied(), text)),
            _ => None,
        }
    }

    /// Reads a reply about this call.
    pub(super) fn read(&self, reply: &Value, call: &HttpRef<'_>, redactor: Redactor<'_>) -> Report {
        if let Some(Found::Value(Value::Array(list))) = self.empty.as_ref().map(|pointer| find(reply, pointer))
            && list.is_empty()
        {
            return Report::Pending(None);
        }
        for (pointer, expected) in [(&self.names_reference, call.reference), (&self.names_call_id, Some(call.call_id))]
        {
            let Some(pointer) = pointer else { continue };
            let named = if let Found::Value(value) = find(reply, pointer) { id_text(value) } else { None };
            if named.is_none() || named.as_deref() != expected {
                return unusable(format!("The provider's reply does not name this call at {pointer}."));
            }
        }
        let state = match find(reply, &self.state) {
            Found::Value(Value::String(state)) => state,
            _ => return unusable(format!("The provider's reply has no text at {}.", self.state)),
        };
        if let Some(progress) = self.pending.get(state) {
            return Report::Pending(Some(*progress));
        }
        if let Some(reason) = self.failed.get(state) {
            let failure = Failure::new(*reason, format!("The provider reports {}.", redactor.quote(state)));
            return Report::Failed(failure.of_backend_if(*reason == FailureReason::NotConfigured));
        }
        match &self.success {
            Success::Pressed { state: ended, digits, attempt, ended_by } if state == ended => {
                match entry(reply, digits, attempt.as_deref(), ended_by.as_ref(), redactor) {
                    Ok(reported) => Report::Answered(reported),
                    Err(denial) => Report::Failed(denial),
                }
            }
            Success::Approved { state: ended, pointer, text } if state == ended => {
                self.verdict(reply, pointer, text, redactor)
            }
            _ => {
                let (state, pointer) = (redactor.quote(state), &self.state);
                unusable(format!(
                    "The provider reports {state} at {pointer}, which is not declared in `poll.pending` or `failed`."
                ))
            }
        }
    }

    /// Reads the verdict on a call that was answered and has ended. Without a usable verdict, the call counts as a denial.
    /// `approval` is the text that approves.
    fn verdict(&self, reply: &Value, pointer: &str, approval: &str, redactor: Redactor<'_>) -> Report {
        let (reason, sentence) = match find(reply, pointer) {
            Found::Value(Value::String(verdict)) if verdict == approval => {
                return Report::Answered(Answer::ProviderApproved.into());
            }
            Found::Value(Value::String(verdict)) => {
                let quoted = redactor.quote(verdict);
                match self.failed.get(verdict) {
                    Some(reason) => (*reason, format!("The provider's verdict at {pointer} is {quoted}.")),
                    None => {
                        let sentence = format!(
                            "The provider's verdict at {pointer} is {quoted}, which is neither `approved.text` nor in \
                             `failed`."
                        );
                        (FailureReason::WrongKey, sentence)
                    }
                }
            }
            Found::Value(_) => (
                FailureReason::WrongKey,
                format!("The provider's verdict at {pointer} is not a text, so it cannot approve."),
            ),
            Found::Null | Found::Missing => {
                let sentence = format!("The call was answered, but the provider's reply has no verdict at {pointer}.");
                (FailureReason::NoKeyPressed, sentence)
            }
        };
        Report::Failed(Failure::new(reason, sentence))
    }
}

impl Success {
    fn new(path: &str, config: &HttpConfig, poll_state: &str) -> Result<Self, ConfigError> {
        let at = |key: &str| format!("{path}.{key}");
        match (&config.pressed, &config.approved) {
            (Some(PressedConfig { state, digits, attempt, ended_by }), None) => Ok(Self::Pressed {
                state: state.clone(),
                digits: pointer(&at("pressed.digits"), digits)?,
                attempt: match attempt {
                    Some(attempt) => Some(pointer(&at("pressed.attempt"), attempt)?),
                    None => None,
                },
                ended_by: match ended_by {
                    Some(ended_by) => {
                        check_ended_by(&at("pressed.ended_by"), ended_by)?;
                        Some(ended_by.clone())
                    }
                    None => None,
                },
            }),
            (None, Some(approved)) => {
                let pointer = pointer(&at("approved.pointer"), &approved.pointer)?;
                let state = match &approved.state {
                    Some(state) if pointer != poll_state => state.clone(),
                    None if pointer == poll_state => approved.text.clone(),
                    Some(_) => {
                        let problem = "is not needed: `approved.pointer` is that of `poll.state`; remove it";
                        return Err(ConfigError::invalid(at("approved.state"), problem));
                    }
                    None => {
                        let problem = "is missing: the text at `poll.state` of a call that has ended";
                        return Err(ConfigError::invalid(at("approved.state"), problem));
                    }
                };
                Ok(Self::Approved { state, pointer, text: approved.text.clone() })
            }
            _ => {
                let problem = "needs either `pressed`, so that PhoneGate judges the keys, or `approved`, and not both";
                Err(ConfigError::invalid(path, problem))
            }
        }
    }
}

fn check_ended_by(path: &str, ended_by: &EndedByConfig) -> Result<(), ConfigError> {
    pointer(&format!("{path}.pointer"), &ended_by.pointer)?;
    let others = [&ended_by.pause, &ended_by.full];
    let is_twice = |text: &Option<String>| text.as_ref() == Some(&ended_by.pound);
    match others.into_iter().any(is_twice) || (ended_by.pause.is_some() && ended_by.pause == ended_by.full) {
        true => Err(ConfigError::invalid(path, "has the same text twice")),
        false => Ok(()),
    }
}

/// Reads the entry of the user.
///
/// # Errors
/// The entry is missing or malformed. The call was answered and has ended, so this counts as a denial.
fn entry(
    reply: &Value,
    digits: &str,
    attempt: Option<&str>,
    ended_by: Option<&EndedByConfig>,
    redactor: Redactor<'_>,
) -> Result<Reported, Failure> {
    let no_keys = |reason| {
        let sentence =
            format!("The call was answered, but the provider's reply does not have the keys as a text at {digits}.");
        Err(Failure::new(reason, sentence))
    };
    let keys = match find(reply, digits) {
        Found::Value(Value::String(keys)) => keys.as_str(),
        Found::Null => {
            return Ok(Answer::Entry { attempt: 1, digits: Entry::default(), ended_by: EndedBy::Pause }.into());
        }
        Found::Missing => return no_keys(FailureReason::NoKeyPressed),
        Found::Value(_) => return no_keys(FailureReason::WrongKey),
    };
    let reason = if keys.is_empty() { FailureReason::NoKeyPressed } else { FailureReason::WrongKey };
    let denied = |sentence: String| Failure::new(reason, format_args!("The call was answered, but {sentence}."));
    let number_at = |pointer| match find(reply, pointer) {
        Found::Value(value) => id_text(value)?.parse().ok(),
        Found::Null | Found::Missing => None,
    };
    let attempt = attempt.map_or(Ok(1), |pointer| number_at(pointer).ok_or(pointer));
    let (keys, ended_by) = match ended_by {
        None => match keys.strip_suffix('#') {
            Some(keys) => (keys, EndedBy::Pound),
            None => (keys, EndedBy::Pause),
        },
        Some(table) => {
            let pointer = &table.pointer;
            let Found::Value(Value::String(text)) = find(reply, pointer) else {
                return Err(denied(format!(
                    "the provider's reply has no text at {pointer} that says what ended the entry"
                )));
            };
            let ended_by = match text {
                text if *text == table.pound => EndedBy::Pound,
                text if Some(text) == table.pause.as_ref() => EndedBy::Pause,
                text if Some(text) == table.full.as_ref() => EndedBy::Full,
                text => {
                    let text = redactor.quote(text);
                    return Err(denied(format!(
                        "the provider reports at {pointer} that {text} ended the entry, which is not in `pressed.ended_by`"
                    )));
                }
            };
            (keys, ended_by)
        }
    };
    let entry = |attempt| Answer::Entry { attempt, digits: Entry::from_text(keys), ended_by };
    Ok(match attempt {
        Ok(attempt) => entry(attempt).into(),
        Err(pointer) => {
            let problem = format!("The provider's reply has no entry attempt at {pointer}.");
            Reported::incomplete(entry(NO_ATTEMPT), problem)
        }
    })
}

fn unusable(sentence: String) -> Report {
    Report::Unusable(Failure::new(FailureReason::CannotPlace, sentence))
}

/// Returns an id as text: a text, or a whole number.
fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_u64() || number.is_i64() => Some(number.to_string()),
        _ => None,
    }
}

/// Returns the value at a JSON pointer.
fn find<'a>(reply: &'a Value, pointer: &str) -> Found<'a> {
    match reply.pointer(pointer) {
        Some(Value::Null) => return Found::Null,
        Some(value) => return Found::Value(value),
        None => {}
    }
    let above = |end: usize| pointer.get(..end).and_then(|pointer| reply.pointer(pointer));
    let is_null = |(end, _): (usize, &str)| above(end).is_some_and(Value::is_null);
    if pointer.match_indices('/').any(is_null) { Found::Null } else { Found::Missing }
}

/// Checks a JSON pointer (RFC 6901).
fn pointer(path: &str, text: &str) -> Result<String, ConfigError> {
    let are_escapes = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    let is_valid = text.starts_with('/') && are_escapes;
    if is_valid && !text.contains(char::is_control) {
        return Ok(text.to_owned());
    }
    Err(ConfigError::invalid(path, "must be a JSON pointer (RFC 6901) such as /call/id"))
}

#[cfg(test)]
mod tests;
