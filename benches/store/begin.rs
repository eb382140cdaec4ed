//! Measures the cost of beginning a call among few and many calls.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use phonegate::call::{Attempt, Country, KeyFingerprint, NumberHash};
use phonegate::config::NetworkConfig;
use phonegate::store::{
    Begun, CallStore, Limits, MemoryStore, NewAttempt, Owner, RedisConfig, RedisStore, SqliteStore, StoredNumber,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::gate::id;
use crate::support::redis::Redis;

/// Calls that are pending already, all of the last minute if the store takes them so fast.
pub const AMONG: [u128; 3] = [10, 1_000, 100_000];

/// Numbers of calls that began within the last day, spread over it in steps of ten minutes.
pub const OF_DAY: [u64; 2] = [10, 1_000_000];

/// Calls that are measured, and how many of them wait at the same time and may share a commit.
const MEASURED: u128 = 1_000;
const AT_ONCE: usize = 100;

const ROOMY: Limits = Limits {
    calls_per_number: 10_000_000,
    per_number_window: Duration::from_secs(600),
    calls_per_number_per_day: 10_000_000,
    line_in_progress: 10_000_000,
    line_per_minute: 10_000_000,
    concurrent_calls: 10_000_000,
    calls_per_minute: 10_000_000,
    calls_per_day: Some(10_000_000),
    country_per_day: Some(10_000_000),
};

/// A store of this kind and the number of calls in it: the argument of the process that measures it.
pub fn argument(store: &Value, among: u128) -> String {
    json!({ "store": store, "among": u64::try_from(among).expect("it is small") }).to_string()
}

/// Prints a cell of the table.
pub fn measure(argument: &str) {
    let Value::Object(argument) = serde_json::from_str(argument).expect("JSON") else { panic!("no object") };
    let among = argument["among"].as_u64().expect("a number").into();
    let store = open(&argument["store"]);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(fill(&store, 1..=among));
    let start = Instant::now();
    runtime.block_on(begin(&store, among + 1..=among + MEASURED));
    print!(" {:.1?} |", start.elapsed() / u32::try_from(MEASURED).expect("it is small"));
    store.close(Duration::from_secs(10));
}

fn open(store: &Value) -> Arc<dyn CallStore> {
    match store["type"].as_str() {
        Some("memory") => Arc::new(MemoryStore::default()),
        Some("sqlite") => {
            Arc::new(SqliteStore::open(Path::new(store["path"].as_str().expect("a path"))).expect("a file"))
        }
        _ => {
            let config: RedisConfig = serde_json::from_value(json!({ "url": store["url"] })).expect("a store");
            Arc::new(RedisStore::open(&config, &NetworkConfig::default(), Path::new("")).expect("an address"))
        }
    }
}

async fn begin(store: &Arc<dyn CallStore>, calls: std::ops::RangeInclusive<u128>) {
    for some in calls.collect::<Vec<_>>().chunks(AT_ONCE) {
        begin_at_once(store, some).await.unwrap_or_else(|problem| panic!("{problem}"));
    }
}

/// As `begin`, but asks a store that is busy again. This is not measured.
async fn fill(store: &Arc<dyn CallStore>, calls: std::ops::RangeInclusive<u128>) {
    for some in calls.collect::<Vec<_>>().chunks(AT_ONCE) {
        let mut tries = 1;
        while let Err(problem) = begin_at_once(store, some).await {
            assert!(tries < 10, "{problem}, ten times");
            tries += 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Describes a call that did not begin, and the reason.
async fn begin_at_once(store: &Arc<dyn CallStore>, calls: &[u128]) -> Result<(), String> {
    let news: Vec<_> = calls.iter().copied().map(new).collect();
    let begun = futures_util::future::join_all(news.iter().map(|new| store.begin(new, &ROOMY))).await;
    let failed = news.iter().zip(begun).find(|(_, begun)| *begun != Ok(Begun::New));
    failed.map_or(Ok(()), |(new, begun)| Err(format!("call {} did not begin: {begun:?}", new.attempt.id)))
}

fn new(n: u128) -> NewAttempt {
    let hash = NumberHash::parse(&format!("{n:032x}")).expect("digits");
    NewAttempt {
        attempt: Attempt { id: id(n), generation: 1 },
        started: SystemTime::now(),
        deadline: Duration::from_secs(600),
        number: StoredNumber {
            hash,
            line_hash: hash,
            fingerprint: KeyFingerprint::UNKEYED,
            otherwise: Box::default(),
            masked: "+1******1212".into(),
            full: None,
            country: Country::parse("LV"),
        },
        owner: Owner(Uuid::from_u128(1)),
        node: "here".into(),
    }
}

/// Writes `calls` calls of the last day, which have ended, into a new file. The store counts them when it is opened.
pub fn fill_file(file: &Path, calls: u64) {
    SqliteStore::open(file).expect("a file").close(Duration::from_secs(10));
    let database = rusqlite::Connection::open(file).expect("a database");
    let calls = i64::try_from(calls).expect("it is small");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later").as_millis();
    let now = i64::try_from(now).expect("it is small");
    let sql =
        "INSERT INTO attempts (id, generation, is_latest, number_hash, line_hash, number, country, node, started_at,
            begun, deadline, ended, ended_at)
        WITH RECURSIVE calls (n, at) AS (
            SELECT 1, ?2 - 86000000 UNION ALL SELECT n + 1, ?2 - 86000000 + n * 86000000 / ?1 FROM calls WHERE n < ?1
        )
        SELECT printf('10000000-0000-0000-0000-%012d', n), 1, 1, randomblob(16), randomblob(16), '+1******1212', 'LV',
            'here', at, at, at + 90000, at + 9000, at + 9000 FROM calls";
    assert_eq!(database.execute(sql, [calls, now]).expect("calls"), usize::try_from(calls).expect("it is small"));
}

/// Writes the counts of `calls` calls of the last day into a Redis.
pub fn fill_day(redis: &Redis, calls: u64) {
    const BUCKETS: u64 = 145;
    let milliseconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later").as_millis();
    let this = u64::try_from(milliseconds / 600_000).expect("it is small");
    let counts = (0..BUCKETS).map(|n| (this - n, calls / BUCKETS + u64::from(n < calls % BUCKETS)));
    let fields: Vec<_> = counts
        .filter(|(_, count)| *count > 0)
        .flat_map(|(bucket, count)| [bucket.to_string(), count.to_string()])
        .collect();
    let fields: Vec<_> = fields.iter().map(String::as_str).collect();
    for key in ["{phonegate}:day", "{phonegate}:country:LV"] {
        redis.cli(&[&["HSET", key], &fields[..]].concat());
    }
}

/// Returns how long a script took in the Redis on average, in µs.
pub fn server_time(redis: &Redis) -> String {
    let stats = redis.cli(&["INFO", "commandstats"]);
    let of_scripts = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:"));
    let a_call =
        of_scripts.into_iter().flat_map(|stats| stats.split(',')).find_map(|part| part.strip_prefix("usec_per_call="));
    a_call.unwrap_or("?").to_owned()
}
