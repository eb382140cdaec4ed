//! The error of this crate.

use std::fmt;

use phonegate::config::ConfigError;

/// Why a plan could not be made or applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployError {
    /// Whether the request or the operation is at fault.
    pub kind: ErrorKind,
    /// What happened, and why.
    pub message: String,
    /// What to do about it, in the imperative. Hints may name options of the `phonegate` command.
    pub hints: Vec<String>,
}

/// The kind of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The arguments, the configuration or a file of the site must be changed first.
    Usage,
    /// The operation failed.
    Failed,
}

impl DeployError {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Usage, message: message.into(), hints: Vec::new() }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Failed, message: message.into(), hints: Vec::new() }
    }

    /// Creates the error for a configuration that cannot be installed.
    pub(crate) fn unusable_config(problem: impl std::fmt::Display) -> Self {
        Self::usage(format!("{problem}\nNothing was changed")).hint("correct the configuration and run install again")
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// The message and its hints on one line.
impl fmt::Display for DeployError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hints.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}

impl std::error::Error for DeployError {}

impl From<ConfigError> for DeployError {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.to_string())
    }
}
