//! Opens the file.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::errors::to_store_error;
use super::schema;
use crate::store::StoreError;

/// How long SQLite waits for another process that writes.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(4);

/// Pause before another attempt to switch the journal.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// Opens the file, and makes it if it is missing. Migrates an older schema.
pub(super) fn open(file: &Path) -> Result<Connection, StoreError> {
    let mut database = connect(file).map_err(|error| to_store_error(&error))?;
    schema::check_application_id(&database)?;
    let mode = use_write_ahead_log(&database).map_err(|error| to_store_error(&error))?;
    if mode != "wal" {
        return Err(StoreError::refused(format_args!(
            "its journal cannot be a write-ahead log ({mode}); it must be on a disk of this machine"
        )));
    }
    database
        .execute_batch("PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;")
        .map_err(|error| to_store_error(&error))?;
    schema::migrate_to_newest(&mut database, file)?;
    Ok(database)
}

fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let database = Connection::open(file)?;
    database.busy_timeout(BUSY_TIMEOUT)?;
    database.set_prepared_statement_cache_capacity(64);
    Ok(database)
}

/// Switches the file to a write-ahead log, and returns the journal mode that it has then. If several processes switch a new
/// file at once, each has a lock that the others need, and SQLite refuses them without waiting
/// (<https://www.sqlite.org/c3ref/busy_handler.html>). So they try again.
fn use_write_ahead_log(database: &Connection) -> rusqlite::Result<String> {
    let until = Instant::now() + BUSY_TIMEOUT;
    loop {
        match database.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)) {
            Err(rusqlite::Error::SqliteFailure(failure, _))
                if failure.code == ErrorCode::DatabaseBusy && Instant::now() < until =>
            {
                std::thread::sleep(BUSY_PAUSE);
            }
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn commits_reach_the_disk_and_deleted_data_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let database = open(&folder.path().join("calls.db")).unwrap();
        let value_of = |pragma: &str| database.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).unwrap();
        // 2 is FULL.
        assert_eq!((value_of("synchronous"), value_of("secure_delete")), (2, 1));
    }
}
