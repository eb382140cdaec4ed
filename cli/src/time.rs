//! Times as an administrator writes and reads them.

use std::time::{Duration, SystemTime};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ZonedDateTime};

use crate::error::CommandError;

/// Reads `7d` or `7d ago`, which was so long ago, or a time such as `2026-03-01T09:30`, of this machine's time zone where it names
/// no other one.
pub(crate) fn parse(text: &str) -> Result<SystemTime, String> {
    let now = ZonedDateTime::now();
    at(text.trim(), &now)
        .and_then(|time| SystemTime::try_from(time).ok())
        .ok_or_else(|| "neither a duration, as 2h or 7d, nor a time, as 2026-03-01 or 2026-03-01T09:30".to_owned())
}

fn at(text: &str, now: &ZonedDateTime) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if let Ok(time) = text.parse::<DateTime>() {
        return Some(now.time_zone().to_ambiguous_zoned_datetime(time).compatible().ok()?.timestamp());
    }
    // With this word, which every duration here could have, it would be read as a negative one.
    let ago = text.strip_suffix("ago").unwrap_or(text).trim_end();
    let ago = ago.parse::<Span>().ok().filter(|span| span.is_positive())?;
    Some(now.checked_sub(ago).ok()?.timestamp())
}

/// A time as people here read it: `2026-03-01 09:30:00`.
pub(crate) fn local(time: SystemTime, zone: &TimeZone) -> String {
    zoned(time, zone).map_or_else(|| "-".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// A time as it is written behind `--since` and `--until`, in its own time zone: `2026-03-01T09:30`.
pub(crate) fn argument(time: &ZonedDateTime) -> String {
    let form = if time.second() == 0 { "%Y-%m-%dT%H:%M" } else { "%Y-%m-%dT%H:%M:%S" };
    let text = time.strftime(form).to_string();
    match at(&text, time) {
        Some(read) if read.as_second() == time.timestamp().as_second() => text,
        // There is such a time twice in that night.
        _ => time.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
    }
}

/// A time for programs: `2026-03-01T08:30:00.000Z`.
pub(crate) fn utc(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

/// A time in a time zone.
pub(crate) fn zoned(time: SystemTime, zone: &TimeZone) -> Option<ZonedDateTime> {
    Some(Timestamp::try_from(time).ok()?.to_zoned_datetime(zone.clone()))
}

/// Is there time between `--since` and `--until`?
pub(crate) fn in_order(since: SystemTime, until: SystemTime) -> Result<(), CommandError> {
    match since < until {
        true => Ok(()),
        false => Err(CommandError::usage("--until must be later than --since; no call began in between")),
    }
}

/// From one moment to a later one. None where the clock was set back in between.
pub(crate) fn between(from: SystemTime, to: Option<SystemTime>) -> Option<Duration> {
    to?.duration_since(from).ok()
}

/// `7.4 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use jiff::ZonedDateTime;

    use super::{argument, at};

    #[test]
    fn a_time_in_a_command_is_read_as_the_time_that_it_was() {
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
    fn durations_dates_and_times_are_understood_in_the_time_zone_of_the_machine() {
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
