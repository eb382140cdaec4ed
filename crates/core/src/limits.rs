//! The limits that the configuration sets and a store enforces. `docs/design/store-contract.md` says what a store
//! guarantees about them.

use std::time::Duration;

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
    /// Calls within 24 hours in all. `None`: no limit.
    pub calls_per_day: Option<u64>,
    /// Calls to the number's country within 24 hours. `None`: no limit.
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

/// How often a PIN may be guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinLimits {
    /// Failures after which the PIN is locked, at least 1.
    pub max_failures: u32,
    /// The duration of a lock.
    pub lock: Duration,
}
