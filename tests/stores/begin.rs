//! Which attempts begin (S1, S2, S3, S8).

use super::*;
use crate::support::approval::verified;

#[test]
fn of_simultaneous_repeats_of_an_id_one_begins() {
    on_every_store(async |open| {
        let news = (1..=64).map(|generation| new(attempt(1, generation), number(1)));
        let begun = begin_at_once(open, NO_LIMITS, news).await;
        let [the_one] = new_ones(&begun)[..] else { panic!("{begun:?}") };
        let others = begun.iter().filter(|(attempt, _)| *attempt != the_one);
        others.for_each(|(_, begun)| assert_eq!(*begun, Begun::AlreadyOwned(the_one.generation)));
        assert!(is_pending(&open(), the_one).await);
        assert_eq!(all_rows(&open()).await.len(), 1);
    });
}

#[test]
fn of_simultaneous_calls_to_a_number_one_begins() {
    on_every_store(async |open| {
        let news = (1..=64).map(|n| new(attempt(n, 1), number(1)));
        let begun = begin_at_once(open, NO_LIMITS, news).await;
        let [the_one] = new_ones(&begun)[..] else { panic!("{begun:?}") };
        let others = begun.iter().filter(|(attempt, _)| *attempt != the_one);
        others.for_each(|(_, begun)| assert_eq!(*begun, Begun::Refused(Refusal::InProgress)));
    });
}

#[test]
fn a_repeated_begin_of_the_same_attempt_returns_new() {
    on_every_store(async |open| {
        let limits = Limits { calls_per_number: 1, calls_per_minute: 1, concurrent_calls: 1, ..NO_LIMITS };
        let (store, new) = (open(), new(attempt(1, 1), number(1)));
        for _ in 0..3 {
            assert_eq!(store.begin(&new, &limits).await, Ok(Begun::New));
        }
        assert_eq!(all_rows(&store).await.len(), 1);
    });
}

#[test]
fn an_ended_attempt_never_begins_again() {
    on_every_store(async |open| {
        let store = open();
        // Its answer did not come in time: it was given up, and its first message arrives last.
        store.record(&[update(attempt(1, 1), 0, refused(Some(number(1))))]).await.unwrap();
        let late = store.begin(&new(attempt(1, 1), number(1)), &NO_LIMITS).await;
        assert_eq!(kind_of(late), StoreErrorKind::Refused);
        assert_eq!(ended(&store, id(1)).await, (1, stored(failed(FailureReason::Throttled))));
        // The number is free.
        assert_eq!(begin(&store, &new(attempt(2, 1), number(1))).await, Begun::New);
        assert!(store.end(&end(attempt(2, 1), verified())).await.unwrap().is_done());
        let late = store.begin(&new(attempt(2, 1), number(1)), &NO_LIMITS).await;
        assert_eq!(kind_of(late), StoreErrorKind::Refused);
    });
}

#[test]
fn a_pending_id_takes_no_other_number() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        assert_eq!(begin(&store, &new(attempt(1, 1), number(1))).await, Begun::New);
        let refused = Begun::Refused(Refusal::OtherNumber);
        assert_eq!(begin(&another, &new(attempt(1, 2), number(2))).await, refused);
        assert_eq!(begin(&another, &new(attempt(1, 2), extension(1, 7))).await, refused);
        assert!(is_pending(&store, attempt(1, 1)).await);
        assert_eq!(begin(&another, &new(attempt(2, 1), number(2))).await, Begun::New);
    });
}

#[test]
fn a_number_is_held_until_its_phone_stops_ringing() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        let taken = Begun::Refused(Refusal::InProgress);
        assert_eq!(begin(&store, &new(attempt(1, 1), number(1))).await, Begun::New);
        assert_eq!(begin(&another, &new(attempt(2, 1), number(1))).await, taken);
        assert_eq!(begin(&another, &new(attempt(3, 1), extension(1, 7))).await, Begun::New, "an extension is another");
        let unreleased = EndRequest { release: false, ..end(attempt(1, 1), failed(FailureReason::DeadlinePassed)) };
        assert!(store.end(&unreleased).await.unwrap().is_done());
        assert_eq!(begin(&another, &new(attempt(2, 2), number(1))).await, taken);
        assert_eq!(begin(&another, &new(attempt(1, 2), number(1))).await, taken, "for its own id, too");
        store.record(&[update(attempt(1, 1), 0, AttemptChange::Released)]).await.unwrap();
        assert_eq!(begin(&another, &new(attempt(2, 3), number(1))).await, Begun::New);
        // An old release does not release the number of another attempt.
        store.record(&[update(attempt(1, 1), 0, AttemptChange::Released)]).await.unwrap();
        assert_eq!(begin(&another, &new(attempt(4, 1), number(1))).await, taken);
        assert!(store.end(&end(attempt(2, 3), verified())).await.unwrap().is_done());
        assert_eq!(begin(&another, &new(attempt(4, 2), number(1))).await, Begun::New, "released by its end");
    });
}

#[test]
fn a_number_is_released_some_time_after_the_deadline() {
    on_every_store(async |open| {
        let store = open();
        let deadline = Duration::from_millis(100);
        let (ended, pending) = (attempt(1, 1), attempt(2, 1));
        assert_eq!(begin(&store, &NewAttempt { deadline, ..new(ended, number(1)) }).await, Begun::New);
        assert_eq!(begin(&store, &NewAttempt { deadline, ..new(pending, number(2)) }).await, Begun::New);
        let unreleased = EndRequest { release: false, ..end(ended, failed(FailureReason::DeadlinePassed)) };
        assert!(store.end(&unreleased).await.unwrap().is_done());
        tokio::time::sleep(LEASE).await;
        assert_eq!(begin(&store, &new(attempt(3, 1), number(1))).await, Begun::Refused(Refusal::InProgress));
        for _ in 0..=(DEADLINE_GRACE - LEASE).as_secs() {
            store.renew(ANOTHER).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(begin(&store, &new(attempt(3, 1), number(1))).await, Begun::New);
        // The end of a call that is still pending was lost: any owner claims it, even if its owner is alive.
        assert_eq!(begin(&store, &new(attempt(4, 1), number(2))).await, Begun::New);
        store.renew(OWNER).await.unwrap();
        let left = store.claim_orphans(ANOTHER, 10).await.unwrap();
        assert_eq!(left.iter().map(|orphan| orphan.attempt).collect::<Vec<_>>(), [pending]);
        let interrupted = EndRequest { owner: ANOTHER, ..end(pending, failed(FailureReason::Interrupted)) };
        assert!(store.end(&interrupted).await.unwrap().is_done());
    });
}
