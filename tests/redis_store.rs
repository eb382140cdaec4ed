//! What is Redis's own: the way to it, what may be on that way, and its being away for a while.

mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use phonegate::backend::Reference;
use phonegate::call::{Attempt, Failure, FailureReason, NumberKey, Outcome};
use phonegate::config::{ConfigError, NetworkConfig, StoreConfig};
use phonegate::store::{
    Begun, Block, CallStore, Change, End, LEASE, Limits, NewAttempt, Owner, Query, RedisStore, StoreError,
    StoredNumber, Update,
};
use serde_json::json;
use support::gate::id;
use support::redis::{PASSWORD, Redis};
use support::sipp::free_port;
use uuid::Uuid;

const OWNER: Owner = Owner(Uuid::from_u128(1));
const ANOTHER: Owner = Owner(Uuid::from_u128(2));

/// Longer than any question to a store may take.
const BOUND: Duration = Duration::from_secs(5);

const NO_LIMITS: Limits = Limits {
    calls_per_number: 1000,
    per_number_window: Duration::from_secs(600),
    concurrent_calls: 1000,
    calls_per_minute: 1000,
};

fn open_with(url: &str, network: &NetworkConfig) -> Result<RedisStore, ConfigError> {
    let config: StoreConfig = serde_json::from_value(json!({ "type": "redis", "url": url })).unwrap();
    assert!(!format!("{config:?}").contains(url));
    RedisStore::open(&config, network, Path::new(""))
}

fn open(url: &str) -> RedisStore {
    open_with(url, &NetworkConfig::default()).unwrap()
}

fn new(n: u128) -> NewAttempt {
    let key = NumberKey::parse(&format!("{n:032x}")).unwrap();
    NewAttempt {
        attempt: Attempt { id: id(n), generation: 1 },
        started: std::time::SystemTime::UNIX_EPOCH,
        deadline: Duration::from_secs(90),
        number: StoredNumber { key, line: key, masked: "+1******1212".into(), full: None },
        owner: OWNER,
        node: "web1".into(),
    }
}

async fn begin(store: &RedisStore, n: u128) -> Result<Begun, StoreError> {
    let asked = Instant::now();
    let begun = store.begin(&new(n), &NO_LIMITS).await;
    assert!(asked.elapsed() < BOUND, "{:?}", asked.elapsed());
    begun
}

/// Begins a call as soon as that works.
async fn begin_at_last(store: &RedisStore, n: u128) {
    let start = Instant::now();
    loop {
        match begin(store, n).await {
            Ok(begun) => return assert_eq!(begun, Begun::New),
            Err(error) => assert!(start.elapsed() < support::PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn problem(answer: Result<impl std::fmt::Debug, StoreError>) -> String {
    match answer {
        Err(StoreError::Unavailable(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_address_that_others_could_read_along_or_use_is_refused() {
    for (url, words) in [
        ("redis://:secret@redis.contoso.local", "must begin with rediss://"),
        ("redis://:secret@192.0.2.1:6379", "must begin with rediss://"),
        ("redis://:secret@[2001:db8::1]:6379", "must begin with rediss://"),
        ("redis://:secret@localhost.contoso.local", "must begin with rediss://"),
        ("redis://:secret@127.0.0.1,192.0.2.1?cluster=true", "must begin with rediss://"),
        ("rediss://redis.contoso.local:6380", "has no password"),
        ("rediss://user:@redis.contoso.local:6380", "has no password"),
        ("http://redis.contoso.local", "must begin with rediss://"),
        ("redis.contoso.local:6380", "is not an address like rediss://"),
        ("rediss://", "is not an address like rediss://"),
        ("rediss://:secret@:6380", "is not an address like rediss://"),
        ("rediss://:secret@host:port", "is not an address like rediss://"),
        ("rediss://:secret%ff@host", "are written as %40"),
        ("rediss://:sec#ret@redis.contoso.local", "is written %23"),
        ("rediss://:secret@one,two", "needs ?cluster=true"),
        ("rediss://:secret@one/3?cluster=true", "a cluster has none"),
        ("rediss://:secret@one?cluster=yes", "and nothing else"),
        ("rediss://:secret@one?insecure=true", "and nothing else"),
        ("rediss://:secret@one?cluster=true&sentinel=mymaster", "one of"),
    ] {
        let error = open_with(url, &NetworkConfig::default()).err().unwrap_or_else(|| panic!("{url} is accepted"));
        let text = error.to_string();
        assert!(text.starts_with("store.url: ") && text.contains(words), "{url}: {text}");
        assert!(!text.contains("secret"), "{text}");
    }
    for url in [
        "redis://127.0.0.1",
        "redis://127.8.9.10:7000",
        "redis://[::1]:7000/2",
        "redis://localhost",
        "rediss://:secret@redis.contoso.local",
        "rediss://user:p%40ss@redis.contoso.local:6380/1",
        "rediss://:secret@one:7000,two:7001?cluster=true",
        "rediss://:secret@one,two?sentinel=mymaster",
    ] {
        assert!(open_with(url, &NetworkConfig::default()).is_ok(), "{url}");
    }
    let without: StoreConfig = serde_json::from_value(json!({ "type": "redis" })).unwrap();
    let error = RedisStore::open(&without, &NetworkConfig::default(), Path::new("")).err().unwrap();
    assert!(error.to_string().starts_with("store.url: is missing"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_opens_it_and_no_other_does() {
    let redis = Redis::with_password();
    assert_eq!(begin(&open(&redis.url()), 1).await, Ok(Begun::New));
    let port = redis.port();
    let wrong = problem(begin(&open(&format!("redis://:hocus-pocus@127.0.0.1:{port}")), 2).await);
    assert!(wrong.contains("password is refused") && !wrong.contains("hocus"), "{wrong}");
    let wrong = problem(begin(&open(&format!("redis://merlin:hocus-pocus@127.0.0.1:{port}")), 2).await);
    assert!(wrong.contains("password is refused") && !wrong.contains("hocus"), "{wrong}");
    let none = problem(begin(&open(&format!("redis://127.0.0.1:{port}")), 2).await);
    assert!(none.contains("store.url has none"), "{none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_write_is_told_what_he_may_not() {
    let redis = Redis::start();
    redis.cli(&["ACL", "SETUSER", "reader", "on", &format!(">{PASSWORD}"), "~*", "+@read"]);
    let store = open(&format!("redis://reader:open%40sesame@127.0.0.1:{}", redis.port()));
    let refused = problem(begin(&store, 1).await);
    assert!(refused.contains("NOPERM"), "{refused}");
    let refused = problem(store.check().await);
    assert!(refused.contains("NOPERM"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_needs_no_more_rights_than_the_documents_say() {
    let redis = Redis::start();
    let documents = std::fs::read_to_string(support::project_folder().join("docs/store.md")).unwrap();
    let start = documents.find("ACL SETUSER phonegate").expect("docs/store.md says what rights a user needs");
    let command = documents[start..].split('`').next().unwrap().replace("PASSWORD", PASSWORD);
    redis.cli(&command.split_whitespace().collect::<Vec<_>>());
    let store = open(&format!("redis://phonegate:open%40sesame@127.0.0.1:{}", redis.port()));
    assert!(store.check().await.unwrap().starts_with("Redis "));
    assert_eq!(begin(&store, 1).await, Ok(Begun::New));
    let step = Change::Step { name: "ringing".into(), backend: None, text: None };
    let update = Update { attempt: new(1).attempt, at: std::time::SystemTime::UNIX_EPOCH, change: step };
    store.record(&[update]).await.unwrap();
    store.renew(OWNER).await.unwrap();
    assert!(store.find(id(1)).await.unwrap().is_some());
    assert_eq!(store.take_up(ANOTHER, 1).await, Ok(vec![]));
    assert!(store.end(&end(1, Outcome::Verified)).await.unwrap());
    assert_eq!(store.steps(new(1).attempt).await.unwrap().len(), 1);
    assert_eq!(store.rows(&Query { most: 1, ..Query::default() }).await.unwrap().len(), 1);
    assert_eq!(store.rows(&Query { most: 1, id: Some(id(1)), ..Query::default() }).await.unwrap().len(), 1);
    assert!(!store.unblock(new(1).number.key).await.unwrap());
    assert_eq!(store.blocks().await, Ok(vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_trusts_an_authority_that_the_configuration_names_and_no_other() {
    let redis = Redis::with_tls();
    let trusting = NetworkConfig { ca_file: Some(redis.path("ca.pem").into()), ..NetworkConfig::default() };
    let store = open_with(&redis.url(), &trusting).unwrap();
    assert_eq!(begin(&store, 1).await, Ok(Begun::New));
    assert!(store.check().await.unwrap().starts_with("Redis "));
    let stranger = problem(begin(&open(&redis.url()), 2).await);
    assert!(stranger.contains("certificate"), "{stranger}");
    // The certificate is for another name.
    let by_address = redis.url().replace("localhost", "127.0.0.1");
    let stranger = problem(begin(&open_with(&by_address, &trusting).unwrap(), 2).await);
    assert!(stranger.contains("certificate"), "{stranger}");
    let wrong = redis.url().replace("open%40sesame", "hocus-pocus");
    let refused = problem(begin(&open_with(&wrong, &trusting).unwrap(), 2).await);
    assert!(refused.contains("password is refused") && !refused.contains("hocus"), "{refused}");
    // A server without TLS.
    let plain = Redis::start();
    let store = open_with(&format!("rediss://:secret@localhost:{}", plain.port()), &trusting).unwrap();
    assert!(!problem(begin(&store, 1).await).contains("secret"));
    let missing = NetworkConfig { ca_file: Some("nowhere.pem".into()), ..NetworkConfig::default() };
    let error = open_with(&redis.url(), &missing).err().unwrap();
    assert!(error.to_string().starts_with("network.ca_file: "), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_told_and_used_again_when_it_returns() {
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
    // Its data are there again, and so are its scripts.
    let rows = store.rows(&Query { most: 10, ..Query::default() }).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.attempt.id).collect::<Vec<_>>(), [id(1), id(5)]);
    redis.cli(&["SCRIPT", "FLUSH"]);
    assert_eq!(begin(&store, 6).await, Ok(Begun::New));
    // One that went and came back while nobody asked is no trouble at all.
    redis.kill();
    redis.restart();
    assert_eq!(begin(&store, 7).await, Ok(Begun::New));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_is_told_in_time_and_used_again_when_it_goes_on() {
    let redis = Redis::start();
    let store = open(&redis.url());
    begin_at_last(&store, 1).await;
    redis.pause();
    let asked = Instant::now();
    problem(store.renew(OWNER).await);
    problem(store.find(id(1)).await);
    assert!(asked.elapsed() < 2 * BOUND);
    // Many at once wait no longer than one.
    let asked = Instant::now();
    let answers = (2..200).map(|n| begin(&store, n));
    for answer in futures_util::future::join_all(answers).await {
        problem(answer);
    }
    assert!(asked.elapsed() < BOUND, "{:?}", asked.elapsed());
    redis.resume();
    begin_at_last(&store, 300).await;
    assert!(store.end(&end(300, Outcome::Verified)).await.unwrap());
}

fn end(n: u128, outcome: Outcome) -> End {
    let at = std::time::SystemTime::UNIX_EPOCH;
    End { attempt: new(n).attempt, owner: OWNER, at, outcome, release: true }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_given_up_while_redis_stood_still_does_not_begin_when_it_goes_on() {
    let redis = Redis::start();
    let store = open(&redis.url());
    begin_at_last(&store, 1).await;
    redis.pause();
    problem(begin(&store, 2).await);
    redis.resume();
    let failure = Failure::new(FailureReason::CannotPlace, "The store was away.");
    let refused = Change::Refused { number: Some(new(2).number), node: "web1".into(), failure: failure.clone() };
    let update = Update { attempt: new(2).attempt, at: std::time::SystemTime::UNIX_EPOCH, change: refused };
    let start = Instant::now();
    while let Err(error) = store.record(std::slice::from_ref(&update)).await {
        assert!(start.elapsed() < support::PATIENCE, "{error}");
    }
    // Whichever came first, the number is free and nothing is pending.
    let again = NewAttempt { attempt: Attempt { id: id(3), generation: 1 }, ..new(2) };
    assert_eq!(store.begin(&again, &NO_LIMITS).await, Ok(Begun::New));
    assert!(!store.end(&end(2, Outcome::Verified)).await.unwrap());
}

/// The time of a lease passes, in which a node does what nodes do.
async fn a_lease_runs_out(node: &RedisStore) {
    for _ in 0..7 {
        node.renew(ANOTHER).await.unwrap();
        tokio::time::sleep(LEASE / 6).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_loses_calls_to_another_because_redis_was_away() {
    let redis = Redis::start();
    let (store, another) = (open(&redis.url()), open(&redis.url()));
    begin_at_last(&store, 1).await;
    redis.pause();
    tokio::time::sleep(LEASE + Duration::from_secs(1)).await;
    problem(another.take_up(ANOTHER, 10).await);
    redis.resume();
    let start = Instant::now();
    let taken = loop {
        match another.take_up(ANOTHER, 10).await {
            Ok(taken) => break taken,
            Err(error) => assert!(start.elapsed() < support::PATIENCE, "{error}"),
        }
    };
    assert_eq!(taken, [], "its owner could not renew its lease");
    a_lease_runs_out(&another).await;
    assert_eq!(another.take_up(ANOTHER, 10).await.unwrap().len(), 1, "now it could have");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_were_handed_over_without_an_answer_are_handed_over_again() {
    let redis = Redis::start();
    let (store, another) = (open(&redis.url()), open(&redis.url()));
    begin_at_last(&store, 1).await;
    let placed = Change::Placed { backend: "trunk".into(), reference: Reference::new("CA1") };
    let update = Update { attempt: new(1).attempt, at: std::time::SystemTime::UNIX_EPOCH, change: placed };
    store.record(&[update]).await.unwrap();
    assert_eq!(another.take_up(ANOTHER, 10).await, Ok(vec![]));
    a_lease_runs_out(&another).await;
    // Redis gets the question when it goes on, and nobody waits for the answer any more.
    redis.pause();
    problem(another.take_up(ANOTHER, 10).await);
    redis.resume();
    support::wait_until("the call has its new owner", || {
        let kept = redis.cli(&["GET", "{phonegate}:a:1"]);
        kept.contains(&ANOTHER.0.as_simple().to_string())
    });
    let start = Instant::now();
    let orphans = loop {
        match another.take_up(ANOTHER, 10).await {
            Ok(orphans) => break orphans,
            Err(error) => assert!(start.elapsed() < support::PATIENCE, "{error}"),
        }
    };
    assert_eq!(orphans.iter().map(|orphan| orphan.attempt).collect::<Vec<_>>(), [new(1).attempt]);
    assert_eq!(another.take_up(ANOTHER, 10).await, Ok(vec![]), "it has got them now");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_somebody_has_deleted_holds_up_none_of_the_others() {
    let redis = Redis::start();
    let (store, another) = (open(&redis.url()), open(&redis.url()));
    for n in 1..=3 {
        begin_at_last(&store, n).await;
    }
    redis.cli(&["DEL", "{phonegate}:a:2"]);
    a_lease_runs_out(&another).await;
    let orphans = another.take_up(ANOTHER, 10).await.unwrap();
    let ids: Vec<_> = orphans.iter().map(|orphan| orphan.attempt.id).collect();
    assert_eq!(ids, [id(1), id(3)]);
    assert_eq!(another.find(id(2)).await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_moves_back_lifts_no_limit_and_stops_no_time() {
    let redis = Redis::start();
    let store = open(&redis.url());
    let window = Duration::from_secs(3);
    let limits = Limits { calls_per_number: 1, per_number_window: window, ..NO_LIMITS };
    // The server's clock is an hour ahead, and then it is not.
    redis.cli(&["HSET", "{phonegate}:clock", "ahead", "3600000"]);
    assert_eq!(store.begin(&new(1), &limits).await, Ok(Begun::New));
    assert!(store.end(&end(1, Outcome::Verified)).await.unwrap());
    redis.cli(&["HSET", "{phonegate}:clock", "ahead", "0"]);
    let again = NewAttempt { attempt: Attempt { id: id(2), generation: 1 }, ..new(1) };
    let start = Instant::now();
    let mut refusals = 0;
    while store.begin(&again, &limits).await != Ok(Begun::New) {
        refusals += 1;
        assert!(start.elapsed() < support::PATIENCE, "time stands still");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(refusals > 0, "the limit still held");
    let block = Block {
        number: new(9).number.key,
        masked: "+1******1212".into(),
        reason: "fraud".into(),
        since: std::time::SystemTime::now(),
        until: Some(std::time::SystemTime::now() + Duration::from_secs(60)),
    };
    store.block(&block).await.unwrap();
    assert_eq!(store.blocks().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_followed_to_the_node_that_has_the_calls() {
    let nodes: Vec<_> = (0..3)
        .map(|_| {
            let bus = free_port().to_string();
            Redis::with(&["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "2000"])
        })
        .collect();
    let addresses: Vec<_> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
    let mut create: Command = support::tool("redis-cli", "redis-server");
    let created = create.args(["--cluster", "create"]).args(&addresses).args(["--cluster-yes"]).output().unwrap();
    let text = String::from_utf8_lossy(&created.stdout).into_owned();
    assert!(created.status.success() && text.contains("All 16384 slots covered"), "{text}");
    support::wait_until("the cluster is ready", || {
        nodes.iter().all(|node| node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
    });
    // Whichever node is asked first, and through those that are not there.
    for (n, address) in (1..).zip(&addresses) {
        let store = open(&format!("redis://127.0.0.1:{},{address}?cluster=true", free_port()));
        assert_eq!(begin(&store, n).await, Ok(Begun::New));
        assert!(store.find(id(1)).await.unwrap().is_some());
    }
    let keys: Vec<_> = nodes.iter().map(|node| node.cli(&["DBSIZE"]).trim().to_owned()).collect();
    assert_eq!(keys.iter().filter(|&size| size != "0").count(), 1, "one node has all keys: {keys:?}");
    // The keys move on to another node, and the store goes after them.
    let store = open(&format!("redis://{}?cluster=true", addresses.join(",")));
    assert_eq!(begin(&store, 10).await, Ok(Begun::New));
    let slot = nodes[0].cli(&["CLUSTER", "KEYSLOT", "{phonegate}"]).trim().to_owned();
    let names: Vec<_> = nodes.iter().map(|node| node.cli(&["CLUSTER", "MYID"]).trim().to_owned()).collect();
    let from = keys.iter().position(|size| size != "0").unwrap();
    let to = (from + 1) % 3;
    nodes[to].cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &names[from]]);
    nodes[from].cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &names[to]]);
    loop {
        let some = nodes[from].cli(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
        let some: Vec<_> = some.split_whitespace().collect();
        if some.is_empty() {
            break;
        }
        let to_port = nodes[to].port().to_string();
        nodes[from].cli(&[&["MIGRATE", "127.0.0.1", &to_port, "", "0", "5000", "KEYS"], &some[..]].concat());
    }
    for node in [to, from] {
        nodes[node].cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &names[to]]);
    }
    begin_at_last(&store, 11).await;
    assert!(store.find(id(1)).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_are_asked_where_the_master_is_and_asked_again_when_it_has_changed() {
    let mut master = Redis::start();
    let replica = Redis::with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
    support::wait_until("the replica has caught up", || {
        replica.cli(&["INFO", "replication"]).contains("master_link_status:up")
    });
    let sentinel = Redis::sentinel_of(&master, "mymaster");
    support::wait_until("the sentinel knows the replica", || {
        sentinel.cli(&["SENTINEL", "REPLICAS", "mymaster"]).contains(&replica.port().to_string())
    });
    let url = |name: &str| format!("redis://127.0.0.1:{},127.0.0.1:{}?sentinel={name}", free_port(), sentinel.port());
    let unknown = problem(begin(&open(&url("another")), 1).await);
    assert!(unknown.contains("knows no master another"), "{unknown}");
    let store = open(&url("mymaster"));
    assert_eq!(begin(&store, 1).await, Ok(Begun::New));
    support::wait_until("the replica has it", || replica.cli(&["EXISTS", "{phonegate}:a:1"]).trim() == "1");
    master.kill();
    begin_at_last(&store, 2).await;
    assert_eq!(replica.cli(&["EXISTS", "{phonegate}:a:1", "{phonegate}:a:2"]).trim(), "2");
}
