//! What a call's task does with a store that refuses, waits, or is away.

use std::sync::atomic::Ordering;

use super::faulty::Faulty;
use super::*;
use crate::store::{AttemptChange, AttemptState, LEASE, LimitStore};

fn note(event: CallEvent) -> AttemptChange {
    step(event, None, None)
}

async fn kept_steps(store: &Faulty, attempt: Attempt) -> Vec<Box<str>> {
    store.steps(attempt).await.unwrap().into_iter().map(|step| step.name).collect()
}

#[tokio::test]
async fn what_the_store_never_takes_costs_nothing_else_and_is_told() {
    let store = Arc::new(Faulty::that_refuses(CallEvent::Retried));
    let bench = Bench::on(Arc::clone(&store), Duration::ZERO, ambiguous());
    let Begun::New(attempt) = bench.begin(1, 60 * SECOND) else { panic!("it is new") };
    bench.until(|bench| bench.registry.status(id(1)) == Some(CallStatus::Failed)).await;
    // They wait for each other, and so are recorded at once.
    let events =
        [CallEvent::Redirected, CallEvent::Ringing, CallEvent::Retried, CallEvent::Answered, CallEvent::Forwarded];
    events.into_iter().for_each(|event| bench.engine.parts.store.record(attempt, note(event)));
    bench.engine.flush().await;
    let kept = kept_steps(&store, attempt).await;
    let names = events.map(CallEvent::name).into_iter();
    let kept: Vec<_> = names.filter(|name| kept.iter().any(|kept| **kept == **name)).collect();
    assert_eq!(kept, ["redirected", "ringing", "answered", "forwarded"]);
    bench.until(|bench| bench.told("store_refused")).await;
}

#[tokio::test]
async fn the_reference_of_a_call_is_kept_however_much_waits_for_the_store() {
    let store = Arc::new(Faulty::that_waits());
    let bench = Bench::on(Arc::clone(&store), SECOND, Ok(CallRef::new("kept")));
    let client = &bench.engine.parts.store;
    let Begun::New(attempt) = bench.begin(1, 60 * SECOND) else { panic!("it is new") };
    bench.until(|bench| *bench.backend.placed.lock() == 1).await;
    let unknown = Attempt { id: id(2), ..attempt };
    (0..60_000).for_each(|_| client.record(unknown, note(CallEvent::Ringing)));
    client.record(attempt, note(CallEvent::Forwarded));
    bench.until(|bench| bench.told("\"placed\"")).await;
    store.go_on();
    bench.engine.flush().await;
    let kept = kept_steps(&store, attempt).await;
    assert!(kept.iter().any(|name| **name == *"placed"), "{kept:?}");
    assert!(!kept.iter().any(|name| **name == *"forwarded"), "there is an end to what waits");
}

#[tokio::test]
async fn who_reports_a_fraud_is_blocked_before_the_call_ends() {
    let store = Arc::new(Faulty::that_waits());
    let bench = Bench::with(Arc::clone(&store), Scripted::that_fails(FailureReason::FraudReported));
    let Begun::New(attempt) = bench.begin(1, 60 * SECOND) else { panic!("it is new") };
    // Whoever kills the process now leaves a call that the next one takes up, and asks the provider about.
    bench.until(|_| *store.asked_to_block.lock() > 0).await;
    let current = store.find(id(1)).await.unwrap().unwrap();
    assert!(current.attempt == attempt && matches!(current.state, AttemptState::Pending { .. }), "{current:?}");
    assert_eq!(bench.registry.status(id(1)), Some(CallStatus::Pending));
    store.go_on();
    bench.until(|bench| bench.registry.status(id(1)) == Some(CallStatus::Failed)).await;
    let blocked: Vec<_> = store.blocks().await.unwrap().into_iter().map(|block| block.number).collect();
    assert_eq!(blocked, [number().key()]);
}

#[tokio::test]
async fn what_a_provider_has_of_a_call_is_deleted_only_when_the_store_has_its_end() {
    for does_go_on in [true, false] {
        let store = Arc::new(Faulty::that_waits());
        let bench = Bench::with(Arc::clone(&store), Scripted::that_fails(FailureReason::WrongKey));
        bench.begin(1, 60 * SECOND);
        bench.until(|bench| bench.registry.status(id(1)) == Some(CallStatus::Failed)).await;
        assert_eq!(*bench.backend.cleaned_up.lock(), 0);
        if does_go_on {
            store.go_on();
            bench.until(|bench| *bench.backend.cleaned_up.lock() == 1).await;
        } else {
            // The next process asks there.
            bench.engine.shut_down().await;
            assert_eq!(*bench.backend.cleaned_up.lock(), 0);
        }
    }
}

/// The third denial locks the number.
#[tokio::test]
async fn a_lock_is_logged_once_although_the_answer_was_lost() {
    let store = Arc::new(Faulty::that_loses_ends());
    let bench = Bench::with(Arc::clone(&store), Scripted::that_fails(FailureReason::WrongKey));
    for n in 1..=3 {
        bench.begin(n, 60 * SECOND);
        bench.until(|bench| bench.registry.status(id(n)) == Some(CallStatus::Failed)).await;
        bench.engine.flush().await;
        let locks = store.locks().await.unwrap();
        assert_eq!(locks.len(), usize::from(n == 3));
        let lines = bench.lines.lock().iter().filter(|line| line.contains("locked_out")).count();
        assert_eq!(lines, locks.len(), "after {n} denials");
    }
}

/// A first backend takes the time of a lease to refuse a call. Is a second one asked, and what is told?
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
async fn nobody_is_rung_for_a_call_that_may_be_another_processs_by_now() {
    let asked = second_backend(Arc::new(Faulty::that_renews(false))).await;
    assert_eq!(asked, (1, FailureReason::Interrupted));
}

#[tokio::test]
async fn nobody_is_rung_for_a_call_that_may_have_been_taken_before_the_lease_was_renewed() {
    let store = Arc::new(Faulty::that_renews(false));
    let heals = async {
        tokio::time::sleep(LEASE - 2 * SECOND).await;
        store.can_renew.store(true, Ordering::Relaxed);
    };
    let ((), asked) = tokio::join!(heals, second_backend(Arc::clone(&store)));
    assert_eq!(asked, (1, FailureReason::Interrupted));
}

#[tokio::test(start_paused = true)]
async fn the_store_is_swept_after_a_while_and_then_again_of_what_is_older_than_the_audit_keeps() {
    let store = Arc::new(Faulty::default());
    let _bench = Bench::on(Arc::clone(&store), Duration::ZERO, ambiguous());
    tokio::time::sleep(background::SWEEP_STORE_EVERY - SECOND).await;
    assert!(store.swept.lock().is_empty(), "a machine's clock may be wrong when it starts");
    tokio::time::sleep(background::SWEEP_STORE_EVERY + 2 * SECOND).await;
    assert_eq!(*store.swept.lock(), [90 * 24 * 3600 * SECOND; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_does_not_begin_in_time_says_whether_the_store_is_busy_or_away() {
    for (is_working, words) in [
        (true, "Nobody was called: the store is busy: no answer within 5 s. Try again in a minute; "),
        (false, "Nobody was called: the store cannot be reached: no answer within 5 s."),
    ] {
        let bench = Bench::on(Arc::new(Faulty::that_begins_nothing(is_working)), SECOND, ambiguous());
        bench.begin(1, 60 * SECOND);
        bench.until(|bench| bench.registry.status(id(1)) == Some(CallStatus::Failed)).await;
        let failure = bench.registry.snapshot(id(1)).unwrap().failure.unwrap();
        assert_eq!(failure.reason(), FailureReason::CannotPlace);
        assert!(failure.text().starts_with(words), "{failure}");
        bench.until(|bench| bench.told(words)).await;
        assert_eq!(*bench.backend.placed.lock(), 0);
    }
}
