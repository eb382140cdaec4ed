//! Reading a column of comma-separated values, as MIM's portal, PowerShell and Excel export them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use csv::{ReaderBuilder, StringRecord};
use encoding_rs::{UTF_8, WINDOWS_1252};

/// The largest file, in bytes: a million users with a few columns.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// The texts in this column, each with its line.
///
/// # Errors
/// What is wrong with the file, and what to do.
pub(super) fn numbers(path: &Path, column: &str) -> Result<Vec<(u64, String)>, String> {
    let in_file = |problem: String| format!("{}: {problem}", path.display());
    let bytes = read(path).map_err(|error| in_file(format!("cannot be read: {error}")))?;
    column_of(&decode(&bytes), column).map_err(in_file)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let source: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(path)?),
    };
    let mut bytes = Vec::new();
    source.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= MAX_BYTES => Ok(bytes),
        _ => Err(io::Error::other(format!("it has more than {} MiB; split it", MAX_BYTES / 1024 / 1024))),
    }
}

/// Text in the encoding of its byte order mark; without one in UTF-8, else in the usual one of western Windows.
fn decode(bytes: &[u8]) -> String {
    let fallback = if std::str::from_utf8(bytes).is_ok() { UTF_8 } else { WINDOWS_1252 };
    // `decode` obeys a byte order mark. Lines are counted by their line feeds, too late where a carriage return is before.
    fallback.decode(bytes).0.replace("\r\n", "\n")
}

fn column_of(text: &str, column: &str) -> Result<Vec<(u64, String)>, String> {
    // Windows PowerShell's Export-Csv starts with the type of the objects.
    let (text, lines_before) = match text.strip_prefix("#TYPE").and_then(|rest| rest.split_once('\n')) {
        Some((_, rest)) => (rest, 1),
        None => (text, 0),
    };
    let mut reader = ReaderBuilder::new().delimiter(delimiter(text)).flexible(true).from_reader(text.as_bytes());
    let unreadable = |error: csv::Error| format!("is not in comma-separated values: {error}");
    let header = reader.headers().map_err(unreadable)?.clone();
    let is_it = |name: &str| name.trim().eq_ignore_ascii_case(column);
    let Some(at) = header.iter().position(is_it) else { return Err(no_column(column, &header)) };
    reader
        .records()
        .map(|record| {
            let record = record.map_err(unreadable)?;
            let line = record.position().map_or(0, csv::Position::line) + lines_before;
            Ok((line, record.get(at).unwrap_or_default().to_owned()))
        })
        .collect()
}

fn no_column(column: &str, header: &StringRecord) -> String {
    // The names are sanitized: in a file without a header, the first row has numbers.
    let names: Vec<_> = header.iter().map(phonegate::telemetry::foreign_text).collect();
    match names.join(", ") {
        names if names.is_empty() => "is empty; its first row must name the columns".to_owned(),
        names => format!("has no column `{column}`; its first row names: {names}. Choose one by --column NAME"),
    }
}

/// Returns the separator that occurs most often in the first row: tab, semicolon or comma.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    let count = |delimiter: &u8| header.bytes().filter(|byte| byte == delimiter).count();
    // Of equally many, the last.
    [b'\t', b';', b','].into_iter().max_by_key(count).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::{column_of, decode};

    #[test]
    fn exports_of_excel_and_powershell_are_read() {
        let expected = Ok(vec![(2, "+1 4255551212".to_owned()), (3, String::new())]);
        for text in [
            &decode(b"name,phone\r\nAnn,+1 4255551212\r\nBob,\r\n"),
            "\"name\";\"phone\"\n\"Ann; B.\";\"+1 4255551212\"\n\"Bob\";\n",
            "name\tPhone \nAnn\t+1 4255551212\nBob\n",
        ] {
            assert_eq!(column_of(text, "phone"), expected, "{text:?}");
        }
        let typed = decode(b"#TYPE Selected.User\r\n\"phone\"\r\n\"+1 4255551212\"\r\n");
        assert_eq!(column_of(&typed, "phone"), Ok(vec![(3, "+1 4255551212".to_owned())]));
    }

    #[test]
    fn the_line_is_that_of_the_file_after_cells_with_line_breaks() {
        let text = "name,phone\n\"Ann\nB.\",1\nBob,2\n";
        assert_eq!(column_of(text, "phone"), Ok(vec![(2, "1".to_owned()), (4, "2".to_owned())]));
    }

    #[test]
    fn every_usual_encoding_is_read() {
        let utf16: Vec<u8> = "\u{feff}näme".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for bytes in [&b"n\xc3\xa4me"[..], b"\xef\xbb\xbfn\xc3\xa4me", b"n\xe4me", &utf16] {
            assert_eq!(decode(bytes), "näme", "{bytes:?}");
        }
    }

    #[test]
    fn a_missing_column_is_named_beside_those_that_are_there() {
        let error = column_of("name,mobile\n", "phone").unwrap_err();
        assert_eq!(error, "has no column `phone`; its first row names: name, mobile. Choose one by --column NAME");
        assert!(column_of("", "phone").unwrap_err().contains("is empty"));
        let error = column_of("Ann,+1 4255551212\n", "phone").unwrap_err();
        assert!(!error.contains("4255551212") && !error.contains("425555"), "{error}");
    }
}
