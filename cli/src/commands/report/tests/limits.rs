//! The limits and locks that the page shows.

use phonegate::call::{CallLimit, Country};

use super::*;

/// An attempt of this time to the n-th number that a limit refused.
fn refused(started: &str, n: u128, limit: CallLimit) -> Row {
    let outcome = RowOutcome::Failed(Failure::limited(limit, "Too many calls."));
    Row { backend: None, placed: None, answered: None, ..Row { started: started_at(started), ..to_number(n, outcome) } }
}

/// A denial of this time by the n-th number, which locked it for an hour if that is said.
fn denied(started: &str, n: u128, locks: bool) -> Row {
    let started = started_at(started);
    let hour = Duration::from_secs(3600);
    let locked_until = locks.then(|| started + hour);
    Row { started, ended: Some(started), locked_until, ..to_number(n, failed(FailureReason::WrongKey)) }
}

fn started_at(text: &str) -> SystemTime {
    SystemTime::try_from(time(text).timestamp()).unwrap()
}

fn page_of(rows: &[Row]) -> (Statistics, String) {
    let mut stats = stats("2026-03-01T00:00", "2026-03-11T00:00");
    rows.iter().for_each(|row| stats.count(row));
    let page = page(&stats, &time("2026-03-11T08:00"));
    (stats, page)
}

#[test]
fn each_limit_has_its_refusals_by_day() {
    let (stats, page) = page_of(&[
        refused("2026-03-01T10:00", 1, CallLimit::CallsPerNumber),
        refused("2026-03-03T10:00", 1, CallLimit::CallsPerNumber),
        refused("2026-03-03T11:00", 2, CallLimit::Denials),
        Row { backend: None, ..to_number(3, failed(FailureReason::Throttled)) },
    ]);
    let of = |limit: CallLimit| {
        let n = CallLimit::ALL.iter().position(|of| *of == limit).unwrap();
        let days: Vec<_> = stats.bars.iter().map(|bar| bar.limits[n]).take(3).collect();
        (stats.limits.refused(limit), days)
    };
    assert_eq!(of(CallLimit::CallsPerNumber), (2, vec![1, 0, 1]));
    assert_eq!(of(CallLimit::Denials), (1, vec![0, 0, 1]));
    assert_eq!(stats.bars[0].refusals[0], 2, "the provider's Throttled, too");
    let card = page.split_once("Refused by limits").unwrap().1.split_once("Locked numbers").unwrap().0;
    assert!(card.contains("calls_per_number<small>calls to one number</small>"), "{card}");
    assert!(card.contains("denials<small>") && !card.contains("calls_per_day"), "{card}");
}

#[test]
fn a_daily_cap_is_named_with_the_first_refusal_of_each_day() {
    let by_country = |started: &str| {
        let row = refused(started, 1, CallLimit::ByCountry);
        Row { country: Country::parse("LV"), ..row }
    };
    let (_, page) = page_of(&[
        refused("2026-03-02T14:05", 1, CallLimit::CallsPerDay),
        refused("2026-03-02T13:00", 1, CallLimit::CallsPerDay),
        refused("2026-03-02T23:59", 1, CallLimit::CallsPerDay),
        refused("2026-03-09T09:12", 1, CallLimit::CallsPerDay),
        by_country("2026-03-04T08:30"),
    ]);
    for words in [
        "limits.calls_per_day was reached on 9 Mar at 09:12, 2 Mar at 13:00.",
        "limits.by_country.LV was reached on 4 Mar at 08:30.",
        "limits.calls_per_day was reached on 2 days. Is it too low",
        "limits.by_country.LV was reached on 1 day. Is it too low",
        "<code>phonegate limits list</code>",
    ] {
        assert!(page.contains(words), "{words} in {page}");
    }
    let each_day: Vec<_> =
        (1..=9).map(|day| refused(&format!("2026-03-0{day}T10:00"), 1, CallLimit::CallsPerDay)).collect();
    let (_, page) = page_of(&each_day);
    assert!(page.contains("9 Mar at 10:00") && page.contains("4 Mar at 10:00, and on 3 days before."), "{page}");
}

#[test]
fn a_locked_number_has_its_locks_and_its_denials() {
    let mut rows: Vec<_> = (0..6).map(|n| denied(&format!("2026-03-05T1{n}:00"), 7, n % 3 == 2)).collect();
    rows.push(denied("2026-03-06T23:30", 8, true));
    rows.push(denied("2026-03-06T10:00", 9, false));
    let newest = rows[5].attempt.id;
    let (stats, page) = page_of(&rows);
    let locked: Vec<_> = stats
        .limits
        .locked()
        .iter()
        .map(|(locked, denials)| ((*locked.masked).to_owned(), locked.locks, *denials))
        .collect();
    assert_eq!(locked, [("+1******0007".to_owned(), 2, 6), ("+1******0008".to_owned(), 1, 1)]);
    let row = format!(
        r#"+1******0007<small><code>{newest}</code></small></th><td class="n">5 Mar, 15:00<small>until 16:00</small></td><td class="n">2</td><td class="n">6</td>"#
    );
    for words in [
        row.as_str(),
        "6 Mar, 23:30<small>until 7 Mar, 00:30</small>",
        "None is locked now.",
        "2 numbers were locked 3 times (most often +1******0007), because calls were not approved.",
        &format!("phonegate calls --number {newest} --since "),
        "<code>phonegate limits unlock ID</code>",
    ] {
        assert!(page.contains(words), "{words} in {page}");
    }
}

#[test]
fn locked_numbers_beyond_the_first_are_counted() {
    let rows: Vec<_> = (1..=9).map(|n| denied("2026-03-06T10:00", n, true)).collect();
    let (_, page) = page_of(&rows);
    let card = page.split_once("<h2>Locked numbers").unwrap().1.split_once("</section>").unwrap().0;
    assert!(card.contains("The first 8 of 9."), "{card}");
    assert_eq!(card.matches("until 11:00").count(), 8, "{card}");
}
