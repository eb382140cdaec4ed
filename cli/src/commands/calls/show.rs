//! `phonegate calls show`: shows one call step by step.

use std::time::SystemTime;

use clap::Args;
use jiff::tz::TimeZone;
use phonegate::call::{CallEvent, CallId};
use phonegate::store::{Query, Row, RowOutcome, Step};
use phonegate_approval::verdict::JudgedBy;
use serde::Serialize;

use super::format::CallRecord;
use crate::call_progress::with_reason;
use crate::call_state::CallState;
use crate::error::{CommandError, Exit};
use crate::output;
use crate::store_reader::StoreReader;
use crate::time;

const HELP: &str = "\
Times are seconds since the request of the host.

Example:
  phonegate calls show 6f9619ff-8b86-d011-b42d-00c04fc964ff

--json prints one object a line, the attempts in their order:
  call   as in `phonegate calls --json`
  step   id, attempt, ms (since the start of the attempt; left out if the clock was set back), at (UTC), step (its name in
         the log), backend, text

Exit codes:
  0  done
  1  there is no such call, or the store cannot be read
  2  wrong usage or configuration";

/// The arguments of `phonegate calls show`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct Show {
    /// The id that the host gave the call.
    #[arg(value_name = "ID", value_parser = CallId::parse)]
    id: CallId,
}

#[derive(Serialize)]
struct StepRecord<'a> {
    event: &'static str,
    id: CallId,
    attempt: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
    at: String,
    step: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

/// Shows a call.
pub(super) fn run(show: &Show, reader: &StoreReader, json: bool) -> Result<Exit, CommandError> {
    let mut attempts = Vec::new();
    reader.each(Query { id: Some(show.id), ..Query::default() }, |row| {
        let steps = reader.block_on(reader.store.steps(row.attempt))?;
        attempts.push((row, steps));
        Ok(())
    })?;
    if attempts.is_empty() {
        return Err(CommandError::failed(format!("the store has no call {}", show.id))
            .hint("it may have ended more than `audit.keep_days` ago, or be in another store"));
    }
    if json {
        attempts.iter().for_each(|(row, steps)| records(row, steps));
        return Ok(Exit::Done);
    }
    let zone = TimeZone::system();
    let count = attempts.len();
    output::print(&format!("Call {}", show.id));
    for (n, (row, steps)) in attempts.iter().enumerate() {
        if count > 1 {
            output::print(&format!("\nAttempt {} of {count}", n + 1));
        }
        lines(row, steps, &zone).iter().for_each(|line| output::print(line));
    }
    Ok(Exit::Done)
}

fn records(row: &Row, steps: &[Step]) {
    output::json_line(&CallRecord::of(row));
    for step in steps {
        let ms = time::between(row.started, Some(step.at)).and_then(|since| u64::try_from(since.as_millis()).ok());
        output::json_line(&StepRecord {
            event: "step",
            id: row.attempt.id,
            attempt: row.attempt.generation,
            ms,
            at: time::utc(step.at),
            step: &step.name,
            backend: step.backend.as_deref(),
            text: step.text.as_deref(),
        });
    }
}

fn lines(row: &Row, steps: &[Step], zone: &TimeZone) -> Vec<String> {
    let number = row.full_number.as_ref().or(row.number.as_ref());
    let requested = format!("{}, requested on {}", time::local(row.started, zone), row.node);
    let whom = number.map(|number| format!("to {number}")).into_iter();
    let line = |at: SystemTime, text: &str| {
        let since = time::between(row.started, Some(at));
        let since = since.map_or_else(|| "?".to_owned(), |since| format!("{:.3} s", since.as_secs_f64()));
        format!("{since:>11}  {text}")
    };
    let step_line = |step: &Step| line(step.at, &describe(step));
    // The clean-up at the provider comes after the end of the call.
    let (before, after): (Vec<_>, Vec<_>) = steps.iter().partition(|step| row.ended.is_none_or(|end| step.at <= end));
    let end = match &row.outcome {
        RowOutcome::Pending if CallState::of(row) == Some(CallState::Gone) => {
            "             It has not ended, and its process is gone. When the service starts, it claims the call or ends it."
                .to_owned()
        }
        RowOutcome::Pending => "             It has not ended yet.".to_owned(),
        RowOutcome::Verified => {
            line(row.ended.unwrap_or(row.started), &format!("Verified: the user approved.{}", judge(row.judged_by)))
        }
        RowOutcome::Failed(failure) => {
            line(row.ended.unwrap_or(row.started), &format!("Failed: {}", with_reason(failure)))
        }
    };
    let lock = row.locked_until.map(|until| lock(row, until, zone));
    let steps = before.into_iter().map(step_line).chain([end]).chain(lock).chain(after.into_iter().map(step_line));
    std::iter::once(requested).chain(whom).chain(steps).collect()
}

/// Formats the lock that the call caused.
fn lock(row: &Row, until: SystemTime, zone: &TimeZone) -> String {
    format!(
        "             This call locked the number until {} (limits.denials). `phonegate limits unlock {}` ends the lock.",
        time::local(until, zone),
        row.attempt.id
    )
}

/// Names who judged an approval. Empty if the version that recorded the call did not record it.
fn judge(judged_by: Option<JudgedBy>) -> &'static str {
    match judged_by {
        Some(JudgedBy::PhoneGate) => " Judged by PhoneGate.",
        Some(JudgedBy::Provider) => " Judged by the provider.",
        None => "",
    }
}

/// Describes a step.
fn describe(step: &Step) -> String {
    let event = CallEvent::from_name(&step.name);
    let by = if matches!(event, Some(CallEvent::Skipped | CallEvent::Probed)) { "" } else { " by" };
    let backend = step.backend.as_deref().map(|backend| format!("{by} {backend}")).unwrap_or_default();
    let text = step.text.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
    let name = match event {
        Some(CallEvent::BackendRefused) => "refused",
        // The text is the reason of a failure.
        Some(CallEvent::HungUp) if step.text.is_some() => "not hung up",
        Some(CallEvent::HungUp) => "hung up",
        Some(CallEvent::CleanedUp) if step.text.is_some() => "not cleaned up",
        Some(CallEvent::CleanedUp) => "cleaned up",
        Some(CallEvent::Claimed) => "claimed by another process",
        Some(CallEvent::ServerFailed) => "asked another server",
        Some(CallEvent::Retried) => "requested again",
        Some(CallEvent::Forwarded) => "forwarded to another phone",
        Some(CallEvent::ProgramOutput) => "the program wrote",
        Some(CallEvent::RepeatRefused) => "a repeated request was refused",
        Some(CallEvent::Blocked) => "the number was blocked",
        Some(event) => event.name(),
        None => &step.name,
    };
    format!("{name}{backend}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(name: &str) -> String {
        describe(&Step { at: SystemTime::UNIX_EPOCH, name: name.into(), backend: None, text: None })
    }

    #[test]
    fn a_backend_that_is_skipped_or_probed_does_nothing_itself() {
        let backend = Some("trunk".into());
        let text = Some("it is down".into());
        let step = Step { at: SystemTime::UNIX_EPOCH, name: "skipped".into(), backend, text };
        assert_eq!(describe(&step), "skipped trunk: it is down");
        assert_eq!(describe(&Step { name: "probed".into(), text: None, ..step }), "probed trunk");
    }

    #[test]
    fn a_step_shows_under_its_former_name_and_under_a_name_of_a_newer_version() {
        assert_eq!(described("claimed"), "claimed by another process");
        assert_eq!(described("taken_up"), "claimed by another process");
        assert_eq!(described("named_by_a_newer_version"), "named_by_a_newer_version");
    }
}
