//! Records that cannot be read: damaged, or of another version. They stop nothing but what depends on them.

use phonegate::store::{
    AlertAdded, AlertStore, Ended, LimitStore, NewPin, PepperFingerprint, PinLimits, PinStore, QueuedAlert, RecordKind,
    Usage,
};

use super::limits::denied;
use super::number_keys::keyed;
use super::*;
use crate::support::approval::verified;

/// Values that no record has, as Lua expressions.
const DAMAGES: [&str; 6] =
    ["'not JSON'", "'{}'", "'[]'", "'\"text\"'", "'\\255\\254'", "'{\"id\":5,\"sequence\":\"1\",\"begun\":\"x\"}'"];

/// Replaces the value of a key.
fn set(redis: &Redis, key: &str, value: &str) {
    redis.cli(&["EVAL", &format!("redis.call('SET', KEYS[1], {value})"), "1", &format!("{{phonegate}}:{key}")]);
}

/// Replaces a field of a hash.
fn set_field(redis: &Redis, key: &str, field: &str, value: &str) {
    let script = format!("redis.call('HSET', KEYS[1], ARGV[1], {value})");
    redis.cli(&["EVAL", &script, "1", &format!("{{phonegate}}:{key}"), field]);
}

/// The detail of a refusal.
fn refused<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    match answer {
        Err(error) if error.kind() == StoreErrorKind::Refused => error.detail().to_owned(),
        other => panic!("{other:?}"),
    }
}

fn pending(redis: &Redis) -> Vec<String> {
    let sequences = redis.cli(&["ZRANGE", "{phonegate}:pending", "0", "-1"]);
    sequences.split_whitespace().map(str::to_owned).collect()
}

async fn a_lease_expires(node: &RedisStore) {
    for _ in 0..7 {
        node.renew(ANOTHER).await.unwrap();
        tokio::time::sleep(LEASE / 6).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_calls_stop_no_claim_and_no_list() {
    let redis = Redis::start();
    let (store, another) = (open(&redis.url()), open(&redis.url()));
    let count = DAMAGES.len() as u128;
    for n in 1..=count + 2 {
        begin_at_last(&store, n).await;
    }
    for (n, damage) in (1..).zip(DAMAGES) {
        set(&redis, &format!("attempt:{n}"), damage);
    }
    // Of a type that is no text.
    redis.cli(&["DEL", &format!("{{phonegate}}:attempt:{}", count + 1)]);
    redis.cli(&["RPUSH", &format!("{{phonegate}}:attempt:{}", count + 1), "x"]);
    for newest_first in [false, true] {
        let rows = another.rows(&Query { limit: 1, newest_first, ..Query::default() }).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.attempt).collect::<Vec<_>>(), [new(count + 2).attempt]);
    }
    assert_eq!(another.unreadable().of(RecordKind::Attempt), DAMAGES.len(), "each is counted once");
    a_lease_expires(&another).await;
    let orphans = another.claim_orphans(ANOTHER, 1).await.unwrap();
    assert_eq!(orphans.iter().map(|orphan| orphan.attempt).collect::<Vec<_>>(), [new(count + 2).attempt]);
    assert_eq!(another.unreadable().of(RecordKind::Attempt), DAMAGES.len() + 1);
    assert_eq!(another.claim_orphans(ANOTHER, 10).await, Ok(vec![]), "they are claimed once");
    assert_eq!(pending(&redis).len(), DAMAGES.len() + 2, "they may be ringing, and count");
    for n in 1..=count {
        assert!(refused(another.find(id(n)).await).contains("a call cannot be read"), "{n}");
    }
    another.sweep(Duration::from_secs(86_400)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_call_delays_no_other_change() {
    let redis = Redis::start();
    let store = open(&redis.url());
    for damage in DAMAGES {
        redis.cli(&["FLUSHALL"]);
        for n in [1, 2] {
            begin_at_last(&store, n).await;
        }
        set(&redis, "attempt:1", damage);
        let ended = |n| {
            let failure = Failure::new(FailureReason::WrongKey, "It was wrong.");
            let change = AttemptChange::Ended { owner: OWNER, failure, release: true, denials: NO_LOCK };
            RecordedChange { attempt: new(n).attempt, at: SystemTime::now(), change }
        };
        assert_eq!(store.record(&[ended(1), ended(2)]).await, Ok(vec![]), "{damage}");
        let found = store.find(id(2)).await.unwrap().unwrap();
        assert!(matches!(found.state, AttemptState::Ended { .. }), "{damage}: {found:?}");
        // It is never approved, and nothing else begins with its id.
        assert_eq!(store.end(&end(1, verified())).await, Ok(Ended::No), "{damage}");
        assert_eq!(store.use_approval(new(1).attempt, OWNER).await, Ok(false), "{damage}");
        let again = NewAttempt { attempt: Attempt { generation: 2, ..new(1).attempt }, ..new(9) };
        assert!(refused(store.begin(&again, &NO_LIMITS).await).contains("a call"), "{damage}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_call_that_is_unreadable_is_not_used() {
    let redis = Redis::start();
    let store = open(&redis.url());
    for damage in DAMAGES {
        redis.cli(&["FLUSHALL"]);
        begin_at_last(&store, 1).await;
        assert!(store.end(&end(1, verified())).await.unwrap().is_done());
        set(&redis, "attempt:1", damage);
        assert_eq!(store.use_approval(new(1).attempt, OWNER).await, Ok(false), "{damage}");
        refused(store.find(id(1)).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_call_holds_its_number_until_it_is_over() {
    let redis = Redis::start();
    let store = open(&redis.url());
    let to_the_same = |n| NewAttempt { attempt: new(n).attempt, ..new(1) };
    begin_at_last(&store, 1).await;
    set(&redis, "attempt:1", DAMAGES[0]);
    assert_eq!(store.begin(&to_the_same(2), &NO_LIMITS).await, Ok(Begun::Refused(Refusal::InProgress)));
    // As if its deadline had passed long ago.
    redis.cli(&["ZADD", "{phonegate}:pending", "1", "1"]);
    a_lease_expires(&store).await;
    assert_eq!(store.claim_orphans(ANOTHER, 10).await, Ok(vec![]));
    assert_eq!(pending(&redis), [""; 0]);
    assert_eq!(store.begin(&to_the_same(2), &NO_LIMITS).await, Ok(Begun::Refused(Refusal::InProgress)));
    redis.cli(&["ZADD", "{phonegate}:ended", "1", "1"]);
    assert_eq!(store.begin(&to_the_same(2), &NO_LIMITS).await, Ok(Begun::New));
    store.sweep(Duration::from_secs(86_400)).await.unwrap();
    assert_eq!(redis.cli(&["EXISTS", "{phonegate}:attempt:1"]).trim(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_block_refuses_its_number_alone() {
    let redis = Redis::start();
    let store = open(&redis.url());
    let block = |n: u128| Block {
        number: new(n).number.hash,
        scope: BlockScope::Number,
        masked: "+1******1212".into(),
        reason: "stolen".into(),
        since: SystemTime::now(),
        until: None,
    };
    for n in [1, 2] {
        store.block(&block(n)).await.unwrap();
    }
    let field = format!("{}:number", new(1).number.hash);
    for damage in DAMAGES.into_iter().chain(["'{\"since_at\":1,\"until_at\":1}'"]) {
        set_field(&redis, "blocks", &field, damage);
        if !damage.contains("until_at") {
            assert!(refused(begin(&store, 1).await).contains("a block of the number"), "{damage}");
        }
        let listed = store.blocks().await.unwrap();
        assert_eq!(listed.iter().map(|block| block.number).collect::<Vec<_>>(), [new(2).number.hash], "{damage}");
        store.sweep(Duration::from_secs(86_400)).await.unwrap();
    }
    set_field(&redis, "blocks", &field, DAMAGES[0]);
    assert_eq!(store.unreadable().of(RecordKind::Block), 1);
    begin_at_last(&store, 3).await;
    assert_eq!(store.unblock(new(1).number.hash).await, Ok(true));
    begin_at_last(&store, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_denials_refuse_their_number_alone() {
    let redis = Redis::start();
    let store = open(&redis.url());
    for n in [1, 2] {
        begin_at_last(&store, n).await;
        assert!(store.end(&denied(n)).await.unwrap().is_done());
    }
    let key = format!("denials:{}", new(1).number.hash);
    let again = NewAttempt { attempt: new(9).attempt, ..new(1) };
    for damage in DAMAGES {
        set(&redis, &key, damage);
        let locks = store.locks().await.unwrap();
        assert_eq!(locks.iter().map(|lock| lock.number).collect::<Vec<_>>(), [new(2).number.hash], "{damage}");
        assert!(refused(store.begin(&again, &NO_LIMITS).await).contains("denials of the number"), "{damage}");
    }
    assert_eq!(store.unreadable().of(RecordKind::Denials), 1);
    assert_eq!(store.unlock(&[new(1).number.hash]).await, Ok(true));
    assert_eq!(store.begin(&again, &NO_LIMITS).await, Ok(Begun::New));
    // A denial ends its call, and the number stays refused.
    set(&redis, &key, DAMAGES[0]);
    assert_eq!(store.end(&denied(9)).await, Ok(Ended::UNLOCKED));
    let once_more = NewAttempt { attempt: new(10).attempt, ..again };
    assert!(refused(store.begin(&once_more, &NO_LIMITS).await).contains("denials of the number"));
}

/// Under either hash.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_number_key_loses_no_unreadable_record() {
    let redis = Redis::start();
    let store = open(&redis.url());
    let hashes = [new(1).number.hash, keyed(1).number.hash];
    for hash in hashes {
        for (field, is_block) in [(format!("{hash}"), true), (format!("{hash}:number"), true), (String::new(), false)] {
            redis.cli(&["FLUSHALL"]);
            begin_at_last(&store, 9).await;
            let expected = if is_block {
                set_field(&redis, "blocks", &field, DAMAGES[0]);
                "a block of the number"
            } else {
                set(&redis, &format!("denials:{hash}"), DAMAGES[0]);
                "denials of the number"
            };
            for _ in 0..2 {
                let answer = refused(store.begin(&keyed(1), &NO_LIMITS).await);
                assert!(answer.contains(expected), "{hash} {field}: {answer}");
            }
        }
    }
    // Its PIN stays, and approves nothing.
    redis.cli(&["FLUSHALL"]);
    begin_at_last(&store, 9).await;
    set_field(&redis, "pins", &hashes[0].to_string(), DAMAGES[0]);
    assert_eq!(store.begin(&keyed(1), &NO_LIMITS).await, Ok(Begun::New));
    assert!(refused(store.pin_state(&[hashes[1], hashes[0]]).await).contains("a PIN of the number"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_pin_approves_nothing() {
    const LIMITS: PinLimits = PinLimits { max_failures: 5, lock: Duration::from_secs(60) };
    let redis = Redis::start();
    let store = open(&redis.url());
    let pepper = PepperFingerprint::of_hash(&[1; 8]);
    let pin = |n| NewPin { number: new(n).number, hash: "hash".into(), pepper, set_at: SystemTime::now() };
    for n in [1, 2] {
        store.set_pin(&pin(n)).await.unwrap();
    }
    let number = new(1).number.hash;
    for damage in DAMAGES {
        set_field(&redis, "pins", &number.to_string(), damage);
        let pins = store.pins().await.unwrap();
        assert_eq!(pins.iter().map(|pin| pin.number).collect::<Vec<_>>(), [new(2).number.hash], "{damage}");
        for answer in [
            refused(store.pin_state(&[number]).await),
            refused(store.begin_pin_guess(&[number], pepper, &LIMITS).await),
            refused(store.unlock_pin(&[number]).await),
        ] {
            assert!(answer.contains("a PIN of the number cannot be read"), "{damage}: {answer}");
        }
    }
    assert_eq!(store.unreadable().of(RecordKind::Pin), 1);
    store.set_pin(&pin(1)).await.unwrap();
    assert_eq!(store.pins().await.unwrap().len(), 2);
    set_field(&redis, "pins", &number.to_string(), DAMAGES[0]);
    assert_eq!(store.remove_pin(&[number]).await, Ok(true));
    assert_eq!(store.remove_pin(&[number]).await, Ok(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_alert_stops_no_other_delivery() {
    let redis = Redis::start();
    let store = open(&redis.url());
    let alert = |n: u128| QueuedAlert {
        id: Uuid::from_u128(n),
        destination: "mail".into(),
        about: format!("fraud:{n}").into(),
        raised_at: SystemTime::UNIX_EPOCH,
        content: "{}".into(),
        is_urgent: n == 1,
    };
    let good = Uuid::from_u128(2);
    for damage in DAMAGES.into_iter().chain(["'{\"id\":\"00000000-0000-0000-0000-000000000001\"}'"]) {
        redis.cli(&["FLUSHALL"]);
        for n in [1, 2] {
            assert_eq!(store.add_alert(&alert(n)).await, Ok(AlertAdded::New));
        }
        set_field(&redis, "alerts", &alert(1).id.to_string(), damage);
        let claimed = store.claim_alerts(OWNER, &["mail".into()], 1).await.unwrap();
        assert_eq!(claimed.iter().map(|alert| alert.id).collect::<Vec<_>>(), [good], "{damage}");
        let listed = store.alerts().await.unwrap();
        assert_eq!(listed.iter().map(|alert| alert.id).collect::<Vec<_>>(), [good], "{damage}");
        assert_eq!(store.add_alert(&QueuedAlert { id: Uuid::from_u128(3), ..alert(1) }).await, Ok(AlertAdded::New));
        // As if it had waited for too long.
        redis.cli(&["ZADD", "{phonegate}:alerts_waiting", "1", &alert(1).id.to_string()]);
        store.sweep(Duration::from_secs(86_400)).await.unwrap();
        assert_eq!(redis.cli(&["HEXISTS", "{phonegate}:alerts", &alert(1).id.to_string()]).trim(), "0");
    }
    assert_eq!(store.unreadable().of(RecordKind::Alert), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_step_leaves_the_others() {
    let redis = Redis::start();
    let store = open(&redis.url());
    begin_at_last(&store, 1).await;
    for (at, event) in [(1, CallEvent::Dialling), (2, CallEvent::Ringing)] {
        let change = AttemptChange::Step { event, backend: None, text: None };
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
        store.record(&[RecordedChange { attempt: new(1).attempt, at, change }]).await.unwrap();
    }
    for damage in DAMAGES {
        redis.cli(&["EVAL", &format!("redis.call('LSET', KEYS[1], 0, {damage})"), "1", "{phonegate}:steps:1"]);
        let steps = store.steps(new(1).attempt).await.unwrap();
        assert_eq!(steps.iter().map(|step| &*step.name).collect::<Vec<_>>(), ["ringing"], "{damage}");
    }
    assert_eq!(store.unreadable().of(RecordKind::Step), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_counter_refuses_calls_with_its_limit() {
    let redis = Redis::start();
    let store = open(&redis.url());
    begin_at_last(&store, 1).await;
    let limits = Limits { calls_per_day: Some(9), ..NO_LIMITS };
    for (field, value) in [("strange", "1"), ("1", "strange")] {
        redis.cli(&["HSET", "{phonegate}:day", field, value]);
        assert_eq!(store.usage().await, Ok(Usage { day: 1, by_country: vec![] }));
        if value == "strange" {
            assert!(refused(store.begin(&new(2), &limits).await).contains("a counter of a daily limit"));
        }
        redis.cli(&["HDEL", "{phonegate}:day", field]);
    }
    // A country that only a newer version knows.
    redis.cli(&["SADD", "{phonegate}:countries", "Atlantis"]);
    let bucket = redis.cli(&["HKEYS", "{phonegate}:day"]);
    redis.cli(&["HSET", "{phonegate}:country:Atlantis", bucket.trim(), "3"]);
    assert_eq!(store.usage().await, Ok(Usage { day: 1, by_country: vec![] }));
    assert_eq!(store.unreadable().of(RecordKind::Counter), 2);
}
