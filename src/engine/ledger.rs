//! What the engine says to the store, within limits of time. What the store cannot take now waits in a queue, in
//! memory, until it can.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use phonegate_approval::attempts::{Attempts, StoredAttempts};
use phonegate_approval::policy::Policy;
use phonegate_approval::verdict::Approval;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::health::Health;
use super::lease::Lease;
use super::notices::Notices;
use crate::approval::NumberPin;
use crate::approval::pins::PinChecker;
use crate::call::{Attempt, Call, CallId, Failure, FailureReason, GateEvent, NumberKey, Outcome};
use crate::clock::Moment;
use crate::config::{Config, LimitsConfig};
use crate::platform;
use crate::registry::ApprovalToUse;
use crate::store::{
    AttemptChange, AttemptState, Begun, Block, BlockScope, CallStore, EndRequest, Ended, LatestAttempt, NewAttempt,
    Orphan, Owner, Query, RecordedChange, Scope, StoreError, StoredNumber,
};
use crate::telemetry::{Log, LogEntry, Metrics, StoreOperation};

/// How long a call waits for the store to let it begin.
const BEGIN_LIMIT: Duration = Duration::from_secs(5);

/// How long the end of a call waits for the store before it is told all the same.
const END_LIMIT: Duration = Duration::from_secs(2);

/// How long one look into the store may take.
pub(super) const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// How long the queue waits for an answer of the store, and after an error.
const RECORD_LIMIT: Duration = Duration::from_secs(5);
const RECORD_PAUSE: Duration = Duration::from_millis(500);

/// How long forgetting what is old may take; then it goes on at the next time.
const SWEEP_LIMIT: Duration = Duration::from_secs(10 * 60);

/// So many updates are recorded at once.
const BATCH: usize = 256;

/// The name of the store in log lines about backends.
pub(super) const THE_STORE: &str = "the store";

/// Beyond so many that wait, what is not needed to end a call is left out.
const MAX_WAITING: usize = 50_000;

/// Calls that are taken up at once.
const TAKE_UP: usize = 200;

/// What of a configuration concerns the store.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    limits: LimitsConfig,
    full_numbers: bool,
    block_for_days: u64,
    keep: Duration,
    policy: Policy,
    claims_orphans: bool,
    pins: Option<PinChecker>,
}

impl Rules {
    pub(crate) fn of(config: &Config, policy: Policy, claims_orphans: bool) -> Self {
        Self {
            limits: config.limits.clone(),
            full_numbers: config.audit.full_numbers,
            block_for_days: config.fraud.block_for_days.get(),
            keep: days(config.audit.keep_days.get()),
            policy,
            claims_orphans,
            pins: None,
        }
    }

    /// Checks PINs, for a method that asks for them.
    pub(crate) fn checking_pins(self, pins: Option<PinChecker>) -> Self {
        Self { pins, ..self }
    }

    /// Returns whether this process is a service, which takes up the calls that another one has left.
    pub(crate) fn claims_orphans(&self) -> bool {
        self.claims_orphans
    }
}

/// Who watches how the store does.
#[derive(Clone)]
pub(super) struct Watch {
    pub(super) store: Arc<dyn CallStore>,
    pub(super) log: Log,
    pub(super) metrics: Metrics,
    pub(super) notices: Notices,
    pub(super) health: Arc<Health>,
}

impl Watch {
    /// Asks the store within a limit of time.
    async fn ask<T>(
        &self,
        operation: StoreOperation,
        limit: Duration,
        ask: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let asked = Instant::now();
        let late = |_| {
            let sign = format!("no answer within {} s", limit.as_secs());
            Err(if self.store.is_working() { StoreError::busy(sign) } else { StoreError::Unavailable(sign) })
        };
        let answer = tokio::time::timeout(limit, ask).await.unwrap_or_else(late);
        self.metrics.store_asked(operation, asked.elapsed(), answer.is_err());
        // One that cannot be written to may answer questions still, and forget.
        if matches!(operation, StoreOperation::Find | StoreOperation::Sweep) {
            return answer;
        }
        let failure = match &answer {
            Err(error @ StoreError::Unavailable(_)) => {
                Some(Failure::new(FailureReason::CannotPlace, format_args!("No call can be begun: {error}.")))
            }
            // That says neither that it is away nor that it does what it is asked. Each call that fails by it is logged.
            Err(StoreError::Busy(_)) => return answer,
            Ok(_) | Err(StoreError::Refused(_)) => None,
        };
        self.health.judge(THE_STORE, failure.as_ref(), &self.notices);
        answer
    }
}

/// The engine's side of the store.
pub(super) struct Ledger {
    store: Arc<dyn CallStore>,
    rules: Rules,
    owner: Owner,
    node: Arc<str>,
    lease: Lease,
    queue: mpsc::UnboundedSender<Item>,
    waiting: Arc<AtomicUsize>,
    watch: Watch,
}

enum Item {
    RecordedChange(RecordedChange),
    Block(Block),
    /// Tells when all before it has been recorded.
    Mark(oneshot::Sender<()>),
}

impl Ledger {
    pub(super) fn open(store: Arc<dyn CallStore>, rules: Rules, runtime: &Handle, watch: Watch) -> Self {
        let (queue, items) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        runtime.spawn(record_all(Arc::clone(&store), items, Arc::clone(&waiting), watch.clone()));
        let node = platform::machine_name().into();
        Self { store, rules, owner: Owner(Uuid::new_v4()), node, lease: Lease::default(), queue, waiting, watch }
    }

    pub(super) fn scope(&self) -> Scope {
        self.store.scope()
    }

    /// Begins an attempt, and tells when that was asked.
    pub(super) async fn begin(&self, call: &Call) -> Result<(Begun, Moment), StoreError> {
        let new = NewAttempt {
            attempt: call.attempt,
            started: call.deadline.start().wall(),
            deadline: call.deadline.left(Moment::now()),
            number: StoredNumber::new(&call.number, self.rules.full_numbers),
            owner: self.owner,
            node: Arc::clone(&self.node),
        };
        let asked = Moment::now();
        let limits = self.rules.limits.for_call(&call.number);
        let begun = self.watch.ask(StoreOperation::Begin, BEGIN_LIMIT, self.store.begin(&new, &limits)).await?;
        if begun == Begun::New {
            self.lease.hear_of(asked);
        }
        Ok((begun, asked))
    }

    /// Has the lease of this process certainly not run out since it began a call then? Otherwise the call may be another's.
    pub(super) fn holds_since(&self, begun: Moment) -> bool {
        self.scope() == Scope::Process || self.lease.holds_since(begun)
    }

    /// Ends an attempt as failed. If the store cannot record that now, it is queued. Returns [`Ended::No`] if the
    /// attempt had ended already, or belongs to another process.
    pub(super) async fn fail(&self, attempt: Attempt, failure: &Failure, release: bool) -> Ended {
        let end = self.end_of(attempt, Outcome::Failed(failure.clone()), release);
        self.watch.ask(StoreOperation::End, END_LIMIT, self.store.end(&end)).await.unwrap_or_else(|_| {
            self.fail_later(attempt, failure.clone(), release);
            Ended::UNLOCKED
        })
    }

    /// As [`Ledger::fail`], without waiting.
    pub(super) fn fail_later(&self, attempt: Attempt, failure: Failure, release: bool) {
        let denials = self.rules.limits.denial_limits();
        self.queue(Item::RecordedChange(update(
            attempt,
            AttemptChange::Ended { owner: self.owner, failure, release, denials },
        )));
    }

    /// Ends an attempt as verified. False where it is not this process's to end.
    pub(super) async fn verify(&self, attempt: Attempt, approval: Approval) -> Result<bool, StoreError> {
        let end = self.end_of(attempt, Outcome::Verified(approval), true);
        self.watch.ask(StoreOperation::End, LOOK_LIMIT, self.store.end(&end)).await.map(Ended::is_done)
    }

    fn end_of(&self, attempt: Attempt, outcome: Outcome, release: bool) -> EndRequest {
        let denials = self.rules.limits.denial_limits();
        EndRequest { attempt, owner: self.owner, at: SystemTime::now(), outcome, release, denials }
    }

    /// Gives an attempt's number free. If the store does not take it now, it will later.
    pub(super) async fn release(&self, attempt: Attempt) {
        let released = update(attempt, AttemptChange::Released);
        let asked = self.store.record(std::slice::from_ref(&released));
        if self.watch.ask(StoreOperation::Record, END_LIMIT, asked).await.is_err() {
            self.queue(Item::RecordedChange(released));
        }
    }

    /// Returns for how many days a number is blocked after a report of fraud.
    pub(super) fn days_blocked(&self) -> u64 {
        self.rules.block_for_days
    }

    /// Blocks a number, and not its line, after a report of fraud.
    pub(super) async fn block(&self, number: NumberKey, masked: &str) {
        let since = SystemTime::now();
        let block = Block {
            number,
            scope: BlockScope::Number,
            masked: masked.into(),
            reason: "the user reported a fraud".into(),
            since,
            until: since.checked_add(days(self.rules.block_for_days)),
        };
        // What an administrator has blocked for longer stays so.
        let longer =
            |there: &Block| there.number == number && there.until.is_none_or(|until| Some(until) >= block.until);
        if let Ok(blocks) = self.watch.ask(StoreOperation::Find, END_LIMIT, self.store.blocks()).await
            && blocks.iter().any(longer)
        {
            return;
        }
        if self.watch.ask(StoreOperation::Block, END_LIMIT, self.store.block(&block)).await.is_err() {
            self.queue(Item::Block(block));
        }
    }

    /// Takes note of what happened, soon. Where too much waits already, it is left out.
    pub(super) fn note(&self, attempt: Attempt, change: AttemptChange) {
        let is_needed = matches!(change, AttemptChange::Placed { .. });
        if is_needed || self.waiting.load(Ordering::Relaxed) < MAX_WAITING {
            self.queue(Item::RecordedChange(update(attempt, change)));
        }
    }

    /// Takes note of a request that was refused.
    pub(super) fn refused(&self, attempt: Attempt, number: Option<StoredNumber>, failure: Failure) {
        self.note(attempt, AttemptChange::Refused { number, node: Arc::clone(&self.node), failure });
    }

    pub(super) fn stored(&self, number: &crate::call::PhoneNumber) -> StoredNumber {
        StoredNumber::new(number, self.rules.full_numbers)
    }

    pub(super) async fn find(&self, id: CallId) -> Result<Option<LatestAttempt>, StoreError> {
        self.watch.ask(StoreOperation::Find, LOOK_LIMIT, self.store.find(id)).await
    }

    /// Returns whether the store grants an approval to this ticket.
    pub(super) async fn use_approval(&self, approval: &ApprovalToUse) -> Result<bool, StoreError> {
        let ticket = Owner(Uuid::from_u128(approval.ticket));
        self.watch.ask(StoreOperation::UseApproval, LOOK_LIMIT, self.store.use_approval(approval.attempt, ticket)).await
    }

    /// How an attempt stands, where it is the current one of its id.
    pub(super) async fn state_of(&self, attempt: Attempt) -> Result<Option<AttemptState>, StoreError> {
        let current = self.find(attempt.id).await?;
        Ok(current.filter(|current| current.attempt == attempt).map(|current| current.state))
    }

    /// Does the store have attempts of these generations, in this order?
    pub(super) async fn are_in_order(&self, id: CallId, generations: [u64; 2]) -> Result<bool, StoreError> {
        let query = Query { id: Some(id), limit: usize::MAX, ..Query::default() };
        let rows = self.watch.ask(StoreOperation::Find, LOOK_LIMIT, self.store.rows(&query)).await?;
        let mut kept = rows.iter().map(|row| row.attempt.generation);
        Ok(generations.iter().all(|generation| kept.any(|kept| kept == *generation)))
    }

    pub(super) async fn renew(&self) -> Result<(), StoreError> {
        let asked = Moment::now();
        self.watch.ask(StoreOperation::Renew, LOOK_LIMIT, self.store.renew(self.owner)).await?;
        self.lease.hear_of(asked);
        Ok(())
    }

    /// The calls that processes have left which are gone. None for whoever stays a short while.
    pub(super) async fn claim_orphans(&self) -> Result<Vec<Orphan>, StoreError> {
        if !self.rules.claims_orphans {
            return Ok(Vec::new());
        }
        self.watch.ask(StoreOperation::ClaimOrphans, BEGIN_LIMIT, self.store.claim_orphans(self.owner, TAKE_UP)).await
    }

    /// The PIN of the number with these hashes, if calls ask for PINs.
    pub(super) fn pin_of(&self, numbers: &[NumberKey]) -> Option<NumberPin> {
        self.rules.pins.clone().map(|checker| NumberPin::new(checker, numbers))
    }

    /// Restores the attempts of a call that another process placed. Returns `None` if they do not fit this policy.
    pub(super) fn restore(&self, attempts: &StoredAttempts) -> Option<Attempts> {
        Attempts::restore(self.rules.policy, attempts).ok()
    }

    pub(super) async fn sweep(&self) -> Result<(), StoreError> {
        self.watch.ask(StoreOperation::Sweep, SWEEP_LIMIT, self.store.sweep(self.rules.keep)).await
    }

    /// Waits until all that was queued before has been recorded.
    pub(super) async fn recorded(&self) {
        let (mark, done) = oneshot::channel();
        self.queue(Item::Mark(mark));
        let _ = done.await;
    }

    pub(super) fn close(&self, within: Duration) -> bool {
        self.store.close(within)
    }

    fn queue(&self, item: Item) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // The other end is there as long as the runtime is; after that nobody records anything.
        let _ = self.queue.send(item);
    }
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days.saturating_mul(24 * 60 * 60))
}

fn update(attempt: Attempt, change: AttemptChange) -> RecordedChange {
    RecordedChange { attempt, at: SystemTime::now(), change }
}

/// Records what comes, in its order, until nobody can send any more.
async fn record_all(
    store: Arc<dyn CallStore>,
    mut items: mpsc::UnboundedReceiver<Item>,
    waiting: Arc<AtomicUsize>,
    watch: Watch,
) {
    let persist_updates = async |updates: &[RecordedChange]| {
        let mut recorded = persist(&watch, StoreOperation::Record, || store.record(updates)).await;
        if recorded.is_none() && updates.len() > 1 {
            // What one of them cannot have is not the others' loss.
            for update in updates.chunks(1) {
                let lockouts = persist(&watch, StoreOperation::Record, || store.record(update)).await;
                recorded.get_or_insert_default().extend(lockouts.into_iter().flatten());
            }
        }
        recorded.iter().flatten().for_each(|lockout| watch.notices.locked_out(lockout));
    };
    let mut received = Vec::with_capacity(BATCH);
    let mut updates = Vec::with_capacity(BATCH);
    while items.recv_many(&mut received, BATCH).await > 0 {
        let count = received.len();
        for item in received.drain(..) {
            match item {
                Item::RecordedChange(update) => updates.push(update),
                Item::Block(block) => {
                    persist_updates(&updates).await;
                    updates.clear();
                    persist(&watch, StoreOperation::Block, || store.block(&block)).await;
                }
                Item::Mark(mark) => {
                    persist_updates(&updates).await;
                    updates.clear();
                    let _ = mark.send(());
                }
            }
        }
        if !updates.is_empty() {
            persist_updates(&updates).await;
            updates.clear();
        }
        waiting.fetch_sub(count, Ordering::Relaxed);
    }
}

/// Repeats a store operation until it succeeds. Returns `None` if the store refuses it permanently.
async fn persist<T, F: Future<Output = Result<T, StoreError>>>(
    watch: &Watch,
    operation: StoreOperation,
    ask: impl Fn() -> F,
) -> Option<T> {
    loop {
        match watch.ask(operation, RECORD_LIMIT, ask()).await {
            Ok(done) => return Some(done),
            Err(StoreError::Unavailable(_) | StoreError::Busy(_)) => tokio::time::sleep(RECORD_PAUSE).await,
            Err(refused) => {
                let text = refused.to_string();
                watch.log.write(&LogEntry { text: Some(&text), ..LogEntry::new(GateEvent::StoreRefused) });
                return None;
            }
        }
    }
}
