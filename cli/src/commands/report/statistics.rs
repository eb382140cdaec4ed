//! Counts the calls of a report.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::civil::Date;
use jiff::{RoundMode, Unit, ZonedDateTime, ZonedDateTimeRound};
use phonegate::call::{CallId, CallLimit, Failure, FailureReason, NumberHash};
use phonegate::store::{Row, RowOutcome};

use super::limits::LimitStatistics;
use crate::call_state::CallState;
use crate::time;

/// Maximum number of bars of a chart. For a longer time, each bar covers a longer interval.
const MAX_BARS: i64 = 100;

/// The kind of outcome of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OutcomeKind {
    Verified,
    Declined,
    Refused,
    Trouble,
    Fraud,
}

impl OutcomeKind {
    /// All kinds, in the order in which charts stack them from the bottom.
    pub(super) const ALL: [Self; 5] = [Self::Verified, Self::Declined, Self::Refused, Self::Trouble, Self::Fraud];

    pub(super) fn of(reason: FailureReason) -> Self {
        match reason {
            FailureReason::NoKeyPressed
            | FailureReason::WrongKey
            | FailureReason::CallEnded
            | FailureReason::DeadlinePassed
            | FailureReason::Voicemail
            | FailureReason::PinLocked
            | FailureReason::PinNotSet
            | FailureReason::Unreachable => Self::Declined,
            FailureReason::Blocked
            | FailureReason::InvalidNumber
            | FailureReason::AlreadyInProgress
            | FailureReason::CountryNotAllowed
            | FailureReason::AlreadyUsed
            | FailureReason::Throttled => Self::Refused,
            FailureReason::FraudReported => Self::Fraud,
            FailureReason::CannotPlace
            | FailureReason::Interrupted
            | FailureReason::NotConfigured
            | FailureReason::UnknownCall
            | FailureReason::Internal => Self::Trouble,
        }
    }
}

/// The number of attempts of each kind.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Tally {
    counts: [u64; OutcomeKind::ALL.len()],
    pub(super) pending: u64,
}

impl Tally {
    pub(super) fn of(&self, kind: OutcomeKind) -> u64 {
        self.counts.get(kind as usize).copied().unwrap_or_default()
    }

    pub(super) fn total(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.pending
    }

    fn add(&mut self, kind: Option<OutcomeKind>) {
        match kind.and_then(|kind| self.counts.get_mut(kind as usize)) {
            Some(count) => *count += 1,
            None => self.pending += 1,
        }
    }
}

/// The time that a bar covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Interval {
    Day,
    Week,
    Month,
}

/// The attempts of one interval.
pub(super) struct Bar {
    pub(super) first: Date,
    pub(super) tally: Tally,
    /// Refused attempts by reason, in the order of [`REFUSALS`].
    pub(super) refusals: [u64; REFUSALS.len()],
    /// Attempts refused by limits, in the order of [`CallLimit::ALL`].
    pub(super) limits: [u64; CallLimit::ALL.len()],
}

/// The reasons for which the gate refuses a call itself, so that no phone rings.
pub(super) const REFUSALS: [FailureReason; 5] = [
    FailureReason::Throttled,
    FailureReason::Blocked,
    FailureReason::CountryNotAllowed,
    FailureReason::AlreadyInProgress,
    FailureReason::InvalidNumber,
];

/// Maximum number of suspects that the page names.
pub(super) const WATCHED: usize = 8;

/// A number whose calls were refused, or reported as fraud.
pub(super) struct Suspect {
    /// The last of these calls. Commands find the number by this id, since its hash would reveal the number.
    pub(super) newest: CallId,
    pub(super) masked: Box<str>,
    pub(super) refused: u64,
    pub(super) fraud: u64,
}

/// The statistics of a report.
pub(super) struct Statistics {
    pub(super) from: ZonedDateTime,
    pub(super) to: ZonedDateTime,
    pub(super) interval: Interval,
    pub(super) bars: Vec<Bar>,
    pub(super) all: Tally,
    /// Attempts that a backend placed.
    pub(super) placed: u64,
    pub(super) reasons: HashMap<FailureReason, u64>,
    /// Times from the request to the answer, and from the request to the approval.
    pub(super) to_answer: Times,
    pub(super) to_verify: Times,
    /// Attempts by weekday, from Monday, and by hour.
    pub(super) hours: [[u64; 24]; 7],
    pub(super) backends: BTreeMap<Box<str>, Tally>,
    pub(super) nodes: BTreeMap<Box<str>, Tally>,
    suspects: HashMap<NumberHash, Suspect>,
    pub(super) limits: LimitStatistics,
    /// Calls that have not ended although their process is gone.
    pub(super) gone: Vec<CallId>,
    pub(super) blocked_now: u64,
}

impl Statistics {
    /// Creates statistics for calls from `from` until before `to`. The bars start on the day of the first call.
    pub(super) fn new(from: ZonedDateTime, to: ZonedDateTime, first: Option<&ZonedDateTime>) -> Self {
        // If the time ends at midnight, the day that begins then does not belong to it.
        let last = to.checked_sub(Duration::from_nanos(1)).map_or_else(|_| to.date(), |last| last.date());
        let begin = first.map_or_else(|| from.date(), |first| first.date().clamp(from.date(), last));
        let days = days_between(begin, last) + 1;
        let interval = match days {
            ..=MAX_BARS => Interval::Day,
            _ if days / 7 < MAX_BARS => Interval::Week,
            _ => Interval::Month,
        };
        let count = index(interval, begin, last).map_or(0, |last| last + 1);
        let bars = (0..count)
            .filter_map(|n| nth(interval, begin, n))
            .map(|first| Bar {
                first,
                tally: Tally::default(),
                refusals: Default::default(),
                limits: Default::default(),
            })
            .collect();
        Self {
            from,
            to,
            interval,
            bars,
            all: Tally::default(),
            placed: 0,
            reasons: HashMap::new(),
            to_answer: Times::default(),
            to_verify: Times::default(),
            hours: Default::default(),
            backends: BTreeMap::new(),
            nodes: BTreeMap::new(),
            suspects: HashMap::new(),
            limits: LimitStatistics::default(),
            gone: Vec::new(),
            blocked_now: 0,
        }
    }

    pub(super) fn count(&mut self, row: &Row) {
        let failure = match &row.outcome {
            RowOutcome::Failed(failure) => Some(failure),
            RowOutcome::Pending | RowOutcome::Verified => None,
        };
        let reason = failure.map(Failure::reason);
        let kind = match row.outcome {
            RowOutcome::Verified => Some(OutcomeKind::Verified),
            _ => reason.map(OutcomeKind::of),
        };
        self.all.add(kind);
        self.gone.extend((CallState::of(row) == Some(CallState::Gone)).then_some(row.attempt.id));
        self.nodes.entry(row.node.clone()).or_default().add(kind);
        self.placed += u64::from(row.placed.is_some());
        if let Some(backend) = &row.backend {
            self.backends.entry(backend.clone()).or_default().add(kind);
        }
        self.to_answer.add(time::between(row.started, row.answered));
        if kind == Some(OutcomeKind::Verified) {
            self.to_verify.add(time::between(row.started, row.ended));
        }
        if let Some(reason) = reason {
            *self.reasons.entry(reason).or_default() += 1;
        }
        let time = time::zoned(row.started, self.from.time_zone());
        if let Some(failure) = failure {
            self.limits.count(row, failure, time.as_ref());
        }
        if let Some(time) = time {
            self.count_time(&time, kind, failure);
        }
        self.count_suspect(row, kind);
    }

    fn count_time(&mut self, time: &ZonedDateTime, kind: Option<OutcomeKind>, failure: Option<&Failure>) {
        let weekday = usize::try_from(time.weekday().to_monday_zero_offset()).unwrap_or_default();
        let hour = usize::try_from(time.hour()).unwrap_or_default();
        if let Some(count) = self.hours.get_mut(weekday).and_then(|hours| hours.get_mut(hour)) {
            *count += 1;
        }
        let Some(first) = self.bars.first().map(|bar| bar.first) else { return };
        // If clocks were set back or differ, a call may be slightly before the first bar or after the last.
        let last = self.bars.len().saturating_sub(1);
        let index = index(self.interval, first, time.date()).unwrap_or_default().min(last);
        let Some(bar) = self.bars.get_mut(index) else { return };
        bar.tally.add(kind);
        let reason = failure.map(Failure::reason);
        let refusals = REFUSALS.iter().zip(&mut bar.refusals);
        refusals.filter(|(refusal, _)| Some(**refusal) == reason).for_each(|(_, count)| *count += 1);
        let limit = failure.and_then(Failure::limit);
        let limits = CallLimit::ALL.iter().zip(&mut bar.limits);
        limits.filter(|(of, _)| Some(**of) == limit).for_each(|(_, count)| *count += 1);
    }

    fn count_suspect(&mut self, row: &Row, kind: Option<OutcomeKind>) {
        let (Some(hash), Some(masked)) = (row.number_hash, &row.number) else { return };
        let (refused, fraud) = match kind {
            Some(OutcomeKind::Refused) => (1, 0),
            Some(OutcomeKind::Fraud) => (0, 1),
            _ => return,
        };
        let newest = row.attempt.id;
        let new = || Suspect { newest, masked: masked.clone(), refused: 0, fraud: 0 };
        let suspect = self.suspects.entry(hash).or_insert_with(new);
        suspect.newest = newest;
        suspect.refused += refused;
        suspect.fraud += fraud;
    }

    /// Returns the time of the report as arguments of `--since` and `--until`.
    pub(super) fn as_arguments(&self) -> (String, String) {
        // Rounded outwards to whole seconds, so that no call is missing.
        let rounded = |time: &ZonedDateTime, mode| {
            let to_seconds = ZonedDateTimeRound::new().smallest(Unit::Second).mode(mode);
            time::argument(&time.round(to_seconds).unwrap_or_else(|_| time.clone()))
        };
        (rounded(&self.from, RoundMode::Floor), rounded(&self.to, RoundMode::Ceil))
    }

    pub(super) fn total(&self) -> u64 {
        self.all.total()
    }

    pub(super) fn ended(&self) -> u64 {
        self.total() - self.all.pending
    }

    pub(super) fn verified(&self) -> u64 {
        self.all.of(OutcomeKind::Verified)
    }

    /// Returns the reasons of failures, the most frequent first.
    pub(super) fn reasons(&self) -> Vec<(FailureReason, u64)> {
        let mut reasons: Vec<_> = self.reasons.iter().map(|(reason, count)| (*reason, *count)).collect();
        reasons.sort_by_key(|(reason, count)| (Reverse(*count), reason.name()));
        reasons
    }

    /// Returns the numbers with refused or reported attempts. Those with the most reports come first, at most half of
    /// [`WATCHED`]; then those with the most refusals.
    pub(super) fn suspects(&self) -> Vec<&Suspect> {
        let mut suspects: Vec<_> = self.suspects.values().collect();
        suspects.sort_by_key(|suspect| (Reverse((suspect.fraud, suspect.refused)), &suspect.masked));
        let reported = suspects.iter().take_while(|suspect| suspect.fraud > 0).count().min(WATCHED / 2);
        if let Some(others) = suspects.get_mut(reported..) {
            others.sort_by_key(|suspect| (Reverse((suspect.refused, suspect.fraud)), &suspect.masked));
        }
        suspects
    }

    /// Returns how many numbers had refused calls.
    pub(super) fn refused_numbers(&self) -> u64 {
        self.suspects.values().filter(|suspect| suspect.refused > 0).count() as u64
    }

    /// Returns the number with the most refused calls.
    pub(super) fn most_refused(&self) -> Option<&Suspect> {
        self.suspects.values().max_by_key(|suspect| (suspect.refused, suspect.fraud, Reverse(&suspect.masked)))
    }
}

fn days_between(from: Date, to: Date) -> i64 {
    from.until((Unit::Day, to)).map_or(0, |span| i64::from(span.get_days()))
}

/// Returns the index of the bar that a day belongs to.
fn index(interval: Interval, first: Date, day: Date) -> Option<usize> {
    let index = match interval {
        Interval::Day => days_between(first, day),
        Interval::Week => days_between(monday(first), day).div_euclid(7),
        Interval::Month => {
            let months = |date: Date| i64::from(date.year()) * 12 + i64::from(date.month());
            months(day) - months(first)
        }
    };
    usize::try_from(index).ok()
}

/// Returns the first day of the bar with this index.
fn nth(interval: Interval, first: Date, n: usize) -> Option<Date> {
    let n = i64::try_from(n).ok()?;
    let (start, step) = match interval {
        Interval::Day => (first, jiff::Span::new().try_days(n)),
        Interval::Week => (monday(first), jiff::Span::new().try_weeks(n)),
        Interval::Month => (first.first_of_month(), jiff::Span::new().try_months(n)),
    };
    start.checked_add(step.ok()?).ok()
}

fn monday(date: Date) -> Date {
    let since = jiff::Span::new().days(i64::from(date.weekday().to_monday_zero_offset()));
    date.checked_sub(since).unwrap_or(date)
}

/// Durations, in seconds.
#[derive(Default)]
pub(super) struct Times(Vec<f64>);

/// A histogram of durations.
pub(super) struct Histogram {
    /// The width of a bucket, in seconds.
    pub(super) width: f64,
    /// The number of durations in each bucket. The last bucket has all longer ones, too.
    pub(super) counts: Vec<u64>,
    pub(super) median: f64,
    pub(super) p95: f64,
}

impl Times {
    fn add(&mut self, time: Option<Duration>) {
        self.0.extend(time.map(|time| time.as_secs_f64()));
    }

    /// Returns the percentile of sorted durations, such as 95.
    fn percentile(sorted: &[f64], of_hundred: usize) -> f64 {
        let last = sorted.len().saturating_sub(1);
        sorted.get((sorted.len() * of_hundred).div_ceil(100).saturating_sub(1).min(last)).copied().unwrap_or_default()
    }

    pub(super) fn histogram(&self) -> Option<Histogram> {
        const WIDTHS: [f64; 8] = [0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0];
        const MAX: usize = 16;
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let (median, p95) = (Self::percentile(&sorted, 50), Self::percentile(&sorted, 95));
        let most = Self::percentile(&sorted, 99).max(*sorted.first()?);
        // At most 1 % of the durations are beyond the last bucket but one.
        let width = WIDTHS.into_iter().find(|width| most / width < MAX as f64 - 1.0).unwrap_or(60.0);
        let mut counts = vec![0; ((most / width) as usize + 2).min(MAX)];
        let last = counts.len().saturating_sub(1);
        for time in sorted {
            if let Some(count) = counts.get_mut(((time / width) as usize).min(last)) {
                *count += 1;
            }
        }
        Some(Histogram { width, counts, median, p95 })
    }
}
