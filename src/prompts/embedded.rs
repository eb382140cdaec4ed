//! The recordings and sentences in this library: what is in the folder `prompts`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::{Language, Prompt, Recording, Spoken, wav};

/// A recording that is inflated and decoded when it is first said.
pub(super) type Embedded = LazyLock<Recording>;

macro_rules! recording {
    ($language:literal, $prompt:literal) => {
        LazyLock::new(|| read(include_bytes!(concat!(env!("OUT_DIR"), "/", $language, "/", $prompt, ".wav"))))
    };
}

macro_rules! languages {
    ($($language:literal)*) => {
        [$(($language, [
            recording!($language, "greeting"),
            recording!($language, "wrong_key"),
            recording!($language, "verified"),
            recording!($language, "fraud_reported"),
            recording!($language, "goodbye"),
        ])),*]
    };
}

/// By language, in the order of [`Prompt::ALL`]. The first of a language speaks for its dialects that are not there.
static LANGUAGES: [(&str, [Embedded; Prompt::ALL.len()]); 9] =
    languages!["en-US" "en-GB" "de-DE" "fr-FR" "es-ES" "it-IT" "pt-BR" "nl-NL" "pl-PL"];

/// A recording as the build script has deflated it. A test shows that each can be read.
fn read(deflated: &[u8]) -> Recording {
    let inflated = miniz_oxide::inflate::decompress_to_vec(deflated).unwrap_or_default();
    wav::read(&inflated).unwrap_or_default()
}

/// The languages of this library.
pub(super) fn languages() -> Vec<Language> {
    LANGUAGES.iter().map(|(tag, spoken)| Language::new(tag, spoken.each_ref().map(Spoken::Embedded))).collect()
}

/// What the recordings of this library say, by language.
pub fn sentences() -> BTreeMap<String, Vec<(Prompt, String)>> {
    // A test shows that the file can be read.
    let texts: BTreeMap<String, serde_json::Map<String, Value>> =
        serde_json::from_str(include_str!("../../prompts/prompts.json")).unwrap_or_default();
    let of = |texts: &serde_json::Map<String, Value>| {
        let sentence = |prompt: Prompt| Some((prompt, texts.get(prompt.name())?.as_str()?.to_owned()));
        Prompt::ALL.into_iter().filter_map(sentence).collect()
    };
    texts.iter().map(|(language, texts)| (language.clone(), of(texts))).collect()
}
