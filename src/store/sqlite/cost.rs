//! What it costs to begin a call, counted in instructions of SQLite's virtual machine: the same however many calls there
//! are.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::{Connection, StatementStatus};
use uuid::Uuid;

use super::writer::Desk;
use super::{calls, schema};
use crate::approval::tests::verified;
use crate::call::{Attempt, CallId, Failure, FailureReason, KeyFingerprint, NumberKey};
use crate::store::{Begun, Change, End, Limits, NewAttempt, Owner, Refusal, StoredNumber, Update};

const OWNER: Owner = Owner(Uuid::from_u128(1));

const START: i64 = 1_800_000_000_000;

const MINUTE: i64 = 60_000;

const ROOMY: Limits = Limits {
    calls_per_number: 1_000_000,
    per_number_window: Duration::from_secs(86_400),
    concurrent_calls: 1_000_000,
    calls_per_minute: 1_000_000,
};

/// By statement: how many instructions it took.
type Costs = BTreeMap<String, i32>;

fn desk(database: &Connection, now: i64) -> Desk<'_> {
    Desk { database, now, wall: now, has_codes: Default::default() }
}

fn number(n: u128) -> StoredNumber {
    let key = NumberKey::parse(&format!("{n:032x}")).unwrap();
    StoredNumber {
        key,
        line: key,
        fingerprint: KeyFingerprint::UNKEYED,
        otherwise: Box::default(),
        masked: "+1******1212".into(),
        full: None,
    }
}

fn new(id: u128, number: StoredNumber) -> NewAttempt {
    NewAttempt {
        attempt: Attempt { id: CallId::parse(&Uuid::from_u128(id).to_string()).unwrap(), generation: 1 },
        started: SystemTime::UNIX_EPOCH,
        deadline: Duration::from_secs(60),
        number,
        owner: OWNER,
        node: "here".into(),
    }
}

fn end(attempt: Attempt) -> End {
    End { attempt, owner: OWNER, at: SystemTime::UNIX_EPOCH, outcome: verified(), release: true }
}

/// A database in which so many calls began within a minute and are pending, and as many, which have ended, went to number 1.
fn filled(calls: i64) -> Connection {
    let mut database = Connection::open_in_memory().unwrap();
    database.set_prepared_statement_cache_capacity(64);
    schema::bring_up_to_date(&mut database, Path::new("")).unwrap();
    for n in 0..calls {
        let desk = desk(&database, START + n * MINUTE / calls);
        let n = u128::try_from(n).unwrap();
        let pending = new(10_000_000 + n, number(1000 + n));
        assert_eq!(calls::begin(&desk, &pending, &ROOMY).unwrap(), Begun::New);
        let ended = new(20_000_000 + n, number(1));
        assert_eq!(calls::begin(&desk, &ended, &ROOMY).unwrap(), Begun::New);
        assert!(calls::end(&desk, &end(ended.attempt)).unwrap());
    }
    database
}

/// What something costs that is done at the end of that minute.
fn cost(database: &mut Connection, work: impl Fn(&Desk<'_>)) -> Costs {
    let costs = Arc::<Mutex<Costs>>::default();
    let traced = Arc::clone(&costs);
    // A statement's counters start when it is prepared, and go on with each run.
    database.flush_prepared_statement_cache();
    let trace = move |event: TraceEvent<'_>| {
        if let TraceEvent::Profile(statement, _) = event {
            let steps = statement.get_status(StatementStatus::VmStep);
            traced.lock().insert(statement.sql().into_owned(), steps);
        }
    };
    database.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(trace)).unwrap();
    work(&desk(database, START + MINUTE - 1));
    database.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, None::<fn(TraceEvent<'_>)>).unwrap();
    let costs = std::mem::take(&mut *costs.lock());
    assert!(!costs.is_empty(), "nothing was measured");
    costs
}

/// The steps of a statement's plan that read a whole table or index.
fn scans(database: &Connection, statement: &str) -> Vec<String> {
    let mut plan = database.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
    let parameters = vec![None::<i64>; plan.parameter_count()];
    let steps = plan.query_map(rusqlite::params_from_iter(parameters), |row| row.get::<_, String>("detail")).unwrap();
    steps.map(Result::unwrap).filter(|step| step.starts_with("SCAN") && step != "SCAN CONSTANT ROW").collect()
}

/// Something that is done with a filled database.
type Work = fn(&Desk<'_>);

const WORKS: [(&str, Work); 6] = [
    ("begin", |desk| assert_eq!(calls::begin(desk, &new(1, number(2)), &ROOMY).unwrap(), Begun::New)),
    ("begin to the number that was called often", |desk| {
        assert_eq!(calls::begin(desk, &new(1, number(1)), &ROOMY).unwrap(), Begun::New);
    }),
    ("refuse for the minute", |desk| {
        let limits = Limits { calls_per_minute: 3, ..ROOMY };
        let begun = calls::begin(desk, &new(1, number(2)), &limits).unwrap();
        assert!(matches!(begun, Begun::Refused(Refusal::MinuteLimit { .. })), "{begun:?}");
    }),
    ("refuse for what is pending", |desk| {
        let limits = Limits { concurrent_calls: 3, ..ROOMY };
        let begun = calls::begin(desk, &new(1, number(2)), &limits).unwrap();
        assert!(matches!(begun, Begun::Refused(Refusal::ConcurrentLimit { .. })), "{begun:?}");
    }),
    ("end", |desk| assert!(calls::end(desk, &end(new(10_000_000, number(1000)).attempt)).unwrap())),
    ("give up", |desk| {
        let NewAttempt { attempt, number, .. } = new(10_000_001, number(1001));
        let failure = Failure::new(FailureReason::CannotPlace, "Nobody was called.");
        let change = Change::Refused { number: Some(number), node: "here".into(), failure };
        calls::record(desk, &Update { attempt, at: SystemTime::UNIX_EPOCH, change }).unwrap();
    }),
];

#[test]
fn a_call_costs_the_same_among_few_and_many_calls() {
    // Enough that each second of the minute has calls.
    let (mut few, mut many) = (filled(180), filled(6_000));
    for (name, work) in WORKS {
        for database in [&few, &many] {
            database.execute_batch("SAVEPOINT before").unwrap();
        }
        assert_eq!(cost(&mut few, work), cost(&mut many, work), "{name}");
        for database in [&few, &many] {
            database.execute_batch("ROLLBACK TO before; RELEASE before").unwrap();
        }
    }
}

#[test]
fn no_statement_of_a_call_reads_a_whole_table() {
    let mut database = filled(180);
    for (name, work) in WORKS {
        database.execute_batch("SAVEPOINT before").unwrap();
        for statement in cost(&mut database, work).into_keys() {
            assert_eq!(scans(&database, &statement), [""; 0], "{name}: {statement}");
        }
        database.execute_batch("ROLLBACK TO before; RELEASE before").unwrap();
    }
    // So that a scan would be seen.
    assert_ne!(scans(&database, "SELECT count(*) FROM attempts WHERE node = ?1"), [""; 0]);
}
