//! Checks that only administrators and the account of MIM's service have access to the configuration, its secrets, the
//! calls, the logs and the folder of the service.

use std::io;
use std::path::{Path, PathBuf};

use phonegate::config::{Loaded, TrustedPaths};
use phonegate::platform::{self, Account, Exposure, Grant};
use phonegate::store;

/// A path whose permissions are wrong.
pub struct PermissionProblem {
    /// The file or folder.
    pub path: PathBuf,
    /// Which account has too much or too little access, and what to do about it.
    pub text: String,
}

impl std::fmt::Display for PermissionProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.text)
    }
}

/// A problem of the folder for logs and state.
pub enum StateFolderProblem {
    /// Another account could have put something into it, so the library refuses it.
    Unsafe(String),
    /// The account of the service cannot write to it.
    NotWritable(String),
    /// Other accounts can read it.
    Readable(String),
}

/// Returns the existing ones of the configuration and the files of its secrets.
pub fn private_files(config: &Path, loaded: &Loaded) -> Vec<PathBuf> {
    let secrets = loaded.config.secret_files().into_iter().map(|file| loaded.base.join(file));
    let mut files: Vec<_> = std::iter::once(config.to_owned()).chain(secrets).filter(|file| file.is_file()).collect();
    files.sort();
    files.dedup();
    files
}

/// Checks the files that [`private_files`] returns.
pub fn check_private_files(files: &[PathBuf], account: Option<&Account>) -> Vec<PermissionProblem> {
    let lacking = "lets it read the file; move the file into the service's folder, where install grants that, or grant it \
                   yourself";
    files.iter().filter_map(|path| check(path, account, lacking)).collect()
}

/// Checks the files and the folder of a store that is a file.
pub fn check_store(loaded: &Loaded, account: Option<&Account>) -> Vec<PermissionProblem> {
    let files = store_files(loaded).into_iter();
    files.filter_map(|path| check(&path, account, "lets it keep calls there; let it modify what is there")).collect()
}

/// Returns the existing ones of the store's file, its journal and its folder, whose permissions new files get.
fn store_files(loaded: &Loaded) -> Vec<PathBuf> {
    let file = store::sqlite_file(&loaded.config.store, &loaded.base);
    let Ok(Some(file)) = file else { return Vec::new() };
    let mut journal = file.clone().into_os_string();
    journal.push("-wal");
    let paths = [file.parent().map(Path::to_owned), Some(PathBuf::from(journal)), Some(file)];
    paths.into_iter().flatten().filter(|path| path.exists()).collect()
}

/// Checks the other paths of a configuration: returns those that other accounts can change, without `known` and the
/// paths of [`check_store`].
pub fn check_other_paths(loaded: &Loaded, known: &[PathBuf]) -> Vec<PermissionProblem> {
    let of_store = store_files(loaded);
    let found = TrustedPaths::of(loaded).unsafe_paths().into_iter();
    found
        .filter(|found| !known.contains(&found.path) && !of_store.contains(&found.path))
        .map(|found| PermissionProblem {
            path: found.path,
            text: format!("{}; only administrators and the account of MIM's service should", found.why),
        })
        .collect()
}

/// Checks one path. `lacking` completes the message for an account of the service without access: what is missing, and
/// what to do about it.
fn check(path: &Path, account: Option<&Account>, lacking: &str) -> Option<PermissionProblem> {
    let text = match exposure(path, account) {
        Ok(Exposure { lacks_grant: true, .. }) => {
            Some(format!("{} has no entry of its own that {lacking}", name(account)))
        }
        Ok(exposure) => exposure
            .describe()
            .map(|others| format!("{others}; only administrators and the account of MIM's service should")),
        Err(error) => Some(format!("its permissions cannot be read: {error}")),
    };
    text.map(|text| PermissionProblem { path: path.to_owned(), text })
}

/// Returns the folder for logs and state. `None` if the operating system's is unknown.
pub fn state_folder(loaded: &Loaded) -> Option<PathBuf> {
    let named = loaded.config.log.directory.as_ref().map(|folder| loaded.base.join(folder));
    named.or_else(platform::state_folder)
}

/// Checks the folder for logs and state, which must exist.
///
/// # Errors
/// If its permissions cannot be read.
pub fn check_state_folder(folder: &Path, account: Option<&Account>) -> io::Result<Option<StateFolderProblem>> {
    if !std::fs::symlink_metadata(folder)?.is_dir() {
        return Ok(Some(StateFolderProblem::Unsafe("it is not a folder, or is a link to one".to_owned())));
    }
    let exposure = exposure(folder, account)?;
    Ok(match exposure.why_unsafe() {
        Some(why) => Some(StateFolderProblem::Unsafe(why)),
        None if exposure.lacks_grant => Some(StateFolderProblem::NotWritable(format!(
            "{} has no entry of its own that lets it write there",
            name(account)
        ))),
        None => exposure.describe().map(StateFolderProblem::Readable),
    })
}

/// Checks the service's folder: returns a warning if an account could replace what MIM loads from it.
pub fn check_service_folder(folder: &Path, account: Option<&Account>) -> Option<String> {
    // On Linux, an account that can write to a parent can replace the folder.
    let above = || Ok(platform::untrusted_writer(folder, true)?.filter(|(part, _)| part != folder));
    let found = exposure(folder, account).and_then(|exposure| match exposure.why_unsafe() {
        Some(why) => Ok(Some((folder.to_owned(), why))),
        None => above(),
    });
    match found {
        Ok(None) => None,
        Ok(Some((part, why))) => Some(format!(
            "{}: {why}. An account that can change it can replace what MIM loads, and approve every call: let only \
             administrators write there",
            part.display()
        )),
        Err(error) => Some(format!("{}: its permissions cannot be read: {error}", folder.display())),
    }
}

/// Returns who has access to a path besides administrators and the account of the service, or, if that is not
/// registered, this user.
fn exposure(path: &Path, account: Option<&Account>) -> io::Result<Exposure> {
    platform::exposure(path, account.map_or(Grant::CurrentUser, Grant::Account))
}

fn name(account: Option<&Account>) -> String {
    let name = account.map(|account| format!(", {},", account.name())).unwrap_or_default();
    format!("the account of MIM's service{name}")
}
