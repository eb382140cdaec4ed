//! Lists locked numbers, and the calls that count for the daily limits.

use std::collections::BTreeMap;

use comfy_table::Table;
use jiff::tz::TimeZone;
use phonegate::call::CallLimit;
use phonegate::config::{Bounded, LimitsConfig};
use phonegate::store::{NumberLock, Usage};
use serde::Serialize;

use crate::error::{CommandError, Exit};
use crate::output;
use crate::store_reader::StoreReader;
use crate::time;

/// A line of `--json` about a lock. Scripts depend on its names.
#[derive(Serialize)]
struct LockRecord<'a> {
    event: &'static str,
    number_hash: String,
    number: &'a str,
    since: String,
    until: String,
    locks: u32,
}

/// A daily limit, and the calls that count for it now. Also a line of `--json`.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct DailyLimit {
    event: &'static str,
    limit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<String>,
    calls: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cap: Option<u64>,
}

impl DailyLimit {
    fn new(limit: CallLimit, country: Option<String>, calls: u64, cap: Option<u64>) -> Self {
        Self { event: "usage", limit: limit.name(), country, calls, cap }
    }

    /// Returns its key in the configuration.
    fn name(&self) -> String {
        match &self.country {
            None => format!("limits.{}", self.limit),
            Some(country) => format!("limits.{}.{country}", self.limit),
        }
    }

    fn is_reached(&self) -> bool {
        self.cap.is_some_and(|cap| self.calls >= cap)
    }
}

pub(super) fn run(limits: &LimitsConfig, reader: &StoreReader, json: bool) -> Result<Exit, CommandError> {
    let locks = reader.block_on(reader.store.locks())?;
    let daily_limits = daily_limits(limits, reader.block_on(reader.store.usage())?);
    if json {
        locks.iter().for_each(|lock| output::json_line(&lock_record(lock)));
        daily_limits.iter().for_each(output::json_line);
        return Ok(Exit::Done);
    }
    if locks.is_empty() {
        output::print("No number is locked.");
    } else {
        output::print("Numbers that are locked, because their calls were not approved:");
        output::print_table(&table_of_locks(&locks));
        output::print("To end a lock: phonegate limits unlock HASH");
    }
    output::print("\nCalls in the last 24 hours:");
    output::print_table(&table_of_daily_limits(&daily_limits));
    Ok(Exit::Done)
}

/// Returns the daily limits of the configuration, and the countries that were called.
fn daily_limits(limits: &LimitsConfig, usage: Usage) -> Vec<DailyLimit> {
    let Usage { day, by_country } = usage;
    let mut countries: BTreeMap<String, (u64, Option<u64>)> =
        limits.by_country.iter().map(|(code, limits)| (code.clone(), (0, Some(limits.per_day.get())))).collect();
    for (country, calls) in by_country {
        countries.entry(country.to_string()).or_default().0 = calls;
    }
    let all = DailyLimit::new(CallLimit::CallsPerDay, None, day, limits.calls_per_day.map(Bounded::get));
    let by_country = countries
        .into_iter()
        .map(|(country, (calls, cap))| DailyLimit::new(CallLimit::ByCountry, Some(country), calls, cap));
    std::iter::once(all).chain(by_country).collect()
}

fn lock_record(lock: &NumberLock) -> LockRecord<'_> {
    LockRecord {
        event: "lock",
        number_hash: lock.number.to_string(),
        number: &lock.masked,
        since: time::utc(lock.since),
        until: time::utc(lock.until),
        locks: lock.locks,
    }
}

fn table_of_locks(locks: &[NumberLock]) -> Table {
    let zone = TimeZone::system();
    let mut table = output::table(["NUMBER", "SINCE", "UNTIL", "LOCKS IN A ROW", "HASH"]);
    for lock in locks {
        table.add_row([
            &*lock.masked,
            &time::local(lock.since, &zone),
            &time::local(lock.until, &zone),
            &lock.locks.to_string(),
            &lock.number.to_string(),
        ]);
    }
    table
}

fn table_of_daily_limits(daily_limits: &[DailyLimit]) -> Table {
    let mut table = output::table(["LIMIT", "CALLS", "CAP", ""]);
    for cap in daily_limits {
        table.add_row([
            &*cap.name(),
            &cap.calls.to_string(),
            &cap.cap.map_or_else(|| "none".to_owned(), |cap| cap.to_string()),
            if cap.is_reached() { "reached: further calls are refused" } else { "" },
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use phonegate::call::Country;
    use serde_json::json;

    use super::*;

    #[test]
    fn each_cap_and_each_called_country_is_listed_once() {
        let limits: LimitsConfig = serde_json::from_value(json!({
            "calls_per_day": 12, "by_country": { "LV": { "per_day": 10 }, "DE": { "per_day": 3 } }
        }))
        .unwrap();
        let country = |code| Country::parse(code).unwrap();
        let usage = Usage { day: 12, by_country: vec![(country("LV"), 9), (country("US"), 2)] };
        let found: Vec<_> =
            daily_limits(&limits, usage).iter().map(|cap| (cap.name(), cap.calls, cap.cap, cap.is_reached())).collect();
        let expected = [
            ("limits.calls_per_day", 12, Some(12), true),
            ("limits.by_country.DE", 0, Some(3), false),
            ("limits.by_country.LV", 9, Some(10), false),
            ("limits.by_country.US", 2, None, false),
        ];
        assert_eq!(found, expected.map(|(name, calls, cap, reached)| (name.to_owned(), calls, cap, reached)));
    }
}
