//! The recordings and sentences in this library: what is in the folder `prompts`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use phonegate_approval::script::Piece;
use serde_json::Value;

use super::{Language, PromptAudio, Recording, wav};

/// A recording that is inflated and decoded when it is first said.
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

/// By language. The first of a language speaks for its dialects that are not there.
static LANGUAGES: [(&str, [Embedded; Piece::ALL.len()]); 9] =
    languages!["en-US" "en-GB" "de-DE" "fr-FR" "es-ES" "it-IT" "pt-BR" "nl-NL" "pl-PL"];

/// A recording as the build script has deflated it. A test shows that each can be read.
fn read(deflated: &[u8]) -> Recording {
    let inflated = miniz_oxide::inflate::decompress_to_vec(deflated).unwrap_or_default();
    wav::read(&inflated).unwrap_or_default()
}

/// The languages of this library.
pub(super) fn languages() -> Vec<Language> {
    let language = |(tag, spoken): &'static (&str, [Embedded; Piece::ALL.len()])| {
        Language::new(tag, Piece::ALL.into_iter().zip(spoken.iter().map(PromptAudio::Embedded)).collect())
    };
    LANGUAGES.iter().map(language).collect()
}

/// What the recordings of this library say, by language.
pub fn sentences() -> BTreeMap<String, Vec<(Piece, String)>> {
    // A test shows that the file can be read.
    let texts: BTreeMap<String, serde_json::Map<String, Value>> =
        serde_json::from_str(include_str!("../../prompts/prompts.json")).unwrap_or_default();
    let of = |texts: &serde_json::Map<String, Value>| {
        let sentence = |piece: Piece| Some((piece, texts.get(piece.name())?.as_str()?.to_owned()));
        Piece::ALL.into_iter().filter_map(sentence).collect()
    };
    texts.iter().map(|(language, texts)| (language.clone(), of(texts))).collect()
}
