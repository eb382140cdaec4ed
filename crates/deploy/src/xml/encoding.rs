//! Decodes an XML file, and encodes it again so that unchanged text keeps its bytes.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use quick_xml::Reader;
use quick_xml::events::Event;

/// Maximum length of an XML declaration in bytes.
const MAX_DECLARATION: usize = 512;

const SAVE_AS_UTF8: &str = "save it in Notepad with the encoding UTF-8";

/// The encoding of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileEncoding {
    encoding: &'static Encoding,
    has_bom: bool,
}

/// Decodes a file.
///
/// # Errors
/// If its encoding is unknown or contradictory, or encoding the text again would not give the same bytes. The text
/// completes a sentence that begins with the file's name.
pub(crate) fn decode(bytes: &[u8]) -> Result<(String, FileEncoding), String> {
    let written = match Encoding::for_bom(bytes) {
        Some((encoding, _)) => FileEncoding { encoding, has_bom: true },
        None => FileEncoding { encoding: without_bom(bytes)?, has_bom: false },
    };
    let bom = if written.has_bom { written.bom().len() } else { 0 };
    let body = bytes.get(bom..).unwrap_or_default();
    let broken = || format!("is not what its encoding, {}, allows; {SAVE_AS_UTF8}", written.encoding.name());
    let text = written.encoding.decode_without_bom_handling_and_without_replacement(body).ok_or_else(broken)?;
    let text = text.into_owned();
    if written.has_bom {
        check_declaration(&text, written.encoding)?;
    }
    if written.encode(&text) != bytes {
        return Err(broken());
    }
    Ok((text, written))
}

impl FileEncoding {
    /// Encodes text.
    pub(crate) fn encode(self, text: &str) -> Vec<u8> {
        let body = if self.encoding == UTF_16LE {
            text.encode_utf16().flat_map(u16::to_le_bytes).collect()
        } else if self.encoding == UTF_16BE {
            text.encode_utf16().flat_map(u16::to_be_bytes).collect()
        } else {
            self.encoding.encode(text).0.into_owned()
        };
        let bom = if self.has_bom { self.bom() } else { &[] };
        [bom, &body].concat()
    }

    /// Returns whether it can encode every character. Other encodings may also differ from those that .NET knows by the
    /// same names.
    pub(crate) fn is_unicode(self) -> bool {
        [UTF_8, UTF_16LE, UTF_16BE].contains(&self.encoding)
    }

    fn bom(self) -> &'static [u8] {
        match self.encoding {
            encoding if encoding == UTF_16LE => &[0xFF, 0xFE],
            encoding if encoding == UTF_16BE => &[0xFE, 0xFF],
            _ => &[0xEF, 0xBB, 0xBF],
        }
    }
}

/// Returns the encoding of a file without a byte order mark: the declared one, else UTF-8.
fn without_bom(bytes: &[u8]) -> Result<&'static Encoding, String> {
    let start = bytes.get(..MAX_DECLARATION).unwrap_or(bytes);
    if start.iter().take(4).any(|byte| *byte == 0) {
        return Err(format!("is UTF-16 without a byte order mark, or no text; {SAVE_AS_UTF8}"));
    }
    let Some(label) = declared(&String::from_utf8_lossy(start)) else { return Ok(UTF_8) };
    match Encoding::for_label_no_replacement(label.as_bytes()) {
        Some(encoding) if encoding.is_ascii_compatible() => Ok(encoding),
        Some(_) => Err(format!("declares the encoding {label}, which it is not in; {SAVE_AS_UTF8}")),
        None => Err(format!("declares the encoding {label}, which PhoneGate does not know; {SAVE_AS_UTF8}")),
    }
}

/// Returns an error if the declaration and the byte order mark differ. .NET refuses such a file.
fn check_declaration(text: &str, marked: &'static Encoding) -> Result<(), String> {
    let Some(label) = declared(text) else { return Ok(()) };
    let agrees = match Encoding::for_label_no_replacement(label.as_bytes()) {
        // The label UTF-16 does not determine the byte order.
        Some(encoding) if encoding == UTF_16LE => marked != UTF_8,
        encoding => encoding == Some(marked),
    };
    if agrees {
        return Ok(());
    }
    Err(format!("declares the encoding {label}, but is marked as {}; {SAVE_AS_UTF8}", marked.name()))
}

/// Returns the encoding that the declaration names, without unprintable characters.
fn declared(text: &str) -> Option<String> {
    let Ok(Event::Decl(declaration)) = Reader::from_str(text).read_event() else { return None };
    let label = declaration.encoding()?.ok()?;
    Some(label.chars().filter(char::is_ascii_graphic).take(40).collect())
}
