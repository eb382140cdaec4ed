//! What changes attempts, and finds them. Each function is a part of a transaction.

use std::sync::Arc;
use std::time::Duration;

use phonegate_approval::attempts::StoredAttempts;
use phonegate_approval::verdict::StoredApproval;
use rusqlite::{OptionalExtension, params};

use super::counters::{self, Counter};
use super::types::{self, WallTime};
use super::worker::Tx;
use super::{alerts, begin, limits, number_keys};
use crate::call::{
    Attempt, CallEvent, CallId, CallLimit, CallRef, Country, Failure, FailureReason, NumberKey, Outcome, Progress,
    StoredOutcome,
};
use crate::store::millis::{milliseconds, span};
use crate::store::{
    AttemptChange, AttemptState, DEADLINE_GRACE, EndRequest, Ended, LEASE, LatestAttempt, Lockout, Orphan, Owner,
    RecordedChange, StoredNumber,
};

/// So many attempts are forgotten in one transaction, for which calls wait.
const SWEPT_AT_ONCE: u32 = 500;

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
    type Found = (i64, Option<NumberKey>, Option<NumberKey>, Option<Box<str>>);
    let found: Option<Found> = tx
        .database
        .prepare_cached(
            "UPDATE attempts SET ended = ?4, ended_at = ?5, reason = ?6, text = ?7, rings = rings AND NOT ?8, codes = NULL,
                 judged_by = ?9, call_limit = ?10
             WHERE id = ?1 AND generation = ?2 AND owner = ?3 AND ended IS NULL AND (?6 IS NOT NULL OR deadline > ?4)
             RETURNING deadline, number_key, line_key, number",
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

/// Returns the lock that the end of an attempt caused, if this owner ended it for this reason.
fn lockout(tx: &Tx<'_>, attempt: Attempt, owner: Owner, reason: FailureReason) -> rusqlite::Result<Option<Lockout>> {
    tx.database
        .prepare_cached(
            "SELECT number_key, number, locked_until_at FROM attempts
             WHERE id = ?1 AND generation = ?2 AND owner = ?3 AND reason = ?4 AND number_key IS NOT NULL
                 AND locked_until_at IS NOT NULL",
        )?
        .query_row(params![attempt.id, types::generation(attempt), owner, reason.name()], |row| {
            let masked: Option<Box<str>> = row.get(1)?;
            let WallTime(until) = row.get(2)?;
            Ok(Lockout { attempt, number: row.get(0)?, masked: masked.unwrap_or_default(), until })
        })
        .optional()
}

fn limit_name(failure: &Failure) -> Option<&'static str> {
    failure.limit().map(CallLimit::name)
}

/// As [`CallStore::use_approval`](crate::store::CallStore::use_approval).
pub(super) fn use_approval(tx: &Tx<'_>, attempt: Attempt, owner: Owner) -> rusqlite::Result<bool> {
    tx.database
        .prepare_cached(
            "UPDATE attempts SET used_by = ?3 WHERE id = ?1 AND generation = ?2 AND current = 1 AND ended IS NOT NULL
                 AND reason IS NULL AND (used_by IS NULL OR used_by = ?3)",
        )?
        .execute(params![attempt.id, types::generation(attempt), owner])
        .map(|changed| changed > 0)
}

pub(super) fn record(tx: &Tx<'_>, update: &RecordedChange) -> rusqlite::Result<Option<Lockout>> {
    let RecordedChange { attempt, at, change } = update;
    let (id, generation) = (attempt.id, types::generation(*attempt));
    match change {
        AttemptChange::Ended { owner, failure, release, denials } => {
            let outcome = Outcome::Failed(failure.clone());
            let end =
                EndRequest { attempt: *attempt, owner: *owner, at: *at, outcome, release: *release, denials: *denials };
            self::end(tx, &end)?;
            return lockout(tx, *attempt, *owner, failure.reason());
        }
        AttemptChange::Released => {
            tx.database
                .prepare_cached("UPDATE attempts SET rings = 0 WHERE id = ?1 AND generation = ?2")?
                .execute(params![id, generation])?;
        }
        AttemptChange::Refused { number, node, failure } => refused(tx, update, number.as_ref(), node, failure)?,
        AttemptChange::Step { event, backend, text } => step(tx, update, *event, backend.as_deref(), text.as_deref())?,
        AttemptChange::Placed { backend, reference, attempts } => {
            tx.has_codes.set(tx.has_codes.get() || attempts.is_some());
            tx.database
                .prepare_cached(
                    "UPDATE attempts SET backend = ?3, reference = ?4, codes = CASE WHEN ended IS NULL THEN ?5 END
                     WHERE id = ?1 AND generation = ?2",
                )?
                .execute(params![
                    id,
                    generation,
                    backend,
                    reference.as_str(),
                    attempts.as_ref().map(|attempts| attempts.as_text())
                ])?;
            step(tx, update, CallEvent::Placed, Some(backend), None)?;
        }
    }
    Ok(None)
}

/// The row of an attempt that is to be given up.
struct Known {
    has_ended: bool,
    number: Option<NumberKey>,
    line: Option<NumberKey>,
    country: Option<Country>,
    /// When it began, and its deadline.
    times: Option<(i64, i64)>,
}

fn refused(
    tx: &Tx<'_>,
    update: &RecordedChange,
    number: Option<&StoredNumber>,
    node: &str,
    failure: &Failure,
) -> rusqlite::Result<()> {
    let (id, generation) = (update.attempt.id, types::generation(update.attempt));
    let (reason, text, limit) = (failure.reason().name(), failure.text(), limit_name(failure));
    let known: Option<Known> = tx
        .database
        .prepare_cached(
            "SELECT ended IS NOT NULL, number_key, line_key, country, begun, deadline FROM attempts
             WHERE id = ?1 AND generation = ?2",
        )?
        .query_row(params![id, generation], |row| {
            let times: (Option<i64>, Option<i64>) = (row.get(4)?, row.get(5)?);
            Ok(Known {
                has_ended: row.get(0)?,
                number: row.get(1)?,
                line: row.get(2)?,
                country: types::country(row)?,
                times: times.0.zip(times.1),
            })
        })
        .optional()?;
    if let Some(Known { has_ended, number, line, country, times }) = known {
        if has_ended {
            return Ok(());
        }
        tx.database
            .prepare_cached(
                "UPDATE attempts SET ended = ?3, ended_at = ?4, reason = ?5, text = ?6, rings = 0, begun = NULL,
                     codes = NULL, call_limit = ?7
                 WHERE id = ?1 AND generation = ?2",
            )?
            .execute(params![id, generation, tx.now, WallTime(update.at), reason, text, limit])?;
        if let Some((begun, deadline)) = times {
            for (counter, at) in begin::counted(number, line, country, begun, deadline) {
                counters::subtract(tx, counter, at)?;
            }
        }
        return Ok(());
    }
    let newer = tx
        .database
        .prepare_cached("SELECT 1 FROM attempts WHERE id = ?1 AND current = 1 AND (ended IS NULL OR begun > ?2)")?;
    let is_current = !{ newer }.exists(params![id, tx.now.saturating_sub(milliseconds(update.waited()))])?;
    if is_current {
        begin::supersede(tx, id)?;
    }
    tx.database
        .prepare_cached(
            "INSERT INTO attempts (id, generation, current, number_key, line_key, number, full_number, node, started_at,
                 ended_at, ended, reason, text, call_limit, country)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            id,
            generation,
            is_current,
            number.map(|number| number.key),
            number.map(|number| number.line),
            number.map(|number| &number.masked),
            number.and_then(|number| number.full.as_ref()),
            node,
            WallTime(update.at),
            tx.now,
            reason,
            text,
            limit,
            begin::country(number.and_then(|number| number.country.as_ref())),
        ])?;
    Ok(())
}

fn step(
    tx: &Tx<'_>,
    update: &RecordedChange,
    event: CallEvent,
    backend: Option<&str>,
    text: Option<&str>,
) -> rusqlite::Result<()> {
    let (id, generation, at) = (update.attempt.id, types::generation(update.attempt), WallTime(update.at));
    let time = match event {
        CallEvent::Placed => Some("placed_at"),
        CallEvent::Ringing => Some("ringing_at"),
        CallEvent::Answered => Some("answered_at"),
        _ => None,
    };
    if let Some(time) = time {
        tx.database
            .prepare_cached(&format!(
                "UPDATE attempts SET {time} = ?3 WHERE id = ?1 AND generation = ?2 AND {time} IS NULL"
            ))?
            .execute(params![id, generation, at])?;
    }
    if event == CallEvent::BackendRefused {
        tx.database
            .prepare_cached("UPDATE attempts SET backend = ?3 WHERE id = ?1 AND generation = ?2 AND reference IS NULL")?
            .execute(params![id, generation, backend])?;
    }
    tx.database
        .prepare_cached(
            "INSERT INTO steps SELECT sequence, ?3, ?4, ?5, ?6 FROM attempts
             WHERE id = ?1 AND generation = ?2 AND NOT EXISTS (SELECT 1 FROM steps
                 WHERE steps.sequence = attempts.sequence AND (at, name) = (?3, ?4) AND backend IS ?5 AND text IS ?6)",
        )?
        .execute(params![id, generation, at, event.name(), backend, text])?;
    Ok(())
}

pub(super) fn find(tx: &Tx<'_>, id: CallId) -> rusqlite::Result<Option<LatestAttempt>> {
    tx.database
        .prepare_cached(
            "SELECT generation, number_key, begun, deadline, started_at, ended, ended_at, reason, text, call_limit,
                 judged_by, ringing_at, answered_at
             FROM attempts WHERE id = ?1 AND current = 1",
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
            Ok(LatestAttempt { attempt, number: row.get("number_key")?, state })
        })
        .optional()
}

/// How long ago something was: by the store's clock, or by the wall clock where that says more, since the store's stands
/// still while nobody is there and the wall clock lies behind it. Too long, where the wall clock says that it is yet to come.
fn age(tx: &Tx<'_>, at: i64, wall_at: i64) -> i64 {
    match tx.wall - wall_at {
        ..0 => i64::MAX,
        ago => ago.max(tx.now - at),
    }
}

/// How long a pending attempt may still take.
fn left(tx: &Tx<'_>, row: &rusqlite::Row<'_>) -> rusqlite::Result<Duration> {
    let (begun, deadline): (i64, i64) = (row.get("begun")?, row.get("deadline")?);
    Ok(span((deadline - begun).saturating_sub(age(tx, begun, row.get("started_at")?))))
}

pub(super) fn renew(tx: &Tx<'_>, owner: Owner) -> rusqlite::Result<()> {
    tx.database
        .prepare_cached(
            "INSERT INTO owners VALUES (?1, ?2) ON CONFLICT (owner) DO UPDATE SET lease = max(lease, excluded.lease)",
        )?
        .execute(params![owner, tx.now.saturating_add(milliseconds(LEASE))])
        .map(|_| ())
}

/// Those that were handed over before are so again, unless the owner has `got` them.
pub(super) fn claim_orphans(tx: &Tx<'_>, owner: Owner, limit: usize, got: bool) -> rusqlite::Result<Vec<Orphan>> {
    if got {
        tx.database
            .prepare_cached("UPDATE attempts SET handed_over = 0 WHERE handed_over = 1 AND owner = ?1")?
            .execute([owner])?;
    }
    let mut orphans = tx.database.prepare_cached(
        "SELECT id, generation, number_key, number, begun, deadline, started_at, backend, reference, codes
         FROM attempts LEFT JOIN owners USING (owner)
         WHERE ended IS NULL
             AND (owner <> ?1 AND coalesce(lease, 0) <= ?2 OR deadline + ?4 <= ?2 OR owner = ?1 AND handed_over = 1)
         ORDER BY deadline LIMIT ?3",
    )?;
    let orphan = |row: &rusqlite::Row<'_>| {
        let placed: (Option<Box<str>>, Option<String>) = (row.get("backend")?, row.get("reference")?);
        Ok(Orphan {
            attempt: types::attempt(row.get("id")?, row.get("generation")?),
            number: row.get("number_key")?,
            masked: row.get("number")?,
            left: left(tx, row)?,
            started: row.get::<_, WallTime>("started_at")?.0,
            placed: placed.0.zip(placed.1.map(CallRef::new)),
            attempts: row.get::<_, Option<String>>("codes")?.map(|codes| Arc::new(StoredAttempts::from_text(codes))),
        })
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let orphans: Vec<_> = orphans
        .query_map(params![owner, tx.now, limit, milliseconds(DEADLINE_GRACE)], orphan)?
        .collect::<Result<_, _>>()?;
    for Orphan { attempt, .. } in &orphans {
        tx.database
            .prepare_cached("UPDATE attempts SET owner = ?3, handed_over = 1 WHERE id = ?1 AND generation = ?2")?
            .execute(params![attempt.id, types::generation(*attempt), owner])?;
    }
    if !orphans.is_empty() {
        renew(tx, owner)?;
        // The process that wrote the codes has ended, so this one removes them from the log.
        tx.has_codes.set(tx.has_codes.get() || orphans.iter().any(|orphan| orphan.attempts.is_some()));
    }
    Ok(orphans)
}

/// Forgets some of what is old. True where there may be more.
pub(super) fn sweep(tx: &Tx<'_>, keep: Duration) -> rusqlite::Result<bool> {
    // Of two clocks one may be ahead for a while.
    let (old, old_by_wall) = (tx.now - milliseconds(keep), tx.wall - milliseconds(keep));
    let ended: Vec<i64> = tx
        .database
        .prepare_cached("SELECT sequence FROM attempts WHERE ended < ?1 AND ended_at < ?2 ORDER BY ended LIMIT ?3")?
        .query_map(params![old, old_by_wall, SWEPT_AT_ONCE], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for sequence in &ended {
        tx.database.prepare_cached("DELETE FROM steps WHERE sequence = ?1")?.execute([sequence])?;
        tx.database.prepare_cached("DELETE FROM attempts WHERE sequence = ?1")?.execute([sequence])?;
    }
    tx.database.prepare_cached("DELETE FROM blocks WHERE until_at <= ?1")?.execute([old_by_wall])?;
    tx.database
        .prepare_cached(
            "DELETE FROM owners WHERE lease <= ?1 AND owner NOT IN (SELECT owner FROM attempts WHERE ended IS NULL)",
        )?
        .execute([tx.now])?;
    limits::sweep(tx)?;
    number_keys::sweep(tx)?;
    alerts::sweep(tx)?;
    let has_more_counters = counters::sweep(tx, SWEPT_AT_ONCE)?;
    Ok(has_more_counters || ended.len() == SWEPT_AT_ONCE as usize)
}
