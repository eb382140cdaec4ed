//! Times and durations as stores keep them: in milliseconds, as an `i64`.

use std::time::{Duration, SystemTime};

/// Converts a duration. A longer one than an `i64` holds becomes the greatest.
pub(super) const fn milliseconds(span: Duration) -> i64 {
    let milliseconds = span.as_millis();
    if milliseconds > i64::MAX as u128 { i64::MAX } else { milliseconds as i64 }
}

/// Converts milliseconds. A negative number becomes zero.
pub(super) fn span(milliseconds: i64) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default())
}

/// Converts a wall-clock time to milliseconds since 1970. An earlier one becomes 0.
pub(super) fn to_unix(time: SystemTime) -> i64 {
    milliseconds(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// Converts milliseconds since 1970 to a wall-clock time.
pub(super) fn from_unix(milliseconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(span(milliseconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}
