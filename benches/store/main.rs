//! Measures the cost of a call in each store, among few and many calls, and how soon the next process continues the
//! calls of a killed one. Prints four tables. Each measurement has a process of its own, as a host is one. When a call
//! fails, that is printed with the reason, and the benchmark ends with an error.
//!
//! Needs redis-server. The library is target/release/libphonegate.so, or what PHONEGATE_LIBRARY names.

mod begin;
#[path = "../abi/host.rs"]
#[allow(dead_code, reason = "the other benchmark uses the rest")]
mod host;
#[path = "../../tests/support/mod.rs"]
#[allow(unused_imports, reason = "tests use the rest")]
mod support;

use std::ffi::CString;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use host::Host;
use phonegate::call::CallStatus;
use phonegate::store::{CallStore, Query, Row, RowOutcome, SqliteStore};
use serde_json::{Value, json};
use support::gate::{TestGate, id as nth, no_limits};
use uuid::Uuid;

/// Calls that two threads place.
const CALLS: usize = 20_000;

/// Maximum calls in progress, the default of `limits.concurrent_calls`. Each has 5 s to begin, also on a
/// slow machine.
const AT_ONCE: usize = 1_000;

/// Calls that are pending when their process is killed.
const PENDING: u128 = 1_000;

/// Maximum time that the benchmark waits for one event.
const EVENT_TIMEOUT: Duration = Duration::from_secs(300);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("throughput") => throughput(serde_json::from_str(&arguments[2]).expect("JSON")),
        Some("begin") => begin::measure(&arguments[2]),
        Some("place") => place(Path::new(&arguments[2])),
        _ => all(),
    }
}

fn all() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = support::redis::Redis::start();
    println!(
        "| InitiateCall by two threads, {CALLS} calls | mean | 99 in 100 under | longest | calls a second to their end |"
    );
    println!("|---|---|---|---|---|");
    let stores = |name: &str| {
        [
            json!({ "type": "memory" }),
            json!({ "type": "sqlite", "path": folder.path().join(format!("{name}.db")) }),
            json!({ "type": "redis", "url": redis.url() }),
        ]
    };
    for store in stores("throughput") {
        run("throughput", &store.to_string());
    }
    println!();
    println!("| `begin`, a call, by number of pending calls | {} |", begin::AMONG.map(|n| n.to_string()).join(" | "));
    println!("|---|{}", "---|".repeat(begin::AMONG.len()));
    for kind in 0..stores("").len() {
        print!("| {} |", stores("")[kind]["type"].as_str().expect("a type"));
        for among in begin::AMONG {
            std::io::stdout().flush().expect("a terminal or a file");
            redis.cli(&["FLUSHALL"]);
            run("begin", &begin::argument(&stores(&format!("among_{among}"))[kind], among));
        }
        println!();
    }
    println!();
    println!("| calls of the last day | `begin` in SQLite, a call | `begin` in Redis, a call | in the server, us |");
    println!("|---|---|---|---|");
    for calls in begin::OF_DAY {
        let file = folder.path().join(format!("day_{calls}.db"));
        begin::fill_file(&file, calls);
        redis.cli(&["FLUSHALL"]);
        redis.cli(&["CONFIG", "RESETSTAT"]);
        begin::fill_day(&redis, calls);
        print!("| {calls} |");
        std::io::stdout().flush().expect("a terminal or a file");
        run("begin", &begin::argument(&json!({ "type": "sqlite", "path": file }), 10));
        run("begin", &begin::argument(&json!({ "type": "redis", "url": redis.url() }), 10));
        println!(" {} |", begin::server_time(&redis));
    }
    claim_orphans(folder.path());
}

fn run(what: &str, argument: &str) {
    let program = std::env::current_exe().expect("this program's path");
    let status = Command::new(program).args([what, argument]).status().expect("it starts again");
    assert!(status.success(), "{what} failed ({status}): {argument}");
}

fn id() -> CString {
    CString::new(Uuid::new_v4().to_string()).expect("a GUID has no NUL")
}

/// Places calls as fast as two threads can, and prints a line.
fn throughput(store: Value) {
    let kind = store["type"].as_str().expect("a type").to_owned();
    let host = Host::start(store);
    let start = Instant::now();
    let mut took: Vec<Duration> = std::thread::scope(|scope| {
        let thread = || {
            scope.spawn(|| {
                let mut took = Vec::with_capacity(CALLS / 2);
                let mut ids: Vec<CString> = Vec::new();
                for n in 0..CALLS / 2 {
                    let (number, id) = (host.number(), self::id());
                    let start = Instant::now();
                    host.place(&number, &id);
                    took.push(start.elapsed());
                    ids.push(id);
                    if let Some(earlier) = n.checked_sub(AT_ONCE / 2) {
                        host.wait_for(ids[earlier..=earlier].iter());
                    }
                }
                host.wait_for(ids.iter());
                took
            })
        };
        [thread(), thread()].into_iter().flat_map(|thread| thread.join().expect("it ends")).collect()
    });
    let all = start.elapsed();
    took.sort_unstable();
    let mean = took.iter().sum::<Duration>() / took.len() as u32;
    let under = took[took.len() * 99 / 100];
    let longest = took[took.len() - 1];
    let per_second = CALLS as f64 / all.as_secs_f64();
    println!("| {kind} | {mean:.1?} | {under:.1?} | {longest:.1?} | {per_second:.0} |");
}

fn pending_config(folder: &Path) -> Value {
    json!({
        "use": ["sample"],
        "allow_test_backends": true,
        "backends": { "sample": { "type": "file", "path": folder.join("phone.txt") } },
        "call": { "deadline_s": 600 },
        "limits": no_limits(),
        "store": { "type": "sqlite", "path": folder.join("pending.db") },
    })
}

/// Places calls that stay pending, until this process is killed.
fn place(folder: &Path) {
    let gate = TestGate::start(pending_config(folder));
    for n in 1..=PENDING {
        gate.initiate(nth(n), &format!("+1 425{:07}", 2_000_000 + n));
    }
    std::thread::sleep(Duration::from_secs(600));
}

fn rows(store: &SqliteStore) -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let query = Query { limit: usize::MAX >> 1, ..Query::default() };
    runtime.block_on(store.rows(&query)).expect("rows")
}

/// Waits until that process has placed all calls. Panics if one fails, since it would never be placed.
fn all_are_placed(store: &SqliteStore, by: &mut Child) {
    wait_until("all calls are placed", || {
        let rows = rows(store);
        for row in &rows {
            if let RowOutcome::Failed(failure) = &row.outcome {
                panic!("call {} failed: {failure}", row.attempt.id);
            }
        }
        let ended = by.try_wait().expect("its state");
        assert!(ended.is_none(), "the process that places the calls has ended: {ended:?}");
        rows.iter().filter(|row| row.placed.is_some()).count() == PENDING as usize
    });
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < EVENT_TIMEOUT, "timed out after {EVENT_TIMEOUT:?} while waiting until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A process that places calls. Dropped, it is killed.
struct Placing(Child);

impl Drop for Placing {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Kills a process with calls in progress, and waits until another one has brought them to their end.
fn claim_orphans(folder: &Path) {
    let program = std::env::current_exe().expect("this program's path");
    let mut first =
        Placing(Command::new(program).arg("place").arg(folder).stdout(Stdio::null()).spawn().expect("it starts again"));
    let store = SqliteStore::open(&folder.join("pending.db")).expect("the store");
    all_are_placed(&store, &mut first.0);
    drop(first);
    let killed = Instant::now();
    let gate = TestGate::start(pending_config(folder));
    let claimed = |gate: &TestGate| gate.log().iter().filter(|line| line["event"] == "claimed").count();
    wait_until("a call is claimed", || claimed(&gate) > 0);
    let first_one = killed.elapsed();
    wait_until("all calls are claimed", || claimed(&gate) >= PENDING as usize);
    let all_of_them = killed.elapsed();
    let phone = folder.join("phone.txt");
    let text = std::fs::read_to_string(&phone).expect("the file of calls");
    assert_eq!(text.lines().count(), PENDING as usize, "a call was placed twice");
    std::fs::write(&phone, text.replace(";0;", ";1;")).expect("the calls are answered");
    let answered = Instant::now();
    for n in 1..=PENDING {
        assert_eq!(gate.ends(nth(n)).0, CallStatus::Success);
    }
    println!();
    println!("| {PENDING} calls pending as their process is killed; the next one starts at once | |");
    println!("|---|---|");
    println!("| the first is claimed after, the lease of 10 s included | {first_one:.2?} |");
    println!("| the last, after the first | {:.2?} |", all_of_them - first_one);
    println!("| all are verified, after they were answered | {:.2?} |", answered.elapsed());
}
