//! Reads the numbers from a column of a file of comma-separated values.

use std::path::Path;

use csv::StringRecord;

use crate::csv_input::{self, Rows};

/// Maximum size of the file, in bytes: enough for a million users with a few columns.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// Returns the texts of a column, each with its line.
///
/// # Errors
/// What is wrong with the file, and what to do.
pub(super) fn numbers(path: &Path, column: &str) -> Result<Vec<(u64, String)>, String> {
    let in_file = |problem: String| format!("{}: {problem}", path.display());
    let text = csv_input::read(path, MAX_BYTES).map_err(in_file)?;
    column_of(&text, column).map_err(in_file)
}

fn column_of(text: &str, column: &str) -> Result<Vec<(u64, String)>, String> {
    let mut rows = Rows::of(text);
    let header = rows.header()?;
    let Some(at) = csv_input::column(&header, column)? else { return Err(no_column(column, &header)) };
    let (mut row, mut texts) = (StringRecord::new(), Vec::new());
    while let Some(line) = rows.next(&mut row)? {
        texts.push((line, row.get(at).unwrap_or_default().to_owned()));
    }
    Ok(texts)
}

fn no_column(column: &str, header: &StringRecord) -> String {
    // The names are sanitized, because the first row of a file without a header has numbers.
    let names: Vec<_> = header.iter().map(phonegate::redact::sanitize_untrusted).collect();
    match names.join(", ") {
        names if names.is_empty() => "is empty; the first row must name the columns".to_owned(),
        names => format!("has no column `{column}`; the first row names: {names}. Choose one by --column NAME"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::column_of;

    #[test]
    fn a_column_that_is_named_twice_is_refused() {
        let refused = column_of("Number,name, number\n1,A,2\n", "number").unwrap_err();
        assert!(refused.contains("names the column `number` more than once"), "{refused}");
    }

    #[test]
    fn exports_of_excel_and_powershell_are_read() {
        let expected = Ok(vec![(2, "+1 4255551212".to_owned()), (3, String::new())]);
        for text in [
            "name,phone\nAnn,+1 4255551212\nBob,\n",
            "\"name\";\"phone\"\n\"Ann; B.\";\"+1 4255551212\"\n\"Bob\";\n",
            "name\tPhone \nAnn\t+1 4255551212\nBob\n",
        ] {
            assert_eq!(column_of(text, "phone"), expected, "{text:?}");
        }
        let typed = "#TYPE Selected.User\n\"phone\"\n\"+1 4255551212\"\n";
        assert_eq!(column_of(typed, "phone"), Ok(vec![(3, "+1 4255551212".to_owned())]));
    }

    #[test]
    fn lines_are_counted_after_cells_with_line_breaks() {
        let text = "name,phone\n\"Ann\nB.\",1\nBob,2\n";
        assert_eq!(column_of(text, "phone"), Ok(vec![(2, "1".to_owned()), (4, "2".to_owned())]));
    }

    #[test]
    fn the_error_names_a_missing_column_and_the_existing_ones() {
        let error = column_of("name,mobile\n", "phone").unwrap_err();
        assert_eq!(error, "has no column `phone`; the first row names: name, mobile. Choose one by --column NAME");
        assert!(column_of("", "phone").unwrap_err().contains("is empty"));
        let error = column_of("Ann,+1 4255551212\n", "phone").unwrap_err();
        assert!(!error.contains("4255551212") && !error.contains("425555"), "{error}");
    }
}
