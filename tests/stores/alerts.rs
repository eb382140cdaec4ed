//! Alerts: each waits until it is delivered, by one owner at a time (S19).

use std::collections::BTreeSet;

use futures_util::future::join_all;
use phonegate::store::{
    AlertAdded, DeliveryResult, ListedAlert, MAX_WAITING_ALERTS, MAX_WAITING_ALERTS_TOTAL, QueuedAlert,
};

use super::*;

const MAIL: &str = "6d61696c";
const SYSLOG: &str = "7379736c";

const HOUR: Duration = Duration::from_secs(3600);

/// The n-th alert for a destination, about something of its own.
fn alert_for(destination: &str, n: u128) -> QueuedAlert {
    QueuedAlert {
        id: Uuid::from_u128(n),
        destination: destination.into(),
        about: format!("fraud:{n}").into(),
        raised_at: at(n as u64),
        content: format!("{{\"text\":\"é \\\"{n}\\\"\"}}").into(),
        is_urgent: false,
    }
}

fn alert(n: u128) -> QueuedAlert {
    alert_for(MAIL, n)
}

async fn add(store: &Arc<dyn CallStore>, alert: &QueuedAlert) -> AlertAdded {
    store.add_alert(alert).await.unwrap()
}

/// The ids of the alerts that an owner claims.
async fn claim(store: &Arc<dyn CallStore>, owner: Owner, destinations: &[&str], most: usize) -> BTreeSet<u128> {
    let destinations: Vec<Box<str>> = destinations.iter().map(|&destination| destination.into()).collect();
    let claimed = store.claim_alerts(owner, &destinations, most).await.unwrap();
    claimed.iter().map(|alert| alert.id.as_u128()).collect()
}

async fn tried(store: &Arc<dyn CallStore>, owner: Owner, n: u128, tried: DeliveryResult) -> bool {
    store.record_delivery(owner, Uuid::from_u128(n), &tried).await.unwrap()
}

fn failed_for(again_after: Duration) -> DeliveryResult {
    DeliveryResult::Failed { again_after, error: "no route to \"host\"".into() }
}

fn given_up() -> DeliveryResult {
    DeliveryResult::GivenUp { error: "gone".into() }
}

async fn listed(store: &Arc<dyn CallStore>, n: u128) -> ListedAlert {
    store.alerts().await.unwrap().into_iter().find(|alert| alert.id == Uuid::from_u128(n)).unwrap()
}

#[test]
fn an_alert_about_the_same_is_added_once_per_destination() {
    on_every_store(async |open| {
        let (store, other) = (open(), open());
        assert_eq!(add(&store, &alert(1)).await, AlertAdded::New);
        assert_eq!(add(&other, &alert(1)).await, AlertAdded::Repeated, "the same again");
        let repeated = QueuedAlert { id: Uuid::from_u128(2), ..alert(1) };
        assert_eq!(add(&other, &repeated).await, AlertAdded::Repeated, "another one about the same");
        assert_eq!(add(&store, &QueuedAlert { destination: SYSLOG.into(), ..repeated }).await, AlertAdded::New);
        assert_eq!(add(&store, &alert(3)).await, AlertAdded::New);
        // Also after its delivery.
        claim(&store, OWNER, &[MAIL], 10).await;
        assert!(tried(&store, OWNER, 1, DeliveryResult::Delivered).await);
        assert!(tried(&store, OWNER, 3, given_up()).await);
        for n in [1, 3] {
            let again = QueuedAlert { id: Uuid::from_u128(n + 10), ..alert(n) };
            assert_eq!(add(&other, &again).await, AlertAdded::Repeated);
        }
    });
}

#[test]
fn an_alert_is_claimed_by_one_owner_at_a_time() {
    on_every_store(async |open| {
        let stores: Vec<_> = (0..4).map(|_| open()).collect();
        for n in 0..20 {
            add(&stores[0], &alert(n)).await;
        }
        let claims = (0..40).map(|n| {
            let store = &stores[n % stores.len()];
            claim(store, Owner(Uuid::from_u128(100 + n as u128)), &[MAIL], 3)
        });
        let claimed: Vec<_> = join_all(claims).await.into_iter().flatten().collect();
        assert_eq!(claimed.len(), 20, "each is claimed once: {claimed:?}");
        assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>(), (0..20).collect());
    });
}

#[test]
fn a_claim_has_the_alerts_content_and_its_destinations_only() {
    on_every_store(async |open| {
        let store = open();
        for (destination, n) in [(MAIL, 1), (SYSLOG, 2), (MAIL, 3)] {
            assert_eq!(add(&store, &alert_for(destination, n)).await, AlertAdded::New);
        }
        assert_eq!(claim(&store, OWNER, &[], 10).await, BTreeSet::new());
        assert_eq!(claim(&store, OWNER, &["none"], 10).await, BTreeSet::new());
        assert_eq!(claim(&store, OWNER, &[MAIL], 0).await, BTreeSet::new());
        let claimed = store.claim_alerts(OWNER, &[SYSLOG.into(), "none".into()], 10).await.unwrap();
        let [claimed] = claimed.as_slice() else { panic!("{claimed:?}") };
        let expected = alert_for(SYSLOG, 2);
        assert_eq!((claimed.id, &claimed.content, claimed.failures), (expected.id, &expected.content, 0));
        assert_eq!(&claimed.destination, &expected.destination);
        assert_eq!(claim(&store, OWNER, &[MAIL, SYSLOG], 1).await.len(), 1);
        assert_eq!(claim(&store, OWNER, &[MAIL, SYSLOG], 10).await.len(), 1);
    });
}

#[test]
fn a_claim_has_some_alerts_for_each_destination() {
    on_every_store(async |open| {
        let store = open();
        for n in 1..=6 {
            add(&store, &alert(n)).await;
        }
        for n in 7..=9 {
            add(&store, &alert_for(SYSLOG, n)).await;
        }
        let claimed = store.claim_alerts(OWNER, &[MAIL.into(), SYSLOG.into()], 2).await.unwrap();
        let count = |key: &str| claimed.iter().filter(|alert| &*alert.destination == key).count();
        assert_eq!((count(MAIL), count(SYSLOG), claimed.len()), (2, 2, 4));
    });
}

#[test]
fn urgent_alerts_are_claimed_first() {
    on_every_store(async |open| {
        let store = open();
        for n in 1..=6 {
            let added = QueuedAlert { is_urgent: n % 2 == 0, ..alert(n) };
            assert_eq!(add(&store, &added).await, AlertAdded::New);
        }
        assert_eq!(claim(&store, OWNER, &[MAIL], 2).await.iter().filter(|n| *n % 2 == 0).count(), 2);
        let rest = claim(&store, OWNER, &[MAIL], 2).await;
        assert_eq!(rest.iter().filter(|n| *n % 2 == 0).count(), 1, "the third urgent one and one other: {rest:?}");
        for n in [2, 4, 6] {
            assert!(tried(&store, OWNER, n, DeliveryResult::Delivered).await);
        }
        assert_eq!(claim(&store, OWNER, &[MAIL], 10).await.len(), 2);
    });
}

#[test]
fn an_alert_that_ended_is_not_claimed_again() {
    on_every_store(async |open| {
        let (store, other) = (open(), open());
        for n in 1..=2 {
            add(&store, &alert(n)).await;
        }
        assert_eq!(claim(&store, OWNER, &[MAIL], 10).await, BTreeSet::from([1, 2]));
        assert!(!tried(&other, ANOTHER, 1, DeliveryResult::Delivered).await, "another owner's word changes nothing");
        assert!(!tried(&other, OWNER, 7, DeliveryResult::Delivered).await, "there is no such alert");
        assert!(tried(&store, OWNER, 1, DeliveryResult::Delivered).await);
        assert!(tried(&store, OWNER, 2, given_up()).await);
        for n in 1..=2 {
            assert!(!tried(&store, OWNER, n, failed_for(Duration::ZERO)).await, "it has ended");
        }
        assert_eq!(claim(&other, ANOTHER, &[MAIL], 10).await, BTreeSet::new());
        let (delivered, lost) = (listed(&other, 1).await, listed(&other, 2).await);
        assert!(delivered.delivered_at.is_some_and(|delivered| delivered > at(0)), "{delivered:?}");
        assert_eq!((delivered.failures, delivered.error, delivered.is_given_up), (0, None, false));
        assert_eq!((lost.failures, lost.error.as_deref(), lost.is_given_up), (1, Some("gone"), true));
        assert_eq!(lost.delivered_at, None);
    });
}

#[test]
fn a_failed_alert_is_due_after_its_pause() {
    on_every_store(async |open| {
        let (store, other) = (open(), open());
        for n in 1..=2 {
            add(&store, &alert(n)).await;
        }
        claim(&store, OWNER, &[MAIL], 10).await;
        assert!(tried(&store, OWNER, 1, failed_for(Duration::ZERO)).await);
        assert!(tried(&store, OWNER, 2, failed_for(HOUR)).await);
        let claimed = other.claim_alerts(ANOTHER, &[MAIL.into()], 10).await.unwrap();
        assert_eq!(claimed.iter().map(|alert| (alert.id.as_u128(), alert.failures)).collect::<Vec<_>>(), [(1, 1)]);
        assert!(!tried(&store, OWNER, 1, DeliveryResult::Delivered).await, "it is claimed by another owner");
        let failed = listed(&store, 2).await;
        assert_eq!((failed.failures, failed.error.as_deref()), (1, Some("no route to \"host\"")));
        assert!(!failed.is_given_up && failed.delivered_at.is_none());
    });
}

#[test]
fn an_alert_that_is_given_back_is_due_at_once() {
    on_every_store(async |open| {
        let (store, other) = (open(), open());
        add(&store, &alert(1)).await;
        claim(&store, OWNER, &[MAIL], 10).await;
        assert!(tried(&store, OWNER, 1, DeliveryResult::Returned).await);
        assert_eq!(claim(&other, ANOTHER, &[MAIL], 10).await, BTreeSet::from([1]));
        assert_eq!(listed(&other, 1).await.failures, 0);
    });
}

#[test]
fn a_claim_ends_with_its_lease() {
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("PHONEGATE_FAULT", "store.alert_lease") };
    on_every_store(async |open| {
        let (store, other) = (open(), open());
        add(&store, &alert(1)).await;
        assert_eq!(claim(&store, OWNER, &[MAIL], 10).await, BTreeSet::from([1]));
        while claim(&other, ANOTHER, &[MAIL], 10).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(!tried(&store, OWNER, 1, DeliveryResult::Delivered).await, "another owner has claimed it");
        assert!(tried(&other, ANOTHER, 1, DeliveryResult::Delivered).await);
    });
}

#[test]
fn a_thousand_alerts_wait_for_a_destination() {
    on_every_store(async |open| {
        let store = open();
        let most = MAX_WAITING_ALERTS as u128;
        let alerts: Vec<_> = (0..most).map(|n| QueuedAlert { is_urgent: n % 3 == 0, ..alert(n) }).collect();
        let added = join_all(alerts.iter().map(|alert| add(&store, alert))).await;
        assert!(added.iter().all(|added| *added == AlertAdded::New));
        assert_eq!(add(&store, &alert(most)).await, AlertAdded::Full);
        assert_eq!(add(&store, &alerts[0]).await, AlertAdded::Repeated);
        let other = alert_for(SYSLOG, most + 10);
        assert_eq!(add(&store, &other).await, AlertAdded::New, "another destination has room");
        for n in claim(&store, OWNER, &[MAIL], 2).await {
            assert!(tried(&store, OWNER, n, DeliveryResult::Delivered).await);
        }
        let added = [add(&store, &alert(most)).await, add(&store, &alert(most + 1)).await];
        assert_eq!(added, [AlertAdded::New; 2]);
        assert_eq!(add(&store, &alert(most + 2)).await, AlertAdded::Full);
        assert_eq!(store.alerts().await.unwrap().len(), MAX_WAITING_ALERTS + 3);
    });
}

#[test]
fn sixteen_thousand_alerts_wait_in_all() {
    on_every_store(async |open| {
        let store = open();
        let most = MAX_WAITING_ALERTS_TOTAL as u128;
        let alerts: Vec<_> = (0..most).map(|n| alert_for(&format!("{}", n % 20), n)).collect();
        for some in alerts.chunks(500) {
            let added = join_all(some.iter().map(|alert| add(&store, alert))).await;
            assert!(added.iter().all(|added| *added == AlertAdded::New));
        }
        assert_eq!(add(&store, &alert(most)).await, AlertAdded::Full);
    });
}

#[test]
fn a_sweep_leaves_recent_alerts_and_lists_the_newest_first() {
    on_every_store(async |open| {
        let store = open();
        for n in [2, 4, 1, 3] {
            add(&store, &alert(n)).await;
        }
        claim(&store, OWNER, &[MAIL], 10).await;
        assert!(tried(&store, OWNER, 4, DeliveryResult::Delivered).await);
        assert!(tried(&store, OWNER, 1, given_up()).await);
        let before = store.alerts().await.unwrap();
        assert_eq!(before.iter().map(|alert| alert.id.as_u128()).collect::<Vec<_>>(), [4, 3, 2, 1]);
        assert_eq!((&before[1].content, before[1].raised_at), (&alert(3).content, at(3)));
        store.sweep(LONG).await.unwrap();
        assert_eq!(open().alerts().await.unwrap(), before);
    });
}

/// One of several changes, at random, and what the store answers.
async fn change(store: &Arc<dyn CallStore>, random: &mut fastrand::Rng) -> String {
    let owner = [OWNER, ANOTHER][random.usize(..2)];
    let n = random.u128(..6);
    match random.u8(..8) {
        0..3 => {
            let new =
                QueuedAlert { id: Uuid::from_u128(random.u128(..)), ..alert_for([MAIL, SYSLOG][random.usize(..2)], n) };
            format!("add {n} {:?}", add(store, &new).await)
        }
        3..5 => {
            let destinations = [&[MAIL][..], &[SYSLOG], &[MAIL, SYSLOG]][random.usize(..3)];
            format!("claim {:?}", claim(store, owner, destinations, 100).await)
        }
        _ => {
            let mut alerts = store.alerts().await.unwrap();
            alerts.sort_by_key(|alert| alert.id);
            if alerts.is_empty() {
                return "none".to_owned();
            }
            let id = alerts[random.usize(..alerts.len())].id.as_u128();
            let result = match random.u8(..6) {
                0 => DeliveryResult::Delivered,
                1 => given_up(),
                2 => failed_for(HOUR),
                3 => DeliveryResult::Returned,
                _ => failed_for(Duration::ZERO),
            };
            format!("{result:?} {}", tried(store, owner, id, result.clone()).await)
        }
    }
}

#[test]
fn every_store_treats_alerts_alike() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    on_every_store(async |open| {
        let (store, model): (_, Arc<dyn CallStore>) = (open(), Arc::new(MemoryStore::default()));
        let (mut random, mut model_random) = (fastrand::Rng::with_seed(seed), fastrand::Rng::with_seed(seed));
        for turn in 0..300 {
            let (answer, expected) = (change(&store, &mut random).await, change(&model, &mut model_random).await);
            assert_eq!(answer, expected, "seed {seed}, turn {turn}");
        }
        let comparable = |mut alerts: Vec<ListedAlert>| {
            alerts.sort_by_key(|alert| alert.id);
            let of = |alert: ListedAlert| {
                (alert.id, alert.failures, alert.error, alert.delivered_at.is_some(), alert.is_given_up)
            };
            alerts.into_iter().map(of).collect::<Vec<_>>()
        };
        let (kept, expected) = (store.alerts().await.unwrap(), model.alerts().await.unwrap());
        assert_eq!(comparable(kept), comparable(expected), "seed {seed}");
    });
}
