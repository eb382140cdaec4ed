//! `phonegate backup`: copies the calls while the service runs.

use std::path::PathBuf;

use clap::Args;
use phonegate::store;
use serde_json::json;

use crate::context::Context;
use crate::error::{CommandError, Exit};
use crate::store_reader::sqlite_file;
use crate::{Globals, output};

const HELP: &str = "\
Writes calls, steps, the block list and the hashes of PINs of a store of type sqlite into a new file, while the service
runs. The file contains the numbers of called users, so only the user who runs this and administrators can read it. Keep
it so. An existing file is not replaced: a nightly script must use a new name each time, and remove old files.

Examples:
  phonegate backup calls-2026-03-01.db
  phonegate backup D:\\Backups\\calls-monday.db --json

To restore:
  1. Stop the service (FIMService).
  2. Copy the backup over the file of the store: `phonegate.db` in the state folder, or the one that `store.path` names.
     Do not move it: on Windows, a copy gets the permissions of its folder. On Linux, the account of the service must
     own it: chown ACCOUNT: phonegate.db; chmod 600 phonegate.db
  3. Delete the files with the same name and -wal or -shm at its end: they belong to the replaced file.
  4. Run phonegate check. It warns if other accounts can read the file, or the service cannot change it.
  5. Start the service. Calls that were pending in the backup end at once. Blocks and PINs set since then must be set
     again.

--json prints one object:
  written  file, bytes
  error    kind (usage or failed), text, hints

Exit codes:
  0  written
  1  the store cannot be read, or the file exists already or cannot be written
  2  wrong usage or configuration, or the store is not of type sqlite";

/// The arguments of `phonegate backup`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The file to write, which must not exist yet.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Copies the calls.
pub(crate) fn run(arguments: &Arguments, globals: &Globals) -> Result<Exit, CommandError> {
    let context = Context::load(globals.config())?;
    let calls = sqlite_file(&context)?.ok_or_else(|| has_no_file(&context))?;
    let copy = &arguments.file;
    store::back_up(&calls, copy).map_err(CommandError::failed)?;
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

/// Returns the error for a store that is not a file, with what to do instead.
fn has_no_file(context: &Context) -> CommandError {
    let (store, file) = (&context.loaded.config.store, context.file.display());
    let name = store.type_name();
    match store.is_persistent() {
        true => CommandError::usage(format!("{file}: store.type is {name}, which has no file to copy")).hint(
            "back the server up itself (Redis: copy its dump.rdb after `BGSAVE`, or the folder of its append-only file); \
             see docs/store.md",
        ),
        false => CommandError::usage(format!(
            "{file}: store.type is {name}, so there is nothing to copy: calls are lost when the process ends"
        ))
        .hint("store.type sqlite keeps calls"),
    }
}
