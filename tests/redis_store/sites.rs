//! Two sites in one Redis: neither sees the calls, limits or blocks of the other.

use super::*;
use crate::support::approval::verified;
use phonegate::call::StoredOutcome;
use phonegate::store::{Ended, LimitStore};

/// The store of a site, with the rights of a user who may use its keys alone, if `user` is named.
fn site(redis: &Redis, user: Option<&str>, site: Option<&str>) -> RedisStore {
    let login = user.map(|user| format!("{user}:open%40sesame@")).unwrap_or_default();
    let url = format!("redis://{login}127.0.0.1:{}", redis.port());
    let config = json!({ "url": url, "site": site });
    RedisStore::open(&serde_json::from_value(config).unwrap(), &NetworkConfig::default(), Path::new("")).unwrap()
}

fn block(n: u128) -> Block {
    let number = new(n).number.hash;
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    Block {
        number,
        scope: BlockScope::Line,
        masked: "+1******1212".into(),
        reason: "of one site".into(),
        since,
        until: None,
    }
}

/// The keys of a Redis, in their order.
fn keys(redis: &Redis) -> Vec<String> {
    let mut keys: Vec<_> = redis.cli(&["KEYS", "*"]).lines().map(str::to_owned).collect();
    keys.sort();
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sites_in_one_redis_see_nothing_of_each_other() {
    let redis = Redis::start();
    let (ours, theirs) = (site(&redis, None, Some("test")), site(&redis, None, None));
    let one = Limits { calls_per_number: 1, concurrent_calls: 1, calls_per_minute: 1, ..NO_LIMITS };
    // The same request, to the same number, when the limits allow one call.
    assert_eq!(ours.begin(&new(1), &one).await, Ok(Begun::New));
    assert_eq!(theirs.begin(&new(1), &one).await, Ok(Begun::New));
    assert!(matches!(
        theirs.begin(&new(2), &one).await,
        Ok(Begun::Refused(Refusal::Limit { limit: CallLimit::CallsPerMinute, .. }))
    ));

    ours.block(&block(3)).await.unwrap();
    assert_eq!(theirs.blocks().await, Ok(vec![]));
    assert!(!theirs.unblock(block(3).number).await.unwrap());
    assert_eq!(theirs.begin(&new(3), &NO_LIMITS).await, Ok(Begun::New));
    assert!(matches!(ours.begin(&new(3), &NO_LIMITS).await, Ok(Begun::Refused(Refusal::Blocked { .. }))));

    let step = AttemptChange::Step { event: CallEvent::Ringing, backend: None, text: None };
    ours.record(&[RecordedChange { attempt: new(1).attempt, at: SystemTime::UNIX_EPOCH, change: step }]).await.unwrap();
    assert_eq!(ours.steps(new(1).attempt).await.unwrap().len(), 1);
    assert_eq!(theirs.steps(new(1).attempt).await, Ok(vec![]));
    assert!(ours.end(&end(1, verified())).await.unwrap().is_done());
    let is_ended = |current: Option<phonegate::store::LatestAttempt>| {
        matches!(current.unwrap().state, AttemptState::Ended { outcome: StoredOutcome::Verified(_), .. })
    };
    assert!(is_ended(ours.find(id(1)).await.unwrap()) && !is_ended(theirs.find(id(1)).await.unwrap()));
    let rows = async |store: &RedisStore| store.rows(&Query { limit: 9, ..Query::default() }).await.unwrap().len();
    assert_eq!((rows(&ours).await, rows(&theirs).await), (1, 2));
}

/// At both sites, the number is locked or not, and the day counts, whatever the other one does.
#[tokio::test(flavor = "multi_thread")]
async fn two_sites_share_no_lock_counter_or_used_approval() {
    let redis = Redis::start();
    let (ours, theirs) = (site(&redis, None, Some("test")), site(&redis, None, None));
    let limits = Limits {
        calls_per_number_per_day: 1,
        line_per_minute: 1,
        line_in_progress: 1,
        calls_per_day: Some(1),
        country_per_day: Some(1),
        ..NO_LIMITS
    };
    let one = limits::to_latvia(1);
    for store in [&ours, &theirs] {
        assert_eq!(store.begin(&one, &limits).await, Ok(Begun::New));
        assert_eq!(store.usage().await.unwrap().by_country.iter().map(|(_, calls)| *calls).collect::<Vec<_>>(), [1]);
    }
    assert!(matches!(ours.end(&limits::denied(1)).await, Ok(Ended::Yes { locked_until: Some(_) })));
    assert_eq!([ours.locks().await.unwrap().len(), theirs.locks().await.unwrap().len()], [1, 0]);
    assert_eq!(theirs.unlock(&[one.number.hash]).await, Ok(false));
    assert_eq!(ours.unlock(&[one.number.hash]).await, Ok(true));
    assert!(theirs.end(&end(1, verified())).await.unwrap().is_done());
    assert_eq!(ours.use_approval(one.attempt, ANOTHER).await, Ok(false));
    assert_eq!(theirs.use_approval(one.attempt, OWNER).await, Ok(true));
}

/// The owner renews its lease at one site, and is gone at the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_site_claims_no_calls_of_another() {
    let redis = Redis::start();
    let (ours, theirs) = (site(&redis, None, Some("test")), site(&redis, None, Some("production")));
    theirs.renew(ANOTHER).await.unwrap();
    assert_eq!(begin(&ours, 1).await, Ok(Begun::New));
    let start = Instant::now();
    loop {
        assert_eq!(theirs.claim_orphans(ANOTHER, 9).await, Ok(vec![]));
        let claimed = ours.claim_orphans(ANOTHER, 9).await.unwrap();
        if let [orphan] = claimed.as_slice() {
            break assert_eq!(orphan.attempt, new(1).attempt);
        }
        assert!(start.elapsed() < support::EVENT_TIMEOUT, "{claimed:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(start.elapsed() >= LEASE, "its own site waits for the lease");
    assert!(ours.end(&EndRequest { owner: ANOTHER, ..end(1, verified()) }).await.unwrap().is_done());
    theirs.sweep(Duration::ZERO).await.unwrap();
    assert!(ours.find(id(1)).await.unwrap().is_some(), "another site's sweep forgets nothing here");
    ours.sweep(Duration::ZERO).await.unwrap();
    assert!(ours.find(id(1)).await.unwrap().is_none(), "its own does");
}

/// Keys of the site `default` have no site in them, and no other site's keys begin like these.
#[tokio::test(flavor = "multi_thread")]
async fn every_key_names_its_site() {
    let redis = Redis::start();
    let fill = async |site: &RedisStore| {
        for n in [1, 2, 4] {
            assert_eq!(site.begin(&limits::to_latvia(n), &NO_LIMITS).await, Ok(Begun::New));
        }
        assert!(site.end(&limits::denied(4)).await.unwrap().is_done());
        assert_eq!(site.locks().await.unwrap().len(), 1);
        assert_eq!(site.usage().await.unwrap().day, 3);
        site.block(&block(3)).await.unwrap();
        let step = AttemptChange::Step { event: CallEvent::Ringing, backend: None, text: None };
        site.record(&[RecordedChange { attempt: new(1).attempt, at: SystemTime::UNIX_EPOCH, change: step }])
            .await
            .unwrap();
        assert!(site.end(&end(1, verified())).await.unwrap().is_done());
        assert_eq!(site.use_approval(new(1).attempt, OWNER).await, Ok(true));
        site.claim_orphans(ANOTHER, 9).await.unwrap();
        site.sweep(Duration::from_secs(86_400)).await.unwrap();
        assert!(site.check().await.unwrap().starts_with("Redis "));
    };
    fill(&site(&redis, None, None)).await;
    let of_default = keys(&redis);
    assert!(of_default.iter().all(|key| key.starts_with("{phonegate}:")), "{of_default:?}");
    redis.cli(&["FLUSHALL"]);
    fill(&site(&redis, None, Some("default"))).await;
    assert_eq!(keys(&redis), of_default, "`default` is the site of those that name none");

    redis.cli(&["FLUSHALL"]);
    // A user who may touch the keys of one site alone.
    let rights = format!("ACL SETUSER one on >{PASSWORD} ~{{phonegate}}@one:* +@all -@admin -@dangerous +info");
    redis.cli(&rights.split_whitespace().collect::<Vec<_>>());
    fill(&site(&redis, Some("one"), Some("one"))).await;
    let of_one = keys(&redis);
    assert!(of_one.iter().all(|key| key.starts_with("{phonegate}@one:")), "{of_one:?}");
    let refused = problem(begin(&site(&redis, Some("one"), None), 5).await);
    assert!(refused.contains("NOPERM"), "{refused}");
    assert_eq!(keys(&redis), of_one);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_works_in_a_cluster() {
    let nodes = Redis::cluster();
    for node in &nodes {
        let url = format!("redis://127.0.0.1:{}?cluster=true", node.port());
        let config = json!({ "url": url, "site": "test" });
        let store =
            RedisStore::open(&serde_json::from_value(config).unwrap(), &NetworkConfig::default(), Path::new(""));
        begin_at_last(&store.unwrap(), u128::from(node.port())).await;
    }
}
