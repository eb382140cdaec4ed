//! Escapes fields of comma-separated values, so that a spreadsheet shows them unchanged.

use std::io;

/// Returns the field, with an apostrophe before it if a spreadsheet would evaluate it as a formula, such as a masked
/// number.
pub(crate) fn no_formula(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => as_text(text),
        false => text.to_owned(),
    }
}

/// Returns a field of digits as text: as a number, a spreadsheet would keep only the first fifteen digits.
pub(crate) fn as_text(text: &str) -> String {
    format!("'{text}")
}

/// Converts an error, and keeps its kind, so that a closed pipe is recognized.
pub(crate) fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        kind => io::Error::other(format!("{kind:?}")),
    }
}
