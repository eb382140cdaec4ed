//! Reads and formats times.

use std::time::{Duration, SystemTime};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ZonedDateTime};

use crate::error::CommandError;

/// Parses a duration before now, such as `7d` or `7d ago`, or a time, such as `2026-03-01T09:30`. A time without a time zone
/// is in that of this machine.
pub(crate) fn parse(text: &str) -> Result<SystemTime, String> {
    let now = ZonedDateTime::now();
    at(text.trim(), &now).and_then(|time| SystemTime::try_from(time).ok()).ok_or_else(|| {
        "write a duration, such as 2h or 7d, or a time, such as 2026-03-01 or 2026-03-01T09:30".to_owned()
    })
}

fn at(text: &str, now: &ZonedDateTime) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if let Ok(time) = text.parse::<DateTime>() {
        return Some(now.time_zone().to_ambiguous_zoned_datetime(time).compatible().ok()?.timestamp());
    }
    // jiff reads a duration with "ago" as a negative one.
    let ago = text.strip_suffix("ago").unwrap_or(text).trim_end();
    let ago = ago.parse::<Span>().ok().filter(|span| span.is_positive())?;
    Some(now.checked_sub(ago).ok()?.timestamp())
}

/// Formats a time for people: `2026-03-01 09:30:00`.
pub(crate) fn local(time: SystemTime, zone: &TimeZone) -> String {
    zoned(time, zone).map_or_else(|| "-".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// Formats a time as an argument of `--since` or `--until`, in its own time zone: `2026-03-01T09:30`.
pub(crate) fn argument(time: &ZonedDateTime) -> String {
    let form = if time.second() == 0 { "%Y-%m-%dT%H:%M" } else { "%Y-%m-%dT%H:%M:%S" };
    let text = time.strftime(form).to_string();
    match at(&text, time) {
        Some(read) if read.as_second() == time.timestamp().as_second() => text,
        // When clocks are set back, the same local time occurs twice.
        _ => time.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
    }
}

/// Formats a time for programs: `2026-03-01T08:30:00.000Z`.
pub(crate) fn utc(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

/// Converts a time into a time zone. `None` if it is outside of the supported years.
pub(crate) fn zoned(time: SystemTime, zone: &TimeZone) -> Option<ZonedDateTime> {
    Some(Timestamp::try_from(time).ok()?.to_zoned_datetime(zone.clone()))
}

/// Checks that `--since` is before `--until`.
pub(crate) fn in_order(since: SystemTime, until: SystemTime) -> Result<(), CommandError> {
    match since < until {
        true => Ok(()),
        false => Err(CommandError::usage("--until must be later than --since")),
    }
}

/// Returns the time between two moments, or `None` if the clock was set back in between.
pub(crate) fn between(from: SystemTime, to: Option<SystemTime>) -> Option<Duration> {
    to?.duration_since(from).ok()
}

/// Formats a duration: `7.4 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use jiff::ZonedDateTime;

    use super::{argument, at};

    #[test]
    fn an_argument_is_read_as_the_time_that_was_formatted() {
        for (time, text) in [
            ("2026-03-01T00:00:00+01:00[Europe/Berlin]", "2026-03-01T00:00"),
            ("2026-03-01T09:30:15+01:00[Europe/Berlin]", "2026-03-01T09:30:15"),
            // The clocks were set back.
            ("2026-10-25T02:30:00+02:00[Europe/Berlin]", "2026-10-25T02:30"),
            ("2026-10-25T02:30:00+01:00[Europe/Berlin]", "2026-10-25T02:30:00+01:00"),
        ] {
            let time: ZonedDateTime = time.parse().unwrap();
            assert_eq!(argument(&time), text);
            assert_eq!(at(text, &time), Some(time.timestamp()));
        }
    }

    #[test]
    fn durations_dates_and_times_are_parsed_in_the_time_zone() {
        let now = "2026-03-30T12:00:00+02:00[Europe/Berlin]".parse().unwrap();
        for (text, time) in [
            ("2h", "2026-03-30T08:00:00Z"),
            ("2h ago", "2026-03-30T08:00:00Z"),
            ("90 minutes ago", "2026-03-30T08:30:00Z"),
            ("90 minutes", "2026-03-30T08:30:00Z"),
            ("1h 30m", "2026-03-30T08:30:00Z"),
            // The clocks were set forward in between.
            ("2d", "2026-03-28T11:00:00Z"),
            ("4w", "2026-03-02T11:00:00Z"),
            ("2026-03-01", "2026-02-28T23:00:00Z"),
            ("2026-03-30 09:30", "2026-03-30T07:30:00Z"),
            ("2026-03-30T09:30:15", "2026-03-30T07:30:15Z"),
            ("2026-03-30T09:30Z", "2026-03-30T09:30:00Z"),
            ("2026-03-30T09:30:00-05:00", "2026-03-30T14:30:00Z"),
        ] {
            assert_eq!(at(text, &now).map(|time| time.to_string()).as_deref(), Some(time), "{text}");
        }
        for text in ["", "7", "-7d", "-7d ago", "ago", "yesterday", "2026-13-01", "09:30"] {
            assert_eq!(at(text, &now), None, "{text}");
        }
    }
}
