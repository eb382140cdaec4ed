//! Ends the lock of one number.

use phonegate::call::GateEvent;
use phonegate::platform;
use phonegate::store::NumberLock;
use serde::Serialize;

use crate::audit_log::AuditLog;
use crate::commands::stored_number::StoredNumber;
use crate::error::{CommandError, Exit};
use crate::output;
use crate::store_reader::{KnownNumber, StoreReader, unknown_number};
use crate::time;

/// The line of `--json`. Scripts depend on its names.
#[derive(Serialize)]
struct UnlockRecord<'a> {
    event: &'static str,
    number_hash: String,
    number: &'a str,
    was_locked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locks: Option<u32>,
}

pub(super) fn run(
    number: &StoredNumber,
    reader: &StoreReader,
    log: impl FnOnce() -> Result<AuditLog, CommandError>,
    json: bool,
) -> Result<Exit, CommandError> {
    let KnownNumber { hashes, masked } = reader.known_number(&number.text())?;
    let locks = reader.block_on(reader.store.locks())?;
    let lock = locks.into_iter().find(|lock| hashes.contains(&lock.number));
    let masked = lock.as_ref().map(|lock| lock.masked.clone()).or(masked).unwrap_or_else(|| unknown_number(json));
    let log = log()?;
    let was_locked = reader.block_on(reader.store.unlock(&hashes))?;
    let by = format!("by {}", platform::user_name());
    match (was_locked, &lock) {
        (true, Some(lock)) => log.write(GateEvent::Unlocked, &masked, &format!("{by}; it was: {}", describe(lock))),
        // The number was locked after the list was read.
        (true, None) => log.write(GateEvent::Unlocked, &masked, &by),
        // Its denials are reset all the same.
        (false, _) => log.write(GateEvent::DenialsReset, &masked, &format!("{by}; it was not locked")),
    }
    if json {
        let lock = lock.as_ref().filter(|_| was_locked);
        output::json_line(&UnlockRecord {
            event: "unlocked",
            number_hash: hashes.first().map(ToString::to_string).unwrap_or_default(),
            number: &masked,
            was_locked,
            since: lock.map(|lock| time::utc(lock.since)),
            until: lock.map(|lock| time::utc(lock.until)),
            locks: lock.map(|lock| lock.locks),
        });
    } else if was_locked {
        output::print(&format!("{masked} is no longer locked; denials are counted from 0 again."));
    } else {
        output::print(&format!(
            "{masked} was not locked; denials are counted from 0 again. `phonegate limits list` shows locked numbers (a \
             number with an extension has a lock of its own)."
        ));
    }
    log.close(json, "the number was unlocked");
    Ok(Exit::Done)
}

/// Formats a lock for the audit log.
fn describe(lock: &NumberLock) -> String {
    let NumberLock { since, until, locks, .. } = lock;
    format!("locked from {} until {}, lock {locks} in a row", time::utc(*since), time::utc(*until))
}
