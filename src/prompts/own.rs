//! An administrator's own recordings: `FOLDER/LANGUAGE/PROMPT.wav`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use super::{Language, Prompt, Spoken, is_tag, same_tag, wav};
use crate::config::{ConfigError, read_file};

/// The longest file, in bytes: a minute of stereo at 48 kHz and 32 bits.
const MAX_BYTES: u64 = 24_000_000;

/// The most languages, so that no folder fills the host's memory.
const MAX_LANGUAGES: usize = 100;

/// Puts the recordings of `folder` over those of `languages`, adds the languages that are new, and tells every fault.
pub(super) fn add(folder: &Path, languages: &mut Vec<Language>, faults: &mut Vec<ConfigError>) {
    let folders = match entries(folder) {
        Ok(entries) => entries,
        Err(error) => return faults.push(fault(folder, error)),
    };
    let mut seen: Vec<String> = Vec::new();
    for (name, path) in folders.into_iter().filter(|(_, path)| path.is_dir()) {
        let problem = if !is_tag(&name) {
            "its name is no language's tag, such as en-US"
        } else if seen.iter().any(|tag| same_tag(tag, &name)) {
            "is the language of another folder beside it"
        } else if seen.len() == MAX_LANGUAGES {
            return faults.push(fault(folder, format_args!("has more than {MAX_LANGUAGES} languages")));
        } else {
            add_language(&name, &path, languages, faults);
            seen.push(name);
            continue;
        };
        faults.push(fault(&path, problem));
    }
}

fn add_language(tag: &str, folder: &Path, languages: &mut Vec<Language>, faults: &mut Vec<ConfigError>) {
    let known = languages.iter().position(|language| same_tag(language.tag(), tag));
    let files = match files(folder, faults) {
        Ok(files) => files,
        Err(error) => return faults.push(fault(folder, error)),
    };
    let there = known.and_then(|index| languages.get(index)).cloned();
    let missing: Vec<_> = Prompt::ALL.iter().filter(|prompt| !files.contains_key(prompt)).collect();
    if there.is_none() && !missing.is_empty() {
        let missing: Vec<_> = missing.iter().map(|prompt| format!("{prompt}.wav")).collect();
        let problem = format!("is a language that PhoneGate does not bring, and lacks {}", missing.join(", "));
        faults.push(fault(folder, problem));
    }
    let mut spoken = |prompt: Prompt| match (files.get(&prompt), &there) {
        (Some(file), _) => read(file).map_err(|fault| faults.push(fault)).ok(),
        (None, there) => there.as_ref().map(|language| language.spoken(prompt).clone()),
    };
    let [greeting, wrong_key, verified, fraud_reported, goodbye] = Prompt::ALL.map(&mut spoken);
    let all = (|| Some([greeting?, wrong_key?, verified?, fraud_reported?, goodbye?]))();
    let Some(all) = all else { return };
    let tag = there.as_ref().map_or(tag, |language| language.tag());
    let language = Language::new(&tag.replace('_', "-"), all);
    match known.and_then(|index| languages.get_mut(index)) {
        Some(place) => *place = language,
        None => languages.push(language),
    }
}

/// The recordings in a language's folder. Other files may lie there, but none that looks like a prompt and is none.
fn files(folder: &Path, faults: &mut Vec<ConfigError>) -> io::Result<BTreeMap<Prompt, PathBuf>> {
    let mut files = BTreeMap::new();
    for (_, path) in entries(folder)? {
        let is_wav = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("wav"));
        let stem = path.file_stem().unwrap_or_default();
        let prompt = Prompt::ALL.into_iter().find(|prompt| stem.eq_ignore_ascii_case(OsStr::new(prompt.name())));
        match (prompt, is_wav) {
            (Some(prompt), true) => {
                if files.insert(prompt, path.clone()).is_some() {
                    faults.push(fault(&path, format_args!("there is another {prompt}.wav beside it")));
                }
            }
            (Some(_), false) => faults.push(fault(&path, "is not a WAV file by its name; convert it, or remove it")),
            (None, true) => {
                let known = Prompt::ALL.map(Prompt::name).join(", ");
                faults.push(fault(&path, format_args!("is no prompt's name; there are {known}")));
            }
            (None, false) => {}
        }
    }
    Ok(files)
}

fn read(file: &Path) -> Result<Spoken, ConfigError> {
    let bytes = read_file(file, MAX_BYTES).map_err(|error| fault(file, error))?;
    let recording = wav::read(&bytes).map_err(|problem| fault(file, problem))?;
    Ok(Spoken::Own(file.to_owned(), recording))
}

/// What is in a folder, by name; what is hidden is not meant.
fn entries(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            entries.push((name, path));
        }
    }
    entries.sort();
    Ok(entries)
}

fn fault(path: &Path, problem: impl Display) -> ConfigError {
    ConfigError::invalid("prompts.directory", format_args!("{}: {problem}", path.display()))
}
