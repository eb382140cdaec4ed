//! When an alert is delivered, repeated and given up.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_alert_is_delivered_once_and_recorded() {
    let mut scene = Scene::new(|_| Behavior::Take);
    for _ in 0..3 {
        scene.raise(AlertKind::Fraud, "number 1");
    }
    let (_, alert) = scene.delivery().await;
    assert_eq!((alert.kind, &*alert.text), (AlertKind::Fraud, "about number 1"));
    assert_eq!(*alert.node, platform::machine_name());
    scene.waits_until(are_delivered).await;
    sleep(ALERT_LEASE * 3).await;
    assert!(scene.deliveries.try_recv().is_err(), "it is delivered once");
    assert_eq!(scene.counted("fraud", "delivered"), 1);
    let sent = scene.logged("alert_sent");
    assert_eq!((sent.len(), &sent[0]["text"]), (1, &Value::from("fraud to mail")));
}

#[tokio::test(start_paused = true)]
async fn failed_deliveries_are_repeated_with_growing_pauses() {
    let mut scene = Scene::new(|n| if n < 9 { Behavior::Fail } else { Behavior::Take });
    scene.raise(AlertKind::Fraud, "number 1");
    let (mut last, first) = scene.delivery().await;
    for seconds in [10, 20, 40, 80, 160, 320, 640, 900, 900] {
        let (at, alert) = scene.delivery().await;
        let (pause, expected) = (at - last, Duration::from_secs(seconds));
        assert!(pause >= expected && pause <= expected + CLAIM_EVERY, "{pause:?} instead of {expected:?}");
        assert_eq!(alert.id, first.id, "each try has the same id");
        last = at;
    }
    scene.waits_until(are_delivered).await;
    assert_eq!((scene.counted("fraud", "failed"), scene.counted("fraud", "delivered")), (9, 1));
    // All tries together took less than an hour.
    let failed = scene.logged("alert_failed");
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0]["text"].as_str().unwrap().starts_with("fraud to mail: no answer. "), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failing_destination_is_logged_every_hour() {
    let scene = Scene::new(|_| Behavior::Fail);
    for n in 0..3 {
        scene.raise(AlertKind::Fraud, &format!("number {n}"));
    }
    // The next tries come up to a quarter of an hour after each full hour.
    sleep(Duration::from_secs(4 * 3600 + 3000)).await;
    let failed = scene.logged("alert_failed").len();
    assert!((4..=5).contains(&failed), "{failed}");
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_is_not_repeated() {
    let mut scene = Scene::new(|_| Behavior::Refuse);
    scene.raise(AlertKind::Fraud, "number 1");
    scene.delivery().await;
    scene.waits_until(|alerts| alerts.iter().any(|alert| alert.is_given_up)).await;
    sleep(MAX_RETRY_PAUSE * 2).await;
    assert!(scene.deliveries.try_recv().is_err());
    assert_eq!(scene.counted("fraud", "given_up"), 1);
    assert_eq!(scene.logged("alert_given_up").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_alert_of_a_week_ago_is_given_up_when_it_fails() {
    let store = Arc::<FakeStore>::default();
    let a_week_ago = SystemTime::now() - MAX_ALERT_WAIT;
    let old = add(&store, a_week_ago, |alert| serde_json::to_string(alert).unwrap()).await;
    let mut scene = Scene::with_store(store, |_| Behavior::Fail);
    assert_eq!(scene.delivery().await.1.id, old.id);
    scene.waits_until(|alerts| alerts[0].is_given_up).await;
}

#[tokio::test(start_paused = true)]
async fn a_destination_gets_one_delivery_at_a_time() {
    let mut scene = Scene::new(|n| if n == 1 { Behavior::Hang } else { Behavior::Take });
    for n in 0..5 {
        scene.raise(AlertKind::Fraud, &format!("number {n}"));
    }
    let both = [scene.delivery().await.1.text, scene.delivery().await.1.text];
    assert_ne!(both[0], both[1]);
    sleep(ALERT_LEASE * 3).await;
    assert!(scene.deliveries.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_hangs_delays_no_other() {
    let hang: Answer = Box::new(|_| Behavior::Hang);
    let take: Answer = Box::new(|_| Behavior::Take);
    let scene = Scene::with_destinations(Arc::default(), [("black hole", hang), ("mail", take)]);
    for n in 0..20 {
        scene.raise(AlertKind::Fraud, &format!("number {n}"));
    }
    let is_mail = |alert: &&ListedAlert| &*alert.destination == "mail" && alert.delivered_at.is_some();
    scene.waits_until(|alerts| alerts.iter().filter(is_mail).count() == 20).await;
    let listed = scene.store.alerts().await.unwrap();
    assert_eq!(listed.iter().filter(|alert| &*alert.destination == "black hole").count(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_report_of_fraud_is_urgent() {
    let mut scene = Scene::new(|_| Behavior::Hang);
    scene.raise(AlertKind::Fraud, "number 1");
    scene.delivery().await;
    for (kind, n) in [(AlertKind::BackendDown, 2), (AlertKind::Fraud, 3)] {
        scene.raise(kind, &format!("{n}"));
    }
    scene.waits_until(|alerts| alerts.len() == 3).await;
    let claimed = scene.store.claim_alerts(Owner(Uuid::from_u128(1)), &["mail".into()], 1).await.unwrap();
    let claimed: Alert = serde_json::from_str(&claimed[0].content).unwrap();
    assert_eq!(claimed.kind, AlertKind::Fraud);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_delivery_delays_that_alert_alone() {
    let mut scene = Scene::new(|n| if n == 0 { Behavior::Panic } else { Behavior::Take });
    scene.raise(AlertKind::Fraud, "number 1");
    let (panicked_at, panicked) = scene.delivery().await;
    scene.raise(AlertKind::Fraud, "number 2");
    let (at, next) = scene.delivery().await;
    assert!(&*next.text == "about number 2" && at - panicked_at < ALERT_LEASE, "the other one does not wait");
    let (at, again) = scene.delivery().await;
    assert!(again.id == panicked.id && at - panicked_at >= ALERT_LEASE, "it is claimed again after its lease");
}
