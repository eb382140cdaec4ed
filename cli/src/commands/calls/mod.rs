//! `phonegate calls`: lists calls and their outcomes, and shows one of them step by step.

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
Reads the store of the configuration (sqlite or redis), even while the service runs. Numbers are masked. Calls are kept
for `audit.keep_days`. `phonegate calls` alone is short for `phonegate calls list`.

Examples:
  phonegate calls                                    the last 100, the newest last
  phonegate calls --since 2h                         the calls of the last two hours
  phonegate calls --since 2026-03-01 --until 2026-03-02T12:00
  phonegate calls --number +1 4255551212             to this number; without an extension, to the whole line
  phonegate calls --number 6f9619ff-8b86-d011-b42d-00c04fc964ff    to the number of that call
  phonegate calls --number 0f343b0931126a20f133d67c2b018a3b    to the number of a hash, from --json
  phonegate calls --reason NoKeyPressed --since 7d   the calls that failed for this reason
  phonegate calls --follow                           also shows new calls and outcomes, until Ctrl-C
  phonegate calls --since 90d --csv > calls.csv      for a spreadsheet
  phonegate calls show 6f9619ff-8b86-d011-b42d-00c04fc964ff    one call, step by step

--json prints one object a line, --csv the same fields in columns:
  event     call (not in --csv)
  id        the id from the host; a repeat has the same id and another attempt
  attempt   the number of the attempt of this id, as in the log
  number    the masked number; full_number if `audit.full_numbers` keeps it
  number_hash    the hash of the number, for `phonegate blocks` (not in --csv). It identifies the number to anyone who
            hashes every number: treat it like the number
  node      the machine
  backend   the backend that placed the call, or else the last one that refused it
  started, placed, ringing, answered, ended    times (UTC) of what has happened
  outcome   pending, verified or failed
  state     of a pending call: dialling, ringing or answered; gone: it has not ended, and its process is gone
  reason    of a failed call: the name of the failure reason; also code (of Azure MFA) and text
  judged_by    of a verified call: phonegate, or provider, whose own verdict counted; left out for calls of versions that
            did not record it
  limit     of a call that a limit refused: its key below `limits` in the configuration, such as calls_per_day
  locked_until    end of the lock of the number (UTC), if this call was the denial that caused it (`limits.denials`)
A field that does not apply is left out; in --csv it is empty. With --follow, a pending call is printed again with each
change.
--csv is UTF-8 without a byte order mark: let Excel import it (Data, From Text/CSV, 65001). Attempt and full_number start
with an apostrophe, because a spreadsheet would drop digits. So does each field that a spreadsheet would evaluate: one
that starts with = + - @, a tab or a carriage return, such as a number. In scripts, remove it or use --json.

Exit codes:
  0    done, even if no call matches
  1    the store cannot be read, or does not exist yet; show, and --number ID: there is no such call
  2    wrong usage or configuration
  130  --follow was ended by Ctrl-C";

/// The arguments of `phonegate calls`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<CallsCommand>,
    #[command(flatten)]
    list: list::List,
}

#[derive(Subcommand)]
enum CallsCommand {
    /// Lists calls, the newest last.
    #[command(after_help = HELP)]
    List(list::List),
    /// Shows one call step by step, with all its attempts.
    Show(show::Show),
}

/// Runs a command of `phonegate calls`.
pub(crate) fn run(arguments: &Arguments, globals: &Globals) -> Result<Exit, CommandError> {
    if arguments.command.is_some() && arguments.list != list::List::default() {
        return Err(CommandError::usage("write the options of `calls list` and `calls show` after `list` or `show`"));
    }
    let reader = StoreReader::open(&Context::load(globals.config())?)?;
    reader.run(globals.json, |reader| match &arguments.command {
        Some(CallsCommand::Show(show)) => show::run(show, reader, globals.json),
        Some(CallsCommand::List(list)) => list::run(list, reader, globals.json),
        None => list::run(&arguments.list, reader, globals.json),
    })
}
