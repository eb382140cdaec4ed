//! Reads and edits `MfaSettings.xml`, which names the provider that MIM loads. Edits change only its entries, which are
//! the elements in the root. All other bytes stay the same.
//!
//! Names are case-sensitive, as in XML. An entry `customphoneprovider` is therefore cleared like any other.

pub mod country;

use std::fmt::Write;
use std::ops::Range;
use std::path::Path;

use quick_xml::escape::partial_escape;
use similar::TextDiff;

use self::country::DefaultCountry;
use crate::xml::encoding::decode;
use crate::xml::{Part, PartKind, parse};
use crate::{DeployError, read_bounded};

/// The file's name in the folder of MIM's service.
pub const FILE_NAME: &str = "MfaSettings.xml";

const PROVIDER: &str = "CustomPhoneProvider";

/// The entry with the calling code that MIM applied to numbers without one.
const DEFAULT_COUNTRY_CODE: &str = "DefaultCountryCode";

/// Maximum size of the file. It usually has a few lines.
const MAX_BYTES: u64 = 1024 * 1024;

/// An element in the root.
struct Entry<'a> {
    name: &'a str,
    range: Range<usize>,
    /// Its text, without that of elements in it.
    text: String,
    /// The start of the whitespace before it.
    whitespace_start: usize,
}

/// Reads the file.
///
/// # Errors
/// If it does not exist or cannot be read.
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

/// Returns the path of the provider that MIM would load. `None` if the file names none.
///
/// # Errors
/// If the file is damaged, or names several.
pub fn provider(file: &[u8]) -> Result<Option<String>, DeployError> {
    let (text, _) = decode(file).map_err(unusable)?;
    let parts = parse(&text).map_err(unusable)?;
    let mut named = entries(&parts).into_iter().filter(|entry| local(entry.name) == PROVIDER);
    match (named.next(), named.next()) {
        (_, Some(_)) => {
            Err(unusable(format!("has several entries {PROVIDER}; run install again, or remove all but one")))
        }
        (entry, None) => Ok(entry.map(|entry| entry.text.trim().to_owned())),
    }
}

/// Returns the names of the other entries, which according to MIM's documentation must be cleared.
///
/// # Errors
/// If the file is damaged.
pub fn other_entries(file: &[u8]) -> Result<Vec<String>, DeployError> {
    let (text, _) = decode(file).map_err(unusable)?;
    let parts = parse(&text).map_err(unusable)?;
    let others = entries(&parts).into_iter().filter(|entry| local(entry.name) != PROVIDER);
    Ok(others.map(|entry| entry.name.to_owned()).collect())
}

/// Returns the country of numbers without a calling code. `None` if no entry names one.
///
/// # Errors
/// If the file is damaged.
pub fn default_country(file: &[u8]) -> Result<Option<DefaultCountry>, DeployError> {
    let (text, _) = decode(file).map_err(unusable)?;
    let parts = parse(&text).map_err(unusable)?;
    let mut entries = entries(&parts).into_iter().filter(|entry| local(entry.name) == DEFAULT_COUNTRY_CODE);
    Ok(entries.find_map(|entry| DefaultCountry::parse(&entry.text)))
}

/// Returns the file with this provider as its only entry. Applied twice, it gives the same bytes.
///
/// # Errors
/// If the file is damaged, or cannot contain the path.
pub fn with_provider(file: &[u8], dll_path: &str) -> Result<Vec<u8>, DeployError> {
    if dll_path.is_empty() || dll_path.contains(|c: char| c.is_control() || matches!(c, '"' | '\u{fffe}' | '\u{ffff}'))
    {
        return Err(DeployError::usage(format!("{dll_path:?} is not the path of a file that MIM could load")));
    }
    let (text, encoding) = decode(file).map_err(unusable)?;
    let parts = parse(&text).map_err(unusable)?;
    let path = match encoding.is_unicode() {
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
                false => (entry.whitespace_start..entry.range.end, String::new()),
            };
            entries.iter().enumerate().map(change).collect()
        }
        None => first_entry(&parts, &text, &path),
    };
    Ok(encoding.encode(&apply_changes(&text, changes)))
}

/// Returns the texts of the other entries, which may be secret. Empty if the file is damaged.
pub fn secret_texts(file: &[u8]) -> Vec<String> {
    let Ok((text, _)) = decode(file) else { return Vec::new() };
    let parts = parse(&text).unwrap_or_default();
    let others = entries(&parts).into_iter().filter(|entry| local(entry.name) != PROVIDER);
    others.map(|entry| entry.text.trim().to_owned()).collect()
}

/// Returns the difference between two versions of the file in the format of `diff -u`. Secrets are masked: only the
/// provider's entry shows its text.
///
/// # Errors
/// If one of them is damaged.
pub fn diff(old: &[u8], new: &[u8]) -> Result<String, DeployError> {
    let (old, new) = (masked(old)?, masked(new)?);
    let (before, after) = (format!("{FILE_NAME} before"), format!("{FILE_NAME} after"));
    Ok(TextDiff::from_lines(&old, &new).unified_diff().header(&before, &after).to_string())
}

/// Returns the file with its secrets masked.
///
/// # Errors
/// If it is damaged, because its secrets cannot be recognized then.
pub fn masked(file: &[u8]) -> Result<String, DeployError> {
    let (text, _) = decode(file).map_err(unusable)?;
    let mut masked = String::new();
    let mut in_provider = false;
    let mut hidden_from = None;
    for part in parse(&text).map_err(unusable)? {
        match (&part.kind, part.depth) {
            (PartKind::Start(name), 1) => in_provider = local(name) == PROVIDER,
            (PartKind::End, 1) => in_provider = false,
            _ => {}
        }
        let shown = match &part.kind {
            PartKind::Text(_) if in_provider && part.depth == 2 => text.get(part.range.clone()).unwrap_or_default(),
            _ => &part.redacted,
        };
        // One mask for a text of several parts.
        let hides = matches!(part.kind, PartKind::Text(_)) && shown == part.redacted && !shown.trim().is_empty();
        if !(hides && hidden_from == Some(part.range.start)) {
            masked.push_str(shown);
        }
        hidden_from = hides.then_some(part.range.end);
    }
    Ok(masked.replace("\r\n", "\n"))
}

fn unusable(problem: String) -> DeployError {
    DeployError::usage(format!("{FILE_NAME} {problem}"))
}

fn entries(parts: &[Part]) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut whitespace_start = None;
    for part in parts {
        match (&part.kind, part.depth) {
            (PartKind::Start(name) | PartKind::Empty(name), 1) => entries.push(Entry {
                name,
                range: part.range.clone(),
                text: String::new(),
                whitespace_start: whitespace_start.unwrap_or(part.range.start),
            }),
            (PartKind::Text(text), 2) => {
                if let Some(entry) = entries.last_mut() {
                    entry.text.push_str(text);
                }
            }
            (PartKind::End, 1) => {
                if let Some(entry) = entries.last_mut() {
                    entry.range.end = part.range.end;
                }
            }
            _ => {}
        }
        let is_blank = matches!(&part.kind, PartKind::Text(text) if text.trim().is_empty());
        whitespace_start = is_blank.then_some(part.range.start);
    }
    entries
}

fn root(parts: &[Part]) -> Option<(&Part, &str)> {
    parts.iter().find_map(|part| match &part.kind {
        PartKind::Start(name) | PartKind::Empty(name) => Some((part, name.as_str())),
        _ => None,
    })
}

/// Returns the namespace prefix of the root, with its colon.
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

/// Returns the change that adds an entry, on a line of its own, to a root without entries.
fn first_entry(parts: &[Part], text: &str, path: &str) -> Vec<(Range<usize>, String)> {
    let Some((root, name)) = root(parts) else { return Vec::new() };
    let line_break = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let end = root.range.end;
    let entry = format!("{line_break}  {}", element(root_prefix(parts), path));
    match &root.kind {
        PartKind::Empty(_) => {
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

/// Returns the text with these changes, which must be in order.
fn apply_changes(text: &str, changes: Vec<(Range<usize>, String)>) -> String {
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
        // Writing to a String cannot fail.
        let _ = if c.is_ascii() { write!(ascii, "{c}") } else { write!(ascii, "&#x{:X};", u32::from(c)) };
    }
    ascii
}

#[cfg(test)]
mod tests;
