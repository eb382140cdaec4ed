//! The document of the contract, the code and the tests have the same rules.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

/// The numbers of the rules that the files of a folder cite, as in `S4`.
fn cited(folder: &Path) -> BTreeSet<u32> {
    let mut rules = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            rules.extend(cited(&entry));
        } else {
            let text = std::fs::read_to_string(&entry).unwrap();
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            rules.extend(words.filter_map(|word| word.strip_prefix('S')?.parse::<u32>().ok()));
        }
    }
    rules
}

#[test]
fn every_rule_of_the_contract_has_code_and_a_test() {
    let project = support::project_folder();
    let contract = std::fs::read_to_string(project.join("docs/design/store-contract.md")).unwrap();
    let number = |line: &str| line.strip_prefix("**S")?.split_once(". ")?.0.parse::<u32>().ok();
    let rules: Vec<_> = contract.lines().filter_map(number).collect();
    assert_eq!(rules, (1..=rules.len() as u32).collect::<Vec<_>>(), "the rules are numbered in their order");
    let rules = BTreeSet::from_iter(rules);
    assert_eq!(cited(&project.join("src/store")), rules, "the code cites every rule, and no other one");
    let tests = ["stores", "sqlite_store", "redis_store"].map(|name| cited(&project.join("tests").join(name)));
    assert_eq!(
        tests.into_iter().flatten().collect::<BTreeSet<_>>(),
        rules,
        "the tests cite every rule, and no other one"
    );
}

/// S21.
#[test]
fn what_was_recorded_before_close_is_there_after_it() {
    on_every_store(async |open| {
        let store = open();
        assert_eq!(begin(&store, &new(attempt(1, 1), number(1))).await, Begun::New);
        assert!(store.close(support::EVENT_TIMEOUT));
        assert!(is_pending(&open(), attempt(1, 1)).await);
    });
}
