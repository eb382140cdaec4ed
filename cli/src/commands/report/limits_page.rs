//! The part of the page about limits and locks.

use jiff::ZonedDateTime;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use phonegate::call::CallLimit;

use super::limits::{DailyLimit, Locked, NAMED};
use super::statistics::Statistics;
use super::{chart, format};
use crate::time;

/// Maximum number of days listed for each daily limit that was reached.
const DAYS: usize = 6;

/// Renders the limits that refused calls, and when daily limits were reached.
pub(super) fn refused(stats: &Statistics) -> Markup {
    let refused: Vec<_> = CallLimit::ALL
        .into_iter()
        .enumerate()
        .map(|(n, limit)| (n, limit, stats.limits.refused(limit)))
        .filter(|(.., count)| *count > 0)
        .collect();
    html! {
        section.card {
            h2 { "Refused by limits" }
            p.about { "Attempts that a limit of the configuration refused, " (format::each(stats.interval)) "; each row has a scale of its own." }
            @if refused.is_empty() { p.nothing { "None." } }
            @else {
                table.refusals {
                    thead { tr { th scope="col" { "Limit" } th.bars scope="col" { span.unseen { "Over time" } } th.n scope="col" { "Calls" } } }
                    tbody { @for (n, limit, count) in refused {
                        @let counts: Vec<u64> = stats.bars.iter().map(|bar| bar.limits.get(n).copied().unwrap_or_default()).collect();
                        tr {
                            th scope="row" { span { (limit.name()) small { (format::of_limit(limit)) } } }
                            td.bars { (chart::sparkline(&counts)) }
                            td.n { (format::number(count)) }
                        }
                    } }
                }
                @for (cap, days) in stats.limits.daily_limits_reached() { p.after { (reached(cap, &days)) } }
                p.after { "What counts now: " code { "phonegate limits list" } }
            }
        }
    }
}

/// Describes when a daily limit was reached, the newest days first.
fn reached(cap: DailyLimit, days: &[&ZonedDateTime]) -> String {
    let times = days.iter().rev().take(DAYS).map(|time| time.strftime("%-d %b at %H:%M").to_string());
    let more = match days.len().saturating_sub(DAYS) {
        0 => String::new(),
        more => format!(", and on {} before", format::counted(more as u64, "day", "days")),
    };
    format!("{} was reached on {}{more}.", name(cap), times.collect::<Vec<_>>().join(", "))
}

/// Returns the key of a daily limit in the configuration.
pub(super) fn name(cap: DailyLimit) -> String {
    match cap {
        DailyLimit::Day => CallLimit::CallsPerDay.to_string(),
        DailyLimit::Country(None) => CallLimit::ByCountry.to_string(),
        DailyLimit::Country(Some(country)) => format!("{}.{country}", CallLimit::ByCountry),
    }
}

/// Renders the numbers that were locked.
pub(super) fn locked(stats: &Statistics) -> Markup {
    let locked = stats.limits.locked();
    let zone = stats.from.time_zone();
    html! {
        section.card {
            h2 { "Locked numbers" }
            p.about {
                "Numbers that were locked, because their calls were not approved. "
                @match stats.limits.locked_now { 0 => "None is locked now.", 1 => "1 is locked now.", now => { (format::number(now)) " are locked now." } }
            }
            @if locked.is_empty() { p.nothing { "None." } }
            @else {
                table.plain-rows.locks {
                    thead { tr { th scope="col" { "Number, and ID of the call" } th.n scope="col" { "Last lock" } th.n scope="col" { "Locks" } th.n scope="col" { "Denials" } } }
                    tbody { @for (locked, denials) in locked.iter().take(NAMED) {
                        tr {
                            th scope="row" { (locked.masked) small { code { (locked.newest) } } }
                            td.n { @let (since, until) = times(locked, zone); (since) small { "until " (until) } }
                            td.n { (format::number(locked.locks)) }
                            td.n { (format::number(*denials)) }
                        }
                    } }
                }
                @if locked.len() > NAMED { p.after { "The first " (NAMED) " of " (format::number(locked.len() as u64)) "." } }
                p.after { "To end a lock: " code { "phonegate limits unlock ID" } }
            }
        }
    }
}

/// Formats the beginning and the end of the last lock. The end has no date if it is on the same day.
fn times(locked: &Locked, zone: &TimeZone) -> (String, String) {
    let [since, until] = [locked.since, locked.until].map(|time| time::zoned(time, zone));
    let is_same_day = since.as_ref().map(ZonedDateTime::date) == until.as_ref().map(ZonedDateTime::date);
    let show =
        |time: Option<ZonedDateTime>, form: &str| time.map_or_else(String::new, |time| time.strftime(form).to_string());
    (show(since, "%-d %b, %H:%M"), show(until, if is_same_day { "%H:%M" } else { "%-d %b, %H:%M" }))
}
