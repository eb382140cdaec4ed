//! Limits that no test reaches.

use std::time::Duration;

use phonegate::store::{DenialLimits, Limits};

/// Limits that admit every call of a test.
pub const NO_LIMITS: Limits = Limits {
    calls_per_number: 1_000_000,
    per_number_window: Duration::from_secs(600),
    calls_per_number_per_day: 1_000_000,
    line_in_progress: 1_000_000,
    line_per_minute: 1_000_000,
    concurrent_calls: 1_000_000,
    calls_per_minute: 1_000_000,
    calls_per_day: None,
    country_per_day: None,
};

/// Denials that lock no number.
pub const NO_LOCK: DenialLimits =
    DenialLimits { count: u64::MAX, window: Duration::from_secs(3600), lock: Duration::from_secs(3600) };
