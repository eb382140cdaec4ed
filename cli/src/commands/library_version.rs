//! `phonegate library-version`, which `phonegate doctor` runs: loads a library in a process of its own.
//!
//! A damaged library can end the process that loads it, and must not end the one that examines the installation.

use std::path::PathBuf;

use clap::Args;
use phonegate::platform::LibraryVersion;
use serde::{Deserialize, Serialize};

use crate::error::{CommandError, Exit};
use crate::output;

/// The arguments of `phonegate library-version`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The library.
    path: PathBuf,
}

/// The version that a library reports, as the command prints it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Library {
    /// The version of PhoneGate.
    pub(crate) version: String,
    /// The version of the C interface.
    pub(crate) abi: u32,
}

/// Loads the library and prints its version as JSON.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit, CommandError> {
    let LibraryVersion { version, abi } = LibraryVersion::of(&arguments.path).map_err(CommandError::failed)?;
    output::json_line(&Library { version, abi });
    Ok(Exit::Done)
}
