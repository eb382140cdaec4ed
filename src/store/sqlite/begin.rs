//! Begins an attempt and counts it (S1, S2). Each function is part of a transaction.

use rusqlite::{OptionalExtension, params};

use super::counters::{self, Counter};
use super::errors::naming_record;
use super::types::{self, WallTime};
use super::worker::Tx;
use super::{limits, ownership};
use crate::call::{CallId, CallLimit, Country, NumberHash};
use crate::store::millis::milliseconds;
use crate::store::{Begun, DEADLINE_GRACE, Limits, NewAttempt, RecordKind, Refusal, StoredNumber};

/// Begins an attempt, or refuses it.
pub(super) fn begin(tx: &Tx<'_>, new: &NewAttempt, limits: &Limits) -> rusqlite::Result<Begun> {
    let NewAttempt { attempt, started, deadline, number, owner, node } = new;
    let pending: Option<(i64, Option<NumberHash>)> = tx
        .database
        .prepare_cached(
            "SELECT generation, number_hash FROM attempts WHERE id = ?1 AND is_latest = 1 AND ended IS NULL",
        )?
        .query_row([attempt.id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .map_err(naming_record(RecordKind::Attempt))?;
    // S3: a repetition.
    if let Some((generation, its_number)) = pending {
        return Ok(match its_number == Some(number.hash) {
            true if generation == types::generation(*attempt) => Begun::New,
            true => Begun::AlreadyOwned(types::attempt(attempt.id, generation).generation),
            false => Begun::Refused(Refusal::OtherNumber),
        });
    }
    if let Some(refusal) = refusal(tx, number, limits)? {
        return Ok(Begun::Refused(refusal));
    }
    // S6.
    supersede(tx, attempt.id)?;
    let deadline = tx.now.saturating_add(milliseconds(*deadline));
    tx.database
        .prepare_cached(
            "INSERT INTO attempts (id, generation, is_latest, number_hash, line_hash, number, full_number, node, owner,
                 started_at, begun, deadline, holds_number, country)
             VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 1, ?12)",
        )?
        .execute(params![
            attempt.id,
            types::generation(*attempt),
            number.hash,
            number.line_hash,
            number.masked,
            number.full,
            node,
            owner,
            WallTime(*started),
            tx.now,
            deadline,
            country(number.country.as_ref()),
        ])?;
    for (counter, at) in counted(Some(number.hash), Some(number.line_hash), number.country, tx.now, deadline) {
        counters::add(tx, counter, at)?;
    }
    ownership::renew(tx, *owner)?;
    Ok(Begun::New)
}

/// Returns the counters that count a call, and the time by which each counts it.
pub(super) fn counted(
    number: Option<NumberHash>,
    line: Option<NumberHash>,
    country: Option<Country>,
    begun: i64,
    deadline: i64,
) -> impl Iterator<Item = (Counter, i64)> {
    let counters = [
        number.map(|number| (Counter::Number(number), begun)),
        line.map(|line| (Counter::Line(line), begun)),
        line.map(|line| (Counter::PendingOnLine(line), deadline)),
        Some((Counter::Minute, begun)),
        Some((Counter::Pending, deadline)),
        Some((Counter::Day, begun)),
        country.map(|country| (Counter::Country(country), begun)),
    ];
    counters.into_iter().flatten()
}

pub(super) fn country(country: Option<&Country>) -> Option<&str> {
    country.map(Country::as_str)
}

/// Returns why a number may not be called now.
fn refusal(tx: &Tx<'_>, number: &StoredNumber, limits: &Limits) -> rusqlite::Result<Option<Refusal>> {
    // S11: of several blocks, the one that ends last.
    let block = tx
        .database
        .prepare_cached(
            "SELECT reason, until_at FROM blocks
             WHERE number_hash IN (?1, ?2) AND (number_hash = ?1 OR whole_line = 1) AND coalesce(until_at, ?3 + 1) > ?3
             ORDER BY until_at DESC NULLS FIRST LIMIT 1",
        )?
        .query_row(params![number.hash, number.line_hash, tx.wall], |row| {
            let until: Option<WallTime> = row.get(1)?;
            Ok(Refusal::Blocked { reason: row.get(0)?, until: until.map(|WallTime(until)| until) })
        })
        .optional()
        .map_err(naming_record(RecordKind::Block))?;
    if block.is_some() {
        return Ok(block);
    }
    // S13.
    if let Some(after) = limits::locked_for(tx, number.hash)? {
        return Ok(Some(Refusal::Limit { limit: CallLimit::Denials, after }));
    }
    // S8: the number of an overdue call is released.
    tx.database
        .prepare_cached(
            "UPDATE attempts SET holds_number = 0 WHERE number_hash = ?1 AND holds_number = 1 AND deadline + ?2 <= ?3",
        )?
        .execute(params![number.hash, milliseconds(DEADLINE_GRACE), tx.now])?;
    let holding = tx.database.prepare_cached("SELECT 1 FROM attempts WHERE number_hash = ?1 AND holds_number = 1")?;
    if { holding }.exists([number.hash])? {
        return Ok(Some(Refusal::InProgress));
    }
    // S12.
    let exceeded = limits::exceeded(tx, number, limits)?;
    Ok(exceeded.map(|(limit, after)| Refusal::Limit { limit, after }))
}

/// Makes no attempt of an id the latest one.
pub(super) fn supersede(tx: &Tx<'_>, id: CallId) -> rusqlite::Result<usize> {
    tx.database.prepare_cached("UPDATE attempts SET is_latest = 0 WHERE id = ?1 AND is_latest = 1")?.execute([id])
}
