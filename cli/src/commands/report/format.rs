//! Formats numbers, dates and reasons for a report.

use jiff::civil::Date;
use phonegate::call::{CallLimit, FailureReason};

use super::statistics::{Interval, OutcomeKind};

/// Formats a number: `12,345`.
pub(super) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut shown = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// Formats a number of calls: `1 call`, `12,345 calls`.
pub(super) fn calls(n: u64) -> String {
    counted(n, "call", "calls")
}

/// Formats a number and what it counts.
pub(super) fn counted(n: u64, one: &str, more: &str) -> String {
    format!("{} {}", number(n), if n == 1 { one } else { more })
}

/// Formats a number in at most four characters: `999`, `1.2k`, `12k`.
pub(super) fn brief(n: u64) -> String {
    let of = |unit: f64, name: &str| {
        let count = n as f64 / unit;
        let shown = if count < 9.95 { format!("{count:.1}") } else { format!("{count:.0}") };
        format!("{}{name}", shown.strip_suffix(".0").unwrap_or(&shown))
    };
    match n {
        ..1_000 => n.to_string(),
        1_000..999_500 => of(1e3, "k"),
        _ => of(1e6, "M"),
    }
}

/// Formats a share: `87 %`. `0 %` and `100 %` mean exactly none and all.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let share = part as f64 * 100.0 / whole as f64;
    match share {
        _ if whole == 0 => "0 %".to_owned(),
        _ if part > 0 && share < 1.0 => "< 1 %".to_owned(),
        _ if part < whole && share > 99.0 => "> 99 %".to_owned(),
        _ => format!("{share:.0} %"),
    }
}

/// Formats the share of approved calls as a subject and verb: `48 % were`, `none was`, `all were`.
pub(super) fn are_approved(verified: u64, all: u64) -> String {
    match verified {
        _ if verified == all => "all were".to_owned(),
        0 => "none was".to_owned(),
        _ => format!("{} were", percent(verified, all)),
    }
}

/// Formats a duration in seconds: `7.4 s`, `12 s`, `2 min`.
pub(super) fn seconds(time: f64) -> String {
    match time {
        _ if time >= 120.0 => format!("{:.0} min", time / 60.0),
        _ if time >= 20.0 || time.fract() == 0.0 => format!("{time:.0} s"),
        _ => format!("{time:.1} s"),
    }
}

/// Formats an interval: `by day`.
pub(super) fn each(interval: Interval) -> &'static str {
    match interval {
        Interval::Day => "by day",
        Interval::Week => "by week",
        Interval::Month => "by month",
    }
}

/// Formats a day: `2 Mar`.
pub(super) fn day(date: Date) -> String {
    date.strftime("%-d %b").to_string()
}

/// Formats a day with its year: `2 Mar 2026`.
pub(super) fn day_and_year(date: Date) -> String {
    date.strftime("%-d %b %Y").to_string()
}

/// Formats the interval that a bar covers.
pub(super) fn bar(interval: Interval, first: Date) -> String {
    match interval {
        Interval::Day => first.strftime("%a %-d %b %Y").to_string(),
        Interval::Week => format!("week of {}", day_and_year(first)),
        Interval::Month => first.strftime("%B %Y").to_string(),
    }
}

/// Formats the label under a bar.
pub(super) fn tick(interval: Interval, first: Date) -> String {
    match interval {
        Interval::Day | Interval::Week => day(first),
        Interval::Month => first.strftime("%b %y").to_string(),
    }
}

pub(super) const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

impl OutcomeKind {
    /// Returns the class in the style sheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Declined => "declined",
            Self::Refused => "refused",
            Self::Trouble => "trouble",
            Self::Fraud => "fraud",
        }
    }

    /// Returns the name that the page shows.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Verified => "Approved",
            Self::Declined => "Not approved",
            Self::Refused => "Refused by the gate",
            Self::Trouble => "Technical failure",
            Self::Fraud => "Fraud reported",
        }
    }
}

/// Describes a reason.
pub(super) fn meaning(reason: FailureReason) -> &'static str {
    match reason {
        FailureReason::NoKeyPressed => "answered, nothing pressed; often voicemail",
        FailureReason::WrongKey => "another key was pressed",
        FailureReason::CallEnded => "hung up without a key",
        FailureReason::DeadlinePassed => "no outcome in time",
        FailureReason::Voicemail => "a machine answered",
        FailureReason::Blocked => "the number is on a block list",
        FailureReason::InvalidNumber => "not a dialable number",
        FailureReason::AlreadyInProgress => "another request was ringing the number",
        FailureReason::Unreachable => "busy, not answered or rejected",
        FailureReason::CountryNotAllowed => "the country or rate is not allowed",
        FailureReason::FraudReported => "the user pressed the fraud key",
        FailureReason::CannotPlace => "the provider or trunk refused",
        FailureReason::Throttled => "more calls than the limits allow",
        FailureReason::Interrupted => "the service stopped during the call",
        FailureReason::PinLocked => "the number's PIN was locked after wrong ones",
        FailureReason::PinNotSet => "no PIN is set for the number",
        FailureReason::AlreadyUsed => "the approval was used already",
        FailureReason::NotConfigured => "configuration or credentials",
        FailureReason::UnknownCall => "no such call was known",
        FailureReason::Internal => "a defect of PhoneGate",
    }
}

/// Describes what a limit counts.
pub(super) fn of_limit(limit: CallLimit) -> &'static str {
    match limit {
        CallLimit::CallsPerNumber => "calls to one number",
        CallLimit::CallsPerNumberPerDay => "calls to one number in 24 hours",
        CallLimit::CallsPerLine => "calls to all extensions of a line",
        CallLimit::CallsPerMinute => "all calls in a minute",
        CallLimit::ConcurrentCalls => "all calls in progress",
        CallLimit::CallsPerDay => "all calls in 24 hours",
        CallLimit::ByCountry => "calls to a country in 24 hours",
        CallLimit::Denials => "the number was locked after calls that were not approved",
    }
}

#[cfg(test)]
mod tests {
    use super::{brief, number, percent, seconds};

    #[test]
    fn numbers_and_shares_are_short_and_exact() {
        for (n, shown, short) in [
            (0, "0", "0"),
            (999, "999", "999"),
            (1_000, "1,000", "1k"),
            (1_249, "1,249", "1.2k"),
            (9_960, "9,960", "10k"),
            (15_000, "15,000", "15k"),
            (999_600, "999,600", "1M"),
            (12_345_678, "12,345,678", "12M"),
        ] {
            assert_eq!((number(n).as_str(), brief(n).as_str()), (shown, short));
        }
        let shares = [(0, 0), (0, 9), (1, 900), (899, 900), (900, 900), (1, 3)];
        assert_eq!(
            shares.map(|(part, whole)| percent(part, whole)),
            ["0 %", "0 %", "< 1 %", "> 99 %", "100 %", "33 %"]
        );
        assert_eq!([0.5, 7.44, 12.0, 27.4, 180.0].map(seconds), ["0.5 s", "7.4 s", "12 s", "27 s", "3 min"]);
    }
}
