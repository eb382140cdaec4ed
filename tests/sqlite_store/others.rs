//! Other programs that use the file at the same time, and calls that wait (S20).

use futures_util::FutureExt;

use super::*;

#[test]
fn a_process_that_locks_the_file_blocks_no_call() {
    let (_folder, file) = file();
    let gate = gate(&file, no_limits(), json!({}));
    let other = Connection::open(&file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // A host that waited for the store here would get an error.
    assert_eq!(gate.initiate(id(1), NUMBER), CallStatus::Pending);
    assert_eq!(gate.snapshot(id(1)).status, CallStatus::Pending);
    let (status, text) = gate.ends(id(1));
    assert_eq!(status, CallStatus::Failed);
    assert!(text.starts_with("No call was placed: the store cannot be reached: "), "{text}");
    assert!(text.ends_with("(CannotPlace, code 117)"), "{text}");
    other.execute_batch("ROLLBACK").unwrap();
    let mut n = 1;
    support::wait_until("a call is verified", || {
        n += 1;
        gate.initiate(id(n), NUMBER);
        gate.ends(id(n)).0 == CallStatus::Success
    });
    let log = gate.end();
    // Whether it was reported as down depends on how often it was used meanwhile.
    let count = |event: &str| log.iter().filter(|line| line["event"] == event).count();
    assert_eq!(count("backend_down"), count("backend_up"), "{log:?}");
    // The refused one is in the audit, too.
    let rows = rows(&SqliteStore::open(&file).unwrap());
    let first = rows.iter().find(|row| row.attempt.id == id(1)).unwrap();
    assert!(matches!(&first.outcome, RowOutcome::Failed(failure) if failure.reason() == FailureReason::CannotPlace));
}

#[test]
fn a_reader_never_waits_and_a_backup_is_complete() {
    let (folder, file) = file();
    let gate = gate(&file, no_limits(), json!({}));
    let backup = folder.path().join("backup.db");
    let reader = SqliteStore::open(&file).unwrap();
    for n in 1..=50 {
        gate.initiate(id(n), &format!("+1 425555{:04}", 1000 + n));
        rows(&reader);
    }
    let copied =
        support::tool("sqlite3", "sqlite3").arg(&file).arg(format!("VACUUM INTO '{}'", backup.display())).status();
    assert!(copied.unwrap().success());
    for n in 1..=50 {
        assert_eq!(gate.ends(id(n)).0, CallStatus::Success);
    }
    gate.end();
    assert_eq!(rows(&reader).len(), 50);
    let copy = Connection::open(&backup).unwrap();
    let check = copy.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(check, "ok");
    assert!(SqliteStore::open(&backup).is_ok());
}

#[test]
fn another_process_that_reads_holds_up_no_call() {
    let (_folder, file) = file();
    let gate = gate(&file, no_limits(), json!({}));
    let reader = Connection::open(&file).unwrap();
    let seen = || reader.query_row("SELECT count(*) FROM attempts", [], |row| row.get::<_, i64>(0)).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    assert_eq!(seen(), 0);
    gate.initiate(id(1), NUMBER);
    assert_eq!(gate.ends(id(1)).0, CallStatus::Success);
    assert_eq!(seen(), 0, "what it reads stays as it was");
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(seen(), 1);
}

#[test]
fn another_process_that_writes_holds_up_no_reader() {
    let (_folder, file) = file();
    let store = SqliteStore::open(&file).unwrap();
    let other = Connection::open(&file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(wait(store.blocks()).unwrap(), []);
    let error = wait(store.unblock(phonegate::call::NumberHash::parse(&"0".repeat(32)).unwrap())).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    other.execute_batch("ROLLBACK").unwrap();
}

#[test]
fn claims_that_were_answered_too_late_are_returned_again() {
    let (_folder, file) = file();
    let killed = SqliteStore::open_with_clock(&file, || SystemTime::now() - 2 * LEASE).unwrap();
    let new = new(1);
    assert_eq!(wait(killed.begin(&new, &FEW)).unwrap(), Begun::New);
    drop(killed);

    let store = SqliteStore::open(&file).unwrap();
    let owner = Owner(uuid::Uuid::from_u128(2));
    let taken = |store: &SqliteStore| {
        let orphans = wait(store.claim_orphans(owner, 10)).unwrap();
        orphans.into_iter().map(|orphan| orphan.attempt).collect::<Vec<_>>()
    };
    let other = Connection::open(&file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let hurried =
        wait(async { tokio::time::timeout(Duration::from_millis(100), store.claim_orphans(owner, 10)).await });
    assert!(hurried.is_err(), "the caller has timed out");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(taken(&store), [new.attempt], "again, because no process received them");
    assert_eq!(taken(&store), []);
}

#[test]
fn processes_that_open_a_new_file_at_once_all_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let begin = std::sync::Barrier::new(4);
    for round in 0..50 {
        let file = folder.path().join(format!("{round}.db"));
        std::thread::scope(|scope| {
            let open = || {
                begin.wait();
                SqliteStore::open(&file).map(drop)
            };
            let opening: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
            opening.into_iter().for_each(|opened| assert_eq!(opened.join().unwrap(), Ok(()), "round {round}"));
        });
    }
}

/// How many commits are in the write-ahead log (<https://www.sqlite.org/fileformat2.html#the_write_ahead_log>).
fn commits(file: &Path) -> usize {
    let log = std::fs::read(file.with_extension("db-wal")).unwrap();
    let number = |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let frames = log[32..].chunks_exact(24 + number(&log, 8) as usize);
    // Frames with another salt are left from before the last checkpoint. The last frame of a commit has a size.
    frames.filter(|frame| frame[8..16] == log[16..24] && number(frame, 4) != 0).count()
}

#[test]
fn what_waits_for_the_disk_shares_one_commit() {
    let (_folder, file) = file();
    let store = SqliteStore::open(&file).unwrap();
    // The log is reset once when the store is opened, and again only after codes were written.
    let is_reset = || std::fs::metadata(file.with_extension("db-wal")).unwrap().len() == 0;
    support::wait_until("the log was reset", is_reset);
    let other = Connection::open(&file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    wait(async {
        let owners = (1..=100).map(|n| store.renew(Owner(uuid::Uuid::from_u128(n))));
        let mut renewing = std::pin::pin!(futures_util::future::join_all(owners));
        let all_have_asked = tokio::time::timeout(Duration::from_millis(100), &mut renewing).await;
        assert!(all_have_asked.is_err(), "no process has the file");
        other.execute_batch("ROLLBACK").unwrap();
        renewing.await.into_iter().for_each(|renewed| renewed.unwrap());
    });
    // The thread may have been waiting with the first ones already.
    let shared = commits(&file);
    assert!((1..=2).contains(&shared), "{shared} commits");
}

#[test]
fn a_call_behind_too_many_others_is_refused_at_once() {
    let (_folder, file) = file();
    let store = SqliteStore::open(&file).unwrap();
    let hash = |n: u128| phonegate::call::NumberHash::parse(&format!("{n:032x}")).unwrap();
    let number = |n| StoredNumber { hash: hash(n), line_hash: hash(n), ..StoredNumber::new(&admitted(NUMBER), false) };
    let call = |n| NewAttempt { number: number(n), ..new(n) };
    let limits = Limits { concurrent_calls: 10_000, calls_per_minute: 10_000, ..FEW };
    let calls: Vec<_> = (1..=4096).map(call).collect();
    let behind = call(5000);
    let other = Connection::open(&file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    wait(async {
        let mut begins =
            std::pin::pin!(futures_util::future::join_all(calls.iter().map(|new| store.begin(new, &limits))));
        assert!(begins.as_mut().now_or_never().is_none(), "no process has the file");
        let refused = store.begin(&behind, &limits).now_or_never();
        let Some(Err(error)) = refused else { panic!("{refused:?}") };
        assert_eq!(error.kind(), StoreErrorKind::Busy);
        assert_eq!(error.detail(), "4096 calls are already waiting to begin");
        // An operation that ends a call waits for its turn.
        let mut renewed = std::pin::pin!(store.renew(OWNER));
        assert_eq!(renewed.as_mut().now_or_never(), None);
        other.execute_batch("ROLLBACK").unwrap();
        assert_eq!(renewed.await, Ok(()));
        assert!(begins.await.into_iter().all(|begun| begun == Ok(Begun::New)));
        assert_eq!(store.find(behind.attempt.id).await, Ok(None));
        assert_eq!(store.begin(&behind, &limits).await, Ok(Begun::New), "there is room again");
    });
}
