//! The type of one change, which a plan lists and `apply` makes.

use std::path::{Path, PathBuf};

use phonegate::store::SchemaVersion;

/// One change of an installation.
pub enum Change {
    /// Creates the folder for state and logs, or corrects its permissions.
    StateFolder {
        /// The folder.
        path: PathBuf,
        /// The state in which it was found.
        state: StateFolder,
    },
    /// Copies the calls before the new library changes the schema of their file.
    Calls {
        /// The file with the calls.
        file: PathBuf,
        /// The copy.
        copy: PathBuf,
        /// The schema version of the file, and the one to which the new library migrates it.
        version: SchemaVersion,
    },
    /// Creates or replaces a file.
    File {
        /// Its name for scripts, such as `library`.
        step: &'static str,
        /// The file.
        path: PathBuf,
        /// What it will contain.
        contents: Vec<u8>,
        /// The permissions that it gets.
        kind: FileKind,
        /// Whether the file exists already.
        replaces: bool,
    },
    /// Restricts the permissions of a file.
    Protect {
        /// The file.
        path: PathBuf,
        /// What is wrong with its permissions.
        problem: String,
    },
    /// Registers the library as the source of event texts in the Windows Event Log.
    EventSource {
        /// The library.
        library: PathBuf,
    },
    /// Backs `MfaSettings.xml` up.
    Backup {
        /// The backup.
        path: PathBuf,
        /// What it will contain.
        contents: Vec<u8>,
        /// The file that is backed up, whose permissions the backup gets.
        original: PathBuf,
    },
    /// Names the shim in `MfaSettings.xml`. The last change: until then MIM runs as before.
    Settings {
        /// The file.
        path: PathBuf,
        /// What it contained when the plan was made.
        before: Vec<u8>,
        /// What it will contain.
        after: Vec<u8>,
    },
}

/// The permissions of an installed file.
#[derive(Clone, Copy)]
pub enum FileKind {
    /// Only administrators and the account of the service have access.
    Private,
    /// An executable, with the permissions of its folder.
    Program,
    /// The file has the permissions of its folder.
    Shared,
}

/// The state in which the folder for state and logs was found.
pub enum StateFolder {
    /// It does not exist.
    Missing,
    /// Another account could have put something into it, for this reason.
    Unsafe(String),
    /// Its permissions differ from those it should have, in this way.
    WrongPermissions(String),
}

impl Change {
    /// Returns the name of the change for scripts.
    pub fn step(&self) -> &'static str {
        match self {
            Self::StateFolder { .. } => "state_folder",
            Self::Calls { .. } => "calls",
            Self::File { step, .. } => step,
            Self::Protect { .. } => "permissions",
            Self::EventSource { .. } => "event_source",
            Self::Backup { .. } => "backup",
            Self::Settings { .. } => "settings",
        }
    }

    /// Returns the path that is created or changed.
    pub fn path(&self) -> &Path {
        match self {
            Self::StateFolder { path, .. }
            | Self::Calls { copy: path, .. }
            | Self::File { path, .. }
            | Self::Protect { path, .. }
            | Self::EventSource { library: path }
            | Self::Backup { path, .. }
            | Self::Settings { path, .. } => path,
        }
    }

    /// Describes the change, in the imperative.
    pub fn description(&self) -> String {
        match self {
            Self::StateFolder { state: StateFolder::Missing, .. } => "create the folder for logs and state".to_owned(),
            Self::StateFolder { state: StateFolder::Unsafe(why), .. } => {
                format!("rename it and create a new one, because {why}")
            }
            Self::StateFolder { state: StateFolder::WrongPermissions(problem), .. } | Self::Protect { problem, .. } => {
                format!("set its permissions: {problem}")
            }
            Self::Calls { file, version, .. } => format!(
                "back up the calls in {} to this file, before the new library upgrades them from schema version {} to {}",
                file.display(),
                version.file,
                version.newest
            ),
            Self::File { replaces: true, .. } => "replace".to_owned(),
            Self::File { .. } => "create".to_owned(),
            Self::EventSource { .. } => "register it as the source of PhoneGate's event texts".to_owned(),
            Self::Backup { .. } => "back up MfaSettings.xml".to_owned(),
            Self::Settings { .. } => "name the shim in it".to_owned(),
        }
    }
}
