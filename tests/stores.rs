//! The conformance suite of stores: every store goes through the same stories. A new one gets them all by one line in
//! `STORES`.

mod support;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use phonegate::backend::Reference;
use phonegate::call::{Attempt, CallId, Failure, FailureReason, NumberKey, Outcome, Progress};
use phonegate::config::{NetworkConfig, StoreConfig};
use phonegate::store::{
    Begun, Block, CallStore, Change, Current, CurrentState, End, HOLD, LEASE, Limits, MemoryStore, NewAttempt, Orphan,
    Owner, Query, RedisStore, Refusal, Row, RowOutcome, SqliteStore, Step, StoreError, StoredNumber, Update,
};
use serde_json::json;
use support::gate::id;
use support::redis::Redis;
use tokio::task::JoinSet;
use uuid::Uuid;

/// Opens one and the same store, as another process does.
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
        let config: StoreConfig = serde_json::from_value(json!({ "type": "redis", "url": server.url() })).unwrap();
        Arc::new(RedisStore::open(&config, &NetworkConfig::default(), std::path::Path::new("")).unwrap())
    })
}

/// Tells a story to every store, to all at the same time.
fn on_every_store(story: impl AsyncFn(&Open) + Sync) {
    let failed: Vec<_> = std::thread::scope(|scope| {
        let tell = |&(name, make): &(&'static str, Make)| {
            let story = &story;
            let teller = std::thread::Builder::new().name(name.to_owned());
            let telling = teller.spawn_scoped(scope, move || {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                runtime.block_on(story(&make()));
            });
            (name, telling.unwrap())
        };
        let telling: Vec<_> = STORES.iter().map(tell).collect();
        telling.into_iter().filter_map(|(name, telling)| telling.join().is_err().then_some(name)).collect()
    });
    assert!(failed.is_empty(), "told in vain: {failed:?}");
}

const OWNER: Owner = Owner(Uuid::from_u128(1));
const ANOTHER: Owner = Owner(Uuid::from_u128(2));
const A_THIRD: Owner = Owner(Uuid::from_u128(3));

const NO_LIMITS: Limits = Limits {
    calls_per_number: 1000,
    per_number_window: Duration::from_secs(600),
    concurrent_calls: 1000,
    calls_per_minute: 1000,
};

const LONG: Duration = Duration::from_secs(90);

fn attempt(n: u128, generation: u64) -> Attempt {
    Attempt { id: id(n), generation }
}

/// The n-th number.
fn number(n: u128) -> StoredNumber {
    extension(n, 0)
}

/// An extension of the n-th number.
fn extension(n: u128, extension: u128) -> StoredNumber {
    let key = |n: u128| NumberKey::parse(&format!("{n:032x}")).unwrap();
    StoredNumber { key: key(n * 1000 + extension), line: key(n * 1000), masked: "+1******1212".into(), full: None }
}

fn new(attempt: Attempt, number: StoredNumber) -> NewAttempt {
    NewAttempt { attempt, started: at(0), deadline: LONG, number, owner: OWNER, node: "web1".into() }
}

/// A moment of a wall clock, in milliseconds from one.
fn at(milliseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_123 + milliseconds)
}

fn failure(reason: FailureReason) -> Failure {
    Failure::new(
        reason,
        "That is a \"long\" enough sentence, with an é / and a line\nbreak, for whoever wants to shorten it.",
    )
}

fn failed(reason: FailureReason) -> Outcome {
    Outcome::Failed(failure(reason))
}

fn end(attempt: Attempt, outcome: Outcome) -> End {
    End { attempt, owner: OWNER, at: at(9000), outcome, release: true }
}

fn update(attempt: Attempt, milliseconds: u64, change: Change) -> Update {
    Update { attempt, at: at(milliseconds), change }
}

fn step(name: &str) -> Change {
    Change::Step { name: name.into(), backend: None, text: None }
}

fn placed(reference: &str) -> Change {
    Change::Placed { backend: "trunk".into(), reference: Reference::new(reference) }
}

fn refused(number: Option<StoredNumber>) -> Change {
    Change::Refused { number, node: "web2".into(), failure: failure(FailureReason::Throttled) }
}

async fn begin(store: &Arc<dyn CallStore>, new: &NewAttempt) -> Begun {
    store.begin(new, &NO_LIMITS).await.unwrap()
}

async fn is_pending(store: &Arc<dyn CallStore>, attempt: Attempt) -> bool {
    let current = store.find(attempt.id).await.unwrap();
    current.is_some_and(|now| now.attempt == attempt && matches!(now.state, CurrentState::Pending { .. }))
}

async fn ended(store: &Arc<dyn CallStore>, id: CallId) -> (u64, Outcome) {
    match store.find(id).await.unwrap() {
        Some(Current { attempt, state: CurrentState::Ended { outcome, .. } }) => (attempt.generation, outcome),
        other => panic!("{other:?}"),
    }
}

async fn all_rows(store: &Arc<dyn CallStore>) -> Vec<Row> {
    store.rows(&Query { most: 1000, ..Query::default() }).await.unwrap()
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

#[test]
fn of_many_simultaneous_repeats_of_an_id_one_begins() {
    on_every_store(async |open| {
        let news = (1..=64).map(|generation| new(attempt(1, generation), number(1)));
        let begun = begin_at_once(open, NO_LIMITS, news).await;
        let [the_one] = new_ones(&begun)[..] else { panic!("{begun:?}") };
        let others = begun.iter().filter(|(attempt, _)| *attempt != the_one);
        others.for_each(|(_, begun)| assert_eq!(*begun, Begun::Elsewhere(the_one.generation)));
        assert!(is_pending(&open(), the_one).await);
        assert_eq!(all_rows(&open()).await.len(), 1);
    });
}

#[test]
fn of_many_simultaneous_calls_to_a_number_one_begins() {
    on_every_store(async |open| {
        let news = (1..=64).map(|n| new(attempt(n, 1), number(1)));
        let begun = begin_at_once(open, NO_LIMITS, news).await;
        let [the_one] = new_ones(&begun)[..] else { panic!("{begun:?}") };
        let others = begun.iter().filter(|(attempt, _)| *attempt != the_one);
        others.for_each(|(_, begun)| assert_eq!(*begun, Begun::Refused(Refusal::InProgress)));
    });
}

#[test]
fn many_simultaneous_calls_never_exceed_a_limit() {
    on_every_store(async |open| {
        let limits = Limits { calls_per_minute: 10, ..NO_LIMITS };
        let begun = begin_at_once(open, limits, (1..=64).map(|n| new(attempt(n, 1), number(n)))).await;
        assert_eq!(new_ones(&begun).len(), 10, "{begun:?}");
    });
}

#[test]
fn whoever_asks_again_for_the_same_attempt_is_told_that_it_has_begun() {
    on_every_store(async |open| {
        let limits = Limits { calls_per_number: 1, calls_per_minute: 1, concurrent_calls: 1, ..NO_LIMITS };
        let (store, new) = (open(), new(attempt(1, 1), number(1)));
        for _ in 0..3 {
            assert_eq!(store.begin(&new, &limits).await, Ok(Begun::New));
        }
        assert_eq!(all_rows(&store).await.len(), 1);
    });
}

#[test]
fn an_attempt_that_is_over_never_begins_again() {
    on_every_store(async |open| {
        let store = open();
        // Its answer did not come in time: it was given up, and its first message arrives last.
        store.record(&[update(attempt(1, 1), 0, refused(Some(number(1))))]).await.unwrap();
        let late = store.begin(&new(attempt(1, 1), number(1)), &NO_LIMITS).await;
        assert!(matches!(late, Err(StoreError::Refused(_))), "{late:?}");
        assert_eq!(ended(&store, id(1)).await, (1, failed(FailureReason::Throttled)));
        // The number is free.
        assert_eq!(begin(&store, &new(attempt(2, 1), number(1))).await, Begun::New);
        assert!(store.end(&end(attempt(2, 1), Outcome::Verified)).await.unwrap());
        let late = store.begin(&new(attempt(2, 1), number(1)), &NO_LIMITS).await;
        assert!(matches!(late, Err(StoreError::Refused(_))), "{late:?}");
    });
}

#[test]
fn a_pending_id_takes_no_other_number() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        assert_eq!(begin(&store, &new(attempt(1, 1), number(1))).await, Begun::New);
        let refused = Begun::Refused(Refusal::OtherNumber);
        assert_eq!(begin(&another, &new(attempt(1, 2), number(2))).await, refused);
        assert_eq!(begin(&another, &new(attempt(1, 2), extension(1, 7))).await, refused);
        assert!(is_pending(&store, attempt(1, 1)).await);
        assert_eq!(begin(&another, &new(attempt(2, 1), number(2))).await, Begun::New);
    });
}

#[test]
fn a_number_is_taken_until_its_phone_rings_no_more() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        let taken = Begun::Refused(Refusal::InProgress);
        assert_eq!(begin(&store, &new(attempt(1, 1), number(1))).await, Begun::New);
        assert_eq!(begin(&another, &new(attempt(2, 1), number(1))).await, taken);
        assert_eq!(begin(&another, &new(attempt(3, 1), extension(1, 7))).await, Begun::New, "an extension is another");
        let unreleased = End { release: false, ..end(attempt(1, 1), failed(FailureReason::DeadlinePassed)) };
        assert!(store.end(&unreleased).await.unwrap());
        assert_eq!(begin(&another, &new(attempt(2, 2), number(1))).await, taken);
        assert_eq!(begin(&another, &new(attempt(1, 2), number(1))).await, taken, "for its own id, too");
        store.record(&[update(attempt(1, 1), 0, Change::Released)]).await.unwrap();
        assert_eq!(begin(&another, &new(attempt(2, 3), number(1))).await, Begun::New);
        // What was released long ago releases nothing of others.
        store.record(&[update(attempt(1, 1), 0, Change::Released)]).await.unwrap();
        assert_eq!(begin(&another, &new(attempt(4, 1), number(1))).await, taken);
        assert!(store.end(&end(attempt(2, 3), Outcome::Verified)).await.unwrap());
        assert_eq!(begin(&another, &new(attempt(4, 2), number(1))).await, Begun::New, "released by its end");
    });
}

#[test]
fn a_number_that_nobody_gives_free_is_free_some_time_after_the_deadline() {
    on_every_store(async |open| {
        let store = open();
        let deadline = Duration::from_millis(100);
        let (ended, pending) = (attempt(1, 1), attempt(2, 1));
        assert_eq!(begin(&store, &NewAttempt { deadline, ..new(ended, number(1)) }).await, Begun::New);
        assert_eq!(begin(&store, &NewAttempt { deadline, ..new(pending, number(2)) }).await, Begun::New);
        let unreleased = End { release: false, ..end(ended, failed(FailureReason::DeadlinePassed)) };
        assert!(store.end(&unreleased).await.unwrap());
        tokio::time::sleep(LEASE).await;
        assert_eq!(begin(&store, &new(attempt(3, 1), number(1))).await, Begun::Refused(Refusal::InProgress));
        tokio::time::sleep(HOLD - LEASE + Duration::from_secs(1)).await;
        assert_eq!(begin(&store, &new(attempt(3, 1), number(1))).await, Begun::New);
        // Of one that has not ended, the end was lost: whoever asks takes it up, though its owner is alive.
        assert_eq!(begin(&store, &new(attempt(4, 1), number(2))).await, Begun::New);
        store.renew(OWNER).await.unwrap();
        let left = store.take_up(ANOTHER, 10).await.unwrap();
        assert_eq!(left.iter().map(|orphan| orphan.attempt).collect::<Vec<_>>(), [pending]);
        let interrupted = End { owner: ANOTHER, ..end(pending, failed(FailureReason::Interrupted)) };
        assert!(store.end(&interrupted).await.unwrap());
    });
}

fn block(number: StoredNumber, since: u64, until: Option<SystemTime>) -> Block {
    let reason = format!("reason {since}").into();
    Block { number: number.key, masked: number.masked, reason, since: at(since), until }
}

#[test]
fn a_blocked_number_is_not_called_and_a_blocked_line_has_no_extension_that_is() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        store.block(&block(number(1), 1, None)).await.unwrap();
        store.block(&block(extension(2, 7), 2, Some(at(1_000_000)))).await.unwrap();
        let blocked =
            |since: u64, until| Begun::Refused(Refusal::Blocked { reason: format!("reason {since}").into(), until });
        assert_eq!(begin(&another, &new(attempt(1, 1), number(1))).await, blocked(1, None));
        assert_eq!(begin(&another, &new(attempt(1, 1), extension(1, 7))).await, blocked(1, None));
        assert_eq!(begin(&another, &new(attempt(1, 1), extension(2, 7))).await, blocked(2, Some(at(1_000_000))));
        assert_eq!(begin(&another, &new(attempt(1, 1), number(2))).await, Begun::New);
        assert_eq!(begin(&another, &new(attempt(2, 1), extension(2, 8))).await, Begun::New);
        // The one in place of the other.
        store.block(&block(number(1), 3, None)).await.unwrap();
        assert_eq!(begin(&another, &new(attempt(3, 1), number(1))).await, blocked(3, None));
        assert!(store.unblock(number(1).key).await.unwrap());
        assert!(!store.unblock(number(1).key).await.unwrap());
        assert_eq!(begin(&another, &new(attempt(3, 1), number(1))).await, Begun::New);
    });
}

#[test]
fn a_block_ends_when_it_has_expired() {
    on_every_store(async |open| {
        let store = open();
        let soon = SystemTime::now() + Duration::from_secs(3);
        let passed = SystemTime::now() - Duration::from_secs(1);
        store.block(&block(number(1), 1, Some(soon))).await.unwrap();
        store.block(&block(number(2), 2, Some(passed))).await.unwrap();
        store.block(&block(number(3), 3, None)).await.unwrap();
        assert_eq!(begin(&store, &new(attempt(2, 1), number(2))).await, Begun::New);
        assert!(!store.unblock(number(2).key).await.unwrap(), "it is not on the list any more");
        let refused = begin(&store, &new(attempt(1, 1), number(1))).await;
        assert!(matches!(refused, Begun::Refused(Refusal::Blocked { until: Some(_), .. })), "{refused:?}");
        tokio::time::sleep(Duration::from_millis(3100)).await;
        assert_eq!(begin(&store, &new(attempt(1, 1), number(1))).await, Begun::New);
        assert_eq!(store.blocks().await.unwrap(), [block(number(3), 3, None)]);
        store.sweep(LONG).await.unwrap();
        assert_eq!(store.blocks().await.unwrap(), [block(number(3), 3, None)]);
    });
}

#[test]
fn the_block_list_has_the_newest_first() {
    on_every_store(async |open| {
        let store = open();
        let until = Some(at(100_000_000));
        let blocks = [block(number(2), 3, None), block(number(3), 2, until), block(number(1), 1, None)];
        for block in [&blocks[1], &blocks[2], &blocks[0]] {
            store.block(block).await.unwrap();
        }
        assert_eq!(open().blocks().await.unwrap(), blocks);
    });
}

#[test]
fn a_number_is_called_so_often_within_a_window_and_refused_calls_do_not_count() {
    on_every_store(async |open| {
        let window = Duration::from_secs(4);
        let limits = Limits { calls_per_number: 2, per_number_window: window, ..NO_LIMITS };
        let stores = [open(), open()];
        for n in [1, 2] {
            let new = new(attempt(n, 1), number(1));
            assert_eq!(stores[n as usize - 1].begin(&new, &limits).await, Ok(Begun::New));
            assert!(stores[0].end(&end(new.attempt, failed(FailureReason::NoKeyPressed))).await.unwrap());
        }
        let wait = async || match stores[0].begin(&new(attempt(3, 1), number(1)), &limits).await {
            Ok(Begun::Refused(Refusal::NumberLimit { after })) => after,
            other => panic!("{other:?}"),
        };
        let first = wait().await;
        assert!(first <= window && first > Duration::from_secs(1), "{first:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let second = wait().await;
        assert!(second < first, "{second:?} after {first:?}");
        let other = new(attempt(4, 1), extension(1, 7));
        assert_eq!(stores[0].begin(&other, &limits).await, Ok(Begun::New), "an extension is another number");
        tokio::time::sleep(second).await;
        assert_eq!(stores[0].begin(&new(attempt(3, 1), number(1)), &limits).await, Ok(Begun::New));
    });
}

#[test]
fn so_many_calls_begin_within_a_minute() {
    on_every_store(async |open| {
        let limits = Limits { calls_per_minute: 2, ..NO_LIMITS };
        let stores = [open(), open()];
        for n in [1, 2] {
            let new = new(attempt(n, 1), number(n));
            assert_eq!(stores[n as usize - 1].begin(&new, &limits).await, Ok(Begun::New));
            assert!(stores[0].end(&end(new.attempt, Outcome::Verified)).await.unwrap());
        }
        let wait = async || match stores[0].begin(&new(attempt(3, 1), number(3)), &limits).await {
            Ok(Begun::Refused(Refusal::MinuteLimit { after })) => after,
            other => panic!("{other:?}"),
        };
        let first = wait().await;
        assert!(first <= Duration::from_secs(60) && first > Duration::from_secs(20), "{first:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let second = wait().await;
        assert!(second < first, "{second:?} after {first:?}");
    });
}

#[test]
fn so_many_calls_are_pending_at_once() {
    on_every_store(async |open| {
        let limits = Limits { concurrent_calls: 2, ..NO_LIMITS };
        let store = open();
        let short = NewAttempt { deadline: LONG / 2, ..new(attempt(2, 1), number(2)) };
        assert_eq!(store.begin(&new(attempt(1, 1), number(1)), &limits).await, Ok(Begun::New));
        assert_eq!(open().begin(&short, &limits).await, Ok(Begun::New));
        let third = new(attempt(3, 1), number(3));
        match store.begin(&third, &limits).await {
            Ok(Begun::Refused(Refusal::ConcurrentLimit { after })) => {
                assert!(after <= LONG / 2 && after > Duration::from_secs(20), "{after:?}");
            }
            other => panic!("{other:?}"),
        }
        assert!(store.end(&end(attempt(1, 1), Outcome::Verified)).await.unwrap());
        assert_eq!(store.begin(&third, &limits).await, Ok(Begun::New));
    });
}

#[test]
fn an_attempt_ends_once_and_by_its_owner_alone() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        let one = attempt(1, 1);
        assert_eq!(begin(&store, &new(one, number(1))).await, Begun::New);
        assert!(!another.end(&End { owner: ANOTHER, ..end(one, Outcome::Verified) }).await.unwrap());
        assert!(!another.end(&end(attempt(1, 2), Outcome::Verified)).await.unwrap());
        assert!(!another.end(&end(attempt(2, 1), Outcome::Verified)).await.unwrap());
        assert!(is_pending(&store, one).await);
        let mut ends = JoinSet::new();
        for n in 0..32 {
            let store = if n % 2 == 0 { Arc::clone(&store) } else { Arc::clone(&another) };
            ends.spawn(async move { store.end(&end(one, Outcome::Verified)).await.unwrap() });
        }
        let ends = ends.join_all().await;
        assert_eq!(ends.into_iter().filter(|&has_ended| has_ended).count(), 1);
        assert!(!store.end(&end(one, failed(FailureReason::Internal))).await.unwrap());
        let change = Change::Ended { owner: OWNER, failure: failure(FailureReason::Internal), release: true };
        store.record(&[update(one, 1, change), update(one, 2, refused(None))]).await.unwrap();
        assert_eq!(ended(&another, id(1)).await, (1, Outcome::Verified));
    });
}

#[test]
fn nothing_is_verified_after_the_deadline() {
    on_every_store(async |open| {
        let store = open();
        let one = attempt(1, 1);
        let short = NewAttempt { deadline: Duration::from_millis(50), ..new(one, number(1)) };
        assert_eq!(begin(&store, &short).await, Begun::New);
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert!(!store.end(&end(one, Outcome::Verified)).await.unwrap());
        assert!(is_pending(&store, one).await);
        assert!(store.end(&end(one, failed(FailureReason::DeadlinePassed))).await.unwrap());
        assert_eq!(ended(&store, id(1)).await, (1, failed(FailureReason::DeadlinePassed)));
    });
}

#[test]
fn the_current_attempt_of_an_id_is_found() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        // A generation has up to 53 bits.
        let one = attempt(1, (1 << 53) - 7);
        assert_eq!(another.find(id(1)).await, Ok(None));
        assert_eq!(begin(&store, &new(one, number(1))).await, Begun::New);
        let progress = async || match another.find(id(1)).await.unwrap() {
            Some(Current { attempt, state: CurrentState::Pending { number: key, left, progress } }) => {
                assert_eq!((attempt, key), (one, number(1).key));
                assert!(left <= LONG && left > LONG / 3, "{left:?}");
                progress
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(progress().await, Progress::Dialling);
        for (change, then) in [
            (placed("CA1"), Progress::Dialling),
            (step("ringing"), Progress::Ringing),
            (step("answered"), Progress::Answered),
            (step("ringing"), Progress::Answered),
        ] {
            store.record(&[update(one, 5, change)]).await.unwrap();
            assert_eq!(progress().await, then);
        }
        assert!(store.end(&end(one, failed(FailureReason::WrongKey))).await.unwrap());
        tokio::time::sleep(Duration::from_millis(50)).await;
        match another.find(id(1)).await.unwrap() {
            Some(Current { attempt, state: CurrentState::Ended { outcome, ago } }) => {
                assert_eq!((attempt, outcome), (one, failed(FailureReason::WrongKey)));
                assert!(ago >= Duration::from_millis(40) && ago < LONG, "{ago:?}");
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn attempts_before_the_current_one_never_answer() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        assert_eq!(begin(&store, &new(attempt(1, 1), number(1))).await, Begun::New);
        assert!(store.end(&end(attempt(1, 1), Outcome::Verified)).await.unwrap());
        assert_eq!(begin(&another, &new(attempt(1, 2), number(1))).await, Begun::New);
        assert!(is_pending(&store, attempt(1, 2)).await);
        // Late words of the earlier one.
        assert!(!store.end(&end(attempt(1, 1), Outcome::Verified)).await.unwrap());
        let late = Change::Ended { owner: OWNER, failure: failure(FailureReason::CallEnded), release: true };
        store.record(&[update(attempt(1, 1), 1, step("answered")), update(attempt(1, 1), 1, late)]).await.unwrap();
        match store.find(id(1)).await.unwrap() {
            Some(Current { attempt: one, state: CurrentState::Pending { progress, .. } }) => {
                assert_eq!((one, progress), (attempt(1, 2), Progress::Dialling));
            }
            other => panic!("{other:?}"),
        }
        // Refused beside it: for the audit alone.
        store.record(&[update(attempt(1, 3), 1, refused(Some(number(2))))]).await.unwrap();
        assert!(is_pending(&store, attempt(1, 2)).await);
        assert!(store.end(&end(attempt(1, 2), Outcome::Verified)).await.unwrap());
        assert_eq!(ended(&another, id(1)).await, (2, Outcome::Verified));
        // Refused after it.
        store.record(&[update(attempt(1, 4), 1, refused(None))]).await.unwrap();
        assert_eq!(ended(&another, id(1)).await, (4, failed(FailureReason::Throttled)));
        let outcomes: Vec<_> =
            all_rows(&store).await.into_iter().map(|row| (row.attempt.generation, row.outcome)).collect();
        let throttled = RowOutcome::Failed(failure(FailureReason::Throttled));
        let verified = RowOutcome::Verified;
        assert_eq!(outcomes, [(1, verified.clone()), (2, verified), (3, throttled.clone()), (4, throttled)]);
    });
}

#[test]
fn what_was_refused_is_kept_and_takes_no_number() {
    on_every_store(async |open| {
        let store = open();
        let limits = Limits { calls_per_number: 1, calls_per_minute: 1, concurrent_calls: 1, ..NO_LIMITS };
        for _ in 0..2 {
            store.record(&[update(attempt(1, 1), 7, refused(Some(number(1))))]).await.unwrap();
            store.record(&[update(attempt(2, 1), 8, refused(None))]).await.unwrap();
        }
        assert_eq!(ended(&store, id(2)).await, (1, failed(FailureReason::Throttled)));
        let rows = all_rows(&store).await;
        let [first, second] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!((first.started, first.ended, &*first.node), (at(7), Some(at(7)), "web2"));
        assert_eq!((first.number_key, first.line_key), (Some(number(1).key), Some(number(1).line)));
        assert_eq!((second.number.as_deref(), second.number_key), (None, None));
        // It counts for no limit.
        assert_eq!(store.begin(&new(attempt(3, 1), number(1)), &limits).await, Ok(Begun::New));
        // One that has begun after all is over then, whoever has it.
        store.record(&[update(attempt(3, 1), 9, refused(Some(number(1))))]).await.unwrap();
        assert_eq!(ended(&store, id(3)).await, (1, failed(FailureReason::Throttled)));
        assert_eq!(begin(&store, &new(attempt(4, 1), number(1))).await, Begun::New);
    });
}

#[test]
fn what_is_recorded_twice_has_happened_once() {
    on_every_store(async |open| {
        let store = open();
        let one = attempt(1, 1);
        assert_eq!(begin(&store, &new(one, number(1))).await, Begun::New);
        let text = Some("the trunk said: \"180 Ringing\"".into());
        let updates = [
            update(one, 10, Change::Step { name: "placing".into(), backend: Some("trunk".into()), text: text.clone() }),
            update(one, 20, placed("CA1")),
            update(one, 40, step("answered")),
            update(one, 30, step("ringing")),
            update(one, 50, step("answered")),
            update(
                one,
                60,
                Change::Ended { owner: OWNER, failure: failure(FailureReason::NoKeyPressed), release: false },
            ),
            update(one, 70, Change::Released),
        ];
        store.record(&[]).await.unwrap();
        for updates in [&updates[..3], &updates[..], &updates[2..], &updates[..]] {
            store.record(updates).await.unwrap();
        }
        // What is told of an attempt that is not there is told to nobody.
        store
            .record(&[update(attempt(9, 9), 1, step("ringing")), update(attempt(9, 9), 1, placed("CA9"))])
            .await
            .unwrap();
        let step = |milliseconds, name: &str, backend: Option<&str>, text: Option<Box<str>>| Step {
            at: at(milliseconds),
            name: name.into(),
            backend: backend.map(Into::into),
            text,
        };
        let steps = [
            step(10, "placing", Some("trunk"), text),
            step(20, "placed", Some("trunk"), None),
            step(30, "ringing", None, None),
            step(40, "answered", None, None),
            step(50, "answered", None, None),
        ];
        assert_eq!(open().steps(one).await.unwrap(), steps);
        assert_eq!(open().steps(attempt(9, 9)).await.unwrap(), []);
        let expected = Row {
            sequence: 1,
            attempt: one,
            number: Some("+1******1212".into()),
            full_number: None,
            number_key: Some(number(1).key),
            line_key: Some(number(1).line),
            node: "web1".into(),
            backend: Some("trunk".into()),
            started: at(0),
            placed: Some(at(20)),
            ringing: Some(at(30)),
            answered: Some(at(40)),
            ended: Some(at(60)),
            outcome: RowOutcome::Failed(failure(FailureReason::NoKeyPressed)),
        };
        assert_eq!(all_rows(&open()).await, [expected]);
        assert_eq!(begin(&store, &new(attempt(2, 1), number(1))).await, Begun::New);
    });
}

#[test]
fn what_another_owner_says_ends_nothing() {
    on_every_store(async |open| {
        let store = open();
        let one = attempt(1, 1);
        assert_eq!(begin(&store, &new(one, number(1))).await, Begun::New);
        let by = |owner| Change::Ended { owner, failure: failure(FailureReason::CallEnded), release: true };
        store.record(&[update(one, 1, by(ANOTHER))]).await.unwrap();
        assert!(is_pending(&store, one).await);
        store.record(&[update(one, 2, by(OWNER))]).await.unwrap();
        assert_eq!(ended(&store, id(1)).await, (1, failed(FailureReason::CallEnded)));
    });
}

#[test]
fn the_whole_number_is_kept_where_it_is_given() {
    on_every_store(async |open| {
        let store = open();
        let whole = StoredNumber { full: Some("+14255551212x7".into()), ..number(1) };
        assert_eq!(begin(&store, &new(attempt(1, 1), whole)).await, Begun::New);
        assert_eq!(begin(&store, &new(attempt(2, 1), number(2))).await, Begun::New);
        let full: Vec<_> = all_rows(&store).await.into_iter().map(|row| row.full_number).collect();
        assert_eq!(full, [Some("+14255551212x7".into()), None]);
    });
}

/// The time of a lease passes, in which another node does what nodes do.
async fn a_lease_runs_out(open: &Open) {
    let store = open();
    for _ in 0..7 {
        store.renew(Owner(Uuid::from_u128(99))).await.unwrap();
        tokio::time::sleep(LEASE / 6).await;
    }
}

async fn take_up(store: &Arc<dyn CallStore>, owner: Owner, most: usize) -> Vec<Attempt> {
    store.take_up(owner, most).await.unwrap().into_iter().map(|orphan| orphan.attempt).collect()
}

#[test]
fn calls_of_an_owner_that_is_gone_are_taken_up_with_all_that_is_known_of_them() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        for n in [1, 2, 3] {
            assert_eq!(begin(&store, &new(attempt(n, 1), number(n))).await, Begun::New);
        }
        store.record(&[update(attempt(1, 1), 1, placed("CA1"))]).await.unwrap();
        assert!(store.end(&end(attempt(3, 1), Outcome::Verified)).await.unwrap());
        assert_eq!(take_up(&another, ANOTHER, 10).await, [], "its lease has only begun");
        a_lease_runs_out(open).await;
        let mut orphans = another.take_up(ANOTHER, 10).await.unwrap();
        orphans.sort_by_key(|orphan| orphan.attempt.id);
        let orphan = |n, placed: Option<&str>, left| Orphan {
            attempt: attempt(n, 1),
            number: number(n).key,
            masked: "+1******1212".into(),
            left,
            started: at(0),
            placed: placed.map(|reference| ("trunk".into(), Reference::new(reference))),
        };
        let left: Vec<_> = orphans.iter().map(|orphan| orphan.left).collect();
        assert!(left.iter().all(|&left| left <= LONG - LEASE && left > Duration::from_secs(20)), "{left:?}");
        assert_eq!(orphans, [orphan(1, Some("CA1"), left[0]), orphan(2, None, left[1])]);
        assert_eq!(take_up(&another, ANOTHER, 10).await, [], "once");
        assert_eq!(take_up(&open(), A_THIRD, 10).await, [], "the new owner is alive");
        assert!(!store.end(&end(attempt(1, 1), Outcome::Verified)).await.unwrap(), "the old one has no say");
        assert!(another.end(&End { owner: ANOTHER, ..end(attempt(1, 1), Outcome::Verified) }).await.unwrap());
        // And of that one, in its turn.
        a_lease_runs_out(open).await;
        assert_eq!(take_up(&another, A_THIRD, 10).await, [attempt(2, 1)]);
    });
}

#[test]
fn calls_of_an_owner_that_renews_its_lease_stay_its_own() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        let gone = NewAttempt { owner: A_THIRD, ..new(attempt(2, 1), number(2)) };
        assert_eq!(begin(&store, &new(attempt(1, 1), number(1))).await, Begun::New);
        assert_eq!(begin(&store, &gone).await, Begun::New);
        for _ in 0..5 {
            tokio::time::sleep(LEASE / 3).await;
            store.renew(OWNER).await.unwrap();
        }
        assert_eq!(take_up(&another, ANOTHER, 10).await, [attempt(2, 1)]);
        assert!(store.end(&end(attempt(1, 1), Outcome::Verified)).await.unwrap());
    });
}

#[test]
fn a_call_is_taken_up_by_one_owner_and_not_too_many_at_once() {
    on_every_store(async |open| {
        let store = open();
        for n in 1..=20 {
            assert_eq!(begin(&store, &new(attempt(n, 1), number(n))).await, Begun::New);
        }
        a_lease_runs_out(open).await;
        assert_eq!(take_up(&store, OWNER, 10).await, [], "its own are no orphans, however late it is");
        a_lease_runs_out(open).await;
        assert_eq!(take_up(&store, ANOTHER, 0).await, []);
        let mut takers = JoinSet::new();
        for n in 10..14 {
            let (store, owner) = (open(), Owner(Uuid::from_u128(n)));
            takers.spawn(async move {
                let mut mine = Vec::new();
                for _ in 0..5 {
                    let taken = take_up(&store, owner, 3).await;
                    assert!(taken.len() <= 3, "{taken:?}");
                    mine.extend(taken);
                }
                mine
            });
        }
        let mut taken: Vec<_> = takers.join_all().await.into_iter().flatten().map(|taken| taken.id).collect();
        taken.sort();
        assert_eq!(taken, (1..=20).map(id).collect::<Vec<_>>());
    });
}

#[test]
fn the_audit_answers_what_it_is_asked() {
    on_every_store(async |open| {
        let store = open();
        let numbers = [number(1), extension(1, 7), number(2), number(3)];
        for (n, number) in (1..).zip(numbers) {
            let started = at(n as u64 * 1000);
            assert_eq!(begin(&store, &NewAttempt { started, ..new(attempt(n, 1), number) }).await, Begun::New);
        }
        assert!(store.end(&end(attempt(1, 1), Outcome::Verified)).await.unwrap());
        assert!(store.end(&end(attempt(2, 1), failed(FailureReason::WrongKey))).await.unwrap());
        assert!(store.end(&end(attempt(3, 1), failed(FailureReason::NoKeyPressed))).await.unwrap());
        let again = NewAttempt { started: at(5000), ..new(attempt(1, 2), number(1)) };
        assert_eq!(begin(&store, &again).await, Begun::New);
        let rows = all_rows(&store).await;
        assert!(rows.is_sorted_by_key(|row| row.sequence));
        let ask = async |query: Query| -> Vec<(CallId, u64)> {
            let rows = open().rows(&query).await.unwrap();
            rows.into_iter().map(|row| (row.attempt.id, row.attempt.generation)).collect()
        };
        let all = || Query { most: 100, ..Query::default() };
        let (one, two, three, four, five) = ((id(1), 1), (id(2), 1), (id(3), 1), (id(4), 1), (id(1), 2));
        assert_eq!(ask(all()).await, [one, two, three, four, five]);
        assert_eq!(ask(Query { newest_first: true, ..all() }).await, [five, four, three, two, one]);
        assert_eq!(ask(Query { most: 2, ..all() }).await, [one, two]);
        assert_eq!(ask(Query { most: 2, newest_first: true, ..all() }).await, [five, four]);
        assert_eq!(ask(Query { most: 0, ..all() }).await, []);
        assert_eq!(ask(Query { since: Some(at(2000)), until: Some(at(4000)), ..all() }).await, [two, three]);
        assert_eq!(ask(Query { id: Some(id(1)), ..all() }).await, [one, five]);
        assert_eq!(ask(Query { id: Some(id(1)), newest_first: true, most: 1, ..all() }).await, [five]);
        assert_eq!(ask(Query { id: Some(id(9)), ..all() }).await, []);
        assert_eq!(ask(Query { number: Some(number(1).key), ..all() }).await, [one, two, five], "a line");
        assert_eq!(ask(Query { number: Some(extension(1, 7).key), ..all() }).await, [two]);
        assert_eq!(ask(Query { reason: Some(FailureReason::NoKeyPressed), ..all() }).await, [three]);
        assert_eq!(ask(Query { after: rows[2].sequence, ..all() }).await, [four, five]);
        assert_eq!(ask(Query { after: rows[4].sequence, ..all() }).await, []);
    });
}

#[test]
fn a_long_audit_is_read_whole() {
    on_every_store(async |open| {
        let store = open();
        let updates: Vec<_> = (1..=1203).map(|n| update(attempt(n, 1), n as u64, refused(None))).collect();
        store.record(&updates).await.unwrap();
        let ids = async |newest_first| -> Vec<CallId> {
            let rows = store.rows(&Query { most: 2000, newest_first, ..Query::default() }).await.unwrap();
            rows.into_iter().map(|row| row.attempt.id).collect()
        };
        assert_eq!(ids(false).await, (1..=1203).map(id).collect::<Vec<_>>());
        assert_eq!(ids(true).await, (1..=1203).rev().map(id).collect::<Vec<_>>());
    });
}

#[test]
fn old_calls_are_forgotten_and_pending_ones_are_not() {
    on_every_store(async |open| {
        let store = open();
        for (n, generation) in [(1, 1), (2, 1), (3, 1)] {
            assert_eq!(begin(&store, &new(attempt(n, generation), number(n))).await, Begun::New);
            store.record(&[update(attempt(n, generation), 1, step("ringing"))]).await.unwrap();
        }
        assert!(store.end(&end(attempt(1, 1), Outcome::Verified)).await.unwrap());
        assert!(store.end(&End { release: false, ..end(attempt(2, 1), Outcome::Verified) }).await.unwrap());
        assert_eq!(begin(&store, &new(attempt(1, 2), number(1))).await, Begun::New);
        store.sweep(LONG).await.unwrap();
        assert_eq!(all_rows(&store).await.len(), 4);
        tokio::time::sleep(Duration::from_millis(1100)).await;
        store.sweep(Duration::from_secs(1)).await.unwrap();
        let rows = all_rows(&open()).await;
        let left: Vec<_> = rows.iter().map(|row| (row.attempt.id, row.attempt.generation)).collect();
        assert_eq!(left, [(id(3), 1), (id(1), 2)]);
        assert!(is_pending(&store, attempt(1, 2)).await);
        assert_eq!(store.find(id(2)).await, Ok(None));
        assert_eq!(store.steps(attempt(2, 1)).await, Ok(vec![]));
        assert_eq!(store.steps(attempt(3, 1)).await.unwrap().len(), 1);
        assert_eq!(begin(&store, &new(attempt(2, 1), number(2))).await, Begun::New, "nothing is left of it");
    });
}

#[test]
fn a_new_store_says_what_it_is_and_is_empty() {
    on_every_store(async |open| {
        let store = open();
        assert!(!store.check().await.unwrap().is_empty());
        assert_eq!(all_rows(&store).await, []);
    });
}
