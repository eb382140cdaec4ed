//! `phonegate calls show`: one call, step by step.

use std::time::SystemTime;

use clap::Args;
use jiff::tz::TimeZone;
use phonegate::call::{CallEvent, CallId};
use phonegate::store::{Query, Row, RowOutcome, Step};
use phonegate_approval::verdict::JudgedBy;
use serde::Serialize;

use super::format::CallRecord;
use crate::call_state::CallState;
use crate::error::{CommandError, Exit};
use crate::output;
use crate::steps::with_reason;
use crate::store_reader::StoreReader;
use crate::time;

const HELP: &str = "\
Times are seconds since the host asked for the call.

Example:
  phonegate calls show 6f9619ff-8b86-d011-b42d-00c04fc964ff

--json prints one object a line, for each attempt, the first one first:
  call   as `phonegate calls --json`
  step   id, attempt, ms (since the attempt began, where the clock was not set back), at (UTC), step (its name in the
         log), backend, text
  error  text: see exit codes 1 and 2

Exit codes:
  0  done
  1  there is no such call, or the store cannot be read
  2  usage or configuration";

/// The arguments of `phonegate calls show`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct Show {
    /// The call's id, as the host gave it.
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

/// Tells the story of a call.
pub(super) fn run(show: &Show, reader: &StoreReader, json: bool) -> Result<Exit, CommandError> {
    let mut attempts = Vec::new();
    reader.each(Query { id: Some(show.id), ..Query::default() }, |row| {
        let steps = reader.block_on(reader.store.steps(row.attempt))?;
        attempts.push((row, steps));
        Ok(())
    })?;
    if attempts.is_empty() {
        return Err(CommandError::failed(format!(
            "no call {} is known: it may have ended more than `audit.keep_days` ago, or another store has it",
            show.id
        )));
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
        story(row, steps, &zone).iter().for_each(|line| output::print(line));
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

fn story(row: &Row, steps: &[Step], zone: &TimeZone) -> Vec<String> {
    let number = row.full_number.as_ref().or(row.number.as_ref());
    let asked = format!("{}, asked for on {}", time::local(row.started, zone), row.node);
    let whom = number.map(|number| format!("to {number}")).into_iter();
    let line = |at: SystemTime, words: &str| {
        let since = time::between(row.started, Some(at));
        let since = since.map_or_else(|| "?".to_owned(), |since| format!("{:.3} s", since.as_secs_f64()));
        format!("{since:>11}  {words}")
    };
    let tell = |step: &Step| line(step.at, &words(step));
    // A provider is cleared up after the call, too.
    let (before, after): (Vec<_>, Vec<_>) = steps.iter().partition(|step| row.ended.is_none_or(|end| step.at <= end));
    let end = match &row.outcome {
        RowOutcome::Pending if CallState::of(row) == Some(CallState::Gone) => {
            "             It has not ended: its process is gone. The service ends it, or goes on with it, when it starts."
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
    let told = before.into_iter().map(tell).chain([end]).chain(lock).chain(after.into_iter().map(tell));
    std::iter::once(asked).chain(whom).chain(told).collect()
}

/// Formats the lock of the number that the call caused.
fn lock(row: &Row, until: SystemTime, zone: &TimeZone) -> String {
    format!(
        "             The number was locked then, until {} (limits.denials). `phonegate limits unlock {}` ends the lock.",
        time::local(until, zone),
        row.attempt.id
    )
}

/// Says who judged an approval. Nothing, if a version recorded it that did not record this.
fn judge(judged_by: Option<JudgedBy>) -> &'static str {
    match judged_by {
        Some(JudgedBy::PhoneGate) => " Judged by PhoneGate.",
        Some(JudgedBy::Provider) => " Judged by the provider.",
        None => "",
    }
}

fn words(step: &Step) -> String {
    let backend = step.backend.as_deref().map(|backend| format!(" by {backend}")).unwrap_or_default();
    let text = step.text.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
    let name = match CallEvent::from_name(&step.name) {
        Some(CallEvent::BackendRefused) => "refused",
        // A text says why it failed.
        Some(CallEvent::HungUp) if step.text.is_some() => "not hung up",
        Some(CallEvent::HungUp) => "hung up",
        Some(CallEvent::CleanedUp) if step.text.is_some() => "not cleared up",
        Some(CallEvent::CleanedUp) => "cleared up",
        Some(CallEvent::Claimed) => "claimed by another process",
        Some(CallEvent::ServerFailed) => "asked another server",
        Some(CallEvent::Retried) => "requested again",
        Some(CallEvent::Forwarded) => "forwarded to another phone",
        Some(CallEvent::RepeatRefused) => "a repeated request was refused",
        Some(CallEvent::Blocked) => "the number was blocked",
        Some(event) => event.name(),
        None => &step.name,
    };
    format!("{name}{backend}{text}")
}
