//! Does this process certainly count as alive in the store, without a break since it began a call? Otherwise another one may
//! have taken the call up.

use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Moment;
use crate::store::{LEASE, RENEW_EVERY};

/// For so long after it was asked for a lease certainly runs.
const CERTAIN: Duration = LEASE.saturating_sub(RENEW_EVERY);

/// The lease of this process, as far as it knows.
#[derive(Default)]
pub(super) struct Lease(Mutex<Option<Alive>>);

/// Since when, without a break, and when last it was asked for, and granted.
#[derive(Clone, Copy)]
struct Alive {
    since: Moment,
    last: Moment,
}

impl Lease {
    /// Notes that it was asked for then, and granted.
    pub(super) fn hear_of(&self, asked: Moment) {
        let mut alive = self.0.lock();
        *alive = Some(match *alive {
            // What was asked later may be answered earlier.
            Some(Alive { since, last }) if asked.is_before(since) && since.since(asked) < CERTAIN => {
                Alive { since: asked, last }
            }
            Some(before) if asked.is_before(before.last) => before,
            Some(Alive { since, last }) if asked.since(last) < CERTAIN => Alive { since, last: asked },
            _ => Alive { since: asked, last: asked },
        });
    }

    /// Has it certainly run from that moment, when it was asked for, until now?
    pub(super) fn holds_since(&self, begun: Moment) -> bool {
        self.holds_from_to(begun, Moment::now())
    }

    fn holds_from_to(&self, begun: Moment, now: Moment) -> bool {
        self.0.lock().is_some_and(|alive| !begun.is_before(alive.since) && now.since(alive.last) < CERTAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A lease that was granted at these seconds, in this order: does it run from one second to another?
    fn runs(granted: &[u32], from: u32, to: u32) -> bool {
        let start = Moment::now();
        let at = |second: u32| start.moved(second * SECOND, second * SECOND, second * SECOND);
        let lease = Lease::default();
        granted.iter().for_each(|second| lease.hear_of(at(*second)));
        lease.holds_from_to(at(from), at(to))
    }

    #[test]
    fn a_lease_runs_from_one_renewal_to_the_next_and_some_time_longer() {
        assert!(!runs(&[], 0, 0));
        assert!(runs(&[0], 0, 6) && !runs(&[0], 0, 7));
        assert!(runs(&[0, 3, 6, 9], 0, 12) && runs(&[0, 3, 6, 9], 5, 12));
        assert!(!runs(&[3], 0, 4), "it was not there yet");
    }

    #[test]
    fn a_lease_that_may_have_run_out_does_not_come_back_for_what_was_begun_before() {
        assert!(!runs(&[0, 8], 0, 9) && runs(&[0, 8], 8, 9));
        assert!(!runs(&[0, 8, 11], 1, 12));
    }

    #[test]
    fn answers_may_come_in_another_order() {
        assert!(runs(&[1, 0], 0, 2) && runs(&[5, 1, 3], 1, 10));
        assert!(!runs(&[9, 0], 0, 10));
    }

    #[test]
    fn a_clock_that_is_set_back_breaks_no_lease() {
        let start = Moment::now().moved(Duration::ZERO, Duration::ZERO, 3600 * SECOND);
        let (later, zero) = (Moment::now().moved(SECOND, SECOND, Duration::ZERO), Duration::ZERO);
        let lease = Lease::default();
        lease.hear_of(start);
        lease.hear_of(later);
        assert!(lease.holds_from_to(later.moved(SECOND, SECOND, zero), later.moved(2 * SECOND, 2 * SECOND, zero)));
    }
}
