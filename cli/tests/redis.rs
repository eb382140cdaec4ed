//! The command with a store in Redis, which a farm shares and which may be down.

#[allow(dead_code, reason = "a part of it is used")]
#[path = "../../tests/support/certificate.rs"]
mod certificate;
#[allow(dead_code, reason = "a part of it is used")]
#[path = "../../tests/support/redis.rs"]
mod redis;
mod support;

use redis::{PASSWORD, Redis};
use serde_json::{Value, json};
use support::{HIDDEN, MASKED, NUMBER, Place, Ran, Running, at_a_desk, kept, ports, tool, wait_until};

const OTHER: &str = "+1 4255551313x77";

/// Returns the configuration with this Redis as its store.
fn on(redis: &Redis, mut config: Value) -> Value {
    config["store"] = json!({ "type": "redis", "url": redis.url() });
    config
}

/// Checks that neither the password of the store nor a number is shown.
#[track_caller]
fn hides_secrets(ran: &Ran) {
    for secret in [PASSWORD, "open%40sesame", HIDDEN] {
        assert!(!ran.all().contains(secret), "{}", ran.all());
    }
}

#[test]
fn calls_in_redis_are_listed_shown_and_followed() {
    let redis = Redis::with_password();
    let place = Place::with(&on(&redis, kept(Some("5"))));
    place.run(&["call", "--store", NUMBER]).exits(1);
    let listed = place.run(&["calls"]).exits(0);
    assert!(listed.stdout.contains(MASKED) && listed.stdout.contains("WrongKey"), "{}", listed.stdout);
    let call = place.run(&["calls", "--json"]).exits(0).record("call");
    let id = call["id"].as_str().unwrap();
    let times = ["started", "placed", "ringing", "answered", "ended"].map(|time| call[time].as_str().unwrap());
    assert!(times.is_sorted(), "{call}");
    let shown = place.run(&["calls", "show", id]).exits(0);
    for step in ["dialling by phone", "placed by phone", "ringing by phone", "answered by phone", "(WrongKey, code 12)"]
    {
        assert!(shown.stdout.contains(step), "{step} in {}", shown.stdout);
    }

    let mut following = Running::start(&mut place.command(&["calls", "--follow", "--json"]));
    following.read_until("WrongKey");
    place.configure(&on(&redis, at_a_desk()));
    let calling = Running::start(&mut place.command(&["call", "--store", OTHER]));
    let pending = following.read_until("1313x…");
    assert!(pending.contains(r#""outcome":"pending""#), "{pending}");
    place.rings(1);
    place.answer("1;");
    following.read_until(r#""outcome":"verified""#);
    calling.wait().exits(0);
    following.signal("INT");
    [listed, shown, following.wait().exits(130)].iter().for_each(hides_secrets);
}

#[test]
fn locks_limits_and_blocks_in_redis_are_listed() {
    let redis = Redis::with_password();
    let mut config = on(&redis, kept(Some("5")));
    config["limits"] = json!({ "denials": { "count": 1 }, "calls_per_day": 9 });
    let place = Place::with(&config);
    place.run(&["call", "--store", NUMBER]).exits(1);
    let listed = place.run(&["limits", "list", "--json"]).exits(0);
    let (lock, all) = (listed.record("lock"), listed.records()[1].clone());
    assert_eq!((&lock["number"], &lock["locks"]), (&json!(MASKED), &json!(1)));
    assert_eq!((&all["limit"], &all["calls"], &all["cap"]), (&json!("calls_per_day"), &json!(1), &json!(9)));
    let call = place.run(&["calls", "--json"]).exits(0).record("call");
    assert_eq!(call["locked_until"], lock["until"]);
    let failed = place.run(&["call", "--store", "--json", NUMBER]).exits(1).record("failed");
    assert_eq!(failed["reason"], "Throttled");
    let refused = place.run(&["calls", "--json", "--reason", "Throttled"]).exits(0).record("call");
    assert_eq!(refused["limit"], "denials");
    let id = call["id"].as_str().unwrap();
    let unlocked = place.run(&["limits", "unlock", "--json", id]).exits(0).record("unlocked");
    assert_eq!((&unlocked["was_locked"], &unlocked["until"]), (&json!(true), &lock["until"]));
    assert_eq!(place.run(&["limits", "unlock", "--json", id]).exits(0).record("unlocked")["was_locked"], false);

    place.run(&["blocks", "add", NUMBER, "--only-this-number"]).exits(0);
    place.run(&["blocks", "add", NUMBER]).exits(0);
    let blocks = place.run(&["blocks", "list", "--json"]).exits(0).records();
    let mut scopes: Vec<_> = blocks.iter().map(|block| block["scope"].as_str().unwrap()).collect();
    scopes.sort_unstable();
    assert_eq!(scopes, ["line", "number"]);
    assert_eq!(place.run(&["blocks", "remove", "--json", NUMBER]).exits(0).records().len(), 2);
    assert_eq!(place.run(&["blocks", "list"]).exits(0).stderr, "No number is blocked.\n");
}

#[test]
fn blocks_reports_and_checks_use_the_configured_redis() {
    let redis = Redis::with_password();
    let place = Place::with(&on(&redis, kept(None)));
    let added =
        place.run(&["blocks", "add", "--json", NUMBER, "--reason", "left", "--days", "7"]).exits(0).record("block");
    assert_eq!(place.run(&["blocks", "list", "--json"]).exits(0).record("block"), added);
    let failed = place.run(&["call", "--store", "--json", NUMBER]).exits(1).record("failed");
    assert_eq!(failed["reason"], "Blocked");
    assert!(failed["text"].as_str().unwrap().contains("left"), "{failed}");
    place.run(&["blocks", "remove", NUMBER]).exits(0);
    assert_eq!(place.run(&["blocks", "list"]).exits(0).stderr, "No number is blocked.\n");
    place.run(&["call", "--store", NUMBER]).exits(0);

    let written = place.run(&["report", "--html", "report.html", "--json"]).exits(0).record("written");
    assert_eq!((&written["calls"], &written["verified"]), (&json!(2), &json!(1)));
    let page = std::fs::read_to_string(place.path().join("report.html")).unwrap();
    assert!(page.contains("Blocked") && page.contains(MASKED) && !page.contains(HIDDEN), "{page}");
    let checked = place.run(&["check", "--json"]).exits(0);
    let store = checked.record("store");
    assert_eq!((&store["type"], &store["result"]), (&json!("redis"), &json!("ok")));
    assert!(store["text"].as_str().unwrap().starts_with("Redis "), "{store}");
    assert_eq!(checked.record("checked")["ok"], true);
    hides_secrets(&checked);
}

#[test]
fn pins_in_redis_are_those_of_every_node() {
    let redis = Redis::with_password();
    let pepper = "not-a-real-pepper-0123456789abcdef";
    let mut config = on(&redis, kept(None));
    config["approval"] = json!({ "pin": { "pepper": pepper } });
    let (place, node) = (Place::with(&config), Place::with(&config));
    std::fs::write(place.path().join("pins.csv"), format!("number,pin\n{NUMBER},739104\n{OTHER},862057\n")).unwrap();
    let imported = place.run(&["pins", "import", "pins.csv", "--json"]).exits(0);
    let listed = node.run(&["pins", "list", "--json"]).exits(0);
    assert_eq!(listed.records().len(), 2, "{}", listed.stdout);
    let unlocked = node.run(&["pins", "unlock", OTHER]).exits(0);
    let reset = node.run(&["pins", "reset", NUMBER, "--json"]).exits(0);
    assert_eq!(reset.record("removed")["number"], MASKED);
    let checked = place.run(&["check", "--json"]).exits(0);
    assert_eq!(checked.record("pins")["set"], 1);
    for ran in [imported, listed, unlocked, reset, checked] {
        hides_secrets(&ran);
        for secret in ["739104", "862057", "argon2", pepper] {
            assert!(!ran.all().contains(secret), "{}", ran.all());
        }
    }
}

#[test]
fn unreadable_records_are_left_out_of_lists_and_counted() {
    let redis = Redis::start();
    let mut config = on(&redis, kept(Some("5")));
    config["limits"] = json!({ "denials": { "count": 1 } });
    let place = Place::with(&config);
    for number in [NUMBER, OTHER] {
        place.run(&["call", "--store", number]).exits(1);
        place.run(&["blocks", "add", number]).exits(0);
    }
    let hash = place.run(&["calls", "--json", "--number", NUMBER]).exits(0).record("call")["number_hash"].clone();
    let hash = hash.as_str().unwrap();
    redis.cli(&["SET", "{phonegate}:attempt:1", "not JSON"]);
    redis.cli(&["HSET", "{phonegate}:blocks", hash, "not JSON"]);
    redis.cli(&["SET", &format!("{{phonegate}}:denials:{hash}"), "not JSON"]);
    for (verb, event, left_out) in [
        (&["calls"][..], "call", "1 call."),
        (&["blocks", "list"], "block", "1 block."),
        (&["limits", "list"], "lock", "1 record of denials."),
        (&["report", "--html", "report.html"], "written", "1 call, 1 block, 1 record of denials."),
    ] {
        let expected = format!("some records cannot be read and were left out: {left_out} ");
        let listed = place.run(&[verb, &["--json"]].concat()).exits(0);
        let warning = listed.record("warning");
        assert!(warning["text"].as_str().unwrap().starts_with(&expected), "{verb:?}: {warning}");
        let _ = listed.record(event);
        let listed = place.run(verb).exits(0);
        assert!(listed.stderr.contains(&format!("warning: {expected}")), "{verb:?}: {}", listed.stderr);
        hides_secrets(&listed);
    }
    let refused = place.run(&["call", "--store", "--json", NUMBER]).exits(1).record("failed");
    assert!(refused["text"].as_str().unwrap().contains("remove it with `phonegate blocks remove NUMBER`"), "{refused}");
    place.run(&["blocks", "remove", NUMBER]).exits(0);
    let refused = place.run(&["call", "--store", "--json", NUMBER]).exits(1).record("failed");
    assert!(
        refused["text"].as_str().unwrap().contains("remove them with `phonegate limits unlock NUMBER`"),
        "{refused}"
    );
    place.run(&["limits", "unlock", NUMBER]).exits(0);
    let called = place.run(&["call", "--store", "--json", NUMBER]).exits(1).record("failed");
    assert_eq!(called["reason"], "WrongKey", "it was called");
    let gone = place.run(&["blocks", "remove", NUMBER]).exits(1);
    assert!(gone.all().contains("not on the block list"), "{}", gone.all());
}

/// Returns how many connections the server has had, including that of this query.
fn connections(redis: &Redis) -> u64 {
    let stats = redis.cli(&["INFO", "stats"]);
    let count = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:")).unwrap();
    count.trim().parse().unwrap()
}

#[test]
fn a_test_call_uses_redis_only_with_store() {
    let redis = Redis::start();
    let place = Place::with(&on(&redis, kept(None)));
    let before = connections(&redis);
    place.run(&["call", NUMBER]).exits(0);
    assert_eq!(connections(&redis), before + 1);
    assert_eq!(redis.cli(&["KEYS", "*"]).trim(), "");
    // With `--store`, a test call uses Redis.
    let before = connections(&redis);
    place.run(&["call", "--store", NUMBER]).exits(0);
    assert!(connections(&redis) > before + 1);
    assert_ne!(redis.cli(&["KEYS", "*"]).trim(), "");
}

#[test]
fn without_redis_only_test_calls_work() {
    let mut redis = Redis::start();
    let place = Place::with(&on(&redis, kept(None)));
    place.run(&["call", "--store", NUMBER]).exits(0);
    let is_reported = || {
        let ran = place.run(&["call", NUMBER]).exits(0);
        assert_eq!(ran.stdout, "Verified: the user approved.\n");
        for verb in [&["calls"][..], &["blocks", "list"], &["report", "--html", "report.html"], &["check"]] {
            let ran = place.run(verb).exits(1);
            let words = "check that Redis runs, and that this machine and user can reach `store.url`";
            assert!(ran.all().contains(words), "{verb:?}: {}", ran.all());
        }
        assert!(!place.path().join("report.html").exists());
    };
    redis.pause();
    is_reported();
    redis.resume();
    redis.kill();
    is_reported();
    redis.restart();
    assert_eq!(place.run(&["calls", "--json"]).exits(0).record("call")["outcome"], "verified");
}
