//! Reads files of comma-separated values, as MIM's portal, PowerShell and Excel export them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use csv::{Reader, ReaderBuilder, StringRecord};
use encoding_rs::{UTF_8, WINDOWS_1252};
use zeroize::Zeroizing;

/// Returns the text of a file, which may contain secrets. The path `-` is standard input.
///
/// # Errors
/// What is wrong with the file, and what to do. It does not name the file.
pub(crate) fn read(path: &Path, max_bytes: u64) -> Result<Zeroizing<String>, String> {
    let bytes = bytes(path, max_bytes).map_err(|error| format!("cannot be read: {error}"))?;
    Ok(Zeroizing::new(decode(&bytes)))
}

fn bytes(path: &Path, max_bytes: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let source: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(path)?),
    };
    let mut bytes = Zeroizing::new(Vec::new());
    source.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= max_bytes => Ok(bytes),
        _ => Err(io::Error::other(format!("it has more than {} MiB; split it", max_bytes / 1024 / 1024))),
    }
}

/// Decodes a text: by its byte order mark, else as UTF-8 if it is valid, else as Windows-1252.
fn decode(bytes: &[u8]) -> String {
    let fallback = if std::str::from_utf8(bytes).is_ok() { UTF_8 } else { WINDOWS_1252 };
    // `decode` heeds a byte order mark. The csv crate would count a line one too late after a carriage return.
    fallback.decode(bytes).0.replace("\r\n", "\n")
}

/// The rows of a text. The first row names the columns.
pub(crate) struct Rows<'a> {
    reader: Reader<&'a [u8]>,
    lines_before: u64,
}

impl<'a> Rows<'a> {
    /// Prepares to read a text.
    pub(crate) fn of(text: &'a str) -> Self {
        // Windows PowerShell's Export-Csv starts with the type of the objects.
        let (text, lines_before) = match text.strip_prefix("#TYPE").and_then(|rest| rest.split_once('\n')) {
            Some((_, rest)) => (rest, 1),
            None => (text, 0),
        };
        let reader = ReaderBuilder::new().delimiter(delimiter(text)).flexible(true).from_reader(text.as_bytes());
        Self { reader, lines_before }
    }

    /// Returns the names of the columns.
    pub(crate) fn header(&mut self) -> Result<StringRecord, String> {
        self.reader.headers().cloned().map_err(unreadable)
    }

    /// Reads the next row, and returns its line in the file; `None` at the end.
    pub(crate) fn next(&mut self, row: &mut StringRecord) -> Result<Option<u64>, String> {
        let has_row = self.reader.read_record(row).map_err(unreadable)?;
        Ok(has_row.then(|| row.position().map_or(0, csv::Position::line) + self.lines_before))
    }
}

/// Returns the position of a column in the header. `None` if there is none of this name.
///
/// # Errors
/// If there are several: a number or a PIN could be read from the wrong one.
pub(crate) fn column(header: &StringRecord, name: &str) -> Result<Option<usize>, String> {
    let is_named = |(_, column): &(usize, &str)| column.trim().eq_ignore_ascii_case(name);
    let mut found = header.iter().enumerate().filter(is_named).map(|(at, _)| at);
    let first = found.next();
    match found.next() {
        None => Ok(first),
        Some(_) => Err(format!("the first row names the column `{name}` more than once; keep only one")),
    }
}

fn unreadable(error: csv::Error) -> String {
    format!("is not a file of comma-separated values: {error}")
}

/// Returns the separator that occurs most often in the first row: tab, semicolon or comma.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    let count = |delimiter: &u8| header.bytes().filter(|byte| byte == delimiter).count();
    // If several occur equally often, the last one.
    [b'\t', b';', b','].into_iter().max_by_key(count).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn usual_encodings_are_decoded() {
        let utf16: Vec<u8> = "\u{feff}näme".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for bytes in [&b"n\xc3\xa4me"[..], b"\xef\xbb\xbfn\xc3\xa4me", b"n\xe4me", &utf16] {
            assert_eq!(decode(bytes), "näme", "{bytes:?}");
        }
        assert_eq!(decode(b"a,b\r\nc,d\r\n"), "a,b\nc,d\n");
    }
}
