//! Denials and locks in a file (S13): what is stored, and which number keys they need.

use std::collections::BTreeMap;

use phonegate::call::KeyFingerprint;
use phonegate::store::{DenialLimits, KeyUse, LimitStore};

use super::*;

/// The denials of a number, as the rules have them.
#[derive(Default)]
pub struct Denials {
    recent: Vec<i64>,
    locks: u32,
    pub locked_until: i64,
}

impl Denials {
    /// The end of the lock that a denial causes.
    pub fn deny(&mut self, now: i64) -> Option<i64> {
        if self.locked_until > now {
            return None;
        }
        self.recent.push(now);
        let count = self.recent.iter().filter(|at| **at > now - 600_000).count();
        if count < 2 {
            return None;
        }
        self.recent.clear();
        self.locks += 1;
        self.locked_until = now + (20_000 << (self.locks - 1)).min(24 * 60 * 60 * 1000);
        Some(self.locked_until)
    }
}

/// Checks that each denial is counted once, for numbers without approvals and locks.
pub fn assert_denials_counted(database: &Connection) {
    let ends = "SELECT number_hash, count(*) FROM attempts
                WHERE reason IN ('WrongKey', 'NoKeyPressed', 'CallEnded', 'FraudReported') GROUP BY 1";
    let counted = "SELECT number_hash, json_array_length(recent) FROM denials WHERE recent <> '[]'";
    let read = |query: &str| -> BTreeMap<Vec<u8>, i64> {
        let mut statement = database.prepare(query).unwrap();
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
    };
    database.execute_batch("BEGIN").unwrap();
    let (ends, counted) = (read(ends), read(counted));
    database.execute_batch("COMMIT").unwrap();
    assert_eq!(counted, ends, "what counts is what was denied");
}

#[test]
fn a_number_key_is_kept_while_denials_need_it() {
    let (_folder, file) = file();
    let store = SqliteStore::open(&file).unwrap();
    let old = new(1);
    let keyed = StoredNumber::new(&number_keys::keyed(number_keys::ONE, "+1 4255551313"), false);
    assert_eq!(wait(store.begin(&old, &FEW)).unwrap(), Begun::New);
    let denied = Outcome::Failed(Failure::new(FailureReason::WrongKey, "Another."));
    let limits = DenialLimits { count: 1, ..NO_LOCK };
    let end = EndRequest { denials: limits, ..end(old.attempt, SystemTime::now(), denied) };
    assert!(wait(store.end(&end)).unwrap().is_done());
    let may_start = || {
        // Neither a call nor the use of the key is as new as the denial.
        let past = "DELETE FROM attempts; UPDATE number_keys SET used_at = (SELECT max(last_at) FROM denials) - 1";
        let database = Connection::open(&file).unwrap();
        if wait(store.locks()).unwrap().is_empty() {
            database.execute("UPDATE number_keys SET used_at = 1", []).unwrap();
        } else {
            database.execute_batch(past).unwrap();
            // Four hours later.
            let later =
                SqliteStore::open_with_clock(&file, || SystemTime::now() + 4 * Duration::from_secs(3600)).unwrap();
            wait(later.sweep(DAY)).unwrap();
        }
        wait(store.sweep(DAY)).unwrap();
        wait(store.use_number_keys(&[keyed.fingerprint], KeyUse::Read)).is_ok()
    };
    assert!(!may_start(), "a lock has its number by the old key");
    assert_eq!(wait(store.use_number_keys(&[KeyFingerprint::UNKEYED], KeyUse::Read)), Ok(()));
    wait(store.unlock(&[old.number.hash])).unwrap();
    assert!(may_start(), "no number is left of it");
}
