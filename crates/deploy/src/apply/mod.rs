//! Applies a plan: makes all of its changes or none.

pub(crate) mod files;
mod lock;
mod step;

use std::io;
use std::path::{Path, PathBuf};

use phonegate::platform::Account;

use crate::plan::Plan;
use crate::{Change, DeployError, Progress, failpoint, service};
use files::{Undo, remove_leftovers};
pub(crate) use lock::Lock;

/// The result of an installation.
pub struct Applied {
    /// Replaced files that another process still uses. A later installation removes them.
    pub in_use: Vec<PathBuf>,
}

/// Makes the changes of a plan. If one fails, those before it are undone. With `restarts`, MIM's service is restarted
/// afterwards.
///
/// # Errors
/// If a change failed, or the service cannot be restarted after the changes were made. The message says which.
pub fn apply(plan: &Plan, restarts: bool, progress: &mut impl Progress) -> Result<Applied, DeployError> {
    let lock = Lock::take(&plan.folder)?;
    make_all(&plan.changes, plan.account.as_ref(), |change| {
        progress.changed(change.step(), change.path(), &change.description());
    })?;
    if restarts {
        service::restart(progress).map_err(|why| {
            DeployError::failed(format!("PhoneGate is installed, but MIM has not loaded it yet: {why}"))
        })?;
    }
    // After the restart, which releases the replaced files. Even if nothing changed: an earlier installation may have
    // been interrupted.
    let in_use = remove_leftovers(&plan.folder);
    drop(lock);
    Ok(Applied { in_use })
}

/// Makes all changes, or none. `done` is called after each.
pub(crate) fn make_all(
    changes: &[Change],
    account: Option<&Account>,
    mut done: impl FnMut(&Change),
) -> Result<(), DeployError> {
    let problem = |change: &Change, error: io::Error| format!("{}: {error}", change.path().display());
    let mut staged = Vec::new();
    for change in changes {
        let one = failpoint::hit("stage", change.step())
            .and_then(|()| step::stage(change, account))
            .map_err(|error| DeployError::failed(format!("{}. Nothing was changed", problem(change, error))))?;
        staged.push(one);
    }
    let mut undos: Vec<(&Change, Undo)> = Vec::new();
    for (change, staged) in changes.iter().zip(&staged) {
        match failpoint::hit("make", change.step()).and_then(|()| step::make(change, staged.as_ref(), account)) {
            Ok(undo) => undos.push((change, undo)),
            Err(error) => return Err(undo_all(undos, problem(change, error))),
        }
        done(change);
    }
    Ok(())
}

/// Replaces `MfaSettings.xml`, and backs the present one up.
pub(crate) fn replace_settings(path: &Path, before: &[u8], after: &[u8], backup: &Path) -> Result<(), DeployError> {
    let (path, before) = (path.to_owned(), before.to_owned());
    let keep = Change::Backup { path: backup.to_owned(), contents: before.clone(), original: path.clone() };
    make_all(&[keep, Change::Settings { path, before, after: after.to_owned() }], None, |_| {})
}

/// Undoes the changes, the last one first, and returns the error that reports the `problem` and the outcome.
fn undo_all(undos: Vec<(&Change, Undo)>, problem: String) -> DeployError {
    let mut left = Vec::new();
    for (change, undo) in undos.into_iter().rev() {
        if let Err(error) = undo() {
            left.push(format!("{} ({error})", change.path().display()));
        }
    }
    match left.as_slice() {
        [] => DeployError::failed(format!("{problem}. The changes were undone")),
        left => DeployError::failed(format!("{problem}. These changes could not be undone: {}", left.join(", ")))
            .hint("run install again"),
    }
}
