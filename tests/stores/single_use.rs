//! Approvals that are used once (S16).

use super::*;
use crate::support::approval::verified;

async fn approved(store: &Arc<dyn CallStore>, n: u128) -> Attempt {
    let one = attempt(n, 1);
    assert_eq!(begin(store, &new(one, number(n))).await, Begun::New);
    assert!(store.end(&end(one, verified())).await.unwrap().is_done());
    one
}

#[test]
fn an_approval_is_used_up_by_the_first_owner_that_asks() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        let one = approved(&store, 1).await;
        for _ in 0..2 {
            assert_eq!(another.use_approval(one, ANOTHER).await, Ok(true));
            assert_eq!(store.use_approval(one, OWNER).await, Ok(false), "also not the owner of the call");
            assert_eq!(open().use_approval(one, ANOTHER).await, Ok(true), "it may ask again");
        }
        assert_eq!(ended(&store, id(1)).await, (1, stored(verified())), "it is an approval all the same");
        let two = approved(&store, 2).await;
        assert_eq!(store.use_approval(two, OWNER).await, Ok(true), "each approval has its own owner");
    });
}

#[test]
fn of_many_owners_that_ask_at_once_one_uses_an_approval() {
    on_every_store(async |open| {
        let stores: Vec<_> = (0..4).map(|_| open()).collect();
        let one = approved(&stores[0], 1).await;
        let mut asking = JoinSet::new();
        for (n, store) in (0..32).zip(stores.iter().cycle()) {
            let store = Arc::clone(store);
            // Each owner asks twice.
            let owner = Owner(Uuid::from_u128(100 + n / 2));
            asking.spawn(async move { (owner, store.use_approval(one, owner).await.unwrap()) });
        }
        let users: Vec<_> =
            asking.join_all().await.into_iter().filter_map(|(owner, used)| used.then_some(owner)).collect();
        assert!(users.len() == 2 && users[0] == users[1], "{users:?}");
    });
}

#[test]
fn only_the_current_approval_of_an_id_is_used() {
    on_every_store(async |open| {
        let store = open();
        let used = async |attempt| store.use_approval(attempt, OWNER).await.unwrap();
        assert!(!used(attempt(1, 1)).await, "there is no such attempt");
        assert_eq!(begin(&store, &new(attempt(1, 1), number(1))).await, Begun::New);
        assert!(!used(attempt(1, 1)).await, "it is pending");
        assert!(store.end(&end(attempt(1, 1), failed(FailureReason::WrongKey))).await.unwrap().is_done());
        assert!(!used(attempt(1, 1)).await, "it has failed");
        store.record(&[update(attempt(2, 1), 0, refused(Some(number(2))))]).await.unwrap();
        assert!(!used(attempt(2, 1)).await, "it was refused");
        let three = approved(&store, 3).await;
        assert!(!used(attempt(3, 2)).await, "of another generation");
        assert_eq!(begin(&store, &new(attempt(3, 2), number(3))).await, Begun::New);
        assert!(!used(three).await, "a newer attempt is pending");
        assert!(store.end(&end(attempt(3, 2), verified())).await.unwrap().is_done());
        assert!(!used(three).await, "a newer attempt has ended");
        assert!(used(attempt(3, 2)).await);
    });
}

#[test]
fn a_used_approval_stays_used_after_the_next_attempt_of_its_id() {
    on_every_store(async |open| {
        let store = open();
        let one = approved(&store, 1).await;
        assert!(store.use_approval(one, OWNER).await.unwrap());
        assert_eq!(begin(&store, &new(attempt(1, 2), number(1))).await, Begun::New);
        assert!(!store.use_approval(one, OWNER).await.unwrap(), "not even for the owner that used it");
        assert!(!store.use_approval(attempt(1, 2), OWNER).await.unwrap());
        assert!(store.end(&end(attempt(1, 2), verified())).await.unwrap().is_done());
        assert!(store.use_approval(attempt(1, 2), ANOTHER).await.unwrap(), "a new approval has no owner yet");
        assert!(!store.use_approval(attempt(1, 2), OWNER).await.unwrap());
    });
}
