//! An alert, and how it is written as JSON.

use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::AlertKind;
use crate::call::CallId;
use crate::clock::utc;

/// An alert, as the store keeps it and as a webhook gets it.
///
/// It has no personal data. Text from a provider or a server must be sanitized before it becomes part of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Alert {
    /// The same in each copy, so that a receiver can ignore one that is sent twice.
    pub id: Uuid,
    /// The kind, by which destinations select alerts.
    pub kind: AlertKind,
    /// The time of the event by the node's clock; in JSON RFC 3339, UTC.
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    pub at: SystemTime,
    /// The name of the machine that raised it.
    pub node: Box<str>,
    /// The telephone number, masked.
    pub number: Option<Box<str>>,
    /// The call that caused it, if one did.
    #[serde(default, deserialize_with = "read_call")]
    pub call: Option<CallId>,
    /// The name of the backend that it is about, if any; `the store` for the store.
    pub backend: Option<Box<str>>,
    /// What happened and what to do.
    pub text: Box<str>,
}

fn write_time<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&utc(*at).format(&Rfc3339).map_err(serde::ser::Error::custom)?)
}

fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    OffsetDateTime::parse(&text, &Rfc3339).map(SystemTime::from).map_err(de::Error::custom)
}

fn read_call<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<CallId>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| CallId::parse(&text).map_err(de::Error::custom)).transpose()
}
