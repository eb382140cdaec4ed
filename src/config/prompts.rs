//! The section `prompts`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Bounded;
use crate::no_duplicate_keys;

/// What users hear from a backend that speaks itself.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PromptsConfig {
    /// The language where nothing says another, as a tag of BCP 47: `en-US`. `phonegate prompts list` shows those there
    /// are.
    pub language: String,
    /// The language by the country of the number: `"DE": "de-DE"`.
    #[serde(deserialize_with = "no_duplicate_keys::map")]
    pub by_country: BTreeMap<String, String>,
    /// A folder of own recordings, each at LANGUAGE/PIECE.wav, which are used instead of those of PhoneGate. Null: none.
    pub directory: Option<PathBuf>,
    /// How often the prompt is said while no key is pressed.
    pub repeat: Bounded<1, 10, 3>,
    /// How many entries a user has.
    pub attempts: Bounded<1, 10, 2>,
}

impl Default for PromptsConfig {
    fn default() -> Self {
        Self {
            language: "en-US".to_owned(),
            by_country: BTreeMap::new(),
            directory: None,
            repeat: Bounded::default(),
            attempts: Bounded::default(),
        }
    }
}
