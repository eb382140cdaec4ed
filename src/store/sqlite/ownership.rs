//! Leases, and claims of attempts whose owner is gone (S9). Each function is part of a transaction.

use std::cell::RefCell;
use std::sync::Arc;

use phonegate_approval::attempts::StoredAttempts;
use rusqlite::params;

use super::attempts;
use super::errors::read_list;
use super::types::{self, WallTime};
use super::worker::Tx;
use crate::call::{CallRef, FailureReason};
use crate::store::millis::milliseconds;
use crate::store::{DEADLINE_GRACE, LEASE, Orphan, Owner, RecordKind};

/// Renews a lease.
pub(super) fn renew(tx: &Tx<'_>, owner: Owner) -> rusqlite::Result<()> {
    tx.database
        .prepare_cached(
            "INSERT INTO owners VALUES (?1, ?2) ON CONFLICT (owner) DO UPDATE SET lease = max(lease, excluded.lease)",
        )?
        .execute(params![owner, tx.now.saturating_add(milliseconds(LEASE))])
        .map(|_| ())
}

/// Ends an attempt that cannot be read, as soon as it is certainly over. Otherwise it would be pending for ever, with its
/// codes (S18).
fn end_unreadable(tx: &Tx<'_>, sequence: i64) -> rusqlite::Result<()> {
    let ended = tx
        .database
        .prepare_cached(
            "UPDATE attempts SET ended = ?2, ended_at = ?3, reason = ?4, text = ?5, holds_number = 0, codes = NULL
             WHERE sequence = ?1 AND ended IS NULL AND deadline + ?6 <= ?2",
        )?
        .execute(params![
            sequence,
            tx.now,
            tx.wall,
            FailureReason::Internal.name(),
            "Its record in the store cannot be read.",
            milliseconds(DEADLINE_GRACE)
        ])?;
    if ended > 0 {
        tx.has_codes.set(true);
    }
    Ok(())
}

/// Claims orphans. Returns those of the last claim again, unless its answer was received (`acked`).
pub(super) fn claim_orphans(tx: &Tx<'_>, owner: Owner, limit: usize, acked: bool) -> rusqlite::Result<Vec<Orphan>> {
    if acked {
        tx.database
            .prepare_cached("UPDATE attempts SET claim_unacked = 0 WHERE claim_unacked = 1 AND owner = ?1")?
            .execute([owner])?;
    }
    let mut orphans = tx.database.prepare_cached(
        "SELECT sequence, id, generation, number_hash, number, begun, deadline, started_at, backend, reference, codes
         FROM attempts LEFT JOIN owners USING (owner)
         WHERE ended IS NULL
             AND (owner <> ?1 AND coalesce(lease, 0) <= ?2 OR deadline + ?3 <= ?2 OR owner = ?1 AND claim_unacked = 1)
         ORDER BY deadline",
    )?;
    let orphan = |row: &rusqlite::Row<'_>| {
        let placed: (Option<Box<str>>, Option<String>) = (row.get("backend")?, row.get("reference")?);
        Ok(Orphan {
            attempt: types::attempt(row.get("id")?, row.get("generation")?),
            number: row.get("number_hash")?,
            masked: row.get("number")?,
            left: attempts::left(tx, row)?,
            started: row.get::<_, WallTime>("started_at")?.0,
            placed: placed.0.zip(placed.1.map(CallRef::new)),
            attempts: row.get::<_, Option<String>>("codes")?.map(|codes| Arc::new(StoredAttempts::from_text(codes))),
        })
    };
    let unreadable = RefCell::new(Vec::new());
    let orphan_or_unreadable = |row: &rusqlite::Row<'_>| {
        let found = orphan(row);
        if found.is_err() {
            unreadable.borrow_mut().push(row.get::<_, i64>("sequence")?);
        }
        found
    };
    let rows = orphans.query(params![owner, tx.now, milliseconds(DEADLINE_GRACE)])?;
    let orphans = read_list(tx, RecordKind::Attempt, rows, limit, orphan_or_unreadable)?;
    for sequence in unreadable.into_inner() {
        end_unreadable(tx, sequence)?;
    }
    for Orphan { attempt, .. } in &orphans {
        tx.database
            .prepare_cached("UPDATE attempts SET owner = ?3, claim_unacked = 1 WHERE id = ?1 AND generation = ?2")?
            .execute(params![attempt.id, types::generation(*attempt), owner])?;
    }
    if !orphans.is_empty() {
        renew(tx, owner)?;
        // The process that wrote the codes has ended, so this one removes them from the write-ahead log (S18).
        tx.has_codes.set(tx.has_codes.get() || orphans.iter().any(|orphan| orphan.attempts.is_some()));
    }
    Ok(orphans)
}
