//! A line of the log.

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::call::{Attempt, CallId, CallLimit, CallStatus, Failure, FailureReason};
use crate::level::Level;

/// Something worth a line. What is None is left out.
#[derive(Debug, Clone, Default)]
pub struct Event<'a> {
    /// What happened, in one word.
    pub event: &'a str,
    /// The call's id, and its attempt where there is one.
    pub id: Option<CallId>,
    /// Which attempt, unique within the process.
    pub attempt: Option<Attempt>,
    /// The number, masked.
    pub number: Option<&'a str>,
    /// The backend's name.
    pub backend: Option<&'a str>,
    /// What the host is told.
    pub status: Option<CallStatus>,
    /// Why the call failed.
    pub failure: Option<&'a Failure>,
    /// Milliseconds since the call began.
    pub ms: Option<u128>,
    /// The names of the delivery attributes.
    pub attributes: &'a [String],
    /// How many.
    pub count: Option<u64>,
    /// More about it. Foreign text must have been cleaned.
    pub text: Option<&'a str>,
}

#[derive(Serialize)]
struct Record<'a> {
    time: String,
    level: Level,
    event: &'a str,
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

impl<'a> Event<'a> {
    /// A request that was refused at once.
    pub fn refused(id: Option<CallId>, failure: &'a Failure) -> Self {
        Self { event: "refused", id, status: Some(CallStatus::Failed), failure: Some(failure), ..Self::default() }
    }

    /// The event as one line of JSON, without the line break.
    pub(super) fn to_line(&self, level: Level) -> String {
        let record = Record {
            time: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
            level,
            event: self.event,
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
