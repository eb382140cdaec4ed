//! The secrets with which numbers in the file were hashed, and moving a number to the current one (S14).

use rusqlite::params;

use super::worker::Tx;
use super::{counters, limits, pins};
use crate::call::{HashedNumber, KeyFingerprint};
use crate::store::millis::milliseconds;
use crate::store::number_keys::{KEY_USE_INTERVAL, KEY_USE_RETENTION, missing_key};
use crate::store::{KeyUse, StoreError, StoredNumber};

/// The fingerprints, each with the time of its last use by the wall clock, in milliseconds since 1970.
type Used = Vec<(KeyFingerprint, i64)>;

fn used(tx: &Tx<'_>) -> rusqlite::Result<Used> {
    tx.database
        .prepare_cached("SELECT fingerprint, used_at FROM number_keys")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Rekeys a number that is about to be called to its current hash. Returns an error if the file has numbers that were
/// hashed with a key with which this number was not: they may include its blocks and limits.
pub(super) fn rekey_number(tx: &Tx<'_>, number: &StoredNumber) -> rusqlite::Result<Option<StoreError>> {
    let used = used(tx)?;
    let known: Vec<_> = number.fingerprints().collect();
    if let Some(error) = missing_key(used.iter().map(|(fingerprint, _)| *fingerprint), &known) {
        return Ok(Some(error));
    }
    let is_used = |other: &&HashedNumber| used.iter().any(|(fingerprint, _)| *fingerprint == other.fingerprint);
    for old in number.otherwise.iter().filter(is_used) {
        rekey(tx, old, number)?;
    }
    note_use(tx, &used, number.fingerprint)?;
    Ok(None)
}

/// As [`CallStore::use_number_keys`](crate::store::CallStore::use_number_keys).
pub(super) fn use_keys(tx: &Tx<'_>, known: &[KeyFingerprint], usage: KeyUse) -> rusqlite::Result<Option<StoreError>> {
    let used = used(tx)?;
    if let Some(error) = missing_key(used.iter().map(|(fingerprint, _)| *fingerprint), known) {
        return Ok(Some(error));
    }
    if let Some(current) = known.first().filter(|_| usage != KeyUse::Read) {
        note_use(tx, &used, *current)?;
    }
    if usage == KeyUse::WriteAny {
        tx.database.prepare_cached("UPDATE number_keys SET used_at = max(used_at, ?1)")?.execute([tx.wall])?;
    }
    Ok(None)
}

fn note_use(tx: &Tx<'_>, used: &Used, current: KeyFingerprint) -> rusqlite::Result<()> {
    let recent = tx.wall.saturating_sub(milliseconds(KEY_USE_INTERVAL));
    if used.iter().any(|(fingerprint, at)| *fingerprint == current && *at > recent) {
        return Ok(());
    }
    tx.database
        .prepare_cached(
            "INSERT INTO number_keys VALUES (?1, ?2)
             ON CONFLICT (fingerprint) DO UPDATE SET used_at = max(used_at, excluded.used_at)",
        )?
        .execute(params![current, tx.wall])
        .map(|_| ())
}

/// Moves the calls, counters, denials, blocks and the PIN of a number to its current hash. Of two blocks, the one that ends
/// later is kept.
fn rekey(tx: &Tx<'_>, old: &HashedNumber, number: &StoredNumber) -> rusqlite::Result<()> {
    for (old, new) in [(old.number, number.hash), (old.line, number.line_hash)] {
        tx.database
            .prepare_cached(
                "INSERT INTO blocks SELECT ?2, whole_line, number, reason, since_at, until_at FROM blocks
                     WHERE number_hash = ?1
                 ON CONFLICT (number_hash, whole_line) DO UPDATE
                     SET reason = excluded.reason, since_at = excluded.since_at, until_at = excluded.until_at
                     WHERE blocks.until_at IS NOT NULL
                         AND (excluded.until_at IS NULL OR excluded.until_at > blocks.until_at)",
            )?
            .execute(params![old, new])?;
        tx.database.prepare_cached("DELETE FROM blocks WHERE number_hash = ?1")?.execute([old])?;
    }
    pins::rekey(tx, old.number, number)?;
    limits::rekey(tx, old.number, number)?;
    let is_called: bool = tx
        .database
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM attempts WHERE number_hash = ?1)
                 OR EXISTS (SELECT 1 FROM attempts WHERE line_hash = ?2)",
        )?
        .query_row(params![old.number, old.line], |row| row.get(0))?;
    if !is_called {
        return Ok(());
    }
    // A unique index allows one ringing call per number. If there are two, which no process permits, the old one is
    // kept.
    tx.database
        .prepare_cached("UPDATE OR IGNORE attempts SET number_hash = ?2 WHERE number_hash = ?1")?
        .execute(params![old.number, number.hash])?;
    // The line's other numbers, too: their calls count for the line.
    tx.database
        .prepare_cached("UPDATE attempts SET line_hash = ?2 WHERE line_hash = ?1")?
        .execute(params![old.line, number.line_hash])?;
    counters::rekey(tx, old, number)
}

/// Deletes the fingerprints of keys that no number uses any more: every call, block and denial is newer than their last use.
pub(super) fn sweep(tx: &Tx<'_>) -> rusqlite::Result<()> {
    tx.database
        .prepare_cached(
            "DELETE FROM number_keys WHERE used_at + ?1 < ?2
                 AND NOT EXISTS (SELECT 1 FROM attempts WHERE started_at <= used_at + ?1)
                 AND NOT EXISTS (SELECT 1 FROM blocks WHERE since_at <= used_at + ?1)
                 AND NOT EXISTS (SELECT 1 FROM denials WHERE last_at <= used_at + ?1)
                 AND NOT EXISTS (SELECT 1 FROM pins WHERE key_fingerprint = fingerprint)",
        )?
        .execute(params![milliseconds(KEY_USE_RETENTION), tx.wall])
        .map(|_| ())
}
