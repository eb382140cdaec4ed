//! Errors of commands, and the exit codes.

use std::fmt;
use std::process::ExitCode;

use phonegate::config::{ConfigError, ErrorKind};

/// How a command ended. The numbers are the exit codes, which `phonegate --help` documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command did its work.
    Done = 0,
    /// The command failed, or its answer is no: the call was not verified, or a check found a fault.
    Failed = 1,
    /// Wrong usage, or a configuration that cannot be used. clap has the same number.
    Usage = 2,
    /// Ctrl-C ended the command: 128 plus the number of the signal, as in shells.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// The kind of an error, which determines the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommandErrorKind {
    /// The arguments or the configuration are wrong.
    Usage,
    /// The arguments and the configuration are right, and the work failed.
    Failed,
}

impl CommandErrorKind {
    /// Returns the name that `--json` prints.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Failed => "failed",
        }
    }

    /// Returns the exit code.
    pub(crate) fn exit(self) -> Exit {
        match self {
            Self::Usage => Exit::Usage,
            Self::Failed => Exit::Failed,
        }
    }
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) struct CommandError {
    /// The kind, which determines the exit code.
    pub(crate) kind: CommandErrorKind,
    /// The problem, and the place of it.
    pub(crate) message: String,
    /// What to do about it. Each is printed on a line of its own.
    pub(crate) hints: Vec<String>,
}

impl CommandError {
    /// Creates an error of usage or configuration.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(CommandErrorKind::Usage, message)
    }

    /// Creates an error of work that failed.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(CommandErrorKind::Failed, message)
    }

    /// Creates an error without hints.
    pub(crate) fn new(kind: CommandErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new() }
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// The message and its hints on one line, for a table.
impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hints.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        let kind = error.kind();
        let error = Self::usage(error.to_string());
        match kind {
            ErrorKind::NotFound => error
                .hint("name the configuration by --config FILE")
                .hint("`phonegate call --demo NUMBER` needs no configuration"),
            _ => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_an_error_determines_its_exit_code() {
        assert_eq!(CommandError::usage("").kind.exit(), Exit::Usage);
        assert_eq!(CommandError::failed("").kind.exit(), Exit::Failed);
    }

    #[test]
    fn a_table_shows_the_message_and_all_hints_on_one_line() {
        let error = CommandError::failed("it failed").hint("try this").hint("or that");
        assert_eq!(error.to_string(), "it failed; try this; or that");
    }
}
