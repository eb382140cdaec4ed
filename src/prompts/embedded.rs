//! The recordings and sentences of this library, from the folder `prompts`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use phonegate_approval::script::Piece;
use serde_json::Value;

use super::{Language, PromptAudio, Recording, wav};

/// A recording that is inflated and decoded when it is first played.
pub(super) type Embedded = LazyLock<Recording>;

macro_rules! languages {
    ($($language:literal)*) => {
        [$(($language, pieces!($language))),*]
    };
}

/// The recordings of a language, in the order of [`Piece::ALL`].
macro_rules! pieces {
    ($language:literal) => {
        pieces!(
            $language: "intro" "press_code" "digit_0" "digit_1" "digit_2" "digit_3" "digit_4" "digit_5" "digit_6"
            "digit_7" "digit_8" "digit_9" "then_pound" "press_pound" "enter_pin" "enter_pin_then" "not_you" "wrong_key"
            "verified" "fraud_reported" "goodbye"
        )
    };
    ($language:literal: $($piece:literal)*) => {
        [$(LazyLock::new(|| read(include_bytes!(concat!(env!("OUT_DIR"), "/", $language, "/", $piece, ".wav"))))),*]
    };
}

/// The recordings by language. The first tag of a language also serves its dialects without recordings.
static LANGUAGES: [(&str, [Embedded; Piece::ALL.len()]); 9] =
    languages!["en-US" "en-GB" "de-DE" "fr-FR" "es-ES" "it-IT" "pt-BR" "nl-NL" "pl-PL"];

/// Decodes a recording that the build script deflated. A test reads each of them.
fn read(deflated: &[u8]) -> Recording {
    let inflated = miniz_oxide::inflate::decompress_to_vec(deflated).unwrap_or_default();
    wav::read(&inflated).unwrap_or_default()
}

/// Returns the languages of this library.
pub(super) fn languages() -> Vec<Language> {
    let language = |(tag, spoken): &'static (&str, [Embedded; Piece::ALL.len()])| {
        Language::new(tag, Piece::ALL.into_iter().zip(spoken.iter().map(PromptAudio::Embedded)).collect())
    };
    LANGUAGES.iter().map(language).collect()
}

/// Returns the sentences of the recordings of this library, by language.
pub fn sentences() -> BTreeMap<String, Vec<(Piece, String)>> {
    // A test reads the file.
    let texts: BTreeMap<String, serde_json::Map<String, Value>> =
        serde_json::from_str(include_str!("../../prompts/prompts.json")).unwrap_or_default();
    let of = |texts: &serde_json::Map<String, Value>| {
        let sentence = |piece: Piece| Some((piece, texts.get(piece.name())?.as_str()?.to_owned()));
        Piece::ALL.into_iter().filter_map(sentence).collect()
    };
    texts.iter().map(|(language, texts)| (language.clone(), of(texts))).collect()
}
