//! Errors of a configuration: the file, the path in it, the problem, and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

/// The reason why a gate cannot run with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    kind: ErrorKind,
    file: Option<PathBuf>,
    path: String,
    problem: String,
}

/// The kind of a problem. The numbers are part of the C ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum ErrorKind {
    /// There is no such file.
    NotFound = 20,
    /// The file cannot be read.
    Unreadable = 21,
    /// The file, or a value in it, is wrong.
    Invalid = 22,
    /// A secret cannot be read.
    SecretUnavailable = 23,
    /// The folder for logs and state cannot be used.
    StateFolder = 24,
    /// Other accounts can change the configuration or a file that it names (`strict_permissions`).
    UnsafePermissions = 25,
    /// A backend cannot be built.
    BackendUnusable = 40,
}

impl ConfigError {
    /// Creates the error for a problem of the whole file.
    pub fn new(kind: ErrorKind, problem: impl fmt::Display) -> Self {
        Self::at(kind, "", problem)
    }

    /// Creates the error for a problem at a path in the file, such as `backends.trunk.password`.
    pub fn at(kind: ErrorKind, path: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self { kind, file: None, path: path.into(), problem: problem.to_string() }
    }

    /// Creates the error for a wrong value at a path in the file.
    pub fn invalid(path: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self::at(ErrorKind::Invalid, path, problem)
    }

    /// Returns the same error with the name of the file.
    pub fn in_file(mut self, file: &Path) -> Self {
        self.file = Some(file.to_owned());
        self
    }

    /// Returns the kind of the problem.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the path in the file, such as `backends.trunk.password`. Empty: the problem is of the whole file.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the problem alone, without the file and the path.
    pub fn problem(&self) -> &str {
        &self.problem
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
