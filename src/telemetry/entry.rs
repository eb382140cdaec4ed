//! A line of the log.

use std::time::SystemTime;

use serde::Serialize;
use time::format_description::well_known::Rfc3339;

use crate::call::{Attempt, CallEvent, CallId, CallLimit, CallStatus, Failure, FailureReason, GateEvent};
use crate::clock;
use crate::config::Level;

/// An event that can be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// An event of one call.
    Call(CallEvent),
    /// An event of the gate, or an administrator's change.
    Gate(GateEvent),
}

impl LogEvent {
    /// Returns the name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Call(event) => event.name(),
            Self::Gate(event) => event.name(),
        }
    }

    fn level(self) -> Level {
        match self {
            Self::Call(event) => event.level(),
            Self::Gate(event) => event.level(),
        }
    }
}

impl From<CallEvent> for LogEvent {
    fn from(event: CallEvent) -> Self {
        Self::Call(event)
    }
}

impl From<GateEvent> for LogEvent {
    fn from(event: GateEvent) -> Self {
        Self::Gate(event)
    }
}

/// An entry of the log. Fields that are `None` are left out of its line.
#[derive(Debug, Clone)]
pub struct LogEntry<'a> {
    /// What happened.
    pub event: LogEvent,
    /// How important it is: the event's own level, unless the cause changes it.
    pub level: Level,
    /// The call, if it is not known from `attempt`.
    pub id: Option<CallId>,
    /// The attempt, if the event concerns one.
    pub attempt: Option<Attempt>,
    /// The number, masked.
    pub number: Option<&'a str>,
    /// The backend's name.
    pub backend: Option<&'a str>,
    /// The status that the host reads.
    pub status: Option<CallStatus>,
    /// Why the call failed. Its text is logged if `text` is `None`.
    pub failure: Option<&'a Failure>,
    /// Milliseconds since the call was requested.
    pub ms: Option<u128>,
    /// The names of the delivery attributes.
    pub attributes: &'a [String],
    /// The number of lines or alerts that the event is about.
    pub count: Option<u64>,
    /// Details. Untrusted text must have been sanitized.
    pub text: Option<&'a str>,
}

#[derive(Serialize)]
struct Record<'a> {
    time: String,
    level: Level,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<CallId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<CallStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<FailureReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    attributes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

impl<'a> LogEntry<'a> {
    /// An entry about an event, at the event's own level and without any details.
    pub fn new(event: impl Into<LogEvent>) -> Self {
        let event = event.into();
        Self {
            event,
            level: event.level(),
            id: None,
            attempt: None,
            number: None,
            backend: None,
            status: None,
            failure: None,
            ms: None,
            attributes: &[],
            count: None,
            text: None,
        }
    }

    /// An entry about a request that failed at once.
    pub(crate) fn refused(event: CallEvent, id: Option<CallId>, failure: &'a Failure) -> Self {
        Self { id, status: Some(CallStatus::Failed), failure: Some(failure), ..Self::new(event) }
    }

    /// The entry as one line of JSON, without the line break.
    pub(super) fn to_line(&self) -> String {
        let record = Record {
            time: clock::utc(SystemTime::now()).format(&Rfc3339).unwrap_or_default(),
            level: self.level,
            event: self.event.name(),
            id: self.id.or(self.attempt.map(|attempt| attempt.id)),
            attempt: self.attempt.map(|attempt| attempt.generation),
            number: self.number,
            backend: self.backend,
            status: self.status,
            reason: self.failure.map(Failure::reason),
            limit: self.failure.and_then(Failure::limit).map(CallLimit::name),
            ms: self.ms.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
            attributes: self.attributes,
            count: self.count,
            text: self.text.or(self.failure.map(Failure::text)),
        };
        serde_json::to_string(&record).unwrap_or_default()
    }
}
