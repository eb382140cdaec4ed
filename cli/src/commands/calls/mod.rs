//! `phonegate calls`: which calls there were, what became of them, and the story of one.

mod follow;
mod format;
mod list;
mod show;

use clap::{Args, Subcommand};

use crate::Globals;
use crate::context::Context;
use crate::error::{CommandError, Exit};
use crate::store_reader::StoreReader;

const HELP: &str = "\
Reads the store of the configuration (sqlite or redis), while the service runs, too. Numbers are masked; calls are kept
for `audit.keep_days`.

Examples:
  phonegate calls                                    the last 100, the newest at the bottom
  phonegate calls --since 2h                         those of the last two hours
  phonegate calls --since 2026-03-01 --until 2026-03-02T12:00
  phonegate calls --number +1 4255551212             to this number; without an extension: to the whole line
  phonegate calls --number 6f9619ff-8b86-d011-b42d-00c04fc964ff    to the number of that call
  phonegate calls --number 0f343b0931126a20f133d67c2b018a3b    to the number of that key, which --json shows
  phonegate calls --reason NoKeyPressed --since 7d   those that failed so
  phonegate calls --follow                           shows new calls and their ends as they come, until Ctrl-C
  phonegate calls --since 90d --csv > calls.csv      for a spreadsheet
  phonegate calls show 6f9619ff-8b86-d011-b42d-00c04fc964ff    what happened in one call, step by step

--json prints one object a line, --csv the same fields in columns:
  event     call (not in --csv)
  id        the host's id; a repeat has the same id and another attempt
  attempt   which attempt of this id, as in the log
  number    masked; full_number where `audit.full_numbers` keeps it
  key       by which `phonegate blocks` knows the number (not in --csv). It tells the number to whoever tries every one:
            treat it like the number, and do not hand it on
  node      the machine; backend: who placed the call, or else was the last to refuse it
  started, placed, ringing, answered, ended    times in UTC, as far as the call came
  outcome   pending, verified or failed
  state     of a pending one: dialling, ringing or answered; gone: it has not ended, since its process is gone
  reason    of a failed one: a name from the documentation; code (Azure MFA's); text
  judged_by    of a verified one: phonegate, or provider, whose own verdict counted; absent for calls of versions that did
            not record it
  limit     of a failed one that a limit refused: its key below `limits` in the configuration, such as calls_per_day
  locked_until    when the lock of the number ends (UTC), if this call was the denial that caused it (`limits.denials`)
A field that does not apply is left out, in --csv empty. With --follow a call that was pending comes again with each
change. Two more events have a text: warning, and error, after which the exit code is 1 or 2.
--csv is UTF-8 without a byte order mark: let Excel import it (Data, From Text/CSV, 65001). An apostrophe stands before
attempt and full_number, of which a spreadsheet would lose digits, and before each field that it would evaluate: one
that starts with = + - @, a tab or a carriage return, as each number does. In scripts, remove it or use --json.

Exit codes:
  0    done, also where there was no such call
  1    the store cannot be read, or is not there yet; show, and --number ID: there is no such call
  2    usage or configuration
  130  --follow was ended by Ctrl-C";

/// The arguments of `phonegate calls`.
#[derive(Args)]
#[command(after_help = HELP, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<CallsCommand>,
    #[command(flatten)]
    list: list::List,
}

#[derive(Subcommand)]
enum CallsCommand {
    /// Tells what happened in the call of one id, step by step. With all attempts, where it was repeated.
    Show(show::Show),
}

/// Shows calls.
pub(crate) fn run(arguments: &Arguments, globals: &Globals) -> Result<Exit, CommandError> {
    let reader = StoreReader::open(&Context::load(globals.config())?)?;
    match &arguments.command {
        Some(CallsCommand::Show(show)) => show::run(show, &reader, globals.json),
        None => list::run(&arguments.list, &reader, globals.json),
    }
}
