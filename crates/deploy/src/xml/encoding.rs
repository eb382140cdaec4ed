//! The encoding of an XML file: what is not changed in it keeps its bytes.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use quick_xml::Reader;
use quick_xml::events::Event;

/// An XML declaration is shorter.
const MAX_DECLARATION: usize = 512;

const SAVE_ANEW: &str = "save it anew in Notepad, with the encoding UTF-8";

/// How a file's text is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    encoding: &'static Encoding,
    has_mark: bool,
}

/// Turns a file into text.
///
/// # Errors
/// Where its encoding is not known, is contradicted, or is not kept.
pub(crate) fn decode(bytes: &[u8]) -> Result<(String, Written), String> {
    let written = match Encoding::for_bom(bytes) {
        Some((encoding, _)) => Written { encoding, has_mark: true },
        None => Written { encoding: without_mark(bytes)?, has_mark: false },
    };
    let mark = if written.has_mark { written.mark().len() } else { 0 };
    let body = bytes.get(mark..).unwrap_or_default();
    let broken = || format!("is not what its encoding, {}, allows; {SAVE_ANEW}", written.encoding.name());
    let text = written.encoding.decode_without_bom_handling_and_without_replacement(body).ok_or_else(broken)?;
    let text = text.into_owned();
    if written.has_mark {
        agree(&text, written.encoding)?;
    }
    if written.encode(&text) != bytes {
        return Err(broken());
    }
    Ok((text, written))
}

impl Written {
    /// Turns text into a file again.
    pub(crate) fn encode(self, text: &str) -> Vec<u8> {
        let body = if self.encoding == UTF_16LE {
            text.encode_utf16().flat_map(u16::to_le_bytes).collect()
        } else if self.encoding == UTF_16BE {
            text.encode_utf16().flat_map(u16::to_be_bytes).collect()
        } else {
            self.encoding.encode(text).0.into_owned()
        };
        let mark = if self.has_mark { self.mark() } else { &[] };
        [mark, &body].concat()
    }

    /// Has it every character? An older encoding may not be the one that .NET means by the same name, either.
    pub(crate) fn is_unicode(self) -> bool {
        [UTF_8, UTF_16LE, UTF_16BE].contains(&self.encoding)
    }

    fn mark(self) -> &'static [u8] {
        match self.encoding {
            encoding if encoding == UTF_16LE => &[0xFF, 0xFE],
            encoding if encoding == UTF_16BE => &[0xFE, 0xFF],
            _ => &[0xEF, 0xBB, 0xBF],
        }
    }
}

/// UTF-8, or what the declaration says, which can be read before the encoding is known.
fn without_mark(bytes: &[u8]) -> Result<&'static Encoding, String> {
    let start = bytes.get(..MAX_DECLARATION).unwrap_or(bytes);
    if start.iter().take(4).any(|byte| *byte == 0) {
        return Err(format!("is UTF-16 without a byte order mark, or no text; {SAVE_ANEW}"));
    }
    let Some(label) = declared(&String::from_utf8_lossy(start)) else { return Ok(UTF_8) };
    match Encoding::for_label_no_replacement(label.as_bytes()) {
        Some(encoding) if encoding.is_ascii_compatible() => Ok(encoding),
        Some(_) => Err(format!("declares the encoding {label}, which it is not in; {SAVE_ANEW}")),
        None => Err(format!("declares the encoding {label}, which is not known here; {SAVE_ANEW}")),
    }
}

/// .NET refuses a file whose mark and declaration differ.
fn agree(text: &str, marked: &'static Encoding) -> Result<(), String> {
    let Some(label) = declared(text) else { return Ok(()) };
    let agrees = match Encoding::for_label_no_replacement(label.as_bytes()) {
        // The mark tells the order of the bytes.
        Some(encoding) if encoding == UTF_16LE => marked != UTF_8,
        encoding => encoding == Some(marked),
    };
    if agrees {
        return Ok(());
    }
    Err(format!("declares the encoding {label}, but is marked as {}; {SAVE_ANEW}", marked.name()))
}

/// The encoding that the declaration names, without what could not be shown.
fn declared(text: &str) -> Option<String> {
    let Ok(Event::Decl(declaration)) = Reader::from_str(text).read_event() else { return None };
    let label = declaration.encoding()?.ok()?;
    Some(label.chars().filter(char::is_ascii_graphic).take(40).collect())
}
