//! Parses XML into parts that together are the whole text, so that an edit of one leaves the other bytes unchanged.

pub(crate) mod encoding;

use std::ops::Range;

use quick_xml::Reader;
use quick_xml::errors::{Error, IllFormedError, SyntaxError};
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};

/// Replaces text that may be secret.
const HIDDEN: &str = "…";

/// A part of a document.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) kind: PartKind,
    /// Its bytes in the text.
    pub(crate) range: Range<usize>,
    /// Number of elements around it. A start or end tag counts as outside of its element.
    pub(crate) depth: usize,
    /// Its text without the values of attributes, without text and comments, which may be secret.
    pub(crate) redacted: String,
}

/// The kind of a part.
#[derive(Debug)]
pub(crate) enum PartKind {
    /// A start tag, with the element's name.
    Start(String),
    /// An element without content, with its name.
    Empty(String),
    /// An end tag.
    End,
    /// Text, with entities resolved. One text may consist of several parts.
    Text(String),
    /// A declaration, a comment, a processing instruction.
    Other,
}

/// Parses a document into its parts, in order.
///
/// # Errors
/// If it is not well-formed, or has a document type. The text completes a sentence that begins with the file's name, and
/// quotes nothing of the document.
pub(crate) fn parse(text: &str) -> Result<Vec<Part>, String> {
    if let Some(at) = text.find(is_forbidden) {
        return Err(format!("{} has a character that XML forbids", line(text, at)));
    }
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_comments = true;
    let mut parts: Vec<Part> = Vec::new();
    let (mut depth, mut has_root) = (0_usize, false);
    loop {
        let start = offset(reader.buffer_position());
        let event = reader.read_event().map_err(|error| {
            let at = offset(reader.error_position());
            format!("{} {}", line(text, at), problem(&error))
        })?;
        if matches!(event, Event::Eof) {
            break;
        }
        let range = start..offset(reader.buffer_position());
        let raw = text.get(range.clone()).unwrap_or_default();
        let (kind, redacted) =
            interpret(&event, raw, start == 0).map_err(|problem| format!("{} {problem}", line(text, start)))?;
        check_place(&kind, depth, has_root).map_err(|problem| format!("{} {problem}", line(text, start)))?;
        if matches!(kind, PartKind::End) {
            depth = depth.saturating_sub(1);
        }
        has_root |= matches!(kind, PartKind::Start(_) | PartKind::Empty(_));
        let opens = matches!(kind, PartKind::Start(_));
        parts.push(Part { kind, range, depth, redacted });
        depth += usize::from(opens);
    }
    match (depth, has_root) {
        (0, true) => Ok(parts),
        (0, false) => Err("has no root element".to_owned()),
        _ => Err("ends inside of an element: the file is cut off".to_owned()),
    }
}

/// Returns what an event is, and its redacted text, or what is wrong with it.
fn interpret(event: &Event<'_>, raw: &str, is_first: bool) -> Result<(PartKind, String), &'static str> {
    const BAD_TAG: &str = "has a tag that is not well-formed";
    Ok(match event {
        Event::Start(tag) => (PartKind::Start(name(tag).ok_or(BAD_TAG)?), redacted_tag(tag, raw).ok_or(BAD_TAG)?),
        Event::Empty(tag) => (PartKind::Empty(name(tag).ok_or(BAD_TAG)?), redacted_tag(tag, raw).ok_or(BAD_TAG)?),
        Event::End(_) => (PartKind::End, raw.to_owned()),
        Event::Text(content) => {
            let content = content.to_string();
            let redacted = match content.trim() {
                "" => content.clone(),
                text => content.replacen(text, HIDDEN, 1),
            };
            (PartKind::Text(content), redacted)
        }
        Event::CData(content) => (PartKind::Text(content.to_string()), HIDDEN.to_owned()),
        Event::GeneralRef(reference) => {
            let text = referenced_text(reference).ok_or("names an entity that XML does not know")?;
            (PartKind::Text(text), HIDDEN.to_owned())
        }
        Event::Comment(_) => (PartKind::Other, format!("<!-- {HIDDEN} -->")),
        Event::Decl(_) if is_first => (PartKind::Other, raw.to_owned()),
        Event::Decl(_) => return Err("has an XML declaration, which must be at the very beginning"),
        Event::PI(_) => (PartKind::Other, format!("<?{HIDDEN}?>")),
        Event::DocType(_) => return Err("has a document type (DOCTYPE), which MIM's files do not have; remove it"),
        Event::Eof => (PartKind::Other, String::new()),
    })
}

/// Returns an error if a part is outside of the one root element.
fn check_place(kind: &PartKind, depth: usize, has_root: bool) -> Result<(), &'static str> {
    match kind {
        PartKind::Start(_) | PartKind::Empty(_) if depth == 0 && has_root => {
            Err("begins a second root element, but XML has one")
        }
        PartKind::Text(content) if depth == 0 && !content.trim().is_empty() => {
            Err("has text outside of the root element")
        }
        _ => Ok(()),
    }
}

/// Converts an offset in a text that is in memory.
fn offset(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

fn is_forbidden(c: char) -> bool {
    matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

/// Names the line of an offset, counted from 1.
fn line(text: &str, at: usize) -> String {
    let breaks = text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    format!("line {}", breaks + 1)
}

fn name(tag: &BytesStart<'_>) -> Option<String> {
    let name = tag.name().into_inner();
    (!name.is_empty()).then(|| name.to_owned())
}

/// Returns a tag without the values of its attributes, except for namespaces.
fn redacted_tag(tag: &BytesStart<'_>, raw: &str) -> Option<String> {
    let mut redacted = format!("<{}", name(tag)?);
    let mut hidden = false;
    for attribute in tag.attributes() {
        let attribute = attribute.ok()?;
        let key = attribute.key.into_inner();
        let is_namespace = attribute.key.as_namespace_binding().is_some();
        hidden |= !is_namespace;
        let value = if is_namespace { &attribute.value } else { HIDDEN };
        redacted.push_str(&format!(" {key}=\"{value}\""));
    }
    redacted.push_str(if raw.ends_with("/>") { "/>" } else { ">" });
    Some(if hidden { redacted } else { raw.to_owned() })
}

/// Returns the text that a character reference or predefined entity means.
fn referenced_text(reference: &BytesRef<'_>) -> Option<String> {
    match reference.resolve_char_ref() {
        Ok(Some(c)) => (!is_forbidden(c)).then(|| c.to_string()),
        Ok(None) => resolve_predefined_entity(reference).map(str::to_owned),
        Err(_) => None,
    }
}

/// Describes an error. The messages of `quick-xml` may quote the document, so they are not used.
fn problem(error: &Error) -> &'static str {
    match error {
        Error::Syntax(SyntaxError::UnclosedComment) => "begins a comment that does not end",
        Error::Syntax(SyntaxError::UnclosedCData) => "begins a CDATA section that does not end",
        Error::Syntax(_) => "begins a tag that does not end",
        Error::IllFormed(IllFormedError::MismatchedEndTag { .. } | IllFormedError::UnmatchedEndTag(_)) => {
            "has an end tag that does not fit its start tag"
        }
        Error::IllFormed(IllFormedError::DoubleHyphenInComment) => "has a comment with -- in it",
        Error::IllFormed(IllFormedError::UnclosedReference) => "has an & that should be &amp;",
        _ => "is not well-formed XML",
    }
}
