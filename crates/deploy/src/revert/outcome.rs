//! The outcome of a reversal.

use std::path::PathBuf;

/// The outcome of a reversal.
pub struct Reverted {
    /// Whether every step succeeded.
    pub is_complete: bool,
    /// Whether the calls of the older version were restored.
    pub restored_calls: bool,
    /// What remains, and why.
    pub left: Vec<Left>,
}

/// Something that remains after a reversal.
pub struct Left {
    /// The file or folder.
    pub path: PathBuf,
    /// Why it remains.
    pub reason: String,
}
