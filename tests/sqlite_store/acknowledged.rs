//! What a store has acknowledged, as the processes that used it said.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::support::calls::sqlite3;

/// What the store of one file has acknowledged.
#[derive(Clone, Default)]
pub struct Acknowledged {
    calls: HashSet<String>,
    /// Whether a number is on the block list. None if that was being changed when the process was killed.
    blocked: HashMap<String, Option<bool>>,
}

impl Acknowledged {
    pub fn hear(&mut self, line: &str) {
        let Some((event, what)) = line.split_once(' ') else { return };
        match event {
            "begun" | "ended" => drop(self.calls.insert(line.to_owned())),
            "blocking" | "unblocking" => drop(self.blocked.insert(what.to_owned(), None)),
            "blocked" => drop(self.blocked.insert(what.to_owned(), Some(true))),
            "unblocked" => drop(self.blocked.insert(what.to_owned(), Some(false))),
            // A line of the test's own harness.
            _ => {}
        }
    }

    /// Checks that a file is intact and has all of it.
    pub fn is_in(&self, file: &Path, what: &str) {
        let all = sqlite3(
            file,
            "PRAGMA integrity_check; SELECT 'begun ' || id FROM attempts;
             SELECT 'ended ' || id FROM attempts WHERE ended IS NOT NULL;
             SELECT 'blocked ' || lower(hex(number_key)) FROM blocks;",
        );
        let (check, rest) = all.split_once('\n').unwrap();
        assert_eq!(check, "ok", "{what}: {all}");
        let found: HashSet<&str> = rest.lines().collect();
        for call in &self.calls {
            assert!(found.contains(&**call), "{what}: the store has lost `{call}`");
        }
        for (key, blocked) in &self.blocked {
            let is_there = found.contains(&*format!("blocked {key}"));
            assert!(blocked.is_none_or(|blocked| blocked == is_there), "{what}: {key}: {is_there}, not {blocked:?}");
        }
    }
}
