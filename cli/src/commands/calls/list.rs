//! Which calls are asked for, and listing them.

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

/// So many are shown to a human reader who names no limit, and so many before those that are followed.
const USUAL_LIMIT: usize = 100;
const BEFORE_FOLLOWING: usize = 10;

/// Which calls, and how they are shown.
#[derive(Args)]
pub(super) struct List {
    /// Those that began at or after this time: 2h or 7d ago, or 2026-03-01, or 2026-03-01T09:30.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    since: Option<SystemTime>,
    /// Those that began before this time.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    until: Option<SystemTime>,
    /// Those that failed for this reason.
    #[arg(long, value_name = "NAME", ignore_case = true, value_parser = reasons())]
    pub(super) reason: Option<FailureReason>,
    /// Those to this number, in which spaces need no quotation marks; without an extension, to the whole line. Or by the
    /// key that --json shows, or by the id of a call to it (a GUID with its hyphens).
    #[arg(long, value_name = "NUMBER|KEY|ID", num_args = 1..)]
    number: Option<Vec<String>>,
    /// Those of this id.
    #[arg(long, value_name = "ID", value_parser = CallId::parse)]
    id: Option<CallId>,
    /// The last N of them. [default: 100; all with --json or --csv; 10 before those that --follow waits for]
    #[arg(long, value_name = "N", value_parser = limit)]
    limit: Option<usize>,
    /// Prints comma-separated values.
    #[arg(long)]
    csv: bool,
    /// Goes on with new calls, and with changes of pending ones, until Ctrl-C.
    #[arg(long, conflicts_with = "until")]
    follow: bool,
}

fn limit(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|limit| *limit > 0).ok_or("write how many: 1 or more")
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
    let numbers = list.number.as_ref().map(|words| reader.keys(&words.join(" "))).transpose()?.unwrap_or_default();
    let query =
        Query { since: list.since, until: list.until, id: list.id, numbers, reason: list.reason, ..Query::default() };
    let format = Format::of(json, list.csv)?;
    let limit = list.limit.or(match (list.follow, format) {
        (true, _) => Some(BEFORE_FOLLOWING),
        (_, Format::Table) => Some(USUAL_LIMIT),
        _ => None,
    });
    let mut printer = CallPrinter::new(format, reader.longest_backend());
    // Asked before what is shown, so that nothing falls between.
    let follower = list.follow.then(|| follow::Follower::start(reader, &query)).transpose()?;
    let Shown { count, more } = show(reader, &query, limit, &mut printer)?;
    if let Some(follower) = follower {
        return follower.run(reader, printer);
    }
    printer.flush();
    if more && list.limit.is_none() {
        output::note(&format!("These are the last {count}; --limit N shows more, --since TIME others."));
    }
    if count == 0 && format == Format::Table {
        output::note("There is no such call.");
    }
    Ok(Exit::Done)
}

/// How many were shown, and whether there were more.
struct Shown {
    count: usize,
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
