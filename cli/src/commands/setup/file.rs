//! Writes the configuration, so that at each moment there is the former file or the new one.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use phonegate::config::{self, MAX_FILE_BYTES};
use phonegate::platform::{self, Account, Grant, HOST_SERVICE};
use tempfile::TempPath;
use time::OffsetDateTime;
use time::macros::format_description;
use uuid::Uuid;

use crate::error::CommandError;

/// Writes the configuration. Returns the copy of the file that it has replaced, if `replace` allows that.
pub(super) fn write(path: &Path, text: &str, replace: bool) -> Result<Option<PathBuf>, CommandError> {
    let backup = match replace {
        true => copy(path)?,
        false => None,
    };
    // The name is new, so what is removed after a failure is ours.
    let new = with_suffix(path, &format!(".{}.new", Uuid::new_v4()));
    let written = write_new(&new, text.as_bytes()).and_then(|()| rename(&new, path, backup.is_some()));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&new);
        backup.iter().for_each(|backup| drop(std::fs::remove_file(backup)));
        return Err(match error.kind() {
            io::ErrorKind::AlreadyExists => {
                let message = format!("another program has just written {}", path.display());
                CommandError::failed(message).hint("read it first; --force replaces it and keeps a copy")
            }
            _ => failed(path, "write", &error),
        });
    }
    // The file is there; whether a power failure could undo it does not change that.
    let _ = path.parent().map(platform::sync_folder);
    Ok(backup)
}

/// Copies the file that is to be replaced, if there is one. Returns the copy.
fn copy(path: &Path) -> Result<Option<PathBuf>, CommandError> {
    let former = match config::read_file(path, MAX_FILE_BYTES) {
        Ok(former) => former,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, "read", &error)),
    };
    let backup = backup_of(path);
    write_new(&backup, &former).map_err(|error| failed(&backup, "write", &error))?;
    Ok(Some(backup))
}

/// Gives a file its name.
///
/// # Errors
/// Without `replace`, if there is a file with that name. The operating system decides that, so that no other program can
/// write one between a check and the change.
fn rename(new: &Path, path: &Path, replace: bool) -> io::Result<()> {
    match replace {
        true => std::fs::rename(new, path),
        false => TempPath::try_from_path(new)?.persist_noclobber(path).map_err(io::Error::from),
    }
}

fn failed(path: &Path, what: &str, error: &io::Error) -> CommandError {
    CommandError::failed(format!("cannot {what} {}: {error}", path.display())).hint("no configuration was written")
}

/// Writes a file that only this user, on Windows administrators, and the account of MIM's service can read.
///
/// # Errors
/// If it exists, or cannot be written. A part of it is removed.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let account = Account::of_service(HOST_SERVICE).unwrap_or_default();
    let grant = account.as_ref().map_or(Grant::CurrentUser, Grant::Account);
    let mut file = platform::create_private_file(path, grant)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = std::fs::remove_file(path);
    }
    written
}

/// Returns the name of a copy of a file, by the time.
fn backup_of(path: &Path) -> PathBuf {
    let format = format_description!("[year][month][day]T[hour][minute][second][subsecond digits:3]Z");
    let time = OffsetDateTime::now_utc().format(format).unwrap_or_default();
    with_suffix(path, &format!(".{time}.bak"))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}
