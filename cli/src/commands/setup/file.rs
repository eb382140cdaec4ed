//! Writes the configuration, so that at each moment there is the former file or the new one.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use phonegate::platform::{self, Account, Grant, HOST_SERVICE};
use time::OffsetDateTime;
use time::macros::format_description;
use uuid::Uuid;

use crate::error::CommandError;

/// Writes the configuration. Returns the copy of the file that it has replaced, if `replace` allows that.
pub(super) fn write(path: &Path, text: &str, replace: bool) -> Result<Option<PathBuf>, CommandError> {
    let failed = |path: &Path, error: &io::Error| {
        CommandError::failed(format!("cannot write {}: {error}", path.display())).hint("no configuration was written")
    };
    let backup = match std::fs::read(path) {
        Ok(_) if !replace => {
            let message = format!("another program has just written {}", path.display());
            return Err(CommandError::failed(message).hint("--force replaces it"));
        }
        Ok(former) => {
            let backup = backup_of(path);
            write_new(&backup, &former).map_err(|error| failed(&backup, &error))?;
            Some(backup)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            return Err(CommandError::failed(format!("cannot read {}: {error}", path.display()))
                .hint("no configuration was written"));
        }
    };
    // The name is new, so what is removed after a failure is ours.
    let new = with_suffix(path, &format!(".{}.new", Uuid::new_v4()));
    let written = write_new(&new, text.as_bytes()).and_then(|()| std::fs::rename(&new, path));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&new);
        backup.iter().for_each(|backup| drop(std::fs::remove_file(backup)));
        return Err(failed(path, &error));
    }
    // The file is there; whether a power failure could undo it does not change that.
    let _ = path.parent().map(platform::sync_folder);
    Ok(backup)
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
