//! The settings of a program that places calls.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use phonegate_approval::policy;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Exec;
use crate::backend::{BackendContext, BuildBackend, TelephonyBackend};
use crate::config::{ApprovalConfig, BackendSettings, Bounded, ConfigError};

/// Calls by a program of your own, which is started for each call. It gets the call as JSON on its standard input, and
/// reports on its standard output what happens.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExecConfig {
    /// The program: an absolute path. No shell runs it, so a batch file is refused. Only administrators and the service's
    /// account may be able to change it.
    pub(super) program: PathBuf,
    /// The arguments of the program, each passed as it is. Only administrators and the service's account may be able to
    /// change a file that an argument names; a file with a relative path is refused.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub(super) arguments: Vec<String>,
    /// The script that the program runs: an absolute path, which becomes the last argument. Only administrators and the
    /// service's account may be able to change it.
    #[serde(default)]
    pub(super) script: Option<PathBuf>,
    /// The names of environment variables that the program gets besides the usual ones of the operating system.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub(super) environment: Vec<String>,
    /// Maximum programs that run at the same time. A further call waits up to 10 s, and is refused then.
    #[serde(default)]
    pub(super) max_programs: Bounded<1, 256, 16>,
    /// Whether the program knows checks: `phonegate check` then starts it with `"check": true` in its input, and it must
    /// ring no phone. If false, a check only examines the files.
    #[serde(default)]
    pub(super) supports_check: bool,
}

impl fmt::Debug for ExecConfig {
    /// Shows only the number of arguments: one may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecConfig")
            .field("program", &self.program)
            .field("arguments", &self.arguments.len())
            .field("script", &self.script)
            .field("environment", &self.environment)
            .field("max_programs", &self.max_programs)
            .field("supports_check", &self.supports_check)
            .finish()
    }
}

/// Returns the parts of an argument that may be the path of a file: all of it, and what follows each `=`.
pub(super) fn possible_paths(argument: &str) -> impl Iterator<Item = &Path> {
    let values = argument.match_indices('=').filter_map(|(index, _)| argument.get(index + 1..));
    std::iter::once(argument).chain(values).map(Path::new)
}

impl BackendSettings for ExecConfig {
    fn trusted_files(&self) -> Vec<&Path> {
        let arguments = self.arguments.iter().flat_map(|argument| possible_paths(argument));
        let files = arguments.filter(|path| path.is_absolute() && path.is_file());
        [Some(self.program.as_path()), self.script.as_deref()].into_iter().flatten().chain(files).collect()
    }

    fn check_pins(&self, path: &str, approval: &ApprovalConfig) -> Result<(), ConfigError> {
        if approval.pin.allow_provider {
            return Ok(());
        }
        let method = policy::Method::from(approval.method).name();
        let problem = format_args!(
            "is of type exec: with `{method}`, the program and its provider learn the PINs of users; if that is \
             acceptable, set \"allow_provider\": true in `approval.pin`"
        );
        Err(ConfigError::invalid(path, problem))
    }
}

impl BuildBackend for ExecConfig {
    fn build(&self, context: &BackendContext<'_>) -> Result<Arc<dyn TelephonyBackend>, ConfigError> {
        Ok(Arc::new(Exec::new(self, context)?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn debug_shows_no_argument() {
        let json = r#"{"program":"/opt/call","arguments":["--token=s3cret","s3cret"]}"#;
        let config: ExecConfig = serde_json::from_str(json).unwrap();
        let shown = format!("{config:?}");
        assert!(shown.contains("arguments: 2") && shown.contains("/opt/call") && !shown.contains("s3cret"), "{shown}");
    }
}
