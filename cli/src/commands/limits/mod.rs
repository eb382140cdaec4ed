//! `phonegate limits`: lists locked numbers and the use of the daily limits, and unlocks numbers.

mod list;
mod unlock;

use clap::Subcommand;

use crate::Globals;
use crate::audit_log::AuditLog;
use crate::commands::stored_number::StoredNumber;
use crate::context::Context;
use crate::error::{CommandError, Exit};
use crate::store_reader::StoreReader;

const HELP: &str = "\
A number is locked if too many of its calls are not approved: `limits.denials` says how many, within which time, and how
long the first lock lasts. Each further lock lasts twice as long as the one before, up to 24 hours, until a call is
approved or the number is unlocked. During a lock, calls to the number fail as Throttled, on every node that shares the
store, and ring no phone. A number with an extension has a lock of its own.

Someone who knows a user's password may cause such calls: before you unlock, ask the user whether the calls were theirs.
`phonegate calls --number ID` shows them.

Examples:
  phonegate limits list                                            locked numbers, and the use of the daily limits
  phonegate limits unlock +1 4255551212
  phonegate limits unlock 6f9619ff-8b86-d011-b42d-00c04fc964ff     the number of that call, from an event
  phonegate limits unlock 0f343b0931126a20f133d67c2b018a3b         the number of a hash, from the list

Each unlock is a line in phonegate-tool.log, in `log.directory`, which says who made it. On Windows, it is also event
1009 in the Event Log.

Exit codes:
  0  done; unlock: also if the number was not locked
  1  unlock: there is no such call; or the store cannot be used, or does not exist yet
  2  wrong usage or configuration";

const LIST: &str = "\
A day is the last 24 hours. A call may count for up to ten minutes longer. Refused calls do not count.

--json prints one object a line:
  lock   of a number that is locked now: number_hash, number (masked), since, until (UTC), locks (how many in a row,
         this one included)
  usage  of a daily limit: limit (calls_per_day or by_country), country (of by_country), calls, cap (left out: no cap)
A hash identifies the number to anyone who hashes every number: treat it like the number.";

const UNLOCK: &str = "\
Ends the lock, and resets the counts of denials and locks: the next lock is as short as the first one.

--json prints one object: event (unlocked), number_hash, number (masked), was_locked, and the lock's since, until (UTC)
and locks.

Exit codes:
  0  done, also if the number was not locked
  1  there is no such call, or the store cannot be used
  2  wrong usage or configuration";

/// The commands of `phonegate limits`.
#[derive(Subcommand)]
#[command(after_help = HELP)]
pub(crate) enum LimitsCommand {
    /// Lists the numbers that are locked now, and how many calls count for the daily limits.
    #[command(after_help = LIST)]
    List,
    /// Ends the lock of a number.
    #[command(after_help = UNLOCK)]
    Unlock(StoredNumber),
}

/// Runs a command of `phonegate limits`.
pub(crate) fn run(command: &LimitsCommand, globals: &Globals) -> Result<Exit, CommandError> {
    let context = Context::load(globals.config())?;
    let reader = StoreReader::open(&context)?;
    reader.run(globals.json, |reader| match command {
        LimitsCommand::List => list::run(&context.loaded.config.limits, reader, globals.json),
        LimitsCommand::Unlock(number) => unlock::run(number, reader, || AuditLog::start(&context), globals.json),
    })
}
