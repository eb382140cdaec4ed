//! How the command ends.

use std::process::ExitCode;

use phonegate::config::{ConfigError, ErrorKind};

/// The exit code. The numbers are documented in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It went well.
    Done = 0,
    /// It did not.
    Failed = 1,
    /// Usage or configuration. The number is also clap's.
    Usage = 2,
    /// By Ctrl-C: 128 and the signal's number, as shells have it.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) exit: Exit,
    /// What is wrong, and what to do.
    pub(crate) text: String,
}

impl Trouble {
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, text: text.into() }
    }

    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, text: text.into() }
    }
}

impl From<ConfigError> for Trouble {
    fn from(error: ConfigError) -> Self {
        let hint = match error.kind() {
            ErrorKind::NotFound => {
                ". Or name one by --config FILE; `phonegate call --demo NUMBER` needs no configuration at all"
            }
            _ => "",
        };
        Self::usage(format!("{error}{hint}"))
    }
}
