//! Promises that only the store in Redis makes.

mod away;
mod clock;
mod codes;
mod connect;
mod limits;
mod number_keys;
mod redirects;
mod sites;
#[path = "../support/mod.rs"]
mod support;
mod unreadable;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use phonegate::backend::CallRef;
use phonegate::call::{Attempt, CallEvent, CallLimit, Failure, FailureReason, KeyFingerprint, NumberHash, Outcome};
use phonegate::config::{ConfigError, NetworkConfig};
use phonegate::store::{
    AttemptChange, AttemptState, Begun, Block, BlockScope, CallStore, EndRequest, LEASE, Limits, NewAttempt, Owner,
    Query, RecordedChange, RedisConfig, RedisStore, Refusal, StoreError, StoreErrorKind, StoredNumber,
};
use serde_json::json;
use support::gate::id;
use support::limits::{NO_LIMITS, NO_LOCK};
use support::ports::unused_address;
use support::redis::{PASSWORD, Redis};
use uuid::Uuid;

const OWNER: Owner = Owner(Uuid::from_u128(1));
const ANOTHER: Owner = Owner(Uuid::from_u128(2));

fn open_with(url: &str, network: &NetworkConfig) -> Result<RedisStore, ConfigError> {
    let config: RedisConfig = serde_json::from_value(json!({ "url": url })).unwrap();
    assert!(!format!("{config:?}").contains(url));
    RedisStore::open(&config, network, Path::new(""))
}

fn open(url: &str) -> RedisStore {
    open_with(url, &NetworkConfig::default()).unwrap()
}

/// Trusts the authority of this server's certificate.
fn trusting(redis: &Redis) -> NetworkConfig {
    NetworkConfig { ca_file: Some(redis.authority().into()), ..NetworkConfig::default() }
}

fn new(n: u128) -> NewAttempt {
    let hash = NumberHash::parse(&format!("{n:032x}")).unwrap();
    NewAttempt {
        attempt: Attempt { id: id(n), generation: 1 },
        started: SystemTime::now(),
        deadline: Duration::from_secs(90),
        number: StoredNumber {
            hash,
            line_hash: hash,
            fingerprint: KeyFingerprint::UNKEYED,
            otherwise: Box::default(),
            masked: "+1******1212".into(),
            full: None,
            country: None,
        },
        owner: OWNER,
        node: "web1".into(),
    }
}

async fn begin(store: &RedisStore, n: u128) -> Result<Begun, StoreError> {
    is_answered(store.begin(&new(n), &NO_LIMITS)).await
}

/// Waits for a store's answer. It must come even if the server does not answer.
async fn is_answered<T>(operation: impl Future<Output = T>) -> T {
    tokio::time::timeout(support::EVENT_TIMEOUT, operation).await.expect("the store waits for its server no longer")
}

/// Begins a call as soon as that works.
async fn begin_at_last(store: &RedisStore, n: u128) {
    let start = Instant::now();
    loop {
        match begin(store, n).await {
            Ok(begun) => return assert_eq!(begun, Begun::New),
            Err(error) => assert!(start.elapsed() < support::EVENT_TIMEOUT, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn problem(answer: Result<impl std::fmt::Debug, StoreError>) -> String {
    match answer {
        Err(error) if error.kind() == StoreErrorKind::Unavailable => error.detail().to_owned(),
        other => panic!("{other:?}"),
    }
}

fn end(n: u128, outcome: Outcome) -> EndRequest {
    EndRequest {
        attempt: new(n).attempt,
        owner: OWNER,
        at: SystemTime::now(),
        outcome,
        release: true,
        denials: NO_LOCK,
    }
}
