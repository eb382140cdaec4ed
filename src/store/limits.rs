//! Limits of calls, and locks of numbers.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::StoreError;
use crate::call::{Country, NumberKey};

/// Window of the limits per minute.
pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// Window of the limits per day, and the longest window of `calls_per_number`.
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// All calls of a day, and those to a country, are counted in buckets of this width.
pub(super) const DAY_BUCKET: Duration = Duration::from_secs(10 * 60);

/// How many calls there may be, for a call to one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls to the number within `per_number_window`.
    pub calls_per_number: u64,
    /// The window of `calls_per_number`, at most 24 hours.
    pub per_number_window: Duration,
    /// Calls to the number within 24 hours.
    pub calls_per_number_per_day: u64,
    /// Pending calls to all extensions of the number's line.
    pub line_in_progress: u64,
    /// Calls to all extensions of the number's line within 60 seconds.
    pub line_per_minute: u64,
    /// Pending calls in all.
    pub concurrent_calls: u64,
    /// Calls within 60 seconds in all.
    pub calls_per_minute: u64,
    /// Calls within 24 hours in all. `None`: no cap.
    pub calls_per_day: Option<u64>,
    /// Calls to the number's country within 24 hours. `None`: no cap.
    pub country_per_day: Option<u64>,
}

/// The limits by which denials lock a number.
///
/// `count` denials within `window` lock the number, and then do not count any more. The first lock lasts `lock`, each
/// further one twice as long as the one before, up to 24 hours. While a number is locked, its denials do not count. An
/// approval resets the denials and the locks, and so do 30 days without a denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DenialLimits {
    /// Denials that lock the number, at least 1.
    pub count: u64,
    /// The window in which denials are counted.
    pub window: Duration,
    /// The duration of the first lock.
    pub lock: Duration,
}

/// A number that is locked after denials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberLock {
    /// The number, extension included.
    pub number: NumberKey,
    /// The same, masked.
    pub masked: Box<str>,
    /// When it was locked.
    pub since: SystemTime,
    /// When the lock ends.
    pub until: SystemTime,
    /// Locks since the last approval, this one included.
    pub locks: u32,
}

/// Calls that count for `calls_per_day` and `by_country` now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// All calls.
    pub day: u64,
    /// Calls to each country, in the order of their codes.
    pub by_country: Vec<(Country, u64)>,
}

/// The locks and counters of a store.
#[async_trait]
pub trait LimitStore: Send + Sync {
    /// Returns the numbers that are locked now, the one that was locked last first.
    ///
    /// # Errors
    /// If they cannot be read.
    async fn locks(&self) -> Result<Vec<NumberLock>, StoreError>;

    /// Resets the denials and the lock of a number, given as its hashes with each number key. Returns whether it was
    /// locked.
    ///
    /// # Errors
    /// If it is not known whether it is unlocked.
    async fn unlock(&self, numbers: &[NumberKey]) -> Result<bool, StoreError>;

    /// Returns the calls that count for `calls_per_day` and `by_country`.
    ///
    /// # Errors
    /// If they cannot be read.
    async fn usage(&self) -> Result<Usage, StoreError>;
}
