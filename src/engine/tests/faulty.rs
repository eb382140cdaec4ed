//! A store in memory with the faults that a test asks for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

use crate::call::{Attempt, CallEvent, CallId, KeyFingerprint, NumberHash};
use crate::store::{
    AlertAdded, AlertStore, AttemptChange, Begun, Block, CallStore, ClaimedAlert, DeliveryResult, EndRequest, Ended,
    KeyUse, LatestAttempt, LimitStore, Limits, ListedAlert, Lockout, MemoryStore, NewAttempt, NewPin, NumberLock,
    Orphan, Owner, PepperFingerprint, PinGuess, PinLimits, PinState, PinStore, PinToCompare, Query, QueuedAlert,
    RecordKind, RecordedChange, Row, Scope, Step, StoreError, StoredPin, UnreadableCounts, Usage,
};

pub(super) struct Faulty {
    memory: MemoryStore,
    /// Refuses steps of this event.
    refuses: Option<CallEvent>,
    /// While it has no permit, changes and blocks wait, and ends fail.
    writes: Semaphore,
    pub(super) asked_to_block: Mutex<usize>,
    pub(super) can_renew: AtomicBool,
    /// If it is set, no call ever begins. The value says whether the store is working meanwhile.
    begins_nothing: Option<bool>,
    /// Whether the answer to each end is lost after the end was written.
    loses_ends: bool,
    /// The time to keep at each sweep.
    pub(super) swept: Mutex<Vec<Duration>>,
    /// Returned by every claim, as by a store whose clock is ahead of the deadlines.
    pub(super) orphans: Mutex<Vec<Orphan>>,
    /// When calls were claimed.
    pub(super) claimed: Mutex<Vec<Instant>>,
    /// Whether claims leave out attempts that cannot be read.
    pub(super) has_unreadable: AtomicBool,
}

impl Default for Faulty {
    fn default() -> Self {
        Self {
            memory: MemoryStore::default(),
            refuses: None,
            writes: Semaphore::new(1),
            asked_to_block: Mutex::default(),
            can_renew: AtomicBool::new(true),
            begins_nothing: None,
            loses_ends: false,
            swept: Mutex::default(),
            orphans: Mutex::default(),
            claimed: Mutex::default(),
            has_unreadable: AtomicBool::default(),
        }
    }
}

impl Faulty {
    pub(super) fn that_refuses(event: CallEvent) -> Self {
        Self { refuses: Some(event), ..Self::default() }
    }

    pub(super) fn that_renews(can_renew: bool) -> Self {
        Self { can_renew: AtomicBool::new(can_renew), ..Self::default() }
    }

    pub(super) fn that_waits() -> Self {
        Self { writes: Semaphore::new(0), ..Self::default() }
    }

    pub(super) fn that_begins_nothing(is_working: bool) -> Self {
        Self { begins_nothing: Some(is_working), ..Self::default() }
    }

    pub(super) fn that_loses_ends() -> Self {
        Self { loses_ends: true, ..Self::default() }
    }

    pub(super) fn unblock_writes(&self) {
        self.writes.add_permits(1);
    }

    async fn wait(&self) {
        drop(self.writes.acquire().await.unwrap());
    }
}

fn unreachable_store() -> StoreError {
    StoreError::unavailable("a test")
}

#[async_trait]
impl CallStore for Faulty {
    /// Another process may claim its calls.
    fn scope(&self) -> Scope {
        Scope::Machine
    }

    async fn begin(&self, new: &NewAttempt, limits: &Limits) -> Result<Begun, StoreError> {
        match self.begins_nothing {
            Some(_) => std::future::pending().await,
            None => self.memory.begin(new, limits).await,
        }
    }

    async fn end(&self, end: &EndRequest) -> Result<Ended, StoreError> {
        if self.writes.available_permits() == 0 {
            return Err(unreachable_store());
        }
        let ended = self.memory.end(end).await;
        if self.loses_ends { Err(unreachable_store()) } else { ended }
    }

    async fn record(&self, updates: &[RecordedChange]) -> Result<Vec<Lockout>, StoreError> {
        self.wait().await;
        let is_refused = |update: &RecordedChange| match &update.change {
            AttemptChange::Step { event, .. } => Some(*event) == self.refuses,
            _ => false,
        };
        match updates.iter().any(is_refused) {
            true => Err(StoreError::refused("strange")),
            false => self.memory.record(updates).await,
        }
    }

    async fn use_approval(&self, attempt: Attempt, owner: Owner) -> Result<bool, StoreError> {
        self.memory.use_approval(attempt, owner).await
    }

    async fn find(&self, id: CallId) -> Result<Option<LatestAttempt>, StoreError> {
        self.memory.find(id).await
    }

    async fn renew(&self, owner: Owner) -> Result<(), StoreError> {
        if self.can_renew.load(Ordering::Relaxed) { self.memory.renew(owner).await } else { Err(unreachable_store()) }
    }

    async fn claim_orphans(&self, owner: Owner, most: usize) -> Result<Vec<Orphan>, StoreError> {
        self.claimed.lock().push(Instant::now());
        let orphans = self.orphans.lock().clone();
        if orphans.is_empty() {
            return self.memory.claim_orphans(owner, most).await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(orphans)
    }

    fn unreadable(&self) -> UnreadableCounts {
        self.has_unreadable.load(Ordering::Relaxed).then_some(RecordKind::Attempt).into_iter().collect()
    }

    async fn block(&self, block: &Block) -> Result<(), StoreError> {
        *self.asked_to_block.lock() += 1;
        self.wait().await;
        self.memory.block(block).await
    }

    async fn unblock(&self, number: NumberHash) -> Result<bool, StoreError> {
        self.memory.unblock(number).await
    }

    async fn blocks(&self) -> Result<Vec<Block>, StoreError> {
        self.memory.blocks().await
    }

    async fn use_number_keys(&self, known: &[KeyFingerprint], usage: KeyUse) -> Result<(), StoreError> {
        self.memory.use_number_keys(known, usage).await
    }

    async fn rows(&self, query: &Query) -> Result<Vec<Row>, StoreError> {
        self.memory.rows(query).await
    }

    async fn steps(&self, attempt: Attempt) -> Result<Vec<Step>, StoreError> {
        self.memory.steps(attempt).await
    }

    async fn sweep(&self, keep: Duration) -> Result<(), StoreError> {
        self.swept.lock().push(keep);
        self.memory.sweep(keep).await
    }

    fn is_working(&self) -> bool {
        self.begins_nothing.unwrap_or_default()
    }

    async fn check(&self) -> Result<String, StoreError> {
        self.memory.check().await
    }
}

/// Locks without faults.
#[async_trait]
impl LimitStore for Faulty {
    async fn locks(&self) -> Result<Vec<NumberLock>, StoreError> {
        self.memory.locks().await
    }

    async fn unlock(&self, numbers: &[NumberHash]) -> Result<bool, StoreError> {
        self.memory.unlock(numbers).await
    }

    async fn usage(&self) -> Result<Usage, StoreError> {
        self.memory.usage().await
    }
}

/// Alerts without faults.
#[async_trait]
impl AlertStore for Faulty {
    async fn add_alert(&self, alert: &QueuedAlert) -> Result<AlertAdded, StoreError> {
        self.memory.add_alert(alert).await
    }

    async fn claim_alerts(
        &self,
        owner: Owner,
        destinations: &[Box<str>],
        most: usize,
    ) -> Result<Vec<ClaimedAlert>, StoreError> {
        self.memory.claim_alerts(owner, destinations, most).await
    }

    async fn record_delivery(&self, owner: Owner, id: Uuid, tried: &DeliveryResult) -> Result<bool, StoreError> {
        self.memory.record_delivery(owner, id, tried).await
    }

    async fn alerts(&self) -> Result<Vec<ListedAlert>, StoreError> {
        self.memory.alerts().await
    }
}

/// PINs without faults.
#[async_trait]
impl PinStore for Faulty {
    async fn set_pin(&self, pin: &NewPin) -> Result<(), StoreError> {
        self.memory.set_pin(pin).await
    }

    async fn remove_pin(&self, numbers: &[NumberHash]) -> Result<bool, StoreError> {
        self.memory.remove_pin(numbers).await
    }

    async fn unlock_pin(&self, numbers: &[NumberHash]) -> Result<bool, StoreError> {
        self.memory.unlock_pin(numbers).await
    }

    async fn pins(&self) -> Result<Vec<StoredPin>, StoreError> {
        self.memory.pins().await
    }

    async fn pin_state(&self, numbers: &[NumberHash]) -> Result<PinState, StoreError> {
        self.memory.pin_state(numbers).await
    }

    async fn begin_pin_guess(
        &self,
        numbers: &[NumberHash],
        pepper: PepperFingerprint,
        limits: &PinLimits,
    ) -> Result<PinGuess, StoreError> {
        self.memory.begin_pin_guess(numbers, pepper, limits).await
    }

    async fn confirm_pin_guess(&self, numbers: &[NumberHash], compared: &PinToCompare) -> Result<bool, StoreError> {
        self.memory.confirm_pin_guess(numbers, compared).await
    }

    async fn check_pepper(&self, pepper: PepperFingerprint) -> Result<(), StoreError> {
        self.memory.check_pepper(pepper).await
    }
}
