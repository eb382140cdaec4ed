//! The findings on the page, and the commands that they name.

use phonegate::call::FailureReason::{
    AlreadyInProgress, FraudReported, Internal, InvalidNumber, Throttled, Unreachable,
};

use super::*;

/// Renders a page of one day with this many calls of each outcome, each to another number.
fn page_with(calls: &[(RowOutcome, u64)]) -> String {
    let mut stats = stats("2026-03-01T00:00", "2026-03-02T00:00");
    for (outcome, count) in calls {
        (0..*count).for_each(|n| stats.count(&to_number(u128::from(n), outcome.clone())));
    }
    page(&stats, &time("2026-03-02T08:00"))
}

#[test]
fn many_refused_calls_to_many_numbers_are_a_finding() {
    let mut stats = stats("2026-03-01T00:00", "2026-03-02T00:00");
    for n in 0..540 {
        stats.count(&to_number(n % 60, failed(Throttled)));
    }
    for n in 0..600 {
        stats.count(&to_number(1000 + n, RowOutcome::Verified));
    }
    let page = page(&stats, &time("2026-03-02T08:00"));
    let words = "540 calls to 60 numbers were refused by the gate, 47 % of all; 540 of them as Throttled: more calls than \
                 the limits allow.";
    assert!(page.contains(words) && !page.contains("Nothing stands out"), "{page}");
    assert!(page.contains("phonegate calls --reason Throttled --since 2026-03-01T00:00 --until 2026-03-02T00:00"));

    // A few refusals, or a small share of many calls, are normal.
    for calm in [
        page_with(&[(RowOutcome::Verified, 20), (failed(AlreadyInProgress), 19)]),
        page_with(&[(RowOutcome::Verified, 61), (failed(AlreadyInProgress), 20)]),
    ] {
        assert!(calm.contains("Nothing stands out"), "{calm}");
    }
    let invalid = Row { number: None, number_hash: None, ..row("2026-03-01T12:00", failed(InvalidNumber)) };
    let mut stats = super::stats("2026-03-01T00:00", "2026-03-02T00:00");
    (0..20).for_each(|_| stats.count(&invalid));
    let page = super::page(&stats, &time("2026-03-02T08:00"));
    assert!(page.contains("20 calls were refused by the gate, 100 % of all; 20 of them as InvalidNumber"), "{page}");
}

#[test]
fn a_defect_is_a_finding_despite_a_more_frequent_reason() {
    let page = page_with(&[(failed(FailureReason::CannotPlace), 9), (failed(Internal), 1)]);
    for words in
        ["1 call failed because of a defect in PhoneGate (Internal). Please report it", "9 calls failed as CannotPlace"]
    {
        assert!(page.contains(words), "{words} in {page}");
    }
}

#[test]
fn numbers_to_watch_include_reported_and_refused_ones() {
    let mut stats = stats("2026-03-01T00:00", "2026-03-02T00:00");
    for n in 1..=9 {
        (0..n).for_each(|_| stats.count(&to_number(n, failed(FraudReported))));
    }
    for n in 21..=29 {
        (0..n).for_each(|_| stats.count(&to_number(n, failed(Throttled))));
    }
    let shown: Vec<_> = stats.suspects().iter().take(8).map(|suspect| suspect.masked.to_string()).collect();
    assert_eq!(shown, [9, 8, 7, 6, 29, 28, 27, 26].map(|n| format!("+1******{n:04}")));
    assert_eq!(stats.suspects().len(), 18);
}

#[test]
fn a_chart_starts_with_the_first_call() {
    let first = time("2026-03-20T10:00");
    let mut stats = Statistics::new(time("2020-01-01T00:00"), time("2026-03-29T12:00"), Some(&first));
    assert_eq!((stats.interval, stats.bars.len()), (Interval::Day, 10));
    for started in ["2026-03-20T10:00", "2026-03-29T11:59"] {
        stats.count(&row(started, failed(Unreachable)));
    }
    // Another node's clock was a day behind.
    stats.count(&row("2026-03-19T10:00", failed(Unreachable)));
    let totals: Vec<_> = stats.bars.iter().map(|bar| bar.tally.total()).collect();
    assert_eq!((totals[0], totals[9], stats.total()), (2, 1, 3));
    assert_eq!(stats.as_arguments(), ("2020-01-01T00:00".to_owned(), "2026-03-29T12:00".to_owned()));
}
