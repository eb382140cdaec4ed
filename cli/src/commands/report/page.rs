//! The page of a report. All values are escaped. The page loads nothing, and its Content-Security-Policy forbids it to.

use std::collections::BTreeMap;

use jiff::ZonedDateTime;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::findings::{calls_command, findings};
use super::statistics::{Histogram, Interval, OutcomeKind, REFUSALS, Statistics, Tally, WATCHED};
use super::{chart, format, limits_page};

const STYLE: &str = include_str!("page.css");

/// Minimum number of calls in the hour that the page calls the busiest.
const BUSY: u64 = 5;

/// Renders the page.
pub(super) fn page(stats: &Statistics, made: &ZonedDateTime) -> String {
    let title = format!("Approval calls, {}", period(stats));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="color-scheme" content="light dark";
                title { (title) " – PhoneGate" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (chart::patterns())
                main {
                    header {
                        p.brand { "PhoneGate" }
                        h1 { (title) }
                        p.lead { (lead(stats)) }
                    }
                    (headlines(stats))
                    @if stats.total() > 0 {
                        (look_at(stats))
                        (outcomes(stats))
                        (reasons(stats))
                        div.two {
                            (times("Time to answer", "From the request to the answer of the phone.", stats.to_answer.histogram(), "plain"))
                            (times("Time to approve", "From the request to the right key, of calls that were approved.", stats.to_verify.histogram(), "verified"))
                        }
                        (hours(stats))
                        div.two {
                            (refusals(stats))
                            (suspects(stats))
                        }
                        div.two {
                            (limits_page::refused(stats))
                            (limits_page::locked(stats))
                        }
                        div.two {
                            (parties("Backends", "The backends that placed the calls, or were the last to refuse them.", "Backend", &stats.backends))
                            (parties("Nodes", "The machines that received the requests.", "Node", &stats.nodes))
                        }
                    }
                    footer {
                        p {
                            "Made on " (made.strftime("%-d %B %Y at %H:%M").to_string()) ". Days and hours are those of the time zone "
                            (zone(made)) ". Each attempt counts as a call. "
                            @if stats.all.pending > 0 {
                                (format::calls(stats.all.pending)) " had not ended yet; the charts leave them out. "
                            }
                            "Numbers are masked. One call, step by step: " code { "phonegate calls show ID" }
                        }
                    }
                }
            }
        }
    }
    .into_string()
}

fn zone(time: &ZonedDateTime) -> String {
    time.time_zone().iana_name().map_or_else(|| time.offset().to_string(), str::to_owned)
}

fn period(stats: &Statistics) -> String {
    let first = stats.from.date();
    // If the time ends at midnight, the day that begins then does not belong to it.
    let last = stats.to.checked_sub(std::time::Duration::from_nanos(1)).map_or(stats.to.date(), |last| last.date());
    match first.year() == last.year() {
        _ if first == last => format::day_and_year(first),
        true => format!("{} to {}", format::day(first), format::day_and_year(last)),
        false => format!("{} to {}", format::day_and_year(first), format::day_and_year(last)),
    }
}

/// Summarizes the statistics in a sentence or two.
fn lead(stats: &Statistics) -> String {
    let total = stats.total();
    if total == 0 {
        return "There were no calls in this time.".to_owned();
    }
    let placed = match stats.placed {
        0 => " None of them was placed.".to_owned(),
        placed => {
            format!(" Of {} placed, {} approved.", was(placed), format::are_approved(stats.verified(), placed))
        }
    };
    let busiest =
        busiest(stats).map(|(day, hour)| format!(" The busiest hour: {day}s from {hour}:00.")).unwrap_or_default();
    format!("{} in this time.{placed}{busiest}", format::calls(total))
}

fn was(placed: u64) -> String {
    format!("{} that {}", format::number(placed), if placed == 1 { "was" } else { "were" })
}

fn busiest(stats: &Statistics) -> Option<(&'static str, usize)> {
    let hours = format::WEEKDAYS.into_iter().zip(&stats.hours);
    let all = hours.flat_map(|(day, hours)| hours.iter().enumerate().map(move |(hour, count)| (*count, day, hour)));
    let (count, day, hour) = all.max_by_key(|(count, ..)| *count)?;
    (count >= BUSY).then_some((day, hour))
}

fn headlines(stats: &Statistics) -> Markup {
    let median = |histogram: Option<Histogram>| {
        histogram.map_or("–".to_owned(), |histogram| format::seconds(histogram.median))
    };
    let refused = stats.all.of(OutcomeKind::Refused);
    html! {
        section.headlines aria-label="Headline figures" {
            (headline("Calls", &format::number(stats.total()), "attempts asked for", ""))
            (headline("Approved", &format::number(stats.verified()), &format!("{} of those placed", format::percent(stats.verified(), stats.placed)), if_any(stats.verified(), "is-verified")))
            (headline("Time to answer", &median(stats.to_answer.histogram()), "median", ""))
            (headline("Time to approve", &median(stats.to_verify.histogram()), "median", ""))
            (headline("Refused by the gate", &format::number(refused), &format!("{} of all; no phone rang", format::percent(refused, stats.total())), ""))
            (headline("Technical failures", &format::number(stats.all.of(OutcomeKind::Trouble)), "provider, service, settings", if_any(stats.all.of(OutcomeKind::Trouble), "is-trouble")))
            (headline("Fraud reported", &format::number(stats.all.of(OutcomeKind::Fraud)), "by the fraud key", if_any(stats.all.of(OutcomeKind::Fraud), "is-fraud")))
            (headline("Blocked numbers", &format::number(stats.blocked_now), "on the block list now", ""))
        }
    }
}

fn if_any(count: u64, class: &'static str) -> &'static str {
    if count > 0 { class } else { "" }
}

fn headline(name: &str, figure: &str, note: &str, class: &str) -> Markup {
    html! {
        div class={ "headline " (class) } {
            p.name { (name) }
            p.figure { (figure) }
            p.note { (note) }
        }
    }
}

fn look_at(stats: &Statistics) -> Markup {
    let findings = findings(stats);
    html! {
        section.look-at.calm[findings.is_empty()] {
            h2 { "Worth a look" }
            @if findings.is_empty() { p { "Nothing stands out: no fraud was reported, and no call failed for technical reasons." } }
            @else { ul { @for finding in findings { li { (finding.text) " " code { (finding.command) } } } } }
        }
    }
}

fn outcomes(stats: &Statistics) -> Markup {
    let kinds = OutcomeKind::ALL.map(|kind| (kind, stats.all.of(kind)));
    let ended = stats.ended();
    html! {
        section.card {
            h2 { "Outcomes " (format::each(stats.interval)) }
            (chart::shares(&kinds))
            ul.legend {
                @for (kind, count) in kinds {
                    li { (chart::swatch(kind)) (kind.name()) " " b { (format::number(count)) } " " span.share { (format::percent(count, ended)) } }
                }
            }
            div.scroll { (chart::over_time(&stats.bars, stats.interval)) }
            (table_of_bars(stats))
        }
    }
}

/// Renders the numbers of the chart as a table.
fn table_of_bars(stats: &Statistics) -> Markup {
    let unit = match stats.interval {
        Interval::Day => "Day",
        Interval::Week => "Week",
        Interval::Month => "Month",
    };
    html! {
        details {
            summary { "The numbers" }
            div.scroll { table.figures {
                thead { tr { th scope="col" { (unit) } th.n scope="col" { "Calls" } @for kind in OutcomeKind::ALL { th.n scope="col" { (kind.name()) } } } }
                tbody {
                    @for bar in &stats.bars {
                        tr {
                            th scope="row" { (format::bar(stats.interval, bar.first)) }
                            td.n { (format::number(bar.tally.total())) }
                            @for kind in OutcomeKind::ALL { td.n { (format::number(bar.tally.of(kind))) } }
                        }
                    }
                }
            } }
        }
    }
}

fn reasons(stats: &Statistics) -> Markup {
    let reasons = stats.reasons();
    let failed: u64 = reasons.iter().map(|(_, count)| count).sum();
    let most = reasons.first().map_or(1, |(_, count)| *count).max(1);
    html! {
        section.card.long {
            h2 { "Why calls failed" }
            @if reasons.is_empty() { p.nothing { "No call failed." } }
            @else {
                table.reasons {
                    thead { tr { th scope="col" { "Reason" } th.bars scope="col" { span.unseen { "Share" } } th.n scope="col" { "Calls" } th.n scope="col" { "Of failed" } } }
                    tbody {
                        @for (reason, count) in reasons {
                            tr {
                                th scope="row" {
                                    (chart::swatch(OutcomeKind::of(reason)))
                                    span { (reason.name()) @if let Some(code) = reason.azure_code() { " " span.code { (code) } } small { (format::meaning(reason)) } }
                                }
                                td.bars { (chart::bar(OutcomeKind::of(reason), count as f64 / most as f64)) }
                                td.n { (format::number(count)) }
                                td.n { (format::percent(count, failed)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn times(title: &str, note: &str, histogram: Option<Histogram>, class: &str) -> Markup {
    html! {
        section.card {
            h2 { (title) }
            p.about { (note) }
            @match histogram {
                Some(histogram) => { (chart::times(&histogram, class, title)) }
                None => { p.nothing { "No call." } }
            }
        }
    }
}

fn hours(stats: &Statistics) -> Markup {
    let most = stats.hours.iter().flatten().max().copied().unwrap_or_default().max(BUSY);
    html! {
        section.card {
            h2 { "Busiest hours" }
            p.about { "Calls by weekday and hour of their start." }
            div.scroll { table.hours {
                thead { tr { td {} @for hour in 0..24 { th scope="col" { (hour) } } th.n scope="col" { "All" } } }
                tbody {
                    @for (day, hours) in format::WEEKDAYS.into_iter().zip(&stats.hours) {
                        tr {
                            th scope="row" { (day) }
                            @for (hour, count) in hours.iter().enumerate() {
                                td class=(format!("heat-{}", (count * 5).div_ceil(most))) title=(format!("{day}, {hour}:00 to {}:00: {}", hour + 1, format::calls(*count))) {
                                    @if *count > 0 { (format::brief(*count)) } @else { span.unseen { "0" } }
                                }
                            }
                            td.n { (format::number(hours.iter().sum())) }
                        }
                    }
                }
            } }
        }
    }
}

fn refusals(stats: &Statistics) -> Markup {
    html! {
        section.card {
            h2 { "Refused by the gate" }
            p.about { "Attempts for which no phone rang, " (format::each(stats.interval)) "; each row has a scale of its own." }
            table.refusals {
                thead { tr { th scope="col" { "Reason" } th.bars scope="col" { span.unseen { "Over time" } } th.n scope="col" { "Calls" } } }
                tbody {
                    @for (n, reason) in REFUSALS.into_iter().enumerate() {
                        @let counts: Vec<u64> = stats.bars.iter().map(|bar| bar.refusals.get(n).copied().unwrap_or_default()).collect();
                        tr {
                            th scope="row" { span { (reason.name()) small { (format::meaning(reason)) } } }
                            td.bars { (chart::sparkline(&counts)) }
                            td.n { (format::number(counts.iter().sum())) }
                        }
                    }
                }
            }
        }
    }
}

fn suspects(stats: &Statistics) -> Markup {
    let suspects = stats.suspects();
    html! {
        section.card {
            h2 { "Numbers to watch" }
            p.about { "Those with reports of fraud, and those with the most refused attempts." }
            @if suspects.is_empty() { p.nothing { "None." } }
            @else {
                table.plain-rows {
                    thead { tr { th scope="col" { "Number, and ID of the newest of these calls" } th.n scope="col" { "Refused" } th.n scope="col" { "Fraud" } } }
                    tbody { @for suspect in suspects.iter().take(WATCHED) {
                        tr {
                            th scope="row" { (suspect.masked) small { code { (suspect.newest) } } }
                            td.n { (format::number(suspect.refused)) }
                            td.n { (format::number(suspect.fraud)) }
                        }
                    } }
                }
                @if suspects.len() > WATCHED { p.after { "The first " (WATCHED) " of " (format::number(suspects.len() as u64)) "." } }
                p.after { "The calls to one: " code { (calls_command(stats, "--number ID")) } }
                p.after { "One of them, step by step: " code { "phonegate calls show ID" } }
                p.after { "To block one: " code { "phonegate blocks add --call ID" } }
            }
        }
    }
}

fn parties(title: &str, note: &str, column: &str, tallies: &BTreeMap<Box<str>, Tally>) -> Markup {
    html! {
        section.card {
            h2 { (title) }
            p.about { (note) }
            @if tallies.is_empty() { p.nothing { "None." } }
            @else {
                table.plain-rows {
                    thead { tr { th scope="col" { (column) } th.n scope="col" { "Calls" } th.n scope="col" { "Approved" } th.n scope="col" { "Failures" } } }
                    tbody { @for (name, tally) in tallies {
                        tr {
                            th scope="row" { (name) }
                            td.n { (format::number(tally.total())) }
                            td.n { (format::percent(tally.of(OutcomeKind::Verified), tally.total())) }
                            td.n { (format::percent(tally.of(OutcomeKind::Trouble), tally.total())) }
                        }
                    } }
                }
            }
        }
    }
}
