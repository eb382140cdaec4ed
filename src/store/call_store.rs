//! The main trait of a store.

use std::time::Duration;

use async_trait::async_trait;

use super::alerts::AlertStore;
use super::attempt::{EndRequest, Ended, LatestAttempt, Lockout, NewAttempt, Orphan, Owner, RecordedChange};
use super::audit::{Query, Row, Step};
use super::block::Block;
use super::limits::LimitStore;
use super::number_keys::KeyUse;
use super::pins::PinStore;
use super::{Refusal, StoreError, UnreadableCounts};
use crate::call::{Attempt, CallId, KeyFingerprint, NumberHash};
use crate::limits::Limits;

/// Records calls, and decides what several processes must agree on.
///
/// # For callers
/// Any task may call any operation at any time; operations run concurrently. None but [`close`](Self::close) blocks its
/// thread. A caller limits its waiting time by dropping the future. After that, or after an error of kind
/// [`Unavailable`](super::StoreErrorKind::Unavailable) or [`Busy`](super::StoreErrorKind::Busy), it is not known whether the
/// operation was or will be carried out, unless the operation says otherwise.
///
/// # For implementors
/// `docs/design/store-contract.md` has the contract in numbered rules, `S1` to `S21`, which are cited here and where the
/// code carries them out. In short: each operation is atomic (S2); time is the store's own, which never goes back (S10);
/// an operation whose answer was lost can be repeated (S3, S7, S9, S16); and nothing is approved in doubt.
#[async_trait]
pub trait CallStore: PinStore + LimitStore + AlertStore + Send + Sync {
    /// Returns which processes share this store.
    fn scope(&self) -> Scope;

    /// Begins an attempt, or refuses it. Checks everything that the decision depends on in the same step (S1, S2, S3, S6,
    /// S8, S11 to S14). A refusal records nothing.
    ///
    /// # Errors
    /// The attempt may have begun, and no phone may be called for it. Not begun: `Busy` if too many calls wait (S20), and
    /// `Refused` if the attempt has ended already, or if the store has numbers that were hashed with a secret with which
    /// this number was not hashed.
    async fn begin(&self, new: &NewAttempt, limits: &Limits) -> Result<Begun, StoreError>;

    /// Ends a pending attempt of `end.owner`, and releases its number if `end.release` is set (S4, S5). In the same step, a
    /// denial is counted, and an approval resets the denials of the number (S13).
    ///
    /// # Errors
    /// It is not known whether the attempt has ended.
    async fn end(&self, end: &EndRequest) -> Result<Ended, StoreError>;

    /// Records changes, in this order, each at most once (S7). Returns the locks that the ends of attempts caused, also if
    /// the same change had caused them before: its answer may have been lost.
    ///
    /// # Errors
    /// Some of the changes may be missing.
    async fn record(&self, changes: &[RecordedChange]) -> Result<Vec<Lockout>, StoreError>;

    /// Uses up the approval of a verified attempt, which must be the latest one of its id (S16). Returns whether `owner` is
    /// the one that used it up, now or before.
    ///
    /// # Errors
    /// It is not known who used it up, so the approval must not be reported.
    async fn use_approval(&self, attempt: Attempt, owner: Owner) -> Result<bool, StoreError>;

    /// Returns the latest attempt of an id (S6). If its age is not known, it is the greatest possible one (S10).
    ///
    /// # Errors
    /// The store cannot be read.
    async fn find(&self, id: CallId) -> Result<Option<LatestAttempt>, StoreError>;

    /// Renews the lease of an owner (S9).
    ///
    /// # Errors
    /// It is not known whether it was renewed.
    async fn renew(&self, owner: Owner) -> Result<(), StoreError>;

    /// Makes `owner` the owner of up to `limit` pending attempts whose owner's lease has expired, or whose deadline passed
    /// at least [`DEADLINE_GRACE`](super::DEADLINE_GRACE) ago (S9). Also renews the lease of `owner`. Those that this
    /// version cannot read are left out of the answer: see [`unreadable`](Self::unreadable).
    ///
    /// # Errors
    /// Some of them may belong to `owner` now. The next call returns those again.
    async fn claim_orphans(&self, owner: Owner, limit: usize) -> Result<Vec<Orphan>, StoreError>;

    /// Returns how many records that cannot be read were left out of lists and claims since the store was opened. An
    /// attempt that is left out of a claim is not driven any more, and is never approved.
    fn unreadable(&self) -> UnreadableCounts {
        UnreadableCounts::default()
    }

    /// Adds a block, in place of one of the same number and scope (S11).
    ///
    /// # Errors
    /// It is not known whether it was added.
    async fn block(&self, block: &Block) -> Result<(), StoreError>;

    /// Removes all blocks of a number. Returns whether there was one that had not expired.
    ///
    /// # Errors
    /// It is not known whether they were removed.
    async fn unblock(&self, number: NumberHash) -> Result<bool, StoreError>;

    /// Returns the blocks that have not expired, the newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn blocks(&self) -> Result<Vec<Block>, StoreError>;

    /// Checks that a process with these secrets, the current one first, can find every number of the store, and records
    /// which of them it writes with (S14). [`begin`](Self::begin) does the same for its number.
    ///
    /// # Errors
    /// `Refused` if the store has numbers that were hashed with another secret. Any other error: it was not checked.
    async fn use_number_keys(&self, known: &[KeyFingerprint], usage: KeyUse) -> Result<(), StoreError>;

    /// Returns the attempts that match a query, in its order.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn rows(&self, query: &Query) -> Result<Vec<Row>, StoreError>;

    /// Returns the steps of an attempt, in the order of their times.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn steps(&self, attempt: Attempt) -> Result<Vec<Step>, StoreError>;

    /// Removes attempts that ended at least `keep` ago, and whatever else has expired (S17). `keep` is at least a day.
    ///
    /// # Errors
    /// Something expired may be left.
    async fn sweep(&self, keep: Duration) -> Result<(), StoreError>;

    /// Returns whether the store finished an operation within the last second. If such a store does not answer in time, it
    /// is busy; another one cannot be reached.
    fn is_working(&self) -> bool {
        false
    }

    /// Checks that the store can be used. Returns a short description for an administrator.
    ///
    /// # Errors
    /// The store cannot be used.
    async fn check(&self) -> Result<String, StoreError>;

    /// Waits until all earlier operations are carried out, and closes files and connections (S21). Blocks the thread for
    /// up to `within`. Returns whether that was enough. The last call: every operation after it fails.
    fn close(&self, _within: Duration) -> bool {
        true
    }
}

/// Which processes share a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// This process alone.
    Process,
    /// The processes of this machine, of which one places calls: its own memory is never older than the store.
    Machine,
    /// All nodes of a farm: the memory of one node may be older than the store.
    Farm,
}

/// The result of [`CallStore::begin`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// The attempt is durable and may be placed.
    New,
    /// The same request is pending already, as the attempt of this generation.
    AlreadyOwned(u64),
    /// The attempt may not be placed.
    Refused(Refusal),
}
