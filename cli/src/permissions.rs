//! Who can use the configuration and its secrets: administrators and the host's account, and nobody else.

use std::path::{Path, PathBuf};

use phonegate::config::Loaded;
use phonegate::platform::{self, Account};

/// A file that others can use, too.
pub(crate) struct Wide {
    pub(crate) path: PathBuf,
    /// Who, and what they can do; or that the host's account cannot read it.
    pub(crate) why: String,
}

impl std::fmt::Display for Wide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, why } = self;
        write!(f, "{}: {why}; only administrators and the account of MIM's service should", path.display())
    }
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
    let wide = |path: &PathBuf| {
        let why = match platform::exposure(path, account.into()) {
            Ok(exposure) if exposure.lacking => Some("the service's account cannot read it".to_owned()),
            Ok(exposure) => exposure.in_words(),
            Err(error) => Some(format!("its permissions cannot be read: {error}")),
        };
        why.map(|why| Wide { path: path.clone(), why })
    };
    files.iter().filter_map(wide).collect()
}
