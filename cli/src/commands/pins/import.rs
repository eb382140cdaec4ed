//! Sets the PINs of a file: checks every row, then sets one PIN after the other.

use std::collections::HashMap;

use csv::StringRecord;
use phonegate::admission::Admission;
use phonegate::approval::pins::{PinChecker, PinRules, number_hashes};
use phonegate::call::{NumberHash, PhoneNumber};
use phonegate::store::StoredPin;
use phonegate_approval::secret::Pin;
use serde_json::json;

use super::{Import, PinSetter, change};
use crate::audit_log::AuditLog;
use crate::context::Context;
use crate::csv_input::{self, Rows};
use crate::error::{CommandError, Exit};
use crate::output::{self, Spinner};
use crate::store_reader::{StoreReader, admission};

/// Maximum size of the file, in bytes: enough for a million numbers and PINs.
const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// A valid row.
struct Entry {
    line: u64,
    number: PhoneNumber,
    pin: Pin,
}

/// A row that cannot be used. The text contains neither a number nor a PIN.
#[derive(Debug, PartialEq, Eq)]
struct RefusedRow {
    line: u64,
    text: String,
}

/// The rows of a file.
#[derive(Default)]
struct CheckedRows {
    entries: Vec<Entry>,
    refused: Vec<RefusedRow>,
}

pub(super) fn run(
    arguments: &Import,
    context: &Context,
    log: impl FnOnce() -> Result<AuditLog, CommandError>,
    json: bool,
) -> Result<Exit, CommandError> {
    let file = arguments.file.display();
    let setter = PinSetter::new(context)?;
    let in_file = |problem: String| CommandError::usage(format!("{file}: {problem}"));
    let text = csv_input::read(&arguments.file, MAX_BYTES).map_err(in_file)?;
    let CheckedRows { entries, refused } = check(&text, &admission(context)?, setter.rules).map_err(in_file)?;
    for RefusedRow { line, text } in &refused {
        match json {
            true => output::json_line(&json!({ "event": "refused", "line": line, "text": text })),
            false => output::note(&format!("line {line}: {text}")),
        }
    }
    let total = entries.len();
    if !refused.is_empty() {
        let rows = refused.len() + total;
        return Err(in_file(format!("{} of {rows} rows cannot be used, so no PIN was set", refused.len())));
    }
    let replaced = if arguments.dry_run {
        // A dry run creates no store.
        let pins = StoreReader::open_existing(context)?.map_or(Ok(Vec::new()), |reader| setter.pins(&reader))?;
        let before = PreviousPins::new(pins);
        entries.iter().filter(|entry| before.pin(&entry.number).is_some()).count()
    } else {
        let reader = StoreReader::open_or_create(context, json)?;
        let before = PreviousPins::new(setter.pins(&reader)?);
        let log = log()?;
        let replaced = set_all(entries, &setter.into_checker(&reader), &before, &reader, &log, arguments, json);
        // Some may have been set even if an error occurred.
        log.close(json, "PINs were set");
        replaced?
    };
    match json {
        true => output::json_line(&json!({
            "event": "imported", "pins": total, "replaced": replaced, "dry_run": arguments.dry_run
        })),
        false => {
            let done = if arguments.dry_run { "could be set" } else { "set" };
            output::print(&format!("PINs {done}: {total}; {replaced} of them replace others."));
        }
    }
    Ok(Exit::Done)
}

/// The PINs that were set before the import.
struct PreviousPins(HashMap<NumberHash, StoredPin>);

impl PreviousPins {
    fn new(pins: Vec<StoredPin>) -> Self {
        Self(pins.into_iter().map(|pin| (pin.number, pin)).collect())
    }

    fn pin(&self, number: &PhoneNumber) -> Option<&StoredPin> {
        number_hashes(number).iter().find_map(|hash| self.0.get(hash))
    }
}

/// Sets PINs one after the other, and returns how many replaced another one.
fn set_all(
    entries: Vec<Entry>,
    checker: &PinChecker,
    before: &PreviousPins,
    reader: &StoreReader,
    log: &AuditLog,
    arguments: &Import,
    json: bool,
) -> Result<usize, CommandError> {
    let spinner = Spinner::start(json);
    let (total, mut replaced) = (entries.len(), 0);
    for (count, Entry { line, number, pin }) in entries.into_iter().enumerate() {
        spinner.set_message(format!("setting PINs: {count} of {total}"));
        super::set(checker, &number, pin, reader).map_err(|error| {
            CommandError::failed(format!(
                "{}: line {line}: {} ({count} of {total} PINs were set; to set the others, run this again)",
                arguments.file.display(),
                error.message
            ))
        })?;
        let (masked, before) = (number.to_string(), before.pin(&number));
        change::write_set(log, &masked, before);
        replaced += usize::from(before.is_some());
        if json {
            output::json_line(&change::set_record(number.hash(), &masked, Some(line), before.is_some()));
        }
    }
    Ok(replaced)
}

/// Checks every row of a file.
///
/// # Errors
/// The file has no rows of numbers and PINs.
fn check(text: &str, numbers: &Admission, rules: PinRules) -> Result<CheckedRows, String> {
    let mut rows = Rows::of(text);
    let header = rows.header()?;
    // The first row is not shown: without a header, it contains a PIN.
    let [of_number, of_pin] = ["number", "pin"].map(|name| csv_input::column(&header, name));
    let (Some(of_number), Some(of_pin)) = (of_number?, of_pin?) else {
        return Err("the first row must name the columns `number` and `pin`".to_owned());
    };
    let mut lines: HashMap<NumberHash, u64> = HashMap::new();
    let mut checked = CheckedRows::default();
    let mut row = StringRecord::new();
    while let Some(line) = rows.next(&mut row)? {
        let (number, pin) = (row.get(of_number).unwrap_or_default(), row.get(of_pin).unwrap_or_default());
        if number.trim().is_empty() && pin.trim().is_empty() {
            continue;
        }
        if row.iter().skip(header.len()).any(|cell| !cell.trim().is_empty()) {
            let text = "the row has more cells than the first row; put a cell with a separator in quotation marks";
            checked.refused.push(RefusedRow { line, text: text.to_owned() });
            continue;
        }
        match entry(line, number, pin.trim(), numbers, rules, &mut lines) {
            Ok(entry) => checked.entries.push(entry),
            Err(text) => checked.refused.push(RefusedRow { line, text }),
        }
    }
    match checked.entries.is_empty() && checked.refused.is_empty() {
        true => Err("there is no row below the names of the columns".to_owned()),
        false => Ok(checked),
    }
}

fn entry(
    line: u64,
    number: &str,
    pin: &str,
    numbers: &Admission,
    rules: PinRules,
    lines: &mut HashMap<NumberHash, u64>,
) -> Result<Entry, String> {
    // The text of a failure shows a part of the input, which may be a PIN in the wrong column.
    let number = numbers.read(number).map_err(|failure| {
        format!("the number cannot be read ({}); `phonegate numbers check` says why", failure.reason().name())
    })?;
    let pin = rules.check(pin, &number).map_err(|refused| refused.to_string())?;
    match lines.insert(number.hash(), line) {
        None => Ok(Entry { line, number, pin }),
        Some(first) => Err(format!("the number is in line {first}, too; remove one of the lines")),
    }
}
