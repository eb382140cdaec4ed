//! `phonegate blocks`: the numbers that are not called.

mod block_log;
mod change;
mod list;

use clap::{Args, Subcommand};
use jiff::tz::TimeZone;
use phonegate::call::CallId;
use phonegate::store::{Block, BlockScope};
use phonegate::telemetry::diagnostic_text;
use serde::Serialize;

use crate::Globals;
use crate::commands::stored_number::StoredNumber;
use crate::context::Context;
use crate::error::{CommandError, Exit};
use crate::store_reader::StoreReader;
use crate::time;
use block_log::BlockLog;

const HELP: &str = "\
A call to a number on this list fails as Blocked, on every node that shares the store, and rings nobody. A user who
presses the fraud key (`fraud.key`) puts exactly their number on it for `fraud.block_for_days`. Only this command blocks
a whole line: a number without an extension is blocked with all of its extensions, unless --only-this-number is given.
`numbers.blocked` in the configuration is another list, which this command does not show. Each change is a line in
phonegate-tool.log, in `log.directory`: who made it, and what it replaced.

Examples:
  phonegate blocks list
  phonegate blocks add +1 4255551212 --reason \"left the company\"       the whole line, for ever
  phonegate blocks add +1 4255551212x77 --days 7                       this extension alone, for a week
  phonegate blocks add +1 4255551212 --only-this-number                not its extensions
  phonegate blocks add --call 6f9619ff-8b86-d011-b42d-00c04fc964ff     the number of that call
  phonegate blocks add 0f343b0931126a20f133d67c2b018a3b                by the key that `phonegate calls --json` shows
  phonegate blocks add +1 4255551212 --days 1 --replace                in place of a block that lasts longer
  phonegate blocks remove +1 4255551212                                both its own block and that of its line
  phonegate blocks remove 6f9619ff-8b86-d011-b42d-00c04fc964ff         the number of that call, as an event names it
  phonegate blocks remove 0f343b0931126a20f133d67c2b018a3b             by the key that the list shows

A key is the hash of a number. Without privacy.number_key, the number can be found by hashing all numbers. Treat the
key, and what --json prints, like the number itself; pass on the id of a call instead.

Exit codes:
  0  done
  1  remove: the number was not on the list; add: there is no such call, or a block that lasts longer and no --replace;
     or the store cannot be used, or is not there yet, which hinders no add
  2  usage or configuration";

const RECORDS: &str = "\
--json prints one object a line: event (block; removed; replaced, of what a new block takes the place of; kept, of a
block of the other scope, which stays), key, number (masked), scope (number: exactly this number; line: also all of its
extensions), reason, since, until (UTC; left out: for ever). Two more events have a text: warning, and error, after which
the exit code is 1 or 2. A key tells the number to whoever tries every number: treat it like the number.";

/// Why a number is blocked, where nobody says it.
const USUAL_REASON: &str = "an administrator blocked it";

/// How long a block holds that has no end.
const FOR_EVER: &str = "for ever";

/// The verbs of `phonegate blocks`.
#[derive(Subcommand)]
#[command(after_help = HELP)]
pub(crate) enum BlocksCommand {
    /// Shows the list, the newest first.
    #[command(after_help = RECORDS)]
    List,
    /// Puts a number on the list, in place of its block of the same scope, if that lasts no longer. Without an extension:
    /// the whole line.
    #[command(after_help = RECORDS)]
    Add(Add),
    /// Takes a number off the list: its own block, and that of its whole line.
    #[command(after_help = RECORDS)]
    Remove(StoredNumber),
}

/// The arguments of `phonegate blocks add`.
#[derive(Args)]
pub(crate) struct Add {
    /// The number, as +1 4255551212; spaces need no quotation marks. Also one in a country that is not allowed. Or its
    /// key, which `phonegate calls --json` shows.
    #[arg(required_unless_present = "call", value_name = "NUMBER|KEY")]
    number: Vec<String>,
    /// The number that this call rang, or would have rung.
    #[arg(long, value_name = "ID", value_parser = CallId::parse, conflicts_with = "number")]
    call: Option<CallId>,
    /// Blocks a number without an extension, and not its extensions.
    #[arg(long)]
    only_this_number: bool,
    /// Why. Whoever sees the failure of a call reads it, too; in it, telephone numbers are masked.
    #[arg(long, value_name = "TEXT", default_value = USUAL_REASON, value_parser = reason)]
    reason: Box<str>,
    /// For so many days. Absent: for ever.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: Option<u32>,
    /// Also replaces a block of the same scope that lasts longer. A user's report of fraud blocks exactly the number.
    #[arg(long)]
    replace: bool,
}

/// A reason as it stands within a sentence, which has a full stop of its own.
fn reason(text: &str) -> Result<Box<str>, &'static str> {
    let text = diagnostic_text(text);
    match text.trim_end_matches(['.', ' ']) {
        "" => Err("it is empty; say in some words why, or leave --reason out"),
        reason => Ok(reason.into()),
    }
}

/// A line of `--json`. Scripts depend on its names.
#[derive(Serialize)]
struct Record<'a> {
    event: &'static str,
    key: String,
    number: &'a str,
    scope: &'static str,
    reason: &'a str,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

impl<'a> Record<'a> {
    fn of(event: &'static str, block: &'a Block) -> Self {
        Self {
            event,
            key: block.number.to_string(),
            number: &block.masked,
            scope: match scope(block) {
                BlockScope::Number => "number",
                BlockScope::Line => "line",
            },
            reason: &block.reason,
            since: time::utc(block.since),
            until: block.until.map(time::utc),
        }
    }
}

/// Does what the verb says.
pub(crate) fn run(command: &BlocksCommand, globals: &Globals) -> Result<Exit, CommandError> {
    let context = Context::load(globals.config())?;
    let (json, log) = (globals.json, || BlockLog::start(&context));
    match command {
        BlocksCommand::List => list::run(&StoreReader::open(&context)?, json),
        BlocksCommand::Remove(number) => change::remove(number, &StoreReader::open(&context)?, log, json),
        // The number of a call is known only where there have been calls.
        BlocksCommand::Add(arguments) if arguments.call.is_some() => {
            change::add(arguments, &StoreReader::open(&context)?, log, json)
        }
        BlocksCommand::Add(arguments) => {
            change::add(arguments, &StoreReader::open_or_create(&context, json)?, log, json)
        }
    }
}

/// `until 2026-03-01 09:30:00`.
fn end(block: &Block, zone: &TimeZone) -> String {
    block.until.map_or_else(|| FOR_EVER.to_owned(), |until| format!("until {}", time::local(until, zone)))
}

/// Returns what a block covers. A block of an extension covers exactly that number, also if it was written by an older
/// version, which had no scopes.
fn scope(block: &Block) -> BlockScope {
    if has_extension(&block.masked) { BlockScope::Number } else { block.scope }
}

/// Describes what a block covers.
fn extent(block: &Block) -> &'static str {
    match scope(block) {
        BlockScope::Line => "whole line",
        BlockScope::Number => "only this number",
    }
}

/// Returns whether a masked number has an extension.
fn has_extension(masked: &str) -> bool {
    masked.contains('x')
}
