//! Time that neither a moved clock nor a sleeping machine can stretch.
//!
//! The monotonic clock may stand still while the machine sleeps, and the wall clock may be moved either way; the time
//! since the machine was started counts sleep, but is coarse. A span is the longest of what the three of them
//! measured: doubt ends a deadline early, never late.

use std::time::{Duration, Instant, SystemTime};

/// One reading of the clocks.
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

    /// The wall clock's part, for logs.
    pub fn wall(self) -> SystemTime {
        self.wall
    }

    /// The time since `earlier`, by the clock that says most. Zero where all say that `earlier` lies ahead.
    pub fn since(self, earlier: Moment) -> Duration {
        let monotonic = self.monotonic.saturating_duration_since(earlier.monotonic);
        let wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        let since_boot = self.since_boot.saturating_sub(earlier.since_boot);
        monotonic.max(wall).max(since_boot)
    }

    /// Was it read before another one, whatever was set in between?
    pub fn is_before(self, other: Moment) -> bool {
        self.monotonic < other.monotonic
    }

    /// This moment with its clocks moved ahead, each by its own span: for tests of sleep and of a clock that was set.
    pub fn moved(self, monotonic: Duration, since_boot: Duration, wall: Duration) -> Moment {
        Moment {
            monotonic: self.monotonic + monotonic,
            since_boot: self.since_boot + since_boot,
            wall: self.wall + wall,
        }
    }
}

/// The end of the time that a call has.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    start: Moment,
    span: Duration,
}

impl Deadline {
    /// The longest that a passed deadline can stay unnoticed by [`Deadline::wait`] after the machine slept.
    const TICK: Duration = Duration::from_millis(500);

    /// A deadline that lies `span` after `start`.
    pub fn after(start: Moment, span: Duration) -> Self {
        Self { start, span }
    }

    /// When the time began.
    pub fn start(&self) -> Moment {
        self.start
    }

    /// How long it is in all.
    pub fn span(&self) -> Duration {
        self.span
    }

    /// The time left at `now`; zero once it has passed.
    pub fn left(&self, now: Moment) -> Duration {
        self.span.saturating_sub(now.since(self.start))
    }

    /// Has it passed at `now`?
    pub fn passed(&self, now: Moment) -> bool {
        self.left(now).is_zero()
    }

    /// Waits until it has passed. A timer counts by the monotonic clock alone, so the wall clock is asked in between.
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
