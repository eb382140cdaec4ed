//! Shows the progress of install and revert, and turns their errors into the command's.

use std::path::Path;

use phonegate_deploy::{DeployError, ErrorKind, Progress};

use crate::exit::Trouble;
use crate::output::{self, Live};

/// Shows the progress on stderr, and each change as a line on stdout.
pub(crate) struct DeployProgress {
    live: Live,
    json: bool,
}

impl DeployProgress {
    pub(crate) fn start(json: bool) -> Self {
        Self { live: Live::start(json), json }
    }
}

impl Progress for DeployProgress {
    fn activity(&mut self, text: &str) {
        self.live.now(text);
    }

    fn event(&mut self, text: &str) {
        self.live.line(text);
    }

    fn changed(&mut self, step: &'static str, path: &Path, text: &str) {
        self.live.aside(|| output::change(self.json, step, path, text, true));
    }
}

impl From<DeployError> for Trouble {
    fn from(error: DeployError) -> Self {
        let DeployError { kind, message, hints } = error;
        let text = [message].into_iter().chain(hints).collect::<Vec<_>>().join("\n");
        match kind {
            ErrorKind::Usage => Self::usage(text),
            ErrorKind::Failed => Self::failed(text),
        }
    }
}
