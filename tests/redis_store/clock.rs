//! The clock of Redis, which an administrator may set (S10).

use super::*;
use crate::support::approval::verified;

/// Milliseconds by the clock of this machine, which is the server's, too.
fn since_1970() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_behind_and_is_right_again_lifts_no_limit() {
    let redis = Redis::start();
    let store = open(&redis.url());
    let limits = Limits { calls_per_number: 1, per_number_window: Duration::from_secs(600), ..NO_LIMITS };
    assert_eq!(store.begin(&new(1), &limits).await, Ok(Begun::New));
    assert!(store.end(&end(1, verified())).await.unwrap().is_done());
    // As if the server's clock had been set back by an hour after that.
    redis.cli(&["HSET", "{phonegate}:clock", "wall", &(since_1970() - 3_600_000).to_string()]);
    let again = NewAttempt { attempt: Attempt { id: id(2), generation: 1 }, ..new(1) };
    let refused = store.begin(&again, &limits).await;
    assert!(
        matches!(refused, Ok(Begun::Refused(Refusal::Limit { limit: CallLimit::CallsPerNumber, .. }))),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_moves_back_lifts_no_limit_and_stops_no_time() {
    let redis = Redis::start();
    let store = open(&redis.url());
    let window = Duration::from_secs(3);
    let limits = Limits { calls_per_number: 1, per_number_window: window, ..NO_LIMITS };
    // The server's clock was an hour ahead until now.
    let ahead = (since_1970() + 3_600_000).to_string();
    redis.cli(&["HSET", "{phonegate}:clock", "last", &ahead, "wall", &ahead]);
    assert_eq!(store.begin(&new(1), &limits).await, Ok(Begun::New));
    assert!(store.end(&end(1, verified())).await.unwrap().is_done());
    let again = NewAttempt { attempt: Attempt { id: id(2), generation: 1 }, ..new(1) };
    let start = Instant::now();
    let mut refusals = 0;
    while store.begin(&again, &limits).await != Ok(Begun::New) {
        refusals += 1;
        assert!(start.elapsed() < support::EVENT_TIMEOUT, "time stands still");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(refusals > 0, "the limit still held");
    let block = Block {
        number: new(9).number.hash,
        scope: BlockScope::Line,
        masked: "+1******1212".into(),
        reason: "fraud".into(),
        since: SystemTime::now(),
        until: Some(SystemTime::now() + Duration::from_secs(60)),
    };
    store.block(&block).await.unwrap();
    assert_eq!(store.blocks().await.unwrap().len(), 1);
}

/// Returns how long ago call n ended, or the time left until its deadline.
async fn span_of(store: &RedisStore, n: u128) -> Duration {
    match store.find(id(n)).await.unwrap().unwrap().state {
        AttemptState::Ended { ago, .. } => ago,
        AttemptState::Pending { left, .. } => left,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_clock_that_was_set_back_gives_no_more_time() {
    let redis = Redis::start();
    let store = open(&redis.url());
    for n in [1, 2] {
        assert_eq!(begin(&store, n).await, Ok(Begun::New));
    }
    assert!(store.end(&end(1, verified())).await.unwrap().is_done());
    assert!(span_of(&store, 1).await < LEASE * 6 && span_of(&store, 2).await > LEASE);
    // As if the server had come back with its clock an hour behind: it is not known how long it was away.
    redis.cli(&["HSET", "{phonegate}:clock", "wall", &(since_1970() + 3_600_000).to_string()]);
    for _ in 0..2 {
        assert_eq!((span_of(&store, 1).await, span_of(&store, 2).await), (Duration::MAX, Duration::ZERO));
        // The age of a call that begins from now on is known.
        assert_eq!(begin(&store, 3).await, Ok(Begun::New));
    }
    assert!(span_of(&store, 3).await > LEASE);
    for _ in 0..7 {
        store.renew(ANOTHER).await.unwrap();
        tokio::time::sleep(LEASE / 6).await;
    }
    let left: Vec<_> = store.claim_orphans(ANOTHER, 9).await.unwrap().into_iter().map(|orphan| orphan.left).collect();
    assert!(left.contains(&Duration::ZERO) && left.iter().any(|left| *left > LEASE), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_with_a_time_in_the_future_stops_no_sweep() {
    let redis = Redis::start();
    let store = open(&redis.url());
    let ahead = SystemTime::now() + Duration::from_secs(86_400 * 365);
    for n in 1..=3 {
        assert_eq!(begin(&store, n).await, Ok(Begun::New));
        let at = if n == 1 { ahead } else { SystemTime::now() };
        assert!(store.end(&EndRequest { at, ..end(n, verified()) }).await.unwrap().is_done());
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    store.sweep(Duration::from_millis(10)).await.unwrap();
    let kept = store.rows(&Query { limit: 9, ..Query::default() }).await.unwrap();
    assert_eq!(kept.into_iter().map(|row| row.attempt.id).collect::<Vec<_>>(), [id(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_clock_that_stood_still_gives_no_more_time() {
    let redis = Redis::start();
    let store = open(&redis.url());
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    for n in [1, 2] {
        let new = NewAttempt { started: an_hour_ago, ..new(n) };
        assert_eq!(store.begin(&new, &NO_LIMITS).await, Ok(Begun::New));
    }
    assert!(store.end(&EndRequest { at: an_hour_ago, ..end(1, verified()) }).await.unwrap().is_done());
    assert!(span_of(&store, 1).await > Duration::from_secs(3000));
    assert_eq!(span_of(&store, 2).await, Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn ages_from_before_a_clock_catches_up_unused_are_unknown() {
    let redis = Redis::start();
    let store = open(&redis.url());
    // The server's clock was set back by an hour, and then a call is verified.
    let ahead = (since_1970() + 3_600_000).to_string();
    redis.cli(&["HSET", "{phonegate}:clock", "last", &ahead, "wall", &ahead]);
    assert_eq!(begin(&store, 1).await, Ok(Begun::New));
    assert!(store.end(&end(1, verified())).await.unwrap().is_done());
    assert!(span_of(&store, 1).await < LEASE * 6);
    // As if no node had been running for ten minutes.
    redis.cli(&["HSET", "{phonegate}:clock", "wall", &(since_1970() - 600_000).to_string()]);
    assert_eq!(span_of(&store, 1).await, Duration::MAX);
}
