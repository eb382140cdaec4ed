//! What callees hear: the recordings of each language, embedded or an administrator's own.

mod embedded;
mod wav;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{ConfigError, ErrorKind, PromptsConfig, read_file};

/// Linear PCM, mono, at [`SAMPLE_RATE`].
pub type Recording = Arc<[i16]>;

/// Samples a second.
pub const SAMPLE_RATE: u32 = 8000;

/// The longest file of a recording, in bytes: a minute of stereo at 48 kHz and 32 bits.
const MAX_FILE: u64 = 24_000_000;

/// Something that is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Prompt {
    /// Who calls, and which key approves.
    Greeting,
    /// That another key was pressed, and which one approves.
    WrongKey,
    /// That the sign-in is approved.
    Verified,
    /// That a fraud was reported.
    FraudReported,
    /// That the sign-in is not approved.
    Goodbye,
}

impl Prompt {
    /// Every prompt.
    pub const ALL: [Self; 5] = [Self::Greeting, Self::WrongKey, Self::Verified, Self::FraudReported, Self::Goodbye];

    /// Its name, as that of its file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::WrongKey => "wrong_key",
            Self::Verified => "verified",
            Self::FraudReported => "fraud_reported",
            Self::Goodbye => "goodbye",
        }
    }
}

impl fmt::Display for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a recording is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In this library.
    Embedded,
    /// An administrator's own file.
    File(PathBuf),
}

/// All prompts of one language.
#[derive(Clone, Debug)]
pub struct Voice {
    recordings: [(Recording, Source); Prompt::ALL.len()],
}

impl Voice {
    /// The recording of a prompt, and where it is from.
    pub fn recording(&self, prompt: Prompt) -> (&Recording, &Source) {
        let [greeting, wrong_key, verified, fraud_reported, goodbye] = &self.recordings;
        let (recording, source) = match prompt {
            Prompt::Greeting => greeting,
            Prompt::WrongKey => wrong_key,
            Prompt::Verified => verified,
            Prompt::FraudReported => fraud_reported,
            Prompt::Goodbye => goodbye,
        };
        (recording, source)
    }
}

/// The voices of all languages, and the rules by which one is chosen.
#[derive(Debug)]
pub struct Prompts {
    voices: BTreeMap<String, Arc<Voice>>,
    /// The voice where nothing says otherwise.
    default: Arc<Voice>,
    /// By ISO 3166-1 alpha-2.
    by_country: BTreeMap<String, Arc<Voice>>,
}

impl Prompts {
    /// Loads the embedded voices, and over them the administrator's own recordings.
    ///
    /// # Errors
    /// A recording that is none, a language without one of its prompts, a language or country that is not known.
    pub fn load(config: &PromptsConfig, base: &Path) -> Result<Self, ConfigError> {
        let mut voices = embedded::voices()?;
        if let Some(folder) = &config.directory {
            own_voices(&base.join(folder), &mut voices)?;
        }
        let voice = |place: &str, asked: &str| match find(&voices, asked) {
            Some(voice) => Ok(Arc::clone(voice)),
            None => {
                let known: Vec<_> = voices.keys().map(String::as_str).collect();
                let problem = format!("there are no prompts in `{asked}`; there are {}", known.join(", "));
                Err(ConfigError::invalid(place, problem))
            }
        };
        let default = voice("prompts.language", &config.language)?;
        let mut by_country = BTreeMap::new();
        for (country, language) in &config.by_country {
            let place = format!("prompts.by_country.{country}");
            if !matches!(country.as_bytes(), [b'A'..=b'Z', b'A'..=b'Z']) {
                return Err(ConfigError::invalid(
                    place,
                    "is not a country; write its two letters of ISO 3166-1, as DE",
                ));
            }
            by_country.insert(country.clone(), voice(&place, language)?);
        }
        Ok(Self { default, by_country, voices })
    }

    /// The voice for a call: the language that was asked for, if there is such a one, else that of the number's
    /// country, else the default.
    pub fn voice(&self, asked: Option<&str>, country: Option<&str>) -> &Arc<Voice> {
        asked
            .and_then(|asked| find(&self.voices, asked))
            .or_else(|| self.by_country.get(country?))
            .unwrap_or(&self.default)
    }

    /// All languages and their voices.
    pub fn languages(&self) -> impl Iterator<Item = (&str, &Voice)> {
        self.voices.iter().map(|(language, voice)| (language.as_str(), &**voice))
    }
}

/// A language by its tag (RFC 5646), in either case; else the first one of the same language elsewhere.
fn find<'a>(voices: &'a BTreeMap<String, Arc<Voice>>, asked: &str) -> Option<&'a Arc<Voice>> {
    let primary = |tag: &str| tag.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
    let normal = |tag: &str| tag.replace('_', "-").to_ascii_lowercase();
    let exact = voices.iter().find(|(tag, _)| normal(tag) == normal(asked));
    let near = || voices.iter().rfind(|(tag, _)| primary(tag) == primary(asked));
    exact.or_else(near).map(|(_, voice)| voice)
}

/// Puts the recordings of `folder`/LANGUAGE/PROMPT.wav over what is there.
fn own_voices(folder: &Path, voices: &mut BTreeMap<String, Arc<Voice>>) -> Result<(), ConfigError> {
    let unusable = |path: &Path, problem: &dyn fmt::Display| {
        ConfigError::at(ErrorKind::Invalid, "prompts.directory", format_args!("{}: {problem}", path.display()))
    };
    let entries = std::fs::read_dir(folder).map_err(|error| unusable(folder, &error))?;
    for entry in entries {
        let path = entry.map_err(|error| unusable(folder, &error))?.path();
        let Some(language) = path.file_name().and_then(|name| name.to_str()).filter(|_| path.is_dir()) else {
            continue;
        };
        let there = voices.get(language);
        let recording = |prompt: Prompt| {
            let file = path.join(format!("{prompt}.wav"));
            match (read_file(&file, MAX_FILE), there) {
                (Ok(bytes), _) => match wav::decode(&bytes) {
                    Ok(recording) => Ok((recording, Source::File(file))),
                    Err(problem) => Err(unusable(&file, &problem)),
                },
                (Err(error), Some(voice)) if error.kind() == std::io::ErrorKind::NotFound => {
                    let (recording, source) = voice.recording(prompt);
                    Ok((Arc::clone(recording), source.clone()))
                }
                (Err(error), _) => Err(unusable(&file, &error)),
            }
        };
        let [greeting, wrong_key, verified, fraud_reported, goodbye] = Prompt::ALL.map(recording);
        let recordings = [greeting?, wrong_key?, verified?, fraud_reported?, goodbye?];
        voices.insert(language.to_owned(), Arc::new(Voice { recordings }));
    }
    Ok(())
}
