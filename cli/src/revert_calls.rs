//! What `phonegate revert` does with the calls: as an older PhoneGate can read them, by `--restore-calls`.

use std::path::Path;

use phonegate::config::{self, FILE_NAME, StoreKind};
use phonegate::store::{self, Restore};
use serde_json::json;

use crate::error::CommandError;
use crate::output;

/// Maximum number of calls that are listed one by one for a human reader.
const LISTED: usize = 100;

/// What restoring the calls of this installation does.
///
/// # Errors
/// If there is nothing older, or it cannot be read.
pub(crate) fn plan(folder: &Path) -> Result<Restore, CommandError> {
    let path = folder.join(FILE_NAME);
    let loaded = config::load(&path)?;
    if loaded.config.store.kind != StoreKind::Sqlite {
        return Err(CommandError::usage(format!(
            "{}: store.type is not sqlite, so there is no file of calls to restore",
            path.display()
        )));
    }
    let file = store::sqlite_file(&loaded.config.store, &loaded.base).map_err(|error| error.in_file(&path))?;
    if !file.exists() {
        return Err(CommandError::failed(format!(
            "there is no file {}, so there are no calls to restore",
            file.display()
        )));
    }
    let restore = Restore::plan(&file).map_err(CommandError::failed)?;
    restore.ok_or_else(|| {
        CommandError::failed(format!(
            "there is no backup of {} with an older schema, so there is nothing to restore; an older PhoneGate with the \
             same schema version can read the file as it is",
            file.display()
        ))
    })
}

/// What it does to the file, in words.
pub(crate) fn in_words(restore: &Restore) -> String {
    let Restore { version, older, pending, blocks, lost_pins, lost_locks, .. } = restore;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let pins = match lost_pins {
        0 => String::new(),
        lost => format!(". The older schema has no place for PINs: only the newer file keeps {lost}"),
    };
    let locks = match lost_locks {
        0 => String::new(),
        lost => format!(". The older schema has no place for locks: {lost} locked numbers can be called again at once"),
    };
    format!(
        "replace it with {} (schema version {older} instead of {version}) and keep the newer file as {}. Only the newer \
         file has {} calls, and the outcomes of {pending} calls that were pending in the backup. The newer block list \
         is kept ({blocks} numbers){pins}{locks}",
        name(&restore.backup),
        name(&restore.kept),
        restore.calls.len(),
    )
}

/// Lists the calls that only the newer file has.
pub(crate) fn list(restore: &Restore, json: bool) {
    let file = restore.kept.display().to_string();
    for call in restore.calls.iter().take(if json { usize::MAX } else { LISTED }) {
        match json {
            true => output::json_line(
                &json!({ "event": "only_newer", "id": call.id, "number": call.number.as_deref(), "file": file }),
            ),
            false => output::print(&format!(
                "only in the newer file: call {} to {}",
                call.id,
                call.number.as_deref().unwrap_or("no valid number")
            )),
        }
    }
    let more = restore.calls.len().saturating_sub(LISTED);
    if more > 0 && !json {
        output::print(&format!("and {more} more; --json lists all"));
    }
}

/// What a revert says that leaves the calls as they are, if an older PhoneGate could not read them.
pub(crate) fn hint(folder: &Path) -> Option<(std::path::PathBuf, String)> {
    // Without a configuration, nothing is known of calls.
    let restore = plan(folder).ok()?;
    let text = format!(
        "has schema version {}, which an older PhoneGate may be unable to read; phonegate revert --restore-calls \
         restores the copy with version {} and keeps this file",
        restore.version, restore.older
    );
    Some((restore.file, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_says_which_pins_and_locks_it_loses() {
        let kept = Restore {
            file: "phonegate.db".into(),
            version: 5,
            backup: "phonegate.db.v3-backup".into(),
            older: 3,
            kept: "phonegate.db.v5-replaced".into(),
            calls: Vec::new(),
            pending: 0,
            blocks: 6,
            lost_pins: 0,
            lost_locks: 0,
        };
        assert!(in_words(&kept).ends_with("The newer block list is kept (6 numbers)"), "{}", in_words(&kept));
        let lost = in_words(&Restore { lost_pins: 7, lost_locks: 8, ..kept });
        assert!(lost.contains("no place for PINs: only the newer file keeps 7."), "{lost}");
        assert!(lost.ends_with("no place for locks: 8 locked numbers can be called again at once"), "{lost}");
    }
}
