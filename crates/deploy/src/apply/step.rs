//! Stages, makes and undoes one change.

use std::fs;
use std::io;
use std::path::Path;

use phonegate::platform::{self, Account, Grant, SavedAccess};
use phonegate::store;
use zeroize::Zeroizing;

use super::files::{Access, Staged, Undo, write_new};
use crate::change::{FileKind, StateFolder};
use crate::path::unused_path;
use crate::{Change, event_source};

/// Prepares a change without any visible effect: writes its file under another name.
pub(super) fn stage(change: &Change, account: Option<&Account>) -> io::Result<Option<Staged>> {
    match change {
        Change::File { path, contents, kind, .. } => {
            let access = match kind {
                FileKind::Private => Access::Private(account.into()),
                FileKind::Program => Access::Program,
                FileKind::Shared => Access::OfFolder,
            };
            Staged::write(path, contents, &access).map(Some)
        }
        // The copy gets its permissions when it is created, before it has contents.
        Change::Protect { path, .. } => {
            Staged::write(path, &Zeroizing::new(fs::read(path)?), &Access::Private(account.into())).map(Some)
        }
        Change::Settings { path, after, .. } => Staged::write(path, after, &Access::Like(path)).map(Some),
        Change::StateFolder { .. } | Change::Calls { .. } | Change::EventSource { .. } | Change::Backup { .. } => {
            Ok(None)
        }
    }
}

/// Makes a change, and returns how to undo it.
pub(super) fn make(change: &Change, staged: Option<&Staged>, account: Option<&Account>) -> io::Result<Undo> {
    let staged = || staged.ok_or_else(|| io::Error::other("the change was not staged"));
    match change {
        Change::StateFolder { path, state } => make_state_folder(path, state, account.into()),
        Change::Calls { file, copy, .. } => {
            store::back_up_before_migration(file, copy).map_err(io::Error::other)?;
            let copy = copy.clone();
            Ok(Box::new(move || fs::remove_file(copy)))
        }
        Change::File { .. } => staged()?.replace_undoably(),
        Change::Protect { path, .. } => protect(path, staged()?),
        Change::EventSource { library } => {
            let before = event_source::registered();
            event_source::register(Some(&library.to_string_lossy()))?;
            Ok(Box::new(move || event_source::register(before.as_deref())))
        }
        Change::Backup { path, contents, original } => {
            write_new(path, contents, &Access::Like(original))?;
            let path = path.clone();
            Ok(Box::new(move || fs::remove_file(path)))
        }
        Change::Settings { path, before, .. } => {
            if fs::read(path)? != *before {
                return Err(io::Error::other("another process changed it meanwhile; run this again"));
            }
            staged()?.replace()?;
            // No change follows that could fail.
            Ok(Box::new(|| Ok(())))
        }
    }
}

/// Replaces a file by its staged copy. The old file is not kept, because other accounts can read it; its contents are
/// kept in memory for the undo.
fn protect(path: &Path, staged: &Staged) -> io::Result<Undo> {
    let (contents, access) = (Zeroizing::new(fs::read(path)?), SavedAccess::of(path)?);
    staged.replace()?;
    let path = path.to_owned();
    Ok(Box::new(move || {
        Staged::write(&path, &contents, &Access::Private(Grant::Administrators))?.replace()?;
        access.apply(&path)
    }))
}

fn make_state_folder(path: &Path, state: &StateFolder, grant: Grant<'_>) -> io::Result<Undo> {
    let path = path.to_owned();
    match state {
        StateFolder::Missing => {
            let missing: Vec<_> = path.ancestors().take_while(|folder| !folder.exists()).map(Path::to_owned).collect();
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            platform::create_private_folder(&path, grant)?;
            Ok(Box::new(move || missing.iter().try_for_each(fs::remove_dir)))
        }
        // Another account may have prepared the folder or its contents as a trap, so nothing of it is used.
        StateFolder::Unsafe(_) => {
            let aside = unused_path(&path, ".not-trusted")?;
            fs::rename(&path, &aside)?;
            if let Err(error) = platform::create_private_folder(&path, grant) {
                fs::rename(&aside, &path)?;
                return Err(error);
            }
            Ok(Box::new(move || fs::remove_dir(&path).and_then(|()| fs::rename(&aside, &path))))
        }
        StateFolder::WrongPermissions(_) => {
            let before = SavedAccess::of(&path)?;
            platform::protect_folder(&path, grant)?;
            Ok(Box::new(move || before.apply(&path)))
        }
    }
}
