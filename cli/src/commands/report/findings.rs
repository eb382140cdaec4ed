//! Findings that an administrator should look into.

use phonegate::call::FailureReason;

use super::format;
use super::limits_page::name;
use super::statistics::{OutcomeKind, Statistics};

/// Minimum number of calls for a finding about a share of them.
const MIN_CALLS: u64 = 20;

/// Minimum number of refused calls to one number for a finding.
const MIN_REFUSED: u64 = 10;

/// Something that an administrator should look into.
pub(super) struct Finding {
    pub(super) text: String,
    /// The command that shows more.
    pub(super) command: String,
    /// The reason of the failures that it is about, if they have one.
    reason: Option<FailureReason>,
}

impl Finding {
    /// A finding about the calls that failed for a reason.
    fn of_reason(stats: &Statistics, reason: FailureReason, text: String) -> Self {
        Self { text, command: calls_command(stats, &format!("--reason {}", reason.name())), reason: Some(reason) }
    }
}

/// Returns the findings, the most urgent first.
pub(super) fn findings(stats: &Statistics) -> Vec<Finding> {
    let mut found: Vec<_> = fraud(stats).into_iter().chain(defects(stats)).chain(technical_failures(stats)).collect();
    found.extend(abandoned_calls(stats));
    found.extend(daily_limits_reached(stats));
    found.extend(locked(stats));
    found.extend(refused(stats));
    found.extend(refused_number(stats));
    found.extend(no_key(stats));
    let is_reported = |reason| found.iter().any(|finding| finding.reason == Some(reason));
    let few = few_approved(stats).filter(|finding| !finding.reason.is_some_and(is_reported));
    found.extend(few);
    found
}

/// Returns the command that lists the calls of the report's time.
pub(super) fn calls_command(stats: &Statistics, filter: &str) -> String {
    let (since, until) = stats.as_arguments();
    format!("phonegate calls {filter} --since {since} --until {until}")
}

fn count(stats: &Statistics, reason: FailureReason) -> u64 {
    stats.reasons.get(&reason).copied().unwrap_or_default()
}

/// Users reported fraud.
fn fraud(stats: &Statistics) -> Option<Finding> {
    let fraud = stats.all.of(OutcomeKind::Fraud);
    let reports =
        format::counted(fraud, "user said that a call was not theirs", "times a user said that a call was not theirs");
    let text = format!("{reports}. The person who made the request may know the user's password.");
    (fraud > 0).then(|| Finding::of_reason(stats, FailureReason::FraudReported, text))
}

/// Calls failed because of defects in PhoneGate.
fn defects(stats: &Statistics) -> Option<Finding> {
    let defects = count(stats, FailureReason::Internal);
    let text = format!(
        "{} failed because of a defect in PhoneGate (Internal). Please report it, with the file of phonegate doctor --zip.",
        format::calls(defects)
    );
    (defects > 0).then(|| Finding::of_reason(stats, FailureReason::Internal, text))
}

/// The most frequent technical reason.
fn technical_failures(stats: &Statistics) -> Option<Finding> {
    let is_trouble = |reason| OutcomeKind::of(reason) == OutcomeKind::Trouble && reason != FailureReason::Internal;
    let (reason, count) = stats.reasons().into_iter().find(|(reason, _)| is_trouble(*reason))?;
    let text = format!("{} failed as {}: {}.", format::calls(count), reason.name(), format::meaning(reason));
    Some(Finding::of_reason(stats, reason, text))
}

/// Calls have not ended: a running service would have claimed them.
fn abandoned_calls(stats: &Statistics) -> Option<Finding> {
    let newest = stats.gone.last()?;
    let calls = format::counted(stats.gone.len() as u64, "call has", "calls have");
    let text =
        format!("{calls} not ended: the process is gone, and no other has claimed the call. Does the service run?");
    Some(Finding { text, command: format!("phonegate calls show {newest}"), reason: None })
}

/// Daily limits refused calls.
fn daily_limits_reached(stats: &Statistics) -> Vec<Finding> {
    let found = stats.limits.daily_limits_reached().map(|(cap, days)| {
        let days = format::counted(days.len() as u64, "day", "days");
        let text = format!("{} was reached on {days}. Is it too low, or is it an attack?", name(cap));
        let command = calls_command(stats, &format!("--reason {}", FailureReason::Throttled.name()));
        Finding { text, command, reason: None }
    });
    found.collect()
}

/// Numbers were locked.
fn locked(stats: &Statistics) -> Option<Finding> {
    let all = stats.limits.locked();
    let (most, _) = all.first()?;
    let numbers = format::counted(all.len() as u64, "number was", "numbers were");
    let times = match stats.limits.locks() {
        locks if locks == all.len() as u64 => String::new(),
        locks => format!(" {} times (most often {})", format::number(locks), most.masked),
    };
    let text = format!("{numbers} locked{times}, because calls were not approved. Did these users ask for the calls?");
    Some(Finding { text, command: calls_command(stats, &format!("--number {}", most.newest)), reason: None })
}

/// A large share of all calls was refused.
fn refused(stats: &Statistics) -> Option<Finding> {
    let (count, total) = (stats.all.of(OutcomeKind::Refused), stats.total());
    let is_refusal = |(reason, _): &(FailureReason, u64)| OutcomeKind::of(*reason) == OutcomeKind::Refused;
    let (reason, most) = stats.reasons().into_iter().find(is_refusal)?;
    if count < MIN_CALLS || count * 4 < total {
        return None;
    }
    let numbers = match stats.refused_numbers() {
        0 => String::new(),
        numbers => format!(" to {}", format::counted(numbers, "number", "numbers")),
    };
    let text = format!(
        "{}{numbers} were refused by the gate, {} of all; {} of them as {}: {}. Does someone try numbers, or are the limits \
         too low?",
        format::calls(count),
        format::percent(count, total),
        format::number(most),
        reason.name(),
        format::meaning(reason)
    );
    Some(Finding { reason: None, ..Finding::of_reason(stats, reason, text) })
}

/// Many calls to one number were refused.
fn refused_number(stats: &Statistics) -> Option<Finding> {
    let suspect = stats.most_refused().filter(|suspect| suspect.refused >= MIN_REFUSED)?;
    let text = format!(
        "{} to {} were refused. Does someone try to wear a user down?",
        format::calls(suspect.refused),
        suspect.masked
    );
    Some(Finding { text, command: calls_command(stats, &format!("--number {}", suspect.newest)), reason: None })
}

/// In a large share of the placed calls, the user pressed nothing.
fn no_key(stats: &Statistics) -> Option<Finding> {
    let no_key = count(stats, FailureReason::NoKeyPressed);
    let share = format::percent(no_key, stats.placed);
    let text = format!("In {share} of the calls placed, nothing was pressed. Do keys arrive?");
    let is_large = stats.placed >= MIN_CALLS && no_key * 4 > stats.placed;
    is_large.then(|| Finding::of_reason(stats, FailureReason::NoKeyPressed, text))
}

/// Less than half of the calls were approved. Names the most frequent reason.
fn few_approved(stats: &Statistics) -> Option<Finding> {
    let (ended, verified) = (stats.ended(), stats.verified());
    let (reason, count) = stats.reasons().first().copied()?;
    let text = format!(
        "Of {} that ended, {} approved. {} failed as {}: {}.",
        format::calls(ended),
        format::are_approved(verified, ended),
        format::number(count),
        reason.name(),
        format::meaning(reason)
    );
    (ended >= MIN_CALLS && verified * 2 < ended).then(|| Finding::of_reason(stats, reason, text))
}
