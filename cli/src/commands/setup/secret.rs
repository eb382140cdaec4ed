//! How a password or another secret is given and kept.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use phonegate::config::Secret;
use phonegate::platform::dpapi;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Arguments;
use super::asker::{self, Asker, Stop};
use super::file;
use crate::error::CommandError;

/// Maximum number of files of secrets with the same name that are left alone.
const MAX_FILES: u32 = 100;

/// A secret.
pub(super) enum SecretAnswer {
    /// Its place, as the configuration names it.
    At(Value),
    /// Its text, which was typed.
    Typed(Zeroizing<String>),
}

/// Where a secret is kept.
pub(super) struct Kept {
    /// What the configuration says.
    pub(super) setting: Value,
    /// The file that was written. `None` on Windows, where the configuration has it encrypted.
    pub(super) file: Option<PathBuf>,
}

/// Asks for a secret. `what` names it.
pub(super) fn ask(arguments: &Arguments, asker: &Asker, what: &str) -> Result<SecretAnswer, Stop> {
    if let Some(name) = &arguments.secret_env {
        if name.is_empty() || name.contains(|c: char| c == '=' || c.is_control()) {
            return Err(CommandError::usage("--secret-env: it is no name of an environment variable").into());
        }
        return Ok(SecretAnswer::At(json!({ "env": name })));
    }
    if let Some(file) = &arguments.secret_file {
        let file = asker::option_path("--secret-file", file)?;
        // Read only to find out whether it can be.
        let read = Secret::File((&file).into()).resolve(Path::new(""), "--secret-file");
        read.map_err(|error| CommandError::usage(error.to_string()))?;
        return Ok(SecretAnswer::At(json!({ "file": file })));
    }
    asker.secret("--secret-file or --secret-env", what).map(SecretAnswer::Typed)
}

/// Keeps a secret: encrypted on Windows, elsewhere in a private file in `folder`, whose name without the extension is
/// `stem`.
pub(super) fn keep(text: &str, folder: &Path, stem: &str) -> Result<Kept, CommandError> {
    if cfg!(windows) {
        let sealed = dpapi::seal(text.as_bytes())
            .map_err(|error| CommandError::failed(format!("Windows cannot encrypt the secret: {error}")))?;
        return Ok(Kept { setting: json!({ "dpapi": BASE64_STANDARD.encode(sealed) }), file: None });
    }
    let names = std::iter::once(file_name(stem));
    let names = names.chain((2..MAX_FILES).map(|n| format!("{stem}-{n}.txt")));
    for name in names {
        let path = folder.join(&name);
        match file::write_new(&path, text.as_bytes()) {
            Ok(()) => return Ok(Kept { setting: json!({ "file": name }), file: Some(path) }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(CommandError::failed(format!("cannot write {}: {error}", path.display()))
                    .hint("no configuration was written; choose a folder that you can write to by --config FILE"));
            }
        }
    }
    Err(CommandError::failed(format!(
        "there are too many files {stem}-….txt in {}; remove those that no configuration uses",
        folder.display()
    )))
}

/// Returns the name of the first file for a secret.
pub(super) fn file_name(stem: &str) -> String {
    format!("{stem}.txt")
}
