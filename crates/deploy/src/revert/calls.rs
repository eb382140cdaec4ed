//! The calls' part of a reversal: restores the file that an older PhoneGate can read.

use std::path::Path;

use phonegate::config::{self, FILE_NAME};
use phonegate::store::{self, Restore};

use super::outcome::Left;
use crate::DeployError;

/// Plans the restoration of the calls of this installation.
///
/// # Errors
/// If there is no older file, or it cannot be read.
pub(super) fn plan(folder: &Path) -> Result<Restore, DeployError> {
    let path = folder.join(FILE_NAME);
    let loaded = config::load(&path, &phonegate::TYPES)?;
    let file = store::sqlite_file(&loaded.config.store, &loaded.base).map_err(|error| error.in_file(&path))?;
    let Some(file) = file else {
        return Err(DeployError::usage(format!(
            "{}: store.type is not sqlite, so there is no file of calls to restore",
            path.display()
        )));
    };
    if !file.exists() {
        return Err(DeployError::failed(format!(
            "there is no file {}, so there are no calls to restore",
            file.display()
        )));
    }
    let restore = Restore::plan(&file).map_err(DeployError::failed)?;
    restore.ok_or_else(|| {
        DeployError::failed(format!(
            "there is no backup of {} with an older schema, so there is nothing to restore",
            file.display()
        ))
        .hint("an older PhoneGate with the same schema version can read the file as it is")
    })
}

/// Describes what restoring does to the file.
pub(super) fn description(restore: &Restore) -> String {
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

/// Returns the file of calls if an older PhoneGate might be unable to read it, with how to restore the older one.
pub(super) fn newer_calls(folder: &Path) -> Option<Left> {
    // Without a readable configuration, the file of calls is unknown.
    let restore = plan(folder).ok()?;
    let reason = format!(
        "has schema version {}, which an older PhoneGate may be unable to read; phonegate revert --restore-calls \
         restores the copy with version {} and keeps this file",
        restore.version, restore.older
    );
    Some(Left { path: restore.file, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_reports_the_pins_and_locks_that_it_loses() {
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
        assert!(description(&kept).ends_with("The newer block list is kept (6 numbers)"), "{}", description(&kept));
        let lost = description(&Restore { lost_pins: 7, lost_locks: 8, ..kept });
        assert!(lost.contains("no place for PINs: only the newer file keeps 7."), "{lost}");
        assert!(lost.ends_with("no place for locks: 8 locked numbers can be called again at once"), "{lost}");
    }
}
