//! The rules by which denials lock a number (S13). They are the same in every store.

use std::time::Duration;

use super::DenialLimits;
use super::millis::milliseconds;

/// Maximum duration of a lock.
pub(super) const MAX_LOCK: Duration = Duration::from_secs(24 * 60 * 60);

/// The denials and locks of a number are removed this long after its last denial.
pub(super) const DENIAL_RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The denials of one number. Times are milliseconds of the store's clock. `redis/denials.lua` has the same rules.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct NumberDenials {
    /// Denials that no lock has used up, the oldest first.
    pub(super) recent: Vec<i64>,
    /// Locks since the last approval.
    pub(super) locks: u32,
    /// The beginning and the end of the last lock.
    pub(super) lock: Option<(i64, i64)>,
}

impl NumberDenials {
    /// Counts a denial. Returns the end of the lock that it causes, if it causes one.
    pub(super) fn deny(&mut self, now: i64, limits: &DenialLimits) -> Option<i64> {
        if self.locked_until(now).is_some() {
            return None;
        }
        if self.is_forgotten(now) {
            *self = Self::default();
        }
        let window = milliseconds(limits.window);
        self.recent.retain(|at| at.saturating_add(window) > now);
        self.recent.push(now);
        if (self.recent.len() as u64) < limits.count {
            return None;
        }
        self.recent.clear();
        let longer = 1_i64.checked_shl(self.locks).filter(|factor| *factor > 0).unwrap_or(i64::MAX);
        let lock = milliseconds(limits.lock).saturating_mul(longer).min(milliseconds(MAX_LOCK));
        self.locks = self.locks.saturating_add(1);
        let until = now.saturating_add(lock);
        self.lock = Some((now, until));
        Some(until)
    }

    /// Returns the end of the lock, if the number is locked now.
    pub(super) fn locked_until(&self, now: i64) -> Option<i64> {
        self.lock.map(|(_, until)| until).filter(|until| *until > now)
    }

    /// Returns whether the last denial is so old that the denials and locks can be removed.
    pub(super) fn is_forgotten(&self, now: i64) -> bool {
        self.last().is_none_or(|last| last.saturating_add(milliseconds(DENIAL_RETENTION)) <= now)
    }

    /// Adds the denials and locks of the same number under another of its hashes. Keeps the lock that ends later.
    pub(super) fn merge(&mut self, other: Self) {
        self.recent.extend(other.recent);
        self.recent.sort_unstable();
        self.locks = self.locks.max(other.locks);
        self.lock = self.lock.into_iter().chain(other.lock).max_by_key(|(_, until)| *until);
    }

    /// Returns the time of the last denial that counted.
    pub(super) fn last(&self) -> Option<i64> {
        self.recent.last().copied().max(self.lock.map(|(since, _)| since))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: DenialLimits =
        DenialLimits { count: 3, window: Duration::from_millis(100), lock: Duration::from_millis(50) };

    const DAY: i64 = 24 * 60 * 60 * 1000;

    #[derive(Clone, Debug)]
    enum Event {
        Deny,
        Pass(i64),
        /// Until the lock has ended.
        Wait,
        /// Denials of the number under another hash, `ago` milliseconds old.
        Merge {
            ago: i64,
            locks: u32,
        },
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            8 => Just(Event::Deny),
            3 => prop_oneof![0_i64..60, 60_i64..200].prop_map(Event::Pass),
            4 => Just(Event::Wait),
            1 => (0_i64..60, 0_u32..3).prop_map(|(ago, locks)| Event::Merge { ago, locks }),
        ]
    }

    proptest! {
        /// No window has as many denials as lock a number, unless they did. Each lock is twice as long as the one before,
        /// and none is longer than a day.
        #[test]
        fn enough_denials_in_a_window_always_lock(events in prop::collection::vec(event(), 0..80)) {
            let (mut denials, mut now) = (NumberDenials::default(), 0_i64);
            let mut counted: Vec<i64> = Vec::new();
            for event in events {
                match event {
                    Event::Pass(time) => now += time,
                    Event::Wait => now = denials.locked_until(now).unwrap_or(now),
                    Event::Merge { ago, locks } => {
                        let before = denials.clone();
                        let other = NumberDenials { recent: vec![now - ago], locks, lock: None };
                        denials.merge(other);
                        counted.push(now - ago);
                        prop_assert_eq!(denials.locked_until(now), before.locked_until(now));
                        prop_assert!(denials.locks == before.locks.max(locks) && denials.recent.is_sorted());
                    }
                    Event::Deny => {
                        let before = denials.clone();
                        let until = denials.deny(now, &LIMITS);
                        if before.locked_until(now).is_some() {
                            prop_assert_eq!(&denials, &before, "a denial while it is locked changes nothing");
                            prop_assert_eq!(until, None);
                            continue;
                        }
                        counted.push(now);
                        let in_window = counted.iter().filter(|at| **at > now - 100).count();
                        prop_assert_eq!(until.is_some(), in_window >= 3, "{} denials", in_window);
                        match until {
                            None => {
                                prop_assert_eq!(denials.locked_until(now), None);
                            }
                            Some(until) => {
                                let longest = 50_i64.checked_shl(before.locks).map_or(DAY, |lock| lock.min(DAY));
                                prop_assert_eq!(until, now + longest, "after {} locks", before.locks);
                                prop_assert_eq!(denials.locked_until(until - 1), Some(until));
                                prop_assert_eq!(denials.locked_until(until), None);
                                prop_assert_eq!((denials.locks, denials.recent.len()), (before.locks + 1, 0));
                                counted.clear();
                            }
                        }
                    }
                }
                // What the database keeps of it stays small.
                prop_assert!(denials.recent.len() < 80);
            }
        }
    }

    /// Locks a number as often as this, without a pause.
    fn lock_lengths(limits: &DenialLimits, times: usize) -> Vec<i64> {
        let (mut denials, mut now) = (NumberDenials::default(), 0);
        let lock = || {
            let until = std::iter::repeat_with(|| denials.deny(now, limits)).flatten().next();
            let until = until.unwrap_or(now);
            until - std::mem::replace(&mut now, until)
        };
        std::iter::repeat_with(lock).take(times).collect()
    }

    #[test]
    fn a_lock_doubles_up_to_a_day() {
        let hour = 60 * 60 * 1000;
        let limits = DenialLimits { lock: Duration::from_secs(3600), ..LIMITS };
        assert_eq!(lock_lengths(&limits, 7), [1, 2, 4, 8, 16, 24, 24].map(|hours| hours * hour));
        // However often it is locked, and however long the first lock is.
        assert!(lock_lengths(&limits, 100).iter().skip(5).all(|lock| *lock == DAY));
        let longer = DenialLimits { count: 1, lock: Duration::MAX, ..LIMITS };
        assert!(lock_lengths(&longer, 100).iter().all(|lock| *lock == DAY));
    }

    #[test]
    fn a_month_without_a_denial_forgets_the_locks() {
        let limits = DenialLimits { count: 1, ..LIMITS };
        for (days, expected) in [(29, 100), (30, 50), (400, 50)] {
            let mut denials = NumberDenials::default();
            assert_eq!(denials.deny(0, &limits), Some(50));
            assert_eq!(denials.is_forgotten(days * DAY), days >= 30, "after {days} days");
            assert_eq!(denials.deny(days * DAY, &limits), Some(days * DAY + expected), "after {days} days");
        }
    }
}
