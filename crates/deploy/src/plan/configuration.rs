//! The configuration's part of a plan.

use std::path::{Path, PathBuf};

use phonegate::config::{self, BackendConfig, Config, Loaded, PATH_VARIABLE, TrustedPaths, UnsafePath};
use phonegate::platform::Account;

use super::files::{file_change, read};
use super::notes::Notes;
use super::options::Options;
use super::site::Site;
use super::{calls, firewall, trial};
use crate::change::{FileKind, StateFolder};
use crate::permissions::{self, StateFolderProblem};
use crate::settings::country::DefaultCountry;
use crate::{Change, DeployError, Progress, is_same_file};

const STARTER: &str = include_str!("starter.json");

/// The source of the configuration.
pub(super) enum Source {
    /// The file that is already in the service's folder, which is kept.
    Kept,
    /// A file that is copied into the service's folder.
    Copied(PathBuf),
    /// There is none: a starter is written.
    Starter,
}

impl Source {
    /// Chooses between the file that the administrator `named` and the one at `path`, in the service's folder.
    ///
    /// # Errors
    /// If both exist and differ.
    pub(super) fn choose(named: Option<&Path>, path: &Path) -> Result<Self, DeployError> {
        // A relative name is resolved against the current folder, not against MIM's.
        let is_path = |named: &Path| std::path::absolute(named).is_ok_and(|named| is_same_file(&named, path));
        match named {
            Some(named) if path.exists() && !is_path(named) => match read(named)? == read(path)? {
                true => Ok(Self::Kept),
                false => Err(DeployError::usage(format!(
                    "{} exists already, and differs from {}",
                    path.display(),
                    named.display()
                ))
                .hint("edit it, or move it away")),
            },
            _ if path.exists() => Ok(Self::Kept),
            Some(named) => Ok(Self::Copied(named.to_owned())),
            // The environment variable and the file in this program's folder are ignored: other accounts may control
            // them.
            None => Ok(Self::Starter),
        }
    }

    /// Loads the configuration as the service will see it, and returns its bytes if they are to be copied. The file is
    /// read once, so that the copied bytes are the checked ones.
    fn load(&self, path: &Path) -> Result<(Loaded, Option<Vec<u8>>), DeployError> {
        let from = match self {
            Self::Copied(from) => from.as_path(),
            _ => path,
        };
        let (mut loaded, text) = config::load_with_text(from, &phonegate::TYPES)
            .map_err(|error| DeployError::unusable_config(error.to_string()))?;
        // Relative paths will be resolved against the new place.
        loaded.base = path.parent().map(Path::to_owned).unwrap_or_default();
        loaded.file = Some(path.to_owned());
        Ok((loaded, matches!(self, Self::Copied(_)).then(|| text.into_bytes())))
    }

    fn description(&self, path: &Path) -> String {
        match self {
            Self::Copied(from) => format!("{} (a copy of {})", path.display(), from.display()),
            _ => format!("{} (kept)", path.display()),
        }
    }
}

/// Returns the text of a first configuration, with the country that MIM's settings imply.
pub(super) fn starter(path: &Path, country: Option<&DefaultCountry>, notes: &mut Notes) -> String {
    const COUNTRY: &str = "\"default_country\": \"US\"";
    notes.warnings.extend(unused_configuration());
    if let Some(country) = country {
        notes.found("default country", country.advice(None));
    }
    notes.found("configuration", format!("{} (does not exist yet)", path.display()));
    match country.and_then(DefaultCountry::main) {
        Some(country) => STARTER.replace(COUNTRY, &format!("\"default_country\": \"{country}\"")),
        None => STARTER.to_owned(),
    }
}

/// Returns a warning if there is a configuration in this program's folder, which is not used.
fn unused_configuration() -> Option<String> {
    let unused = std::env::current_exe().ok()?.with_file_name(config::FILE_NAME);
    unused.exists().then(|| {
        let unused = unused.display();
        format!("{unused} is not used. To install it: phonegate install --config \"{unused}\"")
    })
}

/// The inputs of the plan of a configuration.
pub(super) struct Planner<'a> {
    pub(super) options: &'a Options<'a>,
    pub(super) site: &'a Site,
    /// The path of the configuration in the service's folder.
    pub(super) path: &'a Path,
    /// A folder that no other account can write to.
    pub(super) work: &'a Path,
}

impl Planner<'_> {
    /// Checks the configuration, tries it out, and returns the changes that it needs: the state folder, the copy of the
    /// calls, the file itself and the permissions of its secrets.
    pub(super) fn plan(
        &self,
        source: &Source,
        country: Option<&DefaultCountry>,
        notes: &mut Notes,
        progress: &mut impl Progress,
    ) -> Result<Vec<Change>, DeployError> {
        let account = self.site.account.as_ref();
        notes.warnings.extend(self.overridden());
        let (loaded, contents) = source.load(self.path)?;
        if !self.options.allow_test_backends {
            refuse_test_backends(&loaded.config)?;
        }
        notes.warnings.extend(loaded.config.warnings());
        notes.found("configuration", source.description(self.path));
        compare_country(country, &loaded.config, notes);
        for rule in firewall::rules(&loaded.config, &self.site.folder) {
            notes.found("firewall", rule);
        }
        let secrets = permissions::private_files(self.path, &loaded);
        let corrected = |path: &PathBuf| secrets.contains(path) && self.is_inside(path);
        // The folder and the secrets have warnings of their own.
        let is_other = |found: &UnsafePath| found.path != self.site.folder && !secrets.contains(&found.path);
        let writable = writable_paths(&loaded, corrected)?;
        notes.warnings.extend(writable.into_iter().filter(is_other).map(|found| found.to_string()));
        let state = state_folder(&loaded, account)?;
        let calls = calls::back_up(&loaded, self.path, state.as_ref())?;
        let mut changes: Vec<_> = state.into_iter().chain(calls).collect();
        trial::run(loaded, self.path, self.work, self.options.skip_check, notes, progress)?;

        let file = contents
            .and_then(|contents| file_change("configuration", self.path.to_owned(), contents, FileKind::Private));
        changes.extend(file);
        for problem in permissions::check_private_files(&secrets, account) {
            // A file elsewhere may belong to other programs too.
            match self.is_inside(&problem.path) {
                true => changes.push(Change::Protect { path: problem.path, problem: problem.text }),
                false => notes.warnings.push(problem.to_string()),
            }
        }
        Ok(changes)
    }

    /// Returns a warning if the environment names another configuration.
    fn overridden(&self) -> Option<String> {
        let other = std::env::var_os(PATH_VARIABLE).filter(|path| !path.is_empty())?;
        Some(format!(
            "{PATH_VARIABLE} is set to {}: if it is set for MIM's service too, PhoneGate reads that file and not {}",
            Path::new(&other).display(),
            self.path.display()
        ))
    }

    /// Returns whether the file is in the service's folder.
    fn is_inside(&self, path: &Path) -> bool {
        let folder = self.site.folder.canonicalize();
        matches!((path.canonicalize(), folder), (Ok(path), Ok(folder)) if path.starts_with(&folder))
    }
}

fn compare_country(country: Option<&DefaultCountry>, config: &Config, notes: &mut Notes) {
    let Some(country) = country else { return };
    let configured = config.numbers.default_country.as_deref();
    match country.agrees_with(configured) {
        true => notes.found("default country", country.advice(configured)),
        false => notes.warnings.push(country.advice(configured)),
    }
}

/// Returns the paths of the configuration that other accounts can still change after the installation, which corrects
/// the `corrected` ones.
///
/// # Errors
/// If the service would refuse to start for that reason.
fn writable_paths(loaded: &Loaded, corrected: impl Fn(&PathBuf) -> bool) -> Result<Vec<UnsafePath>, DeployError> {
    let found = TrustedPaths::of(loaded).unsafe_paths();
    let found: Vec<_> = found.into_iter().filter(|found| !corrected(&found.path)).collect();
    if !loaded.config.strict_permissions || found.is_empty() {
        return Ok(found);
    }
    let list: Vec<_> = found.iter().map(ToString::to_string).collect();
    Err(DeployError::unusable_config(format!("strict_permissions: {}. PhoneGate would not start", list.join("; ")))
        .hint("allow only administrators to write there"))
}

fn refuse_test_backends(config: &Config) -> Result<(), DeployError> {
    let reason = |(name, backend): (_, &BackendConfig)| Some((name, backend.type_name(), backend.test_reason()?));
    let Some((name, kind, reason)) = config.in_use().find_map(reason) else { return Ok(()) };
    let (lists, clause) = (config.lists_with(name), reason.clause());
    let error = DeployError::unusable_config(format!("{lists}: `{name}` (type {kind}) {clause}"));
    let error = reason.remedy().into_iter().fold(error, DeployError::hint);
    Err(error.hint("in a laboratory, add --allow-test-backends"))
}

/// Returns the change that the folder for logs and state needs.
fn state_folder(loaded: &Loaded, account: Option<&Account>) -> Result<Option<Change>, DeployError> {
    let is_named = loaded.config.log.directory.is_some();
    let Some(path) = permissions::state_folder(loaded) else {
        return Err(DeployError::failed("the folder for logs and state is unknown")
            .hint("set the environment variable ProgramData"));
    };
    if std::fs::symlink_metadata(&path).is_err() {
        return Ok(Some(Change::StateFolder { path, state: StateFolder::Missing }));
    }
    let problem = permissions::check_state_folder(&path, account)
        .map_err(|error| DeployError::failed(format!("cannot read the permissions of {}: {error}", path.display())))?;
    let Some(problem) = problem else { return Ok(None) };
    if is_named {
        // Only the administrator knows what else a folder of the site is used for.
        return match problem {
            StateFolderProblem::Unsafe(why) => {
                Err(DeployError::unusable_config(format!("log.directory: {}: {why}", path.display())).hint(
                    "correct its permissions or name another folder: PhoneGate keeps no state in a folder that other \
                     accounts can write to",
                ))
            }
            StateFolderProblem::NotWritable(why) => {
                Err(DeployError::unusable_config(format!("log.directory: {}: {why}", path.display()))
                    .hint("grant it the right to modify what is there"))
            }
            StateFolderProblem::Readable(_) => Ok(None),
        };
    }
    let state = match problem {
        StateFolderProblem::Unsafe(why) => StateFolder::Unsafe(why),
        StateFolderProblem::NotWritable(why) | StateFolderProblem::Readable(why) => StateFolder::WrongPermissions(why),
    };
    Ok(Some(Change::StateFolder { path, state }))
}

// On Windows, a file that is being replaced cannot always be opened.
#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn with_deadline(seconds: u32) -> String {
        serde_json::json!({
            "use": ["demo"], "allow_test_backends": true, "call": { "deadline_s": seconds },
            "backends": { "demo": { "type": "simulated", "press": "0" } }
        })
        .to_string()
    }

    #[test]
    fn the_copied_bytes_are_the_checked_ones() {
        let folder = tempfile::tempdir().unwrap();
        let (from, next) = (folder.path().join("named.json"), folder.path().join("next.json"));
        let place = folder.path().join("service/phonegate.json");
        fs::write(&from, with_deadline(10)).unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for seconds in (10..600).cycle().take_while(|_| !is_over.load(Ordering::Relaxed)) {
                    fs::write(&next, with_deadline(seconds)).unwrap();
                    fs::rename(&next, &from).unwrap();
                }
            });
            let differing: Vec<_> = (0..200)
                .filter_map(|_| {
                    let loaded = Source::Copied(from.clone()).load(&place);
                    let (loaded, contents) = loaded.unwrap();
                    assert_eq!(loaded.base, folder.path().join("service"));
                    let checked = with_deadline(u32::try_from(loaded.config.call.deadline_s.get()).unwrap());
                    (contents.as_deref() != Some(checked.as_bytes())).then_some(checked)
                })
                .collect();
            is_over.store(true, Ordering::Relaxed);
            assert!(differing.is_empty(), "{} of 200 copies were not what was checked", differing.len());
        });
    }
}
