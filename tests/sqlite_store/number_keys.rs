//! Number keys in a file (S14): those of a gate that starts, those of an older file, and when one is removed.

use phonegate::admission::NumberHasher;
use phonegate::call::{KeyFingerprint, PhoneNumber};
use phonegate::store::KeyUse;

use super::*;
use crate::support::approval::verified;

pub(super) const ONE: &str = "not-a-real-number-key-0123456789abcdef";
const TWO: &str = "not-a-real-number-key-fedcba9876543210";

const HOUR: u64 = 3600;

fn hasher(key: &str) -> NumberHasher {
    NumberHasher::new(Some(key.into()), [])
}

/// The number as a node with this key has it.
pub(super) fn keyed(key: &str, number: &str) -> PhoneNumber {
    admission().hashing_with(hasher(key)).admit(number).unwrap()
}

/// A gate on this file whose configuration has this section.
fn config(file: &Path, privacy: Value) -> Value {
    json!({
        "use": ["phone"],
        "allow_test_backends": true,
        "backends": { "phone": { "type": "simulated", "answer_after_ms": 0, "press_after_ms": 0 } },
        "store": { "type": "sqlite", "path": file },
        "privacy": privacy,
    })
}

/// How a call to the number ends in a gate with this section.
fn call(file: &Path, privacy: Value, n: u128) -> (CallStatus, String) {
    let gate = TestGate::start(config(file, privacy));
    gate.initiate(id(n), NUMBER);
    gate.ends(id(n))
}

#[test]
fn a_gate_starts_with_all_number_keys_of_its_file_alone() {
    let (_folder, file) = file();
    assert_eq!(call(&file, json!({}), 1).0, CallStatus::Success);
    // Switched on, then changed.
    assert_eq!(call(&file, json!({ "number_key": ONE }), 2).0, CallStatus::Success);
    for (privacy, missing) in [
        (json!({}), hasher(ONE)),
        (json!({ "other_number_keys": [TWO] }), hasher(ONE)),
        (json!({ "number_key": TWO }), hasher(ONE)),
    ] {
        let error = TestGate::why_not(config(&file, privacy));
        let fingerprint = missing.fingerprints()[0];
        assert!(error.starts_with("privacy.number_key: does not fit "), "{error}");
        for words in
            [&file.display().to_string(), &format!("fingerprint {fingerprint}"), "add the missing key to privacy.other"]
        {
            assert!(error.contains(words), "{words} in {error}");
        }
        assert!(!error.contains(ONE) && !error.contains(TWO), "{error}");
    }
    let rotated = json!({ "number_key": TWO, "other_number_keys": [ONE] });
    assert_eq!(call(&file, rotated, 3).0, CallStatus::Success);
    let hashes: std::collections::HashSet<_> =
        rows(&SqliteStore::open(&file).unwrap()).iter().map(|row| row.number_hash).collect();
    assert_eq!(
        Vec::from_iter(hashes),
        [Some(keyed(TWO, NUMBER).hash())],
        "the calls of the number have its newest hash"
    );
}

#[test]
fn a_block_of_version_2_holds_when_a_number_key_is_set() {
    let (_folder, file) = file();
    let number = StoredNumber::new(&admitted(NUMBER), false);
    let since = SystemTime::now();
    let block = Block {
        number: number.hash,
        scope: BlockScope::Line,
        masked: number.masked,
        reason: "stolen".into(),
        since,
        until: None,
    };
    wait(SqliteStore::open(&file).unwrap().block(&block)).unwrap();
    let to_2 = format!("{UNDO_5} {UNDO_4} DROP TABLE number_keys; PRAGMA user_version = 2;");
    Connection::open(&file).unwrap().execute_batch(&to_2).unwrap();
    let (status, text) = call(&file, json!({ "number_key": ONE }), 1);
    assert_eq!(status, CallStatus::Failed);
    assert!(text.contains("is on the block list: stolen"), "{text}");
    let copies = phonegate::store::backup_files(&file);
    assert_eq!(copies.len(), 1, "the file was copied before: {copies:?}");
}

static AHEAD: AtomicI64 = AtomicI64::new(0);

fn clock() -> SystemTime {
    SystemTime::now() + Duration::from_secs(AHEAD.load(Ordering::Relaxed).unsigned_abs())
}

fn set_clock(hours: u64) {
    AHEAD.store(i64::try_from(hours * HOUR).unwrap(), Ordering::Relaxed);
}

#[test]
fn an_unused_number_key_is_removed() {
    let (_folder, file) = file();
    let store = SqliteStore::open_with_clock(&file, clock).unwrap();
    let call = |n, number: StoredNumber| {
        let new = NewAttempt { started: clock(), number, ..new(n) };
        assert_eq!(wait(store.begin(&new, &FEW)), Ok(Begun::New));
        assert!(wait(store.end(&end(new.attempt, clock(), verified()))).unwrap().is_done());
    };
    let without_the_old_key = || wait(store.use_number_keys(&hasher(ONE).fingerprints()[..1], KeyUse::Read));
    let may_start = || {
        wait(store.sweep(DAY)).unwrap();
        without_the_old_key().is_ok()
    };
    let old = StoredNumber::new(&admitted("+1 4255551313"), false);
    call(1, old.clone());
    set_clock(1);
    let block = Block {
        number: old.hash,
        scope: BlockScope::Line,
        masked: old.masked,
        reason: "left".into(),
        since: clock(),
        until: None,
    };
    wait(store.block(&block)).unwrap();
    set_clock(5);
    call(2, StoredNumber::new(&keyed(ONE, NUMBER), false));
    assert!(!may_start(), "a call and a block are left");
    set_clock(26);
    assert!(!may_start(), "a block is left");
    assert_eq!(rows(&store).len(), 1);
    assert!(wait(store.unblock(old.hash)).unwrap());
    assert!(without_the_old_key().is_err(), "only the sweep forgets");
    assert!(may_start());
    // The key that is in use stays.
    let none = wait(store.use_number_keys(&[KeyFingerprint::UNKEYED], KeyUse::Read));
    assert!(none.is_err(), "{none:?}");
}

#[test]
fn a_block_of_a_number_that_was_found_keeps_every_number_key() {
    let (_folder, file) = file();
    let store = SqliteStore::open(&file).unwrap();
    assert_eq!(wait(store.begin(&new(1), &FEW)), Ok(Begun::New));
    let all = hasher(ONE).fingerprints();
    Connection::open(&file).unwrap().execute("UPDATE number_keys SET used_at = 1", []).unwrap();
    wait(store.use_number_keys(&all, KeyUse::WriteAny)).unwrap();
    let used: i64 = Connection::open(&file)
        .unwrap()
        .query_row("SELECT min(used_at) FROM number_keys", [], |row| row.get(0))
        .unwrap();
    assert!(used > 1, "{used}");
}
