//! Tests of the charts: each shows the counted calls at the right place and in proportion.

use std::time::Duration;

use phonegate::call::FailureReason;
use phonegate::store::{Row, RowOutcome};

use super::super::page::page;
use super::super::statistics::Statistics;
use super::svg::{Area, Element, corners};
use super::{failed, row, stats, time};

/// A Monday, and ten days from then on.
const FIRST: i64 = 2;
const DAYS: usize = 10;

/// One outcome of each kind, as they are stacked: its class, its name in words, and a reason for it.
const KINDS: [(&str, &str, Option<FailureReason>); 5] = [
    ("verified", "Approved", None),
    ("declined", "Not approved", Some(FailureReason::WrongKey)),
    ("refused", "Refused by the gate", Some(FailureReason::Throttled)),
    ("trouble", "Technical failure", Some(FailureReason::CannotPlace)),
    ("fraud", "Fraud reported", Some(FailureReason::FraudReported)),
];

fn outcome(reason: Option<FailureReason>) -> RowOutcome {
    reason.map_or(RowOutcome::Verified, failed)
}

fn ten_days() -> Statistics {
    stats("2026-03-02T00:00", "2026-03-12T00:00")
}

/// Counts calls of one outcome that began in an hour of one of the days.
fn count(stats: &mut Statistics, day: usize, hour: usize, calls: u64, outcome: &RowOutcome) {
    let started = format!("2026-03-{:02}T{hour:02}:15", FIRST + day as i64);
    (0..calls).for_each(|_| stats.count(&row(&started, outcome.clone())));
}

fn drawn(stats: &Statistics) -> String {
    page(stats, &time("2026-03-12T08:00"))
}

/// Returns whether two positions look the same on the page.
#[track_caller]
fn is_at(place: f64, expected: f64, what: &str) {
    assert!((place - expected).abs() < 0.3, "{what}: at {place}, and not at {expected}");
}

/// How high a chart's calls are by the lines and labels at its left: the height of none, and of each.
fn scale(chart: &Element) -> (f64, f64) {
    let lines: Vec<f64> = chart.all("line.grid").iter().map(|line| line.length("y1")).collect();
    let labels: Vec<_> =
        chart.all("text.tick").into_iter().filter(|tick| tick.attribute("text-anchor") == "end").collect();
    assert!(lines.len() == labels.len() && lines.len() > 2, "{chart:?}");
    for (line, label) in lines.iter().zip(&labels) {
        assert!((line - label.length("y")).abs() < 6.0, "{} is next to its line", label.text);
    }
    let calls = |n: usize| labels[n].text.parse::<f64>().unwrap();
    let last = lines.len() - 1;
    assert_eq!(calls(0), 0.0);
    (lines[0], (lines[0] - lines[last]) / calls(last))
}

#[test]
fn each_day_has_a_stack_of_its_outcomes() {
    let days = [(0, [40, 20, 10, 10, 20]), (2, [80, 0, 5, 0, 0]), (3, [0, 30, 0, 0, 10]), (9, [10, 10, 10, 10, 10])];
    let mut stats = ten_days();
    for (day, counts) in days {
        for ((_, _, reason), calls) in KINDS.into_iter().zip(counts) {
            count(&mut stats, day, 12, calls, &outcome(reason));
        }
    }
    // What has not ended is of no kind.
    stats.count(&Row { ended: None, ..row("2026-03-03T12:00", RowOutcome::Pending) });
    let section = Element::section(&drawn(&stats), "Outcomes by day");
    let chart = section.one("svg.chart");
    let (floor, each) = scale(chart);

    let bars = chart.all("g.bar");
    let rooms: Vec<Area> = bars.iter().map(|bar| bar.one("rect.hover").area()).collect();
    assert_eq!(rooms.len(), DAYS);
    assert!(rooms.windows(2).all(|pair| (pair[0].right - pair[1].left).abs() < 0.3), "{rooms:?}");
    for (kind, (class, name, _)) in KINDS.into_iter().enumerate() {
        let there: Vec<_> = days.iter().filter(|(_, counts)| counts[kind] > 0).collect();
        let areas = chart.one(&format!("path.{class}")).areas();
        assert_eq!(areas.len(), there.len(), "{class}");
        for (area, (day, counts)) in areas.iter().zip(there) {
            let what = format!("{class} on day {day}");
            assert!(area.is_over(&rooms[*day]), "{what}: {area:?} in {:?}", rooms[*day]);
            is_at(area.height(), counts[kind] as f64 * each, &what);
            is_at(area.bottom, floor - counts[..kind].iter().sum::<u64>() as f64 * each, &what);
            let tooltip = &bars[*day].one("title").text;
            assert!(tooltip.contains(&format!(" {} Mar 2026: ", FIRST + *day as i64)), "{tooltip}");
            assert!(tooltip.lines().any(|line| line == format!("{name}: {}", counts[kind])), "{tooltip}");
        }
    }
    let weekend: Vec<_> = chart.all("rect.weekend").iter().map(|rect| rect.area()).collect();
    assert_eq!(weekend.len(), 2);
    assert!(weekend[0].is_over(&rooms[5]) && weekend[1].is_over(&rooms[6]), "{weekend:?}");

    let all: u64 = days.iter().flat_map(|(_, counts)| counts).sum();
    let mut left = 0.0;
    for (kind, (class, ..)) in KINDS.into_iter().enumerate() {
        let part = section.one("svg.shares").one(&format!("rect.{class}"));
        let share = days.iter().map(|(_, counts)| counts[kind]).sum::<u64>() as f64 * 100.0 / all as f64;
        is_at(part.length("x"), left, class);
        is_at(part.length("width"), share, class);
        left += share;
    }
}

#[test]
fn a_single_call_among_hundreds_is_visible() {
    let mut stats = ten_days();
    for ((_, _, reason), calls) in KINDS.into_iter().zip([1, 700, 1, 1, 1]) {
        count(&mut stats, 4, 12, calls, &outcome(reason));
    }
    let section = Element::section(&drawn(&stats), "Outcomes by day");
    let (mut below, mut left) = (scale(section.one("svg.chart")).0, 0.0);
    for (class, ..) in KINDS {
        let areas = section.one("svg.chart").one(&format!("path.{class}")).areas();
        assert!(areas.len() == 1 && areas[0].height() >= 2.0, "{class}: {areas:?}");
        is_at(areas[0].bottom, below, class);
        below = areas[0].top;
        let part = section.one("svg.shares").one(&format!("rect.{class}"));
        let (x, width) = (part.length("x"), part.length("width"));
        assert!(x >= left && width > 0.3 && x + width <= 100.0, "{class}: {x} {width}");
        left = x + width;
    }
}

#[test]
fn each_reason_has_a_bar_of_its_count_and_kind() {
    let reasons = [
        (FailureReason::NoKeyPressed, 40, "declined"),
        (FailureReason::Blocked, 20, "refused"),
        (FailureReason::Interrupted, 10, "trouble"),
        (FailureReason::FraudReported, 2, "fraud"),
    ];
    let mut stats = ten_days();
    for (reason, calls, _) in reasons.into_iter().rev() {
        count(&mut stats, 1, 12, calls, &failed(reason));
    }
    count(&mut stats, 1, 12, 100, &RowOutcome::Verified);
    let section = Element::section(&drawn(&stats), "Why calls failed");
    let rows = section.one("tbody").all("tr");
    assert_eq!(rows.len(), reasons.len());
    for (row, (reason, calls, class)) in rows.into_iter().zip(reasons) {
        let (name, bar) = (row.one("th"), row.one("svg.row-bar"));
        assert!(name.text.starts_with(reason.name()), "{}", name.text);
        assert_eq!(row.all("td.n")[0].text, calls.to_string());
        is_at(bar.length("width"), calls as f64 * 100.0 / 40.0, class);
        for drawn in [name, bar] {
            assert!(drawn.one("rect").classes().eq([class]), "{drawn:?}");
        }
    }
}

/// Checks a histogram of calls with these durations in seconds: its bars and its marks.
fn shows_times(section: &Element, class: &str, times: &[(f64, u64)], median: f64, p95: f64) {
    let chart = section.one("svg.chart");
    let (floor, each) = scale(chart);
    let ticks = chart.all("text.tick").into_iter().filter(|tick| tick.attribute("text-anchor") != "end");
    let ticks: Vec<(f64, f64)> =
        ticks.map(|tick| (tick.text.strip_suffix(" s").unwrap().parse().unwrap(), tick.length("x"))).collect();
    let ((from, left), (to, right)) = (ticks[0], ticks[ticks.len() - 1]);
    let x = |seconds: f64| left + (right - left) * (seconds - from) / (to - from);
    ticks.iter().for_each(|(seconds, place)| is_at(*place, x(*seconds), class));

    let bars: Vec<Area> = chart.all(&format!("rect.{class}")).iter().map(|bar| bar.area()).collect();
    assert_eq!(bars.len(), times.len(), "{class}");
    for (bar, (seconds, calls)) in bars.iter().zip(times) {
        // Just after the beginning of the bar, which has a gap at its left.
        let middle = x(seconds + 0.25);
        assert!(bar.left < middle && middle < bar.right, "{class}: {seconds} s at {middle} in {bar:?}");
        is_at(bar.height(), *calls as f64 * each, class);
        is_at(bar.bottom, floor, class);
    }
    let marks: Vec<f64> = chart.all("path.mark").iter().map(|mark| corners(mark.attribute("d")).0[0]).collect();
    assert_eq!(marks.len(), 2);
    is_at(marks[0], x(median), "half");
    is_at(marks[1], x(p95), "95 of 100");
}

#[test]
fn histograms_have_bars_and_marks() {
    let mut stats = ten_days();
    for (answered, ended, calls) in [(1, 3, 12), (2, 4, 6), (6, 7, 1)] {
        let mut row = row("2026-03-03T12:00", RowOutcome::Verified);
        row.answered = Some(row.started + Duration::from_secs(answered));
        row.ended = Some(row.started + Duration::from_secs(ended));
        (0..calls).for_each(|_| stats.count(&row));
        // A call that was not approved counts for the answer only.
        (0..calls).for_each(|_| stats.count(&Row { outcome: failed(FailureReason::WrongKey), ..row.clone() }));
    }
    let page = drawn(&stats);
    let [answer, approve] = ["Time to answer", "Time to approve"].map(|heading| Element::section(&page, heading));
    shows_times(&answer, "plain", &[(1.0, 24), (2.0, 12), (6.0, 2)], 1.0, 6.0);
    shows_times(&approve, "verified", &[(3.0, 12), (4.0, 6), (7.0, 1)], 3.0, 7.0);
}

#[test]
fn busier_hours_are_darker() {
    let busy = [(0, 9, 10), (0, 10, 5), (2, 0, 1), (6, 23, 8)];
    let mut stats = ten_days();
    for (day, hour, calls) in busy {
        count(&mut stats, day, hour, calls, &RowOutcome::Verified);
    }
    let section = Element::section(&drawn(&stats), "Busiest hours");
    let hours: Vec<_> = section.one("thead").all("th").iter().map(|hour| hour.text.clone()).collect();
    assert_eq!((hours.len(), &*hours[0], &*hours[23], &*hours[24]), (25, "0", "23", "All"));
    let mut heat = Vec::new();
    let rows = section.one("tbody").all("tr");
    assert!(rows.iter().map(|row| &*row.one("th").text).eq(super::super::format::WEEKDAYS));
    for (day, row) in rows.iter().enumerate() {
        let cells = row.all("td");
        let of_day = busy.iter().filter(|(busy, ..)| *busy == day).map(|(.., calls)| calls).sum::<u64>();
        assert_eq!((cells.len(), cells[24].text.parse()), (25, Ok(of_day)));
        for (hour, cell) in cells[..24].iter().enumerate() {
            let calls = busy.iter().find(|busy| (busy.0, busy.1) == (day, hour)).map_or(0, |busy| busy.2);
            assert_eq!(cell.text, calls.to_string(), "day {day}, {hour}:00");
            let level: u64 = cell.classes().next().unwrap().strip_prefix("heat-").unwrap().parse().unwrap();
            heat.push((calls, level));
        }
    }
    heat.sort_unstable();
    heat.dedup();
    assert_eq!(heat, [(0, 0), (1, 1), (5, 3), (8, 4), (10, 5)]);
}

#[test]
fn refused_attempts_are_drawn_by_day_and_reason() {
    let refused = [
        (FailureReason::Throttled, &[(0, 4), (3, 2), (9, 1)][..]),
        (FailureReason::Blocked, &[(9, 1)]),
        (FailureReason::CountryNotAllowed, &[(4, 3), (5, 9)]),
        (FailureReason::AlreadyInProgress, &[(1, 2), (2, 2)]),
        (FailureReason::InvalidNumber, &[]),
    ];
    let mut stats = ten_days();
    for (reason, days) in refused {
        days.iter().for_each(|(day, calls)| count(&mut stats, *day, 12, *calls, &failed(reason)));
    }
    count(&mut stats, 7, 12, 50, &failed(FailureReason::NoKeyPressed));
    let section = Element::section(&drawn(&stats), "Refused by the gate");
    let rows = section.one("tbody").all("tr");
    assert_eq!(rows.len(), refused.len());
    for (row, (reason, days)) in rows.into_iter().zip(refused) {
        let what = reason.name();
        assert!(row.one("th").text.starts_with(what), "{}", row.text);
        assert_eq!(row.one("td.n").text.parse(), Ok(days.iter().map(|(_, calls)| calls).sum::<u64>()), "{what}");
        let line = row.one("svg.sparkline");
        let whole = line.attribute("viewBox").split(' ').nth(2).unwrap().parse::<f64>().unwrap();
        let bars: Vec<Area> = line.all("rect.base-refused").iter().map(|bar| bar.area()).collect();
        assert_eq!(bars.len(), days.len(), "{what}");
        let most = days.iter().map(|(_, calls)| *calls).max().unwrap_or_default() as f64;
        let highest = bars.iter().map(Area::height).fold(0.0, f64::max);
        for (bar, (day, calls)) in bars.iter().zip(days) {
            let room = |day: usize| whole * day as f64 / DAYS as f64;
            assert!(room(*day) <= bar.left && bar.right <= room(day + 1), "{what} on day {day}: {bar:?}");
            is_at(bar.height(), highest * *calls as f64 / most, what);
            is_at(bar.bottom, line.one("rect.baseline").area().top, what);
        }
    }
}
