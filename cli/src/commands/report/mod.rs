//! `phonegate report`: what became of the calls, on one page to look at.

mod chart;
mod figures;
mod findings;
mod format;
mod limits;
mod limits_page;
mod page;

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
use figures::Figures;

const HELP: &str = "\
Writes one page that needs nothing else: no network, no script. Open it in a browser, print it, send it. It has figures
of all calls, and masked numbers of those that were reported, refused or locked most, each with the id of the newest
such call, by which the commands find it; the page reveals no whole number. Only its owner may read the file. An
existing file is replaced; FILE is - for stdout. Days and hours are those of this machine's time zone, and charts begin
with the first call that is kept.

Examples:
  phonegate report --html report.html                          the last 30 days
  phonegate report --html march.html --since 2026-03-01 --until 2026-04-01
  phonegate report --html - | ssh web 'cat > report.html'

--json prints one object: event (written), file, calls, verified; or event (error), text, see exit codes 1 and 2.

Exit codes:
  0  written
  1  the store cannot be read, or is not there yet; or the file cannot be written
  2  usage or configuration";

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
        return Err(CommandError::usage("--json prints to stdout, and so does --html -; name a file"));
    }
    let reader = StoreReader::open(&Context::load(globals.config())?)?;
    let zone = TimeZone::system();
    let now = SystemTime::now();
    let until = arguments.until.unwrap_or(now);
    time::in_order(arguments.since, until)?;
    // What has not come yet is no time without calls.
    let until = if arguments.since < now { until.min(now) } else { until };
    let beyond = || CommandError::usage("--since and --until are beyond this machine's calendar");
    let from = time::zoned(arguments.since, &zone).ok_or_else(beyond)?;
    let to = time::zoned(until, &zone).ok_or_else(beyond)?;
    let spinner = Spinner::start(json);
    spinner.set_message("reading calls");
    // A call that begins while this reads is in the next report.
    let all = Query { since: Some(arguments.since), until: Some(until), ..Query::default() };
    let first = reader.block_on(reader.store.rows(&Query { limit: 1, ..all.clone() }))?;
    let first = first.first().and_then(|row| time::zoned(row.started, &zone));
    let mut figures = Figures::new(from, to, first.as_ref());
    reader.each(all, |row| {
        figures.count(&row);
        Ok(())
    })?;
    let blocks = reader.block_on(reader.store.blocks())?;
    // A number may have a block of each scope.
    figures.blocked_now = blocks.iter().map(|block| block.number).collect::<HashSet<_>>().len() as u64;
    figures.limits.locked_now = reader.block_on(reader.store.locks())?.len() as u64;
    drop(spinner);
    let file = arguments.html.display();
    target
        .write(&page::page(&figures, &ZonedDateTime::now()))
        .map_err(|error| cannot_write(&arguments.html, &error))?;
    let (calls, verified) = (figures.total(), figures.verified());
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

/// Where the page goes.
#[derive(PartialEq, Eq)]
enum Target {
    Stdout,
    /// A file, or none yet; never a link, since what takes a file's place would take the link's.
    File(PathBuf),
}

impl Target {
    fn of(file: &Path) -> Result<Self, CommandError> {
        if file.as_os_str() == "-" {
            return Ok(Self::Stdout);
        }
        let strange = |what| {
            let file = file.display();
            CommandError::failed(format!(
                "{file} is {what}, which a report does not replace; name a file, or - for stdout"
            ))
        };
        match (file.canonicalize(), file.symlink_metadata()) {
            (Ok(there), _) if there.is_file() => Ok(Self::File(there)),
            (Ok(there), _) if there.is_dir() => Err(strange("a folder")),
            (Ok(_), _) => Err(strange("a device or a pipe")),
            (Err(_), Err(error)) if error.kind() == ErrorKind::NotFound => Ok(Self::File(file.to_owned())),
            (Err(_), Ok(_)) => Err(strange("a link that leads to nothing")),
            (Err(error), Err(_)) => Err(cannot_write(file, &error)),
        }
    }

    /// All of it, or nothing: a page that somebody is looking at is never half of one.
    fn write(&self, page: &str) -> io::Result<()> {
        let file = match self {
            Self::Stdout => return output::print_all(page),
            Self::File(file) => file,
        };
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let private = |path: &Path| platform::create_private_file(path, Grant::CurrentUser);
        let (mut part, name) = tempfile::Builder::new().make_in(folder, private)?.into_parts();
        part.write_all(page.as_bytes())?;
        // Windows renames no file that is open.
        drop(part);
        name.persist(file).map_err(|error| error.error)
    }
}

fn cannot_write(file: &Path, error: &io::Error) -> CommandError {
    let file = file.display();
    CommandError::failed(format!("cannot write {file}: {error}; name a file in a folder that you may write to"))
}

#[cfg(test)]
mod tests;
