//! The engine's side of the store: every operation has a time limit, and a write that the store cannot accept now waits
//! in a queue.

mod lease;
mod policy;
mod probe;
mod write_queue;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use phonegate_approval::attempts::{Attempts, StoredAttempts};
use phonegate_approval::verdict::Approval;
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::approval::NumberPin;
use crate::call::{Attempt, Call, CallId, Failure, GateEvent, NumberHash, Outcome, PhoneNumber};
use crate::clock::Moment;
use crate::platform;
use crate::registry::ApprovalToUse;
use crate::store::{
    AttemptChange, AttemptState, Begun, Block, BlockScope, CallStore, EndRequest, Ended, LatestAttempt, NewAttempt,
    Orphan, Owner, Query, RecordKind, RecordedChange, Scope, StoreError, StoredNumber,
};
use crate::telemetry::{LogEntry, StoreOperation};
use lease::Lease;
pub(crate) use policy::StorePolicy;
use policy::days;
pub(super) use probe::StoreProbe;
use write_queue::WriteQueue;

/// Maximum time that a call waits for the store to begin it, and that a claim of orphans waits for its answer.
const BEGIN_LIMIT: Duration = Duration::from_secs(5);

/// Maximum time that the end of a call waits for the store. After that, the outcome is published all the same.
const END_LIMIT: Duration = Duration::from_secs(2);

/// Maximum time of a read of the store.
const READ_LIMIT: Duration = Duration::from_secs(2);

/// Maximum time of a sweep. The next sweep continues from the point at which it stopped.
const SWEEP_LIMIT: Duration = Duration::from_secs(10 * 60);

/// Maximum calls of a claim.
const MAX_CLAIM: usize = 200;

/// The store, as the engine uses it.
pub(super) struct StoreClient {
    store: Arc<dyn CallStore>,
    policy: StorePolicy,
    owner: Owner,
    node: Arc<str>,
    lease: Lease,
    queue: WriteQueue,
    probe: StoreProbe,
    /// The kinds of unreadable records that were logged.
    unreadable_logged: Mutex<BTreeSet<RecordKind>>,
}

impl StoreClient {
    pub(super) fn open(store: Arc<dyn CallStore>, policy: StorePolicy, runtime: &Handle, probe: StoreProbe) -> Self {
        let queue = WriteQueue::start(runtime, probe.clone());
        let node = platform::machine_name().into();
        let (lease, unreadable_logged) = (Lease::default(), Mutex::default());
        Self { store, policy, owner: Owner(Uuid::new_v4()), node, lease, queue, probe, unreadable_logged }
    }

    pub(super) fn scope(&self) -> Scope {
        self.store.scope()
    }

    /// Begins an attempt. Returns the answer, and when the store was asked.
    pub(super) async fn begin(&self, call: &Call) -> Result<(Begun, Moment), StoreError> {
        let new = NewAttempt {
            attempt: call.attempt,
            started: call.deadline.start().wall(),
            deadline: call.deadline.left(Moment::now()),
            number: StoredNumber::new(&call.number, self.policy.full_numbers),
            owner: self.owner,
            node: Arc::clone(&self.node),
        };
        let asked = Moment::now();
        let limits = self.policy.limits.for_call(&call.number);
        let begun = self.probe.ask(StoreOperation::Begin, BEGIN_LIMIT, self.store.begin(&new, &limits)).await?;
        if begun == Begun::New {
            self.lease.renewed_at(asked);
        }
        Ok((begun, asked))
    }

    /// Returns whether this process certainly still owns the calls that it began at `begun`: its lease was valid without a
    /// break since then, or no other process knows the store's calls.
    pub(super) fn holds_lease_since(&self, begun: Moment) -> bool {
        self.scope() == Scope::Process || self.lease.is_held_since(begun)
    }

    /// Ends an attempt as failed. If the store does not confirm that in time, the end is queued and counts as done. Returns
    /// [`Ended::No`] if the attempt had ended already, or belongs to another process.
    pub(super) async fn fail(&self, attempt: Attempt, failure: &Failure, release: bool) -> Ended {
        let end = self.end_of(attempt, Outcome::Failed(failure.clone()), release);
        self.probe.ask(StoreOperation::End, END_LIMIT, self.store.end(&end)).await.unwrap_or_else(|_| {
            self.fail_later(attempt, failure.clone(), release);
            Ended::UNLOCKED
        })
    }

    /// Queues the end of an attempt as failed.
    pub(super) fn fail_later(&self, attempt: Attempt, failure: Failure, release: bool) {
        let denials = self.policy.limits.denial_limits();
        self.record(attempt, AttemptChange::Ended { owner: self.owner, failure, release, denials });
    }

    /// Ends an attempt as verified. Returns false if the store refuses that: the attempt had ended already, belongs to another
    /// process, or its deadline has passed.
    pub(super) async fn verify(&self, attempt: Attempt, approval: Approval) -> Result<bool, StoreError> {
        let end = self.end_of(attempt, Outcome::Verified(approval), true);
        self.probe.ask(StoreOperation::End, READ_LIMIT, self.store.end(&end)).await.map(Ended::is_done)
    }

    fn end_of(&self, attempt: Attempt, outcome: Outcome, release: bool) -> EndRequest {
        let denials = self.policy.limits.denial_limits();
        EndRequest { attempt, owner: self.owner, at: SystemTime::now(), outcome, release, denials }
    }

    /// Releases an attempt's number. If the store does not confirm that in time, the release is queued.
    pub(super) async fn release(&self, attempt: Attempt) {
        let released = change(attempt, AttemptChange::Released);
        let asked = self.store.record(std::slice::from_ref(&released));
        if self.probe.ask(StoreOperation::Record, END_LIMIT, asked).await.is_err() {
            self.queue.push(released);
        }
    }

    /// Returns the days for which a report of fraud blocks a number.
    pub(super) fn days_blocked(&self) -> u64 {
        self.policy.block_for_days
    }

    /// Blocks a number, not its line, after a report of fraud. If the store does not confirm that in time, the block is
    /// queued.
    pub(super) async fn block(&self, number: NumberHash, masked: &str) {
        let since = SystemTime::now();
        let block = Block {
            number,
            scope: BlockScope::Number,
            masked: masked.into(),
            reason: "the user reported a fraud".into(),
            since,
            until: since.checked_add(days(self.policy.block_for_days)),
        };
        // A longer block, set by an administrator, stays as it is.
        let is_longer =
            |other: &Block| other.number == number && other.until.is_none_or(|until| Some(until) >= block.until);
        if let Ok(blocks) = self.probe.ask(StoreOperation::Find, END_LIMIT, self.store.blocks()).await
            && blocks.iter().any(is_longer)
        {
            return;
        }
        if self.probe.ask(StoreOperation::Block, END_LIMIT, self.store.block(&block)).await.is_err() {
            self.queue.push_block(block);
        }
    }

    /// Queues a change of an attempt. If too many writes wait, drops it, unless a call's end depends on it.
    pub(super) fn record(&self, attempt: Attempt, what: AttemptChange) {
        self.queue.push(change(attempt, what));
    }

    /// Queues the refusal of a request.
    pub(super) fn record_refusal(&self, attempt: Attempt, number: Option<&PhoneNumber>, failure: Failure) {
        let number = number.map(|number| StoredNumber::new(number, self.policy.full_numbers));
        self.record(attempt, AttemptChange::Refused { number, node: Arc::clone(&self.node), failure });
    }

    /// Reads the latest attempt of an id.
    pub(super) async fn find(&self, id: CallId) -> Result<Option<LatestAttempt>, StoreError> {
        self.probe.ask(StoreOperation::Find, READ_LIMIT, self.store.find(id)).await
    }

    /// Returns whether the store grants an approval to this ticket.
    pub(super) async fn use_approval(&self, approval: &ApprovalToUse) -> Result<bool, StoreError> {
        let ticket = Owner(Uuid::from_u128(approval.ticket));
        self.probe.ask(StoreOperation::UseApproval, READ_LIMIT, self.store.use_approval(approval.attempt, ticket)).await
    }

    /// Reads the state of an attempt. `None` if it is not the latest one of its id.
    pub(super) async fn state_of(&self, attempt: Attempt) -> Result<Option<AttemptState>, StoreError> {
        let current = self.find(attempt.id).await?;
        Ok(current.filter(|current| current.attempt == attempt).map(|current| current.state))
    }

    /// Returns whether the store has attempts of these generations, in this order.
    pub(super) async fn are_in_order(&self, id: CallId, generations: [u64; 2]) -> Result<bool, StoreError> {
        let query = Query { id: Some(id), limit: usize::MAX, ..Query::default() };
        let rows = self.probe.ask(StoreOperation::Find, READ_LIMIT, self.store.rows(&query)).await?;
        let mut kept = rows.iter().map(|row| row.attempt.generation);
        Ok(generations.iter().all(|generation| kept.any(|kept| kept == *generation)))
    }

    /// Renews the lease of this process.
    pub(super) async fn renew(&self) -> Result<(), StoreError> {
        let asked = Moment::now();
        self.probe.ask(StoreOperation::Renew, READ_LIMIT, self.store.renew(self.owner)).await?;
        self.lease.renewed_at(asked);
        Ok(())
    }

    /// Claims calls of processes that are gone. A process that is not a service claims none.
    pub(super) async fn claim_orphans(&self) -> Result<Vec<Orphan>, StoreError> {
        if !self.policy.is_service {
            return Ok(Vec::new());
        }
        let asked = self.store.claim_orphans(self.owner, MAX_CLAIM);
        let orphans = self.probe.ask(StoreOperation::ClaimOrphans, BEGIN_LIMIT, asked).await;
        self.log_unreadable();
        orphans
    }

    /// Logs once for each kind that the store has records that cannot be read.
    fn log_unreadable(&self) {
        let unreadable = self.store.unreadable();
        if unreadable.is_empty() {
            return;
        }
        let mut logged = self.unreadable_logged.lock();
        let before = logged.len();
        logged.extend(unreadable.kinds());
        if logged.len() > before {
            let text = format!(
                "the store has records that cannot be read by this version: {unreadable}. Calls among them are not \
                 followed to their end, and fail; alerts among them are not delivered. Use the same version of \
                 PhoneGate on all nodes; if they all have it, the records are damaged"
            );
            self.probe.log.write(&LogEntry { text: Some(&text), ..LogEntry::new(GateEvent::StoreRefused) });
        }
    }

    /// Returns the PIN of the number with these hashes, if the method asks for PINs.
    pub(super) fn pin_of(&self, numbers: &[NumberHash]) -> Option<NumberPin> {
        self.policy.pins.clone().map(|checker| NumberPin::new(checker, numbers))
    }

    /// Restores the codes of a call that another process placed. Returns `None` if they do not fit this policy.
    pub(super) fn restore(&self, attempts: &StoredAttempts) -> Option<Attempts> {
        Attempts::restore(self.policy.policy, attempts).ok()
    }

    /// Deletes attempts that are older than the audit's retention.
    pub(super) async fn sweep(&self) -> Result<(), StoreError> {
        self.probe.ask(StoreOperation::Sweep, SWEEP_LIMIT, self.store.sweep(self.policy.keep)).await
    }

    /// Waits until all writes that were queued before are done.
    pub(super) async fn flush(&self) {
        self.queue.flush().await;
    }

    /// Closes the store. Blocks the thread for at most `within`. Returns false if that was not enough.
    pub(super) fn close(&self, within: Duration) -> bool {
        self.store.close(within)
    }
}

fn change(attempt: Attempt, change: AttemptChange) -> RecordedChange {
    RecordedChange { attempt, at: SystemTime::now(), change }
}
