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

/// Returns the row for a status: the one that lists it, otherwise that of its class.
fn row_of<'a>(rows: &[Vec<&'a str>], status: u16) -> Vec<&'a str> {
    let row_with = |word: &str| {
        let mut found = rows.iter().filter(|row| row[0].split([',', ' ']).any(|listed| listed == word));
        let row = found.next().cloned();
        assert!(found.next().is_none(), "{word} is in one row only");
        row
    };
    let class = format!("{}xx", status / 100);
    row_with(&status.to_string()).or_else(|| row_with(&class)).unwrap_or_else(|| panic!("no row has {status}"))
}

#[test]
fn every_final_response_is_documented_with_its_failure() {
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/backends.md")).unwrap();
    let (_, table) = document.split_once("| the trunk answers | ").expect("docs/backends.md has the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with("| "));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.trim_matches(['|', ' ']).split(" | ").collect()).collect();
    for status in 300..700 {
        let (reason, _, next) = meaning(status);
        let next = match next {
            NextAttempt::AnotherServer => "the next server",
            NextAttempt::AnotherBackend => "the next backend",
            NextAttempt::Nothing => "nothing",
        };
        let reason = format!("`{}`", reason.name());
        assert_eq!(row_of(&rows, status)[1..], [reason.as_str(), next], "the row for {status}");
    }
}
