//! The recordings that users hear, in each language: those of this library, or an administrator's custom ones.

mod compose;
mod custom;
mod embedded;
mod recording;
mod riff;
mod wav;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use phonegate_approval::policy::Method;
use phonegate_approval::script::Piece;

use crate::config::{ConfigError, PromptsConfig, country};
pub use compose::{ComposeError, Composition};
use embedded::Embedded;
pub use embedded::sentences;
pub use recording::Recording;
pub(crate) use recording::encode_g711;

/// Samples per second.
pub const SAMPLE_RATE: u32 = 8_000;

/// A recording of this library, or a custom one with its file.
#[derive(Clone, Debug)]
enum PromptAudio {
    Embedded(&'static Embedded),
    Custom(PathBuf, Recording),
}

/// A language with its recordings. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Language {
    tag: Arc<str>,
    audio: Arc<BTreeMap<Piece, PromptAudio>>,
}

impl Language {
    fn new(tag: &str, audio: BTreeMap<Piece, PromptAudio>) -> Self {
        Self { tag: tag.into(), audio: Arc::new(audio) }
    }

    /// Returns its tag of BCP 47: `de-DE`.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Returns the recording of a piece. `None` for a piece that only other methods need, in a language that PhoneGate
    /// does not have.
    pub fn get(&self, piece: Piece) -> Option<Recording> {
        Some(match self.audio.get(&piece)? {
            PromptAudio::Embedded(recording) => (**recording).clone(),
            PromptAudio::Custom(_, recording) => recording.clone(),
        })
    }

    /// Returns the custom file that a piece was read from. `None` if the recording is one of this library.
    pub fn custom_file(&self, piece: Piece) -> Option<&Path> {
        match self.audio.get(&piece)? {
            PromptAudio::Embedded(_) => None,
            PromptAudio::Custom(file, _) => Some(file),
        }
    }

    /// Joins the recordings of pieces, with pauses before and between them.
    ///
    /// # Errors
    /// If the language lacks a piece, or the result is longer than any call.
    pub fn compose(&self, pieces: impl IntoIterator<Item = Piece>) -> Result<Composition, ComposeError> {
        Composition::new(pieces, |piece| self.get(piece))
    }
}

/// The languages of a configuration, and the choice of one for each call.
#[derive(Clone, Debug)]
pub struct Prompts {
    languages: Vec<Language>,
    default: Language,
    by_country: BTreeMap<String, Language>,
}

impl Prompts {
    /// Loads the recordings of this library, and the custom ones that replace them. Each language has all pieces that
    /// `method` needs.
    ///
    /// # Errors
    /// The first error that [`Prompts::load_all`] returns.
    pub fn load(config: &PromptsConfig, method: Method, base: &Path) -> Result<Self, ConfigError> {
        Self::load_all(config, method, base).map_err(|faults| {
            // There is at least one.
            faults.into_iter().next().unwrap_or_else(|| ConfigError::invalid("prompts", "cannot be used"))
        })
    }

    /// Loads the same recordings, and returns every error.
    ///
    /// # Errors
    /// If a recording cannot be used, a language lacks one or its prompt is too long, or a language or a country is
    /// unknown.
    pub fn load_all(config: &PromptsConfig, method: Method, base: &Path) -> Result<Self, Vec<ConfigError>> {
        let mut languages = embedded::languages();
        let mut faults = Vec::new();
        if let Some(folder) = &config.directory {
            custom::add(&base.join(folder), method, &mut languages, &mut faults);
        }
        let named = |path: &str, tag: &str, faults: &mut Vec<ConfigError>| {
            let found = find(&languages, tag, &[]);
            if found.is_none() {
                let known: Vec<_> = languages.iter().map(Language::tag).collect();
                let problem = format!("there are no prompts in `{tag}`; there are {}", known.join(", "));
                faults.push(ConfigError::invalid(path, problem));
            }
            found
        };
        let default = named("prompts.language", &config.language, &mut faults);
        let mut by_country = BTreeMap::new();
        for (code, tag) in &config.by_country {
            let path = format!("prompts.by_country.{code}");
            faults.extend(country(&path, code).err());
            if let Some(language) = named(&path, tag, &mut faults) {
                by_country.insert(code.clone(), language);
            }
        }
        match default {
            Some(default) if faults.is_empty() => Ok(Self { languages, default, by_country }),
            _ => Err(faults),
        }
    }

    /// Returns the language of a call: the one that the host asked for, else the same language of another country, else
    /// the one of the number's country (ISO 3166-1 alpha-2), else the default.
    pub fn language_for(&self, asked: Option<&str>, country: Option<&str>) -> Language {
        let of_country = country.and_then(|code| self.by_country.get(code));
        let preferred = [of_country.unwrap_or(&self.default), &self.default];
        let asked = asked.and_then(|tag| find(&self.languages, tag, &preferred));
        asked.or_else(|| of_country.cloned()).unwrap_or_else(|| self.default.clone())
    }

    /// Returns the language of a tag, else the same language of another country, if there is one.
    pub fn language(&self, tag: &str) -> Option<Language> {
        find(&self.languages, tag, &[&self.default])
    }

    /// Returns the languages whose recordings ask users to press zero to report a fraud, as those of this library do.
    pub fn saying_zero(&self) -> Vec<&str> {
        let says_zero = |language: &&Language| language.custom_file(Piece::NotYou).is_none();
        self.languages.iter().filter(says_zero).map(Language::tag).collect()
    }

    /// Returns all languages.
    pub fn languages(&self) -> &[Language] {
        &self.languages
    }
}

/// Returns the language of a tag, else the same language of another country: a preferred one, then the first.
fn find(languages: &[Language], tag: &str, preferred: &[&Language]) -> Option<Language> {
    let exact = languages.iter().find(|language| same_tag(&language.tag, tag));
    let near = || {
        let mut candidates = preferred.iter().copied().chain(languages);
        candidates.find(|language| primary(&language.tag).eq_ignore_ascii_case(primary(tag)))
    };
    exact.or_else(near).cloned()
}

/// Returns whether two tags are the same. Their case is ignored, and `-` is the same as `_`.
fn same_tag(a: &str, b: &str) -> bool {
    let normal = |c: char| if c == '_' { '-' } else { c.to_ascii_lowercase() };
    a.chars().map(normal).eq(b.chars().map(normal))
}

/// Returns the language in a tag, without its country: `de` of `de-AT`.
fn primary(tag: &str) -> &str {
    tag.split(['-', '_']).next().unwrap_or_default()
}

/// Returns whether a text has the form of a language tag (RFC 5646), without private and grandfathered tags.
fn is_tag(text: &str) -> bool {
    let is_subtag = |subtag: &str| (2..=8).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphanumeric());
    let language = primary(text);
    (2..=3).contains(&language.len())
        && language.bytes().all(|b| b.is_ascii_alphabetic())
        && text.split(['-', '_']).all(is_subtag)
}
