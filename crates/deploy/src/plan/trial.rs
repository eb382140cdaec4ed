//! Tries a configuration out, before anything is changed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use phonegate::config::Loaded;
use phonegate::gate::{Gate, LogTo};
use phonegate::registry::Registry;
use phonegate::store::MemoryConfig;

use super::notes::Notes;
use crate::{DeployError, Progress};

const LOG_FILE: &str = "phonegate-trial.log";

/// The trial places no call, so the value is irrelevant.
const KEEP_FINISHED: Duration = Duration::from_secs(60);

/// Maximum duration of the shutdown of a gate without calls.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// Starts a gate as the service would, which reads the whole configuration and its secrets, and asks each backend
/// whether it could place calls unless `skips_check` is set. The gate logs into `work`. Calls and metrics of the service
/// are not touched.
///
/// # Errors
/// If the gate does not start, or a backend could not place calls.
pub(super) fn run(
    mut loaded: Loaded,
    file: &Path,
    work: &Path,
    skips_check: bool,
    notes: &mut Notes,
    progress: &mut impl Progress,
) -> Result<(), DeployError> {
    // The folder of the configuration may not exist yet.
    loaded.config.log.directory = Some(work.join("log"));
    // Checked separately, with the permissions as they will be after the installation.
    loaded.config.strict_permissions = false;
    loaded.config.store = MemoryConfig {}.into();
    loaded.config.metrics.textfile = None;
    let log_to = LogTo::file(LOG_FILE);
    let gate = Gate::start_beside_service(loaded, Arc::new(Registry::new(KEEP_FINISHED)), log_to).map_err(|error| {
        DeployError::unusable_config(error.in_file(file).to_string())
            .hint(format!("relative paths in it are resolved against {}", file.parent().unwrap_or(file).display()))
    })?;
    let checked = match skips_check {
        true => {
            notes.warnings.push("no backend was asked whether it could place calls (--skip-check)".to_owned());
            Ok(())
        }
        false => {
            progress.activity("asking the backends");
            check_backends(&gate, notes)
        }
    };
    gate.shut_down(SHUTDOWN_LIMIT);
    checked
}

fn check_backends(gate: &Gate, notes: &mut Notes) -> Result<(), DeployError> {
    let mut problems = Vec::new();
    for (name, answer) in gate.check() {
        match answer {
            Ok(text) => notes.found("backend", format!("{name}: {text}")),
            Err(failure) => problems.push(format!("backend `{name}`: {failure}")),
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(DeployError::failed(format!("{}\nNothing was changed", problems.join("\n")))
            .hint("fix that and run install again, or add --skip-check")),
    }
}
