//! `phonegate blocks`: lists and changes the block list.

mod block_log;
mod change;
mod list;

use clap::{Args, Subcommand};
use jiff::tz::TimeZone;
use phonegate::call::CallId;
use phonegate::redact::diagnostic_text;
use phonegate::store::{Block, BlockScope};
use serde::Serialize;

use crate::Globals;
use crate::commands::stored_number::StoredNumber;
use crate::context::Context;
use crate::error::{CommandError, Exit};
use crate::store_reader::StoreReader;
use crate::time;
use block_log::BlockLog;

const HELP: &str = "\
A call to a number on the block list fails as Blocked on every node that shares the store, and no phone rings. The fraud
key (`fraud.key`) blocks exactly the user's number for `fraud.block_for_days`. Only this command blocks a whole line: a
number without an extension is blocked with all its extensions, unless you add --only-this-number. `numbers.blocked` in
the configuration is a separate list, which this command does not show. Each change is a line in phonegate-tool.log, in
`log.directory`: who made it, and what it replaced.

Examples:
  phonegate blocks list
  phonegate blocks add +1 4255551212 --reason \"left the company\"       the whole line, forever
  phonegate blocks add +1 4255551212x77 --days 7                       only this extension, for a week
  phonegate blocks add +1 4255551212 --only-this-number                without its extensions
  phonegate blocks add --call 6f9619ff-8b86-d011-b42d-00c04fc964ff     the number of that call
  phonegate blocks add 0f343b0931126a20f133d67c2b018a3b                the number of a hash, from `calls --json`
  phonegate blocks add +1 4255551212 --days 1 --replace                replaces a block that lasts longer
  phonegate blocks remove +1 4255551212                                its own block and the block of its line
  phonegate blocks remove 6f9619ff-8b86-d011-b42d-00c04fc964ff         the number of that call, from an event
  phonegate blocks remove 0f343b0931126a20f133d67c2b018a3b             the number of a hash, from the list

Without privacy.number_key, anyone can find the number of a hash by hashing all numbers. Treat hashes and the output of
--json like the numbers; give others the id of a call instead.

Exit codes:
  0  done
  1  remove: the number was not on the list, or the store does not exist yet; add: there is no such call, or a block
     lasts longer and --replace is missing; or the store cannot be used
  2  wrong usage or configuration";

const RECORDS: &str = "\
--json prints one object a line: event (block; removed; replaced: the block that the new one replaces; kept: a block of
the other scope, which remains), number_hash, number (masked), scope (number: exactly this number; line: with all its
extensions), reason, since, until (UTC; left out: forever). A hash identifies the number to anyone who hashes every
number: treat it like the number.";

/// The default reason of a block.
const DEFAULT_REASON: &str = "an administrator blocked it";

/// The end of a block without an end.
const FOREVER: &str = "forever";

/// The commands of `phonegate blocks`.
#[derive(Subcommand)]
#[command(after_help = HELP)]
pub(crate) enum BlocksCommand {
    /// Lists the blocks, the newest first.
    #[command(after_help = RECORDS)]
    List,
    /// Blocks a number; without an extension, the whole line. Replaces its block of the same scope, unless that lasts
    /// longer.
    #[command(after_help = RECORDS)]
    Add(Add),
    /// Removes the block of a number, and the block of its whole line.
    #[command(after_help = RECORDS)]
    Remove(StoredNumber),
}

/// The arguments of `phonegate blocks add`.
#[derive(Args)]
pub(crate) struct Add {
    /// The number, such as +1 4255551212; spaces need no quotation marks. Its country need not be allowed. Or the hash
    /// of the number, which `phonegate calls --json` shows.
    #[arg(required_unless_present = "call", value_name = "NUMBER|HASH")]
    number: Vec<String>,
    /// Blocks the number of this call.
    #[arg(long, value_name = "ID", value_parser = CallId::parse, conflicts_with = "number")]
    call: Option<CallId>,
    /// Blocks only this number, and not the extensions of its line.
    #[arg(long)]
    only_this_number: bool,
    /// The reason, which the failure of a blocked call shows. Telephone numbers in it are masked.
    #[arg(long, value_name = "TEXT", default_value = DEFAULT_REASON, value_parser = reason)]
    reason: Box<str>,
    /// Days until the block ends. [default: it never ends]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: Option<u32>,
    /// Also replaces a block of the same scope that lasts longer. A report of fraud blocks exactly the number.
    #[arg(long)]
    replace: bool,
}

/// Parses a reason, without a full stop: it becomes part of a sentence.
fn reason(text: &str) -> Result<Box<str>, &'static str> {
    let text = diagnostic_text(text);
    match text.trim_end_matches(['.', ' ']) {
        "" => Err("the reason is empty; write one, or leave --reason out"),
        reason => Ok(reason.into()),
    }
}

/// A line of `--json`. Scripts depend on its names.
#[derive(Serialize)]
struct BlockRecord<'a> {
    event: &'static str,
    number_hash: String,
    number: &'a str,
    scope: &'static str,
    reason: &'a str,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

impl<'a> BlockRecord<'a> {
    fn of(event: &'static str, block: &'a Block) -> Self {
        Self {
            event,
            number_hash: block.number.to_string(),
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

/// Runs a command of `phonegate blocks`.
pub(crate) fn run(command: &BlocksCommand, globals: &Globals) -> Result<Exit, CommandError> {
    let context = Context::load(globals.config())?;
    let (json, log) = (globals.json, || BlockLog::start(&context));
    let reader = match command {
        // Without a store, there is no call.
        BlocksCommand::Add(arguments) if arguments.call.is_none() => StoreReader::open_or_create(&context, json)?,
        _ => StoreReader::open(&context)?,
    };
    reader.run(json, |reader| match command {
        BlocksCommand::List => list::run(reader, json),
        BlocksCommand::Remove(number) => change::remove(number, reader, log, json),
        BlocksCommand::Add(arguments) => change::add(arguments, reader, log, json),
    })
}

/// Formats the end of a block: `until 2026-03-01 09:30:00`.
fn end(block: &Block, zone: &TimeZone) -> String {
    block.until.map_or_else(|| FOREVER.to_owned(), |until| format!("until {}", time::local(until, zone)))
}

/// Returns the scope of a block. A block of an extension covers exactly that number, even if an older version wrote it,
/// which had no scopes.
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
