//! Claims of calls whose owner is gone (S9).

use phonegate_approval::policy::Method;

use super::*;
use crate::support::approval::{attempts, verified};

/// Waits until a lease has expired, while another node writes as nodes do.
async fn a_lease_expires(open: &Open) {
    let store = open();
    for _ in 0..7 {
        store.renew(Owner(Uuid::from_u128(99))).await.unwrap();
        tokio::time::sleep(LEASE / 6).await;
    }
}

async fn claim_orphans(store: &Arc<dyn CallStore>, owner: Owner, most: usize) -> Vec<Attempt> {
    store.claim_orphans(owner, most).await.unwrap().into_iter().map(|orphan| orphan.attempt).collect()
}

#[test]
fn orphans_are_claimed_with_all_that_was_recorded() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        for n in [1, 2, 3] {
            assert_eq!(begin(&store, &new(attempt(n, 1), number(n))).await, Begun::New);
        }
        // One has only a backend that refused it, so it cannot be followed.
        let refused =
            AttemptChange::Step { event: CallEvent::BackendRefused, backend: Some("trunk".into()), text: None };
        let codes = Arc::new(attempts(Method::Code).to_stored());
        let (backend, reference) = ("trunk".into(), CallRef::new("CA1"));
        let placed = AttemptChange::Placed { backend, reference, attempts: Some(Arc::clone(&codes)) };
        store.record(&[update(attempt(1, 1), 1, placed), update(attempt(2, 1), 1, refused)]).await.unwrap();
        assert!(store.end(&end(attempt(3, 1), verified())).await.unwrap().is_done());
        assert_eq!(claim_orphans(&another, ANOTHER, 10).await, [], "its lease has only begun");
        a_lease_expires(open).await;
        let mut orphans = another.claim_orphans(ANOTHER, 10).await.unwrap();
        orphans.sort_by_key(|orphan| orphan.attempt.id);
        let orphan = |n, placed: Option<&str>, left| Orphan {
            attempt: attempt(n, 1),
            number: number(n).hash,
            masked: "+1******1212".into(),
            left,
            started: at(0),
            placed: placed.map(|reference| ("trunk".into(), CallRef::new(reference))),
            attempts: placed.map(|_| Arc::clone(&codes)),
        };
        let left: Vec<_> = orphans.iter().map(|orphan| orphan.left).collect();
        assert!(left.iter().all(|&left| left <= LONG - LEASE && left > Duration::from_secs(20)), "{left:?}");
        assert_eq!(orphans, [orphan(1, Some("CA1"), left[0]), orphan(2, None, left[1])]);
        assert_eq!(claim_orphans(&another, ANOTHER, 10).await, [], "once");
        assert_eq!(claim_orphans(&open(), A_THIRD, 10).await, [], "the new owner is alive");
        assert!(!store.end(&end(attempt(1, 1), verified())).await.unwrap().is_done(), "the old one has no say");
        assert!(another.end(&EndRequest { owner: ANOTHER, ..end(attempt(1, 1), verified()) }).await.unwrap().is_done());
        // And the calls of that owner, when its lease expires.
        a_lease_expires(open).await;
        assert_eq!(claim_orphans(&another, A_THIRD, 10).await, [attempt(2, 1)]);
    });
}

#[test]
fn calls_of_an_owner_that_renews_its_lease_are_not_claimed() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        let gone = NewAttempt { owner: A_THIRD, ..new(attempt(2, 1), number(2)) };
        assert_eq!(begin(&store, &new(attempt(1, 1), number(1))).await, Begun::New);
        assert_eq!(begin(&store, &gone).await, Begun::New);
        for _ in 0..5 {
            tokio::time::sleep(LEASE / 3).await;
            store.renew(OWNER).await.unwrap();
        }
        assert_eq!(claim_orphans(&another, ANOTHER, 10).await, [attempt(2, 1)]);
        assert!(store.end(&end(attempt(1, 1), verified())).await.unwrap().is_done());
    });
}

#[test]
fn a_call_that_is_just_overdue_stays_with_its_live_owner() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        let deadline = Duration::from_millis(100);
        assert_eq!(begin(&store, &NewAttempt { deadline, ..new(attempt(1, 1), number(1)) }).await, Begun::New);
        tokio::time::sleep(2 * deadline).await;
        store.renew(OWNER).await.unwrap();
        assert_eq!(claim_orphans(&another, ANOTHER, 10).await, [], "its owner may be hanging up");
        assert!(store.end(&end(attempt(1, 1), failed(FailureReason::DeadlinePassed))).await.unwrap().is_done());
    });
}

#[test]
fn each_orphan_is_claimed_once_within_the_limit() {
    on_every_store(async |open| {
        let store = open();
        for n in 1..=20 {
            assert_eq!(begin(&store, &new(attempt(n, 1), number(n))).await, Begun::New);
        }
        a_lease_expires(open).await;
        assert_eq!(claim_orphans(&store, OWNER, 10).await, [], "its own are no orphans, however late it is");
        a_lease_expires(open).await;
        assert_eq!(claim_orphans(&store, ANOTHER, 0).await, []);
        let mut takers = JoinSet::new();
        for n in 10..14 {
            let (store, owner) = (open(), Owner(Uuid::from_u128(n)));
            takers.spawn(async move {
                let mut mine = Vec::new();
                for _ in 0..5 {
                    let taken = claim_orphans(&store, owner, 3).await;
                    assert!(taken.len() <= 3, "{taken:?}");
                    mine.extend(taken);
                }
                mine
            });
        }
        let mut taken: Vec<_> = takers.join_all().await.into_iter().flatten().map(|taken| taken.id).collect();
        taken.sort();
        assert_eq!(taken, (1..=20).map(id).collect::<Vec<_>>());
    });
}
