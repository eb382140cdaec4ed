//! Limits, locks and counters in Redis.

use std::collections::HashMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::model::BlockRecord;
use super::{Json, PAGE, RedisStore, malformed, parse, to_json};
use crate::call::{CallLimit, Country, NumberHash};
use crate::store::millis::{from_unix, milliseconds, span};
use crate::store::{Begun, LimitStore, Limits, NewAttempt, NumberLock, RecordKind, Refusal, StoreError, Usage};

/// The limits for one call, as JSON.
#[derive(Serialize)]
pub(super) struct LimitArgs {
    deadline: i64,
    calls_per_number: u64,
    per_number_window: i64,
    calls_per_number_per_day: u64,
    line_in_progress: u64,
    line_per_minute: u64,
    concurrent_calls: u64,
    calls_per_minute: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    calls_per_day: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country_per_day: Option<u64>,
}

impl LimitArgs {
    pub(super) fn new(new: &NewAttempt, limits: &Limits) -> Self {
        let Limits {
            calls_per_number,
            per_number_window,
            calls_per_number_per_day,
            line_in_progress,
            line_per_minute,
            concurrent_calls,
            calls_per_minute,
            calls_per_day,
            country_per_day,
        } = *limits;
        Self {
            deadline: milliseconds(new.deadline),
            calls_per_number,
            per_number_window: milliseconds(per_number_window),
            calls_per_number_per_day,
            line_in_progress,
            line_per_minute,
            concurrent_calls,
            calls_per_minute,
            calls_per_day,
            country_per_day,
        }
    }
}

/// Reads the answer of the script that begins an attempt.
pub(super) fn begun(answer: &[String]) -> Result<Begun, StoreError> {
    let answer: Vec<_> = answer.iter().map(String::as_str).collect();
    Ok(match answer.as_slice() {
        ["new"] => Begun::New,
        ["already_owned", generation] => Begun::AlreadyOwned(generation.parse().map_err(|_| malformed())?),
        ["number_key", unknown] => return Err(StoreError::missing_number_key(unknown)),
        ["other_number"] => Begun::Refused(Refusal::OtherNumber),
        ["in_progress"] => Begun::Refused(Refusal::InProgress),
        ["unreadable", kind] => return Err(StoreError::unreadable(unreadable(kind)?)),
        ["blocked", block] => {
            let block = parse(block.as_bytes(), |record: BlockRecord| record.to_block());
            let block = block.ok_or_else(|| StoreError::unreadable(RecordKind::Block))?;
            Begun::Refused(Refusal::Blocked { reason: block.reason, until: block.until })
        }
        ["limit", limit, after] => {
            let limit = CallLimit::named(limit).ok_or_else(malformed)?;
            Begun::Refused(Refusal::Limit { limit, after: after.parse().map(span).map_err(|_| malformed())? })
        }
        ["already_ended"] => return Err(StoreError::already_ended()),
        _ => return Err(malformed()),
    })
}

/// The kind of a record that the script cannot read.
fn unreadable(kind: &str) -> Result<RecordKind, StoreError> {
    match kind {
        "attempt" => Ok(RecordKind::Attempt),
        "block" => Ok(RecordKind::Block),
        "denials" => Ok(RecordKind::Denials),
        "counter" => Ok(RecordKind::Counter),
        _ => Err(malformed()),
    }
}

/// The denials of a number. Only the scripts write them.
#[derive(Deserialize)]
struct DenialsRecord {
    number_hash: String,
    #[serde(default)]
    masked: Box<str>,
    locks: u32,
    locked_from: Option<i64>,
    locked_until: Option<i64>,
}

impl DenialsRecord {
    /// The number and its lock, if it is locked.
    fn into_lock(self, now: i64, wall: i64) -> Option<(NumberHash, Option<NumberLock>)> {
        let number = NumberHash::parse(&self.number_hash)?;
        let lock = self.locked_from.zip(self.locked_until).filter(|(_, until)| *until > now);
        let by_wall = |time: i64| from_unix(wall.saturating_add(time).saturating_sub(now));
        let lock = lock.map(|(since, until)| NumberLock {
            number,
            masked: self.masked,
            since: by_wall(since),
            until: by_wall(until),
            locks: self.locks,
        });
        Some((number, lock))
    }
}

/// An answer of `locks_page.lua`: the store's clock, the wall clock, the time of the last number, each number and its denials
/// as JSON, and how many numbers were read.
type Page = (i64, i64, String, Vec<Json>, u64);

#[async_trait]
impl LimitStore for RedisStore {
    async fn locks(&self) -> Result<Vec<NumberLock>, StoreError> {
        // A number may move to a later page between two reads. Its last state is the right one.
        let mut found = HashMap::new();
        let (mut from, mut skipped) = (String::new(), 0_u64);
        loop {
            let args = [from.clone(), skipped.to_string(), PAGE.to_string()];
            let (now, wall, last, records, read): Page = self.run(&self.scripts.locks_page, &args).await?;
            for [number, json] in records.as_chunks().0 {
                let into = |record: DenialsRecord| record.into_lock(now, wall);
                found.extend(self.parse_listed(RecordKind::Denials, number, json, into));
            }
            if read < PAGE {
                break;
            }
            skipped = if last == from { skipped.saturating_add(read) } else { 0 };
            from = last;
        }
        let mut locks: Vec<_> = found.into_values().flatten().collect();
        locks.sort_by_key(|lock| std::cmp::Reverse(lock.since));
        Ok(locks)
    }

    async fn unlock(&self, numbers: &[NumberHash]) -> Result<bool, StoreError> {
        let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
        self.change(&self.scripts.unlock, to_json(&numbers)?).await
    }

    async fn usage(&self) -> Result<Usage, StoreError> {
        let answer: Vec<String> = self.run(&self.scripts.usage, &[""; 0]).await?;
        let [unreadable, day, countries @ ..] = answer.as_slice() else { return Err(malformed()) };
        let count = |text: &str| text.parse().map_err(|_| malformed());
        let mut by_country = Vec::new();
        for [country, calls] in countries.as_chunks().0 {
            match Country::parse(country) {
                Some(country) => by_country.push((country, count(calls)?)),
                None => self.unreadable.add(RecordKind::Counter, country),
            }
        }
        by_country.sort_unstable();
        (0..count(unreadable)?).for_each(|counter| self.unreadable.add(RecordKind::Counter, counter));
        Ok(Usage { day: count(day)?, by_country })
    }
}
