//! Errors of SQLite. A statement and its values are in no text.

use rusqlite::{ErrorCode, ffi};

use crate::store::{StoreError, StoreErrorCause};

/// Converts an error of a job, or of the file's opening.
pub(super) fn to_store_error(error: &rusqlite::Error) -> StoreError {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch => StoreError::refused(failure),
            _ => StoreError::unavailable(failure).caused_by(Some(cause(failure))),
        },
        rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..) => {
            StoreError::refused("the database has a value that PhoneGate did not write")
        }
        _ => StoreError::refused("the database does not accept this statement"),
    }
}

/// The text of an error. It begins with SQLite's result code.
pub(super) fn error_text(error: rusqlite::Error) -> String {
    to_store_error(&error).detail().to_owned()
}

/// The cause, by the primary result code (<https://www.sqlite.org/rescode.html>).
fn cause(failure: &ffi::Error) -> StoreErrorCause {
    match failure.extended_code & 0xff {
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => StoreErrorCause::FileLocked,
        // The first one is the code of a missing table, among others.
        ffi::SQLITE_ERROR | ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => StoreErrorCause::FileDamaged,
        ffi::SQLITE_FULL => StoreErrorCause::DiskFull,
        _ => StoreErrorCause::FileInaccessible,
    }
}
