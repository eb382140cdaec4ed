//! The cost of beginning a call (S12), in instructions of SQLite's virtual machine: it does not grow with the number of
//! calls.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::{Connection, StatementStatus};
use uuid::Uuid;

use super::worker::Tx;
use super::{attempts, begin, counters, record, schema};
use crate::approval::tests::verified;
use crate::call::{Attempt, CallId, CallLimit, Country, Failure, FailureReason, KeyFingerprint, NumberHash, Outcome};
use crate::store::{
    AttemptChange, Begun, DenialLimits, EndRequest, Limits, NewAttempt, Owner, RecordedChange, Refusal, StoredNumber,
};

const OWNER: Owner = Owner(Uuid::from_u128(1));

const START: i64 = 1_800_000_000_000;

const MINUTE: i64 = 60_000;

const DAY: i64 = 24 * 60 * MINUTE;

/// The line that pending calls share.
const LINE: u128 = 999;

const ROOMY: Limits = Limits {
    calls_per_number: 1_000_000,
    per_number_window: Duration::from_secs(86_400),
    calls_per_number_per_day: 1_000_000,
    line_in_progress: 1_000_000,
    line_per_minute: 1_000_000,
    concurrent_calls: 1_000_000,
    calls_per_minute: 1_000_000,
    calls_per_day: Some(1_000_000),
    country_per_day: Some(1_000_000),
};

const DENIALS: DenialLimits =
    DenialLimits { count: 1_000, window: Duration::from_secs(86_400), lock: Duration::from_secs(3600) };

/// An extension of a line to which there are many pending calls.
fn extension() -> StoredNumber {
    StoredNumber { hash: number(3).hash, ..number(LINE) }
}

/// The number of instructions of each statement.
type Costs = BTreeMap<String, i32>;

fn tx(database: &Connection, now: i64) -> Tx<'_> {
    Tx { database, now, wall: now, has_codes: Default::default(), unreadable: Box::leak(Box::default()) }
}

fn number(n: u128) -> StoredNumber {
    let hash = NumberHash::parse(&format!("{n:032x}")).unwrap();
    StoredNumber {
        hash,
        line_hash: hash,
        fingerprint: KeyFingerprint::UNKEYED,
        otherwise: Box::default(),
        masked: "+1******1212".into(),
        full: None,
        country: Country::parse("LV"),
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

fn end(attempt: Attempt) -> EndRequest {
    EndRequest {
        attempt,
        owner: OWNER,
        at: SystemTime::UNIX_EPOCH,
        outcome: verified(),
        release: true,
        denials: DENIALS,
    }
}

/// Fills a database with `calls` pending calls to extensions of a line, and as many calls to number 1 that have ended.
/// All began within a minute.
fn filled(calls: i64) -> Connection {
    let mut database = Connection::open_in_memory().unwrap();
    database.set_prepared_statement_cache_capacity(64);
    schema::migrate_to_newest(&mut database, Path::new("")).unwrap();
    for n in 0..calls {
        let tx = tx(&database, START + n * MINUTE / calls);
        let n = u128::try_from(n).unwrap();
        let pending = new(10_000_000 + n, StoredNumber { line_hash: number(LINE).line_hash, ..number(1000 + n) });
        assert_eq!(begin::begin(&tx, &pending, &ROOMY).unwrap(), Begun::New);
        let ended = new(20_000_000 + n, number(1));
        assert_eq!(begin::begin(&tx, &ended, &ROOMY).unwrap(), Begun::New);
        assert!(attempts::end(&tx, &end(ended.attempt)).unwrap().is_done());
    }
    database
}

/// Fills a database with `calls` calls that have ended, each to another number. They began within a day, before its
/// last minutes.
fn filled_for_a_day(calls: i64) -> Connection {
    let mut database = Connection::open_in_memory().unwrap();
    database.set_prepared_statement_cache_capacity(64);
    schema::migrate_to_newest(&mut database, Path::new("")).unwrap();
    let times = (0..calls).map(|n| START + MINUTE - DAY + n * (DAY - 3 * MINUTE) / calls);
    // The last one removes the buckets of those before it that are old.
    for (n, now) in (30_000_000..).zip(times.chain([START + MINUTE - 1])) {
        let tx = tx(&database, now);
        let new = new(n, number(n));
        assert_eq!(begin::begin(&tx, &new, &ROOMY).unwrap(), Begun::New);
        assert!(attempts::end(&tx, &end(new.attempt)).unwrap().is_done());
    }
    database
}

/// Returns the cost of an operation at the end of that minute.
fn cost(database: &mut Connection, work: impl Fn(&Tx<'_>)) -> Costs {
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
    work(&tx(database, START + MINUTE - 1));
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

/// An operation to measure on a filled database.
type Work = fn(&Tx<'_>);

const WORKS: [(&str, Work); 11] = [
    ("begin", |tx| assert_eq!(begin::begin(tx, &new(1, number(2)), &ROOMY).unwrap(), Begun::New)),
    ("begin to the number that was called often", |tx| {
        assert_eq!(begin::begin(tx, &new(1, number(1)), &ROOMY).unwrap(), Begun::New);
    }),
    ("refuse for the minute", |tx| {
        let limits = Limits { calls_per_minute: 3, ..ROOMY };
        let begun = begin::begin(tx, &new(1, number(2)), &limits).unwrap();
        assert!(matches!(begun, Begun::Refused(Refusal::Limit { limit: CallLimit::CallsPerMinute, .. })), "{begun:?}");
    }),
    ("refuse for what is pending", |tx| {
        let limits = Limits { concurrent_calls: 3, ..ROOMY };
        let begun = begin::begin(tx, &new(1, number(2)), &limits).unwrap();
        assert!(matches!(begun, Begun::Refused(Refusal::Limit { limit: CallLimit::ConcurrentCalls, .. })), "{begun:?}");
    }),
    ("end", |tx| assert!(attempts::end(tx, &end(new(10_000_000, number(1000)).attempt)).unwrap().is_done())),
    ("refuse for the line", |tx| {
        let limits = Limits { line_in_progress: 3, ..ROOMY };
        let begun = begin::begin(tx, &new(1, extension()), &limits).unwrap();
        assert!(matches!(begun, Begun::Refused(Refusal::Limit { limit: CallLimit::CallsPerLine, .. })), "{begun:?}");
    }),
    ("refuse for the day", |tx| {
        let limits = Limits { calls_per_day: Some(3), ..ROOMY };
        let begun = begin::begin(tx, &new(1, number(2)), &limits).unwrap();
        assert!(matches!(begun, Begun::Refused(Refusal::Limit { limit: CallLimit::CallsPerDay, .. })), "{begun:?}");
    }),
    ("deny", |tx| {
        let failure = Failure::new(FailureReason::WrongKey, "Denied.");
        let denied = EndRequest { outcome: Outcome::Failed(failure), ..end(new(10_000_000, number(1000)).attempt) };
        assert!(attempts::end(tx, &denied).unwrap().is_done());
    }),
    ("use an approval", |tx| {
        assert!(attempts::use_approval(tx, new(20_000_000, number(1)).attempt, OWNER).unwrap());
    }),
    ("read what counts for the day", |tx| assert!(counters::usage(tx).unwrap().day > 100)),
    ("give up", |tx| {
        let NewAttempt { attempt, number, .. } = new(10_000_001, number(1001));
        let failure = Failure::new(FailureReason::CannotPlace, "No call was placed.");
        let change = AttemptChange::Refused { number: Some(number), node: "here".into(), failure };
        record::record(tx, &RecordedChange { attempt, at: SystemTime::UNIX_EPOCH, change }).unwrap();
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
fn a_call_costs_the_same_after_few_and_many_calls_of_a_day() {
    // Enough that each bucket of the day has calls.
    let (mut few, mut many) = (filled_for_a_day(1_500), filled_for_a_day(3_000));
    let refused_for = |limits: Limits| {
        move |tx: &Tx<'_>| {
            let begun = begin::begin(tx, &new(1, number(2)), &limits).unwrap();
            assert!(matches!(begun, Begun::Refused(Refusal::Limit { .. })), "{begun:?}");
        }
    };
    let begins = |tx: &Tx<'_>| assert_eq!(begin::begin(tx, &new(1, number(2)), &ROOMY).unwrap(), Begun::New);
    let costs = |database: &mut Connection| {
        let mut costs = Vec::new();
        for limits in [
            Limits { calls_per_day: Some(750), ..ROOMY },
            // Each bucket is read.
            Limits { country_per_day: Some(1_499), ..ROOMY },
        ] {
            costs.push(cost(database, refused_for(limits)));
        }
        costs.push(cost(database, begins));
        costs.push(cost(database, |tx| drop(counters::usage(tx).unwrap())));
        costs
    };
    let (few, many) = (costs(&mut few), costs(&mut many));
    let of = |costs: &Costs| costs.values().sum::<i32>();
    // The fewer calls a bucket has, the more of them are read until there are enough.
    assert!(of(&few[0]) >= of(&many[0]) && of(&few[1]) >= of(&many[1]), "{few:#?} {many:#?}");
    assert_eq!(few[2..], many[2..]);
    // At most 145 buckets for each of two counters, each with a small number of instructions.
    assert!(of(&few[2]) < 10_000, "{:#?}", few[2]);
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
    // The check would find a scan.
    assert_ne!(scans(&database, "SELECT count(*) FROM attempts WHERE node = ?1"), [""; 0]);
}
