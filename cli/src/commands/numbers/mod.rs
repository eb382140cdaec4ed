//! `phonegate numbers`: shows how telephone numbers are read, and whether they may be called.

mod file;
mod format;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use phonegate::admission::{Admission, Reading};
use phonegate::backend::sip::{DialStringFormat, SipConfig};
use phonegate::call::{Failure, FailureReason, PhoneNumber};
use phonegate::config::{Config, ConfigError};

use crate::Globals;
use crate::context::Context;
use crate::error::{CommandError, Exit};
use crate::output::Format;
use format::NumberPrinter;

/// The attribute in which MIM keeps the number that PhoneGate is to call.
const MIM_ATTRIBUTE: &str = "msidmPhoneGatePhoneNumber";

const HELP: &str = "\
Reads numbers as a call would, by the section `numbers` of the configuration, and shows which of them may be
called. It places no call and contacts no provider. Run it on an export of all users before PhoneGate goes live.

Examples:
  phonegate numbers check \"+1 4255551212\" \"49 151 23456789\"      quotation marks around each number
  phonegate numbers check --file users.csv                       the column msidmPhoneGatePhoneNumber
  phonegate numbers check --file users.csv --column mobile --csv > read.csv
  phonegate numbers check --file users.csv --full --json         with whole numbers: keep the output safe

The first row of the file names its columns. The separator is a comma, semicolon or tab; the encoding is UTF-8, UTF-16
with a byte order mark, or Windows-1252. `--file -` is standard input.

--json prints one object a line, --csv the same fields as columns:
  number   row (the line of the file, or the position among the arguments), number (E.164, masked unless --full), country
           (ISO 3166-1), type (as in `numbers.allowed_types`), result (admitted or refused), reason and text of a
           refusal; with --full also written (the text that was read)
  summary  numbers, admitted, refused (a number for each reason), empty (rows without a number); not in --csv

Exit codes:
  0  all numbers may be called
  1  at least one may not
  2  wrong usage or configuration, or the file cannot be read";

/// The commands of `phonegate numbers`.
#[derive(Subcommand)]
pub(crate) enum NumbersCommand {
    /// Shows how each number is read, and whether it may be called.
    Check(Check),
}

/// The arguments of `phonegate numbers check`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Check {
    /// Numbers, each in quotation marks if it has spaces.
    #[arg(value_name = "NUMBER", required_unless_present = "file", conflicts_with = "file")]
    numbers: Vec<String>,
    /// A file of comma-separated values with one row for each user.
    #[arg(long, value_name = "FILE.csv")]
    file: Option<PathBuf>,
    /// The column with the numbers. [default: msidmPhoneGatePhoneNumber]
    #[arg(long, value_name = "NAME", requires = "file", conflicts_with = "numbers")]
    column: Option<String>,
    /// Shows whole numbers instead of masked ones.
    #[arg(long)]
    full: bool,
    /// Prints comma-separated values. Not with --json.
    #[arg(long)]
    csv: bool,
}

/// A text, and what was read from it.
struct CheckedNumber {
    /// The line of the file, or the position among the arguments.
    row: u64,
    written: String,
    read: Result<Reading, Failure>,
}

impl CheckedNumber {
    fn refusal(&self) -> Option<&Failure> {
        match &self.read {
            Ok(reading) => reading.refusal.as_ref(),
            Err(failure) => Some(failure),
        }
    }
}

/// Counts of all numbers.
#[derive(Default)]
struct Summary {
    numbers: usize,
    refused: BTreeMap<&'static str, usize>,
    empty: usize,
}

impl Summary {
    fn count(&mut self, refusal: Option<FailureReason>) {
        self.numbers += 1;
        if let Some(reason) = refusal {
            *self.refused.entry(reason.name()).or_default() += 1;
        }
    }

    fn admitted(&self) -> usize {
        self.numbers - self.refused.values().sum::<usize>()
    }
}

/// How the SIP trunks in use dial, by their names.
type Trunks<'a> = BTreeMap<&'a str, DialStringFormat>;

fn trunks(config: &Config) -> Result<Trunks<'_>, ConfigError> {
    config
        .in_use()
        .filter_map(|(name, backend)| Some((name.as_str(), backend.settings::<SipConfig>()?)))
        .map(|(name, sip)| Ok((name, DialStringFormat::new(&format!("backends.{name}"), sip, &config.numbers)?)))
        .collect()
}

/// Returns why no backend of a number's route dials it. `None` if one does, or may.
fn undialled(config: &Config, trunks: &Trunks<'_>, number: &PhoneNumber) -> Option<Failure> {
    let order = config.backends_for(number.country());
    let refusal = |name: &String| trunks.get(name.as_str())?.dial_string(number).err();
    order.iter().map(refusal).collect::<Option<Vec<_>>>()?.pop()
}

/// Runs a command of `phonegate numbers`.
pub(crate) fn run(command: &NumbersCommand, globals: &Globals) -> Result<Exit, CommandError> {
    let NumbersCommand::Check(arguments) = command;
    let config = Context::load(globals.config())?.loaded.config;
    let rules = Admission::new(&config.numbers)?;
    let trunks = trunks(&config)?;
    let format = Format::of(globals.json, arguments.csv)?;
    let written: Vec<(u64, String)> = match &arguments.file {
        Some(path) => {
            file::numbers(path, arguments.column.as_deref().unwrap_or(MIM_ATTRIBUTE)).map_err(CommandError::usage)?
        }
        None => (1..).zip(arguments.numbers.iter().cloned()).collect(),
    };
    let mut printer = NumberPrinter::new(format, arguments.full);
    let mut summary = Summary::default();
    for (row, written) in written {
        if written.trim().is_empty() {
            summary.empty += 1;
            continue;
        }
        let mut read = rules.examine(&written);
        if let Ok(reading) = &mut read
            && reading.refusal.is_none()
        {
            reading.refusal = undialled(&config, &trunks, &reading.number);
        }
        let checked = CheckedNumber { row, written, read };
        summary.count(checked.refusal().map(Failure::reason));
        printer.add(&checked);
    }
    printer.finish(&summary);
    Ok(if summary.refused.is_empty() { Exit::Done } else { Exit::Failed })
}
