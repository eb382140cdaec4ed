//! The key by which telephone numbers are hashed in the store.

use std::fmt::Write;
use std::io::ErrorKind;
use std::path::Path;

use phonegate::config::{self, MAX_FILE_BYTES, PrivacyConfig, Secret};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{Arguments, asker};
use crate::error::CommandError;

/// Length of a new key, in bytes.
const KEY_BYTES: usize = 32;

/// The section `privacy` of the configuration.
#[derive(PartialEq)]
pub(super) struct Privacy {
    section: Map<String, Value>,
}

impl Privacy {
    /// Returns the section with the key of `--number-key-file`, and the keys of the configuration that is replaced: the store
    /// may have numbers that were hashed with them.
    ///
    /// # Errors
    /// The file has no key, or the configuration cannot be read and no file is named.
    pub(super) fn choose(arguments: &Arguments, former: &Path) -> Result<Self, CommandError> {
        let former = if arguments.force { former_section(former) } else { Ok(Map::new()) };
        let Some(file) = &arguments.number_key_file else {
            let hint = "correct it, or name the number key by --number-key-file";
            return former.map(|section| Self { section }).map_err(|problem| CommandError::usage(problem).hint(hint));
        };
        let option = "--number-key-file";
        let file = asker::option_path(option, file)?;
        // Read only to find out whether it can be.
        let privacy = PrivacyConfig { number_key: Some(Secret::File((&file).into())), ..PrivacyConfig::default() };
        privacy
            .number_keys(Path::new(""))
            .map_err(|error| CommandError::usage(format!("{option}: {}", error.problem())))?;
        Ok(Self { section: with_new_key(former.unwrap_or_default(), json!({ "file": file })) })
    }

    /// Returns whether a key must be generated.
    pub(super) fn needs_key(&self) -> bool {
        self.section.get("number_key").is_none_or(Value::is_null)
    }

    /// Returns the section with this key, if one must be generated.
    pub(super) fn with_key(&self, key: Value) -> Value {
        let mut section = self.section.clone();
        if self.needs_key() {
            section.insert("number_key".to_owned(), key);
        }
        Value::Object(section)
    }
}

/// Generates a key: random bytes in hexadecimal.
///
/// # Errors
/// If the operating system provides no random numbers.
pub(super) fn generate() -> Result<Zeroizing<String>, CommandError> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    getrandom::fill(&mut *bytes).map_err(|error| {
        CommandError::failed(format!("cannot generate a number key: {error}")).hint("no configuration was written")
    })?;
    let mut key = Zeroizing::new(String::with_capacity(2 * KEY_BYTES));
    for byte in bytes.iter() {
        // A write to a string cannot fail.
        let _ = write!(key, "{byte:02x}");
    }
    Ok(key)
}

/// Returns the section with another key. The former key is then one of the other keys.
fn with_new_key(mut section: Map<String, Value>, key: Value) -> Map<String, Value> {
    let former = section.insert("number_key".to_owned(), key.clone()).filter(|former| !former.is_null());
    let others = section.get("other_number_keys").and_then(Value::as_array);
    let others: Vec<_> =
        former.iter().chain(others.into_iter().flatten()).filter(|other| **other != key).cloned().collect();
    if !others.is_empty() {
        section.insert("other_number_keys".to_owned(), others.into());
    }
    section
}

/// Returns the section of a configuration. It is empty if there is no configuration.
///
/// # Errors
/// The file cannot be read, is not JSON, or has a section that is not valid: its keys are then unknown.
fn former_section(path: &Path) -> Result<Map<String, Value>, String> {
    /// Checks the section. The rest of the file need not be valid.
    #[derive(Deserialize)]
    struct Former {
        #[serde(rename = "privacy")]
        _privacy: Option<PrivacyConfig>,
    }
    let shown = path.display();
    let text = match config::read_text(path, MAX_FILE_BYTES) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Map::new()),
        Err(error) => return Err(format!("{shown} cannot be read, so its number keys are unknown: {error}")),
    };
    let former: Map<String, Value> = serde_json::from_str(&text)
        .map_err(|error| format!("{shown} is not JSON, so its number keys are unknown: {error}"))?;
    let invalid = || format!("{shown}: privacy is not valid, so the number keys are unknown");
    // The error is not shown, since it may show a key at a wrong place.
    serde_json::from_str::<Former>(&text).map_err(|_| invalid())?;
    match former.get("privacy") {
        Some(Value::Object(section)) => Ok(section.clone()),
        Some(Value::Null) | None => Ok(Map::new()),
        Some(_) => Err(invalid()),
    }
}
