//! The limits that refuse calls.

use std::fmt;

/// A limit of the configuration, which refuses a call as Throttled. Its name is its key below `limits`, and is written
/// to logs, to the store and to metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallLimit {
    /// Calls to one number within a window.
    CallsPerNumber,
    /// Calls to one number within 24 hours.
    CallsPerNumberPerDay,
    /// Calls to all extensions of a line: within a minute, or in progress.
    CallsPerLine,
    /// All calls within a minute.
    CallsPerMinute,
    /// All calls in progress.
    ConcurrentCalls,
    /// All calls within 24 hours.
    CallsPerDay,
    /// Calls to the numbers of a country within 24 hours.
    ByCountry,
    /// Calls to one number that were not approved.
    Denials,
}

impl CallLimit {
    /// Every limit, in the order of reports.
    pub const ALL: [Self; 8] = [
        Self::CallsPerNumber,
        Self::CallsPerNumberPerDay,
        Self::CallsPerLine,
        Self::CallsPerMinute,
        Self::ConcurrentCalls,
        Self::CallsPerDay,
        Self::ByCountry,
        Self::Denials,
    ];

    /// Returns its key below `limits` in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::CallsPerNumber => "calls_per_number",
            Self::CallsPerNumberPerDay => "calls_per_number_per_day",
            Self::CallsPerLine => "calls_per_line",
            Self::CallsPerMinute => "calls_per_minute",
            Self::ConcurrentCalls => "concurrent_calls",
            Self::CallsPerDay => "calls_per_day",
            Self::ByCountry => "by_country",
            Self::Denials => "denials",
        }
    }

    /// Returns the limit with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|limit| limit.name() == name)
    }
}

/// Writes its path in the configuration: `limits.calls_per_day`.
impl fmt::Display for CallLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limits.{}", self.name())
    }
}
