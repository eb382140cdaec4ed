//! Number keys in Redis (S14): those from before they were recorded, and when one is removed.

use phonegate::call::HashedNumber;
use phonegate::store::{KeyUse, LimitStore, NewPin, PepperFingerprint, PinStore};

use super::*;
use crate::support::approval::verified;

const KEYS: &str = "{phonegate}:number_keys";

fn keyed_fingerprint() -> KeyFingerprint {
    KeyFingerprint::of_hash(&[7; 8])
}

/// Call n, to the same number as `new(n)`, which is hashed with a key.
pub fn keyed(n: u128) -> NewAttempt {
    let unkeyed = new(n);
    let hash = NumberHash::parse(&format!("7{n:031x}")).unwrap();
    let StoredNumber { hash: number, line_hash: line, fingerprint, .. } = unkeyed.number;
    let otherwise = [HashedNumber { fingerprint, number, line }].into();
    let number =
        StoredNumber { hash, line_hash: hash, fingerprint: keyed_fingerprint(), otherwise, ..unkeyed.number.clone() };
    NewAttempt { number, ..unkeyed }
}

fn block(n: u128, since: SystemTime) -> Block {
    let number = new(n).number;
    Block {
        number: number.hash,
        scope: BlockScope::Line,
        masked: number.masked,
        reason: "stolen".into(),
        since,
        until: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_from_before_number_keys_still_holds() {
    let redis = Redis::start();
    let store = open(&redis.url());
    store.block(&block(1, SystemTime::now())).await.unwrap();
    assert_eq!(begin(&store, 2).await, Ok(Begun::New));
    redis.cli(&["DEL", KEYS]);
    let refused = store.begin(&keyed(1), &NO_LIMITS).await;
    assert!(matches!(refused, Ok(Begun::Refused(Refusal::Blocked { .. }))), "{refused:?}");
    let noted = redis.cli(&["HKEYS", KEYS]);
    assert!(noted.contains("none") && noted.contains(&keyed_fingerprint().to_string()), "{noted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unused_number_key_is_removed() {
    let redis = Redis::start();
    let store = open(&redis.url());
    let may_start = async || {
        store.sweep(LEASE).await.unwrap();
        store.use_number_keys(&[keyed_fingerprint()], KeyUse::Read).await.is_ok()
    };
    assert_eq!(begin(&store, 1).await, Ok(Begun::New));
    assert_eq!(store.begin(&keyed(2), &NO_LIMITS).await, Ok(Begun::New));
    assert!(!may_start().await, "a call is left");
    // So it would be if the call and the block had been written a year after the last use of the key.
    let long_ago = SystemTime::now() - Duration::from_secs(365 * 86_400);
    let milliseconds = long_ago.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    redis.cli(&["HSET", KEYS, "none", &milliseconds.to_string()]);
    store.block(&block(3, long_ago)).await.unwrap();
    assert!(!may_start().await, "a block is left");
    assert!(store.unblock(block(3, long_ago).number).await.unwrap());
    assert!(may_start().await);
    // The key that is in use stays.
    assert!(store.use_number_keys(&[KeyFingerprint::UNKEYED], KeyUse::Read).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_key_is_kept_while_a_pin_needs_it() {
    let redis = Redis::start();
    let store = open(&redis.url());
    let long_ago = SystemTime::now() - Duration::from_secs(365 * 86_400);
    let milliseconds = long_ago.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().to_string();
    let may_start = async || {
        redis.cli(&["HSET", KEYS, "none", &milliseconds]);
        store.sweep(LEASE).await.unwrap();
        store.use_number_keys(&[keyed_fingerprint()], KeyUse::Read).await.is_ok()
    };
    let pin = |number| NewPin {
        number,
        hash: "hash".into(),
        pepper: PepperFingerprint::of_hash(&[1; 8]),
        set_at: SystemTime::now(),
    };
    store.set_pin(&pin(new(1).number)).await.unwrap();
    store.set_pin(&pin(keyed(2).number)).await.unwrap();
    assert!(!may_start().await);
    // It is moved to the current key.
    store.set_pin(&pin(keyed(1).number)).await.unwrap();
    assert!(may_start().await);
    assert_eq!(redis.cli(&["HGETALL", "{phonegate}:pin_number_keys"]).lines().count(), 2, "one key, with its count");
    for n in [1, 2] {
        assert!(store.remove_pin(&[keyed(n).number.hash]).await.unwrap());
    }
    assert_eq!(redis.cli(&["EXISTS", "{phonegate}:pin_number_keys"]).trim(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_key_is_kept_while_denials_need_it() {
    let redis = Redis::start();
    let store = open(&redis.url());
    let long_ago = SystemTime::now() - Duration::from_secs(10 * 86_400);
    let milliseconds = long_ago.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().to_string();
    let may_start = async || {
        redis.cli(&["HSET", KEYS, "none", &milliseconds]);
        store.sweep(Duration::ZERO).await.unwrap();
        store.use_number_keys(&[keyed_fingerprint()], KeyUse::Read).await.is_ok()
    };
    assert_eq!(begin(&store, 1).await, Ok(Begun::New));
    assert_eq!(store.begin(&keyed(2), &NO_LIMITS).await, Ok(Begun::New));
    assert!(store.end(&EndRequest { at: long_ago, ..limits::denied(1) }).await.unwrap().is_done());
    assert!(store.end(&EndRequest { at: long_ago, ..end(2, verified()) }).await.unwrap().is_done());
    // So it would be if the number had been locked when the key was last used.
    let number = new(1).number.hash.to_string();
    redis.cli(&["ZADD", "{phonegate}:denied", &milliseconds, &number]);
    assert!(!may_start().await, "a number that was locked is left");
    assert_eq!(store.rows(&Query { limit: 9, ..Query::default() }).await, Ok(vec![]), "and no call is");
    assert!(store.unlock(&[new(1).number.hash]).await.unwrap());
    assert!(may_start().await);
}
