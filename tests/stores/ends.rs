//! How attempts end (S4, S5), and which one answers for an id (S6).

use super::*;
use crate::support::approval::verified;

#[test]
fn an_attempt_ends_once_and_by_its_owner_alone() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        let one = attempt(1, 1);
        assert_eq!(begin(&store, &new(one, number(1))).await, Begun::New);
        assert!(!another.end(&EndRequest { owner: ANOTHER, ..end(one, verified()) }).await.unwrap().is_done());
        assert!(!another.end(&end(attempt(1, 2), verified())).await.unwrap().is_done());
        assert!(!another.end(&end(attempt(2, 1), verified())).await.unwrap().is_done());
        assert!(is_pending(&store, one).await);
        let mut ends = JoinSet::new();
        for n in 0..32 {
            let store = if n % 2 == 0 { Arc::clone(&store) } else { Arc::clone(&another) };
            ends.spawn(async move { store.end(&end(one, verified())).await.unwrap().is_done() });
        }
        let ends = ends.join_all().await;
        assert_eq!(ends.into_iter().filter(|&has_ended| has_ended).count(), 1);
        assert!(!store.end(&end(one, failed(FailureReason::Internal))).await.unwrap().is_done());
        let change = AttemptChange::Ended {
            owner: OWNER,
            failure: failure(FailureReason::Internal),
            release: true,
            denials: NO_LOCK,
        };
        store.record(&[update(one, 1, change), update(one, 2, refused(None))]).await.unwrap();
        assert_eq!(ended(&another, id(1)).await, (1, stored(verified())));
    });
}

#[test]
fn nothing_is_verified_after_the_deadline() {
    on_every_store(async |open| {
        let store = open();
        let one = attempt(1, 1);
        let short = NewAttempt { deadline: Duration::from_millis(50), ..new(one, number(1)) };
        assert_eq!(begin(&store, &short).await, Begun::New);
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert!(!store.end(&end(one, verified())).await.unwrap().is_done());
        assert!(is_pending(&store, one).await);
        assert!(store.end(&end(one, failed(FailureReason::DeadlinePassed))).await.unwrap().is_done());
        assert_eq!(ended(&store, id(1)).await, (1, stored(failed(FailureReason::DeadlinePassed))));
    });
}

#[test]
fn the_current_attempt_of_an_id_is_found() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        // A generation has up to 53 bits.
        let one = attempt(1, (1 << 53) - 7);
        assert_eq!(another.find(id(1)).await, Ok(None));
        assert_eq!(begin(&store, &new(one, number(1))).await, Begun::New);
        let progress = async || match another.find(id(1)).await.unwrap() {
            Some(LatestAttempt { attempt, number: Some(hash), state: AttemptState::Pending { left, progress } }) => {
                assert_eq!((attempt, hash), (one, number(1).hash));
                assert!(left <= LONG && left > LONG / 3, "{left:?}");
                progress
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(progress().await, Progress::Dialling);
        for (change, then) in [
            (placed("CA1"), Progress::Dialling),
            (step(CallEvent::Ringing), Progress::Ringing),
            (step(CallEvent::Answered), Progress::Answered),
            (step(CallEvent::Ringing), Progress::Answered),
        ] {
            store.record(&[update(one, 5, change)]).await.unwrap();
            assert_eq!(progress().await, then);
        }
        assert!(store.end(&end(one, failed(FailureReason::WrongKey))).await.unwrap().is_done());
        tokio::time::sleep(Duration::from_millis(50)).await;
        match another.find(id(1)).await.unwrap() {
            Some(LatestAttempt { attempt, number: Some(hash), state: AttemptState::Ended { outcome, ago } }) => {
                assert_eq!((attempt, hash, outcome), (one, number(1).hash, stored(failed(FailureReason::WrongKey))));
                assert!(ago >= Duration::from_millis(40) && ago < LONG, "{ago:?}");
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn attempts_before_the_current_one_never_answer() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        assert_eq!(begin(&store, &new(attempt(1, 1), number(1))).await, Begun::New);
        assert!(store.end(&end(attempt(1, 1), verified())).await.unwrap().is_done());
        assert_eq!(begin(&another, &new(attempt(1, 2), number(1))).await, Begun::New);
        assert!(is_pending(&store, attempt(1, 2)).await);
        // Late changes of the earlier one.
        assert!(!store.end(&end(attempt(1, 1), verified())).await.unwrap().is_done());
        let late = AttemptChange::Ended {
            owner: OWNER,
            failure: failure(FailureReason::CallEnded),
            release: true,
            denials: NO_LOCK,
        };
        store
            .record(&[update(attempt(1, 1), 1, step(CallEvent::Answered)), update(attempt(1, 1), 1, late)])
            .await
            .unwrap();
        match store.find(id(1)).await.unwrap() {
            Some(LatestAttempt { attempt: one, state: AttemptState::Pending { progress, .. }, .. }) => {
                assert_eq!((one, progress), (attempt(1, 2), Progress::Dialling));
            }
            other => panic!("{other:?}"),
        }
        // Of refusals that are recorded together, the last one is the latest attempt.
        let together = [1, 2].map(|generation| update(attempt(2, generation), generation, refused(None)));
        store.record(&together).await.unwrap();
        assert_eq!(ended(&another, id(2)).await, (2, stored(failed(FailureReason::Throttled))));
        // Refused while another attempt is pending: for the audit only.
        store.record(&[update(attempt(1, 3), 1, refused(Some(number(2))))]).await.unwrap();
        assert!(is_pending(&store, attempt(1, 2)).await);
        assert!(store.end(&end(attempt(1, 2), verified())).await.unwrap().is_done());
        assert_eq!(ended(&another, id(1)).await, (2, stored(verified())));
        // Refused before it began, and recorded after: for the audit only.
        store.record(&[update(attempt(1, 5), 1, refused(Some(number(1))))]).await.unwrap();
        assert_eq!(ended(&another, id(1)).await, (2, stored(verified())));
        // Refused after it.
        let now = RecordedChange { at: SystemTime::now(), ..update(attempt(1, 4), 1, refused(None)) };
        store.record(&[now]).await.unwrap();
        assert_eq!(ended(&another, id(1)).await, (4, stored(failed(FailureReason::Throttled))));
        let outcomes: Vec<_> = all_rows(&store)
            .await
            .into_iter()
            .filter(|row| row.attempt.id == id(1))
            .map(|row| (row.attempt.generation, row.outcome))
            .collect();
        let throttled = RowOutcome::Failed(failure(FailureReason::Throttled));
        let verified = RowOutcome::Verified;
        let refused = [3, 5, 4].map(|generation| (generation, throttled.clone()));
        assert_eq!(outcomes, [&[(1, verified.clone()), (2, verified)][..], &refused].concat());
    });
}

#[test]
fn a_change_by_another_owner_ends_nothing() {
    on_every_store(async |open| {
        let store = open();
        let one = attempt(1, 1);
        assert_eq!(begin(&store, &new(one, number(1))).await, Begun::New);
        let by = |owner| AttemptChange::Ended {
            owner,
            failure: failure(FailureReason::CallEnded),
            release: true,
            denials: NO_LOCK,
        };
        store.record(&[update(one, 1, by(ANOTHER))]).await.unwrap();
        assert!(is_pending(&store, one).await);
        store.record(&[update(one, 2, by(OWNER))]).await.unwrap();
        assert_eq!(ended(&store, id(1)).await, (1, stored(failed(FailureReason::CallEnded))));
    });
}
