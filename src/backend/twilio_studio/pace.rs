//! How often Twilio is asked: often at first, when most users press their key, and less where it struggles.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(2);

/// After so many looks the later pace holds.
const QUICK_LOOKS: u32 = 30;

/// The longest pause after failures.
const LONGEST: Duration = Duration::from_secs(15);

/// The longest pause that Twilio can ask for. The call's deadline ends it in any case.
const LONGEST_ASKED: Duration = Duration::from_secs(60);

/// The longest pause before a start is tried again. Where Twilio asks for more, the next backend is quicker.
const LONGEST_BEFORE_START: Duration = Duration::from_secs(10);

/// When to look next.
pub(super) struct Pace {
    looks: u32,
    failures: u32,
    asked: Duration,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { looks: 0, failures: 0, asked: Duration::ZERO }
    }

    /// How long to wait before the next look.
    pub(super) fn next(&mut self) -> Duration {
        self.looks = self.looks.saturating_add(1);
        let pace = if self.looks <= QUICK_LOOKS { FIRST } else { LATER };
        if self.failures == 0 {
            return pace;
        }
        let backed_off = pace.saturating_mul(1 << self.failures.min(5)).min(LONGEST);
        backed_off.mul_f64(jitter()).max(self.asked.min(LONGEST_ASKED))
    }

    pub(super) fn went_well(&mut self) {
        self.failures = 0;
        self.asked = Duration::ZERO;
    }

    /// The last look failed; Twilio asked to wait so long, zero where it did not.
    pub(super) fn went_wrong(&mut self, asked: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.asked = asked;
    }
}

/// How long to wait before a start that Twilio did not process is sent again. None: too long.
pub(super) fn before_start(asked: Duration) -> Option<Duration> {
    (asked <= LONGEST_BEFORE_START).then(|| asked.max(FIRST.mul_f64(jitter())))
}

/// Half to one and a half: many calls that failed together do not come back together.
pub(super) fn jitter() -> f64 {
    0.5 + fastrand::f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_a_second_at_first_and_two_later() {
        let mut pace = Pace::new();
        for _ in 0..QUICK_LOOKS {
            assert_eq!(pace.next(), Duration::from_secs(1));
            pace.went_well();
        }
        assert_eq!(pace.next(), Duration::from_secs(2));
    }

    #[test]
    fn failures_lengthen_the_pause_up_to_a_limit_and_success_ends_that() {
        let mut pace = Pace::new();
        let mut longest = Duration::ZERO;
        for failures in 1..10_u32 {
            pace.went_wrong(Duration::ZERO);
            let pause = pace.next();
            let middle = Duration::from_secs(1 << failures.min(5)).min(LONGEST);
            assert!(pause >= middle.mul_f64(0.5) && pause <= middle.mul_f64(1.5), "{failures}: {pause:?}");
            longest = longest.max(pause);
        }
        assert!(longest > Duration::from_secs(7));
        pace.went_well();
        assert_eq!(pace.next(), Duration::from_secs(1));
    }

    #[test]
    fn a_pause_that_twilio_asks_for_is_kept_within_reason() {
        let mut pace = Pace::new();
        pace.went_wrong(Duration::from_secs(40));
        assert_eq!(pace.next(), Duration::from_secs(40));
        pace.went_wrong(Duration::from_secs(4_000));
        assert_eq!(pace.next(), LONGEST_ASKED);
        assert_eq!(before_start(Duration::from_secs(5)), Some(Duration::from_secs(5)));
        assert_eq!(before_start(Duration::from_secs(4_000)), None);
    }
}
