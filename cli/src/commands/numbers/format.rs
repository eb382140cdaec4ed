//! Prints numbers as a table, as JSON lines or as comma-separated values.

use std::io;

use phonegate::admission::Reading;
use phonegate::call::{FailureReason, PhoneNumber};
use serde::Serialize;
use serde_json::json;

use super::{CheckedNumber, Summary};
use crate::csv_output::{io_error, no_formula};
use crate::output::{self, Format};

/// A line of `--json`. `phonegate numbers check --help` documents its names, and scripts depend on them.
#[derive(Serialize)]
struct NumberRecord<'a> {
    event: &'static str,
    row: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<FailureReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

const COLUMNS: [&str; 8] = ["row", "written", "number", "country", "type", "result", "reason", "text"];

/// Prints numbers on stdout.
pub(super) struct NumberPrinter {
    format: Format,
    full: bool,
    csv: Option<csv::Writer<io::Stdout>>,
}

impl NumberPrinter {
    pub(super) fn new(format: Format, full: bool) -> Self {
        let mut csv = (format == Format::Csv).then(|| csv::Writer::from_writer(io::stdout()));
        if let Some(csv) = &mut csv {
            write(csv.write_record(COLUMNS));
        }
        if format == Format::Table {
            output::print(&line(["ROW", "NUMBER", "COUNTRY", "TYPE", "RESULT", ""]));
        }
        Self { format, full, csv }
    }

    pub(super) fn add(&mut self, checked: &CheckedNumber) {
        let record = self.record(checked);
        match (self.format, &mut self.csv) {
            (Format::Json, _) => output::json_line(&record),
            (_, Some(csv)) => write(csv.write_record(cells(record))),
            (_, None) => {
                let shown = record.number.as_deref().or(record.written).unwrap_or("-");
                let result = record.reason.map_or("admitted", FailureReason::name);
                let (country, kind) = (record.country.unwrap_or("-"), record.kind.unwrap_or("-"));
                let text = record.text.unwrap_or_default();
                output::print(&line([&record.row.to_string(), shown, country, kind, result, text]));
            }
        }
    }

    pub(super) fn finish(&mut self, summary: &Summary) {
        let (admitted, Summary { numbers, refused, empty }) = (summary.admitted(), summary);
        match (self.format, &mut self.csv) {
            (Format::Json, _) => output::json_line(&json!({
                "event": "summary", "numbers": numbers, "admitted": admitted, "refused": refused, "empty": empty,
            })),
            (_, Some(csv)) => {
                output::is_written(csv.flush());
            }
            (_, None) => {
                let refused: String = refused.iter().map(|(reason, count)| format!(", {count} {reason}")).collect();
                let empty = if *empty > 0 { format!("; rows without a number: {empty}") } else { String::new() };
                output::note(&format!("{numbers} numbers: {admitted} admitted{refused}{empty}."));
            }
        }
    }

    fn record<'a>(&self, checked: &'a CheckedNumber) -> NumberRecord<'a> {
        let reading = checked.read.as_ref().ok();
        let refusal = checked.refusal();
        NumberRecord {
            event: "number",
            row: checked.row,
            written: self.full.then_some(checked.written.as_str()),
            number: reading.map(|reading| self.number(&reading.number)),
            country: reading
                .and_then(|reading: &Reading| reading.number.country().map(phonegate::call::Country::as_str)),
            kind: reading.map(|reading| reading.kind.name()),
            result: if refusal.is_some() { "refused" } else { "admitted" },
            reason: refusal.map(|failure| failure.reason()),
            text: refusal.map(|failure| failure.text()),
        }
    }

    fn number(&self, number: &PhoneNumber) -> String {
        match (self.full, number.extension()) {
            (false, _) => number.to_string(),
            (true, Some(extension)) => format!("{}x{extension}", number.e164()),
            (true, None) => number.e164().to_owned(),
        }
    }
}

fn cells(record: NumberRecord<'_>) -> [String; COLUMNS.len()] {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    [
        record.row.to_string(),
        no_formula(record.written.unwrap_or_default()),
        no_formula(&record.number.unwrap_or_default()),
        text(record.country),
        text(record.kind),
        record.result.to_owned(),
        text(record.reason.map(FailureReason::name)),
        no_formula(record.text.unwrap_or_default()),
    ]
}

fn line([row, number, country, kind, result, text]: [&str; 6]) -> String {
    let line = format!("{row:>6}  {number:<18}  {country:<7}  {kind:<20}  {result:<17}  {text}");
    line.trim_end().to_owned()
}

fn write(written: csv::Result<()>) {
    output::is_written(written.map_err(io_error));
}
