//! How often a process claims calls, and what it logs of them.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::faulty::Faulty;
use super::*;
use crate::store::{Orphan, RENEW_EVERY};

fn orphan(attempt: Attempt) -> Orphan {
    Orphan {
        attempt,
        number: number().hash(),
        masked: number().to_string().into(),
        left: 60 * SECOND,
        started: SystemTime::now(),
        placed: Some(("scripted".into(), CallRef::new("claimed"))),
        attempts: None,
    }
}

/// A backend that follows its calls until they are hung up.
fn following() -> Scripted {
    Scripted { is_late: true, ..Scripted::new(Duration::ZERO, Ok(CallRef::new("followed"))) }
}

/// Lets every claim return this call, and returns the pauses between the next claims.
async fn pauses_between_claims(bench: &Bench, store: &Faulty, attempt: Attempt) -> Vec<Duration> {
    *store.orphans.lock() = vec![orphan(attempt)];
    store.claimed.lock().clear();
    bench.until(|_| store.claimed.lock().len() > 5).await;
    let claimed = store.claimed.lock();
    claimed.iter().zip(claimed.iter().skip(1)).map(|(one, next)| *next - *one).collect()
}

/// If the store's clock is far ahead, the calls that a process drives are overdue, and it claims them back each time.
#[tokio::test(start_paused = true)]
async fn claims_of_calls_that_are_driven_here_pause() {
    let store = Arc::new(Faulty::default());
    let bench = Bench::with(Arc::clone(&store), following());
    let Begun::New(attempt) = bench.begin(1, 60 * SECOND) else { panic!("it is new") };
    bench.until(|bench| *bench.backend.placed.lock() == 1).await;
    let pauses = pauses_between_claims(&bench, &store, attempt).await;
    assert!(pauses.iter().all(|pause| *pause >= RENEW_EVERY), "{pauses:?}");
}

/// The store has not recorded the end of the call yet.
#[tokio::test(start_paused = true)]
async fn claims_of_calls_that_have_ended_here_pause() {
    let store = Arc::new(Faulty::default());
    let bench = Bench::with(Arc::clone(&store), Scripted::failing_with(FailureReason::WrongKey));
    let Begun::New(attempt) = bench.begin(1, 60 * SECOND) else { panic!("it is new") };
    bench.until(|bench| bench.registry.status(id(1)) == Some(CallStatus::Failed)).await;
    bench.until(|bench| bench.engine.parts.active.is_empty()).await;
    let pauses = pauses_between_claims(&bench, &store, attempt).await;
    assert!(pauses.iter().all(|pause| *pause >= RENEW_EVERY), "{pauses:?}");
}

/// More calls than one claim may return are claimed without a pause.
#[tokio::test(start_paused = true)]
async fn a_claim_of_a_new_call_is_followed_by_another_at_once() {
    let store = Arc::new(Faulty::default());
    let bench = Bench::with(Arc::clone(&store), following());
    let pauses = pauses_between_claims(&bench, &store, Attempt { id: id(1), generation: 1 }).await;
    let (first, others) = pauses.split_first().unwrap();
    assert!(*first < RENEW_EVERY && others.iter().all(|pause| *pause >= RENEW_EVERY), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_that_cannot_be_read_are_logged_once() {
    let store = Arc::new(Faulty::default());
    let bench = Bench::with(Arc::clone(&store), following());
    bench.until(|_| store.claimed.lock().len() > 2).await;
    assert_eq!(bench.logged("cannot be read by this version").await.len(), 0);
    store.has_unreadable.store(true, Ordering::Relaxed);
    let before = store.claimed.lock().len();
    bench.until(|_| store.claimed.lock().len() > before + 3).await;
    assert_eq!(bench.logged("cannot be read by this version").await.len(), 1);
}
