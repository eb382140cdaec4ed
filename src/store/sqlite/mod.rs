//! Calls in a file of SQLite on this machine: the service's, and whoever reads it beside it.
//!
//! One thread owns the database ([`worker`]); commits are shared by what waits for them. The journal is a write-ahead
//! log, so that a reader never waits for the writer, and each commit is on the disk before it is told (`synchronous =
//! FULL`, <https://www.sqlite.org/pragma.html#pragma_synchronous>).

mod alerts;
mod audit;
mod backup;
mod begin;
mod calls;
mod clock;
mod codes;
#[cfg(test)]
mod cost;
mod counters;
mod errors;
mod limits;
mod number_keys;
mod pins;
mod restore;
mod schema;
mod types;
mod versions;
mod worker;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode};

use super::audit::{Query, Row, Step};
use super::{
    Begun, Block, CallStore, EndRequest, Ended, KeyUse, LatestAttempt, Limits, Lockout, NewAttempt, Orphan, Owner,
    RecordedChange, Scope, StoreError, StoreErrorCause,
};
use crate::call::{Attempt, CallId, KeyFingerprint, NumberKey};
use crate::platform;
pub use backup::back_up;
use clock::Clock;
use errors::to_store_error;
pub use restore::{OnlyNewer, Restore};
pub use versions::{SchemaVersion, back_up_before_migration, kept_beside, new_backup, schema_version};
use worker::{Tx, Worker};

/// How long SQLite waits for another process that writes.
const BUSY_LIMIT: Duration = Duration::from_secs(4);
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// A store in a file.
pub struct SqliteStore {
    worker: Worker,
    file: Box<Path>,
    /// Has the last answer to a taking up been got?
    got: AtomicBool,
}

impl SqliteStore {
    /// Opens the file, or makes it, for this user alone; copies an older one and brings it to this version's schema.
    ///
    /// # Errors
    /// If it cannot be opened, is another program's, or has the schema of a newer version.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        Self::open_with_clock(file, SystemTime::now)
    }

    /// As [`SqliteStore::open`], with a wall clock of one's own.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn open_with_clock(file: &Path, wall: fn() -> SystemTime) -> Result<Self, StoreError> {
        // SQLite gives the files beside it the same permissions. One that is there is not opened: to close it again would
        // take the locks of a connection that this process may have (fcntl(2), "Record locks").
        match platform::private_file().write(true).create_new(true).open(file) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(StoreError::unavailable(error).caused_by(Some(StoreErrorCause::FileInaccessible)));
            }
            _ => {}
        }
        let database = open(file)?;
        let worker = Worker::start(database, Clock::new(wall)).map_err(StoreError::unavailable)?;
        Ok(Self { worker, file: file.into(), got: AtomicBool::new(false) })
    }
}

fn open(file: &Path) -> Result<Connection, StoreError> {
    let mut database = connect(file).map_err(|error| to_store_error(&error))?;
    schema::check_ours(&database)?;
    let mode = turn_to_write_ahead_log(&database).map_err(|error| to_store_error(&error))?;
    if mode != "wal" {
        return Err(StoreError::refused(format_args!(
            "its journal cannot be a write-ahead log ({mode}); it must be on a disk of this machine"
        )));
    }
    database
        .execute_batch("PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;")
        .map_err(|error| to_store_error(&error))?;
    schema::bring_up_to_date(&mut database, file)?;
    Ok(database)
}

fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let database = Connection::open(file)?;
    database.busy_timeout(BUSY_LIMIT)?;
    database.set_prepared_statement_cache_capacity(64);
    Ok(database)
}

/// Returns the kind of journal that the file has now. Of those who turn a new file at once, each has a lock that the others
/// need: SQLite refuses them without letting them wait (<https://www.sqlite.org/c3ref/busy_handler.html>), so they ask
/// again.
fn turn_to_write_ahead_log(database: &Connection) -> rusqlite::Result<String> {
    let until = Instant::now() + BUSY_LIMIT;
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

#[async_trait]
impl CallStore for SqliteStore {
    fn scope(&self) -> Scope {
        Scope::Machine
    }

    async fn begin(&self, new: &NewAttempt, limits: &Limits) -> Result<Begun, StoreError> {
        let (new, limits) = (new.clone(), *limits);
        let begin = move |tx: &Tx<'_>| match number_keys::bring_up_to_date(tx, &new.number)? {
            Some(error) => Ok(Err(error)),
            None => begin::begin(tx, &new, &limits).map(Ok),
        };
        self.worker.begin(begin).await?
    }

    async fn end(&self, end: &EndRequest) -> Result<Ended, StoreError> {
        let end = end.clone();
        self.worker.write(move |tx| calls::end(tx, &end)).await
    }

    async fn record(&self, updates: &[RecordedChange]) -> Result<Vec<Lockout>, StoreError> {
        let updates = updates.to_vec();
        self.worker
            .write(move |tx| updates.iter().filter_map(|update| calls::record(tx, update).transpose()).collect())
            .await
    }

    async fn use_approval(&self, attempt: Attempt, owner: Owner) -> Result<bool, StoreError> {
        self.worker.write(move |tx| calls::use_approval(tx, attempt, owner)).await
    }

    async fn find(&self, id: CallId) -> Result<Option<LatestAttempt>, StoreError> {
        self.worker.read(move |tx| calls::find(tx, id)).await
    }

    async fn renew(&self, owner: Owner) -> Result<(), StoreError> {
        self.worker.write(move |tx| calls::renew(tx, owner)).await
    }

    async fn claim_orphans(&self, owner: Owner, limit: usize) -> Result<Vec<Orphan>, StoreError> {
        // An answer may come too late for whoever asked, and then it is lost.
        let got = self.got.swap(false, Ordering::AcqRel);
        let orphans = self.worker.count(move |tx| calls::claim_orphans(tx, owner, limit, got)).await?;
        self.got.store(true, Ordering::Release);
        Ok(orphans)
    }

    async fn block(&self, block: &Block) -> Result<(), StoreError> {
        let block = block.clone();
        self.worker.write(move |tx| audit::block(tx, &block)).await
    }

    async fn unblock(&self, number: NumberKey) -> Result<bool, StoreError> {
        self.worker.write(move |tx| audit::unblock(tx, number)).await
    }

    async fn blocks(&self) -> Result<Vec<Block>, StoreError> {
        self.worker.read(audit::blocks).await
    }

    async fn use_number_keys(&self, known: &[KeyFingerprint], usage: KeyUse) -> Result<(), StoreError> {
        let known = known.to_vec();
        let use_keys = move |tx: &Tx<'_>| number_keys::use_keys(tx, &known, usage);
        let error = match usage {
            KeyUse::Read => self.worker.read(use_keys).await?,
            KeyUse::Write | KeyUse::WriteAny => self.worker.write(use_keys).await?,
        };
        error.map_or(Ok(()), Err)
    }

    async fn rows(&self, query: &Query) -> Result<Vec<Row>, StoreError> {
        let query = query.clone();
        self.worker.read(move |tx| audit::rows(tx, &query)).await
    }

    async fn steps(&self, attempt: Attempt) -> Result<Vec<Step>, StoreError> {
        self.worker.read(move |tx| audit::steps(tx, attempt)).await
    }

    async fn sweep(&self, keep: Duration) -> Result<(), StoreError> {
        while self.worker.write(move |tx| calls::sweep(tx, keep)).await? {}
        Ok(())
    }

    fn is_working(&self) -> bool {
        self.worker.is_working()
    }

    async fn check(&self) -> Result<String, StoreError> {
        let count = self.worker.read(audit::count).await?;
        Ok(format!("{} ({count} calls)", self.file.display()))
    }

    fn close(&self, within: Duration) -> bool {
        self.worker.close(within)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_commit_is_on_the_disk_before_it_is_told_and_what_is_deleted_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let database = open(&folder.path().join("calls.db")).unwrap();
        let set = |pragma: &str| database.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).unwrap();
        // 2 is FULL.
        assert_eq!((set("synchronous"), set("secure_delete")), (2, 1));
    }
}
