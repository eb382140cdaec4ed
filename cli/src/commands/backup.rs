//! `phonegate backup`: a copy of the calls, while the service runs.

use std::path::PathBuf;

use clap::Args;
use phonegate::config::StoreKind;
use phonegate::store;
use serde_json::json;

use crate::context::Context;
use crate::error::{CommandError, Exit};
use crate::store_reader::sqlite_file;
use crate::{Globals, output};

const HELP: &str = "\
Writes calls, steps, the block list and the hashes of PINs of a store of type sqlite into a new file. The service goes on
meanwhile. Only whoever runs this, and administrators, may read the file, which tells whom PhoneGate has called: keep it
so. A file that is there is not replaced, so a script that runs every night names a new one each time, and removes old
ones.

Examples:
  phonegate backup calls-2026-03-01.db
  phonegate backup D:\\Backups\\calls-monday.db --json

To restore:
  1. Stop the service (FIMService).
  2. Copy the backup over the file of the store, `phonegate.db` in the state folder or what `store.path` names. Copy it,
     and do not move it: then it gets the permissions of its folder on Windows. On Linux its owner must be the account
     of the service: chown ACCOUNT: phonegate.db; chmod 600 phonegate.db
  3. Delete the files beside it whose names end in -wal and -shm: they belong to the file that was there before.
  4. phonegate check    warns where others may read the file, or the service may not change it
  5. Start the service. Calls that were pending in the backup end at once; blocks and PINs since then are to be set
     again.

--json prints one object: event (written), file, bytes; or event (error), text, see exit codes 1 and 2.

Exit codes:
  0  written
  1  the store cannot be read, or the file is there already or cannot be written
  2  usage or configuration: another store than sqlite among it";

/// The arguments of `phonegate backup`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The file to write, which must not be there yet.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Copies the calls.
pub(crate) fn run(arguments: &Arguments, globals: &Globals) -> Result<Exit, CommandError> {
    let context = Context::load(globals.config())?;
    let of_store = match context.loaded.config.store.kind {
        StoreKind::Sqlite => sqlite_file(&context)?,
        StoreKind::Redis => {
            return Err(CommandError::usage(format!(
                "{}: store.type is redis: Redis keeps the calls, and is backed up by its own means: copy its dump.rdb \
                 after `BGSAVE`, or the folder of its append-only file. docs/store.md says what is in it",
                context.file.display()
            )));
        }
        StoreKind::Memory => {
            return Err(CommandError::usage(format!(
                "{}: store.type is memory: there is nothing to copy, since calls are forgotten with the process. With \
                 \"sqlite\" they are kept",
                context.file.display()
            )));
        }
    };
    let copy = &arguments.file;
    store::back_up(&of_store, copy).map_err(CommandError::failed)?;
    let bytes = copy.metadata().map(|meta| meta.len()).unwrap_or_default();
    match globals.json {
        true => {
            let file = copy.display().to_string();
            output::json_line(&json!({ "event": "written", "file": file, "bytes": bytes }));
        }
        false => output::print(&format!("Written: {} ({bytes} bytes)", copy.display())),
    }
    Ok(Exit::Done)
}
