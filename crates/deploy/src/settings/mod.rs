//! `MfaSettings.xml`, in which MIM reads which provider to load. What it is named, and what belongs into it besides, is
//! MIM's: only its entries, the elements in its root, are changed here. The rest keeps its bytes.
//!
//! XML tells names apart by case. An entry `customphoneprovider` is therefore another one, and is cleared with the rest.

pub mod country;

use std::fmt::Write;
use std::ops::Range;
use std::path::Path;

use quick_xml::escape::partial_escape;
use similar::TextDiff;

use self::country::DefaultCountry;
use crate::xml::encoding::decode;
use crate::xml::{Part, What, parts};
use crate::{DeployError, read_bounded};

/// The file's name in the folder of MIM's service.
pub const FILE_NAME: &str = "MfaSettings.xml";

const PROVIDER: &str = "CustomPhoneProvider";

/// The calling code that MIM applied to numbers without one.
const DEFAULT_COUNTRY_CODE: &str = "DefaultCountryCode";

/// It holds a few lines.
const MAX_BYTES: u64 = 1024 * 1024;

/// An element in the root.
struct Entry<'a> {
    name: &'a str,
    range: Range<usize>,
    /// What stands in it, without the elements in it.
    text: String,
    /// Where the blanks before it begin.
    blanks_from: usize,
}

/// Reads the file.
///
/// # Errors
/// Where there is none, or it cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, DeployError> {
    read_bounded(path, MAX_BYTES).map_err(|error| {
        let path = path.display();
        match error.kind() {
            std::io::ErrorKind::NotFound => DeployError::usage(format!("there is no {path}"))
                .hint("name the folder of MIM's service by --service-dir, if this is another one")
                .hint("install MIM 4.5.202.0 or later, which creates this file"),
            _ => DeployError::usage(format!("cannot read {path}: {error}")),
        }
    })
}

/// The path of the provider that MIM would load, if one is named.
///
/// # Errors
/// Where the file is damaged, or names several.
pub fn provider(file: &[u8]) -> Result<Option<String>, DeployError> {
    let (text, _) = decode(file).map_err(unfit)?;
    let parts = parts(&text).map_err(unfit)?;
    let mut named = entries(&parts).into_iter().filter(|entry| local(entry.name) == PROVIDER);
    match (named.next(), named.next()) {
        (_, Some(_)) => Err(unfit(format!("has several entries {PROVIDER}; run install again, or leave one of them"))),
        (entry, None) => Ok(entry.map(|entry| entry.text.trim().to_owned())),
    }
}

/// The names of the other entries, which MIM's documentation says to clear.
///
/// # Errors
/// Where the file is damaged.
pub fn other_entries(file: &[u8]) -> Result<Vec<String>, DeployError> {
    let (text, _) = decode(file).map_err(unfit)?;
    let parts = parts(&text).map_err(unfit)?;
    let others = entries(&parts).into_iter().filter(|entry| local(entry.name) != PROVIDER);
    Ok(others.map(|entry| entry.name.to_owned()).collect())
}

/// The country of numbers without a calling code, if an entry names one.
///
/// # Errors
/// If the file is damaged.
pub fn default_country(file: &[u8]) -> Result<Option<DefaultCountry>, DeployError> {
    let (text, _) = decode(file).map_err(unfit)?;
    let parts = parts(&text).map_err(unfit)?;
    let mut entries = entries(&parts).into_iter().filter(|entry| local(entry.name) == DEFAULT_COUNTRY_CODE);
    Ok(entries.find_map(|entry| DefaultCountry::parse(&entry.text)))
}

/// The file with that provider as its only entry. Doing it again changes nothing.
///
/// # Errors
/// Where the file is damaged, or the path cannot be written into it.
pub fn with_provider(file: &[u8], dll_path: &str) -> Result<Vec<u8>, DeployError> {
    if dll_path.is_empty() || dll_path.contains(|c: char| c.is_control() || matches!(c, '"' | '\u{fffe}' | '\u{ffff}'))
    {
        return Err(DeployError::usage(format!("{dll_path:?} is not the path of a file that MIM could load")));
    }
    let (text, written) = decode(file).map_err(unfit)?;
    let parts = parts(&text).map_err(unfit)?;
    let path = match written.is_unicode() {
        true => partial_escape(dll_path).into_owned(),
        false => as_ascii(&partial_escape(dll_path)),
    };
    let entries = entries(&parts);
    let place = entries.iter().position(|entry| local(entry.name) == PROVIDER).unwrap_or(0);
    let changes = match entries.get(place) {
        Some(kept) => {
            let with = element(root_prefix(&parts).filter(|prefix| kept.name.starts_with(*prefix)), &path);
            let change = |(index, entry): (usize, &Entry<'_>)| match index == place {
                true => (entry.range.clone(), with.clone()),
                false => (entry.blanks_from..entry.range.end, String::new()),
            };
            entries.iter().enumerate().map(change).collect()
        }
        None => first_entry(&parts, &text, &path),
    };
    Ok(written.encode(&changed(&text, changes)))
}

/// What stands in the other entries, and is not to be shown. Nothing where the file is damaged.
pub fn hidden_texts(file: &[u8]) -> Vec<String> {
    let Ok((text, _)) = decode(file) else { return Vec::new() };
    let parts = parts(&text).unwrap_or_default();
    let others = entries(&parts).into_iter().filter(|entry| local(entry.name) != PROVIDER);
    others.map(|entry| entry.text.trim().to_owned()).collect()
}

/// What changes between two states of the file, as `diff -u` shows it, without the secrets in them: text is shown in
/// the provider's entry alone.
///
/// # Errors
/// Where one of them is damaged.
pub fn diff(old: &[u8], new: &[u8]) -> Result<String, DeployError> {
    let (old, new) = (masked(old)?, masked(new)?);
    let (before, after) = (format!("{FILE_NAME} before"), format!("{FILE_NAME} after"));
    Ok(TextDiff::from_lines(&old, &new).unified_diff().header(&before, &after).to_string())
}

/// The file without its secrets.
///
/// # Errors
/// Where it is damaged, so that it is not known what they are.
pub fn masked(file: &[u8]) -> Result<String, DeployError> {
    let (text, _) = decode(file).map_err(unfit)?;
    let mut masked = String::new();
    let mut in_provider = false;
    let mut hidden_from = None;
    for part in parts(&text).map_err(unfit)? {
        match (&part.what, part.depth) {
            (What::Start(name), 1) => in_provider = local(name) == PROVIDER,
            (What::End, 1) => in_provider = false,
            _ => {}
        }
        let shown = match &part.what {
            What::Text(_) if in_provider && part.depth == 2 => text.get(part.range.clone()).unwrap_or_default(),
            _ => &part.shown,
        };
        // A text of several parts is hidden as one.
        let hides = matches!(part.what, What::Text(_)) && shown == part.shown && !shown.trim().is_empty();
        if !(hides && hidden_from == Some(part.range.start)) {
            masked.push_str(shown);
        }
        hidden_from = hides.then_some(part.range.end);
    }
    Ok(masked.replace("\r\n", "\n"))
}

fn unfit(problem: String) -> DeployError {
    DeployError::usage(format!("{FILE_NAME} {problem}"))
}

fn entries(parts: &[Part]) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut blanks_from = None;
    for part in parts {
        match (&part.what, part.depth) {
            (What::Start(name) | What::Empty(name), 1) => entries.push(Entry {
                name,
                range: part.range.clone(),
                text: String::new(),
                blanks_from: blanks_from.unwrap_or(part.range.start),
            }),
            (What::Text(text), 2) => {
                if let Some(entry) = entries.last_mut() {
                    entry.text.push_str(text);
                }
            }
            (What::End, 1) => {
                if let Some(entry) = entries.last_mut() {
                    entry.range.end = part.range.end;
                }
            }
            _ => {}
        }
        let is_blank = matches!(&part.what, What::Text(text) if text.trim().is_empty());
        blanks_from = is_blank.then_some(part.range.start);
    }
    entries
}

fn root(parts: &[Part]) -> Option<(&Part, &str)> {
    parts.iter().find_map(|part| match &part.what {
        What::Start(name) | What::Empty(name) => Some((part, name.as_str())),
        _ => None,
    })
}

/// With its colon.
fn root_prefix(parts: &[Part]) -> Option<&str> {
    let (_, name) = root(parts)?;
    name.split_inclusive(':').next().filter(|prefix| prefix.ends_with(':'))
}

fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

fn element(prefix: Option<&str>, path: &str) -> String {
    let prefix = prefix.unwrap_or_default();
    format!("<{prefix}{PROVIDER}>{path}</{prefix}{PROVIDER}>")
}

/// An entry on a line of its own, in a root that has none.
fn first_entry(parts: &[Part], text: &str, path: &str) -> Vec<(Range<usize>, String)> {
    let Some((root, name)) = root(parts) else { return Vec::new() };
    let line_break = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let end = root.range.end;
    let entry = format!("{line_break}  {}", element(root_prefix(parts), path));
    match &root.what {
        What::Empty(_) => {
            let tag = text.get(root.range.clone()).unwrap_or_default().trim_end_matches("/>").trim_end();
            vec![(root.range.clone(), format!("{tag}>{entry}{line_break}</{name}>"))]
        }
        _ => {
            let rest = text.get(end..).unwrap_or_default();
            let needs_break = !rest.trim_start_matches([' ', '\t']).starts_with(['\r', '\n']);
            vec![(end..end, entry + if needs_break { line_break } else { "" })]
        }
    }
}

/// The text with these changes, which are in the text's order.
fn changed(text: &str, changes: Vec<(Range<usize>, String)>) -> String {
    let mut changed = String::new();
    let mut kept_to = 0;
    for (range, with) in changes {
        changed.push_str(text.get(kept_to..range.start).unwrap_or_default());
        changed.push_str(&with);
        kept_to = range.end;
    }
    changed.push_str(text.get(kept_to..).unwrap_or_default());
    changed
}

fn as_ascii(text: &str) -> String {
    let mut ascii = String::new();
    for c in text.chars() {
        // Writing to a String does not fail.
        let _ = if c.is_ascii() { write!(ascii, "{c}") } else { write!(ascii, "&#x{:X};", u32::from(c)) };
    }
    ascii
}

#[cfg(test)]
mod tests;
