//! Counters of calls, for limits (S12). A sum reads at most one row for each bucket of its window, however many calls there
//! are. A bucket is a second wide, or ten minutes for all calls of a day and for those of a country.
//!
//! The counters change in the transaction that changes the attempts, so a killed process leaves both or neither. They are
//! also recounted from the attempts before a process begins its first call, because a program of an older version may have
//! written to the file.
//!
//! A bucket counts as a whole while the latest of its calls is within the window. So a limit may refuse calls for up to the
//! width of a bucket longer than necessary, and is never exceeded. A bucket is removed only when all of it is older than the
//! window. The store's clock never goes back, so a bucket does not come again, and a call that ends late subtracts nothing
//! from other calls.

use std::time::Duration;

use rusqlite::types::FromSqlError;
use rusqlite::{OptionalExtension, params};

use super::errors::read_list;
use super::worker::Tx;
use crate::call::{Country, HashedNumber, NumberHash};
use crate::store::millis::{milliseconds, span};
use crate::store::{RecordKind, StoredNumber, Usage, limits};

/// Width of a bucket, in milliseconds.
const BUCKET: i64 = 1000;

/// The same, for the counters of a day.
const DAY_BUCKET: i64 = milliseconds(limits::DAY_BUCKET);

const MINUTE: i64 = milliseconds(limits::MINUTE);

/// The longest window in which calls to a number are counted.
const DAY: i64 = milliseconds(limits::DAY);

const _: () = assert!(DAY_BUCKET == 600_000 && DAY == 86_400_000, "schema_5.sql counts with these numbers");

/// A group of calls that is counted.
#[derive(Clone, Copy)]
pub(super) enum Counter {
    /// Calls to a number, by when they began.
    Number(NumberHash),
    /// All calls, by when they began.
    Minute,
    /// Pending calls, by their deadline.
    Pending,
    /// Calls to a line, by when they began.
    Line(NumberHash),
    /// Pending calls to a line, by their deadline.
    PendingOnLine(NumberHash),
    /// All calls of a day, by when they began.
    Day,
    /// Calls to a country, by when they began.
    Country(Country),
}

impl Counter {
    /// The value of the `scope` column.
    fn scope(self) -> i64 {
        match self {
            Self::Number(_) => 1,
            Self::Minute => 2,
            Self::Pending => 3,
            Self::Line(_) => 4,
            Self::PendingOnLine(_) => 5,
            Self::Day => 6,
            Self::Country(_) => 7,
        }
    }

    fn key(&self) -> &[u8] {
        match self {
            Self::Number(number) | Self::Line(number) | Self::PendingOnLine(number) => number.as_bytes(),
            Self::Minute | Self::Pending | Self::Day => &[],
            Self::Country(country) => country.as_str().as_bytes(),
        }
    }

    /// Returns the width of a bucket, in milliseconds.
    fn width(self) -> i64 {
        match self {
            Self::Day | Self::Country(_) => DAY_BUCKET,
            _ => BUCKET,
        }
    }

    /// Longest window that can include a bucket, in milliseconds.
    fn longest_window(self) -> i64 {
        match self {
            Self::Number(_) | Self::Day | Self::Country(_) => DAY,
            Self::Minute | Self::Line(_) => MINUTE,
            Self::Pending | Self::PendingOnLine(_) => 0,
        }
    }

    fn bucket(self, at: i64) -> i64 {
        at.div_euclid(self.width())
    }
}

/// The first bucket that a window ending now touches.
fn first_bucket(tx: &Tx<'_>, window: i64, width: i64) -> i64 {
    tx.now.saturating_sub(window).div_euclid(width)
}

/// Counts a call, and removes the buckets of this counter that are older than its longest window.
pub(super) fn add(tx: &Tx<'_>, counter: Counter, at: i64) -> rusqlite::Result<()> {
    let (scope, key) = (counter.scope(), counter.key());
    tx.database
        .prepare_cached("DELETE FROM counters WHERE scope = ?1 AND key = ?2 AND bucket < ?3")?
        .execute(params![scope, key, first_bucket(tx, counter.longest_window(), counter.width())])?;
    tx.database
        .prepare_cached(
            "INSERT INTO counters VALUES (?1, ?2, ?3, 1, ?4)
             ON CONFLICT DO UPDATE SET count = count + 1, latest = max(latest, excluded.latest)",
        )?
        .execute(params![scope, key, counter.bucket(at), at])?;
    Ok(())
}

/// Subtracts a counted call from its bucket.
pub(super) fn subtract(tx: &Tx<'_>, counter: Counter, at: i64) -> rusqlite::Result<()> {
    let (scope, key, bucket) = (counter.scope(), counter.key(), counter.bucket(at));
    let left: Option<i64> = tx
        .database
        .prepare_cached(
            "UPDATE counters SET count = count - 1 WHERE scope = ?1 AND key = ?2 AND bucket = ?3 RETURNING count",
        )?
        .query_row(params![scope, key, bucket], |row| row.get(0))
        .optional()?;
    if left.is_some_and(|left| left <= 0) {
        tx.database
            .prepare_cached("DELETE FROM counters WHERE scope = ?1 AND key = ?2 AND bucket = ?3")?
            .execute(params![scope, key, bucket])?;
    }
    Ok(())
}

/// Returns how long until the window has fewer than `limit` calls, or None if it already has.
pub(super) fn wait(tx: &Tx<'_>, counter: Counter, limit: u64, window: Duration) -> rusqlite::Result<Option<Duration>> {
    let window = milliseconds(window);
    let since = tx.now.saturating_sub(window);
    let mut statement = tx.database.prepare_cached(
        "SELECT count, latest FROM counters WHERE scope = ?1 AND key = ?2 AND bucket >= ?3 ORDER BY bucket DESC",
    )?;
    let mut rows = statement.query(params![counter.scope(), counter.key(), counter.bucket(since)])?;
    let mut sum: u64 = 0;
    while let Some(row) = rows.next()? {
        let (count, latest): (i64, i64) = (row.get(0)?, row.get(1)?);
        if latest <= since {
            break;
        }
        sum = sum.saturating_add(u64::try_from(count).unwrap_or_default());
        if sum >= limit {
            return Ok(Some(span(latest.saturating_add(window) - tx.now)));
        }
    }
    Ok(None)
}

/// Returns the calls that count for `calls_per_day` and `by_country` now.
pub(super) fn usage(tx: &Tx<'_>) -> rusqlite::Result<Usage> {
    let since = tx.now.saturating_sub(DAY);
    let sum = |counter: &str| {
        format!("SELECT key, sum(count) FROM counters WHERE {counter} AND bucket >= ?1 AND latest > ?2 GROUP BY key")
    };
    let parameters = params![since.div_euclid(DAY_BUCKET), since];
    let count = |row: &rusqlite::Row<'_>| Ok(u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default());
    let day = tx
        .database
        .prepare_cached(&sum("scope = 6 AND key = x''"))?
        .query_row(parameters, count)
        .optional()?
        .unwrap_or_default();
    let mut by_country = tx.database.prepare_cached(&sum("scope = 7"))?;
    let by_country = read_list(tx, RecordKind::Counter, by_country.query(parameters)?, usize::MAX, |row| {
        let country = country(&row.get::<_, Vec<u8>>(0)?).ok_or(FromSqlError::InvalidType)?;
        Ok((country, count(row)?))
    })?;
    Ok(Usage { day, by_country })
}

/// Reads the country in a counter's key.
fn country(key: &[u8]) -> Option<Country> {
    std::str::from_utf8(key).ok().and_then(Country::parse)
}

/// For each scope of counters: the scope, the columns of the key and of the time by which attempts are counted, and the
/// window and the width of a bucket, in milliseconds.
const RECOUNTED: [(i64, &str, &str, i64, i64); 7] = [
    (1, "number_hash", "begun", DAY, BUCKET),
    (2, "x''", "begun", MINUTE, BUCKET),
    (3, "x''", "deadline", 0, BUCKET),
    (4, "line_hash", "begun", MINUTE, BUCKET),
    (5, "line_hash", "deadline", 0, BUCKET),
    (6, "x''", "begun", DAY, DAY_BUCKET),
    (7, "CAST(country AS BLOB)", "begun", DAY, DAY_BUCKET),
];

/// Recounts all counters from the attempts.
pub(super) fn recount(tx: &Tx<'_>) -> rusqlite::Result<()> {
    tx.database.execute("DELETE FROM counters", [])?;
    for (scope, key, time, window, width) in RECOUNTED {
        let since = first_bucket(tx, window, width).saturating_mul(width);
        let pending = if time == "deadline" { "AND ended IS NULL" } else { "" };
        tx.database.execute(
            &format!(
                "INSERT INTO counters SELECT ?3, {key}, {time} / ?2, count(*), max({time}) FROM attempts
                 WHERE {time} >= ?1 AND {key} IS NOT NULL {pending} GROUP BY {key}, {time} / ?2"
            ),
            [since, width, scope],
        )?;
    }
    Ok(())
}

/// Removes up to `limit` old buckets of each of the numbers, lines and countries that were not called again. Returns
/// whether there may be more.
pub(super) fn sweep(tx: &Tx<'_>, limit: u32) -> rusqlite::Result<bool> {
    let mut has_more = false;
    for (scope, window, width) in [(1, DAY, BUCKET), (4, MINUTE, BUCKET), (5, 0, BUCKET), (7, DAY, DAY_BUCKET)] {
        let old: Vec<(Vec<u8>, i64)> = tx
            .database
            .prepare_cached(
                "SELECT key, bucket FROM counters WHERE scope = ?3 AND bucket < ?1 ORDER BY bucket LIMIT ?2",
            )?
            .query_map(params![first_bucket(tx, window, width), limit, scope], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        for (key, bucket) in &old {
            tx.database
                .prepare_cached("DELETE FROM counters WHERE scope = ?3 AND key = ?1 AND bucket = ?2")?
                .execute(params![key, bucket, scope])?;
        }
        has_more |= old.len() == limit as usize;
    }
    Ok(has_more)
}

/// Moves the counters of a number and of its line to their current hashes.
pub(super) fn rekey(tx: &Tx<'_>, old: &HashedNumber, number: &StoredNumber) -> rusqlite::Result<()> {
    for (scope, old, new) in
        [(1, old.number, number.hash), (4, old.line, number.line_hash), (5, old.line, number.line_hash)]
    {
        tx.database
            .prepare_cached(
                "INSERT INTO counters SELECT scope, ?2, bucket, count, latest FROM counters WHERE scope = ?3 AND key = ?1
                 ON CONFLICT DO UPDATE SET count = count + excluded.count, latest = max(latest, excluded.latest)",
            )?
            .execute(params![old, new, scope])?;
        tx.database
            .prepare_cached("DELETE FROM counters WHERE scope = ?2 AND key = ?1")?
            .execute(params![old, scope])?;
    }
    Ok(())
}
