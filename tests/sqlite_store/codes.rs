//! The codes of a pending call: in the file only while it is pending (S18).

use std::sync::Arc;

use phonegate::backend::CallRef;
use phonegate::store::{AttemptChange, RecordedChange};
use phonegate_approval::policy::Method;

use super::*;
use crate::support::approval::{attempts, verified};

fn placed(n: u128, codes: &str) -> RecordedChange {
    let attempts = Some(Arc::new(phonegate_approval::attempts::StoredAttempts::from_text(codes.to_owned())));
    let change = AttemptChange::Placed { backend: "cloud".into(), reference: CallRef::new("FN1"), attempts };
    RecordedChange { attempt: new(n).attempt, at: SystemTime::now(), change }
}

#[test]
fn codes_leave_the_file_with_the_end_of_their_call() {
    let (_folder, file) = file();
    let codes = attempts(Method::Code).to_stored().as_text().to_owned();
    let holds = || {
        let bytes = std::fs::read(&file).unwrap();
        bytes.windows(codes.len()).any(|window| window == codes.as_bytes())
    };
    for (n, outcome) in [(1, verified()), (2, Outcome::Failed(Failure::new(FailureReason::WrongKey, "Another.")))] {
        let store = SqliteStore::open(&file).unwrap();
        assert_eq!(wait(store.begin(&new(n), &FEW)).unwrap(), Begun::New);
        wait(store.record(&[placed(n, &codes)])).unwrap();
        // The last process to close the file writes the log back into it.
        drop(store);
        assert!(holds(), "a pending call has its codes");
        let store = SqliteStore::open(&file).unwrap();
        assert!(wait(store.end(&end(new(n).attempt, SystemTime::now(), outcome))).unwrap().is_done());
        drop(store);
        assert!(!holds(), "an ended call has none");
        // The placing may be recorded later than the end.
        let store = SqliteStore::open(&file).unwrap();
        wait(store.record(&[placed(n, &codes)])).unwrap();
        drop(store);
        assert!(!holds(), "an ended call gets none");
    }
}

#[test]
fn codes_leave_the_log_while_the_store_is_open_and_is_read() {
    let (folder, file) = file();
    let codes = attempts(Method::Code).to_stored().as_text().to_owned();
    let holds = || {
        let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|file| file.is_file()).any(|file| {
            let bytes = std::fs::read(file).unwrap();
            bytes.windows(codes.len()).any(|window| window == codes.as_bytes())
        })
    };
    let store = SqliteStore::open(&file).unwrap();
    assert_eq!(wait(store.begin(&new(1), &FEW)).unwrap(), Begun::New);
    wait(store.record(&[placed(1, &codes)])).unwrap();
    assert!(holds(), "a pending call has its codes");
    // As long as this transaction lasts, the log cannot be reset.
    let reader = rusqlite::Connection::open(&file).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM attempts;").unwrap();
    assert!(wait(store.end(&end(new(1).attempt, SystemTime::now(), verified()))).unwrap().is_done());
    assert!(holds());
    reader.execute_batch("COMMIT").unwrap();
    support::wait_until("an ended call has no codes in any file", || !holds());
    assert_eq!(wait(store.begin(&new(2), &FEW)).unwrap(), Begun::New);
}
