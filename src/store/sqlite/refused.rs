//! Records refusals: for the audit, or to withdraw an attempt that has begun nevertheless (S6, S7). Each function is part of
//! a transaction.

use rusqlite::{OptionalExtension, params};

use super::attempts::limit_name;
use super::types::{self, WallTime};
use super::worker::Tx;
use super::{begin, counters};
use crate::call::{Attempt, CallId, Country, Failure, NumberHash};
use crate::store::millis::milliseconds;
use crate::store::{RecordedChange, StoredNumber};

/// An attempt that has begun although it was refused: its answer came too late.
struct BegunAttempt {
    has_ended: bool,
    number: Option<NumberHash>,
    line: Option<NumberHash>,
    country: Option<Country>,
    /// When it began, and its deadline.
    times: Option<(i64, i64)>,
}

/// Records a refusal.
pub(super) fn record(
    tx: &Tx<'_>,
    recorded: &RecordedChange,
    number: Option<&StoredNumber>,
    node: &str,
    failure: &Failure,
) -> rusqlite::Result<()> {
    match find(tx, recorded.attempt)? {
        Some(begun) if begun.has_ended => Ok(()),
        Some(begun) => withdraw(tx, recorded, &begun, failure),
        None => insert(tx, recorded, number, node, failure),
    }
}

fn find(tx: &Tx<'_>, attempt: Attempt) -> rusqlite::Result<Option<BegunAttempt>> {
    tx.database
        .prepare_cached(
            "SELECT ended IS NOT NULL, number_hash, line_hash, country, begun, deadline FROM attempts
             WHERE id = ?1 AND generation = ?2",
        )?
        .query_row(params![attempt.id, types::generation(attempt)], |row| {
            let times: (Option<i64>, Option<i64>) = (row.get(4)?, row.get(5)?);
            Ok(BegunAttempt {
                has_ended: row.get(0)?,
                number: row.get(1)?,
                line: row.get(2)?,
                country: types::country(row)?,
                times: times.0.zip(times.1),
            })
        })
        .optional()
}

/// Ends an attempt so that it counts for no limit (S12).
fn withdraw(tx: &Tx<'_>, recorded: &RecordedChange, begun: &BegunAttempt, failure: &Failure) -> rusqlite::Result<()> {
    let (id, generation) = (recorded.attempt.id, types::generation(recorded.attempt));
    tx.database
        .prepare_cached(
            "UPDATE attempts SET ended = ?3, ended_at = ?4, reason = ?5, text = ?6, holds_number = 0, begun = NULL,
                 codes = NULL, call_limit = ?7
             WHERE id = ?1 AND generation = ?2",
        )?
        .execute(params![
            id,
            generation,
            tx.now,
            WallTime(recorded.at),
            failure.reason().name(),
            failure.text(),
            limit_name(failure)
        ])?;
    if let Some((begun_at, deadline)) = begun.times {
        for (counter, at) in begin::counted(begun.number, begun.line, begun.country, begun_at, deadline) {
            counters::subtract(tx, counter, at)?;
        }
    }
    Ok(())
}

/// Adds a refusal for the audit, and makes it the latest attempt of its id if no other attempt is.
fn insert(
    tx: &Tx<'_>,
    recorded: &RecordedChange,
    number: Option<&StoredNumber>,
    node: &str,
    failure: &Failure,
) -> rusqlite::Result<()> {
    let id = recorded.attempt.id;
    let is_latest = is_latest(tx, id, tx.now.saturating_sub(milliseconds(recorded.waited())))?;
    if is_latest {
        begin::supersede(tx, id)?;
    }
    tx.database
        .prepare_cached(
            "INSERT INTO attempts (id, generation, is_latest, number_hash, line_hash, number, full_number, node, started_at,
                 ended_at, ended, reason, text, call_limit, country)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            id,
            types::generation(recorded.attempt),
            is_latest,
            number.map(|number| number.hash),
            number.map(|number| number.line_hash),
            number.map(|number| &number.masked),
            number.and_then(|number| number.full.as_ref()),
            node,
            WallTime(recorded.at),
            tx.now,
            failure.reason().name(),
            failure.text(),
            limit_name(failure),
            begin::country(number.and_then(|number| number.country.as_ref())),
        ])?;
    Ok(())
}

/// Returns whether no attempt of an id is pending or began after `refused_at`.
fn is_latest(tx: &Tx<'_>, id: CallId, refused_at: i64) -> rusqlite::Result<bool> {
    let newer = tx
        .database
        .prepare_cached("SELECT 1 FROM attempts WHERE id = ?1 AND is_latest = 1 AND (ended IS NULL OR begun > ?2)")?;
    { newer }.exists(params![id, refused_at]).map(|exists| !exists)
}
