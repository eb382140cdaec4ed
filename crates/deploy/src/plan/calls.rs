//! The calls' part of a plan: a library with a newer schema migrates their file, so the file is copied first.

use std::path::Path;

use phonegate::config::Loaded;
use phonegate::store;

use crate::change::StateFolder;
use crate::{Change, DeployError};

/// Returns the change that copies the calls if the schema of their file is older than this version's. `file` is the
/// configuration, `state` the planned change of the state folder.
///
/// # Errors
/// If the file cannot be read, or was written by a newer version.
pub(super) fn back_up(loaded: &Loaded, file: &Path, state: Option<&Change>) -> Result<Option<Change>, DeployError> {
    let calls = store::sqlite_file(&loaded.config.store, &loaded.base).map_err(|error| error.in_file(file))?;
    let Some(calls) = calls else { return Ok(None) };
    // Nothing is used from a folder that another account could have written to.
    let is_unsafe = |state: &Change| match state {
        Change::StateFolder { path, state: StateFolder::Unsafe(_) } => calls.starts_with(path),
        _ => false,
    };
    if !calls.exists() || state.is_some_and(is_unsafe) {
        return Ok(None);
    }
    let failed = |problem: String| DeployError::failed(format!("{problem}. Nothing was changed"));
    let version = store::schema_version(&calls).map_err(failed)?;
    if version.is_newer() {
        return Err(DeployError::usage(format!(
            "{} was written by a newer PhoneGate (schema version {}, this one reads up to {}), so this version cannot \
             use its calls. Nothing was changed",
            calls.display(),
            version.file,
            version.newest
        ))
        .hint(
            "restore the copy from before the upgrade with `phonegate revert --restore-calls` from the newer bundle, \
             then run install again",
        ));
    }
    if !version.is_older() {
        return Ok(None);
    }
    let copy = store::new_backup(&calls, version.file).map_err(failed)?;
    Ok(Some(Change::Calls { file: calls, copy, version }))
}
