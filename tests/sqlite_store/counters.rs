//! The counters of calls (S12): whatever happens, they equal the calls in the file, and no limit is exceeded.

use std::collections::BTreeMap;
use std::path::PathBuf;

use phonegate::call::{CallLimit, Country, KeyFingerprint, NumberHash};
use phonegate::store::{AttemptChange, DenialLimits, Ended, LimitStore, RecordedChange};
use proptest::prelude::*;

use super::denials::Denials;
use super::*;
use crate::support::approval::verified;

const MINUTE: i64 = 60_000;

const DAY_MS: i64 = 24 * 60 * MINUTE;

const TEN_MINUTES: i64 = 10 * MINUTE;

/// By scope, key and bucket: how many calls, and the latest time that was counted.
type Counters = BTreeMap<(i64, Vec<u8>, i64), (i64, i64)>;

/// The expected counters, counted from the calls: number, all, pending, line, pending on the line, day, country.
const RECOUNT: &str = "
    SELECT 1, number_hash, begun / 1000, count(*), max(begun) FROM attempts WHERE begun IS NOT NULL GROUP BY 2, 3
    UNION ALL
    SELECT 2, x'', begun / 1000, count(*), max(begun) FROM attempts WHERE begun IS NOT NULL GROUP BY 3
    UNION ALL
    SELECT 3, x'', deadline / 1000, count(*), max(deadline) FROM attempts WHERE ended IS NULL GROUP BY 3
    UNION ALL
    SELECT 4, line_hash, begun / 1000, count(*), max(begun) FROM attempts WHERE begun IS NOT NULL GROUP BY 2, 3
    UNION ALL
    SELECT 5, line_hash, deadline / 1000, count(*), max(deadline) FROM attempts WHERE ended IS NULL GROUP BY 2, 3
    UNION ALL
    SELECT 6, x'', begun / 600000, count(*), max(begun) FROM attempts WHERE begun IS NOT NULL GROUP BY 3
    UNION ALL
    SELECT 7, CAST(country AS BLOB), begun / 600000, count(*), max(begun) FROM attempts
        WHERE begun IS NOT NULL AND country IS NOT NULL GROUP BY 2, 3";

/// By scope: the window in which a bucket counts, and what a bucket covers.
const SCOPES: [(i64, i64); 7] = [
    (DAY_MS, 1000),
    (MINUTE, 1000),
    (0, 1000),
    (MINUTE, 1000),
    (0, 1000),
    (DAY_MS, TEN_MINUTES),
    (DAY_MS, TEN_MINUTES),
];

fn read(database: &Connection, query: &str) -> Counters {
    let now = now(database);
    let mut statement = database.prepare(query).unwrap();
    let rows = statement
        .query_map([], |row| Ok(((row.get(0)?, row.get(1)?, row.get(2)?), (row.get(3)?, row.get(4)?))))
        .unwrap();
    let is_counted = |(scope, _, bucket): &(i64, Vec<u8>, i64)| {
        let (window, width) = SCOPES[*scope as usize - 1];
        // A sweep may have removed calls of a bucket that is partly older than a day.
        if window == DAY_MS { *bucket * width > now - window } else { *bucket >= (now - window) / width }
    };
    rows.map(Result::unwrap).filter(|(key, _)| is_counted(key)).collect()
}

/// The last recorded time of the store's clock.
fn now(database: &Connection) -> i64 {
    database.query_row("SELECT now FROM clock", [], |row| row.get(0)).unwrap()
}

/// The counters are what a recount gives. The latest time of a bucket may be that of a call that was given up.
pub fn assert_counted(database: &Connection) {
    // Reads both in one transaction, since another process may write between two.
    database.execute_batch("BEGIN").unwrap();
    let (kept, counted) =
        (read(database, "SELECT scope, key, bucket, count, latest FROM counters"), read(database, RECOUNT));
    database.execute_batch("COMMIT").unwrap();
    let counts =
        |counters: &Counters| -> Vec<_> { counters.iter().map(|(key, (count, _))| (key.clone(), *count)).collect() };
    assert_eq!(counts(&kept), counts(&counted), "the counters are not those of a recount");
    for (key, (_, latest)) in &kept {
        assert!(*latest >= counted[key].1 && latest / SCOPES[key.0 as usize - 1].1 == key.2, "{key:?}: {latest}");
    }
}

/// Two numbers share a line. Every third number has no country.
pub fn number(n: u128) -> StoredNumber {
    let hash = |n: u128| NumberHash::parse(&format!("{n:032x}")).unwrap();
    StoredNumber {
        hash: hash(n),
        line_hash: hash((1 << 64) + n / 2),
        fingerprint: KeyFingerprint::UNKEYED,
        otherwise: Box::default(),
        masked: "+1******1212".into(),
        full: None,
        country: ["LV", "US", "-"].get(n as usize % 3).and_then(|code| Country::parse(code)),
    }
}

pub fn failure() -> Failure {
    Failure::new(FailureReason::CannotPlace, "No phone was called.")
}

pub fn withdraw(attempt: Attempt, number: StoredNumber) -> RecordedChange {
    let change = AttemptChange::Refused { number: Some(number), node: "here".into(), failure: failure() };
    RecordedChange { attempt, at: SystemTime::now(), change }
}

#[derive(Debug, Clone, Copy)]
enum How {
    Denied,
    Approved,
    Neither,
}

#[derive(Debug, Clone)]
enum Operation {
    /// Begins a call to one of a few numbers, with a deadline in seconds.
    Begin { number: u128, seconds: u64 },
    /// Ends one of the calls.
    End { call: usize, how: How },
    /// Withdraws one of the calls.
    Withdraw { call: usize },
    /// The wall clock is set by this many milliseconds, or as much time passes.
    Clock { step: i64 },
    /// The process ends without closing its file, and the next one opens it.
    Kill,
    /// Another process opens the same file and claims orphans, so it recounts.
    OtherProcess,
    /// Removes what is older than a day.
    Sweep,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (0..NUMBERS, prop_oneof![Just(1), Just(20), Just(600)])
            .prop_map(|(number, seconds)| Operation::Begin { number, seconds }),
        6 => (any::<usize>(), prop_oneof![4 => Just(How::Denied), 1 => Just(How::Approved), 1 => Just(How::Neither)])
            .prop_map(|(call, how)| Operation::End { call, how }),
        2 => any::<usize>().prop_map(|call| Operation::Withdraw { call }),
        5 => prop_oneof![0..1500_i64, 0..30_000_i64, -7_200_000..0_i64, 0..2 * DAY_MS]
            .prop_map(|step| Operation::Clock { step }),
        1 => Just(Operation::Kill),
        1 => Just(Operation::OtherProcess),
        1 => Just(Operation::Sweep),
    ]
}

/// Milliseconds from the start of a case's wall clock, which only the test moves.
static WALL: AtomicI64 = AtomicI64::new(0);

const START: i64 = 1_800_000_000_000;

fn wall() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(START + WALL.load(Ordering::Relaxed)).unwrap())
}

/// A call as the test knows it, by the store's clock.
struct Known {
    attempt: Attempt,
    number: u128,
    begun: i64,
    deadline: i64,
    is_pending: bool,
    is_withdrawn: bool,
}

const TIGHT: Limits = Limits {
    calls_per_number: 2,
    per_number_window: Duration::from_secs(300),
    calls_per_number_per_day: 4,
    line_in_progress: 2,
    line_per_minute: 3,
    concurrent_calls: 3,
    calls_per_minute: 5,
    calls_per_day: Some(12),
    country_per_day: Some(5),
};

const DENIALS: DenialLimits =
    DenialLimits { count: 2, window: Duration::from_secs(600), lock: Duration::from_secs(20) };

/// Numbers that are called: more than calls at once, since only one call rings a number.
const NUMBERS: u128 = 6;

struct Case {
    file: PathBuf,
    store: SqliteStore,
    reader: Connection,
    calls: Vec<Known>,
    denials: BTreeMap<u128, Denials>,
    asked: u128,
}

impl Case {
    fn new(file: PathBuf) -> Self {
        WALL.store(0, Ordering::Relaxed);
        let store = SqliteStore::open_with_clock(&file, wall).unwrap();
        let reader = Connection::open(&file).unwrap();
        Self { file, store, reader, calls: Vec::new(), denials: BTreeMap::new(), asked: 0 }
    }

    fn run(&mut self, operation: Operation) {
        match operation {
            Operation::Begin { number, seconds } => self.begin(number, Duration::from_secs(seconds)),
            Operation::End { call, how } => self.end(call, how),
            Operation::Withdraw { call } => {
                if let Some(known) = pick(&mut self.calls, call) {
                    let update = withdraw(known.attempt, number(known.number));
                    wait(self.store.record(&[update])).unwrap();
                    known.is_withdrawn |= std::mem::take(&mut known.is_pending);
                }
            }
            Operation::Clock { step } => {
                let to = WALL.load(Ordering::Relaxed).saturating_add(step).max(0);
                WALL.store(to, Ordering::Relaxed);
            }
            Operation::Kill => {
                let next = SqliteStore::open_with_clock(&self.file, wall).unwrap();
                // Its thread still has the file open, as a process does that was not closed.
                std::mem::forget(std::mem::replace(&mut self.store, next));
            }
            Operation::OtherProcess => {
                let other = SqliteStore::open_with_clock(&self.file, wall).unwrap();
                assert_eq!(wait(other.claim_orphans(OWNER, 0)).unwrap(), []);
            }
            Operation::Sweep => wait(self.store.sweep(DAY)).unwrap(),
        }
        assert_counted(&self.reader);
    }

    fn end(&mut self, call: usize, how: How) {
        let Some(known) = pick(&mut self.calls, call) else { return };
        let outcome = match how {
            How::Denied => Outcome::Failed(Failure::new(FailureReason::CallEnded, "Hung up.")),
            How::Approved => verified(),
            How::Neither => Outcome::Failed(failure()),
        };
        let ended =
            wait(self.store.end(&EndRequest { denials: DENIALS, ..end(known.attempt, wall(), outcome) })).unwrap();
        let Ended::Yes { locked_until } = ended else {
            // An operation that changes nothing does not record the clock; this one does.
            wait(self.store.renew(OWNER)).unwrap();
            let is_too_late = matches!(how, How::Approved) && now(&self.reader) >= known.deadline;
            assert!(!known.is_pending || is_too_late, "it was pending: {how:?}");
            return;
        };
        assert!(std::mem::take(&mut known.is_pending), "it had ended");
        let at = "SELECT ended, locked_until_at IS NOT NULL FROM attempts WHERE id = ?1";
        let (at, is_kept): (i64, bool) =
            self.reader.query_row(at, [known.attempt.id.to_string()], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let denials = self.denials.entry(known.number).or_default();
        let expected = match how {
            How::Denied => denials.deny(at),
            How::Approved => {
                *denials = Denials::default();
                None
            }
            How::Neither => None,
        };
        assert_eq!((locked_until.is_some(), is_kept), (expected.is_some(), expected.is_some()));
    }

    /// Asks for a call, and again after the wait that each refusal names, until it begins.
    fn begin(&mut self, number: u128, deadline: Duration) {
        self.asked += 1;
        let new = NewAttempt { number: self::number(number), deadline, ..new(self.asked) };
        let mut waited_for: Vec<CallLimit> = Vec::new();
        loop {
            match wait(self.store.begin(&new, &TIGHT)).unwrap() {
                Begun::New => break,
                // Another call to the number is in progress: its phone may ring.
                Begun::Refused(Refusal::InProgress) => return,
                Begun::Refused(Refusal::Limit { limit, after }) => {
                    let times = waited_for.iter().filter(|waited| **waited == limit).count();
                    // A line has two limits.
                    let most = if limit == CallLimit::CallsPerLine { 2 } else { 1 };
                    assert!(times < most, "{after:?} more, though it was waited for: {limit:?}");
                    waited_for.push(limit);
                    let now = self.advance(after);
                    if limit == CallLimit::Denials {
                        // Some milliseconds passed since the refusal.
                        let until = self.denials.get(&number).map_or(0, |denials| denials.locked_until);
                        assert!((1..=now).contains(&until), "locked until {until}, and not {now}");
                    }
                }
                other => panic!("no id comes twice, and no number is blocked: {other:?}"),
            }
        }
        let times = "SELECT begun, deadline FROM attempts WHERE id = ?1";
        let (begun, deadline) =
            self.reader.query_row(times, [new.attempt.id.to_string()], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let known = Known { attempt: new.attempt, number, begun, deadline, is_pending: true, is_withdrawn: false };
        assert!(self.calls.last().is_none_or(|last| last.begun <= begun), "the store's clock never goes back");
        let locked_until = self.denials.get(&number).map_or(0, |denials| denials.locked_until);
        assert!(locked_until <= begun, "a locked number is not called");
        self.calls.push(known);
        self.assert_limits(begun);
        let old = "SELECT count(*) FROM counters WHERE scope = 2 AND bucket < (?1 - 60000) / 1000
                       OR scope = 3 AND bucket < ?1 / 1000 OR scope = 6 AND bucket < (?1 - 86400000) / 600000";
        let left: i64 = self.reader.query_row(old, [begun], |row| row.get(0)).unwrap();
        assert_eq!(left, 0, "old buckets are removed");
    }

    /// Time passes, counted from when a refusal was there.
    fn advance(&self, after: Duration) -> i64 {
        // An operation that writes also records the clock.
        wait(self.store.renew(OWNER)).unwrap();
        let until = now(&self.reader) + i64::try_from(after.as_millis()).unwrap();
        WALL.store(until - START, Ordering::Relaxed);
        until
    }

    /// No window that ends now has more calls than a limit says.
    fn assert_limits(&self, now: i64) {
        let begun = |window: i64| self.calls.iter().filter(move |call| !call.is_withdrawn && call.begun > now - window);
        let is_pending = |call: &&Known| call.is_pending && call.deadline > now;
        for number in 0..NUMBERS {
            let to_number = |window| begun(window).filter(|call| call.number == number).count();
            assert!(to_number(300_000) <= 2, "{} calls to a number", to_number(300_000));
            assert!(to_number(DAY_MS) <= 4, "{} calls to a number within a day", to_number(DAY_MS));
            let line = |call: &&Known| call.number / 2 == number / 2;
            let count = begun(MINUTE).filter(line).count();
            assert!(count <= 3, "{count} calls to a line within a minute");
            let count = self.calls.iter().filter(is_pending).filter(line).count();
            assert!(count <= 2, "{count} calls to a line at once");
        }
        let count = begun(MINUTE).count();
        assert!(count <= 5, "{count} calls within a minute");
        let count = self.calls.iter().filter(is_pending).count();
        assert!(count <= 3, "{count} calls at once");
        let count = begun(DAY_MS).count();
        assert!(count <= 12, "{count} calls within a day");
        let usage = wait(self.store.usage()).unwrap();
        // The usage is read a bit later: the day of a call that is about to be a day old may have ended meanwhile.
        let begun = |window: i64| begun(window - MINUTE);
        let count = begun(DAY_MS).count();
        // They may count for up to ten minutes longer.
        assert!((count..=12).contains(&(usage.day as usize)), "{count} calls within a day: {usage:?}");
        for (rest, code) in ["LV", "US"].into_iter().enumerate() {
            let count = begun(DAY_MS).filter(|call| call.number as usize % 3 == rest).count();
            let counted = usage.by_country.iter().find(|(country, _)| country.as_str() == code);
            let counted = counted.map_or(0, |(_, count)| *count as usize);
            assert!((count..=5).contains(&counted), "{count} calls to {code} within a day: {usage:?}");
        }
    }
}

fn pick(calls: &mut [Known], which: usize) -> Option<&mut Known> {
    let index = which.checked_rem(calls.len())?;
    calls.get_mut(index)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_events_exceeds_a_limit_or_miscounts(operations in prop::collection::vec(operation(), 1..60)) {
        let (_folder, file) = file();
        let mut case = Case::new(file);
        operations.into_iter().for_each(|operation| case.run(operation));
    }
}
