//! Checks whether files that the configuration names can be written, without leaving anything behind.

use std::path::Path;

use phonegate::config::Loaded;
use phonegate::platform;

/// Returns why the file of a store cannot be created, or `None` if it can. Missing folders are created with it.
pub(crate) fn why_not_created(file: &Path) -> Option<String> {
    let exists = |folder: &&Path| folder.symlink_metadata().is_ok();
    let folder = file.ancestors().skip(1).find(exists)?;
    why_not_written(folder).or_else(|| {
        let is_parent = file.parent() == Some(folder);
        let error = is_parent.then(|| platform::ensure_private_dir(folder).err()).flatten()?;
        Some(format!("{}: {error}", folder.display()))
    })
}

/// Returns why the metrics file of the configuration cannot be written, or `None` if it can or there is none.
pub(crate) fn why_no_metrics(loaded: &Loaded) -> Option<String> {
    let file = loaded.base.join(loaded.config.metrics.textfile.as_ref()?);
    let why = match file.is_dir() {
        true => format!("{} is a folder; name a file in it", file.display()),
        false => why_not_written(file.parent()?)?,
    };
    Some(format!("metrics.textfile: {why}. No metrics are written until the account of the service can write there"))
}

/// Returns why no file can be created in a folder.
pub(crate) fn why_not_written(folder: &Path) -> Option<String> {
    let path = folder.display();
    match std::fs::metadata(folder) {
        Ok(meta) if !meta.is_dir() => Some(format!("{path} is not a folder; name a file in one")),
        Ok(_) => {
            // The file has no name, or is removed at once.
            let error = tempfile::tempfile_in(folder).err()?;
            Some(format!(
                "this user cannot create files in {path} ({}); run this as an administrator, or name another folder",
                error.kind()
            ))
        }
        Err(error) => {
            Some(format!("the folder {path} cannot be used ({}); create it, or name another one", error.kind()))
        }
    }
}
