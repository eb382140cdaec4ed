//! What an administrator should look into.

use phonegate::call::FailureReason;

use super::figures::{Figures, Kind};
use super::format;
use super::limits_page::name;

/// Of fewer calls nothing is said about what part of them failed.
const ENOUGH: u64 = 20;

/// So many refused calls to one number are told.
const MANY_REFUSED: u64 = 10;

/// What it is, and the command that shows more.
pub(super) fn findings(figures: &Figures) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut told = Vec::new();
    let mut of_reason = |found: &mut Vec<_>, text: String, reason: FailureReason| {
        told.push(reason);
        found.push((text, show(figures, &format!("--reason {}", reason.name()))));
    };
    let fraud = figures.all.of(Kind::Fraud);
    if fraud > 0 {
        let reports = format::counted(
            fraud,
            "user said that a call was not theirs",
            "times a user said that a call was not theirs",
        );
        let text = format!("{reports}. Who began these requests may know a password.");
        of_reason(&mut found, text, FailureReason::FraudReported);
    }
    let defects = figures.reasons.get(&FailureReason::Internal).copied().unwrap_or_default();
    if defects > 0 {
        let text = format!(
            "{} failed by a defect of PhoneGate (Internal). Please report it, with what phonegate doctor --zip writes.",
            format::calls(defects)
        );
        of_reason(&mut found, text, FailureReason::Internal);
    }
    let is_trouble = |reason: FailureReason| Kind::of(reason) == Kind::Trouble && reason != FailureReason::Internal;
    if let Some((reason, count)) = figures.reasons().into_iter().find(|(reason, _)| is_trouble(*reason)) {
        let text = format!("{} failed as {}: {}.", format::calls(count), reason.name(), format::meaning(reason));
        of_reason(&mut found, text, reason);
    }
    found.extend(gone(figures));
    found.extend(caps(figures));
    found.extend(locked(figures));
    found.extend(refused(figures));
    if let Some(suspect) = figures.most_refused().filter(|suspect| suspect.refused >= MANY_REFUSED) {
        found.push((
            format!(
                "{} to {} were refused. Does somebody try to wear a user down?",
                format::calls(suspect.refused),
                suspect.masked
            ),
            show(figures, &format!("--number {}", suspect.newest)),
        ));
    }
    let no_key = figures.reasons.get(&FailureReason::NoKeyPressed).copied().unwrap_or_default();
    if figures.placed >= ENOUGH && no_key * 4 > figures.placed {
        let share = format::percent(no_key, figures.placed);
        let text = format!("In {share} of the calls placed nothing was pressed. Do keys arrive?");
        of_reason(&mut found, text, FailureReason::NoKeyPressed);
    }
    let (ended, verified) = (figures.ended(), figures.verified());
    if let Some((reason, count)) = figures.reasons().first().copied()
        && ended >= ENOUGH
        && verified * 2 < ended
        && !told.contains(&reason)
    {
        found.push((
            format!(
                "Of {} that ended, {} approved. {} failed as {}: {}.",
                format::calls(ended),
                format::are_approved(verified, ended),
                format::number(count),
                reason.name(),
                format::meaning(reason)
            ),
            show(figures, &format!("--reason {}", reason.name())),
        ));
    }
    found
}

/// The calls of the report's time alone.
pub(super) fn show(figures: &Figures, which: &str) -> String {
    let (since, until) = figures.as_arguments();
    format!("phonegate calls {which} --since {since} --until {until}")
}

/// A service that runs ends calls that others have left.
fn gone(figures: &Figures) -> Option<(String, String)> {
    let newest = figures.gone.last()?;
    let calls = format::counted(figures.gone.len() as u64, "call has", "calls have");
    let text = format!("{calls} not ended: the process is gone, and nobody has taken it up. Does the service run?");
    Some((text, format!("phonegate calls show {newest}")))
}

/// Reports daily limits that refused calls, with the number of days.
fn caps(figures: &Figures) -> Vec<(String, String)> {
    let found = figures.limits.caps().map(|(cap, days)| {
        let days = format::counted(days.len() as u64, "day", "days");
        let text = format!("{} was reached on {days}. Is it too low, or is it an attack?", name(cap));
        (text, show(figures, &format!("--reason {}", FailureReason::Throttled.name())))
    });
    found.collect()
}

/// Reports that numbers were locked.
fn locked(figures: &Figures) -> Option<(String, String)> {
    let all = figures.limits.locked();
    let (most, _) = all.first()?;
    let numbers = format::counted(all.len() as u64, "number was", "numbers were");
    let times = match figures.limits.locks() {
        locks if locks == all.len() as u64 => String::new(),
        locks => format!(" {} times (most often {})", format::number(locks), most.masked),
    };
    let text = format!("{numbers} locked{times}, because calls were not approved. Did these users ask for the calls?");
    Some((text, show(figures, &format!("--number {}", most.newest))))
}

/// Many of all calls were refused, to however many numbers.
fn refused(figures: &Figures) -> Option<(String, String)> {
    let (count, total) = (figures.all.of(Kind::Refused), figures.total());
    let is_refusal = |(reason, _): &(FailureReason, u64)| Kind::of(*reason) == Kind::Refused;
    let (reason, most) = figures.reasons().into_iter().find(is_refusal)?;
    if count < ENOUGH || count * 4 < total {
        return None;
    }
    let numbers = match figures.refused_numbers() {
        0 => String::new(),
        numbers => format!(" to {}", format::counted(numbers, "number", "numbers")),
    };
    let text = format!(
        "{}{numbers} were refused by the gate, {} of all; {} of them as {}: {}. Does somebody try numbers, or are the limits \
         too low?",
        format::calls(count),
        format::percent(count, total),
        format::number(most),
        reason.name(),
        format::meaning(reason)
    );
    Some((text, show(figures, &format!("--reason {}", reason.name()))))
}
