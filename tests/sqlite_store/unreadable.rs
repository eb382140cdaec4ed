//! Rows that cannot be read: damaged, or of another version. They stop nothing but what depends on them.

use phonegate::call::{CallEvent, NumberHash};
use phonegate::store::{
    AlertAdded, AlertStore, AttemptChange, DenialLimits, Ended, LimitStore, NewPin, PepperFingerprint, PinLimits,
    PinStore, QueuedAlert, RecordKind, RecordedChange,
};

use super::*;

const AT_ONCE: DenialLimits =
    DenialLimits { count: 1, window: Duration::from_secs(3600), lock: Duration::from_secs(3600) };

/// Text that is not UTF-8.
const NO_TEXT: &str = "CAST(x'fffe' AS TEXT)";

fn sql(file: &Path, statement: &str) {
    assert!(Connection::open(file).unwrap().execute(statement, []).unwrap() > 0, "{statement}");
}

fn refused<T: std::fmt::Debug>(answer: Result<T, phonegate::store::StoreError>) -> String {
    match answer {
        Err(error) if error.kind() == StoreErrorKind::Refused => error.detail().to_owned(),
        other => panic!("{other:?}"),
    }
}

/// A call to a number of its own.
fn call(n: u128) -> NewAttempt {
    let hash = NumberHash::parse(&format!("{n:032x}")).unwrap();
    let number = StoredNumber { hash, line_hash: hash, ..new(n).number };
    NewAttempt { number, ..new(n) }
}

fn begin(store: &SqliteStore, n: u128) -> Result<Begun, phonegate::store::StoreError> {
    wait(store.begin(&call(n), &NO_LIMITS))
}

fn denied(n: u128) -> EndRequest {
    EndRequest {
        attempt: call(n).attempt,
        owner: OWNER,
        at: SystemTime::now(),
        outcome: Outcome::Failed(Failure::new(FailureReason::WrongKey, "It was wrong.")),
        release: true,
        denials: AT_ONCE,
    }
}

#[test]
fn unreadable_calls_stop_no_claim_and_no_list() {
    let (_folder, file) = file();
    let store = SqliteStore::open(&file).unwrap();
    for n in 1..=4 {
        assert_eq!(begin(&store, n), Ok(Begun::New));
    }
    sql(&file, "UPDATE attempts SET id = 'no id' WHERE sequence = 1");
    sql(&file, "UPDATE attempts SET number_hash = x'00' WHERE sequence = 2");
    sql(&file, &format!("UPDATE attempts SET number = {NO_TEXT} WHERE sequence = 3"));
    for newest_first in [false, true] {
        let rows = wait(store.rows(&Query { limit: 1, newest_first, ..Query::default() })).unwrap();
        assert_eq!(rows.iter().map(|row| row.attempt).collect::<Vec<_>>(), [call(4).attempt]);
    }
    assert_eq!(wait(store.rows(&Query { limit: 9, ..Query::default() })).unwrap().len(), 1);
    assert!(refused(wait(store.find(id(2)))).contains("a call cannot be read"));
    sql(&file, "UPDATE owners SET lease = 0");
    let another = Owner(uuid::Uuid::from_u128(2));
    let orphans = wait(store.claim_orphans(another, 1)).unwrap();
    assert_eq!(orphans.iter().map(|orphan| orphan.attempt).collect::<Vec<_>>(), [call(4).attempt]);
    assert_eq!(store.unreadable().of(RecordKind::Attempt), 3, "each is counted once");
    let count = |state: &str| {
        let query = format!("SELECT count(*) FROM attempts WHERE {state}");
        Connection::open(&file).unwrap().query_row(&query, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(count("ended IS NULL"), 4, "they may be ringing");
    sql(&file, "UPDATE attempts SET deadline = 0, codes = 'secret' WHERE sequence < 4");
    assert_eq!(wait(store.claim_orphans(another, 9)), Ok(vec![]));
    assert_eq!((count("ended IS NULL"), count("codes IS NOT NULL"), count("holds_number = 1")), (1, 0, 1));
    wait(store.sweep(DAY)).unwrap();
}

#[test]
fn an_unreadable_block_refuses_its_number_alone() {
    let (_folder, file) = file();
    let store = SqliteStore::open(&file).unwrap();
    for n in [1, 2] {
        let (number, scope, masked, reason) = (call(n).number.hash, BlockScope::Number, "+1…", "stolen");
        let block = Block {
            number,
            scope,
            masked: masked.into(),
            reason: reason.into(),
            since: SystemTime::now(),
            until: None,
        };
        wait(store.block(&block)).unwrap();
    }
    sql(&file, &format!("UPDATE blocks SET reason = {NO_TEXT} WHERE number_hash = x'{}'", call(1).number.hash));
    let blocks = wait(store.blocks()).unwrap();
    assert_eq!(blocks.iter().map(|block| block.number).collect::<Vec<_>>(), [call(2).number.hash]);
    assert_eq!(store.unreadable().of(RecordKind::Block), 1);
    assert!(refused(begin(&store, 1)).contains("a block of the number cannot be read"));
    assert_eq!(begin(&store, 3), Ok(Begun::New));
    assert_eq!(wait(store.unblock(call(1).number.hash)), Ok(true));
    assert_eq!(begin(&store, 1), Ok(Begun::New));
}

#[test]
fn unreadable_denials_refuse_their_number_alone() {
    let (_folder, file) = file();
    let store = SqliteStore::open(&file).unwrap();
    for n in [1, 2] {
        assert_eq!(begin(&store, n), Ok(Begun::New));
        assert!(wait(store.end(&denied(n))).unwrap().is_done());
    }
    let number = call(1).number.hash;
    let damage = format!("UPDATE denials SET recent = 'strange' WHERE number_hash = x'{number}'");
    let again = |n| NewAttempt { attempt: call(n).attempt, ..call(1) };
    sql(&file, &damage);
    assert!(refused(wait(store.begin(&again(9), &NO_LIMITS))).contains("denials of the number"));
    assert_eq!(begin(&store, 3), Ok(Begun::New));
    sql(&file, &format!("UPDATE denials SET number = {NO_TEXT} WHERE number_hash = x'{number}'"));
    let locks = wait(store.locks()).unwrap();
    assert_eq!(locks.iter().map(|lock| lock.number).collect::<Vec<_>>(), [call(2).number.hash]);
    assert_eq!(store.unreadable().of(RecordKind::Denials), 1);
    assert_eq!(wait(store.unlock(&[number])), Ok(true));
    assert_eq!(wait(store.begin(&again(9), &NO_LIMITS)), Ok(Begun::New));
    // A denial ends its call, and the number stays refused.
    let there = format!("INSERT INTO denials VALUES (x'{number}', '', 'strange', 0, NULL, NULL, 0, 0)");
    sql(&file, &there);
    assert_eq!(wait(store.end(&denied(9))), Ok(Ended::UNLOCKED));
    assert!(refused(wait(store.begin(&again(10), &NO_LIMITS))).contains("denials of the number"));
}

#[test]
fn an_unreadable_pin_approves_nothing() {
    const LIMITS: PinLimits = PinLimits { max_failures: 5, lock: Duration::from_secs(60) };
    let (_folder, file) = file();
    let store = SqliteStore::open(&file).unwrap();
    let pepper = PepperFingerprint::of_hash(&[1; 8]);
    for n in [1, 2] {
        let pin = NewPin { number: call(n).number, hash: "hash".into(), pepper, set_at: SystemTime::now() };
        wait(store.set_pin(&pin)).unwrap();
    }
    let number = call(1).number.hash;
    sql(&file, &format!("UPDATE pins SET hash = {NO_TEXT}, number = {NO_TEXT} WHERE number_hash = x'{number}'"));
    let pins = wait(store.pins()).unwrap();
    assert_eq!(pins.iter().map(|pin| pin.number).collect::<Vec<_>>(), [call(2).number.hash]);
    assert_eq!(store.unreadable().of(RecordKind::Pin), 1);
    assert!(refused(wait(store.pin_state(&[number]))).contains("a PIN of the number"));
    assert!(refused(wait(store.begin_pin_guess(&[number], pepper, &LIMITS))).contains("a PIN of the number"));
    assert_eq!(wait(store.remove_pin(&[number])), Ok(true));
}

#[test]
fn unreadable_alerts_and_steps_stop_no_others() {
    let (_folder, file) = file();
    let store = SqliteStore::open(&file).unwrap();
    for n in [1, 2] {
        let alert = QueuedAlert {
            id: uuid::Uuid::from_u128(n),
            destination: "mail".into(),
            about: format!("fraud:{n}").into(),
            raised_at: SystemTime::UNIX_EPOCH,
            content: "{}".into(),
            is_urgent: n == 1,
        };
        assert_eq!(wait(store.add_alert(&alert)), Ok(AlertAdded::New));
    }
    sql(&file, "UPDATE alerts SET id = x'00' WHERE sequence = 1");
    let claimed = wait(store.claim_alerts(OWNER, &["mail".into()], 1)).unwrap();
    assert_eq!(claimed.iter().map(|alert| alert.id.as_u128()).collect::<Vec<_>>(), [2]);
    assert_eq!(wait(store.alerts()).unwrap().iter().map(|alert| alert.id.as_u128()).collect::<Vec<_>>(), [2]);
    assert_eq!(store.unreadable().of(RecordKind::Alert), 1);

    assert_eq!(begin(&store, 1), Ok(Begun::New));
    for (at, event) in [(1, CallEvent::Dialling), (2, CallEvent::Ringing)] {
        let change = AttemptChange::Step { event, backend: None, text: None };
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
        wait(store.record(&[RecordedChange { attempt: call(1).attempt, at, change }])).unwrap();
    }
    sql(&file, &format!("UPDATE steps SET name = {NO_TEXT} WHERE name = 'dialling'"));
    let steps = wait(store.steps(call(1).attempt)).unwrap();
    assert_eq!(steps.iter().map(|step| &*step.name).collect::<Vec<_>>(), ["ringing"]);
    assert_eq!(store.unreadable().of(RecordKind::Step), 1);
    let country =
        "INSERT INTO counters SELECT 7, CAST('Atlantis' AS BLOB), bucket, 1, latest FROM counters WHERE scope = 6";
    sql(&file, country);
    let countries = wait(store.usage()).unwrap().by_country;
    assert_eq!(countries.iter().map(|(country, _)| country.as_str()).collect::<Vec<_>>(), ["US"]);
    assert_eq!(store.unreadable().of(RecordKind::Counter), 1);
}
