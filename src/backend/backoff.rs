//! Decides when, and whether, to send the next request to a provider: less often after failures, and not before
//! `Retry-After`.

use std::time::Duration;

/// Number of polls with the first pause of a [`PollSchedule`].
const QUICK_POLLS: u32 = 30;

/// Maximum pause after failures, unless the provider asks for a longer one.
const MAX_PAUSE: Duration = Duration::from_secs(15);

/// Maximum pause that a provider can ask for. The call's deadline ends the pause in any case.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Number of malformed replies in a row after which a call fails.
const MAX_MALFORMED_REPLIES: u32 = 3;

/// Pause before a start is sent again, if the provider asks for no longer one.
const PAUSE_BEFORE_START: Duration = Duration::from_secs(1);

/// Maximum pause before a start is sent again. If the provider asks for more, the next backend is quicker.
const MAX_PAUSE_BEFORE_START: Duration = Duration::from_secs(10);

/// Pauses before a request to end or to delete a call is sent again, which is safe. They leave most of
/// [`HANG_UP_LIMIT`](super::HANG_UP_LIMIT) to the requests.
const RETRY_PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(1500)];

/// An error of a request to a provider.
pub(super) trait RequestError {
    /// Returns whether the same request may succeed a little later.
    fn is_transient(&self) -> bool;

    /// Returns whether the reply was malformed.
    fn is_malformed(&self) -> bool;

    /// Returns whether the provider refused the request as one too many, without processing it.
    fn is_throttled(&self) -> bool;

    /// Returns the pause that the provider asked for, zero if it asked for none.
    fn retry_after(&self) -> Duration;
}

/// Sends a request again as long as its error is transient, after each of [`RETRY_PAUSES`]. The caller limits the time.
pub(super) async fn retry<T, E: RequestError, A>(ask: impl Fn() -> A) -> Result<T, E>
where
    A: Future<Output = Result<T, E>>,
{
    for pause in RETRY_PAUSES {
        match ask().await {
            Err(error) if error.is_transient() => {
                tokio::time::sleep(error.retry_after().max(pause.mul_f64(jitter()))).await;
            }
            done => return done,
        }
    }
    ask().await
}

/// Schedules the polls of one call, and counts consecutive errors.
pub(super) struct PollSchedule {
    /// Pause between the first [`QUICK_POLLS`] polls.
    first: Duration,
    /// Pause between later polls.
    later: Duration,
    polls: u32,
    failures: u32,
    malformed: u32,
    retry_after: Duration,
}

impl PollSchedule {
    /// `first` is the pause between the first 30 polls, when most users press their keys; `later` that between the others.
    pub(super) fn new(first: Duration, later: Duration) -> Self {
        Self { first, later, polls: 0, failures: 0, malformed: 0, retry_after: Duration::ZERO }
    }

    /// Returns the pause before the next poll.
    pub(super) fn next_pause(&mut self) -> Duration {
        self.polls = self.polls.saturating_add(1);
        let pause = if self.polls <= QUICK_POLLS { self.first } else { self.later };
        if self.failures == 0 {
            return pause;
        }
        let backed_off = pause.saturating_mul(1 << self.failures.min(5)).min(MAX_PAUSE.max(pause));
        backed_off.mul_f64(jitter()).max(self.retry_after.min(MAX_RETRY_AFTER))
    }

    pub(super) fn poll_succeeded(&mut self) {
        (self.failures, self.malformed) = (0, 0);
        self.retry_after = Duration::ZERO;
    }

    /// Records that the last poll failed. Returns whether another one may succeed: if not, the call fails.
    pub(super) fn poll_failed(&mut self, error: &impl RequestError) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.malformed = if error.is_malformed() { self.malformed + 1 } else { 0 };
        self.retry_after = error.retry_after();
        error.is_transient() && self.malformed < MAX_MALFORMED_REPLIES
    }
}

/// Returns the pause before a start that the provider did not process is sent again. `None`: it asks for a longer one
/// than is waited for.
pub(super) fn pause_before_start(retry_after: Duration) -> Option<Duration> {
    (retry_after <= MAX_PAUSE_BEFORE_START).then(|| retry_after.max(PAUSE_BEFORE_START.mul_f64(jitter())))
}

/// Returns a random factor of 0.5 to 1.5, so that calls that failed together are not retried together.
pub(super) fn jitter() -> f64 {
    0.5 + fastrand::f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error with the pause that the provider asks for.
    enum TestError {
        Lost(Duration),
        Malformed,
        Refused,
    }

    impl RequestError for TestError {
        fn is_transient(&self) -> bool {
            !matches!(self, Self::Refused)
        }

        fn is_malformed(&self) -> bool {
            matches!(self, Self::Malformed)
        }

        fn is_throttled(&self) -> bool {
            false
        }

        fn retry_after(&self) -> Duration {
            if let Self::Lost(pause) = self { *pause } else { Duration::ZERO }
        }
    }

    fn lost(pause_s: u64) -> TestError {
        TestError::Lost(Duration::from_secs(pause_s))
    }

    fn schedule() -> PollSchedule {
        PollSchedule::new(Duration::from_secs(1), Duration::from_secs(2))
    }

    #[test]
    fn polls_are_a_second_apart_at_first_and_two_later() {
        let mut schedule = schedule();
        for _ in 0..QUICK_POLLS {
            assert_eq!(schedule.next_pause(), Duration::from_secs(1));
            schedule.poll_succeeded();
        }
        assert_eq!(schedule.next_pause(), Duration::from_secs(2));
    }

    #[test]
    fn failures_lengthen_the_pause_up_to_a_limit() {
        let mut schedule = schedule();
        let mut longest = Duration::ZERO;
        for failures in 1..10_u32 {
            assert!(schedule.poll_failed(&lost(0)));
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
    fn a_call_fails_after_three_malformed_replies_in_a_row() {
        let mut schedule = schedule();
        let malformed = TestError::Malformed;
        assert!(schedule.poll_failed(&malformed) && schedule.poll_failed(&malformed));
        assert!(schedule.poll_failed(&lost(0)), "another error is between them");
        assert!(schedule.poll_failed(&malformed) && schedule.poll_failed(&malformed));
        schedule.poll_succeeded();
        assert!(schedule.poll_failed(&malformed) && schedule.poll_failed(&malformed));
        assert!(!schedule.poll_failed(&malformed));
        assert!(!PollSchedule::new(Duration::ZERO, Duration::ZERO).poll_failed(&TestError::Refused));
    }

    #[test]
    fn a_pause_that_a_provider_asks_for_is_kept_up_to_a_limit() {
        let mut schedule = schedule();
        schedule.poll_failed(&lost(40));
        assert_eq!(schedule.next_pause(), Duration::from_secs(40));
        schedule.poll_failed(&lost(4_000));
        assert_eq!(schedule.next_pause(), MAX_RETRY_AFTER);
        assert_eq!(pause_before_start(Duration::from_secs(5)), Some(Duration::from_secs(5)));
        assert_eq!(pause_before_start(Duration::from_secs(4_000)), None);
    }
}
