//! The connection to Redis: addresses, logins, rights and TLS.

use super::*;
use crate::support::approval::verified;

#[test]
fn an_unsafe_address_is_refused() {
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
    let without = RedisConfig::default();
    let error = RedisStore::open(&without, &NetworkConfig::default(), Path::new("")).err().unwrap();
    assert!(error.to_string().starts_with("store.url: is missing"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_password_is_accepted() {
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
async fn a_user_without_write_rights_gets_a_clear_error() {
    let redis = Redis::start();
    redis.cli(&["ACL", "SETUSER", "reader", "on", &format!(">{PASSWORD}"), "~*", "+@read"]);
    let store = open(&format!("redis://reader:open%40sesame@127.0.0.1:{}", redis.port()));
    let refused = problem(begin(&store, 1).await);
    assert!(refused.contains("NOPERM"), "{refused}");
    let refused = problem(store.check().await);
    assert!(refused.contains("NOPERM"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_needs_only_the_documented_rights() {
    let redis = Redis::start();
    let documents = std::fs::read_to_string(support::project_folder().join("docs/store.md")).unwrap();
    let start = documents.find("ACL SETUSER phonegate").expect("docs/store.md says what rights a user needs");
    let command = documents[start..].split('`').next().unwrap().replace("PASSWORD", PASSWORD);
    redis.cli(&command.split_whitespace().collect::<Vec<_>>());
    let store = open(&format!("redis://phonegate:open%40sesame@127.0.0.1:{}", redis.port()));
    assert!(store.check().await.unwrap().starts_with("Redis "));
    assert_eq!(begin(&store, 1).await, Ok(Begun::New));
    let step = AttemptChange::Step { event: CallEvent::Ringing, backend: None, text: None };
    let update = RecordedChange { attempt: new(1).attempt, at: SystemTime::UNIX_EPOCH, change: step };
    store.record(&[update]).await.unwrap();
    store.renew(OWNER).await.unwrap();
    assert!(store.find(id(1)).await.unwrap().is_some());
    assert_eq!(store.claim_orphans(ANOTHER, 1).await, Ok(vec![]));
    assert!(store.end(&end(1, verified())).await.unwrap().is_done());
    assert_eq!(store.steps(new(1).attempt).await.unwrap().len(), 1);
    assert_eq!(store.rows(&Query { limit: 1, ..Query::default() }).await.unwrap().len(), 1);
    assert_eq!(store.rows(&Query { limit: 1, id: Some(id(1)), ..Query::default() }).await.unwrap().len(), 1);
    assert!(!store.unblock(new(1).number.hash).await.unwrap());
    assert_eq!(store.blocks().await, Ok(vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_trusts_only_configured_authorities() {
    let redis = Redis::with_tls();
    let trusting = trusting(&redis);
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
    // The store's own `ca_file` replaces that of `network`.
    let own = |file: &str, network: &NetworkConfig| {
        let config = json!({ "url": redis.url(), "ca_file": file });
        RedisStore::open(&serde_json::from_value(config).unwrap(), network, Path::new(""))
    };
    assert_eq!(begin(&own(&redis.authority(), &missing).unwrap(), 3).await, Ok(Begun::New));
    let error = own("nowhere.pem", &trusting).err().unwrap();
    assert!(error.to_string().starts_with("store.ca_file: nowhere.pem: "), "{error}");
}
