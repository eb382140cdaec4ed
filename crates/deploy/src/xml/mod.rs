//! The parts of an XML document, in their order: what is needed to change some of it and to keep the rest as it is.

pub(crate) mod encoding;

use std::ops::Range;

use quick_xml::Reader;
use quick_xml::errors::{Error, IllFormedError, SyntaxError};
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};

/// In place of what must not be shown.
const HIDDEN: &str = "…";

/// A part of a document.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) what: What,
    /// Where it is in the text.
    pub(crate) range: Range<usize>,
    /// How many elements it is in.
    pub(crate) depth: usize,
    /// How it may be shown: without the values of attributes, without text, without remarks.
    pub(crate) shown: String,
}

/// What a part is.
#[derive(Debug)]
pub(crate) enum What {
    /// A start tag, with the element's name.
    Start(String),
    /// An element without content, with its name.
    Empty(String),
    /// An end tag.
    End,
    /// Text, with what it means. A text may consist of several.
    Text(String),
    /// A declaration, a comment, a processing instruction.
    Aside,
}

/// Takes a document apart.
///
/// # Errors
/// Where it is not well-formed, or has a document type; without a word of its content.
pub(crate) fn parts(text: &str) -> Result<Vec<Part>, String> {
    if let Some(at) = text.find(is_forbidden) {
        return Err(format!("{} has a character that XML forbids", line(text, at)));
    }
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_comments = true;
    let mut parts: Vec<Part> = Vec::new();
    let (mut depth, mut has_root) = (0_usize, false);
    loop {
        let start = place(reader.buffer_position());
        let event = reader.read_event().map_err(|error| {
            let at = place(reader.error_position());
            format!("{} {}", line(text, at), words(&error))
        })?;
        let range = start..place(reader.buffer_position());
        let raw = text.get(range.clone()).unwrap_or_default();
        let wrong = |problem: &str| Err(format!("{} {problem}", line(text, start)));
        if depth == 0 && has_root && matches!(event, Event::Start(_) | Event::Empty(_)) {
            return wrong("begins a second root element, but XML has one");
        }
        let (what, shown) = match &event {
            Event::Start(tag) => match (shown_tag(tag, raw), name(tag)) {
                (Some(shown), Some(name)) => (What::Start(name), shown),
                _ => return wrong("has a tag that is not well-formed"),
            },
            Event::Empty(tag) => match (shown_tag(tag, raw), name(tag)) {
                (Some(shown), Some(name)) => (What::Empty(name), shown),
                _ => return wrong("has a tag that is not well-formed"),
            },
            Event::End(_) => (What::End, raw.to_owned()),
            Event::Text(content) => {
                let content = content.to_string();
                let shown = match content.trim() {
                    "" => content.clone(),
                    words => content.replacen(words, HIDDEN, 1),
                };
                (What::Text(content), shown)
            }
            Event::CData(content) => (What::Text(content.to_string()), HIDDEN.to_owned()),
            Event::GeneralRef(reference) => match meaning(reference) {
                Some(meaning) => (What::Text(meaning), HIDDEN.to_owned()),
                None => return wrong("names an entity that XML does not know"),
            },
            Event::Comment(_) => (What::Aside, format!("<!-- {HIDDEN} -->")),
            Event::Decl(_) if start == 0 => (What::Aside, raw.to_owned()),
            Event::Decl(_) => return wrong("has an XML declaration, which must stand at the very beginning"),
            Event::PI(_) => (What::Aside, format!("<?{HIDDEN}?>")),
            Event::DocType(_) => return wrong("has a document type (DOCTYPE), which MIM's files have not; remove it"),
            Event::Eof => break,
        };
        match &what {
            What::Text(content) if depth == 0 && !content.trim().is_empty() => {
                return wrong("has text outside of the root element");
            }
            What::End => depth = depth.saturating_sub(1),
            _ => {}
        }
        has_root |= matches!(what, What::Start(_) | What::Empty(_));
        let opens = matches!(what, What::Start(_));
        parts.push(Part { what, range, depth, shown });
        depth += usize::from(opens);
    }
    match (depth, has_root) {
        (0, true) => Ok(parts),
        (0, false) => Err("has no root element".to_owned()),
        _ => Err("ends inside of an element: the file is cut off".to_owned()),
    }
}

/// A position in a text that is in memory.
fn place(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

fn is_forbidden(c: char) -> bool {
    matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

fn line(text: &str, at: usize) -> String {
    let breaks = text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    format!("line {}", breaks + 1)
}

fn name(tag: &BytesStart<'_>) -> Option<String> {
    let name = tag.name().into_inner();
    (!name.is_empty()).then(|| name.to_owned())
}

/// The tag without the values of its attributes, namespaces excepted.
fn shown_tag(tag: &BytesStart<'_>, raw: &str) -> Option<String> {
    let mut shown = format!("<{}", name(tag)?);
    let mut hidden = false;
    for attribute in tag.attributes() {
        let attribute = attribute.ok()?;
        let key = attribute.key.into_inner();
        let is_namespace = attribute.key.as_namespace_binding().is_some();
        hidden |= !is_namespace;
        let value = if is_namespace { &attribute.value } else { HIDDEN };
        shown.push_str(&format!(" {key}=\"{value}\""));
    }
    shown.push_str(if raw.ends_with("/>") { "/>" } else { ">" });
    Some(if hidden { shown } else { raw.to_owned() })
}

fn meaning(reference: &BytesRef<'_>) -> Option<String> {
    match reference.resolve_char_ref() {
        Ok(Some(c)) => (!is_forbidden(c)).then(|| c.to_string()),
        Ok(None) => resolve_predefined_entity(reference).map(str::to_owned),
        Err(_) => None,
    }
}

/// The library's own words may quote the document.
fn words(error: &Error) -> &'static str {
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
