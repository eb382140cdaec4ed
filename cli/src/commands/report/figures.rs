//! What a report counts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::civil::Date;
use jiff::{RoundMode, Unit, ZonedDateTime, ZonedDateTimeRound};
use phonegate::call::{CallId, CallLimit, Failure, FailureReason, NumberKey};
use phonegate::store::{Row, RowOutcome};

use super::limits::LimitFigures;
use crate::call_state::CallState;
use crate::time;

/// Beyond so many bars a chart takes a longer unit of time.
const MAX_BARS: i64 = 100;

/// What kind of outcome an attempt had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Verified,
    Declined,
    Refused,
    Trouble,
    Fraud,
}

impl Kind {
    /// In the order in which they are stacked.
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

/// How many there were of each kind.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Tally {
    counts: [u64; Kind::ALL.len()],
    pub(super) pending: u64,
}

impl Tally {
    pub(super) fn of(&self, kind: Kind) -> u64 {
        self.counts.get(kind as usize).copied().unwrap_or_default()
    }

    pub(super) fn total(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.pending
    }

    fn add(&mut self, kind: Option<Kind>) {
        match kind.and_then(|kind| self.counts.get_mut(kind as usize)) {
            Some(count) => *count += 1,
            None => self.pending += 1,
        }
    }
}

/// What a bar stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Per {
    Day,
    Week,
    Month,
}

/// A day, or a longer time.
pub(super) struct Bar {
    pub(super) first: Date,
    pub(super) tally: Tally,
    /// By [`REFUSALS`].
    pub(super) refusals: [u64; REFUSALS.len()],
    /// By [`CallLimit::ALL`].
    pub(super) limits: [u64; CallLimit::ALL.len()],
}

/// Why the gate itself rings nobody.
pub(super) const REFUSALS: [FailureReason; 5] = [
    FailureReason::Throttled,
    FailureReason::Blocked,
    FailureReason::CountryNotAllowed,
    FailureReason::AlreadyInProgress,
    FailureReason::InvalidNumber,
];

/// So many numbers are named.
pub(super) const WATCHED: usize = 8;

/// A number to which calls were refused, or reported.
pub(super) struct Suspect {
    /// The last of these calls, by which the number is known: its key would tell it.
    pub(super) newest: CallId,
    pub(super) masked: Box<str>,
    pub(super) refused: u64,
    pub(super) fraud: u64,
}

/// What a report counts.
pub(super) struct Figures {
    pub(super) from: ZonedDateTime,
    pub(super) to: ZonedDateTime,
    pub(super) per: Per,
    pub(super) bars: Vec<Bar>,
    pub(super) all: Tally,
    /// Those that a backend placed, and how many of these were verified.
    pub(super) placed: u64,
    pub(super) reasons: HashMap<FailureReason, u64>,
    /// Seconds from the request to the answer, and to the approval.
    pub(super) to_answer: Times,
    pub(super) to_verify: Times,
    /// By weekday, from Monday, and hour.
    pub(super) hours: [[u64; 24]; 7],
    pub(super) backends: BTreeMap<Box<str>, Tally>,
    pub(super) nodes: BTreeMap<Box<str>, Tally>,
    suspects: HashMap<NumberKey, Suspect>,
    pub(super) limits: LimitFigures,
    /// Those that will not end.
    pub(super) gone: Vec<CallId>,
    pub(super) blocked_now: u64,
}

impl Figures {
    /// Of calls from a time on, up to another one, and with bars from the day of the first call on.
    pub(super) fn new(from: ZonedDateTime, to: ZonedDateTime, first: Option<&ZonedDateTime>) -> Self {
        // What ends at midnight does not count the day that begins then.
        let last = to.checked_sub(Duration::from_nanos(1)).map_or_else(|_| to.date(), |last| last.date());
        let begin = first.map_or_else(|| from.date(), |first| first.date().clamp(from.date(), last));
        let days = days_between(begin, last) + 1;
        let per = match days {
            ..=MAX_BARS => Per::Day,
            _ if days / 7 < MAX_BARS => Per::Week,
            _ => Per::Month,
        };
        let count = index(per, begin, last).map_or(0, |last| last + 1);
        let bars = (0..count)
            .filter_map(|n| nth(per, begin, n))
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
            per,
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
            limits: LimitFigures::default(),
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
            RowOutcome::Verified => Some(Kind::Verified),
            _ => reason.map(Kind::of),
        };
        self.all.add(kind);
        self.gone.extend((CallState::of(row) == Some(CallState::Gone)).then_some(row.attempt.id));
        self.nodes.entry(row.node.clone()).or_default().add(kind);
        self.placed += u64::from(row.placed.is_some());
        if let Some(backend) = &row.backend {
            self.backends.entry(backend.clone()).or_default().add(kind);
        }
        self.to_answer.add(time::between(row.started, row.answered));
        if kind == Some(Kind::Verified) {
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

    fn count_time(&mut self, time: &ZonedDateTime, kind: Option<Kind>, failure: Option<&Failure>) {
        let weekday = usize::try_from(time.weekday().to_monday_zero_offset()).unwrap_or_default();
        let hour = usize::try_from(time.hour()).unwrap_or_default();
        if let Some(count) = self.hours.get_mut(weekday).and_then(|hours| hours.get_mut(hour)) {
            *count += 1;
        }
        let Some(first) = self.bars.first().map(|bar| bar.first) else { return };
        // A clock that was set back, or another node's, may have put it a little before the first or behind the last.
        let last = self.bars.len().saturating_sub(1);
        let index = index(self.per, first, time.date()).unwrap_or_default().min(last);
        let Some(bar) = self.bars.get_mut(index) else { return };
        bar.tally.add(kind);
        let reason = failure.map(Failure::reason);
        let refusals = REFUSALS.iter().zip(&mut bar.refusals);
        refusals.filter(|(refusal, _)| Some(**refusal) == reason).for_each(|(_, count)| *count += 1);
        let limit = failure.and_then(Failure::limit);
        let limits = CallLimit::ALL.iter().zip(&mut bar.limits);
        limits.filter(|(of, _)| Some(**of) == limit).for_each(|(_, count)| *count += 1);
    }

    fn count_suspect(&mut self, row: &Row, kind: Option<Kind>) {
        let (Some(key), Some(masked)) = (row.number_key, &row.number) else { return };
        let (refused, fraud) = match kind {
            Some(Kind::Refused) => (1, 0),
            Some(Kind::Fraud) => (0, 1),
            _ => return,
        };
        let newest = row.attempt.id;
        let new = || Suspect { newest, masked: masked.clone(), refused: 0, fraud: 0 };
        let suspect = self.suspects.entry(key).or_insert_with(new);
        suspect.newest = newest;
        suspect.refused += refused;
        suspect.fraud += fraud;
    }

    /// Its time as `--since` and `--until` take it.
    pub(super) fn as_arguments(&self) -> (String, String) {
        // Whole seconds, and none too few.
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
        self.all.of(Kind::Verified)
    }

    /// Reasons by how often they were, the most frequent first.
    pub(super) fn reasons(&self) -> Vec<(FailureReason, u64)> {
        let mut reasons: Vec<_> = self.reasons.iter().map(|(reason, count)| (*reason, *count)).collect();
        reasons.sort_by_key(|(reason, count)| (Reverse(*count), reason.name()));
        reasons
    }

    /// The numbers with refused or reported attempts: first those with the most reports, but no more than half of those
    /// that are named, then those with the most refusals.
    pub(super) fn suspects(&self) -> Vec<&Suspect> {
        let mut suspects: Vec<_> = self.suspects.values().collect();
        suspects.sort_by_key(|suspect| (Reverse((suspect.fraud, suspect.refused)), &suspect.masked));
        let reported = suspects.iter().take_while(|suspect| suspect.fraud > 0).count().min(WATCHED / 2);
        if let Some(others) = suspects.get_mut(reported..) {
            others.sort_by_key(|suspect| (Reverse((suspect.refused, suspect.fraud)), &suspect.masked));
        }
        suspects
    }

    /// To so many numbers calls were refused.
    pub(super) fn refused_numbers(&self) -> u64 {
        self.suspects.values().filter(|suspect| suspect.refused > 0).count() as u64
    }

    /// The one to which the most calls were refused.
    pub(super) fn most_refused(&self) -> Option<&Suspect> {
        self.suspects.values().max_by_key(|suspect| (suspect.refused, suspect.fraud, Reverse(&suspect.masked)))
    }
}

fn days_between(from: Date, to: Date) -> i64 {
    from.until((Unit::Day, to)).map_or(0, |span| i64::from(span.get_days()))
}

/// In which bar a day is.
fn index(per: Per, first: Date, day: Date) -> Option<usize> {
    let index = match per {
        Per::Day => days_between(first, day),
        Per::Week => days_between(monday(first), day).div_euclid(7),
        Per::Month => {
            let months = |date: Date| i64::from(date.year()) * 12 + i64::from(date.month());
            months(day) - months(first)
        }
    };
    usize::try_from(index).ok()
}

/// The first day of a bar.
fn nth(per: Per, first: Date, n: usize) -> Option<Date> {
    let n = i64::try_from(n).ok()?;
    let (start, step) = match per {
        Per::Day => (first, jiff::Span::new().try_days(n)),
        Per::Week => (monday(first), jiff::Span::new().try_weeks(n)),
        Per::Month => (first.first_of_month(), jiff::Span::new().try_months(n)),
    };
    start.checked_add(step.ok()?).ok()
}

fn monday(date: Date) -> Date {
    let since = jiff::Span::new().days(i64::from(date.weekday().to_monday_zero_offset()));
    date.checked_sub(since).unwrap_or(date)
}

/// How long something took, each time.
#[derive(Default)]
pub(super) struct Times(Vec<f64>);

/// How many took how long.
pub(super) struct Histogram {
    /// The width of a bar, in seconds.
    pub(super) width: f64,
    /// How many were in each; the last one has all that took longer.
    pub(super) counts: Vec<u64>,
    pub(super) median: f64,
    pub(super) p95: f64,
}

impl Times {
    fn add(&mut self, time: Option<Duration>) {
        self.0.extend(time.map(|time| time.as_secs_f64()));
    }

    /// The time within which so many of a hundred were.
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
        // One in a hundred may be beyond the last bar.
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
