//! The conformance suite of stores: every store goes through the same scenarios. A new store gets them all by one line in
//! [`STORES`]. `docs/design/store-contract.md` has the rules (`S1`) that the scenarios hold.

mod alerts;
mod audit;
mod begin;
mod claim_orphans;
mod contract;
mod days;
mod denials;
mod ends;
mod limits;
mod lines;
mod number_keys;
mod pins;
mod single_use;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use phonegate::backend::CallRef;
use phonegate::call::{
    Attempt, CallEvent, CallId, CallLimit, Country, Failure, FailureReason, KeyFingerprint, NumberHash, Outcome,
    Progress, StoredOutcome,
};
use phonegate::config::NetworkConfig;
use phonegate::store::{
    AttemptChange, AttemptState, Begun, Block, BlockScope, CallStore, DEADLINE_GRACE, DenialLimits, EndRequest, Ended,
    LEASE, LatestAttempt, Limits, Lockout, MemoryStore, NewAttempt, Orphan, Owner, Query, RecordedChange, RedisConfig,
    RedisStore, Refusal, Row, RowOutcome, SqliteStore, Step, StoreError, StoreErrorKind, StoredNumber,
};
use serde_json::json;
use support::gate::id;
use support::limits::{NO_LIMITS, NO_LOCK};
use support::redis::Redis;
use tokio::task::JoinSet;
use uuid::Uuid;

/// Opens the same store again, as another process does.
type Open = Box<dyn Fn() -> Arc<dyn CallStore>>;

type Make = fn() -> Open;

const STORES: &[(&str, Make)] = &[("memory", memory), ("sqlite", sqlite), ("redis", redis)];

fn memory() -> Open {
    let store = Arc::new(MemoryStore::default());
    Box::new(move || Arc::clone(&store) as _)
}

fn sqlite() -> Open {
    let folder = tempfile::tempdir().unwrap();
    Box::new(move || Arc::new(SqliteStore::open(&folder.path().join("calls.db")).unwrap()))
}

fn redis() -> Open {
    let server = Redis::start();
    Box::new(move || {
        let config: RedisConfig = serde_json::from_value(json!({ "url": server.url() })).unwrap();
        Arc::new(RedisStore::open(&config, &NetworkConfig::default(), std::path::Path::new("")).unwrap())
    })
}

/// Runs a scenario with every store, with all of them at the same time.
fn on_every_store(scenario: impl AsyncFn(&Open) + Sync) {
    let failed: Vec<_> = std::thread::scope(|scope| {
        let start = |&(name, make): &(&'static str, Make)| {
            let scenario = &scenario;
            let thread = std::thread::Builder::new().name(name.to_owned());
            let running = thread.spawn_scoped(scope, move || {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                runtime.block_on(scenario(&make()));
            });
            (name, running.unwrap())
        };
        let running: Vec<_> = STORES.iter().map(start).collect();
        running.into_iter().filter_map(|(name, running)| running.join().is_err().then_some(name)).collect()
    });
    assert!(failed.is_empty(), "the scenario failed with {failed:?}");
}

#[test]
fn every_type_of_store_is_in_the_suite() {
    let known: BTreeSet<_> = phonegate::TYPES.stores.iter().map(|kind| kind.name()).collect();
    let tested: BTreeSet<_> = STORES.iter().map(|(name, _)| *name).collect();
    assert_eq!(known, tested, "a new store needs a line in STORES");
}

const OWNER: Owner = Owner(Uuid::from_u128(1));
const ANOTHER: Owner = Owner(Uuid::from_u128(2));
const A_THIRD: Owner = Owner(Uuid::from_u128(3));

const LONG: Duration = Duration::from_secs(90);

const SOME_TIME: Duration = Duration::from_secs(20);

fn attempt(n: u128, generation: u64) -> Attempt {
    Attempt { id: id(n), generation }
}

/// The n-th number.
fn number(n: u128) -> StoredNumber {
    extension(n, 0)
}

/// An extension of the n-th number.
fn extension(n: u128, extension: u128) -> StoredNumber {
    let hash = |n: u128| NumberHash::parse(&format!("{n:032x}")).unwrap();
    StoredNumber {
        hash: hash(n * 1000 + extension),
        line_hash: hash(n * 1000),
        fingerprint: KeyFingerprint::UNKEYED,
        otherwise: Box::default(),
        masked: "+1******1212".into(),
        full: None,
        country: None,
    }
}

fn new(attempt: Attempt, number: StoredNumber) -> NewAttempt {
    NewAttempt { attempt, started: at(0), deadline: LONG, number, owner: OWNER, node: "web1".into() }
}

/// A moment of a wall clock, in milliseconds from one that is some time ago.
fn at(milliseconds: u64) -> SystemTime {
    static FIRST: LazyLock<Duration> = LazyLock::new(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        // Rounds a time to the resolution of stores.
        Duration::from_millis(now.as_millis() as u64) - SOME_TIME
    });
    SystemTime::UNIX_EPOCH + *FIRST + Duration::from_millis(milliseconds)
}

fn failure(reason: FailureReason) -> Failure {
    Failure::new(
        reason,
        "That is a \"long\" enough sentence, with an é / and a line\nbreak, so that a shortened one is noticed.",
    )
}

fn failed(reason: FailureReason) -> Outcome {
    Outcome::Failed(failure(reason))
}

fn end(attempt: Attempt, outcome: Outcome) -> EndRequest {
    EndRequest { attempt, owner: OWNER, at: at(9000), outcome, release: true, denials: NO_LOCK }
}

fn update(attempt: Attempt, milliseconds: u64, change: AttemptChange) -> RecordedChange {
    RecordedChange { attempt, at: at(milliseconds), change }
}

fn step(event: CallEvent) -> AttemptChange {
    AttemptChange::Step { event, backend: None, text: None }
}

fn placed(reference: &str) -> AttemptChange {
    AttemptChange::Placed { backend: "trunk".into(), reference: CallRef::new(reference), attempts: None }
}

fn refused(number: Option<StoredNumber>) -> AttemptChange {
    AttemptChange::Refused { number, node: "web2".into(), failure: failure(FailureReason::Throttled) }
}

async fn begin(store: &Arc<dyn CallStore>, new: &NewAttempt) -> Begun {
    store.begin(new, &NO_LIMITS).await.unwrap()
}

async fn is_pending(store: &Arc<dyn CallStore>, attempt: Attempt) -> bool {
    let current = store.find(attempt.id).await.unwrap();
    current.is_some_and(|now| now.attempt == attempt && matches!(now.state, AttemptState::Pending { .. }))
}

async fn ended(store: &Arc<dyn CallStore>, id: CallId) -> (u64, StoredOutcome) {
    match store.find(id).await.unwrap() {
        Some(LatestAttempt { attempt, state: AttemptState::Ended { outcome, .. }, .. }) => {
            (attempt.generation, outcome)
        }
        other => panic!("{other:?}"),
    }
}

/// The kind of an error.
#[track_caller]
fn kind_of(answer: Result<impl std::fmt::Debug, StoreError>) -> StoreErrorKind {
    answer.unwrap_err().kind()
}

/// An outcome as a store returns it.
fn stored(outcome: Outcome) -> StoredOutcome {
    (&outcome).into()
}

async fn all_rows(store: &Arc<dyn CallStore>) -> Vec<Row> {
    store.rows(&Query { limit: 1000, ..Query::default() }).await.unwrap()
}

/// Begins many attempts at the same time, through several stores.
async fn begin_at_once(open: &Open, limits: Limits, news: impl Iterator<Item = NewAttempt>) -> Vec<(Attempt, Begun)> {
    let stores: Vec<_> = (0..4).map(|_| open()).collect();
    let mut begins = JoinSet::new();
    for (new, store) in news.zip(stores.into_iter().cycle()) {
        begins.spawn(async move { (new.attempt, store.begin(&new, &limits).await.unwrap()) });
    }
    begins.join_all().await
}

fn new_ones(begun: &[(Attempt, Begun)]) -> Vec<Attempt> {
    begun.iter().filter(|(_, begun)| *begun == Begun::New).map(|(attempt, _)| *attempt).collect()
}
