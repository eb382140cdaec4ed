//! An administrator's custom recordings: `FOLDER/LANGUAGE/PIECE.wav`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use phonegate_approval::policy::Method;
use phonegate_approval::script::{ALL_DIGITS, Piece, pieces};

use super::{Language, PromptAudio, is_tag, same_tag, wav};
use crate::config::{ConfigError, read_file};

/// Maximum size of a file, in bytes: a minute of stereo at 48 kHz and 32 bits.
const MAX_BYTES: u64 = 24_000_000;

/// Maximum languages, so that no folder fills the host's memory.
const MAX_LANGUAGES: usize = 100;

/// A recording of earlier versions, which several pieces have replaced.
const GREETING: &str = "greeting";

/// Replaces recordings of `languages` with those of `folder`, adds new languages, and reports every fault.
pub(super) fn add(folder: &Path, method: Method, languages: &mut Vec<Language>, faults: &mut Vec<ConfigError>) {
    let folders = match entries(folder) {
        Ok(entries) => entries,
        Err(error) => return faults.push(fault(folder, error)),
    };
    let mut seen: Vec<String> = Vec::new();
    for (name, path) in folders.into_iter().filter(|(_, path)| path.is_dir()) {
        let problem = if !is_tag(&name) {
            "its name is not a language tag such as en-US"
        } else if seen.iter().any(|tag| same_tag(tag, &name)) {
            "has the same language as another folder"
        } else if seen.len() == MAX_LANGUAGES {
            return faults.push(fault(folder, format_args!("has more than {MAX_LANGUAGES} languages")));
        } else {
            add_language(&name, &path, method, languages, faults);
            seen.push(name);
            continue;
        };
        faults.push(fault(&path, problem));
    }
}

fn add_language(
    tag: &str,
    folder: &Path,
    method: Method,
    languages: &mut Vec<Language>,
    faults: &mut Vec<ConfigError>,
) {
    let known = languages.iter().position(|language| same_tag(language.tag(), tag));
    let files = match files(folder, method, faults) {
        Ok(files) => files,
        Err(error) => return faults.push(fault(folder, error)),
    };
    let there = known.and_then(|index| languages.get(index));
    let needed = || Piece::ALL.into_iter().filter(|piece| piece.is_spoken_with(method));
    let missing: Vec<_> = needed().filter(|piece| !files.contains_key(piece)).collect();
    if there.is_none() && !missing.is_empty() {
        let problem =
            format!("is a language that PhoneGate does not bring, and lacks {}", file_names(missing).join(", "));
        faults.push(fault(folder, problem));
    }
    let mut spoken = there.map(|language| (*language.audio).clone()).unwrap_or_default();
    let before = faults.len();
    for (piece, file) in files {
        match read(&file) {
            Ok(recording) => drop(spoken.insert(piece, recording)),
            Err(fault) => faults.push(fault),
        }
    }
    let tag = there.map_or(tag, |language| language.tag());
    let language = Language::new(&tag.replace('_', "-"), spoken);
    // A missing recording was reported above.
    let is_whole = faults.len() == before && needed().all(|piece| language.get(piece).is_some());
    if is_whole && let Err(error) = language.compose(pieces(method, 1, "7777")) {
        faults.push(fault(folder, error));
    }
    match known.and_then(|index| languages.get_mut(index)) {
        Some(place) => *place = language,
        None => languages.push(language),
    }
}

fn file_names(pieces: Vec<Piece>) -> Vec<String> {
    pieces.into_iter().map(|piece| format!("{}.wav", piece.name())).collect()
}

/// Returns the pieces of the first prompt, each once, for any code.
fn instructions(method: Method) -> Vec<Piece> {
    let is_said = |piece: &Piece| pieces(method, 1, ALL_DIGITS).any(|said| said == *piece);
    Piece::ALL.into_iter().filter(is_said).collect()
}

/// Returns the recordings in the folder of a language. Other files are ignored, unless they look like a recording.
fn files(folder: &Path, method: Method, faults: &mut Vec<ConfigError>) -> io::Result<BTreeMap<Piece, PathBuf>> {
    let mut files = BTreeMap::new();
    for (_, path) in entries(folder)? {
        let is_wav = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("wav"));
        let stem = path.file_stem().unwrap_or_default();
        let piece = Piece::ALL.into_iter().find(|piece| stem.eq_ignore_ascii_case(OsStr::new(piece.name())));
        match (piece, is_wav) {
            (Some(piece), true) => {
                if files.insert(piece, path.clone()).is_some() {
                    faults.push(fault(&path, format_args!("there is another {}.wav in the folder", piece.name())));
                }
            }
            (None, _) if stem.eq_ignore_ascii_case(OsStr::new(GREETING)) => {
                let instead = file_names(instructions(method)).join(", ");
                faults.push(fault(&path, format_args!("ends in \"press pound\"; replace it by {instead}")));
            }
            (Some(_), false) => faults.push(fault(&path, "is not a WAV file by its name; convert it, or remove it")),
            (None, true) => {
                let known = Piece::ALL.map(Piece::name).join(", ");
                faults.push(fault(&path, format_args!("is not the name of a prompt; the names are {known}")));
            }
            (None, false) => {}
        }
    }
    Ok(files)
}

fn read(file: &Path) -> Result<PromptAudio, ConfigError> {
    let bytes = read_file(file, MAX_BYTES).map_err(|error| fault(file, error))?;
    let recording = wav::read(&bytes).map_err(|problem| fault(file, problem))?;
    Ok(PromptAudio::Custom(file.to_owned(), recording))
}

/// Returns the entries of a folder, sorted by name, without hidden ones.
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
