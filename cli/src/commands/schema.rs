//! `phonegate schema`: prints the JSON Schema of phonegate.json.

use clap::Args;

use crate::error::{CommandError, Exit};
use crate::output;

const HELP: &str = "\
With the schema, an editor completes and checks phonegate.json. The output is JSON, with --json or without.

Example:
  phonegate schema > phonegate.schema.json

Exit codes:
  0  printed
  1  stdout cannot be written";

/// The arguments of `phonegate schema`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {}

/// Prints the schema.
pub(crate) fn run() -> Result<Exit, CommandError> {
    output::print_all(&phonegate::config::schema(&phonegate::TYPES))
        .map_err(|error| CommandError::failed(format!("cannot write the schema: {error}")))?;
    Ok(Exit::Done)
}
