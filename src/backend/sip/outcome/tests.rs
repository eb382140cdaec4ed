//! What the end of a call means, in the code and in docs/backends.md.
#![allow(clippy::panic, clippy::indexing_slicing, clippy::expect_used, clippy::unwrap_used, reason = "tests")]

use super::*;

/// A flood says nothing about the user, so it must not count towards the lock of the number.
#[test]
fn flooded_call_is_no_denial() {
    for failure in [failure_after_answer(None), flooded()] {
        assert!(!failure.reason().is_denial(), "{failure:?} is the trunk's failure, not the user's");
        assert!(failure.text().contains("too many requests"), "{failure:?} says why the call was ended");
    }
}

/// Returns the rows of the table in docs/backends.md whose header begins with this cell.
fn documented_rows(document: &str, header: &str) -> Vec<Vec<String>> {
    let (_, table) = document.split_once(&format!("| {header} | ")).expect("docs/backends.md has the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with("| "));
    rows.map(|row| row.trim_matches(['|', ' ']).split(" | ").map(str::to_owned).collect()).collect()
}

fn document() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/backends.md")).unwrap()
}

/// Returns the only row that lists this word. `None` if no row has it.
fn row_with<'a>(rows: &'a [Vec<String>], word: &str) -> Option<&'a [String]> {
    let mut found = rows.iter().filter(|row| row[0].split([',', ' ']).any(|listed| listed == word));
    let row = found.next();
    assert!(found.next().is_none(), "{word} is in one row only");
    row.map(Vec::as_slice)
}

#[test]
fn every_final_response_is_documented_with_its_failure() {
    let rows = documented_rows(&document(), "the trunk answers");
    for status in 300..700 {
        let (reason, _, next) = meaning(status);
        let next = match next {
            NextAttempt::AnotherServer => "the next server",
            NextAttempt::AnotherBackend => "the next backend",
            NextAttempt::Nothing => "nothing",
        };
        let class = format!("{}xx", status / 100);
        let row = row_with(&rows, &status.to_string()).or_else(|| row_with(&rows, &class));
        let row = row.unwrap_or_else(|| panic!("no row has {status}"));
        assert_eq!(row[1..], [format!("`{}`", reason.name()), next.to_owned()], "the row for {status}");
    }
}

#[test]
fn every_cause_in_a_5xx_is_documented_with_its_meaning() {
    let rows = documented_rows(&document(), "cause in a 5xx");
    for status in [500, 503, 599] {
        assert_eq!(effective_status(status, None), status, "a 5xx without a cause");
        for cause in 0..=127 {
            let effective = effective_status(status, Some(cause));
            let row = row_with(&rows, &cause.to_string()).map(|row| row[1].as_str());
            let expected = if effective == status { None } else { Some(effective.to_string()) };
            assert_eq!(row, expected.as_deref(), "the row for cause {cause} in {status}");
        }
    }
    for status in (300..500).chain(600..700) {
        assert_eq!(effective_status(status, Some(17)), status, "the cause matters in a 5xx only");
    }
}
