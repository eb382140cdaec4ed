//! Notices that a clock moved ahead of the monotonic one.

use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use super::{Deadline, Moment};

/// The clocks are read once in this time.
const INTERVAL: Duration = Deadline::TICK;

/// A smaller lead is no jump. The time since boot is coarse on Windows, and the speed of the wall clock is adjusted.
const TOLERANCE_NS: i128 = 100_000_000;

/// Ends the waits of many deadlines early when the machine has slept or its clock was set ahead: a timer runs by the
/// monotonic clock only.
///
/// One of the waiting tasks reads the clocks for all of them, so that the others are not woken needlessly. If it ends,
/// the next one continues.
pub struct ClockJumps {
    now: fn() -> Moment,
    readings: Mutex<Readings>,
    jumped: Notify,
}

struct Readings {
    next: Instant,
    origin: Moment,
    /// The least lead of each clock since the last jump.
    least: Leads,
}

/// How far the wall clock and the time since boot are ahead of the monotonic clock, in nanoseconds. Negative: behind.
type Leads = [i128; 2];

impl Default for ClockJumps {
    fn default() -> Self {
        Self::by(Moment::now)
    }
}

impl ClockJumps {
    fn by(now: fn() -> Moment) -> Self {
        let readings = Readings { next: Instant::now(), origin: now(), least: [0; 2] };
        Self { now, readings: Mutex::new(readings), jumped: Notify::new() }
    }

    /// Waits until this deadline has passed. After a sleep, or after a clock was set ahead, it returns at most 600 ms
    /// late.
    pub async fn wait(&self, deadline: &Deadline) {
        loop {
            // Before the clocks are read, so that a jump in between is noticed.
            let jumped = self.jumped.notified();
            let left = deadline.left((self.now)());
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                () = jumped => {}
                () = self.read_until_jump() => {}
            }
        }
    }

    /// Reads the clocks until one has jumped, and wakes all waiting tasks. Only one task at a time reads.
    async fn read_until_jump(&self) {
        let mut readings = self.readings.lock().await;
        loop {
            tokio::time::sleep_until(readings.next).await;
            readings.next = Instant::now() + INTERVAL;
            if readings.has_jumped((self.now)()) {
                return self.jumped.notify_waiters();
            }
        }
    }
}

impl Readings {
    /// Returns whether a clock has moved ahead since the last jump. Small leads are added up. A clock that was set back
    /// counts as having jumped when it is set forward again.
    fn has_jumped(&mut self, now: Moment) -> bool {
        let leads = now.leads(self.origin);
        let ahead = |lead: &i128, least: &i128| lead.saturating_sub(*least) > TOLERANCE_NS;
        let has_jumped = leads.iter().zip(&self.least).any(|(lead, least)| ahead(lead, least));
        for (least, lead) in self.least.iter_mut().zip(leads) {
            *least = if has_jumped { lead } else { lead.min(*least) };
        }
        has_jumped
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    thread_local! {
        /// For how long the machine of this test has slept.
        static SLEPT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    fn after_sleep() -> Moment {
        Moment::now().moved(Duration::ZERO, SLEPT.get(), SLEPT.get())
    }

    #[test]
    fn only_a_clock_that_moved_ahead_has_jumped() {
        let origin = Moment::now();
        let mut readings = Readings { next: Instant::now(), origin, least: [0; 2] };
        let mut at = |seconds: u32, since_boot_ms: u64, wall_ms: u64| {
            let ms = |ms| SECOND * seconds + Duration::from_millis(ms);
            readings.has_jumped(origin.moved(SECOND * seconds, ms(since_boot_ms), ms(wall_ms)))
        };
        assert!(!at(1, 0, 0) && !at(2, 16, 16) && !at(3, 0, 16), "clocks are coarse");
        assert!(at(4, 3_600_000, 0), "the machine slept");
        assert!(!at(5, 3_600_000, 0), "once");
        assert!(at(6, 3_600_000, 200) && !at(7, 3_600_000, 200), "the wall clock was set");
        assert!(!at(8, 3_600_000, 260) && at(9, 3_600_000, 320), "small leads add up");
        assert!(!at(10, 3_600_000, 0) && at(11, 3_600_000, 320), "set back, and to where it was");
    }

    #[tokio::test(start_paused = true)]
    async fn a_jump_ends_the_wait_of_every_deadline() {
        let jumps = ClockJumps::by(after_sleep);
        let deadlines = [1, 2, 3].map(|hours| Deadline::after(Moment::now(), SECOND * 3600 * hours));
        let [first, second, third] = deadlines.each_ref().map(|deadline| jumps.wait(deadline));
        tokio::pin!(first, second, third);
        let sleep = |hours| async move {
            tokio::time::sleep(SECOND).await;
            SLEPT.set(SECOND * 3600 * hours);
        };
        tokio::select! {
            () = async { tokio::join!(&mut first, &mut second, &mut third); } => unreachable!("before the jump"),
            () = sleep(2) => {}
        }
        tokio::join!(&mut first, &mut second);
        // The task that read the clocks has ended.
        tokio::select! {
            () = &mut third => unreachable!("before the jump"),
            () = sleep(3) => {}
        }
        third.await;
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_end_do_not_delay_the_reading() {
        let jumps = ClockJumps::by(after_sleep);
        let (start, deadline) = (Instant::now(), Deadline::after(Moment::now(), SECOND * 3600));
        let ending = async {
            let wait = |n| tokio::time::timeout(INTERVAL / 5 * n, jumps.wait(&deadline));
            // Each reads the clocks for a fifth of the interval.
            _ = tokio::join!(wait(1), wait(2), wait(3), wait(4), wait(5), wait(6));
            std::future::pending().await
        };
        let sleep = async {
            tokio::time::sleep(INTERVAL / 2).await;
            SLEPT.set(SECOND * 3600);
            std::future::pending().await
        };
        tokio::select! {
            biased;
            () = ending => {}
            () = sleep => {}
            () = jumps.wait(&deadline) => {}
        }
        assert_eq!(start.elapsed(), INTERVAL);
    }
}
