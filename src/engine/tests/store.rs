//! Calls with a store that refuses changes, does not answer, or is unreachable.

use std::sync::atomic::Ordering;

use super::faulty::Faulty;
use super::*;
use crate::store::{AttemptChange, AttemptState, LEASE, LimitStore};

fn step_of(event: CallEvent) -> AttemptChange {
    step(event, None, None)
}

async fn kept_steps(store: &Faulty, attempt: Attempt) -> Vec<Box<str>> {
    store.steps(attempt).await.unwrap().into_iter().map(|step| step.name).collect()
}

#[tokio::test]
async fn a_refused_change_costs_no_other_and_is_logged() {
    let store = Arc::new(Faulty::that_refuses(CallEvent::Retried));
    let bench = Bench::on(Arc::clone(&store), Duration::ZERO, ambiguous());
    let Begun::New(attempt) = bench.begin(1, 60 * SECOND) else { panic!("it is new") };
    bench.until(|bench| bench.registry.status(id(1)) == Some(CallStatus::Failed)).await;
    // They wait for each other, so they are written together.
    let events =
        [CallEvent::Redirected, CallEvent::Ringing, CallEvent::Retried, CallEvent::Answered, CallEvent::Forwarded];
    events.into_iter().for_each(|event| bench.engine.parts.store.record(attempt, step_of(event)));
    bench.engine.flush().await;
    let kept = kept_steps(&store, attempt).await;
    let names = events.map(CallEvent::name).into_iter();
    let kept: Vec<_> = names.filter(|name| kept.iter().any(|kept| **kept == **name)).collect();
    assert_eq!(kept, ["redirected", "ringing", "answered", "forwarded"]);
    bench.until(|bench| bench.logs("store_refused")).await;
}

#[tokio::test]
async fn a_reference_is_recorded_however_many_writes_wait() {
    let store = Arc::new(Faulty::that_waits());
    let bench = Bench::on(Arc::clone(&store), SECOND, Ok(CallRef::new("recorded")));
    let client = &bench.engine.parts.store;
    let Begun::New(attempt) = bench.begin(1, 60 * SECOND) else { panic!("it is new") };
    bench.until(|bench| *bench.backend.placed.lock() == 1).await;
    let unknown = Attempt { id: id(2), ..attempt };
    (0..60_000).for_each(|_| client.record(unknown, step_of(CallEvent::Ringing)));
    client.record(attempt, step_of(CallEvent::Forwarded));
    bench.until(|bench| bench.logs("\"placed\"")).await;
    store.unblock_writes();
    bench.engine.flush().await;
    let kept = kept_steps(&store, attempt).await;
    assert!(kept.iter().any(|name| **name == *"placed"), "{kept:?}");
    assert!(!kept.iter().any(|name| **name == *"forwarded"), "the queue has a maximum");
}

#[tokio::test]
async fn fraud_blocks_the_number_before_the_call_ends() {
    let store = Arc::new(Faulty::that_waits());
    let bench = Bench::with(Arc::clone(&store), Scripted::failing_with(FailureReason::FraudReported));
    let Begun::New(attempt) = bench.begin(1, 60 * SECOND) else { panic!("it is new") };
    // If the process is killed now, the next one claims the call and polls the provider.
    bench.until(|_| *store.asked_to_block.lock() > 0).await;
    let current = store.find(id(1)).await.unwrap().unwrap();
    assert!(current.attempt == attempt && matches!(current.state, AttemptState::Pending { .. }), "{current:?}");
    assert_eq!(bench.registry.status(id(1)), Some(CallStatus::Pending));
    store.unblock_writes();
    bench.until(|bench| bench.registry.status(id(1)) == Some(CallStatus::Failed)).await;
    let blocked: Vec<_> = store.blocks().await.unwrap().into_iter().map(|block| block.number).collect();
    assert_eq!(blocked, [number().hash()]);
}

#[tokio::test]
async fn the_provider_is_cleaned_up_once_the_store_has_the_end() {
    for recovers in [true, false] {
        let store = Arc::new(Faulty::that_waits());
        let bench = Bench::with(Arc::clone(&store), Scripted::failing_with(FailureReason::WrongKey));
        bench.begin(1, 60 * SECOND);
        bench.until(|bench| bench.registry.status(id(1)) == Some(CallStatus::Failed)).await;
        assert_eq!(*bench.backend.cleaned_up.lock(), 0);
        if recovers {
            store.unblock_writes();
            bench.until(|bench| *bench.backend.cleaned_up.lock() == 1).await;
        } else {
            // The next process polls there.
            bench.engine.shut_down().await;
            assert_eq!(*bench.backend.cleaned_up.lock(), 0);
        }
    }
}

/// The third denial locks the number.
#[tokio::test]
async fn a_lock_is_logged_once_if_an_answer_is_lost() {
    let store = Arc::new(Faulty::that_loses_ends());
    let bench = Bench::with(Arc::clone(&store), Scripted::failing_with(FailureReason::WrongKey));
    for n in 1..=3 {
        bench.begin(n, 60 * SECOND);
        bench.until(|bench| bench.registry.status(id(n)) == Some(CallStatus::Failed)).await;
        bench.engine.flush().await;
        let locks = store.locks().await.unwrap();
        assert_eq!(locks.len(), usize::from(n == 3));
        assert_eq!(bench.logged("locked_out").await.len(), locks.len(), "after {n} denials");
    }
}

/// The first backend refuses a call after the time of a lease. Returns how many backends were asked, and the reason of the
/// failure.
async fn second_backend(store: Arc<Faulty>) -> (usize, FailureReason) {
    let refused = Failure::new(FailureReason::CannotPlace, "Not today.");
    let bench = Bench::on(store, LEASE, Err(PlaceError { may_ring: MayRing::No, failure: refused }));
    bench.begin(1, 60 * SECOND);
    bench.until(|bench| bench.registry.status(id(1)) == Some(CallStatus::Failed)).await;
    let reason = bench.registry.snapshot(id(1)).unwrap().failure.unwrap().reason();
    (*bench.backend.placed.lock(), reason)
}

#[tokio::test]
async fn a_second_backend_is_asked_while_the_lease_is_renewed() {
    let asked = second_backend(Arc::new(Faulty::default())).await;
    assert_eq!(asked, (2, FailureReason::CannotPlace));
}

#[tokio::test]
async fn no_backend_is_asked_after_the_lease_is_lost() {
    let asked = second_backend(Arc::new(Faulty::that_renews(false))).await;
    assert_eq!(asked, (1, FailureReason::Interrupted));
}

#[tokio::test]
async fn no_backend_is_asked_after_a_gap_in_the_lease() {
    let store = Arc::new(Faulty::that_renews(false));
    let recovers = async {
        tokio::time::sleep(LEASE - 2 * SECOND).await;
        store.can_renew.store(true, Ordering::Relaxed);
    };
    let ((), asked) = tokio::join!(recovers, second_backend(Arc::clone(&store)));
    assert_eq!(asked, (1, FailureReason::Interrupted));
}

#[tokio::test(start_paused = true)]
async fn the_store_is_swept_every_hour_but_not_at_the_start() {
    let store = Arc::new(Faulty::default());
    let _bench = Bench::on(Arc::clone(&store), Duration::ZERO, ambiguous());
    tokio::time::sleep(background::SWEEP_STORE_EVERY - SECOND).await;
    assert!(store.swept.lock().is_empty(), "a machine's clock may be wrong at its start");
    tokio::time::sleep(background::SWEEP_STORE_EVERY + 2 * SECOND).await;
    assert_eq!(*store.swept.lock(), [90 * 24 * 3600 * SECOND; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_begin_names_the_problem_of_the_store() {
    for (is_working, text) in [
        (true, "No call was placed: the store is busy: no answer within 5 s. Try again in a minute; "),
        (false, "No call was placed: the store cannot be reached: no answer within 5 s."),
    ] {
        let bench = Bench::on(Arc::new(Faulty::that_begins_nothing(is_working)), SECOND, ambiguous());
        bench.begin(1, 60 * SECOND);
        bench.until(|bench| bench.registry.status(id(1)) == Some(CallStatus::Failed)).await;
        let failure = bench.registry.snapshot(id(1)).unwrap().failure.unwrap();
        assert_eq!(failure.reason(), FailureReason::CannotPlace);
        assert!(failure.text().starts_with(text), "{failure}");
        bench.until(|bench| bench.logs(text)).await;
        assert_eq!(*bench.backend.placed.lock(), 0);
    }
}
