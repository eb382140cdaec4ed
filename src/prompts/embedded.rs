//! The recordings in this library, which `prompts/make` made from `prompts/prompts.json`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Source, Voice, wav};
use crate::config::{ConfigError, ErrorKind};

macro_rules! recordings {
    ($language:literal) => {
        (
            $language,
            [
                include_bytes!(concat!("../../prompts/", $language, "/greeting.wav")).as_slice(),
                include_bytes!(concat!("../../prompts/", $language, "/wrong_key.wav")),
                include_bytes!(concat!("../../prompts/", $language, "/verified.wav")),
                include_bytes!(concat!("../../prompts/", $language, "/fraud_reported.wav")),
                include_bytes!(concat!("../../prompts/", $language, "/goodbye.wav")),
            ],
        )
    };
}

/// By language; in the order of `Prompt::ALL`.
const FILES: [(&str, [&[u8]; 5]); 9] = [
    recordings!("de-DE"),
    recordings!("en-GB"),
    recordings!("en-US"),
    recordings!("es-ES"),
    recordings!("fr-FR"),
    recordings!("it-IT"),
    recordings!("nl-NL"),
    recordings!("pl-PL"),
    recordings!("pt-BR"),
];

/// The embedded voices by their language.
pub(super) fn voices() -> Result<BTreeMap<String, Arc<Voice>>, ConfigError> {
    let voice = |(language, files): (&str, [&[u8]; 5])| {
        let decode = |bytes| match wav::decode(bytes) {
            Ok(recording) => Ok((recording, Source::Embedded)),
            Err(problem) => {
                Err(ConfigError::new(ErrorKind::BackendUnusable, format_args!("embedded prompt: {problem}")))
            }
        };
        let [greeting, wrong_key, verified, fraud_reported, goodbye] = files.map(decode);
        let recordings = [greeting?, wrong_key?, verified?, fraud_reported?, goodbye?];
        Ok((language.to_owned(), Arc::new(Voice { recordings })))
    };
    FILES.into_iter().map(voice).collect()
}
