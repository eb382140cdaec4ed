//! `phonegate blocks`: the numbers that are not called.

use std::path::Path;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use jiff::tz::TimeZone;
use phonegate::call::{CallId, NumberKey};
use phonegate::store::{Block, Query};
use phonegate::telemetry::foreign_text;
use serde::Serialize;

use crate::exit::{Exit, Trouble};
use crate::output;
use crate::setup::Setup;
use crate::store::Opened;
use crate::when;

const HELP: &str = "\
A call to a number on this list fails as Blocked, on every node that shares the store, and rings nobody. A user who
presses the fraud key (`fraud.key`) puts their number on it for `fraud.block_for_days`. `numbers.blocked` in the
configuration is another list, which this command does not show.

Examples:
  phonegate blocks list
  phonegate blocks add +1 4255551212 --reason \"left the company\"       for ever
  phonegate blocks add +1 4255551212x77 --days 7                       this extension alone, for a week
  phonegate blocks add --call 6f9619ff-8b86-d011-b42d-00c04fc964ff     the number of that call
  phonegate blocks add 0f343b0931126a20f133d67c2b018a3b                by the key that `phonegate calls --json` shows
  phonegate blocks remove +1 4255551212
  phonegate blocks remove 0f343b0931126a20f133d67c2b018a3b             by the key that the list shows

Exit codes:
  0  done
  1  remove: the number was not on the list; add: there is no such call; or the store cannot be used
  2  usage or configuration";

const RECORDS: &str = "\
--json prints one object a line: event (block; removed), key, number (masked), reason, since, until (UTC; left out:
for ever). Two more events have a text: warning, and error, after which the exit code is 1 or 2.";

/// Why a number is blocked, where nobody says it.
const USUAL_REASON: &str = "an administrator blocked it";

/// Stands for a number of which nothing but its key is known.
const UNKNOWN: &str = "(not known)";

/// The verbs of `phonegate blocks`.
#[derive(Subcommand)]
#[command(after_help = HELP)]
pub(crate) enum Verb {
    /// Shows the list, the newest first.
    #[command(after_help = RECORDS)]
    List(List),
    /// Puts a number on the list, in place of what is there of it. Without an extension: all of the line.
    #[command(after_help = RECORDS)]
    Add(Add),
    /// Takes a number off the list.
    #[command(after_help = RECORDS)]
    Remove(Remove),
}

/// The arguments of `phonegate blocks list`.
#[derive(Args)]
pub(crate) struct List {
    /// Prints JSON lines.
    #[arg(long)]
    json: bool,
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
    /// Why. Whoever sees the failure of a call reads it, too; in it, telephone numbers are masked.
    #[arg(long, value_name = "TEXT", default_value = USUAL_REASON, value_parser = reason)]
    reason: Box<str>,
    /// For so many days. Absent: for ever.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: Option<u32>,
    /// Prints a JSON line.
    #[arg(long)]
    json: bool,
}

/// A reason as it stands within a sentence, which has a full stop of its own.
fn reason(text: &str) -> Result<Box<str>, &'static str> {
    let text = foreign_text(text);
    match text.trim_end_matches(['.', ' ']) {
        "" => Err("it is empty; say in some words why, or leave --reason out"),
        reason => Ok(reason.into()),
    }
}

/// The arguments of `phonegate blocks remove`.
#[derive(Args)]
pub(crate) struct Remove {
    /// The number, or its key.
    #[arg(required = true, value_name = "NUMBER|KEY")]
    number: Vec<String>,
    /// Prints a JSON line.
    #[arg(long)]
    json: bool,
}

impl Verb {
    pub(crate) fn is_json(&self) -> bool {
        match self {
            Self::List(arguments) => arguments.json,
            Self::Add(arguments) => arguments.json,
            Self::Remove(arguments) => arguments.json,
        }
    }
}

/// A line of `--json`. Scripts depend on its names.
#[derive(Serialize)]
struct Record<'a> {
    event: &'static str,
    key: String,
    number: &'a str,
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
            reason: &block.reason,
            since: when::utc(block.since),
            until: block.until.map(when::utc),
        }
    }
}

/// Does what the verb says.
pub(crate) fn run(verb: &Verb, config: Option<&Path>) -> Result<Exit, Trouble> {
    let opened = Opened::open(Setup::load(config)?)?;
    match verb {
        Verb::List(arguments) => list(arguments, &opened),
        Verb::Add(arguments) => add(arguments, &opened),
        Verb::Remove(arguments) => remove(arguments, &opened),
    }
}

fn list(arguments: &List, opened: &Opened) -> Result<Exit, Trouble> {
    let blocks = opened.ask(opened.store.blocks())?;
    if arguments.json {
        blocks.iter().for_each(|block| output::record(&Record::of("block", block)));
    } else if blocks.is_empty() {
        output::remark("No number is blocked.");
    } else {
        output::result(&table(&blocks).to_string());
    }
    Ok(Exit::Done)
}

fn table(blocks: &[Block]) -> Table {
    let zone = TimeZone::system();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["NUMBER", "SINCE", "UNTIL", "KEY", "REASON"]);
    for block in blocks {
        table.add_row([
            &*block.masked,
            &when::local(block.since, &zone),
            &until(block, &zone),
            &block.number.to_string(),
            &block.reason,
        ]);
    }
    table
}

fn until(block: &Block, zone: &TimeZone) -> String {
    block.until.map_or_else(|| "for ever".to_owned(), |until| when::local(until, zone))
}

fn add(arguments: &Add, opened: &Opened) -> Result<Exit, Trouble> {
    let text = arguments.number.join(" ");
    let (number, masked) = match (arguments.call, NumberKey::parse(text.trim())) {
        (Some(id), _) => of_call(id, opened)?,
        (None, Some(key)) => (key, of_key(key, arguments.json, opened)?),
        (None, None) => {
            let number = opened.number(&text)?;
            (number.key(), number.to_string().into())
        }
    };
    let since = SystemTime::now();
    let until = match arguments.days {
        None => None,
        Some(days) => Some(
            since
                .checked_add(Duration::from_secs(u64::from(days) * 24 * 60 * 60))
                .ok_or_else(|| Trouble::usage("so many days are beyond this machine's calendar"))?,
        ),
    };
    let block = Block { number, masked, reason: arguments.reason.clone(), since, until };
    opened.ask(opened.store.block(&block))?;
    if arguments.json {
        output::record(&Record::of("block", &block));
    } else {
        let until = match block.until {
            None => "for ever".to_owned(),
            Some(until) => format!("until {}", when::local(until, &TimeZone::system())),
        };
        output::result(&format!("Blocked {} {until}: {}", block.masked, block.reason));
    }
    Ok(Exit::Done)
}

/// The number of a call, which the administrator may know by its masked form alone.
fn of_call(id: CallId, opened: &Opened) -> Result<(NumberKey, Box<str>), Trouble> {
    let newest = Query { id: Some(id), most: 1, newest_first: true, ..Query::default() };
    let row = opened.ask(opened.store.rows(&newest))?.into_iter().next();
    let row = row.ok_or_else(|| Trouble::failed(format!("no call {id} is known; `phonegate calls` lists them")))?;
    match (row.number_key, row.number) {
        (Some(key), Some(masked)) => Ok((key, masked)),
        _ => Err(Trouble::failed(format!("call {id} was to no valid number"))),
    }
}

/// The masked number of a key, as far as it was called or is blocked.
fn of_key(key: NumberKey, json: bool, opened: &Opened) -> Result<Box<str>, Trouble> {
    let newest = Query { number: Some(key), most: 1, newest_first: true, ..Query::default() };
    if let Some(row) = opened.ask(opened.store.rows(&newest))?.into_iter().next()
        && let Some(masked) = row.number
    {
        // The key of a line is also found by a call to one of its extensions.
        return Ok(match row.number_key == Some(key) {
            true => masked,
            false => masked.split('x').next().unwrap_or_default().into(),
        });
    }
    let blocks = opened.ask(opened.store.blocks())?;
    if let Some(block) = blocks.into_iter().find(|block| block.number == key) {
        return Ok(block.masked);
    }
    output::warning(json, "no call to a number of this key is kept; is it the right one?");
    Ok(UNKNOWN.into())
}

fn remove(arguments: &Remove, opened: &Opened) -> Result<Exit, Trouble> {
    let key = opened.key(&arguments.number.join(" "))?;
    let blocks = opened.ask(opened.store.blocks())?;
    let block = blocks.iter().find(|block| block.number == key);
    let is_removed = opened.ask(opened.store.unblock(key))?;
    let Some(block) = block.filter(|_| is_removed) else {
        return Err(Trouble::failed(
            "that number is not on the list; `phonegate blocks list` shows it (a block with an extension and one \
             without are two), and `numbers.blocked` in the configuration is a list of its own",
        ));
    };
    match arguments.json {
        true => output::record(&Record::of("removed", block)),
        false => output::result(&format!("{} is not blocked any more.", block.masked)),
    }
    Ok(Exit::Done)
}
