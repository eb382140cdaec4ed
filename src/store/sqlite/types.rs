//! Rust types as SQLite values.

use std::time::SystemTime;

use phonegate_approval::verdict::JudgedBy;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use crate::call::{Attempt, CallId, CallLimit, Country, Failure, FailureReason};
use crate::store::millis::{span, to_unix};
use crate::store::{Owner, PepperFingerprint};

/// A wall-clock time, in milliseconds since 1970.
pub(super) struct WallTime(pub(super) SystemTime);

impl ToSql for WallTime {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(to_unix(self.0).into())
    }
}

impl FromSql for WallTime {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(Self(SystemTime::UNIX_EPOCH.checked_add(span(value.as_i64()?)).ok_or(FromSqlError::InvalidType)?))
    }
}

impl ToSql for PepperFingerprint {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.to_string().into())
    }
}

impl ToSql for Owner {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.0.as_bytes())))
    }
}

/// Converts a generation. They begin below 2^52 and are counted up, so an `i64` holds them.
pub(super) fn generation(attempt: Attempt) -> i64 {
    i64::try_from(attempt.generation).unwrap_or(i64::MAX)
}

pub(super) fn attempt(id: CallId, generation: i64) -> Attempt {
    Attempt { id, generation: u64::try_from(generation).unwrap_or_default() }
}

/// Returns the failure in an attempt's row.
pub(super) fn failure(row: &rusqlite::Row<'_>, reason: &str) -> rusqlite::Result<Failure> {
    let (text, limit): (Option<Box<str>>, Option<Box<str>>) = (row.get("text")?, row.get("call_limit")?);
    // A reason of a newer version is a failure, too.
    let failure =
        Failure::verbatim(FailureReason::named(reason).unwrap_or(FailureReason::Internal), text.unwrap_or_default());
    Ok(failure.by_limit(limit.and_then(|limit| CallLimit::named(&limit))))
}

/// Returns the country in an attempt's row.
pub(super) fn country(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Country>> {
    let code: Option<Box<str>> = row.get("country")?;
    Ok(code.and_then(|code| Country::parse(&code)))
}

/// Returns who judged an approval, if that was recorded.
pub(super) fn judged_by(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<JudgedBy>> {
    let name: Option<Box<str>> = row.get("judged_by")?;
    Ok(name.and_then(|name| JudgedBy::from_name(&name)))
}
