//! Copies the file while the service uses it.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{Error, ErrorKind, Result as IoResult};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::errors::error_text;
use super::file::BUSY_TIMEOUT;
use super::schema;
use crate::platform::{self, Grant};

/// The end of a copy's name until the copy is complete.
pub(super) const UNFINISHED: &str = ".unfinished";

/// The end of the name of a database's journal.
pub(super) const JOURNAL: &str = "-journal";

/// The advice if a copy with a name that the user chose cannot be written.
pub(super) const ADVICE: &str = "; name a file in a folder that you may write to";

/// Copies the database into a new file, which only this user can use. Deleted data is not in the copy.
///
/// The copy gets its name when it is complete and on the disk. A process that is killed before that leaves a file whose name
/// ends in `.unfinished`, and its journal. The next copy of this name replaces them.
///
/// # Errors
/// A message, if the copy exists already or cannot be made, or if the file is not a database of PhoneGate. No part of the
/// copy is left.
pub fn back_up(file: &Path, copy: &Path) -> Result<(), String> {
    let database = open(file)?;
    let unfinished = with_end(copy, UNFINISHED);
    if copy.symlink_metadata().is_ok() {
        return Err(already_exists(copy));
    }
    let cannot = |error: Error| cannot_write(copy, &error);
    remove_copy(&unfinished).map_err(cannot)?;
    // SQLite treats an empty file as a new one, and keeps its permissions.
    platform::create_private_file(&unfinished, Grant::CurrentUser).map_err(cannot)?;
    fill(&database, &unfinished, copy).and_then(|()| finish(&unfinished, copy)).inspect_err(|_| {
        // The error that is returned is more important.
        let _ = remove_copy(&unfinished);
    })
}

/// Removes an incomplete copy. Its journal is removed first: SQLite would apply it to the next file of this name.
pub(super) fn remove_copy(unfinished: &Path) -> IoResult<()> {
    remove_if_there(&with_end(unfinished, JOURNAL))?;
    remove_if_there(unfinished)
}

/// Opens a database of PhoneGate for reading.
pub(super) fn open(file: &Path) -> Result<Connection, String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let ours = || {
        let database = Connection::open_with_flags(file, flags).map_err(error_text)?;
        database.busy_timeout(BUSY_TIMEOUT).map_err(error_text)?;
        schema::check_application_id(&database).map_err(|error| error.detail().to_owned())?;
        Ok(database)
    };
    ours().map_err(|problem: String| format!("{}: {problem}", file.display()))
}

fn fill(database: &Connection, unfinished: &Path, copy: &Path) -> Result<(), String> {
    let name = unfinished.to_str().ok_or_else(|| format!("{}: its name is not Unicode", copy.display()))?;
    let problem = |error| format!("{}: {}", copy.display(), error_text(error));
    database.execute("VACUUM INTO ?1", [name]).map_err(problem)?;
    let written = OpenOptions::new().write(true).open(unfinished).and_then(|copy| copy.sync_all());
    written.map_err(|error| cannot_write(copy, &error))
}

fn finish(unfinished: &Path, copy: &Path) -> Result<(), String> {
    let named = match rename_to_unused(unfinished, copy) {
        Ok(true) => fs::remove_file(unfinished),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(already_exists(copy)),
        named => named.map(drop),
    };
    named.and_then(|()| sync_folder_of(copy)).map_err(|error| cannot_write(copy, &error))
}

/// Renames a file to a name that no file has: a hard link never replaces a file, but a rename can. Returns whether the
/// file has both names now. It has only the new one if the file system has no hard links.
pub(super) fn rename_to_unused(file: &Path, name: &Path) -> IoResult<bool> {
    match fs::hard_link(file, name) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
        Err(_) => fs::rename(file, name).map(|()| false),
    }
}

/// Syncs the folder of a file, so that its name is on the disk.
pub(super) fn sync_folder_of(file: &Path) -> IoResult<()> {
    match file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => platform::sync_folder(folder),
        None => platform::sync_folder(Path::new(".")),
    }
}

/// Returns the path with `end` appended to its name.
pub(super) fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

fn remove_if_there(path: &Path) -> IoResult<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn already_exists(copy: &Path) -> String {
    format!("{} already exists; name a new file", copy.display())
}

fn cannot_write(copy: &Path, error: &Error) -> String {
    format!("cannot write {}: {error}{ADVICE}", copy.display())
}
