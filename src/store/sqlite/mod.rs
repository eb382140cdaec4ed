//! A store in a SQLite file on this machine, for the service and for the programs that read it at the same time.
//!
//! One thread owns the database ([`worker`]); operations that wait at the same time share a commit. The journal is a
//! write-ahead log, so a reader never waits for the writer. A commit is on the disk before its operation returns (S1:
//! `synchronous = FULL`, <https://www.sqlite.org/pragma.html#pragma_synchronous>).

mod alerts;
mod attempts;
mod audit;
mod backup;
mod begin;
mod clock;
mod codes;
mod config;
#[cfg(test)]
mod cost;
mod counters;
mod errors;
mod file;
mod limits;
mod migration_backup;
mod number_keys;
mod ownership;
mod pins;
mod record;
mod refused;
mod restore;
mod schema;
mod sweep;
mod types;

mod worker;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::audit::{Query, Row, Step};
use super::unreadable::Unreadable;
use super::{
    Begun, Block, CallStore, EndRequest, Ended, KeyUse, LatestAttempt, Limits, Lockout, NewAttempt, Orphan, Owner,
    RecordedChange, Scope, StoreError, StoreErrorCause, UnreadableCounts,
};
use crate::call::{Attempt, CallId, KeyFingerprint, NumberHash};
use crate::platform;
pub use backup::back_up;
use clock::Clock;
pub use config::SqliteConfig;
pub use migration_backup::{SchemaVersion, back_up_before_migration, backup_files, new_backup, schema_version};
pub use restore::{OnlyNewer, Restore};
use worker::{Tx, Worker};

/// A store in a file.
pub struct SqliteStore {
    worker: Worker,
    file: Box<Path>,
    /// Whether the answer of the last claim was received (S9).
    claim_acked: AtomicBool,
    unreadable: Arc<Unreadable>,
}

impl SqliteStore {
    /// Opens the file. A missing one is made, and only this user can use it. One with an older schema is copied and then
    /// migrated.
    ///
    /// # Errors
    /// If the file cannot be opened, belongs to another program, or has the schema of a newer version.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        Self::open_with_clock(file, SystemTime::now)
    }

    /// As [`SqliteStore::open`], with another wall clock, for tests.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn open_with_clock(file: &Path, wall: fn() -> SystemTime) -> Result<Self, StoreError> {
        // SQLite gives its other files the same permissions. A file that exists is not opened: closing it again would
        // release the locks of another connection of this process (fcntl(2), "Record locks").
        match platform::private_file().write(true).create_new(true).open(file) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(StoreError::unavailable(error).caused_by(Some(StoreErrorCause::FileInaccessible)));
            }
            _ => {}
        }
        let database = file::open(file)?;
        let unreadable = Arc::<Unreadable>::default();
        let worker = Worker::start(database, Clock::new(wall), Arc::clone(&unreadable));
        let worker = worker.map_err(StoreError::unavailable)?;
        Ok(Self { worker, file: file.into(), claim_acked: AtomicBool::new(false), unreadable })
    }
}

#[async_trait]
impl CallStore for SqliteStore {
    fn scope(&self) -> Scope {
        Scope::Machine
    }

    async fn begin(&self, new: &NewAttempt, limits: &Limits) -> Result<Begun, StoreError> {
        let (new, limits) = (new.clone(), *limits);
        let begin = move |tx: &Tx<'_>| match number_keys::rekey_number(tx, &new.number)? {
            Some(error) => Ok(Err(error)),
            None => begin::begin(tx, &new, &limits).map(Ok),
        };
        self.worker.begin(begin).await?
    }

    async fn end(&self, end: &EndRequest) -> Result<Ended, StoreError> {
        let end = end.clone();
        self.worker.write(move |tx| attempts::end(tx, &end)).await
    }

    async fn record(&self, changes: &[RecordedChange]) -> Result<Vec<Lockout>, StoreError> {
        let changes = changes.to_vec();
        self.worker
            .write(move |tx| changes.iter().filter_map(|change| record::record(tx, change).transpose()).collect())
            .await
    }

    async fn use_approval(&self, attempt: Attempt, owner: Owner) -> Result<bool, StoreError> {
        self.worker.write(move |tx| attempts::use_approval(tx, attempt, owner)).await
    }

    async fn find(&self, id: CallId) -> Result<Option<LatestAttempt>, StoreError> {
        self.worker.read(move |tx| attempts::find(tx, id)).await
    }

    async fn renew(&self, owner: Owner) -> Result<(), StoreError> {
        self.worker.write(move |tx| ownership::renew(tx, owner)).await
    }

    async fn claim_orphans(&self, owner: Owner, limit: usize) -> Result<Vec<Orphan>, StoreError> {
        // The caller may stop waiting, and then the answer is lost. The flag stays false, and the claim is returned again.
        let acked = self.claim_acked.swap(false, Ordering::AcqRel);
        let orphans = self.worker.count(move |tx| ownership::claim_orphans(tx, owner, limit, acked)).await?;
        self.claim_acked.store(true, Ordering::Release);
        Ok(orphans)
    }

    fn unreadable(&self) -> UnreadableCounts {
        self.unreadable.counts()
    }

    async fn block(&self, block: &Block) -> Result<(), StoreError> {
        let block = block.clone();
        self.worker.write(move |tx| audit::block(tx, &block)).await
    }

    async fn unblock(&self, number: NumberHash) -> Result<bool, StoreError> {
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
        while self.worker.write(move |tx| sweep::sweep(tx, keep)).await? {}
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
