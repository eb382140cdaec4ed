//! What must outlive the process: each attempt from before the first ring to its end, the story of its steps, and the
//! numbers that are not to be called.
//!
//! A store answers for other processes, too: those of a farm, and the one that is started after this one was killed.
//! So nobody is rung before [`CallStore::begin`] has made the attempt durable, an attempt ends once, and of the
//! attempts of one id only the current one answers for it; the others are kept for the audit alone.
//!
//! An attempt belongs to an [`Owner`], the process instance that drives it, as long as that renews its lease. Of an
//! owner whose lease has run out, [`CallStore::claim_orphans`] gives the pending attempts to another one.
//!
//! # Limits
//! A store counts calls for [`Limits`], by a clock of its own that never goes back. Every store guarantees:
//!
//! - No window of a limit ever has more calls in it than the limit says, whatever happens meanwhile: processes that are
//!   killed, clocks that are set back, other processes that begin calls. A store may count a call for a second longer than
//!   the window, never shorter. A clock that is set ahead ends windows early, and a restored backup counts its own calls
//!   only.
//! - When a call is refused, `after` of its [`Refusal`] is enough: once that time has passed, the limit admits a call,
//!   unless other calls began meanwhile.
//! - A call that was given up ([`AttemptChange::Refused`]) does not count, and the other calls count as before.
//! - A pending call counts as such until it ends or its deadline passes, whichever is first. Its end is subtracted once.
//! - The cost of beginning a call grows at most logarithmically with the number of calls.
//! - The number of calls in a day is counted in buckets of ten minutes, for all calls and for each country: such a call
//!   may count for up to ten minutes longer than a day, never shorter.
//! - When too many calls wait to begin, the next one is refused at once as [`StoreErrorKind::Busy`], and is never begun. What
//!   ends a call, records something or renews a lease always waits for its turn.
//!
//! # Number keys
//! A store has hashes of numbers, and the fingerprints of the keys with which they were made ([`KeyFingerprint`]).
//! Every store guarantees:
//!
//! - A call begins only if its number was hashed with every key of the store. Otherwise the number could be blocked, or
//!   be ringing, under a hash that this process cannot compute.
//! - A number's blocks, limits and calls are found by each of these keys.
//! - The store deletes a fingerprint only when it has no number that was hashed with that key.
//!
//! # Denials
//! A call that ends as a denial ([`FailureReason::is_denial`](crate::call::FailureReason::is_denial)) counts for its
//! number, extension included, in the transaction of its end. [`DenialLimits`] says when the number is locked, and
//! [`LimitStore`] which numbers are.
//!
//! # PINs
//! [`PinStore`] has them. A number's PIN is found by each number key, too, and a fingerprint is not deleted while a PIN
//! was hashed with its key.
//!
//! One conformance suite (`tests/stores/`) holds for every store.

mod alerts;
mod attempt;
mod audit;
mod begin_queue;
mod block;
mod denials;
mod error;
mod limits;
mod memory;
mod millis;
mod number_keys;
mod pins;
mod redis;
mod refusal;
mod sqlite;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use self::redis::RedisStore;
use crate::call::{Attempt, CallId, KeyFingerprint, NumberKey};
use crate::config::{Config, ConfigError, ErrorKind, StoreConfig, StoreKind};
pub use crate::limits::{DenialLimits, Limits, PinLimits};
use crate::platform;
pub use alerts::{
    ALERT_LEASE, AlertAdded, AlertStore, ClaimedAlert, DeliveryResult, ListedAlert, MAX_ALERT_WAIT, MAX_WAITING_ALERTS,
    MAX_WAITING_ALERTS_TOTAL, QueuedAlert,
};
pub use attempt::{
    AttemptChange, AttemptState, EndRequest, Ended, LatestAttempt, Lockout, NewAttempt, Orphan, Owner, RecordedChange,
    StoredNumber,
};
pub use audit::{Query, Row, RowOutcome, Step};
pub use block::{Block, BlockScope};
pub use error::{StoreError, StoreErrorCause, StoreErrorKind};
pub use limits::{LimitStore, NumberLock, Usage};
pub use memory::MemoryStore;
pub use number_keys::KeyUse;
use number_keys::{KEY_USE_INTERVAL, KEY_USE_RETENTION, missing_key};
pub(crate) use number_keys::{check_number_keys, check_pepper};
use pins::{Guesses, PinLock};
pub use pins::{NewPin, PepperFingerprint, PinGuess, PinState, PinStore, PinToCompare, StoredPin};
pub use refusal::Refusal;
pub(crate) use refusal::utc;
pub use sqlite::{
    OnlyNewer, Restore, SchemaVersion, SqliteStore, back_up, back_up_before_migration, kept_beside, new_backup,
    schema_version,
};

/// How long an owner counts as alive after it was last heard of.
pub const LEASE: Duration = Duration::from_secs(10);

/// How long after its deadline an attempt may still keep its number, and its owner: whoever was to end it, or to say that
/// its phone rings no more, may be gone, or its word lost.
pub const DEADLINE_GRACE: Duration = Duration::from_secs(30);

/// How often an owner of pending attempts says that it is alive, and looks for those of owners that are not.
pub const RENEW_EVERY: Duration = Duration::from_secs(3);

/// Keeps calls. Every function may be called from any task at any time, and none but `close` blocks the thread.
#[async_trait]
pub trait CallStore: PinStore + LimitStore + AlertStore + Send + Sync {
    /// Who else may know of its calls.
    fn scope(&self) -> Scope;

    /// Begins an attempt, in one transaction with all that it depends on. What is refused changes nothing.
    ///
    /// # Errors
    /// Where it is not known whether the attempt was begun: nobody may be rung for it. Refused, where it has ended: it
    /// was given up, and this comes late. Refused if the store has numbers that were hashed with a key with which this
    /// number was not hashed. Busy, where too many wait: it was not begun.
    async fn begin(&self, new: &NewAttempt, limits: &Limits) -> Result<Begun, StoreError>;

    /// Ends a pending attempt that belongs to `end.owner`, and releases its number if `end.release` is set. An attempt
    /// ends as verified only before its deadline. A denial is counted, and an approval resets the number's denials, in
    /// the same transaction.
    ///
    /// # Errors
    /// If it is not known whether it has ended.
    async fn end(&self, end: &EndRequest) -> Result<Ended, StoreError>;

    /// Records updates of attempts, in this order. An update that comes again changes nothing. Returns the locks that
    /// the ends of attempts caused. A [`AttemptChange::Ended`] of an attempt that the same owner has already ended for the same
    /// reason returns the lock again: the answer to the earlier one may have been lost.
    ///
    /// # Errors
    /// If not all of it is kept.
    async fn record(&self, updates: &[RecordedChange]) -> Result<Vec<Lockout>, StoreError>;

    /// Uses up the approval of a verified attempt. The first owner that asks uses it up: returns true each time that
    /// this owner asks, and false for every other owner. Also returns false if the attempt is not verified, or not the
    /// current one of its id.
    ///
    /// # Errors
    /// If that is not known: the approval must not be reported.
    async fn use_approval(&self, attempt: Attempt, owner: Owner) -> Result<bool, StoreError>;

    /// The current attempt of an id.
    ///
    /// # Errors
    /// Where that is not known.
    async fn find(&self, id: CallId) -> Result<Option<LatestAttempt>, StoreError>;

    /// Says that an owner is alive.
    ///
    /// # Errors
    /// Where that is not kept.
    async fn renew(&self, owner: Owner) -> Result<(), StoreError>;

    /// Makes `owner` the owner of up to `limit` pending attempts whose owner's lease has run out, or whose deadline passed
    /// longer ago than [`DEADLINE_GRACE`]. A lease does not run out while the store of a farm is away: then nobody could renew it.
    ///
    /// # Errors
    /// Where it is not known whether it owns them: then somebody takes them up later.
    async fn claim_orphans(&self, owner: Owner, limit: usize) -> Result<Vec<Orphan>, StoreError>;

    /// Adds a block, in place of one of the same number and scope.
    ///
    /// # Errors
    /// Where it is not kept.
    async fn block(&self, block: &Block) -> Result<(), StoreError>;

    /// Removes all blocks of a number. Returns whether there was one that had not expired.
    ///
    /// # Errors
    /// Where that is not known.
    async fn unblock(&self, number: NumberKey) -> Result<bool, StoreError>;

    /// The block list, without what has expired; the newest first.
    ///
    /// # Errors
    /// Where it cannot be read.
    async fn blocks(&self) -> Result<Vec<Block>, StoreError>;

    /// Checks that a process with these number keys, the current one first, can find every number of the store, and
    /// records which keys it writes with. [`CallStore::begin`] does the same for its number.
    ///
    /// # Errors
    /// Refused if the store has numbers that were hashed with another key. Any other error: the check was not done.
    async fn use_number_keys(&self, known: &[KeyFingerprint], usage: KeyUse) -> Result<(), StoreError>;

    /// The attempts that a query asks for, in its order.
    ///
    /// # Errors
    /// Where they cannot be read.
    async fn rows(&self, query: &Query) -> Result<Vec<Row>, StoreError>;

    /// The steps of an attempt, in the order of their times.
    ///
    /// # Errors
    /// Where they cannot be read.
    async fn steps(&self, attempt: Attempt) -> Result<Vec<Step>, StoreError>;

    /// Forgets attempts that ended longer ago than `keep`, which is at least a day, and blocks that have expired.
    ///
    /// # Errors
    /// Where something old may be left.
    async fn sweep(&self, keep: Duration) -> Result<(), StoreError>;

    /// Returns whether it finished an operation within the last second. When such a store does not answer in time, it is
    /// busy; another one cannot be reached.
    fn is_working(&self) -> bool {
        false
    }

    /// Can it be used? A few words about it.
    ///
    /// # Errors
    /// What is wrong.
    async fn check(&self) -> Result<String, StoreError>;

    /// Lets go of what it keeps open; nobody asks it anything any more. Blocks the thread for up to `within`: false where
    /// that was not enough.
    fn close(&self, _within: Duration) -> bool {
        true
    }
}

/// Opens the store of a configuration. Does no network I/O.
///
/// # Errors
/// If it cannot be used.
pub fn open(config: &Config, base: &Path) -> Result<Arc<dyn CallStore>, OpenError> {
    match config.store.kind {
        StoreKind::Memory => Ok(Arc::new(MemoryStore::default())),
        StoreKind::Sqlite => Ok(Arc::new(sqlite(&config.store, base)?)),
        StoreKind::Redis => Ok(Arc::new(RedisStore::open(&config.store, &config.network, base)?)),
    }
}

/// The file of a store of type sqlite.
///
/// # Errors
/// Where nobody has named one, and the state folder is not known.
pub fn sqlite_file(config: &StoreConfig, base: &Path) -> Result<PathBuf, ConfigError> {
    match &config.path {
        Some(path) => Ok(base.join(path)),
        None => platform::state_folder().map(|folder| folder.join("phonegate.db")).ok_or_else(|| {
            let problem = "the user's state folder is not known (is HOME set?); name a file here";
            ConfigError::at(ErrorKind::StateFolder, "store.path", problem)
        }),
    }
}

fn sqlite(config: &StoreConfig, base: &Path) -> Result<SqliteStore, OpenError> {
    let file = sqlite_file(config, base)?;
    let unusable = |problem: &str, cause| {
        let problem = format_args!("{}: {problem}", file.display());
        OpenError { config: ConfigError::at(ErrorKind::StateFolder, "store.path", problem), cause }
    };
    if let Some(folder) = file.parent() {
        platform::ensure_private_dir(folder)
            .map_err(|error| unusable(&error.to_string(), Some(StoreErrorCause::FileInaccessible)))?;
    }
    SqliteStore::open(&file).map_err(|error| unusable(error.detail(), error.cause()))
}

/// Why the store of a configuration cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{config}")]
pub struct OpenError {
    /// The error, at its key of the configuration.
    pub config: ConfigError,
    /// What an administrator has to correct, if that is known.
    pub cause: Option<StoreErrorCause>,
}

impl From<ConfigError> for OpenError {
    fn from(config: ConfigError) -> Self {
        Self { config, cause: None }
    }
}

impl From<OpenError> for ConfigError {
    fn from(error: OpenError) -> Self {
        error.config
    }
}

/// Who knows of a store's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// This process alone.
    Process,
    /// The processes of this machine, of which one places calls: what it remembers is the newest.
    Machine,
    /// All nodes of a farm: what one of them remembers of an ended call may be out of date.
    Farm,
}

/// What became of [`CallStore::begin`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is durable: place it.
    New,
    /// The same request is pending already, as the attempt of this generation: nothing to do.
    AlreadyOwned(u64),
    /// It may not be placed.
    Refused(Refusal),
}
