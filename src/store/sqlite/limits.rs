//! Limits of calls (S12, S13): which calls they refuse, and which numbers are locked. Each function is part of a transaction.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};

use super::SqliteStore;
use super::counters::{self, Counter};
use super::errors::{is_unreadable, naming_record, read_list};
use super::worker::Tx;
use crate::call::{CallLimit, NumberHash};
use crate::store::denials::{DENIAL_RETENTION, NumberDenials};
use crate::store::limits::{DAY, MINUTE};
use crate::store::millis::{milliseconds, span};
use crate::store::{DenialLimits, LimitStore, Limits, NumberLock, RecordKind, StoreError, StoredNumber, Usage};

#[async_trait]
impl LimitStore for SqliteStore {
    async fn locks(&self) -> Result<Vec<NumberLock>, StoreError> {
        self.worker.read(locks).await
    }

    async fn unlock(&self, numbers: &[NumberHash]) -> Result<bool, StoreError> {
        let numbers = numbers.to_vec();
        self.worker.write(move |tx| unlock(tx, &numbers)).await
    }

    async fn usage(&self) -> Result<Usage, StoreError> {
        self.worker.read(counters::usage).await
    }
}

/// Returns the first limit that admits no call to this number, and after how long it may admit one.
pub(super) fn exceeded(
    tx: &Tx<'_>,
    number: &StoredNumber,
    limits: &Limits,
) -> rusqlite::Result<Option<(CallLimit, Duration)>> {
    let (to_number, line) = (Counter::Number(number.hash), Counter::Line(number.line_hash));
    let pending_on_line = Counter::PendingOnLine(number.line_hash);
    let country = number.country.map(Counter::Country).zip(limits.country_per_day);
    let checked = [
        Some((CallLimit::CallsPerNumber, to_number, limits.calls_per_number, limits.per_number_window)),
        Some((CallLimit::CallsPerNumberPerDay, to_number, limits.calls_per_number_per_day, DAY)),
        Some((CallLimit::CallsPerLine, line, limits.line_per_minute, MINUTE)),
        Some((CallLimit::CallsPerLine, pending_on_line, limits.line_in_progress, Duration::ZERO)),
        Some((CallLimit::CallsPerMinute, Counter::Minute, limits.calls_per_minute, MINUTE)),
        Some((CallLimit::ConcurrentCalls, Counter::Pending, limits.concurrent_calls, Duration::ZERO)),
        country.map(|(counter, max)| (CallLimit::ByCountry, counter, max, DAY)),
        limits.calls_per_day.map(|max| (CallLimit::CallsPerDay, Counter::Day, max, DAY)),
    ];
    for (limit, counter, max, window) in checked.into_iter().flatten() {
        if let Some(after) = counters::wait(tx, counter, max, window)? {
            return Ok(Some((limit, after)));
        }
    }
    Ok(None)
}

/// Returns how long a number is still locked.
pub(super) fn locked_for(tx: &Tx<'_>, number: NumberHash) -> rusqlite::Result<Option<Duration>> {
    // All of it is read: as long as a number has denials that cannot be read, it is not called.
    let until = find(tx, number)?.and_then(|denials| denials.locked_until(tx.now));
    Ok(until.map(|until| span(until.saturating_sub(tx.now))))
}

/// Counts a denial. Returns the end of the lock that it causes, by the wall clock.
pub(super) fn deny(
    tx: &Tx<'_>,
    number: NumberHash,
    masked: &str,
    limits: &DenialLimits,
) -> rusqlite::Result<Option<SystemTime>> {
    let before = match find(tx, number) {
        // No call to the number begins as long as they cannot be read.
        Err(error) if is_unreadable(&error) => return Ok(None),
        found => found?.unwrap_or_default(),
    };
    let mut denials = before.clone();
    let until = denials.deny(tx.now, limits);
    if denials != before {
        write(tx, number, masked, &denials)?;
    }
    Ok(until.and_then(|until| in_wall_time(tx, until)))
}

/// Resets the denials and locks of a number.
pub(super) fn forgive(tx: &Tx<'_>, number: NumberHash) -> rusqlite::Result<()> {
    tx.database.prepare_cached("DELETE FROM denials WHERE number_hash = ?1")?.execute([number]).map(|_| ())
}

fn unlock(tx: &Tx<'_>, numbers: &[NumberHash]) -> rusqlite::Result<bool> {
    let mut was_locked = false;
    for number in numbers {
        was_locked |= match locked_for(tx, *number) {
            Err(error) if is_unreadable(&error) => true,
            left => left?.is_some(),
        };
        forgive(tx, *number)?;
    }
    Ok(was_locked)
}

fn find(tx: &Tx<'_>, number: NumberHash) -> rusqlite::Result<Option<NumberDenials>> {
    tx.database
        .prepare_cached("SELECT recent, locks, locked_from, locked_until FROM denials WHERE number_hash = ?1")?
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
        .map_err(naming_record(RecordKind::Denials))
}

fn write(tx: &Tx<'_>, number: NumberHash, masked: &str, denials: &NumberDenials) -> rusqlite::Result<()> {
    tx.database
        .prepare_cached("INSERT OR REPLACE INTO denials VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
        .execute(params![
            number,
            masked,
            serde_json::json!(denials.recent).to_string(),
            denials.locks,
            denials.lock.map(|(from, _)| from),
            denials.lock.map(|(_, until)| until),
            denials.last().unwrap_or(tx.now),
            tx.wall,
        ])
        .map(|_| ())
}

fn locks(tx: &Tx<'_>) -> rusqlite::Result<Vec<NumberLock>> {
    let mut locked = tx.database.prepare_cached(
        "SELECT number_hash, number, locks, locked_from, locked_until FROM denials WHERE locked_until > ?1
         ORDER BY locked_from DESC",
    )?;
    read_list(tx, RecordKind::Denials, locked.query([tx.now])?, usize::MAX, |row| {
        let wall = |column: &str| Ok::<_, rusqlite::Error>(in_wall_time(tx, row.get(column)?));
        Ok(NumberLock {
            number: row.get("number_hash")?,
            masked: row.get("number")?,
            since: wall("locked_from")?.unwrap_or(SystemTime::UNIX_EPOCH),
            until: wall("locked_until")?.unwrap_or(SystemTime::UNIX_EPOCH),
            locks: row.get("locks")?,
        })
    })
}

/// Moves the denials of a number to its current hash, and adds them to those that it has there.
pub(super) fn rekey(tx: &Tx<'_>, old: NumberHash, number: &StoredNumber) -> rusqlite::Result<()> {
    let Some(moved) = find(tx, old)? else { return Ok(()) };
    let mut denials = find(tx, number.hash)?.unwrap_or_default();
    denials.merge(moved);
    forgive(tx, old)?;
    write(tx, number.hash, &number.masked, &denials)
}

/// Removes denials that are older than [`DENIAL_RETENTION`].
pub(super) fn sweep(tx: &Tx<'_>) -> rusqlite::Result<()> {
    tx.database
        .prepare_cached("DELETE FROM denials WHERE last <= ?1")?
        .execute([tx.now.saturating_sub(milliseconds(DENIAL_RETENTION))])
        .map(|_| ())
}

/// Converts a time of the store's clock, which may be ahead of the wall clock, to wall-clock time.
fn in_wall_time(tx: &Tx<'_>, at: i64) -> Option<SystemTime> {
    let wall = tx.wall.saturating_add(at.saturating_sub(tx.now));
    SystemTime::UNIX_EPOCH.checked_add(span(wall))
}
