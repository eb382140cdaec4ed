//! A store in memory that refuses, or keeps waiting, as a test says.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::call::{Attempt, CallEvent, CallId, KeyFingerprint, NumberKey};
use crate::store::{
    AlertAdded, AlertStore, AttemptChange, Begun, Block, CallStore, ClaimedAlert, DeliveryResult, EndRequest, Ended,
    KeyUse, LatestAttempt, LimitStore, Limits, ListedAlert, Lockout, MemoryStore, NewAttempt, NewPin, NumberLock,
    Orphan, Owner, PepperFingerprint, PinGuess, PinLimits, PinState, PinStore, PinToCompare, Query, QueuedAlert,
    RecordedChange, Row, Scope, Step, StoreError, StoredPin, Usage,
};

pub(super) struct Faulty {
    kept: MemoryStore,
    /// Steps of this event are refused.
    refuses: Option<CallEvent>,
    /// While it has no permit, what is to be noted or blocked waits, and nothing ends.
    open: Semaphore,
    pub(super) asked_to_block: Mutex<usize>,
    pub(super) can_renew: AtomicBool,
    /// When it is set, no call ever begins, and the store is or is not at work meanwhile.
    begins_nothing: Option<bool>,
    /// When it is set, the answer to each end is lost, after the end was written.
    loses_ends: bool,
    /// How long was to be kept at each sweep.
    pub(super) swept: Mutex<Vec<Duration>>,
}

impl Default for Faulty {
    fn default() -> Self {
        Self {
            kept: MemoryStore::default(),
            refuses: None,
            open: Semaphore::new(1),
            asked_to_block: Mutex::default(),
            can_renew: AtomicBool::new(true),
            begins_nothing: None,
            loses_ends: false,
            swept: Mutex::default(),
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
        Self { open: Semaphore::new(0), ..Self::default() }
    }

    pub(super) fn that_begins_nothing(is_working: bool) -> Self {
        Self { begins_nothing: Some(is_working), ..Self::default() }
    }

    pub(super) fn that_loses_ends() -> Self {
        Self { loses_ends: true, ..Self::default() }
    }

    pub(super) fn go_on(&self) {
        self.open.add_permits(1);
    }

    async fn wait(&self) {
        drop(self.open.acquire().await.unwrap());
    }
}

fn away() -> StoreError {
    StoreError::unavailable("it is away")
}

#[async_trait]
impl CallStore for Faulty {
    /// Another process may take its calls up.
    fn scope(&self) -> Scope {
        Scope::Machine
    }

    async fn begin(&self, new: &NewAttempt, limits: &Limits) -> Result<Begun, StoreError> {
        match self.begins_nothing {
            Some(_) => std::future::pending().await,
            None => self.kept.begin(new, limits).await,
        }
    }

    async fn end(&self, end: &EndRequest) -> Result<Ended, StoreError> {
        if self.open.available_permits() == 0 {
            return Err(away());
        }
        let ended = self.kept.end(end).await;
        if self.loses_ends { Err(away()) } else { ended }
    }

    async fn record(&self, updates: &[RecordedChange]) -> Result<Vec<Lockout>, StoreError> {
        self.wait().await;
        let is_refused = |update: &RecordedChange| match &update.change {
            AttemptChange::Step { event, .. } => Some(*event) == self.refuses,
            _ => false,
        };
        match updates.iter().any(is_refused) {
            true => Err(StoreError::refused("strange")),
            false => self.kept.record(updates).await,
        }
    }

    async fn use_approval(&self, attempt: Attempt, owner: Owner) -> Result<bool, StoreError> {
        self.kept.use_approval(attempt, owner).await
    }

    async fn find(&self, id: CallId) -> Result<Option<LatestAttempt>, StoreError> {
        self.kept.find(id).await
    }

    async fn renew(&self, owner: Owner) -> Result<(), StoreError> {
        if self.can_renew.load(Ordering::Relaxed) { self.kept.renew(owner).await } else { Err(away()) }
    }

    async fn claim_orphans(&self, owner: Owner, most: usize) -> Result<Vec<Orphan>, StoreError> {
        self.kept.claim_orphans(owner, most).await
    }

    async fn block(&self, block: &Block) -> Result<(), StoreError> {
        *self.asked_to_block.lock() += 1;
        self.wait().await;
        self.kept.block(block).await
    }

    async fn unblock(&self, number: NumberKey) -> Result<bool, StoreError> {
        self.kept.unblock(number).await
    }

    async fn blocks(&self) -> Result<Vec<Block>, StoreError> {
        self.kept.blocks().await
    }

    async fn use_number_keys(&self, known: &[KeyFingerprint], usage: KeyUse) -> Result<(), StoreError> {
        self.kept.use_number_keys(known, usage).await
    }

    async fn rows(&self, query: &Query) -> Result<Vec<Row>, StoreError> {
        self.kept.rows(query).await
    }

    async fn steps(&self, attempt: Attempt) -> Result<Vec<Step>, StoreError> {
        self.kept.steps(attempt).await
    }

    async fn sweep(&self, keep: Duration) -> Result<(), StoreError> {
        self.swept.lock().push(keep);
        self.kept.sweep(keep).await
    }

    fn is_working(&self) -> bool {
        self.begins_nothing.unwrap_or_default()
    }

    async fn check(&self) -> Result<String, StoreError> {
        self.kept.check().await
    }
}

/// Locks have no faults.
#[async_trait]
impl LimitStore for Faulty {
    async fn locks(&self) -> Result<Vec<NumberLock>, StoreError> {
        self.kept.locks().await
    }

    async fn unlock(&self, numbers: &[NumberKey]) -> Result<bool, StoreError> {
        self.kept.unlock(numbers).await
    }

    async fn usage(&self) -> Result<Usage, StoreError> {
        self.kept.usage().await
    }
}

/// Alerts have no faults.
#[async_trait]
impl AlertStore for Faulty {
    async fn add_alert(&self, alert: &QueuedAlert) -> Result<AlertAdded, StoreError> {
        self.kept.add_alert(alert).await
    }

    async fn claim_alerts(
        &self,
        owner: Owner,
        destinations: &[Box<str>],
        most: usize,
    ) -> Result<Vec<ClaimedAlert>, StoreError> {
        self.kept.claim_alerts(owner, destinations, most).await
    }

    async fn record_delivery(&self, owner: Owner, id: Uuid, tried: &DeliveryResult) -> Result<bool, StoreError> {
        self.kept.record_delivery(owner, id, tried).await
    }

    async fn alerts(&self) -> Result<Vec<ListedAlert>, StoreError> {
        self.kept.alerts().await
    }
}

/// PINs have no faults.
#[async_trait]
impl PinStore for Faulty {
    async fn set_pin(&self, pin: &NewPin) -> Result<(), StoreError> {
        self.kept.set_pin(pin).await
    }

    async fn remove_pin(&self, numbers: &[NumberKey]) -> Result<bool, StoreError> {
        self.kept.remove_pin(numbers).await
    }

    async fn unlock_pin(&self, numbers: &[NumberKey]) -> Result<bool, StoreError> {
        self.kept.unlock_pin(numbers).await
    }

    async fn pins(&self) -> Result<Vec<StoredPin>, StoreError> {
        self.kept.pins().await
    }

    async fn pin_state(&self, numbers: &[NumberKey]) -> Result<PinState, StoreError> {
        self.kept.pin_state(numbers).await
    }

    async fn begin_pin_guess(
        &self,
        numbers: &[NumberKey],
        pepper: PepperFingerprint,
        limits: &PinLimits,
    ) -> Result<PinGuess, StoreError> {
        self.kept.begin_pin_guess(numbers, pepper, limits).await
    }

    async fn pin_was_right(&self, numbers: &[NumberKey], compared: &PinToCompare) -> Result<bool, StoreError> {
        self.kept.pin_was_right(numbers, compared).await
    }

    async fn use_pepper(&self, pepper: PepperFingerprint) -> Result<(), StoreError> {
        self.kept.use_pepper(pepper).await
    }
}
