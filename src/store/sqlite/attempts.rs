//! Ends attempts, finds them, and uses up approvals. Each function is part of a transaction.

use std::time::Duration;

use phonegate_approval::verdict::StoredApproval;
use rusqlite::{OptionalExtension, params};

use super::counters::{self, Counter};
use super::errors::naming_record;
use super::limits;
use super::types::{self, WallTime};
use super::worker::Tx;
use crate::call::{Attempt, CallId, CallLimit, Failure, NumberHash, Outcome, Progress, StoredOutcome};
use crate::store::millis::span;
use crate::store::{AttemptState, EndRequest, Ended, LatestAttempt, Owner, RecordKind};

/// Ends an attempt: once (S4), by its owner, and as verified only before its deadline (S5). Removes its codes (S18).
pub(super) fn end(tx: &Tx<'_>, end: &EndRequest) -> rusqlite::Result<Ended> {
    let EndRequest { attempt, owner, at, outcome, release, denials } = end;
    let (id, generation) = (attempt.id, types::generation(*attempt));
    let (judged_by, failure) = match outcome {
        Outcome::Verified(approval) => (Some(approval.judged_by().name()), None),
        Outcome::Failed(failure) => (None, Some(failure)),
    };
    let parameters = params![
        id,
        generation,
        owner,
        tx.now,
        WallTime(*at),
        failure.map(|failure| failure.reason().name()),
        failure.map(|failure| failure.text()),
        release,
        judged_by,
        failure.and_then(limit_name),
    ];
    type Found = (i64, Option<NumberHash>, Option<NumberHash>, Option<Box<str>>);
    let found: Option<Found> = tx
        .database
        .prepare_cached(
            "UPDATE attempts SET ended = ?4, ended_at = ?5, reason = ?6, text = ?7, holds_number = holds_number AND NOT ?8, codes = NULL,
                 judged_by = ?9, call_limit = ?10
             WHERE id = ?1 AND generation = ?2 AND owner = ?3 AND ended IS NULL AND (?6 IS NOT NULL OR deadline > ?4)
             RETURNING deadline, number_hash, line_hash, number",
        )?
        .query_row(parameters, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let Some((deadline, number, line, masked)) = found else { return Ok(Ended::No) };
    counters::subtract(tx, Counter::Pending, deadline)?;
    if let Some(line) = line {
        counters::subtract(tx, Counter::PendingOnLine(line), deadline)?;
    }
    let is_denial = failure.is_some_and(|failure| failure.reason().is_denial());
    let locked_until = match number {
        Some(number) if is_denial => limits::deny(tx, number, masked.as_deref().unwrap_or_default(), denials)?,
        Some(number) if failure.is_none() => limits::forgive(tx, number).map(|()| None)?,
        _ => None,
    };
    if let Some(until) = locked_until {
        tx.database
            .prepare_cached("UPDATE attempts SET locked_until_at = ?3 WHERE id = ?1 AND generation = ?2")?
            .execute(params![id, generation, WallTime(until)])?;
    }
    Ok(Ended::Yes { locked_until })
}

/// The name of the limit that refused a call.
pub(super) fn limit_name(failure: &Failure) -> Option<&'static str> {
    failure.limit().map(CallLimit::name)
}

/// Uses up an approval (S16).
pub(super) fn use_approval(tx: &Tx<'_>, attempt: Attempt, owner: Owner) -> rusqlite::Result<bool> {
    tx.database
        .prepare_cached(
            "UPDATE attempts SET used_by = ?3 WHERE id = ?1 AND generation = ?2 AND is_latest = 1 AND ended IS NOT NULL
                 AND reason IS NULL AND (used_by IS NULL OR used_by = ?3)",
        )?
        .execute(params![attempt.id, types::generation(attempt), owner])
        .map(|changed| changed > 0)
}

/// Finds the latest attempt of an id (S6).
pub(super) fn find(tx: &Tx<'_>, id: CallId) -> rusqlite::Result<Option<LatestAttempt>> {
    tx.database
        .prepare_cached(
            "SELECT generation, number_hash, begun, deadline, started_at, ended, ended_at, reason, text, call_limit,
                 judged_by, ringing_at, answered_at
             FROM attempts WHERE id = ?1 AND is_latest = 1",
        )?
        .query_row([id], |row| {
            let ended: Option<i64> = row.get("ended")?;
            let reason: Option<Box<str>> = row.get("reason")?;
            let state = match (ended, reason) {
                (None, _) => AttemptState::Pending {
                    left: left(tx, row)?,
                    progress: match (row.get("ringing_at")?, row.get("answered_at")?) {
                        (_, Some::<i64>(_)) => Progress::Answered,
                        (Some::<i64>(_), None) => Progress::Ringing,
                        (None, None) => Progress::Dialling,
                    },
                },
                (Some(ended), reason) => AttemptState::Ended {
                    outcome: match reason {
                        None => StoredOutcome::Verified(StoredApproval { judged_by: types::judged_by(row)? }),
                        Some(reason) => StoredOutcome::Failed(types::failure(row, &reason)?),
                    },
                    ago: span(age(tx, ended, row.get("ended_at")?)),
                },
            };
            let attempt = types::attempt(id, row.get("generation")?);
            Ok(LatestAttempt { attempt, number: row.get("number_hash")?, state })
        })
        .optional()
        .map_err(naming_record(RecordKind::Attempt))
}

/// Returns the age of an event in milliseconds: by the store's clock, or by the wall clock if that shows a greater one. The
/// store's clock stands still while no process is running and the wall clock is behind it. If the event is in the future of
/// the wall clock, its age is not known, and the greatest possible one is returned (S10).
fn age(tx: &Tx<'_>, at: i64, wall_at: i64) -> i64 {
    match tx.wall - wall_at {
        ..0 => i64::MAX,
        ago => ago.max(tx.now - at),
    }
}

/// Returns the time left until a pending attempt's deadline.
pub(super) fn left(tx: &Tx<'_>, row: &rusqlite::Row<'_>) -> rusqlite::Result<Duration> {
    let (begun, deadline): (i64, i64) = (row.get("begun")?, row.get("deadline")?);
    Ok(span((deadline - begun).saturating_sub(age(tx, begun, row.get("started_at")?))))
}
