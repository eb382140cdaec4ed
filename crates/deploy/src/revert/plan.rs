//! Plans a reversal.

use std::path::{Path, PathBuf};

use phonegate::config::FILE_NAME;
use phonegate::platform;
use phonegate::store::Restore;

use super::{calls, purge};
use crate::backups::{self, Backup};
use crate::find::ServiceFolder;
use crate::plan::installed_files;
use crate::{DeployError, event_source, is_same_file, settings, shim};

/// The options of a reversal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// The folder of MIM's service. `None`: the folder of the registered service, else the default one.
    pub service_dir: Option<&'a Path>,
    /// The name of the backup to restore. `None`: the newest.
    pub backup: Option<&'a str>,
    /// Also restores the calls from before an upgrade changed the schema of their file.
    pub restore_calls: bool,
    /// Also removes the configuration, the logs, the calls and their backups.
    pub purge: bool,
    /// The names of log files, which a purge removes together with their older parts.
    pub logs: &'a [&'a str],
}

/// The changes of a planned reversal.
pub struct Plan {
    /// How the calls are restored.
    pub calls: Option<Restore>,
    /// Warnings: what works, but should be known to the administrator.
    pub warnings: Vec<String>,
    pub(super) folder: PathBuf,
    pub(super) settings: Option<SettingsRestore>,
    /// The registered library of the Windows Event Log, if it is an installed one.
    event_source: Option<PathBuf>,
    /// Installed files.
    remove: Vec<PathBuf>,
    /// Files and folders with data.
    purge: Vec<PathBuf>,
    /// Whether to suggest restoring the calls.
    pub(super) suggests_restoring_calls: bool,
}

/// How `MfaSettings.xml` is restored.
pub(super) struct SettingsRestore {
    pub(super) path: PathBuf,
    pub(super) before: Vec<u8>,
    backup: PathBuf,
    pub(super) after: Vec<u8>,
    /// The new backup of the present file.
    pub(super) kept: PathBuf,
}

/// One step of a reversal.
pub struct Step<'a> {
    pub(super) kind: StepKind,
    /// The path that is changed.
    pub path: &'a Path,
    /// Describes the step, in the imperative.
    pub description: String,
}

/// The action of a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum StepKind {
    Settings,
    Calls,
    EventSource,
    Remove,
    Purge,
}

impl Step<'_> {
    /// Returns the name of the step for scripts.
    pub fn name(&self) -> &'static str {
        match self.kind {
            StepKind::Settings => "settings",
            StepKind::Calls => "calls",
            StepKind::EventSource => "event_source",
            StepKind::Remove => "remove",
            StepKind::Purge => "purge",
        }
    }
}

/// Plans a reversal. Changes nothing.
///
/// # Errors
/// If there is nothing to restore, or it cannot be read.
pub fn plan(options: &Options<'_>) -> Result<Plan, DeployError> {
    let folder = ServiceFolder::find(options.service_dir)?.path;
    let settings = plan_settings(options, &folder, &backups::list(&folder)?)?;
    let calls = options.restore_calls.then(|| calls::plan(&folder)).transpose()?;
    let mut remove: Vec<_> = installed_files().iter().map(|name| folder.join(name)).collect();
    let registered = event_source::registered().map(PathBuf::from);
    // The source may belong to an installation in another folder.
    let is_ours = |library: &PathBuf| remove.iter().any(|ours| is_same_file(library, ours));
    let is_installed_elsewhere = registered.as_ref().is_some_and(|library| !is_ours(library));
    let event_source = registered.filter(is_ours);
    let keeps_shim = shim::is_foreign(&folder.join(shim::FILE_NAME))?;
    remove.retain(|path| path.is_file() && !(keeps_shim && path.ends_with(shim::FILE_NAME)));
    let (mut purge, mut warnings) = (Vec::new(), Vec::new());
    if options.purge {
        let is_installed = settings.is_some() || !remove.is_empty() || folder.join(FILE_NAME).exists();
        let state = platform::state_folder().filter(|_| is_installed && !is_installed_elsewhere);
        purge = purge::paths(&folder, state, options.logs, &mut warnings);
    }
    let suggests_restoring_calls = !options.restore_calls && !options.purge;
    Ok(Plan { calls, warnings, folder, settings, event_source, remove, purge, suggests_restoring_calls })
}

impl Plan {
    /// Returns how `MfaSettings.xml` changes, as a unified diff without its secrets, or why there is no diff. `None` if
    /// it does not change.
    pub fn diff(&self) -> Option<Result<String, DeployError>> {
        // The secrets in a damaged file cannot be recognized.
        self.settings.as_ref().map(|restore| settings::diff(&restore.before, &restore.after))
    }

    /// Returns the steps in their order.
    pub fn steps(&self) -> Vec<Step<'_>> {
        let settings = self.settings.iter().map(|restore| {
            let [backup, kept] =
                [&restore.backup, &restore.kept].map(|path| path.file_name().unwrap_or_default().to_string_lossy());
            let description = format!("restore {backup}, and keep the present file as {kept}");
            Step { kind: StepKind::Settings, path: &restore.path, description }
        });
        let calls = self.calls.iter().map(|restore| Step {
            kind: StepKind::Calls,
            path: &restore.file,
            description: calls::description(restore),
        });
        let step =
            |kind, description: &'static str| move |path| Step { kind, path, description: description.to_owned() };
        let source = self.event_source.iter().map(PathBuf::as_path);
        let source = source.map(step(StepKind::EventSource, "remove it from the Windows Event Log"));
        let removed = self.remove.iter().map(PathBuf::as_path).map(step(StepKind::Remove, "remove"));
        let purged = self.purge.iter().map(PathBuf::as_path).map(step(StepKind::Purge, "remove"));
        settings.chain(calls).chain(source).chain(removed).chain(purged).collect()
    }
}

/// Plans the restoration of `MfaSettings.xml`. `None` if MIM does not load PhoneGate and no backup is named.
fn plan_settings(
    options: &Options<'_>,
    folder: &Path,
    backups: &[Backup],
) -> Result<Option<SettingsRestore>, DeployError> {
    let path = folder.join(settings::FILE_NAME);
    let backup = match options.backup {
        Some(name) => Some(backups.iter().find(|backup| backup.name == name).ok_or_else(|| {
            DeployError::usage(format!("there is no backup {name} in {}", folder.display()))
                .hint("`phonegate revert --list` lists the backups")
        })?),
        None => backups.first(),
    };
    let before = settings::read(&path)?;
    if options.backup.is_none() {
        let is_named = names_shim(&before, folder)
            .map_err(|error| error.hint("to restore a backup anyway, name it by --backup"))?;
        if !is_named {
            return Ok(None);
        }
    }
    let Some(backup) = backup else {
        return Err(DeployError::failed(format!(
            "{} names PhoneGate, and there is no backup of it in {}",
            path.display(),
            folder.display()
        ))
        .hint("remove its entry CustomPhoneProvider by hand, or restore a copy of your own, and run revert again"));
    };
    let after = settings::read(&backup.path)?;
    if names_shim(&after, folder)? {
        return Err(DeployError::usage(format!("{} names PhoneGate itself", backup.name))
            .hint("choose another one by --backup: `phonegate revert --list` lists the backups"));
    }
    if before == after {
        return Ok(None);
    }
    let kept = backups::new_path(folder)?;
    Ok(Some(SettingsRestore { path, before, backup: backup.path.clone(), after, kept }))
}

fn names_shim(file: &[u8], folder: &Path) -> Result<bool, DeployError> {
    let provider = settings::provider(file)?;
    Ok(provider.is_some_and(|path| is_same_file(Path::new(&path), &folder.join(shim::FILE_NAME))))
}
