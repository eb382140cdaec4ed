//! The lease of this process, as far as the process itself can know. See `docs/design/call.md`.

use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Moment;
use crate::store::{LEASE, RENEW_EVERY};

/// A lease is valid for this long after its renewal was *requested*; the reply may arrive later.
const LEASE_SAFE: Duration = LEASE.saturating_sub(RENEW_EVERY);

// A renewal must be requested at least twice before the lease may have run out.
const _: () = assert!(2 * RENEW_EVERY.as_millis() < LEASE_SAFE.as_millis());

/// The lease of this process.
#[derive(Default)]
pub(super) struct Lease(Mutex<Option<Held>>);

/// A time in which the lease was certainly valid without a break.
#[derive(Clone, Copy)]
struct Held {
    /// When the first renewal was requested.
    since: Moment,
    /// When the last one was.
    renewed: Moment,
}

impl Lease {
    /// Records that the store granted a renewal that was requested at `requested`. Grants may be recorded in any order.
    pub(super) fn renewed_at(&self, requested: Moment) {
        let mut held = self.0.lock();
        *held = Some(match *held {
            Some(Held { since, renewed }) if requested.is_before(since) && since.since(requested) < LEASE_SAFE => {
                Held { since: requested, renewed }
            }
            Some(before) if requested.is_before(before.renewed) => before,
            Some(Held { since, renewed }) if requested.since(renewed) < LEASE_SAFE => {
                Held { since, renewed: requested }
            }
            _ => Held { since: requested, renewed: requested },
        });
    }

    /// Returns whether the lease was certainly valid from `begun` until now. Otherwise another process may have claimed a
    /// call that was begun then.
    pub(super) fn is_held_since(&self, begun: Moment) -> bool {
        self.is_held_from_to(begun, Moment::now())
    }

    fn is_held_from_to(&self, begun: Moment, now: Moment) -> bool {
        self.0.lock().is_some_and(|held| !begun.is_before(held.since) && now.since(held.renewed) < LEASE_SAFE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns whether a lease whose renewals were requested at these seconds, and granted in this order, is held from one
    /// second to another.
    fn is_held(granted: &[u32], from: u32, to: u32) -> bool {
        let start = Moment::now();
        let at = |second: u32| start.moved(second * SECOND, second * SECOND, second * SECOND);
        let lease = Lease::default();
        granted.iter().for_each(|second| lease.renewed_at(at(*second)));
        lease.is_held_from_to(at(from), at(to))
    }

    #[test]
    fn a_lease_is_held_until_some_time_after_its_last_renewal() {
        assert!(!is_held(&[], 0, 0));
        assert!(is_held(&[0], 0, 6) && !is_held(&[0], 0, 7));
        assert!(is_held(&[0, 3, 6, 9], 0, 12) && is_held(&[0, 3, 6, 9], 5, 12));
        assert!(!is_held(&[3], 0, 4), "not yet granted");
    }

    #[test]
    fn a_lease_that_may_have_expired_is_not_held_since_before() {
        assert!(!is_held(&[0, 8], 0, 9) && is_held(&[0, 8], 8, 9));
        assert!(!is_held(&[0, 8, 11], 1, 12));
    }

    #[test]
    fn renewals_may_be_granted_in_another_order() {
        assert!(is_held(&[1, 0], 0, 2) && is_held(&[5, 1, 3], 1, 10));
        assert!(!is_held(&[9, 0], 0, 10));
    }

    #[test]
    fn a_clock_that_is_set_back_ends_no_lease() {
        let start = Moment::now().moved(Duration::ZERO, Duration::ZERO, 3600 * SECOND);
        let (later, zero) = (Moment::now().moved(SECOND, SECOND, Duration::ZERO), Duration::ZERO);
        let lease = Lease::default();
        lease.renewed_at(start);
        lease.renewed_at(later);
        assert!(lease.is_held_from_to(later.moved(SECOND, SECOND, zero), later.moved(2 * SECOND, 2 * SECOND, zero)));
    }
}
