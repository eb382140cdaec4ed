//! What is Redis's own.

mod away;
#[path = "../support/mod.rs"]
mod support;
mod way;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use phonegate::backend::Reference;
use phonegate::call::{Attempt, Failure, FailureReason, NumberKey, Outcome};
use phonegate::config::{ConfigError, NetworkConfig, StoreConfig};
use phonegate::store::{
    Begun, Block, CallStore, Change, End, LEASE, Limits, NewAttempt, Owner, Query, RedisStore, StoreError,
    StoredNumber, Update,
};
use serde_json::json;
use support::gate::id;
use support::ports::{free_port, nobody};
use support::redis::{PASSWORD, Redis};
use uuid::Uuid;

const OWNER: Owner = Owner(Uuid::from_u128(1));
const ANOTHER: Owner = Owner(Uuid::from_u128(2));

/// Longer than any question to a store may take.
const BOUND: Duration = Duration::from_secs(5);

const NO_LIMITS: Limits = Limits {
    calls_per_number: 1000,
    per_number_window: Duration::from_secs(600),
    concurrent_calls: 1000,
    calls_per_minute: 1000,
};

fn open_with(url: &str, network: &NetworkConfig) -> Result<RedisStore, ConfigError> {
    let config: StoreConfig = serde_json::from_value(json!({ "type": "redis", "url": url })).unwrap();
    assert!(!format!("{config:?}").contains(url));
    RedisStore::open(&config, network, Path::new(""))
}

fn open(url: &str) -> RedisStore {
    open_with(url, &NetworkConfig::default()).unwrap()
}

fn new(n: u128) -> NewAttempt {
    let key = NumberKey::parse(&format!("{n:032x}")).unwrap();
    NewAttempt {
        attempt: Attempt { id: id(n), generation: 1 },
        started: std::time::SystemTime::UNIX_EPOCH,
        deadline: Duration::from_secs(90),
        number: StoredNumber { key, line: key, masked: "+1******1212".into(), full: None },
        owner: OWNER,
        node: "web1".into(),
    }
}

async fn begin(store: &RedisStore, n: u128) -> Result<Begun, StoreError> {
    let asked = Instant::now();
    let begun = store.begin(&new(n), &NO_LIMITS).await;
    assert!(asked.elapsed() < BOUND, "{:?}", asked.elapsed());
    begun
}

/// Begins a call as soon as that works.
async fn begin_at_last(store: &RedisStore, n: u128) {
    let start = Instant::now();
    loop {
        match begin(store, n).await {
            Ok(begun) => return assert_eq!(begun, Begun::New),
            Err(error) => assert!(start.elapsed() < support::PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn problem(answer: Result<impl std::fmt::Debug, StoreError>) -> String {
    match answer {
        Err(StoreError::Unavailable(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

fn end(n: u128, outcome: Outcome) -> End {
    let at = std::time::SystemTime::UNIX_EPOCH;
    End { attempt: new(n).attempt, owner: OWNER, at, outcome, release: true }
}
