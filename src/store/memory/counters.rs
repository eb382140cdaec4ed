//! Counters of calls in memory (S12).

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::store::limits;
use crate::store::millis::milliseconds;

/// Width of a bucket of a day, in milliseconds.
const BUCKET: i64 = milliseconds(limits::DAY_BUCKET);

const DAY: i64 = milliseconds(limits::DAY);

/// Room for the calls that a number usually gets in a day. With less room the memory of numbers that are called again
/// grows in small pieces among short-lived allocations, and the allocator cannot return it to the system.
const USUAL_CALLS: usize = 16;

/// Calls by when they began, the oldest first.
#[derive(Default)]
pub(super) struct Times(VecDeque<Instant>);

impl Times {
    /// Creates a counter for the calls to a number within a day.
    pub(super) fn of_number() -> Self {
        Self(VecDeque::with_capacity(USUAL_CALLS))
    }

    /// Counts a call, and removes those that began `longest` ago.
    pub(super) fn add(&mut self, now: Instant, longest: Duration) {
        self.remove_old(now, longest);
        self.0.push_back(now);
    }

    /// Removes the calls that began `longest` ago. Returns whether any are left.
    pub(super) fn remove_old(&mut self, now: Instant, longest: Duration) -> bool {
        while self.0.front().is_some_and(|at| now.saturating_duration_since(*at) >= longest) {
            self.0.pop_front();
        }
        !self.0.is_empty()
    }

    pub(super) fn subtract(&mut self, at: Instant) {
        // If several began at the same instant, any of them can be removed.
        if let Ok(index) = self.0.binary_search(&at) {
            self.0.remove(index);
        }
    }

    /// Adds the calls of another counter.
    pub(super) fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
        self.0.make_contiguous().sort_unstable();
    }

    /// Returns how long until the window has fewer than `limit` calls, or None if it already has.
    pub(super) fn wait(&self, limit: u64, window: Duration, now: Instant) -> Option<Duration> {
        let since = self.0.partition_point(|at| now.saturating_duration_since(*at) >= window);
        let excess = (self.0.len() - since).checked_sub(usize::try_from(limit).ok()?)?;
        self.0.get(since + excess).map(|at| (*at + window).saturating_duration_since(now))
    }
}

/// Pending calls whose deadline had not passed when they were last counted: by deadline, with their sequence number.
#[derive(Default)]
pub(super) struct Pending(BTreeSet<(Instant, u64)>);

impl Pending {
    pub(super) fn add(&mut self, deadline: Instant, sequence: u64) {
        self.0.insert((deadline, sequence));
    }

    pub(super) fn remove(&mut self, deadline: Instant, sequence: u64) {
        self.0.remove(&(deadline, sequence));
    }

    /// Removes the calls whose deadline has passed. Returns whether any are left.
    pub(super) fn remove_old(&mut self, now: Instant) -> bool {
        while self.0.first().is_some_and(|(deadline, _)| *deadline <= now) {
            self.0.pop_first();
        }
        !self.0.is_empty()
    }

    pub(super) fn merge(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Returns how long until fewer than `limit` calls are pending, or `None` if that is already so.
    pub(super) fn wait(&mut self, limit: u64, now: Instant) -> Option<Duration> {
        self.remove_old(now);
        // There can be more than `limit` only if the limit was lowered.
        let excess = self.0.len().checked_sub(usize::try_from(limit).ok()?)?;
        self.0.iter().nth(excess).map(|(deadline, _)| deadline.saturating_duration_since(now))
    }
}

/// Calls to all extensions of a line.
#[derive(Default)]
pub(super) struct Line {
    pub(super) begun: Times,
    pub(super) pending: Pending,
}

impl Line {
    pub(super) fn merge(&mut self, other: Self) {
        self.begun.merge(other.begun);
        self.pending.merge(other.pending);
    }
}

/// Calls within a day, in buckets of ten minutes. A bucket counts as a whole while the latest of its calls is within the
/// day. Times are milliseconds of the store's clock.
#[derive(Default)]
pub(super) struct Day(VecDeque<Bucket>);

struct Bucket {
    number: i64,
    count: u64,
    latest: i64,
}

impl Day {
    pub(super) fn add(&mut self, now: i64) {
        self.remove_old(now);
        let number = now.div_euclid(BUCKET);
        match self.0.back_mut().filter(|last| last.number == number) {
            Some(last) => (last.count, last.latest) = (last.count.saturating_add(1), now),
            None => self.0.push_back(Bucket { number, count: 1, latest: now }),
        }
    }

    /// Removes the buckets that are older than a day as a whole. Returns whether any are left.
    pub(super) fn remove_old(&mut self, now: i64) -> bool {
        let first = now.saturating_sub(DAY).div_euclid(BUCKET);
        while self.0.front().is_some_and(|bucket| bucket.number < first) {
            self.0.pop_front();
        }
        !self.0.is_empty()
    }

    pub(super) fn subtract(&mut self, at: i64) {
        let Ok(index) = self.0.binary_search_by_key(&at.div_euclid(BUCKET), |bucket| bucket.number) else { return };
        let Some(bucket) = self.0.get_mut(index) else { return };
        bucket.count = bucket.count.saturating_sub(1);
        if bucket.count == 0 {
            self.0.remove(index);
        }
    }

    /// Returns how long until fewer than `limit` calls count, or `None` if that is already so.
    pub(super) fn wait(&self, limit: u64, now: i64) -> Option<Duration> {
        let mut sum: u64 = 0;
        for bucket in self.counted(now) {
            sum = sum.saturating_add(bucket.count);
            if sum >= limit {
                let after = bucket.latest.saturating_add(DAY).saturating_sub(now);
                return Some(Duration::from_millis(u64::try_from(after).unwrap_or_default()));
            }
        }
        None
    }

    /// Returns how many calls count now.
    pub(super) fn count(&self, now: i64) -> u64 {
        self.counted(now).map(|bucket| bucket.count).sum()
    }

    /// Returns the buckets that count, the newest first.
    fn counted(&self, now: i64) -> impl Iterator<Item = &Bucket> {
        self.0.iter().rev().take_while(move |bucket| bucket.latest > now.saturating_sub(DAY))
    }
}
