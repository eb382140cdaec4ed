//! When a number is locked that denies its calls: the rules, which are the same in every store.

use std::time::Duration;

use super::DenialLimits;

/// The longest lock.
pub(super) const LONGEST_LOCK: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the locks of a number are remembered after its last denial.
pub(super) const DENIALS_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The denials of one number. Times are milliseconds of the store's clock. The scripts of Redis have the same rules.
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
        let lock = milliseconds(limits.lock).saturating_mul(longer).min(milliseconds(LONGEST_LOCK));
        self.locks = self.locks.saturating_add(1);
        let until = now.saturating_add(lock);
        self.lock = Some((now, until));
        Some(until)
    }

    /// The end of the lock, if the number is locked now.
    pub(super) fn locked_until(&self, now: i64) -> Option<i64> {
        self.lock.map(|(_, until)| until).filter(|until| *until > now)
    }

    /// Returns whether nothing of it matters any more.
    pub(super) fn is_forgotten(&self, now: i64) -> bool {
        self.last().is_none_or(|last| last.saturating_add(milliseconds(DENIALS_KEPT)) <= now)
    }

    /// Adds what was counted for the same number under another of its hashes. The longer lock is kept.
    pub(super) fn merge(&mut self, other: Self) {
        self.recent.extend(other.recent);
        self.recent.sort_unstable();
        self.locks = self.locks.max(other.locks);
        self.lock = self.lock.into_iter().chain(other.lock).max_by_key(|(_, until)| *until);
    }

    /// The last denial that counted.
    pub(super) fn last(&self) -> Option<i64> {
        self.recent.last().copied().max(self.lock.map(|(since, _)| since))
    }
}

fn milliseconds(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
