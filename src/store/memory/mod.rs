//! A store in the memory of the process, which is lost when the process ends. For the tool's test calls, for tests, and
//! for trials.

mod alerts;
mod calls;
mod config;
mod counters;
mod limits;
mod number_keys;
mod pins;
mod record;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;

use self::alerts::Alerts;
use self::calls::Calls;
pub use self::config::MemoryConfig;
use super::audit::{Query, Row, Step};
use super::{
    Begun, Block, CallStore, EndRequest, Ended, KeyUse, LatestAttempt, Limits, Lockout, NewAttempt, Orphan, Owner,
    RecordedChange, Scope, StoreError,
};
use crate::call::{Attempt, CallId, KeyFingerprint, NumberHash};

/// A store in memory. Its clock is the monotonic clock (S10). A mutex makes each operation atomic (S2).
#[derive(Default)]
pub struct MemoryStore {
    calls: Mutex<Calls>,
    alerts: Mutex<Alerts>,
}

#[async_trait]
impl CallStore for MemoryStore {
    fn scope(&self) -> Scope {
        Scope::Process
    }

    async fn begin(&self, new: &NewAttempt, limits: &Limits) -> Result<Begun, StoreError> {
        self.calls.lock().begin(new, limits, Instant::now())
    }

    async fn end(&self, end: &EndRequest) -> Result<Ended, StoreError> {
        Ok(self.calls.lock().end(end, Instant::now()))
    }

    async fn record(&self, changes: &[RecordedChange]) -> Result<Vec<Lockout>, StoreError> {
        let mut calls = self.calls.lock();
        Ok(changes.iter().filter_map(|recorded| calls.record(recorded, Instant::now())).collect())
    }

    async fn use_approval(&self, attempt: Attempt, owner: Owner) -> Result<bool, StoreError> {
        Ok(self.calls.lock().use_approval(attempt, owner))
    }

    async fn find(&self, id: CallId) -> Result<Option<LatestAttempt>, StoreError> {
        Ok(self.calls.lock().find(id, Instant::now()))
    }

    async fn renew(&self, owner: Owner) -> Result<(), StoreError> {
        self.calls.lock().renew(owner, Instant::now());
        Ok(())
    }

    async fn claim_orphans(&self, owner: Owner, limit: usize) -> Result<Vec<Orphan>, StoreError> {
        Ok(self.calls.lock().claim_orphans(owner, limit, Instant::now()))
    }

    async fn block(&self, block: &Block) -> Result<(), StoreError> {
        self.calls.lock().block(block.clone());
        Ok(())
    }

    async fn unblock(&self, number: NumberHash) -> Result<bool, StoreError> {
        Ok(self.calls.lock().unblock(number))
    }

    async fn blocks(&self) -> Result<Vec<Block>, StoreError> {
        Ok(self.calls.lock().blocks())
    }

    async fn use_number_keys(&self, known: &[KeyFingerprint], usage: KeyUse) -> Result<(), StoreError> {
        self.calls.lock().use_number_keys(known, usage)
    }

    async fn rows(&self, query: &Query) -> Result<Vec<Row>, StoreError> {
        Ok(self.calls.lock().rows(query))
    }

    async fn steps(&self, attempt: Attempt) -> Result<Vec<Step>, StoreError> {
        Ok(self.calls.lock().steps(attempt))
    }

    async fn sweep(&self, keep: Duration) -> Result<(), StoreError> {
        self.calls.lock().sweep(keep, Instant::now());
        self.alerts.lock().sweep(tokio::time::Instant::now());
        Ok(())
    }

    async fn check(&self) -> Result<String, StoreError> {
        Ok("in memory: calls are lost when the process ends".to_owned())
    }
}
