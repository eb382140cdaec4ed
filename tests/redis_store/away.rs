//! Redis is unreachable for a while, is full (S20), or has lost something.

use futures_util::FutureExt;
use phonegate::store::{AlertAdded, AlertStore, QueuedAlert, RecordKind};

use super::*;
use crate::support::approval::verified;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_reported_and_used_again() {
    let mut redis = Redis::start();
    let store = open(&redis.url());
    begin_at_last(&store, 1).await;
    redis.kill();
    for n in 2..5 {
        problem(begin(&store, n).await);
    }
    problem(store.find(id(1)).await);
    problem(store.check().await);
    redis.restart();
    begin_at_last(&store, 5).await;
    // Its data and its scripts are there again.
    let rows = store.rows(&Query { limit: 10, ..Query::default() }).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.attempt.id).collect::<Vec<_>>(), [id(1), id(5)]);
    redis.cli(&["SCRIPT", "FLUSH"]);
    assert_eq!(begin(&store, 6).await, Ok(Begun::New));
    // A restart while no operation ran is not noticed.
    redis.kill();
    redis.restart();
    assert_eq!(begin(&store, 7).await, Ok(Begun::New));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_is_reported_and_used_again() {
    let redis = Redis::start();
    let store = open(&redis.url());
    begin_at_last(&store, 1).await;
    redis.pause();
    problem(is_answered(store.renew(OWNER)).await);
    problem(is_answered(store.find(id(1))).await);
    // Many at once do not wait for each other: one after the other they would wait for minutes.
    let answers = (2..200).map(|n| begin(&store, n));
    for answer in futures_util::future::join_all(answers).await {
        problem(answer);
    }
    // All operations were answered while the server was paused.
    redis.resume();
    begin_at_last(&store, 300).await;
    assert!(store.end(&end(300, verified())).await.unwrap().is_done());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_withdrawn_while_redis_stood_still_never_begins() {
    let redis = Redis::start();
    let store = open(&redis.url());
    begin_at_last(&store, 1).await;
    redis.pause();
    problem(begin(&store, 2).await);
    redis.resume();
    let failure = Failure::new(FailureReason::CannotPlace, "The store was away.");
    let refused = AttemptChange::Refused { number: Some(new(2).number), node: "web1".into(), failure: failure.clone() };
    let update = RecordedChange { attempt: new(2).attempt, at: SystemTime::UNIX_EPOCH, change: refused };
    let start = Instant::now();
    while let Err(error) = store.record(std::slice::from_ref(&update)).await {
        assert!(start.elapsed() < support::EVENT_TIMEOUT, "{error}");
    }
    // Whichever came first, the number is released and nothing is pending.
    let again = NewAttempt { attempt: Attempt { id: id(3), generation: 1 }, ..new(2) };
    assert_eq!(store.begin(&again, &NO_LIMITS).await, Ok(Begun::New));
    assert!(!store.end(&end(2, verified())).await.unwrap().is_done());
}

/// Waits until a lease has expired, while a node writes as nodes do.
async fn a_lease_expires(node: &RedisStore) {
    for _ in 0..7 {
        node.renew(ANOTHER).await.unwrap();
        tokio::time::sleep(LEASE / 6).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_lease_expires_while_redis_is_away() {
    let redis = Redis::start();
    let (store, another) = (open(&redis.url()), open(&redis.url()));
    begin_at_last(&store, 1).await;
    redis.pause();
    tokio::time::sleep(LEASE + Duration::from_secs(1)).await;
    problem(another.claim_orphans(ANOTHER, 10).await);
    redis.resume();
    let start = Instant::now();
    let taken = loop {
        match another.claim_orphans(ANOTHER, 10).await {
            Ok(taken) => break taken,
            Err(error) => assert!(start.elapsed() < support::EVENT_TIMEOUT, "{error}"),
        }
    };
    assert_eq!(taken, [], "its owner could not renew its lease");
    a_lease_expires(&another).await;
    assert_eq!(another.claim_orphans(ANOTHER, 10).await.unwrap().len(), 1, "now it could have");
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_whose_answer_was_lost_are_returned_again() {
    let redis = Redis::start();
    let (store, another) = (open(&redis.url()), open(&redis.url()));
    begin_at_last(&store, 1).await;
    let placed = AttemptChange::Placed { backend: "trunk".into(), reference: CallRef::new("CA1"), attempts: None };
    let update = RecordedChange { attempt: new(1).attempt, at: SystemTime::UNIX_EPOCH, change: placed };
    store.record(&[update]).await.unwrap();
    assert_eq!(another.claim_orphans(ANOTHER, 10).await, Ok(vec![]));
    a_lease_expires(&another).await;
    // Redis runs the script when it continues, but its answer is lost.
    redis.pause();
    problem(another.claim_orphans(ANOTHER, 10).await);
    redis.resume();
    support::wait_until("the call has its new owner", || {
        let kept = redis.cli(&["GET", "{phonegate}:attempt:1"]);
        kept.contains(&ANOTHER.0.as_simple().to_string())
    });
    let start = Instant::now();
    let orphans = loop {
        match another.claim_orphans(ANOTHER, 10).await {
            Ok(orphans) => break orphans,
            Err(error) => assert!(start.elapsed() < support::EVENT_TIMEOUT, "{error}"),
        }
    };
    assert_eq!(orphans.iter().map(|orphan| orphan.attempt).collect::<Vec<_>>(), [new(1).attempt]);
    assert_eq!(another.claim_orphans(ANOTHER, 10).await, Ok(vec![]), "it has got them now");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_call_stops_no_other_claim() {
    let redis = Redis::start();
    let (store, another) = (open(&redis.url()), open(&redis.url()));
    for n in 1..=3 {
        begin_at_last(&store, n).await;
    }
    redis.cli(&["DEL", "{phonegate}:attempt:2"]);
    a_lease_expires(&another).await;
    let orphans = another.claim_orphans(ANOTHER, 10).await.unwrap();
    let ids: Vec<_> = orphans.iter().map(|orphan| orphan.attempt.id).collect();
    assert_eq!(ids, [id(1), id(3)]);
    assert_eq!(another.find(id(2)).await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_call_stops_no_other_claim() {
    let redis = Redis::start();
    let (store, another) = (open(&redis.url()), open(&redis.url()));
    for n in 1..=3 {
        begin_at_last(&store, n).await;
    }
    let mut strange: serde_json::Value = serde_json::from_str(&redis.cli(&["GET", "{phonegate}:attempt:2"])).unwrap();
    strange["number_hash"] = "strange".into();
    redis.cli(&["SET", "{phonegate}:attempt:2", &strange.to_string()]);
    a_lease_expires(&another).await;
    let orphans = another.claim_orphans(ANOTHER, 10).await.unwrap();
    let ids: Vec<_> = orphans.iter().map(|orphan| orphan.attempt.id).collect();
    assert_eq!(ids, [id(1), id(3)]);
    assert_eq!(another.claim_orphans(ANOTHER, 10).await, Ok(vec![]), "they are claimed once");
    assert_eq!([&store, &another].map(|store| store.unreadable().of(RecordKind::Attempt)), [0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_alert_stops_no_other_delivery() {
    let redis = Redis::start();
    let store = open(&redis.url());
    begin_at_last(&store, 1).await;
    let destination = || Box::<str>::from("mail");
    for n in 1..=4 {
        let (about, content) = (format!("fraud:{n}").into(), "{}".into());
        let (raised_at, is_urgent) = (SystemTime::UNIX_EPOCH, n == 1);
        let id = Uuid::from_u128(n);
        let alert = QueuedAlert { id, destination: destination(), about, raised_at, content, is_urgent };
        assert_eq!(store.add_alert(&alert).await, Ok(AlertAdded::New));
    }
    for lost in [1, 2, 3] {
        redis.cli(&["HDEL", "{phonegate}:alerts", &Uuid::from_u128(lost).to_string()]);
    }
    // As if the last two had waited for too long.
    for old in [3, 4] {
        redis.cli(&["ZADD", "{phonegate}:alerts_waiting", "1", &Uuid::from_u128(old).to_string()]);
    }
    let claimed = store.claim_alerts(OWNER, &[destination()], 1).await.unwrap();
    assert_eq!(claimed.iter().map(|alert| alert.id).collect::<Vec<_>>(), [Uuid::from_u128(4)]);
    store.sweep(Duration::from_secs(1)).await.unwrap();
    let listed = store.alerts().await.unwrap();
    assert!(listed.len() == 1 && listed[0].is_given_up, "{listed:?}");
    assert_eq!(redis.cli(&["ZCARD", "{phonegate}:alerts_waiting"]).trim(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_gives_up_alerts_when_memory_is_full() {
    let redis = Redis::start();
    let store = open(&redis.url());
    begin_at_last(&store, 1).await;
    let alert = QueuedAlert {
        id: Uuid::from_u128(1),
        destination: "mail".into(),
        about: "fraud:1".into(),
        raised_at: SystemTime::UNIX_EPOCH,
        content: "{}".into(),
        is_urgent: true,
    };
    assert_eq!(store.add_alert(&alert).await, Ok(AlertAdded::New));
    redis.cli(&["ZADD", "{phonegate}:alerts_waiting", "1", &alert.id.to_string()]);
    redis.cli(&["CONFIG", "SET", "maxmemory", "100kb"]);
    store.sweep(Duration::from_secs(1)).await.unwrap();
    assert!(store.alerts().await.unwrap()[0].is_given_up);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_full_memory_refuses_calls_and_can_be_swept() {
    let redis = Redis::start();
    let store = open(&redis.url());
    let block = Block {
        number: new(9).number.hash,
        scope: BlockScope::Line,
        masked: "+1******1212".into(),
        reason: "stolen".into(),
        since: SystemTime::now(),
        until: None,
    };
    store.block(&block).await.unwrap();
    begin_at_last(&store, 1).await;
    assert!(store.end(&end(1, verified())).await.unwrap().is_done());
    redis.cli(&["CONFIG", "SET", "maxmemory", "100kb"]);
    for refused in [problem(begin(&store, 2).await), problem(store.check().await)] {
        assert!(refused.contains("OOM"), "{refused}");
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    store.sweep(Duration::from_millis(1)).await.unwrap();
    assert_eq!(store.find(id(1)).await, Ok(None));
    assert!(store.unblock(block.number).await.unwrap());
    redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    begin_at_last(&store, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_behind_too_many_others_is_refused_at_once() {
    let redis = Redis::start();
    let store = std::sync::Arc::new(open(&redis.url()));
    redis.pause();
    let mut begins = tokio::task::JoinSet::new();
    let mut ids = 1..;
    // Those that wait give up after a while, so there are always more.
    let (refused, error) = loop {
        let (n, store) = (ids.next().unwrap(), std::sync::Arc::clone(&store));
        let mut begun = Box::pin(async move { begin(&store, n).await });
        match begun.as_mut().now_or_never() {
            Some(Err(error)) if error.kind() == StoreErrorKind::Busy => break (n, error),
            Some(Err(error)) if error.kind() == StoreErrorKind::Unavailable => {}
            Some(other) => panic!("{other:?} from a server that stands still"),
            None => drop(begins.spawn(begun)),
        }
        assert!(n < 100_000, "there is no end to what may wait");
    };
    assert_eq!(error.detail(), "4096 calls are already waiting to begin");
    redis.resume();
    // This holds however many of them were answered in time.
    for begun in begins.join_all().await {
        // A server that continues may answer some of the waiting calls too late, which is another refusal.
        assert_ne!(begun, Err(error.clone()), "it waited before it was refused");
    }
    assert_eq!(store.find(id(refused)).await, Ok(None));
    let after = begin(&store, 20_000).await;
    assert_ne!(after, Err(error), "there is room again");
}
