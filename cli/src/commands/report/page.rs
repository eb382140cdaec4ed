//! The page of a report. What is put into it is escaped; it loads nothing, and its policy lets it load nothing.

use std::collections::BTreeMap;

use jiff::ZonedDateTime;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::figures::{Figures, Histogram, Kind, Per, REFUSALS, Tally, WATCHED};
use super::findings::{findings, show};
use super::{chart, format, limits_page};

const STYLE: &str = include_str!("page.css");

/// An hour with fewer calls is not called busy.
const BUSY: u64 = 5;

/// The whole page.
pub(super) fn page(figures: &Figures, made: &ZonedDateTime) -> String {
    let title = format!("Approval calls, {}", period(figures));
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
                        p.lead { (lead(figures)) }
                    }
                    (headlines(figures))
                    @if figures.total() > 0 {
                        (look_at(figures))
                        (outcomes(figures))
                        (reasons(figures))
                        div.two {
                            (times("Time to answer", "From the request to the answer of the phone.", figures.to_answer.histogram(), "plain"))
                            (times("Time to approve", "From the request to the right key, of calls that were approved.", figures.to_verify.histogram(), "verified"))
                        }
                        (hours(figures))
                        div.two {
                            (refusals(figures))
                            (suspects(figures))
                        }
                        div.two {
                            (limits_page::refused(figures))
                            (limits_page::locked(figures))
                        }
                        div.two {
                            (parties("Backends", "Who placed the calls, or was the last to refuse them.", "Backend", &figures.backends))
                            (parties("Nodes", "Which machines were asked for calls.", "Node", &figures.nodes))
                        }
                    }
                    footer {
                        p {
                            "Made on " (made.strftime("%-d %B %Y at %H:%M").to_string()) ". Days and hours are those of the time zone "
                            (zone(made)) ". Each attempt counts as a call. "
                            @if figures.all.pending > 0 {
                                (format::calls(figures.all.pending)) " had not ended yet; the charts leave them out. "
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

fn period(figures: &Figures) -> String {
    let first = figures.from.date();
    // What ends at midnight does not name the day that begins then.
    let last = figures.to.checked_sub(std::time::Duration::from_nanos(1)).map_or(figures.to.date(), |last| last.date());
    match first.year() == last.year() {
        _ if first == last => format::day_and_year(first),
        true => format!("{} to {}", format::day(first), format::day_and_year(last)),
        false => format!("{} to {}", format::day_and_year(first), format::day_and_year(last)),
    }
}

/// All of it in a sentence or two.
fn lead(figures: &Figures) -> String {
    let total = figures.total();
    if total == 0 {
        return "There were no calls in this time.".to_owned();
    }
    let placed = match figures.placed {
        0 => " None of them was placed.".to_owned(),
        placed => {
            format!(" Of {} placed, {} approved.", was(placed), format::are_approved(figures.verified(), placed))
        }
    };
    let busiest =
        busiest(figures).map(|(day, hour)| format!(" The busiest hour: {day}s from {hour}:00.")).unwrap_or_default();
    format!("{} in this time.{placed}{busiest}", format::calls(total))
}

fn was(placed: u64) -> String {
    format!("{} that {}", format::number(placed), if placed == 1 { "was" } else { "were" })
}

fn busiest(figures: &Figures) -> Option<(&'static str, usize)> {
    let hours = format::WEEKDAYS.into_iter().zip(&figures.hours);
    let all = hours.flat_map(|(day, hours)| hours.iter().enumerate().map(move |(hour, count)| (*count, day, hour)));
    let (count, day, hour) = all.max_by_key(|(count, ..)| *count)?;
    (count >= BUSY).then_some((day, hour))
}

fn headlines(figures: &Figures) -> Markup {
    let median = |histogram: Option<Histogram>| {
        histogram.map_or("–".to_owned(), |histogram| format::seconds(histogram.median))
    };
    let refused = figures.all.of(Kind::Refused);
    html! {
        section.headlines aria-label="Headline figures" {
            (headline("Calls", &format::number(figures.total()), "attempts asked for", ""))
            (headline("Approved", &format::number(figures.verified()), &format!("{} of those placed", format::percent(figures.verified(), figures.placed)), if_any(figures.verified(), "is-verified")))
            (headline("Time to answer", &median(figures.to_answer.histogram()), "median", ""))
            (headline("Time to approve", &median(figures.to_verify.histogram()), "median", ""))
            (headline("Refused by the gate", &format::number(refused), &format!("{} of all; nobody was rung", format::percent(refused, figures.total())), ""))
            (headline("Technical trouble", &format::number(figures.all.of(Kind::Trouble)), "provider, service, settings", if_any(figures.all.of(Kind::Trouble), "is-trouble")))
            (headline("Fraud reported", &format::number(figures.all.of(Kind::Fraud)), "by the fraud key", if_any(figures.all.of(Kind::Fraud), "is-fraud")))
            (headline("Blocked numbers", &format::number(figures.blocked_now), "on the block list now", ""))
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

fn look_at(figures: &Figures) -> Markup {
    let findings = findings(figures);
    html! {
        section.look-at.calm[findings.is_empty()] {
            h2 { "Worth a look" }
            @if findings.is_empty() { p { "Nothing stands out: no fraud was reported, and no call failed for technical reasons." } }
            @else { ul { @for (finding, command) in findings { li { (finding) " " code { (command) } } } } }
        }
    }
}

fn outcomes(figures: &Figures) -> Markup {
    let kinds = Kind::ALL.map(|kind| (kind, figures.all.of(kind)));
    let ended = figures.ended();
    html! {
        section.card {
            h2 { "Outcomes " (format::each(figures.per)) }
            (chart::shares(&kinds))
            ul.legend {
                @for (kind, count) in kinds {
                    li { (chart::swatch(kind)) (kind.name()) " " b { (format::number(count)) } " " span.share { (format::percent(count, ended)) } }
                }
            }
            div.scroll { (chart::over_time(&figures.bars, figures.per)) }
            (figures_of_bars(figures))
        }
    }
}

/// The same for who cannot see a chart, or wants to know exactly.
fn figures_of_bars(figures: &Figures) -> Markup {
    let unit = match figures.per {
        Per::Day => "Day",
        Per::Week => "Week",
        Per::Month => "Month",
    };
    html! {
        details {
            summary { "The figures" }
            div.scroll { table.figures {
                thead { tr { th scope="col" { (unit) } th.n scope="col" { "Calls" } @for kind in Kind::ALL { th.n scope="col" { (kind.name()) } } } }
                tbody {
                    @for bar in &figures.bars {
                        tr {
                            th scope="row" { (format::bar(figures.per, bar.first)) }
                            td.n { (format::number(bar.tally.total())) }
                            @for kind in Kind::ALL { td.n { (format::number(bar.tally.of(kind))) } }
                        }
                    }
                }
            } }
        }
    }
}

fn reasons(figures: &Figures) -> Markup {
    let reasons = figures.reasons();
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
                                    (chart::swatch(Kind::of(reason)))
                                    span { (reason.name()) @if let Some(code) = reason.azure_code() { " " span.code { (code) } } small { (format::meaning(reason)) } }
                                }
                                td.bars { (chart::bar(Kind::of(reason), count as f64 / most as f64)) }
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
                None => { p.nothing { "There was none." } }
            }
        }
    }
}

fn hours(figures: &Figures) -> Markup {
    let most = figures.hours.iter().flatten().max().copied().unwrap_or_default().max(BUSY);
    html! {
        section.card {
            h2 { "Busiest hours" }
            p.about { "Calls by weekday and hour of their start." }
            div.scroll { table.hours {
                thead { tr { td {} @for hour in 0..24 { th scope="col" { (hour) } } th.n scope="col" { "All" } } }
                tbody {
                    @for (day, hours) in format::WEEKDAYS.into_iter().zip(&figures.hours) {
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

fn refusals(figures: &Figures) -> Markup {
    html! {
        section.card {
            h2 { "Refused by the gate" }
            p.about { "Attempts for which nobody was rung, " (format::each(figures.per)) "; each row has a scale of its own." }
            table.refusals {
                thead { tr { th scope="col" { "Reason" } th.bars scope="col" { span.unseen { "Over time" } } th.n scope="col" { "Calls" } } }
                tbody {
                    @for (n, reason) in REFUSALS.into_iter().enumerate() {
                        @let counts: Vec<u64> = figures.bars.iter().map(|bar| bar.refusals.get(n).copied().unwrap_or_default()).collect();
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

fn suspects(figures: &Figures) -> Markup {
    let suspects = figures.suspects();
    html! {
        section.card {
            h2 { "Numbers to watch" }
            p.about { "Those with reports of fraud, and those with the most refused attempts." }
            @if suspects.is_empty() { p.nothing { "There is none." } }
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
                p.after { "The calls to one: " code { (show(figures, "--number ID")) } }
                p.after { "One of them, step by step: " code { "phonegate calls show ID" } }
                p.after { "To call it no more: " code { "phonegate blocks add --call ID" } }
            }
        }
    }
}

fn parties(title: &str, note: &str, column: &str, tallies: &BTreeMap<Box<str>, Tally>) -> Markup {
    html! {
        section.card {
            h2 { (title) }
            p.about { (note) }
            @if tallies.is_empty() { p.nothing { "There is none." } }
            @else {
                table.plain-rows {
                    thead { tr { th scope="col" { (column) } th.n scope="col" { "Calls" } th.n scope="col" { "Approved" } th.n scope="col" { "Trouble" } } }
                    tbody { @for (name, tally) in tallies {
                        tr {
                            th scope="row" { (name) }
                            td.n { (format::number(tally.total())) }
                            td.n { (format::percent(tally.of(Kind::Verified), tally.total())) }
                            td.n { (format::percent(tally.of(Kind::Trouble), tally.total())) }
                        }
                    } }
                }
            }
        }
    }
}
