//! Promises that only the store in SQLite makes, about the file, its clock (S10), and other programs that use it.

mod acknowledged;
mod codes;
mod counters;
mod denials;
mod kills;
mod number_keys;
mod others;
mod pins;
mod recounts;
#[path = "../support/mod.rs"]
mod support;
mod unreadable;
mod victim;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use phonegate::call::{Attempt, CallLimit, CallStatus, Failure, FailureReason, Outcome};
use phonegate::store::{
    AttemptState, Begun, Block, BlockScope, CallStore, EndRequest, LEASE, Limits, NewAttempt, Owner, Query, Refusal,
    RowOutcome, SqliteStore, StoreErrorKind, StoredNumber,
};
use rusqlite::Connection;
use serde_json::{Value, json};
use support::approval::verified;
use support::gate::{TestGate, admission, admitted, id, no_limits};
use support::limits::{NO_LIMITS, NO_LOCK};
use tempfile::TempDir;

const NUMBER: &str = "+1 4255551212";

const OWNER: Owner = Owner(uuid::Uuid::from_u128(1));

/// Undoes versions 6 and 5 of the schema.
const UNDO_5: &str = "
    ALTER TABLE attempts RENAME COLUMN is_latest TO current;
    ALTER TABLE attempts RENAME COLUMN holds_number TO rings;
    ALTER TABLE attempts RENAME COLUMN claim_unacked TO handed_over;
    ALTER TABLE attempts RENAME COLUMN number_hash TO number_key;
    ALTER TABLE attempts RENAME COLUMN line_hash TO line_key;
    ALTER TABLE blocks RENAME COLUMN number_hash TO number_key;
    ALTER TABLE pins RENAME COLUMN number_hash TO number_key;
    DROP TABLE alerts; DROP TABLE denials; ALTER TABLE attempts DROP COLUMN country;
    ALTER TABLE attempts DROP COLUMN call_limit; ALTER TABLE attempts DROP COLUMN locked_until_at;
    ALTER TABLE attempts DROP COLUMN used_by; ALTER TABLE blocks RENAME TO scoped_blocks;
    CREATE TABLE blocks (number_key BLOB PRIMARY KEY, number TEXT NOT NULL, reason TEXT NOT NULL,
        since_at INTEGER NOT NULL, until_at INTEGER) STRICT;
    INSERT INTO blocks SELECT number_key, number, reason, since_at, until_at FROM scoped_blocks;
    DROP TABLE scoped_blocks;";

/// Undoes version 4 of the schema.
const UNDO_4: &str =
    "DROP TABLE pins; ALTER TABLE attempts DROP COLUMN codes; ALTER TABLE attempts DROP COLUMN judged_by;";

const DAY: Duration = Duration::from_secs(86_400);

const FEW: Limits =
    Limits { calls_per_number: 9, per_number_window: LEASE, concurrent_calls: 9, calls_per_minute: 9, ..NO_LIMITS };

/// A gate that keeps its calls in this file, and whose phone approves them.
fn gate(file: &Path, limits: Value, audit: Value) -> TestGate {
    TestGate::start(json!({
        "use": ["phone"],
        "allow_test_backends": true,
        "backends": { "phone": { "type": "simulated", "answer_after_ms": 0, "press_after_ms": 0 } },
        "limits": limits,
        "audit": audit,
        "store": { "type": "sqlite", "path": file },
    }))
}

fn file() -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls.db");
    (folder, file)
}

fn rows(store: &SqliteStore) -> Vec<phonegate::store::Row> {
    let query = Query { limit: 1000, ..Query::default() };
    wait(store.rows(&query)).unwrap()
}

/// An attempt as call n.
fn new(n: u128) -> NewAttempt {
    NewAttempt {
        attempt: Attempt { id: id(n), generation: 1 },
        started: SystemTime::now(),
        deadline: Duration::from_secs(600),
        number: StoredNumber::new(&admitted(NUMBER), false),
        owner: OWNER,
        node: "here".into(),
    }
}

fn end(attempt: Attempt, at: SystemTime, outcome: Outcome) -> EndRequest {
    EndRequest { attempt, owner: OWNER, at, outcome, release: true, denials: NO_LOCK }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_limit_holds_across_restarts_and_says_its_end() {
    let (_folder, file) = file();
    let limits = json!({ "calls_per_number": 2, "per_number_window_s": 600 });
    for n in 1..=4 {
        let gate = gate(&file, limits.clone(), json!({}));
        gate.initiate(id(n), NUMBER);
        let (status, text) = gate.ends(id(n));
        let expected = if n <= 2 { CallStatus::Success } else { CallStatus::Failed };
        assert_eq!(status, expected, "call {n}: {text}");
        if n > 2 {
            assert!(text.starts_with("There were too many calls to +1******1212. It will work again in "), "{text}");
            assert!(text.contains(" UTC.") && text.ends_with("(Throttled, code 150)"), "{text}");
        }
        gate.end();
    }
}

static SET_BACK: AtomicI64 = AtomicI64::new(0);

fn moved_clock() -> SystemTime {
    let hours = SET_BACK.load(Ordering::Relaxed);
    SystemTime::now() - Duration::from_secs(u64::try_from(hours).unwrap() * 3600)
}

#[test]
fn a_clock_that_is_set_back_neither_admits_nor_delays_calls() {
    let (_folder, file) = file();
    let limits = Limits { calls_per_number: 2, per_number_window: Duration::from_secs(2), ..NO_LIMITS };
    let begin = |store: &SqliteStore, n: u128| {
        let new = new(n);
        let begun = wait(store.begin(&new, &limits)).unwrap();
        if begun == Begun::New {
            let busy = Outcome::Failed(Failure::new(FailureReason::Unreachable, "Busy."));
            assert!(wait(store.end(&end(new.attempt, SystemTime::now(), busy))).unwrap().is_done());
        }
        begun
    };
    let store = SqliteStore::open_with_clock(&file, moved_clock).unwrap();
    assert_eq!([begin(&store, 1), begin(&store, 2)], [Begun::New, Begun::New]);
    SET_BACK.store(5, Ordering::Relaxed);
    assert!(matches!(begin(&store, 3), Begun::Refused(Refusal::Limit { limit: CallLimit::CallsPerNumber, .. })));
    drop(store);
    // Also in the next process. The time goes on, although the wall clock is hours behind.
    let store = SqliteStore::open_with_clock(&file, moved_clock).unwrap();
    let Begun::Refused(Refusal::Limit { limit: CallLimit::CallsPerNumber, after }) = begin(&store, 4) else {
        panic!("the limit is undone")
    };
    assert!(after <= Duration::from_secs(2), "{after:?}");
    support::wait_until("there may be a call again", || begin(&store, 5) == Begun::New);
}

#[test]
fn a_block_holds_although_the_clock_was_once_ahead() {
    let (_folder, file) = file();
    let days_ahead = || SystemTime::now() + Duration::from_secs(30 * 86_400);
    let number = StoredNumber::new(&admitted(NUMBER), false);
    let store = SqliteStore::open_with_clock(&file, days_ahead).unwrap();
    wait(store.renew(OWNER)).unwrap();
    drop(store);
    let store = SqliteStore::open(&file).unwrap();
    let now = SystemTime::now();
    let until = Some(now + DAY);
    let block = Block {
        number: number.hash,
        scope: BlockScope::Line,
        masked: number.masked,
        reason: "stolen".into(),
        since: now,
        until,
    };
    wait(store.block(&block)).unwrap();
    wait(store.sweep(DAY)).unwrap();
    assert_eq!(wait(store.blocks()).unwrap().len(), 1);
    let gate = gate(&file, no_limits(), json!({}));
    gate.initiate(id(1), NUMBER);
    let (status, text) = gate.ends(id(1));
    assert_eq!(status, CallStatus::Failed);
    assert!(text.ends_with("stolen. (Blocked, code 14)"), "{text}");
}

#[test]
fn the_file_is_private_and_has_no_whole_number() {
    let (folder, file) = file();
    let gate = gate(&file, no_limits(), json!({}));
    gate.initiate(id(1), "+1 4255551212x77777777");
    assert_eq!(gate.ends(id(1)).0, CallStatus::Success);
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
        // In a process of its own: to close the file here would take SQLite's locks on it.
        let bytes = std::process::Command::new("cat").arg(&path).output().unwrap().stdout;
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!holds("5551212") && !holds("77777777"), "{}", path.display());
    }
    gate.end();
}

#[test]
fn the_whole_number_is_kept_only_if_configured() {
    let (_folder, file) = file();
    let gate = gate(&file, no_limits(), json!({ "full_numbers": true }));
    gate.initiate(id(1), "+1 4255551212x77777777");
    gate.ends(id(1));
    gate.end();
    let rows = rows(&SqliteStore::open(&file).unwrap());
    assert_eq!(rows[0].full_number.as_deref(), Some("+14255551212x77777777"));
    assert_eq!(rows[0].number.as_deref(), Some("+1******1212x…"));
}

#[test]
fn a_foreign_or_newer_database_is_refused_and_unchanged() {
    let (_folder, file) = file();
    std::fs::write(&file, "Dear diary, today nobody called.").unwrap();
    let error = SqliteStore::open(&file).err().unwrap();
    assert!(error.detail().contains("not a database"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "Dear diary, today nobody called.");

    std::fs::remove_file(&file).unwrap();
    drop(SqliteStore::open(&file).unwrap());
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 1000).unwrap();
    let error = SqliteStore::open(&file).err().unwrap();
    assert!(error.detail().contains("newer PhoneGate (schema version 1000"), "{error}");

    let of_others = file.with_file_name("others.db");
    Connection::open(&of_others).unwrap().execute_batch("CREATE TABLE birds (name TEXT)").unwrap();
    let before = std::fs::read(&of_others).unwrap();
    let error = SqliteStore::open(&of_others).err().unwrap();
    assert!(error.detail().contains("database of another program"), "{error}");
    assert_eq!(std::fs::read(&of_others).unwrap(), before);
}

#[test]
fn a_refused_number_is_recorded_with_its_refusal() {
    let (_folder, file) = file();
    let gate = gate(&file, no_limits(), json!({}));
    gate.initiate(id(1), "+1 9005551212");
    gate.initiate(id(2), "nonsense");
    gate.end();
    let kept: Vec<_> = rows(&SqliteStore::open(&file).unwrap())
        .into_iter()
        .map(|row| (row.number.as_deref().map(str::to_owned), row.number_hash))
        .collect();
    let premium = admission().read("+1 9005551212").unwrap();
    assert_eq!(kept, [(Some(premium.to_string()), Some(premium.hash())), (None, None)]);
}

#[test]
fn deleted_data_is_not_in_the_file() {
    let (_folder, file) = file();
    let words = "the phone was stolen on Tuesday";
    let holds = || {
        let bytes = std::fs::read(&file).unwrap();
        bytes.windows(words.len()).any(|window| window == words.as_bytes())
    };
    let number = StoredNumber::new(&admitted(NUMBER), false);
    let block = Block {
        number: number.hash,
        scope: BlockScope::Line,
        masked: number.masked,
        reason: words.into(),
        since: SystemTime::now(),
        until: None,
    };
    // The last process that closes the file writes the log back into it.
    let store = SqliteStore::open(&file).unwrap();
    wait(store.block(&block)).unwrap();
    drop(store);
    assert!(holds());
    let store = SqliteStore::open(&file).unwrap();
    assert!(wait(store.unblock(block.number)).unwrap());
    drop(store);
    assert!(!holds());
}

/// Keeps a call in the file that began and ended by this clock.
fn keep_call(file: &Path, n: u128, clock: fn() -> SystemTime) {
    let store = SqliteStore::open_with_clock(file, clock).unwrap();
    let new = NewAttempt { started: clock(), ..new(n) };
    assert_eq!(wait(store.begin(&new, &FEW)).unwrap(), Begun::New);
    assert!(wait(store.end(&end(new.attempt, clock(), verified()))).unwrap().is_done());
}

fn days_ago<const DAYS: u32>() -> SystemTime {
    SystemTime::now() - DAYS * DAY
}

#[test]
fn a_call_is_removed_when_both_clocks_say_that_it_is_old() {
    let (_folder, file) = file();
    keep_call(&file, 1, days_ago::<91>);
    keep_call(&file, 2, days_ago::<89>);
    let number = StoredNumber::new(&admitted(NUMBER), false);
    let since = days_ago::<1>();
    let block = Block {
        number: number.hash,
        scope: BlockScope::Line,
        masked: number.masked,
        reason: "a fraud".into(),
        since,
        until: Some(since + 90 * DAY),
    };
    let ahead = SqliteStore::open_with_clock(&file, || SystemTime::now() + 100 * DAY).unwrap();
    wait(ahead.block(&block)).unwrap();
    drop(ahead);
    let store = SqliteStore::open(&file).unwrap();
    wait(store.sweep(90 * DAY)).unwrap();
    assert_eq!(rows(&store).into_iter().map(|row| row.attempt.id).collect::<Vec<_>>(), [id(2)]);
    drop(store);
    // A block is kept for as long after its end, since the clock may be ahead now.
    let ahead = SqliteStore::open_with_clock(&file, || SystemTime::now() + 100 * DAY).unwrap();
    wait(ahead.sweep(90 * DAY)).unwrap();
    assert_eq!(wait(ahead.blocks()).unwrap(), []);
    drop(ahead);
    assert_eq!(wait(SqliteStore::open(&file).unwrap().blocks()).unwrap().len(), 1);
}

fn an_hour_ahead() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

#[test]
fn a_clock_set_back_between_processes_gives_no_more_time() {
    let (_folder, file) = file();
    keep_call(&file, 1, an_hour_ahead);
    let store = SqliteStore::open_with_clock(&file, an_hour_ahead).unwrap();
    let pending = NewAttempt { started: an_hour_ahead(), ..new(2) };
    assert_eq!(wait(store.begin(&pending, &FEW)).unwrap(), Begun::New);
    let left = |store: &SqliteStore| match wait(store.find(id(2))).unwrap().unwrap().state {
        AttemptState::Pending { left, .. } => left,
        other => panic!("{other:?}"),
    };
    let ago = |store: &SqliteStore| match wait(store.find(id(1))).unwrap().unwrap().state {
        AttemptState::Ended { ago, .. } => ago,
        other => panic!("{other:?}"),
    };
    assert!(left(&store) > LEASE && ago(&store) < LEASE * 6, "until the clock is set");
    drop(store);
    // It is not known for how long no process was running.
    let store = SqliteStore::open(&file).unwrap();
    assert_eq!(left(&store), Duration::ZERO);
    assert!(ago(&store) > DAY);
    // The same if the next process starts only much later.
    let store = SqliteStore::open_with_clock(&file, || SystemTime::now() + Duration::from_secs(7200)).unwrap();
    assert_eq!(left(&store), Duration::ZERO);
    let orphans = wait(store.claim_orphans(Owner(uuid::Uuid::from_u128(2)), 9)).unwrap();
    assert_eq!(orphans.iter().map(|orphan| orphan.left).collect::<Vec<_>>(), [Duration::ZERO]);
}
