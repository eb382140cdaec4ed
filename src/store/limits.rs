//! Locks and counters of numbers.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::StoreError;
use crate::call::{Country, NumberHash};

/// Window of the limits per minute.
pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// Window of the limits per day, and the longest window of `calls_per_number`.
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// All calls of a day, and those to a country, are counted in buckets of this width.
pub(super) const DAY_BUCKET: Duration = Duration::from_secs(10 * 60);

/// A number that is locked after denials (S13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberLock {
    /// The number, extension included.
    pub number: NumberHash,
    /// The number, masked.
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
    /// Returns the numbers that are locked now, the most recently locked first.
    ///
    /// # Errors
    /// If they cannot be read.
    async fn locks(&self) -> Result<Vec<NumberLock>, StoreError>;

    /// Resets the denials and the lock of a number, given as its hashes with each number key. Returns whether it was
    /// locked.
    ///
    /// # Errors
    /// If it is not known whether it is unlocked.
    async fn unlock(&self, numbers: &[NumberHash]) -> Result<bool, StoreError>;

    /// Returns the calls that count for `calls_per_day` and `by_country`.
    ///
    /// # Errors
    /// If they cannot be read.
    async fn usage(&self) -> Result<Usage, StoreError>;
}
