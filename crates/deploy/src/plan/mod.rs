//! Plans an installation: examines the machine, compiles the shim and tries the configuration out. It changes nothing
//! outside of a temporary folder.

mod bundle;
mod calls;
mod configuration;
mod files;
mod firewall;
mod library_hash;
mod notes;
mod options;
mod shim_compiler;
mod site;
mod trial;
mod work_folder;

use std::path::{Path, PathBuf};

use phonegate::config;
use phonegate::platform::Account;

use crate::change::FileKind;
use crate::event_source;
use crate::{Change, DeployError, Progress, backups, settings, shim};
use bundle::Bundle;
use configuration::Source;
pub(crate) use files::installed_files;
pub use files::library_name;
use files::{file_change, schema_change, tool_name};
pub use library_hash::of as library_sha256;
pub use notes::Finding;
use notes::Notes;
pub use options::Options;
use site::Site;
use work_folder::WorkFolder;

/// The findings and changes of an installation that is planned.
pub struct Plan {
    /// The folder of MIM's service.
    pub folder: PathBuf,
    /// The findings, in order.
    pub findings: Vec<Finding>,
    /// Warnings: what works, but should be corrected.
    pub warnings: Vec<String>,
    /// The changes, in the order in which they are made.
    pub changes: Vec<Change>,
    /// The change of `MfaSettings.xml` as a unified diff without its secrets. `None` if it does not change.
    pub diff: Option<String>,
    /// Whether there is no configuration yet. The changes then only write a starter, which must be edited.
    pub writes_starter: bool,
    /// The account of MIM's service. `None` if the service is not registered.
    pub(crate) account: Option<Account>,
}

/// Plans an installation.
///
/// # Errors
/// If anything would prevent the installation, or PhoneGate would not work after it.
pub fn plan(options: &Options<'_>, progress: &mut impl Progress) -> Result<Plan, DeployError> {
    let mut notes = Notes::default();
    let site = Site::find(options, &mut notes)?;
    let edit = SettingsEdit::plan(&site.folder)?;
    let work = WorkFolder::new()?;
    let bundle = Bundle::open(&work.path, options)?;
    let new_shim = shim_compiler::plan(&site.folder, options.csc, &work.path, &mut notes, progress)?;

    let config_path = site.folder.join(config::FILE_NAME);
    let country = settings::default_country(&edit.before)?;
    let (mut changes, mut diff) = (Vec::new(), None);
    let source = Source::choose(options.config, &config_path)?;
    let writes_starter = matches!(source, Source::Starter);
    if writes_starter {
        let starter = configuration::starter(&config_path, country.as_ref(), &mut notes);
        changes.extend(schema_change(&site.folder));
        changes.extend(file_change("configuration", config_path, starter.into_bytes(), FileKind::Private));
    } else {
        let planner = configuration::Planner { options, site: &site, path: &config_path, work: &work.path };
        changes.extend(planner.plan(&source, country.as_ref(), &mut notes, progress)?);
        changes.extend(schema_change(&site.folder));
        changes.extend(file_change("tool", site.folder.join(tool_name()), bundle.tool, FileKind::Program));
        let library = site.folder.join(library_name());
        let event_source = event_source::is_missing(&library).then(|| Change::EventSource { library: library.clone() });
        changes.extend(file_change("library", library, bundle.library, FileKind::Shared));
        let shim_path = site.folder.join(shim::FILE_NAME);
        changes.extend(new_shim.and_then(|contents| file_change("shim", shim_path, contents, FileKind::Shared)));
        changes.extend(event_source);
        if edit.after != edit.before {
            diff = Some(settings::diff(&edit.before, &edit.after)?);
            changes.extend(edit.changes(&site.folder, &mut notes)?);
        }
    }
    let Notes { findings, warnings } = notes;
    Ok(Plan { folder: site.folder, account: site.account, findings, warnings, changes, diff, writes_starter })
}

/// How `MfaSettings.xml` changes.
struct SettingsEdit {
    path: PathBuf,
    before: Vec<u8>,
    after: Vec<u8>,
}

impl SettingsEdit {
    /// # Errors
    /// If the file cannot be edited, or a shim that is not PhoneGate's has the name of ours.
    fn plan(folder: &Path) -> Result<Self, DeployError> {
        let path = folder.join(settings::FILE_NAME);
        let before = settings::read(&path)?;
        let shim_path = folder.join(shim::FILE_NAME);
        let shim_text = shim_path.to_str().ok_or_else(|| {
            DeployError::usage(format!(
                "{} is not Unicode, so {} cannot name it",
                shim_path.display(),
                settings::FILE_NAME
            ))
        })?;
        let after = settings::with_provider(&before, shim_text)?;
        if shim::is_foreign(&shim_path)? {
            return Err(DeployError::usage(format!("{} exists already, and is not PhoneGate's", shim_path.display()))
                .hint(format!(
                    "rename it, and change {} if that names it, then run install again",
                    settings::FILE_NAME
                )));
        }
        Ok(Self { path, before, after })
    }

    fn changes(self, folder: &Path, notes: &mut Notes) -> Result<[Change; 2], DeployError> {
        let cleared = settings::other_entries(&self.before)?;
        if !cleared.is_empty() {
            notes.found("to be cleared", format!("{} of {}", cleared.join(", "), self.path.display()));
        }
        let Self { path, before, after } = self;
        let backup = backups::new_path(folder)?;
        Ok([
            Change::Backup { path: backup, contents: before.clone(), original: path.clone() },
            Change::Settings { path, before, after },
        ])
    }
}
