//! Deadlines that are never late, whether the machine sleeps or its clock is set.
//!
//! The monotonic clock may stop while the machine sleeps. The wall clock may be set either way. The time since boot
//! includes sleep, but is coarse on Windows. A span is the longest that the three clocks measured, so that a deadline
//! may end early, but never late. `docs/design/clocks.md` explains all clocks.

mod jumps;

use std::time::{Duration, Instant, SystemTime};

use time::OffsetDateTime;
use time::macros::datetime;

pub use jumps::ClockJumps;

/// The last second that has a date in RFC 3339.
const LAST_DATE: OffsetDateTime = datetime!(9999-12-31 23:59:59 UTC);

/// Converts a time to UTC. Times before 1970 become the first second of 1970, and those after the year 9999 the last
/// second of that year: RFC 3339 has no dates for later ones, and a clock may be set to anything.
pub fn utc(time: SystemTime) -> OffsetDateTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let nanoseconds = i128::try_from(since.as_nanos()).unwrap_or(i128::MAX);
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).map_or(LAST_DATE, |time| time.min(LAST_DATE))
}

/// A reading of all three clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    monotonic: Instant,
    since_boot: Duration,
    wall: SystemTime,
}

impl Moment {
    /// Reads the clocks.
    pub fn now() -> Self {
        Self { monotonic: Instant::now(), since_boot: phonegate_os::since_boot(), wall: SystemTime::now() }
    }

    /// Returns the reading of the wall clock.
    pub fn wall(self) -> SystemTime {
        self.wall
    }

    /// Returns the time since `earlier`, by the clock that measured most. Zero if every clock is behind `earlier`.
    pub fn since(self, earlier: Moment) -> Duration {
        let monotonic = self.monotonic.saturating_duration_since(earlier.monotonic);
        let wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        let since_boot = self.since_boot.saturating_sub(earlier.since_boot);
        monotonic.max(wall).max(since_boot)
    }

    /// Returns how far the wall clock and the time since boot have moved ahead of the monotonic clock since `origin`, in
    /// nanoseconds. Negative: behind.
    fn leads(self, origin: Moment) -> [i128; 2] {
        let nanoseconds = |span: Duration| i128::try_from(span.as_nanos()).unwrap_or(i128::MAX);
        let monotonic = nanoseconds(self.monotonic.saturating_duration_since(origin.monotonic));
        let wall = match self.wall.duration_since(origin.wall) {
            Ok(ahead) => nanoseconds(ahead),
            Err(behind) => -nanoseconds(behind.duration()),
        };
        let since_boot = nanoseconds(self.since_boot) - nanoseconds(origin.since_boot);
        [wall - monotonic, since_boot - monotonic]
    }

    /// Returns whether it was read before another moment of this process, even if a clock was set in between.
    pub fn is_before(self, other: Moment) -> bool {
        self.monotonic < other.monotonic
    }

    /// Returns this moment with each clock moved ahead by its own span, for tests of sleep and of a clock that is set.
    pub fn moved(self, monotonic: Duration, since_boot: Duration, wall: Duration) -> Moment {
        Moment {
            monotonic: self.monotonic + monotonic,
            since_boot: self.since_boot + since_boot,
            wall: self.wall + wall,
        }
    }
}

/// The end of the time that a call may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    start: Moment,
    span: Duration,
}

impl Deadline {
    /// How late [`Deadline::wait`] may return if the machine slept.
    const TICK: Duration = Duration::from_millis(500);

    /// Returns the deadline `span` after `start`.
    pub fn after(start: Moment, span: Duration) -> Self {
        Self { start, span }
    }

    /// Returns the beginning.
    pub fn start(&self) -> Moment {
        self.start
    }

    /// Returns the whole duration.
    pub fn span(&self) -> Duration {
        self.span
    }

    /// Returns the time left at `now`. Zero after the deadline.
    pub fn left(&self, now: Moment) -> Duration {
        self.span.saturating_sub(now.since(self.start))
    }

    /// Returns whether it has passed at `now`.
    pub fn passed(&self, now: Moment) -> bool {
        self.left(now).is_zero()
    }

    /// Waits until it has passed. A timer uses the monotonic clock only, so the other clocks are read every 500 ms.
    pub async fn wait(&self) {
        loop {
            let left = self.left(Moment::now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(Self::TICK)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_a_date() {
        let at = |seconds| utc(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(1_772_357_400), datetime!(2026-03-01 09:30 UTC));
        assert_eq!(at(253_402_300_799), LAST_DATE);
        for later in [253_402_300_800, 9_000_000_000_000_000_000] {
            assert_eq!(at(later), LAST_DATE);
        }
        assert_eq!(utc(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), OffsetDateTime::UNIX_EPOCH);
    }
}
