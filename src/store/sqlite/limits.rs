//! Limits of calls: which calls they refuse, and which numbers are locked. Each function is a part of a transaction.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};

use super::SqliteStore;
use super::counters::{self, Counter};
use super::values::{milliseconds, span};
use super::writer::Desk;
use crate::call::{CallLimit, NumberKey};
use crate::store::denials::{DENIALS_KEPT, NumberDenials};
use crate::store::{DenialLimits, LimitStore, Limits, NumberLock, StoreError, StoredNumber, Usage};

const MINUTE: Duration = Duration::from_secs(60);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[async_trait]
impl LimitStore for SqliteStore {
    async fn locks(&self) -> Result<Vec<NumberLock>, StoreError> {
        self.writer.read(locks).await
    }

    async fn unlock(&self, numbers: &[NumberKey]) -> Result<bool, StoreError> {
        let numbers = numbers.to_vec();
        self.writer.write(move |desk| unlock(desk, &numbers)).await
    }

    async fn usage(&self) -> Result<Usage, StoreError> {
        self.writer.read(counters::usage).await
    }
}

/// Returns the first limit that admits no call to this number, and after how long it may admit one.
pub(super) fn exceeded(
    desk: &Desk<'_>,
    number: &StoredNumber,
    limits: &Limits,
) -> rusqlite::Result<Option<(CallLimit, Duration)>> {
    let (to_number, line) = (Counter::Number(number.key), Counter::Line(number.line));
    let pending_on_line = Counter::PendingOnLine(number.line);
    let country = number.country.map(Counter::Country).zip(limits.country_per_day);
    let checked = [
        Some((CallLimit::CallsPerNumber, to_number, limits.calls_per_number, limits.per_number_window)),
        Some((CallLimit::CallsPerNumberPerDay, to_number, limits.calls_per_number_per_day, DAY)),
        Some((CallLimit::CallsPerLine, line, limits.line_per_minute, MINUTE)),
        Some((CallLimit::CallsPerLine, pending_on_line, limits.line_in_progress, Duration::ZERO)),
        Some((CallLimit::CallsPerMinute, Counter::Minute, limits.calls_per_minute, MINUTE)),
        Some((CallLimit::ConcurrentCalls, Counter::Pending, limits.concurrent_calls, Duration::ZERO)),
        country.map(|(counter, most)| (CallLimit::ByCountry, counter, most, DAY)),
        limits.calls_per_day.map(|most| (CallLimit::CallsPerDay, Counter::Day, most, DAY)),
    ];
    for (limit, counter, most, window) in checked.into_iter().flatten() {
        if let Some(after) = counters::wait(desk, counter, most, window)? {
            return Ok(Some((limit, after)));
        }
    }
    Ok(None)
}

/// Returns how long a number is still locked.
pub(super) fn locked_for(desk: &Desk<'_>, number: NumberKey) -> rusqlite::Result<Option<Duration>> {
    let until: Option<i64> = desk
        .database
        .prepare_cached("SELECT locked_until FROM denials WHERE number_key = ?1 AND locked_until > ?2")?
        .query_row(params![number, desk.now], |row| row.get(0))
        .optional()?;
    Ok(until.map(|until| span(until.saturating_sub(desk.now))))
}

/// Counts a denial. Returns the end of the lock that it causes, by the wall clock.
pub(super) fn deny(
    desk: &Desk<'_>,
    number: NumberKey,
    masked: &str,
    limits: &DenialLimits,
) -> rusqlite::Result<Option<SystemTime>> {
    let before = find(desk, number)?.unwrap_or_default();
    let mut denials = before.clone();
    let until = denials.deny(desk.now, limits);
    if denials != before {
        keep(desk, number, masked, &denials)?;
    }
    Ok(until.and_then(|until| in_wall_time(desk, until)))
}

/// Resets the denials and locks of a number.
pub(super) fn forgive(desk: &Desk<'_>, number: NumberKey) -> rusqlite::Result<()> {
    desk.database.prepare_cached("DELETE FROM denials WHERE number_key = ?1")?.execute([number]).map(|_| ())
}

fn unlock(desk: &Desk<'_>, numbers: &[NumberKey]) -> rusqlite::Result<bool> {
    let mut was_locked = false;
    for number in numbers {
        was_locked |= locked_for(desk, *number)?.is_some();
        forgive(desk, *number)?;
    }
    Ok(was_locked)
}

fn find(desk: &Desk<'_>, number: NumberKey) -> rusqlite::Result<Option<NumberDenials>> {
    desk.database
        .prepare_cached("SELECT recent, locks, locked_from, locked_until FROM denials WHERE number_key = ?1")?
        .query_row([number], |row| {
            let recent = serde_json::from_str(&row.get::<_, Box<str>>("recent")?);
            let lock: (Option<i64>, Option<i64>) = (row.get("locked_from")?, row.get("locked_until")?);
            Ok(NumberDenials {
                recent: recent.map_err(|_| rusqlite::types::FromSqlError::InvalidType)?,
                locks: row.get("locks")?,
                lock: lock.0.zip(lock.1),
            })
        })
        .optional()
}

fn keep(desk: &Desk<'_>, number: NumberKey, masked: &str, denials: &NumberDenials) -> rusqlite::Result<()> {
    desk.database
        .prepare_cached("INSERT OR REPLACE INTO denials VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
        .execute(params![
            number,
            masked,
            serde_json::json!(denials.recent).to_string(),
            denials.locks,
            denials.lock.map(|(from, _)| from),
            denials.lock.map(|(_, until)| until),
            denials.last().unwrap_or(desk.now),
            desk.wall,
        ])
        .map(|_| ())
}

fn locks(desk: &Desk<'_>) -> rusqlite::Result<Vec<NumberLock>> {
    desk.database
        .prepare_cached(
            "SELECT number_key, number, locks, locked_from, locked_until FROM denials WHERE locked_until > ?1
             ORDER BY locked_from DESC",
        )?
        .query_map([desk.now], |row| {
            let wall = |column: &str| Ok::<_, rusqlite::Error>(in_wall_time(desk, row.get(column)?));
            Ok(NumberLock {
                number: row.get("number_key")?,
                masked: row.get("number")?,
                since: wall("locked_from")?.unwrap_or(SystemTime::UNIX_EPOCH),
                until: wall("locked_until")?.unwrap_or(SystemTime::UNIX_EPOCH),
                locks: row.get("locks")?,
            })
        })?
        .collect()
}

/// Moves the denials of a number to its current key, and adds them to those that it has there.
pub(super) fn rekey(desk: &Desk<'_>, old: NumberKey, number: &StoredNumber) -> rusqlite::Result<()> {
    let Some(moved) = find(desk, old)? else { return Ok(()) };
    let mut denials = find(desk, number.key)?.unwrap_or_default();
    denials.merge(moved);
    forgive(desk, old)?;
    keep(desk, number.key, &number.masked, &denials)
}

/// Removes denials that are older than [`DENIALS_KEPT`].
pub(super) fn sweep(desk: &Desk<'_>) -> rusqlite::Result<()> {
    desk.database
        .prepare_cached("DELETE FROM denials WHERE last <= ?1")?
        .execute([desk.now.saturating_sub(milliseconds(DENIALS_KEPT))])
        .map(|_| ())
}

/// Converts a time of the store's clock, which may be ahead of the wall clock, to wall-clock time.
fn in_wall_time(desk: &Desk<'_>, at: i64) -> Option<SystemTime> {
    let wall = desk.wall.saturating_add(at.saturating_sub(desk.now));
    SystemTime::UNIX_EPOCH.checked_add(span(wall))
}
