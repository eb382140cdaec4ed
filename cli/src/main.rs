//! The `phonegate` command.

#![warn(missing_docs, unreachable_pub)]
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)]
#![deny(clippy::indexing_slicing, clippy::string_slice)]

use clap::{Parser, Subcommand};

/// The phone-call second factor for Microsoft Identity Manager.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Prints the JSON Schema of phonegate.json.
    Schema,
}

fn main() {
    match Arguments::parse().verb {
        Verb::Schema => print!("{}", phonegate::config::schema()),
    }
}
