//! `phonegate calls list`: lists the calls that match the arguments.

use std::time::SystemTime;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use phonegate::call::{CallId, FailureReason};
use phonegate::store::Query;

use super::follow;
use super::format::CallPrinter;
use crate::error::{CommandError, Exit};
use crate::output::{self, Format};
use crate::store_reader::StoreReader;
use crate::time;

/// The default of `--limit` for a table.
const DEFAULT_LIMIT: usize = 100;

/// The default of `--limit` with `--follow`.
const DEFAULT_LIMIT_OF_FOLLOW: usize = 10;

/// The arguments of `phonegate calls list`.
#[derive(Args, Default, PartialEq)]
pub(super) struct List {
    /// Calls that began at or after this time: 2h or 7d ago, or 2026-03-01, or 2026-03-01T09:30.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    since: Option<SystemTime>,
    /// Calls that began before this time.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    until: Option<SystemTime>,
    /// Calls that failed for this reason.
    #[arg(long, value_name = "NAME", ignore_case = true, value_parser = reasons())]
    pub(super) reason: Option<FailureReason>,
    /// Calls to this number; without an extension, to the whole line. Spaces need no quotation marks. Or the hash of
    /// the number, which --json shows, or the id of a call to it (a GUID with its hyphens).
    #[arg(long, value_name = "NUMBER|HASH|ID", num_args = 1..)]
    number: Option<Vec<String>>,
    /// Calls with this id.
    #[arg(long, value_name = "ID", value_parser = CallId::parse)]
    id: Option<CallId>,
    /// The last N of these calls. [default: 100; with --json or --csv, all; with --follow, 10]
    #[arg(long, value_name = "N", value_parser = limit)]
    limit: Option<usize>,
    /// Prints comma-separated values. Not with --json.
    #[arg(long)]
    csv: bool,
    /// Waits for new calls and for changes of pending ones, until Ctrl-C.
    #[arg(long, conflicts_with = "until")]
    follow: bool,
}

fn limit(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|limit| *limit > 0).ok_or("write a number of at least 1")
}

fn reasons() -> impl TypedValueParser<Value = FailureReason> {
    let names = PossibleValuesParser::new(FailureReason::ALL.map(FailureReason::name));
    names.try_map(|name| {
        let is_it = |reason: &FailureReason| reason.name().eq_ignore_ascii_case(&name);
        FailureReason::ALL.into_iter().find(is_it).ok_or("unknown")
    })
}

/// Lists calls.
pub(super) fn run(list: &List, reader: &StoreReader, json: bool) -> Result<Exit, CommandError> {
    if let (Some(since), Some(until)) = (list.since, list.until) {
        time::in_order(since, until)?;
    }
    let numbers = list.number.as_ref().map(|words| reader.hashes(&words.join(" "))).transpose()?.unwrap_or_default();
    let query =
        Query { since: list.since, until: list.until, id: list.id, numbers, reason: list.reason, ..Query::default() };
    let format = Format::of(json, list.csv)?;
    let limit = list.limit.or(match (list.follow, format) {
        (true, _) => Some(DEFAULT_LIMIT_OF_FOLLOW),
        (_, Format::Table) => Some(DEFAULT_LIMIT),
        _ => None,
    });
    let mut printer = CallPrinter::new(format, reader.longest_backend());
    // Started before the calls are listed, so that no change is missed.
    let follower = list.follow.then(|| follow::Follower::start(reader, &query)).transpose()?;
    let Shown { count, more } = show(reader, &query, limit, &mut printer)?;
    if let Some(follower) = follower {
        return follower.run(reader, printer);
    }
    printer.flush();
    if more && list.limit.is_none() {
        output::note(&format!("These are the last {count}; --limit N shows more, --since TIME selects others."));
    }
    if count == 0 && format == Format::Table {
        output::note("No call matches.");
    }
    Ok(Exit::Done)
}

/// The result of listing calls.
struct Shown {
    /// Number of calls.
    count: usize,
    /// Whether more calls match.
    more: bool,
}

fn show(
    reader: &StoreReader,
    query: &Query,
    limit: Option<usize>,
    printer: &mut CallPrinter,
) -> Result<Shown, CommandError> {
    let mut count = 0;
    let Some(limit) = limit else {
        reader.each(query.clone(), |row| {
            count += 1;
            printer.row(&row);
            Ok(())
        })?;
        return Ok(Shown { count, more: false });
    };
    let newest = Query { limit: limit.saturating_add(1), newest_first: true, ..query.clone() };
    let rows = reader.block_on(reader.store.rows(&newest))?;
    for row in rows.iter().take(limit).rev() {
        printer.row(row);
    }
    Ok(Shown { count: rows.len().min(limit), more: rows.len() > limit })
}
