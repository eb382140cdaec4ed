//! What install changes, one thing after the other. What fails undoes what came before it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use phonegate::platform::{self, Account, Grant, SavedAccess};
use phonegate::store::{self, SchemaVersion};
use zeroize::Zeroizing;

use super::event_source;
use super::files::{Access, Staged, Undo, free_name, write_new};
use crate::error::CommandError;

/// One thing that install changes.
pub(super) enum Change {
    /// Makes the folder for state and logs, or takes it from those who should not have it.
    StateFolder { path: PathBuf, state: StateFolder },
    /// Copies the calls, before the new library changes the schema of their file.
    Calls { file: PathBuf, copy: PathBuf, version: SchemaVersion },
    /// Makes a file, or puts a new one in its place.
    File { step: &'static str, path: PathBuf, contents: Vec<u8>, file: FileKind, replaces: bool },
    /// Puts a file in its own place, with the permissions that it should have.
    Protect { path: PathBuf, why: String },
    /// Tells the Windows Event Log where the words of PhoneGate's events are.
    EventSource { library: PathBuf },
    /// Keeps what MfaSettings.xml was.
    Backup { path: PathBuf, contents: Vec<u8>, of: PathBuf },
    /// Tells MIM to load the shim. The last change: up to here MIM runs what it ran before.
    Settings { path: PathBuf, before: Vec<u8>, contents: Vec<u8> },
}

/// Whom a file is for.
#[derive(Clone, Copy)]
pub(super) enum FileKind {
    /// Administrators and the service's account.
    Private,
    /// Whoever runs it.
    Program,
    /// Whoever may use its folder.
    Other,
}

/// In which state the folder for state and logs was found.
pub(super) enum StateFolder {
    Missing,
    /// Somebody else could have put something there.
    Unsafe(String),
    /// It is ours, with other permissions than it should have.
    Wide(String),
}

impl Change {
    /// Its name, for scripts.
    pub(super) fn step(&self) -> &'static str {
        match self {
            Self::StateFolder { .. } => "state_folder",
            Self::Calls { .. } => "calls",
            Self::File { step, .. } => step,
            Self::Protect { .. } => "permissions",
            Self::EventSource { .. } => "event_source",
            Self::Backup { .. } => "backup",
            Self::Settings { .. } => "settings",
        }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::StateFolder { path, .. }
            | Self::Calls { copy: path, .. }
            | Self::File { path, .. }
            | Self::Protect { path, .. }
            | Self::EventSource { library: path }
            | Self::Backup { path, .. }
            | Self::Settings { path, .. } => path,
        }
    }

    /// What it does, as a line of a plan.
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::StateFolder { state: StateFolder::Missing, .. } => "make the folder for logs and state".to_owned(),
            Self::StateFolder { state: StateFolder::Unsafe(why), .. } => {
                format!("rename it aside and make a new one, since {why}")
            }
            Self::StateFolder { state: StateFolder::Wide(why), .. } | Self::Protect { why, .. } => {
                format!("set its permissions: {why}")
            }
            Self::Calls { file, version, .. } => format!(
                "back up the calls in {} to this file, before the new library upgrades them from schema version {} to {}",
                file.display(),
                version.file,
                version.newest
            ),
            Self::File { replaces: true, .. } => "replace".to_owned(),
            Self::File { .. } => "write".to_owned(),
            Self::EventSource { .. } => "register it for the words of PhoneGate's events".to_owned(),
            Self::Backup { .. } => "back MfaSettings.xml up".to_owned(),
            Self::Settings { .. } => "name the shim in it".to_owned(),
        }
    }

    /// Prepares as much as can be prepared without anybody noticing it.
    fn stage(&self, account: Option<&Account>) -> io::Result<Option<Staged>> {
        match self {
            Self::File { path, contents, file, .. } => {
                let access = match file {
                    FileKind::Private => Access::Private(account.into()),
                    FileKind::Program => Access::Program,
                    FileKind::Other => Access::OfFolder,
                };
                Staged::write(path, contents, &access).map(Some)
            }
            // A file has the permissions that it was made with: they are there before anything is in it.
            Self::Protect { path, .. } => {
                Staged::write(path, &Zeroizing::new(fs::read(path)?), &Access::Private(account.into())).map(Some)
            }
            Self::Settings { path, contents, .. } => Staged::write(path, contents, &Access::Like(path)).map(Some),
            Self::StateFolder { .. } | Self::Calls { .. } | Self::EventSource { .. } | Self::Backup { .. } => Ok(None),
        }
    }

    fn make(&self, staged: Option<&Staged>, account: Option<&Account>) -> io::Result<Undo> {
        let missing = || io::Error::other("nothing is there to put into its place");
        match self {
            Self::StateFolder { path, state } => state.mend(path, account.into()),
            Self::Calls { file, copy, .. } => {
                store::back_up_before_migration(file, copy).map_err(io::Error::other)?;
                let copy = copy.clone();
                Ok(Box::new(move || fs::remove_file(copy)))
            }
            Self::File { .. } => staged.ok_or_else(missing)?.replace_undoably(),
            // Nothing is put aside, where others could still read it.
            Self::Protect { path, .. } => {
                let (contents, access) = (Zeroizing::new(fs::read(path)?), SavedAccess::of(path)?);
                staged.ok_or_else(missing)?.replace()?;
                let path = path.clone();
                Ok(Box::new(move || {
                    Staged::write(&path, &contents, &Access::Private(Grant::Administrators))?.replace()?;
                    access.give(&path)
                }))
            }
            Self::EventSource { library } => {
                let before = event_source::registered();
                event_source::register(Some(&library.to_string_lossy()))?;
                Ok(Box::new(move || event_source::register(before.as_deref())))
            }
            Self::Backup { path, contents, of } => {
                write_new(path, contents, &Access::Like(of))?;
                let path = path.clone();
                Ok(Box::new(move || fs::remove_file(path)))
            }
            Self::Settings { path, before, .. } => {
                if fs::read(path)? != *before {
                    return Err(io::Error::other("somebody has changed it meanwhile; run this again"));
                }
                staged.ok_or_else(missing)?.replace()?;
                // Nothing comes after it that could fail.
                Ok(Box::new(|| Ok(())))
            }
        }
    }
}

impl StateFolder {
    fn mend(&self, path: &Path, grant: Grant<'_>) -> io::Result<Undo> {
        let path = path.to_owned();
        match self {
            Self::Missing => {
                let missing: Vec<_> =
                    path.ancestors().take_while(|folder| !folder.exists()).map(Path::to_owned).collect();
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                platform::create_private_folder(&path, grant)?;
                Ok(Box::new(move || missing.iter().try_for_each(fs::remove_dir)))
            }
            // Whatever is in it, and whatever it is itself, may be somebody's trap: nothing of it is used.
            Self::Unsafe(_) => {
                let aside = free_name(&path, ".not-trusted")?;
                fs::rename(&path, &aside)?;
                if let Err(error) = platform::create_private_folder(&path, grant) {
                    fs::rename(&aside, &path)?;
                    return Err(error);
                }
                Ok(Box::new(move || fs::remove_dir(&path).and_then(|()| fs::rename(&aside, &path))))
            }
            Self::Wide(_) => {
                let before = SavedAccess::of(&path)?;
                platform::protect_folder(&path, grant)?;
                Ok(Box::new(move || before.give(&path)))
            }
        }
    }
}

/// Makes all changes, or none.
pub(super) fn make(
    changes: &[Change],
    account: Option<&Account>,
    mut done: impl FnMut(&Change),
) -> Result<(), CommandError> {
    let failed = |change: &Change, error: io::Error| format!("{}: {error}", change.path().display());
    let mut staged = Vec::new();
    for change in changes {
        let one = point("stage", change.step())
            .and_then(|()| change.stage(account))
            .map_err(|error| CommandError::failed(format!("{}. Nothing was changed", failed(change, error))))?;
        staged.push(one);
    }
    let mut undos: Vec<(&Change, Undo)> = Vec::new();
    for (change, staged) in changes.iter().zip(&staged) {
        match point("make", change.step()).and_then(|()| change.make(staged.as_ref(), account)) {
            Ok(undo) => undos.push((change, undo)),
            Err(error) => {
                let text = format!("{}. {}", failed(change, error), undo_all(undos));
                return Err(CommandError::failed(text));
            }
        }
        done(change);
    }
    Ok(())
}

/// Puts another `MfaSettings.xml` into its place, and keeps what was there in a new backup.
pub(crate) fn put_back(path: &Path, before: &[u8], after: &[u8], backup: &Path) -> Result<(), CommandError> {
    let (path, before) = (path.to_owned(), before.to_owned());
    let keep = Change::Backup { path: backup.to_owned(), contents: before.clone(), of: path.clone() };
    make(&[keep, Change::Settings { path, before, contents: after.to_owned() }], None, |_| {})
}

/// What became of it, in words.
fn undo_all(undos: Vec<(&Change, Undo)>) -> String {
    let mut left = Vec::new();
    for (change, undo) in undos.into_iter().rev() {
        if let Err(error) = undo() {
            left.push(format!("{} ({error})", change.path().display()));
        }
    }
    match left.as_slice() {
        [] => "What had been changed was undone".to_owned(),
        left => format!("This could not be undone: {}. Run install again", left.join(", ")),
    }
}

/// The exit code of a process that the tests ended.
#[cfg(debug_assertions)]
const ENDED: i32 = 99;

/// Where the tests make a step fail, or end the process, by the environment variable `PHONEGATE_FAULT`: `fail make shim`
/// or `end make shim`; where a loaded file was put aside, `end aside FILE`. In debug builds alone.
pub(super) fn point(_what: &str, _step: &str) -> io::Result<()> {
    #[cfg(debug_assertions)]
    if let Ok(fault) = std::env::var("PHONEGATE_FAULT") {
        let here = format!("{_what} {_step}");
        let is_set = |what: &str| fault.split(',').any(|fault| fault == format!("{what} {here}"));
        if is_set("fail") {
            return Err(io::Error::other(format!("fault injected: {here}")));
        }
        if is_set("end") {
            // As if it were killed: nothing is undone, and nothing is dropped.
            std::process::exit(ENDED);
        }
    }
    Ok(())
}
