//! The section `prompts`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Bounded;
use crate::no_duplicate_keys;

/// What users hear from a backend that plays recordings.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PromptsConfig {
    /// The language of calls for which neither the host nor `by_country` selects one, as a tag of BCP 47: `en-US`.
    /// `phonegate prompts list` shows the languages.
    pub language: String,
    /// The language for the numbers of a country: `"DE": "de-DE"`.
    #[serde(deserialize_with = "no_duplicate_keys::map")]
    pub by_country: BTreeMap<String, String>,
    /// A folder of custom recordings, each at LANGUAGE/PIECE.wav, which replace those of PhoneGate. Null: none.
    pub directory: Option<PathBuf>,
    /// How often the prompt is played while no key is pressed.
    pub repeat: Bounded<1, 10, 3>,
    /// How many entries a user may make in one call.
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
