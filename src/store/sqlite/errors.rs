//! Errors of SQLite. A statement and its values are in no text.

use rusqlite::types::Type;
use rusqlite::{Error, ErrorCode, Row, Rows, ffi};

use super::worker::Tx;
use crate::store::{RecordKind, StoreError, StoreErrorCause};

/// Returns whether an error is about a value that cannot be read.
pub(super) fn is_unreadable(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidColumnType(..)
            | Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::Utf8Error(..)
    )
}

/// Makes an error about an unreadable value name the kind of its record.
pub(super) fn naming_record(kind: RecordKind) -> impl Fn(Error) -> Error {
    move |error| match is_unreadable(&error) {
        true => Error::FromSqlConversionFailure(0, Type::Null, Box::new(StoreError::unreadable(kind))),
        false => error,
    }
}

/// Reads up to `limit` records of a list. Those that cannot be read are left out, and counted by their first column.
pub(super) fn read_list<T>(
    tx: &Tx<'_>,
    kind: RecordKind,
    mut rows: Rows<'_>,
    limit: usize,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let mut records = Vec::new();
    while records.len() < limit
        && let Some(row) = rows.next()?
    {
        match read(row) {
            Ok(record) => records.push(record),
            Err(error) if is_unreadable(&error) => tx.unreadable.add(kind, format!("{:?}", row.get_ref(0)?)),
            Err(error) => return Err(error),
        }
    }
    Ok(records)
}

/// Converts an error of a job, or of the file's opening.
pub(super) fn to_store_error(error: &Error) -> StoreError {
    match error {
        Error::FromSqlConversionFailure(_, _, source) if let Some(error) = source.downcast_ref::<StoreError>() => {
            error.clone()
        }
        Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch => StoreError::refused(failure),
            _ => StoreError::unavailable(failure).caused_by(Some(cause(failure))),
        },
        error if is_unreadable(error) => StoreError::refused("the database has a value that PhoneGate did not write"),
        _ => StoreError::refused("the database does not accept this statement"),
    }
}

/// The text of an error. It begins with SQLite's result code.
pub(super) fn error_text(error: Error) -> String {
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
