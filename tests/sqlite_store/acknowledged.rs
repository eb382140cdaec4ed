//! The operations that a store has acknowledged, according to the processes that used it.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::support::calls::sqlite3;

/// Finds denials, locks and counters that do not fit the calls. Each denied call was to a number without an approval.
const INCONSISTENT: &str = "
    CREATE TEMP VIEW denied AS
        SELECT number_hash AS key, count(*) AS ends, max(locked_until_at IS NOT NULL) AS is_locked FROM attempts
        WHERE reason = 'WrongKey' GROUP BY 1;
    SELECT 'denials', hex(key), ends, is_locked, recent, locked_until FROM denied
        LEFT JOIN denials ON key = number_hash
        WHERE recent IS NULL OR json_array_length(recent) <> iif(is_locked, 0, ends)
            OR is_locked <> (locked_until IS NOT NULL);
    SELECT 'denials of no call', hex(number_hash) FROM denials WHERE number_hash NOT IN (SELECT key FROM denied);
    CREATE TEMP VIEW counted AS
        SELECT scope, key, bucket, count FROM counters
        WHERE scope IN (6, 7) OR scope = 4 AND bucket > (SELECT now / 1000 - 60 FROM clock)
            OR scope = 5 AND bucket >= (SELECT now / 1000 FROM clock);
    CREATE TEMP VIEW recounted AS
        SELECT 4 AS scope, line_hash AS key, begun / 1000 AS bucket, count(*) AS count FROM attempts
            WHERE begun / 1000 > (SELECT now / 1000 - 60 FROM clock) GROUP BY 2, 3
        UNION ALL SELECT 5, line_hash, deadline / 1000, count(*) FROM attempts
            WHERE ended IS NULL AND deadline / 1000 >= (SELECT now / 1000 FROM clock) GROUP BY 2, 3
        UNION ALL SELECT 6, x'', begun / 600000, count(*) FROM attempts WHERE begun IS NOT NULL GROUP BY 3
        UNION ALL SELECT 7, CAST(country AS BLOB), begun / 600000, count(*) FROM attempts
            WHERE begun IS NOT NULL AND country IS NOT NULL GROUP BY 2, 3;
    SELECT 'counted', scope, hex(key), bucket, count FROM (SELECT * FROM counted EXCEPT SELECT * FROM recounted);
    SELECT 'not counted', scope, hex(key), bucket, count FROM (SELECT * FROM recounted EXCEPT SELECT * FROM counted);";

/// The operations that the store of one file has acknowledged.
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
            "begun" | "ended" | "denied" => drop(self.calls.insert(line.to_owned())),
            "blocking" | "unblocking" => drop(self.blocked.insert(what.to_owned(), None)),
            "blocked" => drop(self.blocked.insert(what.to_owned(), Some(true))),
            "unblocked" => drop(self.blocked.insert(what.to_owned(), Some(false))),
            // A line of the test's own harness.
            _ => {}
        }
    }

    /// Checks that a file is intact and has all of these operations.
    pub fn is_in(&self, file: &Path, what: &str) {
        let all = sqlite3(
            file,
            "PRAGMA integrity_check; SELECT 'begun ' || id FROM attempts;
             SELECT 'ended ' || id FROM attempts WHERE ended IS NOT NULL;
             SELECT 'denied ' || lower(hex(number_hash)) FROM denials;
             SELECT 'blocked ' || lower(hex(number_hash)) FROM blocks;",
        );
        let inconsistent = sqlite3(file, INCONSISTENT);
        assert_eq!(inconsistent, "", "{what}");
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
