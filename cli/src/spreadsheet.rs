//! Fields of comma-separated values, which a spreadsheet is to take as they are.

use std::io;

/// The field, with an apostrophe before it if a spreadsheet would compute it. A masked number begins with `+`.
pub(crate) fn no_formula(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => as_text(text),
        false => text.to_owned(),
    }
}

/// Digits of which a spreadsheet would keep the first fifteen, as a number.
pub(crate) fn as_text(text: &str) -> String {
    format!("'{text}")
}

/// Whoever reads no further is known by the kind of the error.
pub(crate) fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        kind => io::Error::other(format!("{kind:?}")),
    }
}
