//! Limits (S12), denials (S13) and used approvals (S16) in Redis.

use phonegate::call::Country;
use phonegate::store::{DenialLimits, LimitStore, Usage};

use super::*;
use crate::support::approval::verified;

const DAY: u64 = 86_400_000;
const BUCKET: u64 = 600_000;

/// Locks at the first denial, for an hour.
const AT_ONCE: DenialLimits =
    DenialLimits { count: 1, window: Duration::from_secs(3600), lock: Duration::from_secs(3600) };

pub fn denied(n: u128) -> EndRequest {
    let failure = Failure::new(FailureReason::WrongKey, "It was wrong.");
    EndRequest { denials: AT_ONCE, ..end(n, Outcome::Failed(failure)) }
}

pub fn to_latvia(n: u128) -> NewAttempt {
    let new = new(n);
    NewAttempt { number: StoredNumber { country: Country::parse("LV"), ..new.number }, ..new }
}

/// Call `n` to the number of call `to`.
fn again(n: u128, to: u128) -> NewAttempt {
    NewAttempt { attempt: new(n).attempt, ..new(to) }
}

/// Which limit refuses a call, and for how long.
fn refusal(begun: Result<Begun, StoreError>) -> (CallLimit, Duration) {
    match begun {
        Ok(Begun::Refused(Refusal::Limit { limit, after })) => (limit, after),
        other => panic!("{other:?}"),
    }
}

/// Milliseconds by the server's clock.
fn now(redis: &Redis) -> u64 {
    let time = redis.cli(&["TIME"]);
    let mut parts = time.lines().map(|part| part.trim().parse::<u64>().unwrap());
    parts.next().unwrap() * 1000 + parts.next().unwrap() / 1000
}

fn fields(redis: &Redis, key: &str) -> usize {
    redis.cli(&["HLEN", key]).trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_counts_until_a_day_after_its_end() {
    let redis = Redis::start();
    let store = open(&redis.url());
    loop {
        let first_counted = (now(&redis) - DAY) / BUCKET;
        redis.cli(&["DEL", "{phonegate}:day"]);
        for (bucket, calls) in [(first_counted - 1, "7"), (first_counted, "1"), (first_counted + 144, "3")] {
            redis.cli(&["HSET", "{phonegate}:day", &bucket.to_string(), calls]);
        }
        let usage = store.usage().await;
        // The answer counts only if no bucket has passed meanwhile.
        if (now(&redis) - DAY) / BUCKET == first_counted {
            break assert_eq!(usage, Ok(Usage { day: 4, by_country: vec![] }));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cap_of_a_day_admits_a_call_when_a_bucket_has_passed() {
    let redis = Redis::start();
    let store = open(&redis.url());
    let limits = Limits { calls_per_day: Some(3), ..NO_LIMITS };
    let first_counted = (now(&redis) - DAY) / BUCKET;
    for (bucket, calls) in [(first_counted - 1, "7"), (first_counted + 1, "1"), (first_counted + 2, "1")] {
        redis.cli(&["HSET", "{phonegate}:day", &bucket.to_string(), calls]);
    }
    assert_eq!(store.usage().await, Ok(Usage { day: 2, by_country: vec![] }));
    assert_eq!(store.begin(&new(1), &limits).await, Ok(Begun::New));
    assert_eq!(fields(&redis, "{phonegate}:day"), 3, "what has passed is removed");
    let (limit, after) = refusal(store.begin(&new(2), &limits).await);
    let expected = (first_counted + 2) * BUCKET + DAY - now(&redis);
    assert_eq!(limit, CallLimit::CallsPerDay);
    assert!(after >= Duration::from_millis(expected), "{after:?}, {expected}");
    assert!(after <= Duration::from_millis(expected + 60_000), "{after:?}, {expected}");
    // After the limit was lowered, the wait is longer: more calls must leave the window.
    let (_, longer) = refusal(store.begin(&new(2), &Limits { calls_per_day: Some(2), ..NO_LIMITS }).await);
    assert!(longer > after + Duration::from_millis(BUCKET - 60_000), "{longer:?} after {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_has_at_most_145_buckets() {
    let redis = Redis::start();
    let store = open(&redis.url());
    let this = now(&redis) / BUCKET;
    for key in ["{phonegate}:day", "{phonegate}:country:LV"] {
        let buckets: Vec<_> = (this - 500..this).flat_map(|bucket| [bucket.to_string(), "2".to_owned()]).collect();
        redis.cli(&[&["HSET", key], &buckets.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
    }
    assert_eq!(store.begin(&to_latvia(1), &NO_LIMITS).await, Ok(Begun::New));
    for key in ["{phonegate}:day", "{phonegate}:country:LV"] {
        let left = fields(&redis, key);
        assert!((144..=145).contains(&left), "{left}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_counter_of_a_number_expires() {
    let redis = Redis::start();
    let store = open(&redis.url());
    assert_eq!(store.begin(&to_latvia(1), &NO_LIMITS).await, Ok(Begun::New));
    let number = new(1).number.hash;
    for key in [
        format!("number:{number}"),
        format!("line:{number}"),
        format!("pending_line:{number}"),
        "country:LV".into(),
        "day".into(),
    ] {
        let left: u64 = redis.cli(&["PTTL", &format!("{{phonegate}}:{key}")]).trim().parse().unwrap();
        assert!(left > DAY, "{key}: {left}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_given_up_late_leaves_no_negative_bucket() {
    let redis = Redis::start();
    let store = open(&redis.url());
    assert_eq!(store.begin(&to_latvia(1), &NO_LIMITS).await, Ok(Begun::New));
    redis.cli(&["DEL", "{phonegate}:day"]);
    let failure = Failure::new(FailureReason::Throttled, "It came late.");
    let change = AttemptChange::Refused { number: Some(to_latvia(1).number), node: "web1".into(), failure };
    store.record(&[RecordedChange { attempt: new(1).attempt, at: SystemTime::now(), change }]).await.unwrap();
    assert_eq!(store.usage().await, Ok(Usage::default()));
    assert_eq!(redis.cli(&["EXISTS", "{phonegate}:day", "{phonegate}:country:LV"]).trim(), "0");
}

/// Moves the store's record of the clock, as if the server's clock had been set by `by` ms.
fn set_clock(redis: &Redis, by: i64) {
    let wall: i64 = redis.cli(&["HGET", "{phonegate}:clock", "wall"]).trim().parse().unwrap();
    redis.cli(&["HSET", "{phonegate}:clock", "wall", &(wall - by).to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_shortens_no_lock() {
    let redis = Redis::start();
    let store = open(&redis.url());
    assert_eq!(begin(&store, 1).await, Ok(Begun::New));
    assert!(store.end(&denied(1)).await.unwrap().is_done());
    let (limit, before) = refusal(store.begin(&again(2, 1), &NO_LIMITS).await);
    assert_eq!(limit, CallLimit::Denials);
    for _ in 0..3 {
        set_clock(&redis, -7_200_000);
        let (limit, after) = refusal(store.begin(&again(2, 1), &NO_LIMITS).await);
        assert_eq!(limit, CallLimit::Denials);
        assert!(after <= before && after > before - Duration::from_secs(60), "{before:?}, then {after:?}");
    }
    // Then the clock is corrected: the lock lasts longer by the time for which the clock was wrong, and is never
    // shorter.
    set_clock(&redis, 3 * 7_200_000);
    let (limit, after) = refusal(store.begin(&again(2, 1), &NO_LIMITS).await);
    assert_eq!(limit, CallLimit::Denials);
    assert!(after > before - Duration::from_secs(60), "{before:?}, then {after:?}");
    let [lock] = &store.locks().await.unwrap()[..] else { panic!("one lock") };
    assert!(lock.until > SystemTime::now() + before - Duration::from_secs(60), "{lock:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_frees_no_daily_cap() {
    let redis = Redis::start();
    let store = open(&redis.url());
    let limits = Limits {
        calls_per_day: Some(1),
        country_per_day: Some(1),
        calls_per_number_per_day: 1,
        line_per_minute: 1,
        ..NO_LIMITS
    };
    assert_eq!(store.begin(&to_latvia(1), &limits).await, Ok(Begun::New));
    assert!(store.end(&end(1, verified())).await.unwrap().is_done());
    for by in [-7_200_000, -40 * 86_400_000, 40 * 86_400_000 + 7_200_000] {
        set_clock(&redis, by);
        let mut refused = Vec::new();
        for new in [again(2, 1), to_latvia(3), new(4)] {
            refused.push(refusal(store.begin(&new, &limits).await).0);
        }
        assert_eq!(refused, [CallLimit::CallsPerNumberPerDay, CallLimit::ByCountry, CallLimit::CallsPerDay], "{by}");
    }
    assert_eq!(store.usage().await.unwrap().day, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn denials_of_a_month_ago_are_swept() {
    let redis = Redis::start();
    let store = open(&redis.url());
    for n in [1, 2] {
        assert_eq!(begin(&store, n).await, Ok(Begun::New));
        assert!(store.end(&denied(n)).await.unwrap().is_done());
    }
    let number = new(1).number.hash.to_string();
    let record = format!("{{phonegate}}:denials:{number}");
    let age = |days: u64| {
        let last = (now(&redis) - days * DAY).to_string();
        redis.cli(&["ZADD", "{phonegate}:denied", &last, &number]);
    };
    age(29);
    store.sweep(Duration::from_secs(86_400)).await.unwrap();
    assert_eq!(redis.cli(&["EXISTS", &record]).trim(), "1");
    age(31);
    store.sweep(Duration::from_secs(86_400)).await.unwrap();
    assert_eq!(redis.cli(&["EXISTS", &record]).trim(), "0");
    assert_eq!(redis.cli(&["ZRANGE", "{phonegate}:denied", "0", "-1"]).trim(), new(2).number.hash.to_string());
}

/// They are read in pages of 500.
#[tokio::test(flavor = "multi_thread")]
async fn locks_of_many_numbers_are_all_listed() {
    const MANY: u128 = 1_203;
    let redis = Redis::start();
    let store = open(&redis.url());
    for some in (1..=MANY).collect::<Vec<_>>().chunks(100) {
        let locking = some.iter().map(|&n| {
            let store = &store;
            async move {
                assert_eq!(begin(store, n).await, Ok(Begun::New));
                assert!(store.end(&denied(n)).await.unwrap().is_done());
            }
        });
        futures_util::future::join_all(locking).await;
    }
    // More at one time than a page has.
    let last = now(&redis).to_string();
    let numbers: Vec<_> = (1..=701).map(|n| new(n).number.hash.to_string()).collect();
    let scores: Vec<_> = numbers.iter().flat_map(|number| [last.as_str(), number]).collect();
    redis.cli(&[&["ZADD", "{phonegate}:denied"], &scores[..]].concat());
    let locks = store.locks().await.unwrap();
    assert_eq!(locks.len(), MANY as usize);
    assert!(locks.is_sorted_by(|one, next| one.since >= next.since));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_not_used_up_in_a_master_without_replicas() {
    let redis = Redis::start();
    let store = open(&redis.url());
    assert_eq!(begin(&store, 1).await, Ok(Begun::New));
    assert!(store.end(&end(1, verified())).await.unwrap().is_done());
    assert_eq!(store.use_approval(new(1).attempt, OWNER).await, Ok(true));
    redis.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    for owner in [OWNER, ANOTHER] {
        let answer = store.use_approval(new(1).attempt, owner).await;
        problem(answer);
    }
    redis.cli(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    assert_eq!(store.use_approval(new(1).attempt, ANOTHER).await, Ok(false));
    assert_eq!(store.use_approval(new(1).attempt, OWNER).await, Ok(true));
}

/// A block from before blocks had a scope is in the field of the number.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_from_before_scopes_holds_for_the_line() {
    let redis = Redis::start();
    let store = open(&redis.url());
    let number = new(1).number.hash;
    let kept =
        json!({ "number_hash": number.to_string(), "masked": "+1******1212", "reason": "stolen", "since_at": 1000 });
    redis.cli(&["HSET", "{phonegate}:blocks", &number.to_string(), &kept.to_string()]);
    let extension = StoredNumber { hash: new(2).number.hash, ..new(1).number };
    let refused = store.begin(&NewAttempt { number: extension, ..new(2) }, &NO_LIMITS).await;
    assert!(matches!(refused, Ok(Begun::Refused(Refusal::Blocked { .. }))), "{refused:?}");
    assert_eq!(store.blocks().await.unwrap().iter().map(|block| block.scope).collect::<Vec<_>>(), [BlockScope::Line]);
    assert_eq!(store.unblock(number).await, Ok(true));
    assert_eq!(begin(&store, 1).await, Ok(Begun::New));
}

/// Without a sweep, too.
#[tokio::test(flavor = "multi_thread")]
async fn locks_of_a_month_ago_make_no_lock_longer() {
    let redis = Redis::start();
    let store = open(&redis.url());
    let record = format!("{{phonegate}}:denials:{}", new(1).number.hash);
    for (n, days_ago, hours) in [(1, 29, 1), (2, 31, 2), (3, 0, 1)] {
        assert_eq!(store.begin(&again(n, 1), &NO_LIMITS).await, Ok(Begun::New));
        assert!(store.end(&denied(n)).await.unwrap().is_done());
        let (_, after) = refusal(store.begin(&again(9, 1), &NO_LIMITS).await);
        let lock = Duration::from_secs(3600 * hours);
        assert!(after <= lock && after > lock - Duration::from_secs(60), "{after:?} of {lock:?}");
        let mut kept: serde_json::Value = serde_json::from_str(redis.cli(&["GET", &record]).trim()).unwrap();
        for time in ["last", "locked_from", "locked_until"] {
            kept[time] = json!(kept[time].as_u64().unwrap() - days_ago * DAY);
        }
        redis.cli(&["SET", &record, &kept.to_string()]);
    }
}
