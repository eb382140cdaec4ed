//! The section `limits`: how many calls there may be.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema};
use serde::Deserialize;

use super::bounded::Bounded;
use super::{ConfigError, country};
use crate::call::{Country, PhoneNumber};
use crate::limits::{DenialLimits, Limits};

/// Divisor of `calls_per_minute` for one line, which may use a fifth of it.
const LINES_AT_ONCE: u64 = 5;

/// How many calls there may be, on all nodes together. A call that one of these limits refuses is Throttled; its message
/// says when a call will be possible again. Refused calls do not count.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Calls to one number, its extension included, within `per_number_window_s`.
    pub calls_per_number: Bounded<1, 1_000_000, 5>,
    /// The window of `calls_per_number`, in seconds.
    pub per_number_window_s: Bounded<1, 86_400, 600>,
    /// Calls to one number, its extension included, within 24 hours.
    pub calls_per_number_per_day: Bounded<1, 1_000_000, 20>,
    /// Calls to all extensions of one line together.
    pub calls_per_line: LineLimits,
    /// All calls in progress.
    pub concurrent_calls: Bounded<1, 10_000, 1000>,
    /// All calls within 60 seconds. The calls to one line may be a fifth of this limit, and at least one.
    pub calls_per_minute: Bounded<1, 1_000_000, 120>,
    /// All calls within 24 hours. Null or absent: no limit.
    #[schemars(transform = without_default)]
    pub calls_per_day: Option<Bounded<1, 100_000_000, 1>>,
    /// Limits for single countries, by their ISO 3166-1 code, as `{"LV": {"per_day": 10}}`. Other countries have none.
    #[serde(deserialize_with = "crate::no_duplicate_keys::map")]
    pub by_country: BTreeMap<String, CountryLimits>,
    /// When a number is locked because its calls are not approved.
    pub denials: DenialsConfig,
}

/// Calls to all extensions of one line together.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LineLimits {
    /// Calls in progress.
    pub in_progress: Bounded<1, 10_000, 20>,
    /// Calls within 60 seconds.
    pub per_minute: Bounded<1, 1_000_000, 30>,
}

/// The limit for the calls to a country.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CountryLimits {
    /// Calls within 24 hours.
    #[schemars(transform = without_default)]
    pub per_day: Bounded<1, 100_000_000, 1>,
}

/// When a number is locked because its calls are not approved. Denials are calls that end as WrongKey, NoKeyPressed,
/// CallEnded or FraudReported. They count for the number, extension included.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DenialsConfig {
    /// Denials within `window_s` that lock the number.
    pub count: Bounded<1, 1000, 3>,
    /// The window in which denials are counted, in seconds.
    pub window_s: Bounded<1, 86_400, 3600>,
    /// Seconds that the first lock lasts. Each further one lasts twice as long as the one before, up to 24 hours, until an
    /// approval or an administrator resets it.
    pub lock_s: Bounded<1, 86_400, 3600>,
}

/// Removes the default from a schema: a daily limit has none.
fn without_default(schema: &mut Schema) {
    schema.remove("default");
}

impl LimitsConfig {
    /// Returns the limits for a call to this number.
    pub(crate) fn for_call(&self, number: &PhoneNumber) -> Limits {
        let calls_per_minute = self.calls_per_minute.get();
        let per_line = (calls_per_minute / LINES_AT_ONCE).max(1);
        let cap = |country: &Country| self.by_country.get(country.as_str()).map(|limits| limits.per_day.get());
        Limits {
            calls_per_number: self.calls_per_number.get(),
            per_number_window: self.per_number_window_s.seconds(),
            calls_per_number_per_day: self.calls_per_number_per_day.get(),
            line_in_progress: self.calls_per_line.in_progress.get(),
            line_per_minute: self.calls_per_line.per_minute.get().min(per_line),
            concurrent_calls: self.concurrent_calls.get(),
            calls_per_minute,
            calls_per_day: self.calls_per_day.map(Bounded::get),
            country_per_day: number.country().and_then(cap),
        }
    }

    /// Returns the limits by which a number is locked.
    pub(crate) fn denial_limits(&self) -> DenialLimits {
        DenialLimits {
            count: self.denials.count.get(),
            window: self.denials.window_s.seconds(),
            lock: self.denials.lock_s.seconds(),
        }
    }

    /// Checks the codes of countries, which the types do not.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.by_country.keys().try_for_each(|code| country(&format!("limits.by_country.{code}"), code).map(|_| ()))
    }
}
