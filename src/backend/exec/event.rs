//! What a program reports: lines of JSON, each an object with an `event`.

use phonegate_approval::secret::Entry;
use phonegate_approval::verdict::EndedBy;
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroize;

use super::cleaner::Cleaner;
use crate::backend::reported::NO_ATTEMPT;
use crate::call::{Failure, FailureReason};
use crate::no_duplicate_keys::Json;

/// Maximum digits of an entry that a program may report. An entry that approves is shorter.
const MAX_DIGITS: usize = 64;

/// A line of a program.
pub(super) enum Event {
    /// The phone rings.
    Ringing,
    /// A person or a machine answered.
    Answered,
    /// The verdict: what the user pressed.
    Pressed {
        attempt: u8,
        digits: Entry,
        ended_by: EndedBy,
        /// What is wrong with the line, as a part of a sentence. The entry then approves nothing.
        problem: Option<String>,
    },
    /// The verdict: there is no entry.
    Failed {
        failure: Failure,
        /// False: the program says that no phone rang.
        may_ring: bool,
    },
    /// The reply to a check.
    Ready(Option<String>),
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    // Braces, because serde ignores unknown fields of a variant without them.
    Ringing {},
    Answered {},
    Pressed {
        attempt: u64,
        digits: String,
        ended_by: End,
    },
    Failed {
        reason: String,
        #[serde(default)]
        text: Option<String>,
        #[serde(default = "yes")]
        may_ring: bool,
    },
    Ready {
        #[serde(default)]
        text: Option<String>,
    },
}

fn yes() -> bool {
    true
}

const EVENTS: [&str; 5] = ["ringing", "answered", "pressed", "failed", "ready"];

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum End {
    Pound,
    Pause,
    Full,
}

impl Event {
    /// Reads a line. `attempts` is the number of attempts of the call.
    ///
    /// # Errors
    /// What is wrong with the line, as a part of a sentence. It quotes no value of the line but the name of the event.
    pub(super) fn parse(line: &[u8], attempts: u8, cleaner: &Cleaner) -> Result<Self, String> {
        let json: Json =
            serde_json::from_slice(line).map_err(|_| "is not a JSON object, or has a key twice".to_owned())?;
        let Value::Object(object) = &json.0 else { return Err("is not a JSON object".to_owned()) };
        let name = match object.get("event") {
            Some(Value::String(name)) if EVENTS.contains(&name.as_str()) => name.clone(),
            Some(Value::String(name)) => {
                return Err(format!("has the event \"{}\", which is not known", cleaner.clean(name)));
            }
            _ => return Err("has no `event`".to_owned()),
        };
        let parsed = serde_json::from_value(json.0);
        match parsed
            .map_err(|_| format!("({name}) lacks a field, or has one that is not known or of the wrong type"))?
        {
            Line::Ringing {} => Ok(Self::Ringing),
            Line::Answered {} => Ok(Self::Answered),
            Line::Pressed { attempt, mut digits, ended_by } => {
                let of_call = u8::try_from(attempt).ok().filter(|attempt| (1..=attempts).contains(attempt));
                let problem = match of_call {
                    Some(_) => digits_problem(&digits),
                    None => Some(format!("(pressed) is about attempt {attempt}, but there are {attempts}")),
                };
                let attempt = of_call.filter(|_| problem.is_none()).unwrap_or(NO_ATTEMPT);
                let entry = Entry::from_text(&digits);
                digits.zeroize();
                let ended_by = match ended_by {
                    End::Pound => EndedBy::Pound,
                    End::Pause => EndedBy::Pause,
                    End::Full => EndedBy::Full,
                };
                Ok(Self::Pressed { attempt, digits: entry, ended_by, problem })
            }
            Line::Failed { reason, text, may_ring } => {
                let known = known_reason(&reason).ok_or_else(|| {
                    format!("(failed) has the reason \"{}\", which is not known", cleaner.clean(&reason))
                })?;
                if !may_ring && RUNG.contains(&reason.as_str()) {
                    return Err(format!("(failed) says that no phone rang, but the reason {reason} says that one did"));
                }
                Ok(Self::Failed { failure: failure(known, text.as_deref(), cleaner), may_ring })
            }
            Line::Ready { text } => Ok(Self::Ready(text.map(|text| cleaner.clean(&text)))),
        }
    }
}

/// Returns what is wrong with the keys of an entry. They must be digits and `*`, which a user can press and which makes the
/// entry wrong.
fn digits_problem(digits: &str) -> Option<String> {
    let are_keys = digits.bytes().all(|key| key.is_ascii_digit() || key == b'*') && digits.len() <= MAX_DIGITS;
    (!are_keys).then(|| format!("(pressed) has `digits` that are not 0 to 9 or *, or more than {MAX_DIGITS}"))
}

/// Returns the reason with this name, and what it means. The other reasons are PhoneGate's to decide.
fn known_reason(name: &str) -> Option<(FailureReason, &'static str)> {
    Some(match name {
        "Busy" => (FailureReason::Unreachable, "The phone is busy"),
        "NoAnswer" => (FailureReason::Unreachable, "The phone was not answered"),
        "Unreachable" => (FailureReason::Unreachable, "The phone cannot be reached"),
        "NoKeyPressed" => (FailureReason::NoKeyPressed, "The call was answered, but no key was pressed"),
        "CallEnded" => (FailureReason::CallEnded, "The call was answered and hung up without a key"),
        "Voicemail" => (FailureReason::Voicemail, "An answering machine took the call"),
        "InvalidNumber" => (FailureReason::InvalidNumber, "The number cannot be dialled"),
        "CountryNotAllowed" => (FailureReason::CountryNotAllowed, "The provider does not allow calls to this country"),
        "Throttled" => (FailureReason::Throttled, "The provider accepts no more calls now"),
        "NotConfigured" => (FailureReason::NotConfigured, "The program or its provider is not set up"),
        "CannotPlace" => (FailureReason::CannotPlace, "The program could not place the call"),
        _ => return None,
    })
}

/// The known reasons that a call has only if a phone may have rung.
const RUNG: [&str; 5] = ["Busy", "NoAnswer", "NoKeyPressed", "CallEnded", "Voicemail"];

fn failure((reason, sentence): (FailureReason, &str), text: Option<&str>, cleaner: &Cleaner) -> Failure {
    let failure = match text.map(|text| cleaner.clean(text)).filter(|text| !text.is_empty()) {
        Some(text) => Failure::new(reason, format_args!("{sentence}: {}.", text.trim_end_matches('.'))),
        None => Failure::new(reason, format_args!("{sentence}.")),
    };
    // `CannotPlace` is anything else, so the number may be the cause.
    failure.of_backend_if(reason == FailureReason::NotConfigured)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// Returns how an event ends the call: `none`, `entry`, or the reason of the failure. If it is refused, the problem.
    fn parse(line: &str) -> Result<String, String> {
        Ok(match Event::parse(line.as_bytes(), 2, &Cleaner::without_codes())? {
            Event::Ringing | Event::Answered | Event::Ready(_) => "none".to_owned(),
            Event::Pressed { attempt, problem, .. } => {
                assert_eq!(attempt == NO_ATTEMPT, problem.is_some(), "{line}");
                problem.map_or(Ok("entry".to_owned()), Err)?
            }
            Event::Failed { failure, may_ring } => format!("{} {may_ring}", failure.reason().name()),
        })
    }

    #[test]
    fn documented_lines_are_read() {
        for (line, read) in [
            (r#"{"event":"ringing"}"#, "none"),
            (r#" { "event" : "answered" } "#, "none"),
            (r#"{"event":"pressed","attempt":2,"digits":"471","ended_by":"pound"}"#, "entry"),
            (r#"{"ended_by":"pause","digits":"","attempt":1,"event":"pressed"}"#, "entry"),
            (r#"{"event":"pressed","attempt":1,"digits":"4*1","ended_by":"full"}"#, "entry"),
            (r#"{"event":"failed","reason":"Busy"}"#, "Unreachable true"),
            (r#"{"event":"failed","reason":"Voicemail","text":null,"may_ring":true}"#, "Voicemail true"),
            (r#"{"event":"failed","reason":"CannotPlace","text":"down","may_ring":false}"#, "CannotPlace false"),
            (r#"{"event":"ready","text":"ok"}"#, "none"),
        ] {
            assert_eq!(parse(line).as_deref(), Ok(read), "{line}");
        }
    }

    #[test]
    fn every_other_line_is_refused_and_not_quoted() {
        for line in [
            "",
            "471",
            "[]",
            "{}",
            r#"{"event":1}"#,
            r#"{"event":"approved"}"#,
            r#"{"event":"Ringing"}"#,
            r#"{"event":"ringing","digits":"471"}"#,
            r#"{"event":"ringing"}{"event":"ringing"}"#,
            r#"{"event":"ringing","event":"answered"}"#,
            r#"{"event":"pressed","attempt":1,"digits":"471"}"#,
            r#"{"event":"pressed","attempt":1,"digits":471,"ended_by":"pound"}"#,
            r#"{"event":"pressed","attempt":"1","digits":"471","ended_by":"pound"}"#,
            r#"{"event":"pressed","attempt":1.0,"digits":"471","ended_by":"pound"}"#,
            r#"{"event":"pressed","attempt":0,"digits":"471","ended_by":"pound"}"#,
            r#"{"event":"pressed","attempt":3,"digits":"471","ended_by":"pound"}"#,
            r#"{"event":"pressed","attempt":257,"digits":"471","ended_by":"pound"}"#,
            r#"{"event":"pressed","attempt":1,"digits":"471#","ended_by":"pound"}"#,
            r#"{"event":"pressed","attempt":1,"digits":" 471","ended_by":"pound"}"#,
            r#"{"event":"pressed","attempt":1,"digits":"٤٧١","ended_by":"pound"}"#,
            r#"{"event":"pressed","attempt":1,"digits":null,"ended_by":"pound"}"#,
            r#"{"event":"pressed","attempt":1,"digits":"471","ended_by":"star"}"#,
            r#"{"event":"pressed","attempt":1,"digits":"12","digits":"471","ended_by":"pound"}"#,
            r#"{"event":"failed"}"#,
            r#"{"event":"failed","reason":"FraudReported"}"#,
            r#"{"event":"failed","reason":"busy"}"#,
            r#"{"event":"failed","reason":"Busy","may_ring":"no"}"#,
            r#"{"event":"failed","reason":"Busy","may_ring":false}"#,
            r#"{"event":"failed","reason":"NoAnswer","may_ring":false}"#,
            r#"{"event":"failed","reason":"NoKeyPressed","may_ring":false}"#,
            r#"{"event":"failed","reason":"CallEnded","may_ring":false}"#,
            r#"{"event":"failed","reason":"Voicemail","may_ring":false}"#,
        ] {
            let problem = parse(line).unwrap_err();
            assert!(!problem.contains("471"), "{line}: {problem}");
        }
        let long = format!(r#"{{"event":"pressed","attempt":1,"digits":"{}","ended_by":"pound"}}"#, "1".repeat(65));
        parse(&long).unwrap_err();
        Event::parse(b"{\"event\":\"ringing\"}\xff", 2, &Cleaner::without_codes()).err().unwrap();
    }
}
