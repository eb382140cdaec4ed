//! Alerts that wait in memory and in the store, and alerts that remain at shutdown.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_alert_of_another_version_waits_for_that_version() {
    let store = Arc::<FakeStore>::default();
    add(&store, SystemTime::now(), |_| "{\"kind\":\"unheard_of\"}".to_owned()).await;
    let mut scene = Scene::with_store(store, |_| Behavior::Take);
    scene.waits_until(|alerts| alerts[0].failures > 0).await;
    assert!(scene.deliveries.try_recv().is_err());
    let listed = scene.store.alerts().await.unwrap();
    assert!(!listed[0].is_given_up, "{listed:?}");
    assert_eq!(listed[0].error.as_deref(), Some("this version of PhoneGate cannot read the alert"));
}

#[tokio::test(start_paused = true)]
async fn alerts_wait_in_memory_while_the_store_is_unreachable() {
    let mut scene = Scene::new(|_| Behavior::Take);
    scene.store.disconnect();
    for n in 0..300 {
        scene.raise(AlertKind::Fraud, &format!("number {n}"));
        // Waits until the task has taken the first one out of the channel.
        tokio::task::yield_now().await;
    }
    sleep(Duration::from_secs(3600)).await;
    assert!(scene.deliveries.try_recv().is_err());
    let dropped = scene.counted("fraud", "dropped");
    assert_eq!(dropped, 300 - 257);
    scene.store.reconnect();
    let mut about = BTreeSet::new();
    while about.len() < 257 {
        about.insert(scene.delivery().await.1.text);
    }
    scene.waits_until(are_delivered).await;
    assert!(scene.deliveries.try_recv().is_err(), "each is delivered once");
    let logged = scene.logged("alerts_dropped");
    assert_eq!((logged.len(), &logged[0]["count"]), (1, &Value::from(dropped)));
}

#[tokio::test(start_paused = true)]
async fn a_result_is_recorded_when_the_store_is_back() {
    let store = Arc::<FakeStore>::default();
    let disconnecting = Arc::clone(&store);
    let mut scene = Scene::with_store(store, move |_| {
        disconnecting.disconnect();
        Behavior::Take
    });
    scene.raise(AlertKind::Fraud, "number 1");
    scene.delivery().await;
    sleep(ALERT_LEASE * 3).await;
    scene.store.reconnect();
    scene.waits_until(are_delivered).await;
    assert!(scene.deliveries.try_recv().is_err(), "it is not delivered again meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_returns_no_alerts_is_logged_every_hour() {
    let scene = Scene::new(|_| Behavior::Take);
    scene.store.disconnect();
    sleep(Duration::from_secs(4 * 3600 + 60)).await;
    let failed = scene.logged("alert_failed");
    assert_eq!(failed.len(), 5, "{failed:?}");
    assert!(failed[0]["text"].as_str().unwrap().contains("cannot be delivered: "), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn closing_keeps_alerts_and_returns_claimed_ones() {
    let mut scene = Scene::new(|_| Behavior::Hang);
    scene.raise(AlertKind::Fraud, "number 1");
    scene.delivery().await;
    for n in 2..=20 {
        scene.raise(AlertKind::Fraud, &format!("number {n}"));
    }
    timeout(Duration::from_secs(1), scene.alerts.close()).await.unwrap();
    scene.raise(AlertKind::Fraud, "too late");
    assert_eq!(scene.counted("fraud", "dropped"), 1);
    let claimed = scene.store.claim_alerts(Owner(Uuid::from_u128(1)), &["mail".into()], 100).await.unwrap();
    assert_eq!(claimed.len(), 20, "another process can deliver all of them at once");
    assert!(claimed.iter().all(|alert| alert.failures == 0));
}

#[tokio::test(start_paused = true)]
async fn closing_waits_no_longer_than_its_caller_says() {
    let scene = Scene::new(|_| Behavior::Take);
    scene.store.disconnect();
    scene.raise(AlertKind::Fraud, "number 1");
    assert!(timeout(Duration::from_secs(5), scene.alerts.close()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_alert_about_the_store_needs_no_store() {
    let mut scene = Scene::new(|_| Behavior::Fail);
    scene.store.disconnect();
    for _ in 0..3 {
        scene.raise(AlertKind::StoreDown, "the store");
    }
    assert_eq!(scene.delivery().await.1.kind, AlertKind::StoreDown);
    sleep(Duration::from_secs(60)).await;
    assert!(scene.deliveries.try_recv().is_err(), "it is tried once an hour");
    assert_eq!((scene.counted("store_down", "given_up"), scene.logged("alert_given_up").len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_no_destination_wants_leaves_nothing_behind() {
    let scene = Scene::new(|_| Behavior::Take);
    assert!(scene.alerts.wants(AlertKind::Fraud) && !scene.alerts.wants(AlertKind::Lockout));
    scene.raise(AlertKind::Lockout, "number 1");
    sleep(CLAIM_EVERY * 2).await;
    assert!(scene.store.alerts().await.unwrap().is_empty());
    assert_eq!(scene.counted("lockout", "dropped"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_node_asks_the_store_once_in_five_seconds() {
    let scene = Scene::new(|_| Behavior::Take);
    sleep(Duration::from_secs(600)).await;
    let claims = scene.store.claims.load(Ordering::Relaxed);
    assert!((119..=121).contains(&claims), "{claims}");
}

#[tokio::test(start_paused = true)]
async fn without_destinations_there_is_no_task() {
    let runtime = Handle::current();
    let before = runtime.metrics().num_alive_tasks();
    let log = Log::start(Level::Info, Sinks::default()).unwrap();
    let store = Arc::new(MemoryStore::default());
    let alerts = Alerts::start_with(&runtime, Vec::new(), store, true, log, Metrics::new([]).unwrap());
    assert_eq!(runtime.metrics().num_alive_tasks(), before);
    assert!(AlertKind::ALL.into_iter().all(|kind| !alerts.wants(kind)));
    alerts.close().await;
}
