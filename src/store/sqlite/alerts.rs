//! Alerts that wait for their delivery (S19). Each function is part of a transaction.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

use super::SqliteStore;
use super::errors::read_list;
use super::types::WallTime;
use super::worker::Tx;
use crate::store::alerts::{ENDED_ALERT_RETENTION, MAX_ENDED_ALERTS, NEVER_TRIED, REPEAT_WINDOW, alert_lease};
use crate::store::millis::milliseconds;
use crate::store::{
    AlertAdded, AlertStore, ClaimedAlert, DeliveryResult, ListedAlert, MAX_ALERT_WAIT, MAX_WAITING_ALERTS,
    MAX_WAITING_ALERTS_TOTAL, Owner, QueuedAlert, RecordKind, StoreError,
};

#[async_trait]
impl AlertStore for SqliteStore {
    async fn add_alert(&self, alert: &QueuedAlert) -> Result<AlertAdded, StoreError> {
        let alert = alert.clone();
        self.worker.write(move |tx| add(tx, &alert)).await
    }

    async fn claim_alerts(
        &self,
        owner: Owner,
        destinations: &[Box<str>],
        limit: usize,
    ) -> Result<Vec<ClaimedAlert>, StoreError> {
        // A read neither waits for other processes nor delays them, so it comes first: usually nothing is due.
        let keys = destinations.to_vec();
        if !self.worker.read(move |tx| is_any_due(tx, &keys)).await? {
            return Ok(Vec::new());
        }
        let keys = destinations.to_vec();
        self.worker.write(move |tx| claim(tx, owner, &keys, limit)).await
    }

    async fn record_delivery(&self, owner: Owner, id: Uuid, tried: &DeliveryResult) -> Result<bool, StoreError> {
        let tried = tried.clone();
        self.worker.write(move |tx| record(tx, owner, id, &tried)).await
    }

    async fn alerts(&self) -> Result<Vec<ListedAlert>, StoreError> {
        self.worker.read(list).await
    }
}

pub(super) fn add(tx: &Tx<'_>, alert: &QueuedAlert) -> rusqlite::Result<AlertAdded> {
    let QueuedAlert { id, destination, about, raised_at, content, is_urgent } = alert;
    let is_repeated = tx
        .database
        .prepare_cached("SELECT 1 FROM alerts WHERE destination = ?1 AND about = ?2 AND added > ?3 LIMIT 1")?
        .exists(params![destination, about, tx.now.saturating_sub(milliseconds(REPEAT_WINDOW))])?;
    if is_repeated {
        return Ok(AlertAdded::Repeated);
    }
    let is_full = tx
        .database
        .prepare_cached(
            "SELECT (SELECT count(*) FROM alerts WHERE ended IS NULL AND destination = ?1) >= ?2
                 OR (SELECT count(*) FROM alerts WHERE ended IS NULL) >= ?3",
        )?
        .query_row(params![destination, count(MAX_WAITING_ALERTS), count(MAX_WAITING_ALERTS_TOTAL)], |row| {
            row.get(0)
        })?;
    if is_full {
        return Ok(AlertAdded::Full);
    }
    tx.database
        .prepare_cached(
            "INSERT INTO alerts (id, destination, about, content, urgent, raised_at, added, due)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
        )?
        .execute(params![id.as_bytes(), destination, about, content, is_urgent, WallTime(*raised_at), tx.now])?;
    Ok(AlertAdded::New)
}

fn is_any_due(tx: &Tx<'_>, destinations: &[Box<str>]) -> rusqlite::Result<bool> {
    let mut due = tx.database.prepare_cached(
        "SELECT 1 FROM alerts WHERE ended IS NULL AND destination = ?1 AND urgent IN (0, 1) AND due <= ?2 LIMIT 1",
    )?;
    for destination in destinations {
        if due.exists(params![destination, tx.now])? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn claim(
    tx: &Tx<'_>,
    owner: Owner,
    destinations: &[Box<str>],
    limit: usize,
) -> rusqlite::Result<Vec<ClaimedAlert>> {
    let until = tx.now.saturating_add(milliseconds(alert_lease()));
    let mut claimed = Vec::new();
    for destination in destinations {
        let mut left = limit;
        for is_urgent in [true, false] {
            let due = due(tx, destination, is_urgent, left)?;
            left = left.saturating_sub(due.len());
            for (sequence, alert) in due {
                tx.database
                    .prepare_cached("UPDATE alerts SET claimed_by = ?2, due = ?3 WHERE sequence = ?1")?
                    .execute(params![sequence, owner, until])?;
                claimed.push(alert);
            }
        }
    }
    Ok(claimed)
}

/// Returns up to `limit` alerts that may be claimed, each with its sequence. Those that have been due for longest come first.
fn due(tx: &Tx<'_>, destination: &str, is_urgent: bool, limit: usize) -> rusqlite::Result<Vec<(i64, ClaimedAlert)>> {
    // Those that cannot be read stay due, until the sweep gives them up.
    let mut due = tx.database.prepare_cached(
        "SELECT sequence, id, content, failures FROM alerts
         WHERE ended IS NULL AND destination = ?1 AND urgent = ?2 AND due <= ?3 ORDER BY due, sequence",
    )?;
    read_list(tx, RecordKind::Alert, due.query(params![destination, is_urgent, tx.now])?, limit, |row| {
        let alert = ClaimedAlert {
            id: Uuid::from_bytes(row.get("id")?),
            destination: destination.into(),
            content: row.get("content")?,
            failures: row.get("failures")?,
        };
        Ok((row.get("sequence")?, alert))
    })
}

pub(super) fn record(tx: &Tx<'_>, owner: Owner, id: Uuid, tried: &DeliveryResult) -> rusqlite::Result<bool> {
    let claimed: Option<i64> = tx
        .database
        .prepare_cached("SELECT sequence FROM alerts WHERE id = ?1 AND claimed_by = ?2")?
        .query_row(params![id.as_bytes(), owner], |row| row.get(0))
        .optional()?;
    let Some(sequence) = claimed else { return Ok(false) };
    match tried {
        DeliveryResult::Delivered => tx
            .database
            .prepare_cached("UPDATE alerts SET claimed_by = NULL, ended = ?2, delivered_at = ?3 WHERE sequence = ?1")?
            .execute(params![sequence, tx.now, tx.wall])?,
        DeliveryResult::Failed { again_after, error } => tx
            .database
            .prepare_cached(
                "UPDATE alerts SET claimed_by = NULL, due = ?2, failures = failures + 1, error = ?3
                 WHERE sequence = ?1",
            )?
            .execute(params![sequence, tx.now.saturating_add(milliseconds(*again_after)), error])?,
        DeliveryResult::GivenUp { error } => tx
            .database
            .prepare_cached(
                "UPDATE alerts SET claimed_by = NULL, ended = ?2, failures = failures + 1, error = ?3
                 WHERE sequence = ?1",
            )?
            .execute(params![sequence, tx.now, error])?,
        DeliveryResult::Returned => tx
            .database
            .prepare_cached("UPDATE alerts SET claimed_by = NULL, due = ?2 WHERE sequence = ?1")?
            .execute(params![sequence, tx.now])?,
    };
    if matches!(tried, DeliveryResult::Delivered | DeliveryResult::GivenUp { .. }) {
        tx.database
            .prepare_cached(
                "DELETE FROM alerts WHERE sequence IN
                     (SELECT sequence FROM alerts WHERE ended IS NOT NULL ORDER BY ended DESC, sequence DESC
                      LIMIT -1 OFFSET ?1)",
            )?
            .execute([count(MAX_ENDED_ALERTS)])?;
    }
    Ok(true)
}

fn list(tx: &Tx<'_>) -> rusqlite::Result<Vec<ListedAlert>> {
    let mut alerts = tx.database.prepare_cached(
        "SELECT sequence, id, destination, content, raised_at, failures, error, delivered_at,
             ended IS NOT NULL AND delivered_at IS NULL AS is_given_up
         FROM alerts ORDER BY raised_at DESC, sequence DESC",
    )?;
    read_list(tx, RecordKind::Alert, alerts.query([])?, usize::MAX, |row| {
        Ok(ListedAlert {
            id: Uuid::from_bytes(row.get("id")?),
            destination: row.get("destination")?,
            content: row.get("content")?,
            raised_at: row.get::<_, WallTime>("raised_at")?.0,
            failures: row.get("failures")?,
            error: row.get("error")?,
            delivered_at: row.get::<_, Option<WallTime>>("delivered_at")?.map(|at| at.0),
            is_given_up: row.get("is_given_up")?,
        })
    })
}

/// Removes alerts that ended [`ENDED_ALERT_RETENTION`] ago, and gives up those that have waited for [`MAX_ALERT_WAIT`].
pub(super) fn sweep(tx: &Tx<'_>) -> rusqlite::Result<()> {
    tx.database
        .prepare_cached("DELETE FROM alerts WHERE ended <= ?1")?
        .execute([tx.now.saturating_sub(milliseconds(ENDED_ALERT_RETENTION))])?;
    tx.database
        .prepare_cached(
            "UPDATE alerts SET claimed_by = NULL, ended = ?2, error = coalesce(error, ?3)
             WHERE ended IS NULL AND added <= ?1",
        )?
        .execute(params![tx.now.saturating_sub(milliseconds(MAX_ALERT_WAIT)), tx.now, NEVER_TRIED])?;
    Ok(())
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
