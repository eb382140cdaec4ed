//! Records changes of attempts, each at most once (S7). Each function is part of a transaction.

use rusqlite::{OptionalExtension, params};

use super::types::{self, WallTime};
use super::worker::Tx;
use super::{attempts, refused};
use crate::call::{Attempt, CallEvent, FailureReason, Outcome};
use crate::store::{AttemptChange, EndRequest, Lockout, Owner, RecordedChange};

/// Records a change. Returns the lock that it caused, now or before.
pub(super) fn record(tx: &Tx<'_>, recorded: &RecordedChange) -> rusqlite::Result<Option<Lockout>> {
    let RecordedChange { attempt, at, change } = recorded;
    let (id, generation) = (attempt.id, types::generation(*attempt));
    match change {
        AttemptChange::Ended { owner, failure, release, denials } => {
            let outcome = Outcome::Failed(failure.clone());
            let end =
                EndRequest { attempt: *attempt, owner: *owner, at: *at, outcome, release: *release, denials: *denials };
            attempts::end(tx, &end)?;
            return lockout(tx, *attempt, *owner, failure.reason());
        }
        AttemptChange::Released => {
            tx.database
                .prepare_cached("UPDATE attempts SET holds_number = 0 WHERE id = ?1 AND generation = ?2")?
                .execute(params![id, generation])?;
        }
        AttemptChange::Refused { number, node, failure } => {
            refused::record(tx, recorded, number.as_ref(), node, failure)?
        }
        AttemptChange::Step { event, backend, text } => {
            step(tx, recorded, *event, backend.as_deref(), text.as_deref())?
        }
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
            step(tx, recorded, CallEvent::Placed, Some(backend), None)?;
        }
    }
    Ok(None)
}

/// Returns the lock that the end of an attempt caused, if this owner ended it for this reason.
fn lockout(tx: &Tx<'_>, attempt: Attempt, owner: Owner, reason: FailureReason) -> rusqlite::Result<Option<Lockout>> {
    tx.database
        .prepare_cached(
            "SELECT number_hash, number, locked_until_at FROM attempts
             WHERE id = ?1 AND generation = ?2 AND owner = ?3 AND reason = ?4 AND number_hash IS NOT NULL
                 AND locked_until_at IS NOT NULL",
        )?
        .query_row(params![attempt.id, types::generation(attempt), owner, reason.name()], |row| {
            let masked: Option<Box<str>> = row.get(1)?;
            let WallTime(until) = row.get(2)?;
            Ok(Lockout { attempt, number: row.get(0)?, masked: masked.unwrap_or_default(), until })
        })
        .optional()
}

/// Adds a step, unless it was added before.
fn step(
    tx: &Tx<'_>,
    recorded: &RecordedChange,
    event: CallEvent,
    backend: Option<&str>,
    text: Option<&str>,
) -> rusqlite::Result<()> {
    let (id, generation, at) = (recorded.attempt.id, types::generation(recorded.attempt), WallTime(recorded.at));
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
