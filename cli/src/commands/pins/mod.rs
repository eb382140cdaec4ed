//! `phonegate pins`: the PINs of users, for the methods `pin` and `pin_and_code`.

mod change;
mod import;
mod input;
mod list;
mod state;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use phonegate::approval::pins::{Pepper, PinChecker, PinRules, SetPinError, number_hashes};
use phonegate::call::PhoneNumber;
use phonegate::config::PEPPER;
use phonegate::store::{PinLimits, StoredPin};
use phonegate_approval::secret::Pin;
use serde::Serialize;

use crate::Globals;
use crate::audit_log::AuditLog;
use crate::commands::stored_number::StoredNumber;
use crate::context::Context;
use crate::error::{CommandError, Exit};
use crate::store_reader::StoreReader;
use crate::time;
pub(crate) use state::{PinState, state};

const HELP: &str = "\
With `approval.method` set to `pin` or `pin_and_code`, a user approves a call with the PIN that is set here for the
number. Set `approval.pin.pepper` first; PINs can be set before the method is changed. Calls to a number without a PIN
fail as PinNotSet. After `approval.pin.max_failures` wrong PINs in a row, calls to the number fail as PinLocked for
`approval.pin.lock_minutes`. A number with an extension has a PIN of its own. Every node that shares the store knows the
PINs.

A PIN has 4 to 12 digits, and at least `approval.pin.min_digits`. Guessable PINs, such as one repeated digit or 2345, are
refused. A PIN is never an argument, because other users of the machine can read arguments.

Examples:
  phonegate pins set +1 4255551212                      asks for the PIN twice, without showing it
  phonegate pins set +1 4255551212 --pin-file pin.txt   reads it from a file
  phonegate pins import pins.csv --dry-run              checks a file of numbers and PINs
  phonegate pins import pins.csv                        sets all of them; delete the file afterwards
  phonegate pins list                                   the numbers that have a PIN, and locks
  phonegate pins unlock +1 4255551212                   ends a lock
  phonegate pins reset +1 4255551212                    removes the PIN
  phonegate pins reset --all                            removes all PINs, before a change of the pepper

Each change is a line in phonegate-tool.log, in `log.directory`, which says who made it.

Exit codes:
  0    done
  1    reset, unlock: no PIN is set for the number; or the store cannot be used
  2    wrong usage or configuration, or a number or PIN that is refused
  130  set: ended by Esc or Ctrl-C; no PIN was set";

const RECORDS: &str = "\
--json prints one object a line: event (pin; set; removed; unlocked), number_hash, number (masked), set (UTC), failures
(wrong PINs in a row), locked_until (UTC; left out: not locked); set also has replaced (whether there was a PIN before).
A hash identifies the number to anyone who hashes every number: treat it like the number.";

const IMPORT: &str = "\
The first row of the file names its columns; one must be `number`, and one `pin`. The separator is a comma, semicolon
or tab; the encoding is UTF-8, UTF-16 with a byte order mark, or Windows-1252. In Excel, format both columns as text
before you fill them: otherwise it drops the leading zeros of PINs. FILE - is standard input.

Every row is checked before the first PIN is set. If one is refused, such as one with more cells than the first row, no
PIN is set. Each PIN takes about 20 ms. If the command is interrupted, run it again: it sets all PINs again.

--json prints one object a line: refused (line, text) for each row that cannot be used; set (line, number_hash, number,
set, replaced) for each PIN; imported (pins, replaced, dry_run) at the end.

Exit codes:
  0  all PINs were set; with --dry-run, they can be set
  1  the store cannot be used; the error says how many PINs were set
  2  wrong usage or configuration, or a row that cannot be used; no PIN was set";

/// The commands of `phonegate pins`.
#[derive(Subcommand)]
#[command(after_help = HELP)]
pub(crate) enum PinsCommand {
    /// Sets the PIN of a number, and ends its lock.
    #[command(after_help = RECORDS)]
    Set(Set),
    /// Sets the PINs of many numbers, from a file.
    #[command(after_help = IMPORT)]
    Import(Import),
    /// Removes the PIN of a number, or all PINs.
    #[command(after_help = RECORDS)]
    Reset(Reset),
    /// Lists the numbers that have a PIN. It cannot show the PINs.
    #[command(after_help = RECORDS)]
    List,
    /// Ends the lock of a PIN.
    #[command(after_help = RECORDS)]
    Unlock(StoredNumber),
}

/// The arguments of `phonegate pins set`.
#[derive(Args)]
pub(crate) struct Set {
    /// The number, such as +1 4255551212; spaces need no quotation marks.
    #[arg(required = true, value_name = "NUMBER")]
    number: Vec<String>,
    /// Reads the PIN from a file that contains nothing else.
    #[arg(long, value_name = "FILE", conflicts_with = "pin_stdin")]
    pin_file: Option<PathBuf>,
    /// Reads the PIN from standard input.
    #[arg(long)]
    pin_stdin: bool,
}

/// The arguments of `phonegate pins import`.
#[derive(Args)]
pub(crate) struct Import {
    /// A file of comma-separated values with the columns `number` and `pin`.
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    /// Checks the file and the store, and sets no PIN.
    #[arg(long)]
    dry_run: bool,
}

/// The arguments of `phonegate pins reset`.
#[derive(Args)]
pub(crate) struct Reset {
    /// The number, or its hash, which `phonegate pins list` shows, or the id of a call to it (a GUID with its hyphens).
    #[arg(required_unless_present = "all", value_name = "NUMBER|HASH|ID")]
    number: Vec<String>,
    /// Removes the PINs of all numbers, before a change of the pepper.
    #[arg(long, conflicts_with = "number")]
    all: bool,
}

/// A line of `--json`. Scripts depend on its names.
#[derive(Serialize)]
struct PinRecord<'a> {
    event: &'static str,
    /// The line of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    number_hash: String,
    number: &'a str,
    set: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locked_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<bool>,
}

impl<'a> PinRecord<'a> {
    fn of(event: &'static str, pin: &'a StoredPin) -> Self {
        Self {
            event,
            line: None,
            number_hash: pin.number.to_string(),
            number: &pin.masked,
            set: time::utc(pin.set_at),
            failures: Some(pin.failures),
            locked_until: pin.locked_until.map(time::utc),
            replaced: None,
        }
    }
}

/// The inputs for setting PINs.
struct PinSetter {
    pepper: Pepper,
    rules: PinRules,
    limits: PinLimits,
}

impl PinSetter {
    /// Reads the configuration, which must have a pepper.
    fn new(Context { file, loaded }: &Context) -> Result<Self, CommandError> {
        let config = &loaded.config.approval.pin;
        let missing = || {
            CommandError::usage(format!("{}: {PEPPER} is missing; PINs are hashed with it", file.display()))
                .hint("`openssl rand -hex 32` makes a pepper; docs/operations.md, \"PINs\", says how to keep it")
        };
        let pepper = Pepper::read(config, &loaded.base).map_err(|error| error.in_file(file))?.ok_or_else(missing)?;
        Ok(Self { pepper, rules: config.into(), limits: config.limits() })
    }

    /// Returns the PINs of a store, and checks that they were hashed with this pepper.
    fn pins(&self, reader: &StoreReader) -> Result<Vec<StoredPin>, CommandError> {
        reader.block_on(reader.store.check_pepper(self.pepper.fingerprint()))?;
        reader.block_on(reader.store.pins())
    }

    fn into_checker(self, reader: &StoreReader) -> PinChecker {
        PinChecker::new(reader.store.clone(), self.pepper, self.limits)
    }
}

/// Hashes a PIN and sets it.
fn set(checker: &PinChecker, number: &PhoneNumber, pin: Pin, reader: &StoreReader) -> Result<(), CommandError> {
    let set = async {
        match checker.set(number, pin).await {
            Err(SetPinError::Store(error)) => Err(error),
            set => Ok(set),
        }
    };
    reader.block_on(set)?.map_err(|error| CommandError::failed(error.to_string()))
}

/// Returns the PIN of a number.
fn of_number<'a>(pins: &'a [StoredPin], number: &PhoneNumber) -> Option<&'a StoredPin> {
    let hashes = number_hashes(number);
    pins.iter().find(|pin| hashes.contains(&pin.number))
}

/// Runs a command of `phonegate pins`.
pub(crate) fn run(command: &PinsCommand, globals: &Globals) -> Result<Exit, CommandError> {
    let context = Context::load(globals.config())?;
    if !context.loaded.config.store.is_persistent() {
        return Err(CommandError::usage(format!(
            "{}: store.type is memory, which ends with its process, so no PIN can be set in it",
            context.file.display()
        ))
        .hint("set store.type to \"sqlite\" or \"redis\""));
    }
    let (json, log) = (globals.json, || AuditLog::start(&context));
    match command {
        PinsCommand::Set(arguments) => {
            change::set(arguments, &context, &StoreReader::open_or_create(&context, json)?, log, json)
        }
        PinsCommand::Import(arguments) => import::run(arguments, &context, log, json),
        PinsCommand::Reset(arguments) => {
            StoreReader::open(&context)?.run(json, |reader| change::reset(arguments, reader, log, json))
        }
        PinsCommand::List => StoreReader::open(&context)?.run(json, |reader| list::run(reader, json)),
        PinsCommand::Unlock(number) => {
            StoreReader::open(&context)?.run(json, |reader| change::unlock(number, reader, log, json))
        }
    }
}
