//! The interface through which this crate reports progress.

use std::path::Path;

/// Receives the progress of an operation, to show it.
pub trait Progress {
    /// Reports the current activity, such as "compiling the shim". It replaces the previous one.
    fn activity(&mut self, text: &str);

    /// Reports an event to keep in view, such as "FIMService is stopped".
    fn event(&mut self, text: &str);

    /// Reports a change that was made: the name of its step for scripts, the path, and a description.
    fn changed(&mut self, step: &'static str, path: &Path, text: &str);
}
