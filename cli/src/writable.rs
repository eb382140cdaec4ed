//! Whether what the configuration names can be written: asked of folders, and without leaving anything there.

use std::path::Path;

use phonegate::config::Loaded;
use phonegate::platform;

/// Why a store's file, which is not there, could not be made. Folders that are missing are made with it.
pub(crate) fn why_not_created(file: &Path) -> Option<String> {
    let is_there = |folder: &&Path| folder.symlink_metadata().is_ok();
    let folder = file.ancestors().skip(1).find(is_there)?;
    why_not_written(folder).or_else(|| {
        let is_its_own = file.parent() == Some(folder);
        let error = is_its_own.then(|| platform::ensure_private_dir(folder).err()).flatten()?;
        Some(format!("{}: {error}", folder.display()))
    })
}

/// Why the file of figures cannot be written, where there is to be one.
pub(crate) fn why_no_metrics(loaded: &Loaded) -> Option<String> {
    let file = loaded.base.join(loaded.config.metrics.textfile.as_ref()?);
    let why = match file.is_dir() {
        true => format!("{} is a folder; name a file in it", file.display()),
        false => why_not_written(file.parent()?)?,
    };
    Some(format!("metrics.textfile: {why}. The figures are not written until the service's account may do that"))
}

/// Why nothing can be written into a folder.
fn why_not_written(folder: &Path) -> Option<String> {
    let path = folder.display();
    match std::fs::metadata(folder) {
        Ok(meta) if !meta.is_dir() => Some(format!("{path} is not a folder; name a file in one")),
        Ok(_) => {
            // It has no name, or loses it at once.
            let error = tempfile::tempfile_in(folder).err()?;
            Some(format!(
                "this user can make no file in {path} ({}); run this as an administrator, or name another folder",
                error.kind()
            ))
        }
        Err(error) => Some(format!(
            "there is no folder {path} that could be used ({}); make it, or name another one",
            error.kind()
        )),
    }
}
