//! Limits of calls in memory (S8, S11 to S13): which calls they refuse, and which numbers are locked.

use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;

use super::MemoryStore;
use super::calls::Calls;
use super::counters::Times;
use crate::call::{CallLimit, NumberHash, Outcome};
use crate::store::denials::NumberDenials;
use crate::store::limits::{DAY, MINUTE};
use crate::store::millis::{milliseconds, span};
use crate::store::{
    Block, BlockScope, DEADLINE_GRACE, EndRequest, LimitStore, Limits, NumberLock, Refusal, Row, StoreError,
    StoredNumber, Usage,
};

/// The denials of a number.
pub(super) struct DenialsEntry {
    pub(super) masked: Box<str>,
    pub(super) denials: NumberDenials,
}

#[async_trait]
impl LimitStore for MemoryStore {
    async fn locks(&self) -> Result<Vec<NumberLock>, StoreError> {
        Ok(self.calls.lock().locks(Instant::now()))
    }

    async fn unlock(&self, numbers: &[NumberHash]) -> Result<bool, StoreError> {
        Ok(self.calls.lock().unlock(numbers, Instant::now()))
    }

    async fn usage(&self) -> Result<Usage, StoreError> {
        Ok(self.calls.lock().usage(Instant::now()))
    }
}

impl Calls {
    pub(super) fn refusal(&mut self, number: &StoredNumber, limits: &Limits, now: Instant) -> Option<Refusal> {
        if let Some(block) = self.block_of(number) {
            return Some(Refusal::Blocked { reason: block.reason.clone(), until: block.until });
        }
        let clock = self.milliseconds(now);
        let locked = self.denials.get(&number.hash).and_then(|entry| entry.denials.locked_until(clock));
        if let Some(until) = locked {
            return Some(Refusal::Limit { limit: CallLimit::Denials, after: span(until.saturating_sub(clock)) });
        }
        let ringing = self.ringing.get(&number.hash).and_then(|sequence| self.attempts.get(sequence));
        if ringing.is_some_and(|entry| entry.deadline + DEADLINE_GRACE > now) {
            return Some(Refusal::InProgress);
        }
        self.exceeded(number, limits, now, clock).map(|(limit, after)| Refusal::Limit { limit, after })
    }

    /// Returns the first limit that admits no call to this number, and after how long it may admit one.
    fn exceeded(
        &mut self,
        number: &StoredNumber,
        limits: &Limits,
        now: Instant,
        clock: i64,
    ) -> Option<(CallLimit, Duration)> {
        if let Some(begun) = self.begun.get(&number.hash) {
            if let Some(after) = begun.wait(limits.calls_per_number, limits.per_number_window, now) {
                return Some((CallLimit::CallsPerNumber, after));
            }
            if let Some(after) = begun.wait(limits.calls_per_number_per_day, DAY, now) {
                return Some((CallLimit::CallsPerNumberPerDay, after));
            }
        }
        if let Some(line) = self.lines.get_mut(&number.line_hash) {
            let after = line.begun.wait(limits.line_per_minute, MINUTE, now);
            if let Some(after) = after.or_else(|| line.pending.wait(limits.line_in_progress, now)) {
                return Some((CallLimit::CallsPerLine, after));
            }
        }
        if let Some(after) = self.begun_in_minute.wait(limits.calls_per_minute, MINUTE, now) {
            return Some((CallLimit::CallsPerMinute, after));
        }
        if let Some(after) = self.pending_in_time.wait(limits.concurrent_calls, now) {
            return Some((CallLimit::ConcurrentCalls, after));
        }
        let country = number.country.and_then(|country| self.countries.get(&country));
        if let Some(after) = country.zip(limits.country_per_day).and_then(|(country, limit)| country.wait(limit, clock))
        {
            return Some((CallLimit::ByCountry, after));
        }
        let after = limits.calls_per_day.and_then(|limit| self.day.wait(limit, clock))?;
        Some((CallLimit::CallsPerDay, after))
    }

    /// Returns the block for which a number is not called; of several, the one that ends last.
    fn block_of(&self, number: &StoredNumber) -> Option<&Block> {
        let wall = SystemTime::now();
        let (any, line) = ([BlockScope::Line, BlockScope::Number], [BlockScope::Line]);
        let keys = any.map(|scope| (number.hash, scope)).into_iter().chain(line.map(|scope| (number.line_hash, scope)));
        let blocks = keys.filter_map(|key| self.blocks.get(&key)).filter(|block| !block.has_expired(wall));
        blocks.max_by_key(|block| (block.until.is_none(), block.until))
    }

    /// Counts a call that begins (S12).
    pub(super) fn count(&mut self, sequence: u64, number: &StoredNumber, deadline: Instant, now: Instant) {
        let clock = self.milliseconds(now);
        self.begun.entry(number.hash).or_insert_with(Times::of_number).add(now, DAY);
        let line = self.lines.entry(number.line_hash).or_default();
        line.begun.add(now, MINUTE);
        line.pending.add(deadline, sequence);
        self.begun_in_minute.add(now, MINUTE);
        self.pending_in_time.add(deadline, sequence);
        self.day.add(clock);
        if let Some(country) = number.country {
            self.countries.entry(country).or_default().add(clock);
        }
    }

    /// Subtracts a call from the pending ones.
    pub(super) fn subtract_pending(&mut self, sequence: u64) {
        let Some(entry) = self.attempts.get(&sequence) else { return };
        self.pending_in_time.remove(entry.deadline, sequence);
        if let Some(line) = entry.row.line_hash.and_then(|line| self.lines.get_mut(&line)) {
            line.pending.remove(entry.deadline, sequence);
        }
    }

    /// Subtracts a call that was withdrawn, so that it counts for no limit.
    pub(super) fn subtract_withdrawn(&mut self, sequence: u64) {
        let Some(entry) = self.attempts.get_mut(&sequence) else { return };
        let Some(begun) = entry.begun.take() else { return };
        let Row { number_hash, line_hash, country, .. } = entry.row;
        let clock = self.milliseconds(begun);
        self.begun_in_minute.subtract(begun);
        if let Some(to_number) = number_hash.and_then(|number| self.begun.get_mut(&number)) {
            to_number.subtract(begun);
        }
        if let Some(line) = line_hash.and_then(|line| self.lines.get_mut(&line)) {
            line.begun.subtract(begun);
        }
        self.day.subtract(clock);
        if let Some(country) = country.and_then(|country| self.countries.get_mut(&country)) {
            country.subtract(clock);
        }
    }

    /// Counts the end of an attempt as a denial, or resets the denials of its number. Returns the end of the lock that it
    /// causes.
    pub(super) fn count_denial(&mut self, sequence: u64, end: &EndRequest, now: Instant) -> Option<SystemTime> {
        let clock = self.milliseconds(now);
        let row = self.attempts.get_mut(&sequence).map(|entry| &mut entry.row)?;
        let number = row.number_hash?;
        match &end.outcome {
            Outcome::Verified(_) => drop(self.denials.remove(&number)),
            Outcome::Failed(failure) if failure.reason().is_denial() => {
                let masked = || row.number.clone().unwrap_or_default();
                let new = || DenialsEntry { masked: masked(), denials: NumberDenials::default() };
                let entry = self.denials.entry(number).or_insert_with(new);
                let until = entry.denials.deny(clock, &end.denials)?;
                row.locked_until = in_wall_time(until.saturating_sub(clock));
                return row.locked_until;
            }
            Outcome::Failed(_) => {}
        }
        None
    }

    fn locks(&mut self, now: Instant) -> Vec<NumberLock> {
        let (clock, wall) = (self.milliseconds(now), SystemTime::now());
        let lock = |(number, entry): (&NumberHash, &DenialsEntry)| {
            let (since, until) = entry.denials.lock.filter(|(_, until)| *until > clock)?;
            Some(NumberLock {
                number: *number,
                masked: entry.masked.clone(),
                since: wall.checked_sub(span(clock.saturating_sub(since)))?,
                until: in_wall_time(until.saturating_sub(clock))?,
                locks: entry.denials.locks,
            })
        };
        let mut locks: Vec<_> = self.denials.iter().filter_map(lock).collect();
        locks.sort_by_key(|lock| std::cmp::Reverse(lock.since));
        locks
    }

    fn unlock(&mut self, numbers: &[NumberHash], now: Instant) -> bool {
        let clock = self.milliseconds(now);
        let removed: Vec<_> = numbers.iter().filter_map(|number| self.denials.remove(number)).collect();
        removed.iter().any(|entry| entry.denials.locked_until(clock).is_some())
    }

    fn usage(&mut self, now: Instant) -> Usage {
        let clock = self.milliseconds(now);
        let countries = self.countries.iter().map(|(country, day)| (*country, day.count(clock)));
        Usage { day: self.day.count(clock), by_country: countries.filter(|(_, count)| *count > 0).collect() }
    }

    /// Removes the counters and denials that do not count any more (S17).
    pub(super) fn sweep_limits(&mut self, now: Instant) {
        let clock = self.milliseconds(now);
        self.begun.retain(|_, begun| begun.remove_old(now, DAY));
        // `|` and not `||`, so that both are updated.
        self.lines.retain(|_, line| line.begun.remove_old(now, MINUTE) | line.pending.remove_old(now));
        self.countries.retain(|_, day| day.remove_old(clock));
        self.denials.retain(|_, entry| !entry.denials.is_forgotten(clock));
    }

    /// Returns the store's clock: milliseconds since it was first read (S10).
    pub(super) fn milliseconds(&mut self, now: Instant) -> i64 {
        let since = *self.clock_since.get_or_insert(now);
        milliseconds(now.saturating_duration_since(since))
    }
}

/// Returns the wall-clock time `left` milliseconds from now.
fn in_wall_time(left: i64) -> Option<SystemTime> {
    SystemTime::now().checked_add(span(left))
}
