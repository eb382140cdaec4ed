//! A copy of the file, made while the service uses it.

use std::fs::{OpenOptions, remove_file};
use std::io::{Error, ErrorKind};
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::{BUSY_LIMIT, schema};
use crate::platform::{self, Grant};

/// Copies all that the database has into a new file, which only this user can use. What was deleted is not in it.
///
/// # Errors
/// In words: where the copy is there already or cannot be made, or this is no database of PhoneGate's. Then nothing is
/// left of it.
pub fn back_up(file: &Path, copy: &Path) -> Result<(), String> {
    let database = open(file).map_err(|problem| format!("{}: {problem}", file.display()))?;
    // SQLite takes a file that is empty for one that is not there, and keeps its permissions.
    platform::create_private_file(copy, Grant::CurrentUser).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => format!("{} is there already; name a new file", copy.display()),
        _ => told(copy, &error),
    })?;
    fill(&database, copy).inspect_err(|_| {
        // Why it failed is told, and matters more.
        let _ = remove_file(copy);
    })
}

fn open(file: &Path) -> Result<Connection, String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(file, flags).map_err(super::words)?;
    database.busy_timeout(BUSY_LIMIT).map_err(super::words)?;
    schema::check_ours(&database)?;
    Ok(database)
}

fn fill(database: &Connection, copy: &Path) -> Result<(), String> {
    let name = copy.to_str().ok_or_else(|| format!("{}: its name is not Unicode", copy.display()))?;
    let problem = |error| format!("{}: {}", copy.display(), super::words(error));
    database.execute("VACUUM INTO ?1", [name]).map_err(problem)?;
    let written = OpenOptions::new().write(true).open(copy).and_then(|copy| copy.sync_all());
    written.map_err(|error| told(copy, &error))
}

fn told(copy: &Path, error: &Error) -> String {
    format!("cannot write {}: {error}; name a file in a folder that you may write to", copy.display())
}
