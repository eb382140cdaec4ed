//! What `install` and `revert` share: they print progress and changes, and convert errors.

use std::path::Path;

use phonegate_deploy::{DeployError, ErrorKind, Progress};
use serde_json::json;

use crate::error::{CommandError, CommandErrorKind};
use crate::output::{self, Spinner};

/// Shows the progress on stderr, and each change as a line on stdout.
pub(super) struct DeployProgress {
    spinner: Spinner,
    json: bool,
}

impl DeployProgress {
    pub(super) fn start(json: bool) -> Self {
        Self { spinner: Spinner::start(json), json }
    }
}

impl Progress for DeployProgress {
    fn activity(&mut self, text: &str) {
        self.spinner.set_message(text);
    }

    fn event(&mut self, text: &str) {
        self.spinner.print(text);
    }

    fn changed(&mut self, step: &'static str, path: &Path, text: &str) {
        self.spinner.suspend(|| print_change(self.json, step, path, text, true));
    }
}

/// Prints a change that was made, or would be.
pub(super) fn print_change(json: bool, step: &str, path: &Path, text: &str, is_done: bool) {
    let path = path.display().to_string();
    match json {
        true => {
            output::json_line(&json!({ "event": "change", "step": step, "path": path, "text": text, "done": is_done }))
        }
        false => output::print(&format!("{} {path}: {text}", if is_done { "done:" } else { "would change" })),
    }
}

/// Prints how `MfaSettings.xml` changes.
pub(super) fn print_diff(json: bool, diff: &str) {
    match json {
        true => output::json_line(&json!({ "event": "diff", "text": diff })),
        false => output::print(&format!("\n{diff}")),
    }
}

impl From<DeployError> for CommandError {
    fn from(error: DeployError) -> Self {
        let DeployError { kind, message, hints } = error;
        let kind = match kind {
            ErrorKind::Usage => CommandErrorKind::Usage,
            ErrorKind::Failed => CommandErrorKind::Failed,
        };
        Self { kind, message, hints }
    }
}
