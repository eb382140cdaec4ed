//! Removes what has expired (S17).

use std::time::Duration;

use rusqlite::params;

use super::worker::Tx;
use super::{alerts, counters, limits, number_keys};
use crate::store::millis::milliseconds;

/// Maximum number of attempts that one transaction removes. Calls wait while it runs.
const PAGE: u32 = 500;

/// Removes some of what has expired. Returns whether there may be more.
pub(super) fn sweep(tx: &Tx<'_>, keep: Duration) -> rusqlite::Result<bool> {
    // Either clock may be ahead for a while.
    let (old, old_by_wall) = (tx.now - milliseconds(keep), tx.wall - milliseconds(keep));
    let ended: Vec<i64> = tx
        .database
        .prepare_cached("SELECT sequence FROM attempts WHERE ended < ?1 AND ended_at < ?2 ORDER BY ended LIMIT ?3")?
        .query_map(params![old, old_by_wall, PAGE], |row| row.get(0))?
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
    let has_more_counters = counters::sweep(tx, PAGE)?;
    Ok(has_more_counters || ended.len() == PAGE as usize)
}
