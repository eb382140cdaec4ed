//! Draws charts as SVG. The colours are those of the style sheet of the page.

use std::ops::RangeInclusive;

use jiff::civil::Weekday;
use maud::{Markup, html};

use super::format;
use super::statistics::{Bar, Histogram, Interval, OutcomeKind};

/// Formats a coordinate.
fn at(x: f64) -> String {
    format!("{x:.1}")
}

/// Returns the values of 3 to 6 grid lines at round numbers, from 0 to `most` or a little more. The scale reaches at least
/// 4, so that a single call is not a high bar.
fn scale(most: u64) -> Vec<u64> {
    let most = most.max(4);
    let steps = (0..19).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power)));
    let step = steps.into_iter().find(|step| most.div_ceil(*step) <= 5).unwrap_or(most);
    (0..=most.div_ceil(step)).map(|n| n * step).collect()
}

/// Draws the patterns that distinguish kinds without colours.
pub(super) fn patterns() -> Markup {
    html! {
        svg.patterns aria-hidden="true" width="0" height="0" {
            defs {
                pattern #declined-pattern width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    rect.base-declined width="6" height="6" {}
                    rect.over width="1.6" height="6" {}
                }
                pattern #refused-pattern width="6" height="6" patternUnits="userSpaceOnUse" {
                    rect.base-refused width="6" height="6" {}
                    circle.over cx="3" cy="3" r="1.25" {}
                }
                pattern #trouble-pattern width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)" {
                    rect.base-trouble width="6" height="6" {}
                    rect.over width="1.6" height="6" {}
                    rect.over width="6" height="1.6" {}
                }
            }
        }
    }
}

/// Draws a sample of a kind's colour and pattern.
pub(super) fn swatch(kind: OutcomeKind) -> Markup {
    html! { svg.swatch aria-hidden="true" viewBox="0 0 14 14" { rect class=(kind.class()) width="14" height="14" rx="3" {} } }
}

/// Draws one bar of all kinds side by side. Positions are percentages, so that scaling does not distort the patterns.
pub(super) fn shares(kinds: &[(OutcomeKind, u64)]) -> Markup {
    let total: u64 = kinds.iter().map(|(_, count)| count).sum();
    let there = kinds.iter().filter(|(_, count)| *count > 0);
    let widths: Vec<_> =
        there.map(|(kind, count)| (kind.class(), (100.0 * *count as f64 / total.max(1) as f64).max(0.6))).collect();
    let all: f64 = widths.iter().map(|(_, width)| width).sum();
    let mut left = 0.0;
    let mut parts = Vec::new();
    for (class, width) in widths {
        let width = 100.0 * width / all;
        parts.push((class, left, width - 0.2));
        left += width;
    }
    html! {
        svg.shares aria-hidden="true" {
            @for (class, left, width) in parts {
                rect class=(class) x=(percent(left)) width=(percent(width)) height="20" {}
            }
        }
    }
}

fn percent(part: f64) -> String {
    format!("{part:.2}%")
}

/// Draws outcomes over time, as stacked bars.
pub(super) fn over_time(bars: &[Bar], interval: Interval) -> Markup {
    const WIDTH: f64 = 1040.0;
    const HEIGHT: f64 = 280.0;
    const LEFT: f64 = 44.0;
    const TOP: f64 = 10.0;
    const BOTTOM: f64 = 28.0;
    const PLOT: f64 = HEIGHT - TOP - BOTTOM;
    let most = bars.iter().map(|bar| bar.tally.total() - bar.tally.pending).max().unwrap_or_default();
    let lines = scale(most);
    let top = lines.last().copied().unwrap_or(1) as f64;
    let height = |count: u64| PLOT * count as f64 / top;
    let y = |count: u64| TOP + PLOT - height(count);
    let step = (WIDTH - LEFT) / bars.len().max(1) as f64;
    let width = (step * 0.76).min(46.0);
    let middle = |n: usize| LEFT + step * (n as f64 + 0.5);
    html! {
        svg.chart.wide viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(format!("Outcomes {}; the table below has the numbers", format::each(interval))) {
            @for (n, _) in bars.iter().enumerate().filter(|(_, bar)| interval == Interval::Day && is_weekend(bar)) {
                rect.weekend x=(at(middle(n) - step / 2.0)) y=(at(TOP)) width=(at(step)) height=(at(PLOT)) {}
            }
            @for line in &lines {
                line.grid x1=(at(LEFT)) x2=(at(WIDTH)) y1=(at(y(*line))) y2=(at(y(*line))) {}
                text.tick x=(at(LEFT - 8.0)) y=(at(y(*line) + 4.0)) text-anchor="end" { (format::brief(*line)) }
            }
            @for kind in OutcomeKind::ALL {
                path class={ "part " (kind.class()) } d=(path(bars, kind, &|n| middle(n) - width / 2.0, (y(0), &height), width)) {}
            }
            @for (n, bar) in bars.iter().enumerate() {
                g.bar {
                    title { (tooltip(bar, interval)) }
                    rect.hover x=(at(middle(n) - step / 2.0)) y=(at(TOP)) width=(at(step)) height=(at(PLOT)) {}
                }
                @if has_tick(bars.len(), n, bar, interval) {
                    text.tick x=(at(middle(n).min(WIDTH - 28.0))) y=(at(HEIGHT - 8.0)) text-anchor="middle" { (format::tick(interval, bar.first)) }
                }
            }
        }
    }
}

/// Returns the path of one kind in all bars. It is one path, because a printer makes a picture of each use of a pattern.
fn path(
    bars: &[Bar],
    kind: OutcomeKind,
    x: &dyn Fn(usize) -> f64,
    (floor, height): (f64, &dyn Fn(u64) -> f64),
    width: f64,
) -> String {
    // A single call among hundreds remains visible, and does not cover the kind below it.
    let height = |bar: &Bar, kind| if bar.tally.of(kind) > 0 { height(bar.tally.of(kind)).max(2.4) } else { 0.0 };
    let below = OutcomeKind::ALL.into_iter().take_while(|below| *below != kind);
    let mut path = String::new();
    for (n, bar) in bars.iter().enumerate().filter(|(_, bar)| bar.tally.of(kind) > 0) {
        let top = floor - below.clone().map(|below| height(bar, below)).sum::<f64>() - height(bar, kind);
        path.push_str(&format!("M{:.1} {top:.1}h{width:.1}v{:.1}h-{width:.1}z", x(n), height(bar, kind)));
    }
    path
}

/// Returns the text that the browser shows for a bar.
fn tooltip(bar: &Bar, interval: Interval) -> String {
    let kinds = OutcomeKind::ALL.into_iter().map(|kind| (kind, bar.tally.of(kind))).filter(|(_, count)| *count > 0);
    let kinds: String = kinds.map(|(kind, count)| format!("\n{}: {}", kind.name(), format::number(count))).collect();
    format!("{}: {}{kinds}", format::bar(interval, bar.first), format::calls(bar.tally.total()))
}

fn is_weekend(bar: &Bar) -> bool {
    bar.first.weekday().to_monday_zero_offset() >= 5
}

fn has_tick(bars: usize, n: usize, bar: &Bar, interval: Interval) -> bool {
    match interval {
        Interval::Day if bars > 14 => bar.first.weekday() == Weekday::Monday,
        _ => n.is_multiple_of(bars.div_ceil(14).max(1)),
    }
}

/// Draws a histogram of durations.
pub(super) fn times(histogram: &Histogram, class: &str, what: &str) -> Markup {
    const WIDTH: f64 = 500.0;
    const HEIGHT: f64 = 210.0;
    const LEFT: f64 = 44.0;
    const TOP: f64 = 40.0;
    const BOTTOM: f64 = 28.0;
    const PLOT: f64 = HEIGHT - TOP - BOTTOM;
    let Histogram { width, counts, median, p95 } = histogram;
    let lines = scale(counts.iter().max().copied().unwrap_or_default());
    let top = lines.last().copied().unwrap_or(1) as f64;
    let y = |count: u64| TOP + PLOT * (1.0 - count as f64 / top);
    let step = (WIDTH - LEFT - 12.0) / counts.len().max(1) as f64;
    let x = |n: usize| LEFT + step * n as f64;
    let x_of = |time: f64| LEFT + step * (time / width).min(counts.len() as f64 - 0.5);
    let every = counts.len().div_ceil(9).max(1);
    let edge = |n: usize| format::seconds(*width * n as f64);
    let half = Mark::new(x_of(*median), 12.0, format!("half within {}", format::seconds(*median)), WIDTH);
    let most = Mark::new(x_of(*p95), 29.0, format!("95 of 100 within {}", format::seconds(*p95)), WIDTH);
    html! {
        svg.chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(format!("{what}: half within {}, 95 of 100 within {}", format::seconds(*median), format::seconds(*p95))) {
            @for line in &lines {
                line.grid x1=(at(LEFT)) x2=(at(WIDTH)) y1=(at(y(*line))) y2=(at(y(*line))) {}
                text.tick x=(at(LEFT - 8.0)) y=(at(y(*line) + 4.0)) text-anchor="end" { (format::brief(*line)) }
            }
            @for (n, count) in counts.iter().enumerate() {
                g.bar {
                    title {
                        @if n + 1 == counts.len() { (edge(n)) " or longer: " } @else { (edge(n)) " to " (edge(n + 1)) ": " }
                        (format::calls(*count))
                    }
                    rect.hover x=(at(x(n))) y=(at(TOP)) width=(at(step)) height=(at(PLOT)) {}
                    @if *count > 0 {
                        rect class=(class) x=(at(x(n) + 1.5)) y=(at(y(*count).min(TOP + PLOT - 1.0))) width=(at(step - 3.0)) height=(at((TOP + PLOT - y(*count)).max(1.0))) rx="1.5" {}
                    }
                }
                @if n.is_multiple_of(every) {
                    text.tick x=(at(x(n))) y=(at(HEIGHT - 8.0)) text-anchor=(if n == 0 { "start" } else { "middle" }) { (edge(n)) }
                }
            }
            (half.draw(HEIGHT - BOTTOM, &most))
            (most.draw(HEIGHT - BOTTOM, &half))
        }
    }
}

/// A vertical line in a chart, and its label, whose baseline is at `y`.
struct Mark {
    x: f64,
    y: f64,
    label: String,
    is_left: bool,
}

impl Mark {
    fn new(x: f64, y: f64, label: String, width: f64) -> Self {
        let mark = Self { x, y, label, is_left: false };
        Self { is_left: *mark.label_range().end() > width, ..mark }
    }

    /// Returns the horizontal range of the label. Letters are larger on a narrow screen, so this is an upper bound.
    fn label_range(&self) -> RangeInclusive<f64> {
        let length = 6.0 + 8.0 * self.label.chars().count() as f64;
        if self.is_left { self.x - length..=self.x - 3.0 } else { self.x + 3.0..=self.x + length }
    }

    /// Draws the line with a gap where it would cross the label of `other`.
    fn draw(&self, bottom: f64, other: &Self) -> Markup {
        let Self { x, y, label, is_left } = self;
        let gap = match other.label_range().contains(x) && other.y > *y {
            true => format!("V{}M{} {}", at(other.y - 13.0), at(*x), at(other.y + 5.0)),
            false => String::new(),
        };
        let (anchor, text) = if *is_left { ("end", x - 6.0) } else { ("start", x + 6.0) };
        html! {
            path.mark d=(format!("M{} {}{gap}V{}", at(*x), at(y - 9.0), at(bottom))) {}
            text.mark-words x=(at(text)) y=(at(*y)) text-anchor=(anchor) { (label) }
        }
    }
}

/// Draws a bar from the left that fills this share of its space, from 0 to 1.
pub(super) fn bar(kind: OutcomeKind, share: f64) -> Markup {
    html! {
        svg.row-bar aria-hidden="true" width=(format!("{:.1}%", (share * 100.0).max(0.5))) height="14" {
            rect class=(kind.class()) width="100%" height="14" rx="3" {}
        }
    }
}

/// Draws small bars over time.
pub(super) fn sparkline(counts: &[u64]) -> Markup {
    let most = counts.iter().max().copied().unwrap_or_default().max(1) as f64;
    let step = 300.0 / counts.len().max(1) as f64;
    html! {
        svg.sparkline viewBox="0 0 300 28" preserveAspectRatio="none" aria-hidden="true" {
            rect.baseline x="0" y="27" width="300" height="1" {}
            @for (n, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                @let height = (26.0 * *count as f64 / most).max(1.5);
                rect.base-refused x=(at(step * n as f64 + step * 0.1)) y=(at(27.0 - height)) width=(at(step * 0.8)) height=(at(height)) {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Mark, scale};

    #[test]
    fn a_scale_has_round_numbers_and_reaches_the_maximum() {
        for (most, lines) in [
            (0, vec![0, 1, 2, 3, 4]),
            (1, vec![0, 1, 2, 3, 4]),
            (5, vec![0, 1, 2, 3, 4, 5]),
            (6, vec![0, 2, 4, 6]),
            (437, vec![0, 100, 200, 300, 400, 500]),
        ] {
            assert_eq!(scale(most), lines, "{most}");
        }
        assert!(scale(u64::MAX / 2).len() <= 6);
    }

    #[test]
    fn the_line_of_a_mark_does_not_cross_the_label_of_another() {
        let mark = |x: f64, y: f64, label: &str| Mark::new(x, y, label.to_owned(), 500.0);
        let lines = |half: f64, most: f64| {
            let (half, most) = (mark(half, 12.0, "half within 9 s"), mark(most, 29.0, "95 of 100 within 28 s"));
            [half.draw(180.0, &most), most.draw(180.0, &half)].map(|drawn| drawn.into_string())
        };
        for (half, most, has_gap) in [(200.0, 300.0, false), (330.0, 460.0, true), (200.0, 460.0, false)] {
            let [first, second] = lines(half, most);
            assert_eq!(first.contains("V16.0M330.0 34.0V180.0"), has_gap, "{first}");
            assert!(second.contains(&format!("M{most:.1} 20.0V180.0")), "{second}");
        }
        // 7 is the maximum width of a letter.
        assert!(*mark(460.0, 29.0, "95 of 100 within 28 s").label_range().start() <= 460.0 - 6.0 - 21.0 * 7.0);
    }
}
