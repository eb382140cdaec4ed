//! The key by which telephone numbers are hashed in the store.

use std::fmt::Write;
use std::path::Path;

use phonegate::config::{PrivacyConfig, Secret};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{Arguments, asker, file};
use crate::error::CommandError;

/// Length of a new key, in bytes.
const KEY_BYTES: usize = 32;

/// The section `privacy` of the configuration.
pub(super) struct Privacy {
    section: Map<String, Value>,
}

impl Privacy {
    /// Returns the section with the key of `--number-key-file`, or that of the configuration which is replaced: the store
    /// may have numbers that were hashed with its keys.
    ///
    /// # Errors
    /// The file has no key.
    pub(super) fn choose(arguments: &Arguments, former: &Path) -> Result<Self, CommandError> {
        let Some(file) = &arguments.number_key_file else {
            return Ok(Self { section: if arguments.force { former_section(former) } else { Map::new() } });
        };
        let option = "--number-key-file";
        let file = asker::option_path(option, file)?;
        // Read only to find out whether it can be.
        let privacy = PrivacyConfig { number_key: Some(Secret::File((&file).into())), ..PrivacyConfig::default() };
        privacy
            .number_keys(Path::new(""))
            .map_err(|error| CommandError::usage(format!("{option}: {}", error.problem())))?;
        let section = [("number_key".to_owned(), json!({ "file": file }))];
        Ok(Self { section: section.into_iter().collect() })
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

/// Returns the section of a configuration. It is empty if there is none, or if the file is not JSON.
fn former_section(path: &Path) -> Map<String, Value> {
    let text = file::read_text(path).unwrap_or_default();
    let former: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
    former.get("privacy").and_then(Value::as_object).cloned().unwrap_or_default()
}
