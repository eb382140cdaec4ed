//! Counters of calls, for limits: a sum of them reads at most one row for each second of its window, however many calls
//! there are.
//!
//! The counters change in the transaction that changes the attempts, so a process that is killed leaves both or neither.
//! They are recounted from the attempts all the same, before a process begins its first call: a program of an older
//! version may have written to the file.
//!
//! A bucket counts as a whole while the latest of its calls is within the window. So a limit may hold up to a second longer
//! than it had to, and is never exceeded. A bucket is removed only when it lies in the past as a whole. The store's clock
//! never goes back, so the same bucket does not come again, and a call that ends late subtracts nothing from others.

use std::time::Duration;

use rusqlite::{OptionalExtension, params};

use super::values::{milliseconds, span};
use super::writer::Desk;
use crate::call::NumberKey;

/// What a bucket covers, in milliseconds.
const WIDTH: i64 = 1000;

const MINUTE: i64 = 60_000;

/// The longest window in which calls to a number may be counted.
const DAY: i64 = 24 * 60 * MINUTE;

/// A group of calls that is counted.
#[derive(Clone, Copy)]
pub(super) enum Counter {
    /// Calls to a number, by when they began.
    Number(NumberKey),
    /// All calls, by when they began.
    Minute,
    /// Pending calls, by their deadline.
    Pending,
}

impl Counter {
    /// The value of the `scope` column.
    fn scope(self) -> i64 {
        match self {
            Self::Number(_) => 1,
            Self::Minute => 2,
            Self::Pending => 3,
        }
    }

    fn key(&self) -> &[u8] {
        match self {
            Self::Number(number) => number.as_bytes(),
            Self::Minute | Self::Pending => &[],
        }
    }

    /// Longest window that can include a bucket, in milliseconds.
    fn longest_window(self) -> i64 {
        match self {
            Self::Number(_) => DAY,
            Self::Minute => MINUTE,
            Self::Pending => 0,
        }
    }
}

fn bucket(at: i64) -> i64 {
    at.div_euclid(WIDTH)
}

/// The first bucket that a window ending now touches.
fn first_bucket(desk: &Desk<'_>, window: i64) -> i64 {
    bucket(desk.now.saturating_sub(window))
}

/// Counts a call, and removes the buckets of this counter that are older than its longest window.
pub(super) fn add(desk: &Desk<'_>, counter: Counter, at: i64) -> rusqlite::Result<()> {
    let (scope, key) = (counter.scope(), counter.key());
    desk.database
        .prepare_cached("DELETE FROM counters WHERE scope = ?1 AND key = ?2 AND bucket < ?3")?
        .execute(params![scope, key, first_bucket(desk, counter.longest_window())])?;
    desk.database
        .prepare_cached(
            "INSERT INTO counters VALUES (?1, ?2, ?3, 1, ?4)
             ON CONFLICT DO UPDATE SET count = count + 1, latest = max(latest, excluded.latest)",
        )?
        .execute(params![scope, key, bucket(at), at])?;
    Ok(())
}

/// Subtracts a counted call from its bucket.
pub(super) fn subtract(desk: &Desk<'_>, counter: Counter, at: i64) -> rusqlite::Result<()> {
    let (scope, key, bucket) = (counter.scope(), counter.key(), bucket(at));
    let left: Option<i64> = desk
        .database
        .prepare_cached(
            "UPDATE counters SET count = count - 1 WHERE scope = ?1 AND key = ?2 AND bucket = ?3 RETURNING count",
        )?
        .query_row(params![scope, key, bucket], |row| row.get(0))
        .optional()?;
    if left.is_some_and(|left| left <= 0) {
        desk.database
            .prepare_cached("DELETE FROM counters WHERE scope = ?1 AND key = ?2 AND bucket = ?3")?
            .execute(params![scope, key, bucket])?;
    }
    Ok(())
}

/// Returns how long until the window has fewer than `most` calls, or None if it already has.
pub(super) fn wait(
    desk: &Desk<'_>,
    counter: Counter,
    most: u64,
    window: Duration,
) -> rusqlite::Result<Option<Duration>> {
    let window = milliseconds(window);
    let since = desk.now.saturating_sub(window);
    let mut statement = desk.database.prepare_cached(
        "SELECT count, latest FROM counters WHERE scope = ?1 AND key = ?2 AND bucket >= ?3 ORDER BY bucket DESC",
    )?;
    let mut rows = statement.query(params![counter.scope(), counter.key(), bucket(since)])?;
    let mut sum: u64 = 0;
    while let Some(row) = rows.next()? {
        let (count, latest): (i64, i64) = (row.get(0)?, row.get(1)?);
        if latest <= since {
            break;
        }
        sum = sum.saturating_add(u64::try_from(count).unwrap_or_default());
        if sum >= most {
            return Ok(Some(span(latest.saturating_add(window) - desk.now)));
        }
    }
    Ok(None)
}

/// Makes the counters anew from the attempts.
pub(super) fn recount(desk: &Desk<'_>) -> rusqlite::Result<()> {
    let since = |window: i64| first_bucket(desk, window).saturating_mul(WIDTH);
    desk.database.execute("DELETE FROM counters", [])?;
    desk.database.execute(
        "INSERT INTO counters SELECT 1, number_key, begun / ?2, count(*), max(begun) FROM attempts
         WHERE begun >= ?1 AND number_key IS NOT NULL GROUP BY number_key, begun / ?2",
        [since(DAY), WIDTH],
    )?;
    desk.database.execute(
        "INSERT INTO counters SELECT 2, x'', begun / ?2, count(*), max(begun) FROM attempts
         WHERE begun >= ?1 GROUP BY begun / ?2",
        [since(MINUTE), WIDTH],
    )?;
    desk.database.execute(
        "INSERT INTO counters SELECT 3, x'', deadline / ?2, count(*), max(deadline) FROM attempts
         WHERE ended IS NULL AND deadline >= ?1 GROUP BY deadline / ?2",
        [since(0), WIDTH],
    )?;
    Ok(())
}

/// Removes up to `most` old buckets of numbers that were not called again. Returns whether there may be more.
pub(super) fn sweep(desk: &Desk<'_>, most: u32) -> rusqlite::Result<bool> {
    let old: Vec<(Vec<u8>, i64)> = desk
        .database
        .prepare_cached("SELECT key, bucket FROM counters WHERE scope = 1 AND bucket < ?1 ORDER BY bucket LIMIT ?2")?
        .query_map(params![first_bucket(desk, DAY), most], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (key, bucket) in &old {
        desk.database
            .prepare_cached("DELETE FROM counters WHERE scope = 1 AND key = ?1 AND bucket = ?2")?
            .execute(params![key, bucket])?;
    }
    Ok(old.len() == most as usize)
}
