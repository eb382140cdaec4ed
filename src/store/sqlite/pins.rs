//! PINs in the file (S15). Each function is part of a transaction.

use std::time::SystemTime;

use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, params};

use super::SqliteStore;
use super::errors::{naming_record, read_list};
use super::number_keys;
use super::types::WallTime;
use super::worker::Tx;
use crate::call::NumberHash;
use crate::store::millis::span;
use crate::store::pins::{Guesses, PinLock};
use crate::store::{
    NewPin, PepperFingerprint, PinGuess, PinLimits, PinState, PinStore, PinToCompare, RecordKind, StoreError,
    StoredNumber, StoredPin,
};

#[async_trait]
impl PinStore for SqliteStore {
    async fn set_pin(&self, pin: &NewPin) -> Result<(), StoreError> {
        let pin = pin.clone();
        self.worker.write(move |tx| set(tx, &pin)).await?.map_or(Ok(()), Err)
    }

    async fn remove_pin(&self, numbers: &[NumberHash]) -> Result<bool, StoreError> {
        let numbers = numbers.to_vec();
        self.worker.write(move |tx| remove(tx, &numbers)).await
    }

    async fn unlock_pin(&self, numbers: &[NumberHash]) -> Result<bool, StoreError> {
        let numbers = numbers.to_vec();
        self.worker.write(move |tx| unlock(tx, &numbers)).await
    }

    async fn pins(&self) -> Result<Vec<StoredPin>, StoreError> {
        self.worker.read(list).await
    }

    async fn pin_state(&self, numbers: &[NumberHash]) -> Result<PinState, StoreError> {
        let numbers = numbers.to_vec();
        self.worker.read(move |tx| state(tx, &numbers)).await
    }

    async fn begin_pin_guess(
        &self,
        numbers: &[NumberHash],
        pepper: PepperFingerprint,
        limits: &PinLimits,
    ) -> Result<PinGuess, StoreError> {
        let (numbers, limits) = (numbers.to_vec(), *limits);
        self.worker.write(move |tx| begin_guess(tx, &numbers, pepper, &limits)).await?
    }

    async fn confirm_pin_guess(&self, numbers: &[NumberHash], compared: &PinToCompare) -> Result<bool, StoreError> {
        let (numbers, compared) = (numbers.to_vec(), compared.clone());
        self.worker.write(move |tx| was_right(tx, &numbers, &compared)).await
    }

    async fn check_pepper(&self, pepper: PepperFingerprint) -> Result<(), StoreError> {
        self.worker.read(move |tx| other_pepper(tx, pepper)).await?.map_or(Ok(()), Err)
    }
}

/// A stored PIN, with its guesses.
struct Found {
    number: NumberHash,
    hash: Box<str>,
    guesses: Guesses,
}

fn find(tx: &Tx<'_>, numbers: &[NumberHash]) -> rusqlite::Result<Option<Found>> {
    for number in numbers {
        let found = tx
            .database
            .prepare_cached(
                "SELECT number_hash, hash, guesses, forgiven, locked_until, locked_by FROM pins WHERE number_hash = ?1",
            )?
            .query_row([number], |row| {
                Ok(Found { number: row.get("number_hash")?, hash: row.get("hash")?, guesses: guesses(row)? })
            })
            .optional()
            .map_err(naming_record(RecordKind::Pin))?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn guesses(row: &Row<'_>) -> rusqlite::Result<Guesses> {
    let count = |column: &str| Ok::<_, rusqlite::Error>(u64::try_from(row.get::<_, i64>(column)?).unwrap_or_default());
    let until: Option<i64> = row.get("locked_until")?;
    // Without its guess, no right PIN ends the lock.
    let by = row.get::<_, Option<i64>>("locked_by")?.and_then(|by| u64::try_from(by).ok()).unwrap_or(u64::MAX);
    let lock = until.map(|until| PinLock { until, by });
    Ok(Guesses { begun: count("guesses")?, forgiven: count("forgiven")?, lock })
}

fn write(tx: &Tx<'_>, number: NumberHash, guesses: &Guesses) -> rusqlite::Result<()> {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    tx.database
        .prepare_cached(
            "UPDATE pins SET guesses = ?2, forgiven = ?3, locked_until = ?4, locked_by = ?5 WHERE number_hash = ?1",
        )?
        .execute(params![
            number,
            count(guesses.begun),
            count(guesses.forgiven),
            guesses.lock.map(|lock| lock.until),
            guesses.lock.map(|lock| count(lock.by)),
        ])
        .map(|_| ())
}

/// Returns an error if the PINs in the file were made with another pepper.
fn other_pepper(tx: &Tx<'_>, pepper: PepperFingerprint) -> rusqlite::Result<Option<StoreError>> {
    // All rows have the same pepper.
    let used: Option<String> =
        tx.database.prepare_cached("SELECT pepper FROM pins LIMIT 1")?.query_row([], |row| row.get(0)).optional()?;
    Ok(used.filter(|used| *used != pepper.to_string()).map(StoreError::pepper_mismatch))
}

fn set(tx: &Tx<'_>, pin: &NewPin) -> rusqlite::Result<Option<StoreError>> {
    if let Some(error) = other_pepper(tx, pin.pepper)? {
        return Ok(Some(error));
    }
    // This also moves a PIN that the number has by another hash.
    if let Some(error) = number_keys::rekey_number(tx, &pin.number)? {
        return Ok(Some(error));
    }
    let NewPin { number, hash, pepper, set_at } = pin;
    tx.database
        .prepare_cached(
            "INSERT INTO pins (number_hash, key_fingerprint, number, hash, pepper, set_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (number_hash) DO UPDATE SET key_fingerprint = excluded.key_fingerprint,
                 number = excluded.number, hash = excluded.hash, pepper = excluded.pepper, set_at = excluded.set_at,
                 forgiven = guesses, locked_until = NULL, locked_by = NULL",
        )?
        .execute(params![number.hash, number.fingerprint, number.masked, hash, pepper, WallTime(*set_at)])?;
    Ok(None)
}

fn remove(tx: &Tx<'_>, numbers: &[NumberHash]) -> rusqlite::Result<bool> {
    let mut is_removed = false;
    for number in numbers {
        let removed = tx.database.prepare_cached("DELETE FROM pins WHERE number_hash = ?1")?.execute([number])?;
        is_removed |= removed > 0;
    }
    Ok(is_removed)
}

fn unlock(tx: &Tx<'_>, numbers: &[NumberHash]) -> rusqlite::Result<bool> {
    let Some(mut found) = find(tx, numbers)? else { return Ok(false) };
    found.guesses.forgive_all();
    write(tx, found.number, &found.guesses).map(|()| true)
}

fn list(tx: &Tx<'_>) -> rusqlite::Result<Vec<StoredPin>> {
    let mut pins = tx.database.prepare_cached(
        "SELECT number_hash, number, set_at, guesses, forgiven, locked_until, locked_by FROM pins ORDER BY set_at DESC",
    )?;
    read_list(tx, RecordKind::Pin, pins.query([])?, usize::MAX, |row| {
        let (failures, left) = guesses(row)?.state(tx.now);
        Ok(StoredPin {
            number: row.get("number_hash")?,
            masked: row.get("number")?,
            set_at: row.get::<_, WallTime>("set_at")?.0,
            failures,
            locked_until: left.map(|left| wall(tx, left)),
        })
    })
}

fn state(tx: &Tx<'_>, numbers: &[NumberHash]) -> rusqlite::Result<PinState> {
    Ok(match find(tx, numbers)?.map(|found| found.guesses.state(tx.now)) {
        None => PinState::NotSet,
        Some((_, Some(left))) => PinState::Locked { until: wall(tx, left) },
        Some((_, None)) => PinState::Open,
    })
}

fn begin_guess(
    tx: &Tx<'_>,
    numbers: &[NumberHash],
    pepper: PepperFingerprint,
    limits: &PinLimits,
) -> rusqlite::Result<Result<PinGuess, StoreError>> {
    let Some(mut found) = find(tx, numbers)? else { return Ok(Ok(PinGuess::NotSet)) };
    if let Some(error) = other_pepper(tx, pepper)? {
        return Ok(Err(error));
    }
    let before = found.guesses.clone();
    let answer = match found.guesses.begin(tx.now, limits) {
        Ok(guess) => PinGuess::Compare(PinToCompare { hash: found.hash, guess }),
        Err(until) => PinGuess::Locked { until: wall(tx, until.saturating_sub(tx.now)) },
    };
    if found.guesses != before {
        write(tx, found.number, &found.guesses)?;
    }
    Ok(Ok(answer))
}

fn was_right(tx: &Tx<'_>, numbers: &[NumberHash], compared: &PinToCompare) -> rusqlite::Result<bool> {
    let Some(mut found) = find(tx, numbers)?.filter(|found| found.hash == compared.hash) else { return Ok(false) };
    found.guesses.was_right(compared.guess);
    write(tx, found.number, &found.guesses).map(|()| true)
}

/// Moves the PIN of a number to its current hash. If it has one there, that is kept.
pub(super) fn rekey(tx: &Tx<'_>, old: NumberHash, number: &StoredNumber) -> rusqlite::Result<()> {
    tx.database
        .prepare_cached("UPDATE OR IGNORE pins SET number_hash = ?2, key_fingerprint = ?3 WHERE number_hash = ?1")?
        .execute(params![old, number.hash, number.fingerprint])?;
    tx.database.prepare_cached("DELETE FROM pins WHERE number_hash = ?1")?.execute([old]).map(|_| ())
}

/// Returns the wall-clock time `left` milliseconds from now.
fn wall(tx: &Tx<'_>, left: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(span(tx.wall.saturating_add(left))).unwrap_or(SystemTime::UNIX_EPOCH)
}
