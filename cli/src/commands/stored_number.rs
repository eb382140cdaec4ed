//! The argument of commands about one number that the store knows.

use clap::Args;

/// A number that the store knows.
#[derive(Args)]
pub(crate) struct StoredNumber {
    /// The number, or its hash, which the command `list` shows, or the id of a call to it (a GUID with its hyphens).
    #[arg(required = true, value_name = "NUMBER|HASH|ID")]
    number: Vec<String>,
}

impl StoredNumber {
    /// Returns the argument as one text. Spaces in a number need no quotation marks.
    pub(crate) fn text(&self) -> String {
        self.number.join(" ")
    }
}
