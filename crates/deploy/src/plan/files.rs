//! The installed files, and the changes that write them.

use std::path::{Path, PathBuf};

use phonegate::config;

use crate::change::FileKind;
use crate::{Change, DeployError, shim};

const SCHEMA: &str = "phonegate.schema.json";

/// Returns the names of the installed files, without the configuration.
pub(crate) fn installed_files() -> [String; 4] {
    [shim::FILE_NAME.to_owned(), library_name(), tool_name(), SCHEMA.to_owned()]
}

/// Returns the file name of this tool.
pub(super) fn tool_name() -> String {
    format!("phonegate{}", std::env::consts::EXE_SUFFIX)
}

/// Returns the file name of the library on this operating system.
pub fn library_name() -> String {
    format!("{}phonegate{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX)
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, DeployError> {
    std::fs::read(path).map_err(|error| DeployError::failed(format!("cannot read {}: {error}", path.display())))
}

/// Returns the change that writes the JSON Schema of the configuration.
pub(super) fn schema_change(folder: &Path) -> Option<Change> {
    file_change("schema", folder.join(SCHEMA), config::schema(&phonegate::TYPES).into_bytes(), FileKind::Shared)
}

/// Returns the change that gives a file these contents. `None` if it has them already.
pub(super) fn file_change(step: &'static str, path: PathBuf, contents: Vec<u8>, kind: FileKind) -> Option<Change> {
    let is_current = std::fs::read(&path).is_ok_and(|present| present == contents);
    let replaces = path.exists();
    (!is_current).then_some(Change::File { step, path, contents, kind, replaces })
}
