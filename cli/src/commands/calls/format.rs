//! Prints calls as a table, as JSON lines or as comma-separated values.

use std::io::{self, BufWriter, Stdout, Write};

use jiff::tz::TimeZone;
use phonegate::call::{CallId, CallLimit, Failure, FailureReason};
use phonegate::store::{Row, RowOutcome};
use phonegate_approval::verdict::JudgedBy;
use serde::Serialize;

use crate::call_state::CallState;
use crate::csv_output::{as_text, io_error, no_formula};
use crate::output::{self, Format};
use crate::time;

/// Minimum width of the column of backends, in characters.
const MIN_BACKENDS: usize = 10;

/// The columns of comma-separated values, named as in [`CallRecord`]. They do not include the hash, since it identifies
/// the number and such files are given to others.
const COLUMNS: [&str; 19] = [
    "id",
    "attempt",
    "number",
    "full_number",
    "node",
    "backend",
    "started",
    "placed",
    "ringing",
    "answered",
    "ended",
    "outcome",
    "state",
    "reason",
    "code",
    "text",
    "judged_by",
    "limit",
    "locked_until",
];

/// A line of `--json`. `phonegate calls --help` documents its names, and scripts depend on them.
#[derive(Serialize)]
pub(super) struct CallRecord<'a> {
    event: &'static str,
    id: CallId,
    attempt: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    full_number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number_hash: Option<String>,
    node: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'a str>,
    started: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    placed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ringing: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<FailureReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    judged_by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locked_until: Option<String>,
}

impl<'a> CallRecord<'a> {
    pub(super) fn of(row: &'a Row) -> Self {
        let (outcome, failure) = match &row.outcome {
            RowOutcome::Pending => ("pending", None),
            RowOutcome::Verified => ("verified", None),
            RowOutcome::Failed(failure) => ("failed", Some(failure)),
        };
        Self {
            event: "call",
            id: row.attempt.id,
            attempt: row.attempt.generation,
            number: row.number.as_deref(),
            full_number: row.full_number.as_deref(),
            number_hash: row.number_hash.map(|hash| hash.to_string()),
            node: &row.node,
            backend: row.backend.as_deref(),
            started: time::utc(row.started),
            placed: row.placed.map(time::utc),
            ringing: row.ringing.map(time::utc),
            answered: row.answered.map(time::utc),
            ended: row.ended.map(time::utc),
            outcome,
            state: CallState::of(row).map(CallState::name),
            reason: failure.map(|failure| failure.reason()),
            code: failure.and_then(|failure| failure.reason().azure_code()),
            text: failure.map(|failure| failure.text()),
            judged_by: row.judged_by.map(JudgedBy::name),
            limit: failure.and_then(Failure::limit).map(CallLimit::name),
            locked_until: row.locked_until.map(time::utc),
        }
    }

    fn cells(self) -> [String; COLUMNS.len()] {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        [
            self.id.to_string(),
            as_text(&self.attempt.to_string()),
            self.number.map(no_formula).unwrap_or_default(),
            self.full_number.map(as_text).unwrap_or_default(),
            no_formula(self.node),
            no_formula(self.backend.unwrap_or_default()),
            self.started,
            self.placed.unwrap_or_default(),
            self.ringing.unwrap_or_default(),
            self.answered.unwrap_or_default(),
            self.ended.unwrap_or_default(),
            self.outcome.to_owned(),
            text(self.state),
            self.reason.map_or("", FailureReason::name).to_owned(),
            self.code.map(|code| code.to_string()).unwrap_or_default(),
            no_formula(self.text.unwrap_or_default()),
            text(self.judged_by),
            text(self.limit),
            self.locked_until.unwrap_or_default(),
        ]
    }
}

/// Prints calls on stdout.
pub(super) struct CallPrinter {
    out: Out,
    zone: TimeZone,
    /// Width of the column of backends, in characters.
    backends: usize,
    /// Whether a write failed, because the pipe is closed or the disk is full.
    broken: bool,
}

enum Out {
    Table { out: BufWriter<Stdout>, has_header: bool },
    Json(BufWriter<Stdout>),
    Csv(Box<csv::Writer<Stdout>>),
}

impl CallPrinter {
    /// Creates a printer. `backends` is the length of the longest name of a backend, in characters.
    pub(super) fn new(format: Format, backends: usize) -> Self {
        let buffered = || BufWriter::new(io::stdout());
        let out = match format {
            Format::Table => Out::Table { out: buffered(), has_header: false },
            Format::Json => Out::Json(buffered()),
            Format::Csv => Out::Csv(Box::new(csv::Writer::from_writer(io::stdout()))),
        };
        let mut printer = Self { out, zone: TimeZone::system(), backends: backends.max(MIN_BACKENDS), broken: false };
        if let Out::Csv(writer) = &mut printer.out {
            printer.broken = !output::is_written(writer.write_record(COLUMNS).map_err(io_error));
        }
        printer
    }

    /// Prints a call.
    pub(super) fn row(&mut self, row: &Row) {
        let written = match &mut self.out {
            Out::Table { out, has_header } => {
                let header = if std::mem::replace(has_header, true) { String::new() } else { header(self.backends) };
                write!(out, "{header}{}", line(row, &self.zone, self.backends))
            }
            Out::Json(out) => serde_json::to_writer(&mut *out, &CallRecord::of(row))
                .map_err(io::Error::from)
                .and_then(|()| writeln!(out)),
            Out::Csv(writer) => writer.write_record(CallRecord::of(row).cells()).map_err(io_error),
        };
        self.broken |= !output::is_written(written);
    }

    /// Flushes the output. Returns whether it still has a reader.
    pub(super) fn flush(&mut self) -> bool {
        let flushed = match &mut self.out {
            Out::Table { out, .. } | Out::Json(out) => out.flush(),
            Out::Csv(writer) => writer.flush(),
        };
        self.broken |= !output::is_written(flushed);
        !self.broken
    }

    /// Prints a warning between the calls.
    pub(super) fn warn(&mut self, text: &str) {
        self.flush();
        output::warning(matches!(self.out, Out::Json(_)), text);
    }
}

fn header(backends: usize) -> String {
    columns(["STARTED", "OUTCOME", "NUMBER", "BACKEND", "ANSWERED", "ENDED", "ID"], backends)
}

fn line(row: &Row, zone: &TimeZone, backends: usize) -> String {
    let after = |time| time::between(row.started, time).map_or_else(|| "-".to_owned(), time::seconds);
    let cells = [
        &*time::local(row.started, zone),
        outcome(row),
        row.number.as_deref().unwrap_or("-"),
        row.backend.as_deref().unwrap_or("-"),
        &after(row.answered),
        &after(row.ended),
        &row.attempt.id.to_string(),
    ];
    columns(cells, backends)
}

fn columns([started, outcome, number, backend, answered, ended, id]: [&str; 7], backends: usize) -> String {
    // A backend that is no longer in the configuration may have a longer name.
    let backend = output::cut(backend, backends);
    format!("{started:<19}  {outcome:<17}  {number:<17}  {backend:<backends$}  {answered:>8}  {ended:>7}  {id}\n")
}

/// Describes the outcome or the state of an attempt in a word.
fn outcome(row: &Row) -> &'static str {
    match (&row.outcome, CallState::of(row)) {
        (RowOutcome::Failed(failure), _) => failure.reason().name(),
        (_, Some(state)) => state.label(),
        (_, None) => "verified",
    }
}
