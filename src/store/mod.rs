//! What outlives the process: each attempt from before the first ring to its end, its steps, and the numbers that are not
//! called.
//!
//! A store also answers for other processes: those of a farm, and the one that starts after this one was killed. All
//! stores obey one contract, `docs/design/store-contract.md`, whose rules the code cites by number (`S4`). Each has a
//! folder here, with its settings; [`STORES`] lists them. One conformance suite, `tests/stores`, runs with every store.
//!
//! | trait | for |
//! |---|---|
//! | [`CallStore`] | attempts, ownership, blocks, number keys, the audit |
//! | [`LimitStore`] | locks after denials, and the use of the daily limits |
//! | [`PinStore`] | PINs and their guesses |
//! | [`AlertStore`] | alerts that wait for their delivery |

mod alerts;
mod attempt;
mod audit;
mod begin_queue;
mod block;
mod call_store;
mod denials;
mod error;
mod limits;
mod memory;
mod millis;
mod number_keys;
mod open;
mod pins;
mod redis;
mod refusal;
mod sqlite;
mod unreadable;

use std::time::Duration;

pub use self::redis::{RedisConfig, RedisStore};
pub use crate::limits::{DenialLimits, Limits, PinLimits};
pub(crate) use alerts::REPEAT_WINDOW as ALERT_REPEAT_WINDOW;
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
pub use call_store::{Begun, CallStore, Scope};
pub use error::{StoreError, StoreErrorCause, StoreErrorKind};
pub use limits::{LimitStore, NumberLock, Usage};
pub use memory::{MemoryConfig, MemoryStore};
pub use number_keys::KeyUse;
pub(crate) use number_keys::{check_number_keys, check_pepper_at_start};
pub use open::{OpenError, OpenStore, STORES, open, sqlite_file};
pub use pins::{NewPin, PepperFingerprint, PinGuess, PinState, PinStore, PinToCompare, StoredPin};
pub use refusal::Refusal;
pub(crate) use refusal::utc;
pub use sqlite::{
    OnlyNewer, Restore, SchemaVersion, SqliteConfig, SqliteStore, back_up, back_up_before_migration, backup_files,
    new_backup, schema_version,
};
pub use unreadable::{RecordKind, UnreadableCounts};

/// A lease is valid for this long after its last renewal (S9).
pub const LEASE: Duration = Duration::from_secs(10);

/// An attempt keeps its number and its owner for this long after its deadline (S8, S9). By then its owner has ended it, or
/// the owner is gone, or the record of its end was lost.
pub const DEADLINE_GRACE: Duration = Duration::from_secs(30);

/// How often an owner of pending attempts renews its lease and claims orphans.
pub const RENEW_EVERY: Duration = Duration::from_secs(3);

const _: () = assert!(RENEW_EVERY.as_secs() * 3 < LEASE.as_secs(), "two renewals may be lost without losing the lease");
