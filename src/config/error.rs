//! What is wrong with a configuration: which file, where in it, what, and what would be right.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why the gate cannot run with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    kind: ErrorKind,
    file: Option<PathBuf>,
    path: String,
    problem: String,
}

/// What kind of problem it is. The numbers are part of the C ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum ErrorKind {
    /// There is no such file.
    NotFound = 20,
    /// The file cannot be read.
    Unreadable = 21,
    /// The file, or a value in it, is wrong.
    Invalid = 22,
    /// A secret cannot be had.
    SecretUnavailable = 23,
    /// The folder for logs and state cannot be used.
    StateFolder = 24,
    /// Other accounts can change the configuration or a file that it names (`strict_permissions`).
    UnsafePermissions = 25,
    /// A backend cannot be built.
    BackendUnusable = 40,
}

impl ConfigError {
    /// A problem that concerns the file as a whole.
    pub fn new(kind: ErrorKind, problem: impl fmt::Display) -> Self {
        Self::at(kind, "", problem)
    }

    /// A problem at a path inside the file, such as `backends.trunk.password`.
    pub fn at(kind: ErrorKind, path: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self { kind, file: None, path: path.into(), problem: problem.to_string() }
    }

    /// A wrong value at a path inside the file.
    pub fn invalid(path: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self::at(ErrorKind::Invalid, path, problem)
    }

    /// The same, told of `file`.
    pub fn in_file(mut self, file: &Path) -> Self {
        self.file = Some(file.to_owned());
        self
    }

    /// What kind of problem it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.problem)
    }
}

impl std::error::Error for ConfigError {}
