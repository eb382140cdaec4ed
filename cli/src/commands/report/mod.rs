//! `phonegate report`: writes a page of statistics about calls.

mod chart;
mod findings;
mod format;
mod limits;
mod limits_page;
mod page;
mod statistics;

use std::collections::HashSet;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use jiff::ZonedDateTime;
use jiff::tz::TimeZone;
use phonegate::platform::{self, Grant};
use phonegate::store::Query;
use serde_json::json;

use crate::Globals;
use crate::context::Context;
use crate::error::{CommandError, Exit};
use crate::output::{self, Spinner};
use crate::store_reader::StoreReader;
use crate::time;
use statistics::Statistics;

const HELP: &str = "\
Writes one HTML page that needs neither network nor scripts: open it in a browser, print it, send it. It has statistics
of all calls, and the masked numbers that were reported, refused or locked most often, each with the id of its newest
such call, by which other commands find the number. Only the owner of the file may read it. An existing file is
replaced. FILE - is stdout, not with --json. Days and hours are those of this machine's time zone. Charts start with the
first call in the store.

Examples:
  phonegate report --html report.html                          the last 30 days
  phonegate report --html march.html --since 2026-03-01 --until 2026-04-01
  phonegate report --html - | ssh web 'cat > report.html'

--json prints one object: event (written), file, calls, verified.

Exit codes:
  0  written
  1  the store cannot be read, or does not exist yet; or the file cannot be written
  2  wrong usage or configuration";

/// The arguments of `phonegate report`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The file to write, or - for stdout.
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
    /// Calls that began at or after this time: 30d ago, or 2026-03-01.
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = time::parse)]
    since: SystemTime,
    /// Calls that began before this time. [default: now]
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    until: Option<SystemTime>,
}

/// Writes the report.
pub(crate) fn run(arguments: &Arguments, globals: &Globals) -> Result<Exit, CommandError> {
    let json = globals.json;
    let target = Target::of(&arguments.html)?;
    if json && target == Target::Stdout {
        return Err(CommandError::usage("--json and --html - both print to stdout").hint("name a file by --html FILE"));
    }
    let reader = StoreReader::open(&Context::load(globals.config())?)?;
    reader.run(json, |reader| write(arguments, reader, target, json))
}

fn write(arguments: &Arguments, reader: &StoreReader, target: Target, json: bool) -> Result<Exit, CommandError> {
    let zone = TimeZone::system();
    let now = SystemTime::now();
    let until = arguments.until.unwrap_or(now);
    time::in_order(arguments.since, until)?;
    // A time in the future would be shown as a time without calls.
    let until = if arguments.since < now { until.min(now) } else { until };
    let beyond = || CommandError::usage("--since or --until is outside of the supported years");
    let from = time::zoned(arguments.since, &zone).ok_or_else(beyond)?;
    let to = time::zoned(until, &zone).ok_or_else(beyond)?;
    let spinner = Spinner::start(json);
    spinner.set_message("reading calls");
    // A call that begins meanwhile is left to the next report.
    let all = Query { since: Some(arguments.since), until: Some(until), ..Query::default() };
    let first = reader.block_on(reader.store.rows(&Query { limit: 1, ..all.clone() }))?;
    let first = first.first().and_then(|row| time::zoned(row.started, &zone));
    let mut stats = Statistics::new(from, to, first.as_ref());
    reader.each(all, |row| {
        stats.count(&row);
        Ok(())
    })?;
    let blocks = reader.block_on(reader.store.blocks())?;
    // A number may have a block of each scope.
    stats.blocked_now = blocks.iter().map(|block| block.number).collect::<HashSet<_>>().len() as u64;
    stats.limits.locked_now = reader.block_on(reader.store.locks())?.len() as u64;
    drop(spinner);
    let file = arguments.html.display();
    target.write(&page::page(&stats, &ZonedDateTime::now())).map_err(|error| cannot_write(&arguments.html, &error))?;
    let (calls, verified) = (stats.total(), stats.verified());
    match (target, json) {
        (Target::Stdout, _) => {}
        (_, true) => {
            let file = file.to_string();
            output::json_line(&json!({ "event": "written", "file": file, "calls": calls, "verified": verified }));
        }
        (_, false) => output::print(&format!("Written: {file} ({})", format::calls(calls))),
    }
    Ok(Exit::Done)
}

/// The destination of the page.
#[derive(PartialEq, Eq)]
enum Target {
    Stdout,
    /// A regular file, or a path without a file. Links are resolved, so that the file is replaced and not the link.
    File(PathBuf),
}

impl Target {
    fn of(file: &Path) -> Result<Self, CommandError> {
        if file.as_os_str() == "-" {
            return Ok(Self::Stdout);
        }
        let refused = |what| {
            let file = file.display();
            CommandError::failed(format!("{file} is {what}, which a report does not replace"))
                .hint("name a file, or - for stdout")
        };
        match (file.canonicalize(), file.symlink_metadata()) {
            (Ok(there), _) if there.is_file() => Ok(Self::File(there)),
            (Ok(there), _) if there.is_dir() => Err(refused("a folder")),
            (Ok(_), _) => Err(refused("a device or a pipe")),
            (Err(_), Err(error)) if error.kind() == ErrorKind::NotFound => Ok(Self::File(file.to_owned())),
            (Err(_), Ok(_)) => Err(refused("a link to a missing file")),
            (Err(error), Err(_)) => Err(cannot_write(file, &error)),
        }
    }

    /// Writes the whole page, or nothing: a reader never sees an incomplete page.
    fn write(&self, page: &str) -> io::Result<()> {
        let file = match self {
            Self::Stdout => return output::print_all(page),
            Self::File(file) => file,
        };
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let private = |path: &Path| platform::create_private_file(path, Grant::CurrentUser);
        let (mut part, name) = tempfile::Builder::new().make_in(folder, private)?.into_parts();
        part.write_all(page.as_bytes())?;
        // Windows cannot rename an open file.
        drop(part);
        name.persist(file).map_err(|error| error.error)
    }
}

fn cannot_write(file: &Path, error: &io::Error) -> CommandError {
    let file = file.display();
    CommandError::failed(format!("cannot write {file}: {error}")).hint("name a file in a folder that you may write to")
}

#[cfg(test)]
mod tests;
