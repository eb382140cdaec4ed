//! Counts, for a report, the daily limits that were reached and the numbers that were locked.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use jiff::ZonedDateTime;
use jiff::civil::Date;
use phonegate::call::{CallId, CallLimit, Country, Failure, NumberHash};
use phonegate::store::Row;

/// Maximum number of locked numbers that are named.
pub(super) const NAMED: usize = 8;

/// A daily limit of all calls, or of the calls to a country.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum DailyLimit {
    Day,
    /// `None`: the version that recorded the call did not record its country.
    Country(Option<Country>),
}

/// A number that was locked after denials.
pub(super) struct Locked {
    /// The last call that locked it. Commands find the number by this id, since its hash would reveal the number.
    pub(super) newest: CallId,
    pub(super) masked: Box<str>,
    /// How often it was locked.
    pub(super) locks: u64,
    /// The beginning of the last lock.
    pub(super) since: SystemTime,
    /// The end of the last lock.
    pub(super) until: SystemTime,
}

/// Limits that refused calls, and locks.
#[derive(Default)]
pub(super) struct LimitStatistics {
    refused: HashMap<CallLimit, u64>,
    /// When each daily limit refused its first call of a day.
    daily_limits_reached: BTreeMap<DailyLimit, BTreeMap<Date, ZonedDateTime>>,
    locked: HashMap<NumberHash, Locked>,
    denials: HashMap<NumberHash, u64>,
    /// Numbers that are locked when the report is made.
    pub(super) locked_now: u64,
}

impl LimitStatistics {
    /// Counts an attempt that failed at this time, if that is known.
    pub(super) fn count(&mut self, row: &Row, failure: &Failure, time: Option<&ZonedDateTime>) {
        if let Some(limit) = failure.limit() {
            *self.refused.entry(limit).or_default() += 1;
            let cap = match limit {
                CallLimit::CallsPerDay => Some(DailyLimit::Day),
                CallLimit::ByCountry => Some(DailyLimit::Country(row.country)),
                _ => None,
            };
            if let (Some(cap), Some(time)) = (cap, time) {
                let first = self
                    .daily_limits_reached
                    .entry(cap)
                    .or_default()
                    .entry(time.date())
                    .or_insert_with(|| time.clone());
                if *time < *first {
                    *first = time.clone();
                }
            }
        }
        let Some(hash) = row.number_hash else { return };
        if failure.reason().is_denial() {
            *self.denials.entry(hash).or_default() += 1;
        }
        if let (Some(until), Some(masked)) = (row.locked_until, &row.number) {
            let (newest, since) = (row.attempt.id, row.ended.unwrap_or(row.started));
            let locks = self.locked.get(&hash).map_or(0, |locked| locked.locks) + 1;
            self.locked.insert(hash, Locked { newest, masked: masked.clone(), locks, since, until });
        }
    }

    /// Returns how many calls a limit refused.
    pub(super) fn refused(&self, limit: CallLimit) -> u64 {
        self.refused.get(&limit).copied().unwrap_or_default()
    }

    /// Returns the daily limits that were reached, and the first refusal of each day.
    pub(super) fn daily_limits_reached(&self) -> impl Iterator<Item = (DailyLimit, Vec<&ZonedDateTime>)> {
        self.daily_limits_reached.iter().map(|(cap, days)| (*cap, days.values().collect()))
    }

    /// Returns the numbers that were locked and their denials, those that were locked most often first.
    pub(super) fn locked(&self) -> Vec<(&Locked, u64)> {
        let denials = |hash| self.denials.get(hash).copied().unwrap_or_default();
        let mut locked: Vec<_> = self.locked.iter().map(|(hash, locked)| (locked, denials(hash))).collect();
        locked.sort_by_key(|(locked, denials)| (Reverse((locked.locks, *denials, locked.since)), &locked.masked));
        locked
    }

    /// Returns how often numbers were locked.
    pub(super) fn locks(&self) -> u64 {
        self.locked.values().map(|locked| locked.locks).sum()
    }
}
