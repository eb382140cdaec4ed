//! The counters of calls are recounted when a process begins its first call, and stay right when it is killed (S12).

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use phonegate::call::CallLimit;
use phonegate::store::LimitStore;

use super::counters::{assert_counted, number, withdraw};
use super::denials::assert_denials_counted;
use super::*;
use crate::support::approval::verified;

#[test]
fn calls_of_a_file_that_has_no_counters_yet_are_counted() {
    let (_folder, file) = file();
    let store = SqliteStore::open(&file).unwrap();
    let limits = Limits { calls_per_number: 2, calls_per_minute: 100, ..FEW };
    for n in 1..=2 {
        let new = new(n);
        assert_eq!(wait(store.begin(&new, &limits)).unwrap(), Begun::New);
        assert!(wait(store.end(&end(new.attempt, SystemTime::now(), verified()))).unwrap().is_done());
    }
    drop(store);
    let database = Connection::open(&file).unwrap();
    // The file as version 1 has it, and files whose counters were changed.
    let to_1 = format!("{UNDO_5} {UNDO_4} DROP TABLE counters; DROP TABLE number_keys; PRAGMA user_version = 1;");
    for damage in [&*to_1, "UPDATE counters SET count = 0", "DELETE FROM counters"] {
        database.execute_batch(damage).unwrap();
        let store = SqliteStore::open(&file).unwrap();
        if damage == to_1 {
            let usage = wait(store.usage()).unwrap();
            assert_eq!(usage.day, 2, "a migration counts the calls of the day, for a command that only lists them");
        }
        let refused = wait(store.begin(&new(3), &limits)).unwrap();
        assert!(
            matches!(refused, Begun::Refused(Refusal::Limit { limit: CallLimit::CallsPerNumber, .. })),
            "{damage}: {refused:?}"
        );
        assert_counted(&database);
    }
}

#[test]
fn a_process_that_only_reads_recounts_nothing() {
    let (_folder, file) = file();
    drop(SqliteStore::open(&file).unwrap());
    let database = Connection::open(&file).unwrap();
    database.execute_batch("INSERT INTO counters VALUES (2, x'', 1, 1, 1000); BEGIN IMMEDIATE").unwrap();
    let store = SqliteStore::open(&file).unwrap();
    assert_eq!(rows(&store).len(), 0, "it does not wait for a writer");
    database.execute_batch("ROLLBACK").unwrap();
    let left = || database.query_row("SELECT count(*) FROM counters", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(left(), 1);
    wait(store.claim_orphans(OWNER, 10)).unwrap();
    assert_eq!(left(), 0);
}

/// The variable that names the file in which a child process of the test begins and ends calls.
const CHILD: &str = "PHONEGATE_TEST_COUNTERS";

#[test]
fn a_killed_process_leaves_counters_that_equal_a_recount() {
    if let Some(file) = std::env::var_os(CHILD) {
        return begin_and_end_for_ever(Path::new(&file));
    }
    let (_folder, file) = file();
    drop(SqliteStore::open(&file).unwrap());
    let database = Connection::open(&file).unwrap();
    let begun = || database.query_row("SELECT count(*) FROM attempts", [], |row| row.get::<_, i64>(0)).unwrap();
    for round in 1..=10 {
        let before = begun();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "recounts::a_killed_process_leaves_counters_that_equal_a_recount", "--nocapture"])
            .env(CHILD, &file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("begun")), "round {round}: it has begun no call");
        // The process is killed at any moment.
        std::thread::sleep(Duration::from_micros(u64::from(uuid::Uuid::new_v4().as_bytes()[0]) * 400));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(begun() > before, "round {round}");
        assert_counted(&database);
        assert_denials_counted(&database);
        let store = SqliteStore::open(&file).unwrap();
        wait(store.claim_orphans(OWNER, 0)).unwrap();
        assert_counted(&database);
    }
    let denials = || database.query_row("SELECT count(*) FROM denials", [], |row| row.get::<_, i64>(0)).unwrap();
    assert!(denials() > 0, "no call was denied");
    let check = database.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(check, "ok");
}

/// Begins, ends and gives up calls, many at the same time.
fn begin_and_end_for_ever(file: &Path) {
    let store = Arc::new(SqliteStore::open(file).unwrap());
    let limits = NO_LIMITS;
    let one = async |task: u128| {
        for n in 0_u128.. {
            let attempt = Attempt { id: phonegate::call::CallId::new(uuid::Uuid::new_v4()).unwrap(), generation: 1 };
            let new = NewAttempt { attempt, number: number(task), ..new(1) };
            match store.begin(&new, &limits).await.unwrap() {
                Begun::New => println!("begun"),
                // The number is that of a killed process's call.
                Begun::Refused(Refusal::InProgress) => {
                    let new = NewAttempt { number: number(uuid::Uuid::new_v4().as_u128()), ..new };
                    assert_eq!(store.begin(&new, &limits).await, Ok(Begun::New));
                    println!("begun");
                }
                other => panic!("{other:?}"),
            }
            match n % 3 {
                2 => drop(store.record(&[withdraw(attempt, number(task))]).await),
                _ => {
                    let denied = Outcome::Failed(Failure::new(FailureReason::WrongKey, "Another."));
                    drop(store.end(&end(attempt, SystemTime::now(), denied)).await);
                }
            }
        }
    };
    wait(futures_util::future::join_all((1..=20).map(one)));
}
