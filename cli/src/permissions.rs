//! Who can use the configuration, its secrets, the calls that are kept, and the folders of logs and of the service:
//! administrators and the host's account, and nobody else.

use std::io;
use std::path::{Path, PathBuf};

use phonegate::config::{Loaded, StoreKind, TrustedPaths};
use phonegate::platform::{self, Account, Exposure, Grant};
use phonegate::store;

/// A file that others can use, too, or that the host cannot.
pub(crate) struct Wide {
    pub(crate) path: PathBuf,
    /// Who, and what they can do, or what is lacking; and what to do about it.
    pub(crate) why: String,
}

impl std::fmt::Display for Wide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}

/// What is wrong with the folder for logs and state.
pub(crate) enum StateFault {
    /// Somebody else could have put something there: the library refuses it.
    Unsafe(String),
    /// The host cannot write there.
    Lacking(String),
    /// Others can read it.
    Wide(String),
}

/// The configuration and its secrets, as far as there are such files.
pub(crate) fn private_files(config: &Path, loaded: &Loaded) -> Vec<PathBuf> {
    let secrets = loaded.config.secret_files().into_iter().map(|file| loaded.base.join(file));
    let mut files: Vec<_> = std::iter::once(config.to_owned()).chain(secrets).filter(|file| file.is_file()).collect();
    files.sort();
    files.dedup();
    files
}

/// Those of them that have other permissions than they should.
pub(crate) fn too_wide(files: &[PathBuf], account: Option<&Account>) -> Vec<Wide> {
    let lacking = "lets it read the file; move the file into the service's folder, where install grants that, or grant it \
                   yourself";
    files.iter().filter_map(|path| wide(path, account, lacking)).collect()
}

/// The same of a store that is a file.
pub(crate) fn store_too_wide(loaded: &Loaded, account: Option<&Account>) -> Vec<Wide> {
    let files = store_files(loaded).into_iter();
    files.filter_map(|path| wide(&path, account, "lets it keep calls there; let it modify what is there")).collect()
}

/// Of a store that is a file: that, what is written beside it, and the folder, which says who may use new ones; as far as
/// there are such files.
fn store_files(loaded: &Loaded) -> Vec<PathBuf> {
    let file = store::sqlite_file(&loaded.config.store, &loaded.base);
    let Some(file) = file.ok().filter(|_| loaded.config.store.kind == StoreKind::Sqlite) else { return Vec::new() };
    let mut journal = file.clone().into_os_string();
    journal.push("-wal");
    let paths = [file.parent().map(Path::to_owned), Some(PathBuf::from(journal)), Some(file)];
    paths.into_iter().flatten().filter(|path| path.exists()).collect()
}

/// Returns further paths of a configuration that other accounts can change, without `known` and the paths of
/// [`store_too_wide`].
pub(crate) fn changeable(loaded: &Loaded, known: &[PathBuf]) -> Vec<Wide> {
    let of_store = store_files(loaded);
    let found = TrustedPaths::of(loaded).unsafe_paths().into_iter();
    found
        .filter(|found| !known.contains(&found.path) && !of_store.contains(&found.path))
        .map(|found| Wide {
            path: found.path,
            why: format!("{}; only administrators and the account of MIM's service should", found.why),
        })
        .collect()
}

/// `lacking`: what the host's account has no entry for, and what to do about it.
fn wide(path: &Path, account: Option<&Account>, lacking: &str) -> Option<Wide> {
    let why = match exposure(path, account) {
        Ok(Exposure { lacking: true, .. }) => Some(format!("{} has no entry of its own that {lacking}", name(account))),
        Ok(exposure) => exposure
            .in_words()
            .map(|others| format!("{others}; only administrators and the account of MIM's service should")),
        Err(error) => Some(format!("its permissions cannot be read: {error}")),
    };
    why.map(|why| Wide { path: path.to_owned(), why })
}

/// The folder for logs and state.
pub(crate) fn state_folder(loaded: &Loaded) -> Option<PathBuf> {
    let named = loaded.config.log.directory.as_ref().map(|folder| loaded.base.join(folder));
    named.or_else(platform::state_folder)
}

/// What is wrong with that folder, which is there.
///
/// # Errors
/// Where its permissions cannot be read.
pub(crate) fn state_fault(folder: &Path, account: Option<&Account>) -> io::Result<Option<StateFault>> {
    if !std::fs::symlink_metadata(folder)?.is_dir() {
        return Ok(Some(StateFault::Unsafe("it is not a folder, or only a link to one".to_owned())));
    }
    let exposure = exposure(folder, account)?;
    Ok(match exposure.why_unsafe() {
        Some(why) => Some(StateFault::Unsafe(why)),
        None if exposure.lacking => {
            Some(StateFault::Lacking(format!("{} has no entry of its own that lets it write there", name(account))))
        }
        None => exposure.in_words().map(StateFault::Wide),
    })
}

/// Who could replace the library in the service's folder. None where nobody can.
pub(crate) fn could_replace(folder: &Path, account: Option<&Account>) -> Option<String> {
    // On Linux, also an account that can replace the folder.
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

/// As the host sees it; as this user does where the host is not registered.
fn exposure(path: &Path, account: Option<&Account>) -> io::Result<Exposure> {
    platform::exposure(path, account.map_or(Grant::CurrentUser, Grant::Account))
}

fn name(account: Option<&Account>) -> String {
    let name = account.map(|account| format!(", {},", account.name())).unwrap_or_default();
    format!("the account of MIM's service{name}")
}
