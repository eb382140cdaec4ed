//! The sentences and languages of a flow.

use std::collections::BTreeMap;

use phonegate_approval::policy::Method;
use phonegate_approval::script::{self, Piece};

use crate::config::{ConfigError, FraudKey, PromptsConfig};
use crate::prompts;

/// A voice for each language that has sentences: <https://www.twilio.com/docs/voice/twiml/say/text-speech>.
const VOICES: [(&str, &str); 9] = [
    ("en-US", "Polly.Joanna"),
    ("en-GB", "Polly.Amy"),
    ("de-DE", "Polly.Vicki"),
    ("fr-FR", "Polly.Lea"),
    ("es-ES", "Polly.Lucia"),
    ("it-IT", "Polly.Bianca"),
    ("pt-BR", "Polly.Camila"),
    ("nl-NL", "Polly.Lotte"),
    ("pl-PL", "Polly.Ewa"),
];

/// Ends each prompt, so that there is time to press a key before it is repeated.
const PAUSE: &str = "<break time=\"3s\"/>";

/// A language that a flow can speak.
#[derive(Clone)]
pub(in super::super) struct Speech {
    /// A tag such as `en-US`.
    pub(in super::super) tag: &'static str,
    pub(super) voice: &'static str,
    sentences: BTreeMap<Piece, String>,
}

impl Speech {
    fn sentence(&self, piece: Piece) -> &str {
        self.sentences.get(&piece).map_or("", String::as_str)
    }

    /// Returns the digits of a code in words, spoken one by one: `four, seven, one`.
    pub(in super::super) fn digits(&self, code: impl Iterator<Item = Piece>) -> String {
        code.map(|digit| self.sentence(digit)).collect::<Vec<_>>().join(", ")
    }

    /// Returns the prompt of an attempt. The code is a parameter of the Execution.
    ///
    /// With `pound`, the opening of a later attempt is a [separate sentence](Self::wrong_key).
    pub(super) fn prompt(&self, method: Method, attempt: u8, fraud_key: FraudKey) -> String {
        let mut said = Vec::new();
        for piece in script::pieces(method, attempt, "0") {
            match piece {
                Piece::WrongKey if method == Method::Pound => {}
                Piece::NotYou => said.push(self.not_you(fraud_key)),
                Piece::Digit(_) => {
                    let end = if said.iter().any(|words| words == self.sentence(Piece::ThenPound)) { '.' } else { ',' };
                    said.push(format!("{{{{flow.data.spoken_{attempt}}}}}{end}"));
                }
                piece => said.push(self.sentence(piece).to_owned()),
            }
        }
        said.push(PAUSE.to_owned());
        said.join(" ")
    }

    /// Returns the sentence about a wrong entry.
    pub(super) fn wrong_key(&self) -> &str {
        self.sentence(Piece::WrongKey)
    }

    /// Returns the request for the `#` after the fraud key.
    pub(super) fn then_pound(&self) -> &str {
        self.sentence(Piece::ThenPound)
    }

    /// Returns the sentence about reporting a fraud, with the fraud key in place of zero.
    fn not_you(&self, fraud_key: FraudKey) -> String {
        let sentence = self.sentence(Piece::NotYou);
        let digit = fraud_key.get().to_digit(10).and_then(|digit| u8::try_from(digit).ok()).unwrap_or_default();
        if digit == 0 {
            return sentence.to_owned();
        }
        let zero = self.sentence(Piece::Digit(0));
        let said = |word: &str| match word.trim_end_matches(',') {
            // In German, the digit is a noun with a capital letter.
            found if found.to_lowercase() == zero => word.replace(found, self.sentence(Piece::Digit(digit))),
            _ => word.to_owned(),
        };
        sentence.split(' ').map(said).collect::<Vec<_>>().join(" ")
    }
}

/// The languages of a configuration. The flow has all of them.
pub(in super::super) struct Languages {
    default: Speech,
    by_country: BTreeMap<String, Speech>,
}

impl Languages {
    /// # Errors
    /// The configuration has a language that a flow cannot speak, such as one with custom recordings only.
    pub(in super::super) fn new(config: &PromptsConfig) -> Result<Self, ConfigError> {
        let known = known();
        let named = |path: String, tag: &str| {
            find(known.iter(), tag).cloned().ok_or_else(|| {
                let tags: Vec<_> = known.iter().map(|speech| speech.tag).collect();
                let problem = format!("is `{tag}`, which twilio_studio cannot speak; it speaks {}", tags.join(", "));
                ConfigError::invalid(path, problem)
            })
        };
        let default = named("prompts.language".to_owned(), &config.language)?;
        let by_country = config
            .by_country
            .iter()
            .map(|(country, tag)| Ok((country.clone(), named(format!("prompts.by_country.{country}"), tag)?)));
        Ok(Self { default, by_country: by_country.collect::<Result<_, ConfigError>>()? })
    }

    /// Returns the language of a call: the one that the host requested, or else that of the number's country (ISO 3166-1
    /// alpha-2), or else the default.
    pub(in super::super) fn choose(&self, asked: Option<&str>, country: Option<&str>) -> &Speech {
        let of_country = country.and_then(|country| self.by_country.get(country)).unwrap_or(&self.default);
        let asked =
            asked.and_then(|tag| find([of_country, &self.default].into_iter().chain(self.by_country.values()), tag));
        asked.unwrap_or(of_country)
    }

    /// Returns each language once, the default first.
    pub(super) fn all(&self) -> Vec<&Speech> {
        let mut all = vec![&self.default];
        for speech in self.by_country.values() {
            if !all.iter().any(|known| known.tag == speech.tag) {
                all.push(speech);
            }
        }
        all
    }
}

/// Returns the languages that have sentences and a voice.
fn known() -> Vec<Speech> {
    let mut sentences = prompts::sentences();
    let speech = |(tag, voice): (&'static str, &'static str)| {
        Some(Speech { tag, voice, sentences: sentences.remove(tag)?.into_iter().collect() })
    };
    VOICES.into_iter().filter_map(speech).collect()
}

/// Returns the language of a tag, or else the first variant of the same language for another country.
fn find<'a>(speeches: impl Iterator<Item = &'a Speech> + Clone, tag: &str) -> Option<&'a Speech> {
    let tag = tag.replace('_', "-");
    let primary = |tag: &str| tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
    let exact = speeches.clone().find(|speech| speech.tag.eq_ignore_ascii_case(&tag));
    exact.or_else(|| speeches.clone().find(|speech| primary(speech.tag) == primary(&tag)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn of(key: &str) -> FraudKey {
        serde_json::from_value(serde_json::json!(key)).unwrap()
    }

    #[test]
    fn every_language_has_every_sentence() {
        let known = known();
        assert_eq!(known.len(), VOICES.len());
        assert_eq!(known.len(), prompts::sentences().len(), "every language of the recordings has a voice");
        for speech in known {
            for piece in Piece::ALL {
                let sentence = speech.sentence(piece);
                assert!(!sentence.is_empty(), "{} {}", speech.tag, piece.name());
                assert!(!sentence.contains(['<', '>', '&', '{', '}']), "no markup in {sentence}");
            }
        }
    }

    #[test]
    fn another_fraud_key_replaces_zero_in_every_language() {
        for speech in known() {
            let (zero, nine) = (speech.not_you(of("0")), speech.not_you(of("9")));
            let [digit_0, digit_9] = [0, 9].map(|digit| speech.sentence(Piece::Digit(digit)));
            assert_eq!(zero.to_lowercase().replace(digit_0, digit_9), nine.to_lowercase(), "{}", speech.tag);
            assert_ne!(zero, nine, "{}", speech.tag);
        }
    }

    #[test]
    fn the_language_of_the_host_precedes_that_of_the_country() {
        let config: PromptsConfig =
            serde_json::from_str(r#"{ "language": "en-US", "by_country": { "DE": "de-DE", "GB": "en-GB" } }"#).unwrap();
        let languages = Languages::new(&config).unwrap();
        for (asked, country, expected) in [
            (None, None, "en-US"),
            (None, Some("DE"), "de-DE"),
            (None, Some("FR"), "en-US"),
            (Some("de_AT"), Some("FR"), "de-DE"),
            (Some("en"), Some("GB"), "en-GB"),
            (Some("en"), Some("DE"), "en-US"),
            // The flow has no French.
            (Some("fr-FR"), Some("DE"), "de-DE"),
            (Some(""), None, "en-US"),
        ] {
            assert_eq!(languages.choose(asked, country).tag, expected, "{asked:?} {country:?}");
        }
        assert_eq!(languages.all().iter().map(|speech| speech.tag).collect::<Vec<_>>(), ["en-US", "de-DE", "en-GB"]);
    }

    #[test]
    fn a_language_without_sentences_is_refused_by_name() {
        let config: PromptsConfig = serde_json::from_str(r#"{ "by_country": { "SE": "sv-SE" } }"#).unwrap();
        let problem = Languages::new(&config).err().unwrap().to_string();
        assert!(problem.contains("prompts.by_country.SE") && problem.contains("en-US, en-GB"), "{problem}");
    }
}
