//! Tests of the report, with rows made for them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod charts;
mod findings;
mod limits;
mod svg;

use std::time::{Duration, SystemTime};

use jiff::ZonedDateTime;
use phonegate::call::{Attempt, CallId, Failure, FailureReason, NumberHash};
use phonegate::store::{Row, RowOutcome};
use uuid::Uuid;

use super::page::page;
use super::statistics::{Interval, OutcomeKind, Statistics};

fn time(text: &str) -> ZonedDateTime {
    format!("{text}[Europe/Berlin]").parse().unwrap()
}

fn stats(from: &str, to: &str) -> Statistics {
    Statistics::new(time(from), time(to), None)
}

fn row(started: &str, outcome: RowOutcome) -> Row {
    let started = SystemTime::try_from(time(started).timestamp()).unwrap();
    let id = CallId::new(Uuid::new_v4()).unwrap();
    Row {
        sequence: 0,
        attempt: Attempt { id, generation: 1 },
        number: Some("+1******1212".into()),
        full_number: None,
        number_hash: NumberHash::parse(&"0".repeat(32)),
        line_hash: NumberHash::parse(&"0".repeat(32)),
        node: "MIM01".into(),
        backend: Some("trunk".into()),
        started,
        placed: Some(started),
        ringing: Some(started),
        answered: Some(started + Duration::from_secs(4)),
        ended: Some(started + Duration::from_secs(9)),
        outcome,
        judged_by: None,
        country: None,
        locked_until: None,
    }
}

fn failed(reason: FailureReason) -> RowOutcome {
    RowOutcome::Failed(Failure::new(reason, "It failed."))
}

#[test]
fn attempts_count_on_the_day_and_hour_of_the_time_zone() {
    let mut stats = stats("2026-03-28T00:00", "2026-03-31T00:00");
    assert_eq!((stats.interval, stats.bars.len()), (Interval::Day, 3));
    // The clocks are set forward on the 29th.
    for (started, bar, weekday, hour) in [
        ("2026-03-28T23:59:59", 0, 5, 23),
        ("2026-03-29T00:00", 1, 6, 0),
        ("2026-03-29T23:30", 1, 6, 23),
        ("2026-03-30T03:00", 2, 0, 3),
    ] {
        let before = (stats.bars[bar].tally.total(), stats.hours[weekday][hour]);
        stats.count(&row(started, RowOutcome::Verified));
        assert_eq!((stats.bars[bar].tally.total(), stats.hours[weekday][hour]), (before.0 + 1, before.1 + 1));
    }
    assert_eq!((stats.total(), stats.verified()), (4, 4));
}

#[test]
fn each_reason_has_its_kind_of_outcome() {
    let mut stats = stats("2026-03-01T00:00", "2026-03-02T00:00");
    for reason in FailureReason::ALL {
        stats.count(&row("2026-03-01T12:00", failed(reason)));
    }
    stats.count(&Row { ended: None, ..row("2026-03-01T12:00", RowOutcome::Pending) });
    let kinds = OutcomeKind::ALL.map(|kind| stats.all.of(kind));
    assert_eq!((kinds, stats.all.pending), ([0, 8, 6, 5, 1], 1));
    assert_eq!(stats.bars[0].refusals, [1; 5]);
    assert_eq!(stats.suspects()[0].refused, 6);
    assert_eq!(stats.suspects()[0].fraud, 1);
}

/// A call to the n-th number.
fn to_number(n: u128, outcome: RowOutcome) -> Row {
    let hash = NumberHash::parse(&format!("{n:032x}"));
    Row {
        number_hash: hash,
        line_hash: hash,
        number: Some(format!("+1******{n:04}").into()),
        ..row("2026-03-01T12:00", outcome)
    }
}

#[test]
fn reported_numbers_come_before_refused_ones() {
    let mut stats = stats("2026-03-01T00:00", "2026-03-02T00:00");
    for n in 1..=9 {
        (0..20 + n).for_each(|_| stats.count(&to_number(n, failed(FailureReason::AlreadyInProgress))));
    }
    stats.count(&to_number(77, failed(FailureReason::FraudReported)));
    (0..2).for_each(|_| stats.count(&to_number(78, failed(FailureReason::FraudReported))));
    let newest = |n: u128| {
        let masked = format!("+1******{n:04}");
        stats.suspects().iter().find(|suspect| *suspect.masked == *masked).unwrap().newest
    };
    let shown: Vec<_> = stats.suspects().iter().map(|suspect| &*suspect.masked).collect();
    assert_eq!(shown[..4], ["+1******0078", "+1******0077", "+1******0009", "+1******0008"]);
    let page = page(&stats, &time("2026-03-02T08:00"));
    let (found, watched) = page.split_once("Numbers to watch").unwrap();
    for (words, place) in [
        ("29 calls to +1******0009 were refused.", found),
        (&format!("<code>phonegate calls --number {} --since 2026-03-01T00:00 --until ", newest(9)), found),
        (&format!("+1******0077<small><code>{}</code>", newest(77)), watched),
        ("phonegate calls --number ID --since 2026-03-01T00:00 --until 2026-03-02T00:00</code>", watched),
        ("The first 8 of 11.", watched),
    ] {
        assert!(place.contains(words), "{words} in {place}");
    }
    // A single number does not show why calls were refused.
    assert!(!page.contains("--reason Throttled"), "{page}");
}

#[test]
fn the_page_says_why_few_calls_were_approved() {
    let few = |verified: u64, others: &[(FailureReason, u64)]| {
        let mut stats = stats("2026-03-01T00:00", "2026-03-02T00:00");
        (0..verified).for_each(|_| stats.count(&row("2026-03-01T12:00", RowOutcome::Verified)));
        for (reason, count) in others {
            (0..*count)
                .for_each(|_| stats.count(&Row { number_hash: None, ..row("2026-03-01T12:00", failed(*reason)) }));
        }
        page(&stats, &time("2026-03-02T08:00"))
    };
    let none = "Of 100 calls that ended, none was approved. 100 failed as Unreachable: busy, not answered or rejected.";
    for (page, words) in [
        (few(0, &[(FailureReason::Unreachable, 100)]), none),
        (few(0, &[(FailureReason::InvalidNumber, 100)]), "none was approved. 100 failed as InvalidNumber"),
        (
            few(12, &[(FailureReason::Unreachable, 10), (FailureReason::CallEnded, 3)]),
            "Of 25 calls that ended, 48 % were approved. 10 failed as Unreachable",
        ),
    ] {
        assert!(page.contains(words) && !page.contains("Nothing stands out"), "{words} in {page}");
    }
    // A share of one half is normal, and a few calls allow no conclusion.
    for page in [few(13, &[(FailureReason::Unreachable, 13)]), few(0, &[(FailureReason::Unreachable, 19)])] {
        assert!(page.contains("Nothing stands out"), "{page}");
    }
    // A reason that already has a finding gets no second one.
    let page = few(0, &[(FailureReason::CannotPlace, 100)]);
    assert_eq!(page.matches("phonegate calls --reason CannotPlace").count(), 1, "{page}");
}

#[test]
fn refused_calls_count_for_the_backend_but_not_as_placed() {
    let mut stats = stats("2026-03-01T00:00", "2026-03-02T00:00");
    let refused = Row {
        placed: None,
        ringing: None,
        answered: None,
        ..row("2026-03-01T12:00", failed(FailureReason::CannotPlace))
    };
    (0..3).for_each(|_| stats.count(&refused));
    assert_eq!((stats.placed, stats.backends["trunk"].of(OutcomeKind::Trouble)), (0, 3));
    let page = page(&stats, &time("2026-03-02T08:00"));
    assert!(
        page.contains(
            r#"<th scope="row">trunk</th><td class="n">3</td><td class="n">0 %</td><td class="n">100 %</td>"#
        )
    );
    assert!(page.contains("None of them was placed."), "{page}");
}

#[test]
fn an_empty_table_is_not_shown() {
    let mut stats = stats("2026-03-01T00:00", "2026-03-02T00:00");
    let invalid = failed(FailureReason::InvalidNumber);
    stats.count(&Row {
        backend: None,
        placed: None,
        number: None,
        number_hash: None,
        ..row("2026-03-01T12:00", invalid)
    });
    let page = page(&stats, &time("2026-03-02T08:00"));
    assert_eq!(page.matches("None.").count(), 4, "numbers to watch, limits, locks and backends: {page}");
    assert!(!page.contains("<tbody></tbody>"), "{page}");
}

#[test]
fn long_periods_are_shown_by_weeks_and_months() {
    for (to, interval, bars) in [
        ("2026-04-11T00:00", Interval::Day, 100),
        ("2026-04-12T00:00", Interval::Week, 15),
        ("2026-12-31T12:00", Interval::Week, 53),
        ("2029-12-31T12:00", Interval::Month, 48),
    ] {
        let mut stats = stats("2026-01-01T00:00", to);
        assert_eq!((stats.interval, stats.bars.len()), (interval, bars), "{to}");
        stats.count(&row("2026-01-01T00:00", RowOutcome::Verified));
        let last = time(to).checked_sub(Duration::from_secs(1)).unwrap().datetime().to_string();
        stats.count(&row(&last, RowOutcome::Verified));
        assert_eq!(stats.bars.first().unwrap().tally.total(), 1);
        assert_eq!(stats.bars.last().unwrap().tally.total(), 1);
    }
}

#[test]
fn a_histogram_has_its_median_and_every_duration() {
    let mut stats = stats("2026-03-01T00:00", "2026-03-02T00:00");
    assert!(stats.to_answer.histogram().is_none());
    for seconds in (1..=99).chain([4000]) {
        let mut row = row("2026-03-01T12:00", RowOutcome::Verified);
        row.answered = Some(row.started + Duration::from_secs(seconds));
        stats.count(&row);
    }
    // The clock was set back in between: nothing is known.
    let mut strange = row("2026-03-01T12:00", RowOutcome::Verified);
    strange.answered = Some(strange.started - Duration::from_secs(60));
    stats.count(&strange);
    let histogram = stats.to_answer.histogram().unwrap();
    assert_eq!((histogram.median, histogram.p95), (50.0, 95.0));
    assert_eq!(histogram.counts.iter().sum::<u64>(), 100);
}

#[test]
fn values_of_a_row_are_escaped() {
    let evil = "\"><script>alert(1)</script><img src=http://evil.example/>";
    let mut stats = stats("2026-03-01T00:00", "2026-03-02T00:00");
    for reason in [FailureReason::Throttled, FailureReason::FraudReported] {
        stats.count(&Row {
            number: Some(evil.into()),
            node: evil.into(),
            backend: Some(evil.into()),
            ..row("2026-03-01T12:00", failed(reason))
        });
    }
    let page = page(&stats, &time("2026-03-02T08:00"));
    assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
    assert_eq!(page.matches("&lt;script&gt;").count(), 3, "number, node and backend");
}

#[test]
fn the_page_shows_totals_and_findings() {
    let mut stats = stats("2026-03-01T00:00", "2026-04-01T00:00");
    let empty = page(&stats, &time("2026-04-01T08:00"));
    assert!(empty.contains("There were no calls in this time.") && empty.contains("1 Mar to 31 Mar 2026"), "{empty}");
    assert!(!empty.contains("NaN") && !empty.contains("inf"));
    for _ in 0..30 {
        stats.count(&row("2026-03-09T09:30", RowOutcome::Verified));
    }
    let calm = page(&stats, &time("2026-04-01T08:00"));
    assert!(
        calm.contains("Nothing stands out") && calm.contains("Of 30 that were placed, all were approved."),
        "{calm}"
    );
    assert!(calm.contains("Mondays from 9:00") && calm.contains("Europe/Berlin"), "{calm}");
    for _ in 0..12 {
        stats.count(&row("2026-03-10T10:30", failed(FailureReason::Throttled)));
        stats.count(&row("2026-03-10T10:30", failed(FailureReason::NoKeyPressed)));
    }
    stats.count(&row("2026-03-11T10:30", failed(FailureReason::FraudReported)));
    stats.count(&row("2026-03-11T10:30", failed(FailureReason::CannotPlace)));
    let page = page(&stats, &time("2026-04-01T08:00"));
    for words in [
        "1 user said that a call was not theirs",
        "phonegate calls --reason FraudReported",
        "1 call failed as CannotPlace",
        "12 calls to +1******1212 were refused",
    ] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("NaN") && !page.contains("inf"));
}
