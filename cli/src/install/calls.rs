//! The calls of an earlier version: they are copied before a library is put in place that changes the schema of their file.

use std::path::Path;

use phonegate::config::{Loaded, StoreKind};
use phonegate::store;

use super::steps::{Change, StateFolder};
use crate::error::CommandError;

/// Backs the calls up if the schema of their file is older than this version's.
///
/// # Errors
/// If the file cannot be read, or this version is too old for it.
pub(super) fn back_up(loaded: &Loaded, file: &Path, state: Option<&Change>) -> Result<Option<Change>, CommandError> {
    if loaded.config.store.kind != StoreKind::Sqlite {
        return Ok(None);
    }
    let calls = store::sqlite_file(&loaded.config.store, &loaded.base).map_err(|error| error.in_file(file))?;
    // Use nothing from a folder that another account could have written to.
    let is_unsafe = |state: &Change| match state {
        Change::StateFolder { path, state: StateFolder::Unsafe(_) } => calls.starts_with(path),
        _ => false,
    };
    if !calls.exists() || state.is_some_and(is_unsafe) {
        return Ok(None);
    }
    let failed = |problem: String| CommandError::failed(format!("{problem}. Nothing was changed"));
    let version = store::schema_version(&calls).map_err(failed)?;
    if version.is_newer() {
        return Err(CommandError::usage(format!(
            "{} was written by a newer PhoneGate (schema version {}, this one reads up to {}), so this version \
             cannot use its calls. Restore the copy from before the upgrade with `phonegate revert --restore-calls` from the newer bundle, \
             then run install again. Nothing was changed",
            calls.display(),
            version.file,
            version.newest
        )));
    }
    if !version.is_older() {
        return Ok(None);
    }
    let copy = store::new_backup(&calls, version.file).map_err(failed)?;
    Ok(Some(Change::Calls { file: calls, copy, version }))
}
