//! What an administrator should look into.

use phonegate::call::FailureReason;

use super::figures::{Figures, Kind};
use super::words;

/// Of fewer calls nothing is said about what part of them failed.
const ENOUGH: u64 = 20;

/// So many refused calls to one number are told.
const MANY_REFUSED: u64 = 10;

/// What it is, and the command that shows more.
pub(super) fn findings(figures: &Figures) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let fraud = figures.all.of(Kind::Fraud);
    let show = |reason: FailureReason| format!("phonegate calls --reason {}", reason.name());
    if fraud > 0 {
        let reports = words::counted(
            fraud,
            "user said that a call was not theirs",
            "times a user said that a call was not theirs",
        );
        found.push((
            format!("{reports}. Who began these requests may know a password."),
            show(FailureReason::FraudReported),
        ));
    }
    let trouble = figures.reasons().into_iter().find(|(reason, _)| Kind::of(*reason) == Kind::Trouble);
    if let Some((reason, count)) = trouble {
        let meaning = words::meaning(reason);
        found.push((format!("{} failed as {}: {meaning}.", words::calls(count), reason.name()), show(reason)));
    }
    if let Some(suspect) = figures.most_refused().filter(|suspect| suspect.refused >= MANY_REFUSED) {
        found.push((
            format!(
                "{} to {} were refused. Does somebody try to wear a user down?",
                words::calls(suspect.refused),
                suspect.masked
            ),
            format!("phonegate calls --number {}", suspect.key),
        ));
    }
    let no_key = figures.reasons.get(&FailureReason::NoKeyPressed).copied().unwrap_or_default();
    if figures.placed >= ENOUGH && no_key * 4 > figures.placed {
        found.push((
            format!(
                "In {} of the calls placed nothing was pressed. Do keys arrive?",
                words::percent(no_key, figures.placed)
            ),
            show(FailureReason::NoKeyPressed),
        ));
    }
    let (ended, verified) = (figures.ended(), figures.verified());
    if let Some((reason, count)) = figures.reasons().first().copied()
        && ended >= ENOUGH
        && verified * 2 < ended
        // Else it has been told.
        && found.iter().all(|(_, command)| *command != show(reason))
    {
        found.push((
            format!(
                "Of {} that ended, {} approved. {} failed as {}: {}.",
                words::calls(ended),
                words::are_approved(verified, ended),
                words::number(count),
                reason.name(),
                words::meaning(reason)
            ),
            show(reason),
        ));
    }
    found
}
