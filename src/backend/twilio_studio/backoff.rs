//! When to send the next request to Twilio: quickly at first, when most users press their key, and less often if Twilio
//! has problems.

use std::time::Duration;

/// Pause between polls at first.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Pause between polls after [`QUICK_POLLS`].
const LATER_PAUSE: Duration = Duration::from_secs(2);

/// Number of polls with the shorter pause.
const QUICK_POLLS: u32 = 30;

/// Maximum pause after failures, unless Twilio asks for a longer one.
const MAX_PAUSE: Duration = Duration::from_secs(15);

/// Maximum pause that Twilio can ask for. The call's deadline ends the pause in any case.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Maximum pause before a start is sent again. If Twilio asks for more, the next backend is quicker.
const MAX_PAUSE_BEFORE_START: Duration = Duration::from_secs(10);

/// The pauses between the polls of one call.
pub(super) struct PollSchedule {
    polls: u32,
    failures: u32,
    retry_after: Duration,
}

impl PollSchedule {
    pub(super) fn new() -> Self {
        Self { polls: 0, failures: 0, retry_after: Duration::ZERO }
    }

    /// Returns the pause before the next poll.
    pub(super) fn next_pause(&mut self) -> Duration {
        self.polls = self.polls.saturating_add(1);
        let pause = if self.polls <= QUICK_POLLS { FIRST_PAUSE } else { LATER_PAUSE };
        if self.failures == 0 {
            return pause;
        }
        let backed_off = pause.saturating_mul(1 << self.failures.min(5)).min(MAX_PAUSE);
        backed_off.mul_f64(jitter()).max(self.retry_after.min(MAX_RETRY_AFTER))
    }

    pub(super) fn poll_succeeded(&mut self) {
        self.failures = 0;
        self.retry_after = Duration::ZERO;
    }

    /// Records that the last poll failed. `retry_after` is the pause that Twilio asked for, zero if it asked for none.
    pub(super) fn poll_failed(&mut self, retry_after: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.retry_after = retry_after;
    }
}

/// Returns the pause before a start that Twilio did not process is sent again. `None`: Twilio asks for a longer one than
/// is waited for.
pub(super) fn pause_before_start(retry_after: Duration) -> Option<Duration> {
    (retry_after <= MAX_PAUSE_BEFORE_START).then(|| retry_after.max(FIRST_PAUSE.mul_f64(jitter())))
}

/// Returns a random factor of 0.5 to 1.5, so that calls that failed together are not retried together.
pub(super) fn jitter() -> f64 {
    0.5 + fastrand::f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_are_a_second_apart_at_first_and_two_later() {
        let mut schedule = PollSchedule::new();
        for _ in 0..QUICK_POLLS {
            assert_eq!(schedule.next_pause(), Duration::from_secs(1));
            schedule.poll_succeeded();
        }
        assert_eq!(schedule.next_pause(), Duration::from_secs(2));
    }

    #[test]
    fn failures_lengthen_the_pause_up_to_a_limit() {
        let mut schedule = PollSchedule::new();
        let mut longest = Duration::ZERO;
        for failures in 1..10_u32 {
            schedule.poll_failed(Duration::ZERO);
            let pause = schedule.next_pause();
            let middle = Duration::from_secs(1 << failures.min(5)).min(MAX_PAUSE);
            assert!(pause >= middle.mul_f64(0.5) && pause <= middle.mul_f64(1.5), "{failures}: {pause:?}");
            longest = longest.max(pause);
        }
        assert!(longest > Duration::from_secs(7));
        schedule.poll_succeeded();
        assert_eq!(schedule.next_pause(), Duration::from_secs(1), "a success ends it");
    }

    #[test]
    fn a_pause_that_twilio_asks_for_is_kept_up_to_a_limit() {
        let mut schedule = PollSchedule::new();
        schedule.poll_failed(Duration::from_secs(40));
        assert_eq!(schedule.next_pause(), Duration::from_secs(40));
        schedule.poll_failed(Duration::from_secs(4_000));
        assert_eq!(schedule.next_pause(), MAX_RETRY_AFTER);
        assert_eq!(pause_before_start(Duration::from_secs(5)), Some(Duration::from_secs(5)));
        assert_eq!(pause_before_start(Duration::from_secs(4_000)), None);
    }
}
