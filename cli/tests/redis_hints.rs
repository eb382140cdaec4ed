//! The hints of the command if Redis refuses.

#[allow(dead_code, reason = "a part of it is used")]
#[path = "../../tests/support/certificate.rs"]
mod certificate;
#[allow(dead_code, reason = "a part of it is used")]
#[path = "../../tests/support/redis.rs"]
mod redis;
mod support;

use redis::Redis;
use serde_json::json;
use support::{NUMBER, Place, kept, ports, tool, wait_until};

/// Returns what `phonegate blocks add` prints with the store at this address.
fn stderr_of_add(url: &str) -> String {
    let mut config = kept(None);
    config["store"] = json!({ "type": "redis", "url": url });
    Place::with(&config).run(&["blocks", "add", NUMBER]).exits(1).stderr
}

#[track_caller]
fn advises(url: &str, hint: &str) {
    let stderr = stderr_of_add(url);
    assert!(stderr.contains(&format!("hint: {hint}")), "{hint} in {stderr}");
}

#[test]
fn an_error_of_redis_comes_with_a_hint() {
    advises(
        &Redis::with_tls().url(),
        "if your own authority signed the certificate, name the authority's certificate in `store.ca_file`",
    );
    let redis = Redis::with_password();
    advises(&format!("{}/99", redis.url()), "if `store.url` ends in the number of a database, leave the number out");
    advises(
        &redis.url().replace("open", "close"),
        "write a user and a password that this Redis knows into `store.url`",
    );
    let redis = Redis::with(&["--min-replicas-to-write", "1"]);
    advises(&redis.url(), "start the replicas that `min-replicas-to-write` requires");
    let redis = Redis::start();
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    advises(&redis.url(), "the memory of Redis is full: raise `maxmemory`, or lower `audit.keep_days`");
}
