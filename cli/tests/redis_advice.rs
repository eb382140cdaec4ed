//! What the command advises where a Redis refuses, by what it says.

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

/// What an administrator reads who blocks a number in the store at this address.
fn told(url: &str) -> String {
    let mut config = kept(None);
    config["store"] = json!({ "type": "redis", "url": url });
    Place::with(&config).run(&["blocks", "add", NUMBER]).exits(1).stderr
}

#[track_caller]
fn advises(url: &str, words: &str) {
    let told = told(url);
    assert!(told.contains(words), "{words} in {told}");
}

#[test]
fn what_redis_refuses_is_told_with_what_to_do_about_it() {
    advises(&Redis::with_tls().url(), "`store.ca_file` names the file with that authority's certificate");
    let redis = Redis::with_password();
    advises(&format!("{}/99", redis.url()), "this Redis may have fewer of them, or none but 0: leave it out");
    advises(&redis.url().replace("open", "close"), "needs a user and a password that this Redis knows");
    let redis = Redis::with(&["--min-replicas-to-write", "1"]);
    advises(&redis.url(), "Not enough good replicas to write; `min-replicas-to-write` asks for more replicas");
    let redis = Redis::start();
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    advises(&redis.url(), "raise `maxmemory`, or lower `audit.keep_days`");
}
