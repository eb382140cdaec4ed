//! Limits for all extensions of a line together (S12).

use super::limits::block_of;
use super::number_keys::keyed_extension;
use super::*;
use crate::support::approval::verified;

fn at_once(line_in_progress: u64) -> Limits {
    Limits { line_in_progress, ..NO_LIMITS }
}

fn a_minute(line_per_minute: u64) -> Limits {
    Limits { line_per_minute, ..NO_LIMITS }
}

/// How long the line's limit admits no call to an extension that was never called.
async fn refused_for(store: &Arc<dyn CallStore>, line: u128, limits: &Limits) -> Duration {
    match store.begin(&new(attempt(5000, 1), extension(line, 500)), limits).await {
        Ok(Begun::Refused(Refusal::Limit { limit: CallLimit::CallsPerLine, after })) => after,
        other => panic!("the limit admits it: {other:?}"),
    }
}

#[test]
fn many_calls_at_once_never_exceed_a_limit_of_their_line() {
    on_every_store(async |open| {
        let calls = |line: u128| (1..=20).map(move |n| new(attempt(line * 100 + n, 1), extension(line, n)));
        let begun = begin_at_once(open, at_once(5), calls(1)).await;
        assert_eq!(new_ones(&begun).len(), 5, "{begun:?}");
        let begun = begin_at_once(open, a_minute(7), calls(2)).await;
        assert_eq!(new_ones(&begun).len(), 7, "{begun:?}");
        let begun = begin_at_once(open, a_minute(7), calls(2)).await;
        let repeated = begun.iter().filter(|(_, begun)| *begun == Begun::New).count();
        assert_eq!(repeated, 7, "the same attempts, and no other one: {begun:?}");
    });
}

#[test]
fn the_line_and_its_extensions_count_together() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        let limits = Limits { line_in_progress: 2, ..NO_LIMITS };
        assert_eq!(store.begin(&new(attempt(1, 1), number(1)), &limits).await, Ok(Begun::New));
        assert_eq!(another.begin(&new(attempt(2, 1), extension(1, 7)), &limits).await, Ok(Begun::New));
        let after = refused_for(&store, 1, &limits).await;
        assert!(after <= LONG && after > LONG / 2, "{after:?}");
        refused_for(&another, 1, &a_minute(2)).await;
        assert_eq!(another.begin(&new(attempt(3, 1), extension(2, 7)), &limits).await, Ok(Begun::New), "another line");
        // A call that has ended is no longer in progress, but it began within the minute.
        assert!(another.end(&end(attempt(1, 1), verified())).await.unwrap().is_done());
        let after = refused_for(&store, 1, &a_minute(2)).await;
        assert!(after <= Duration::from_secs(60) && after > Duration::from_secs(20), "{after:?}");
        assert_eq!(store.begin(&new(attempt(4, 1), extension(1, 8)), &limits).await, Ok(Begun::New));
        refused_for(&store, 1, &limits).await;
    });
}

#[test]
fn a_call_past_its_deadline_is_not_in_progress_on_its_line() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        let deadline = Duration::from_millis(100);
        let overdue = NewAttempt { deadline, ..new(attempt(1, 1), extension(1, 1)) };
        let second = new(attempt(2, 1), extension(1, 2));
        assert_eq!(begin(&store, &overdue).await, Begun::New);
        let mut begun = another.begin(&second, &at_once(1)).await;
        if let Ok(Begun::Refused(Refusal::Limit { limit: CallLimit::CallsPerLine, after })) = begun {
            assert!(after <= deadline, "{after:?}");
            tokio::time::sleep(after).await;
            begun = another.begin(&second, &at_once(1)).await;
        }
        assert_eq!(begun, Ok(Begun::New), "the deadline has passed");
        for is_first in [true, false] {
            let late = end(overdue.attempt, failed(FailureReason::DeadlinePassed));
            assert_eq!(store.end(&late).await.map(Ended::is_done), Ok(is_first));
            refused_for(&another, 1, &at_once(1)).await;
        }
        assert!(store.end(&end(second.attempt, verified())).await.unwrap().is_done());
        assert_eq!(store.begin(&new(attempt(3, 1), extension(1, 3)), &at_once(1)).await, Ok(Begun::New));
    });
}

#[test]
fn refused_and_withdrawn_calls_count_for_no_line() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        store.block(&block_of(extension(1, 1))).await.unwrap();
        assert!(matches!(begin(&store, &new(attempt(1, 1), extension(1, 1))).await, Begun::Refused(_)));
        store.record(&[update(attempt(2, 1), 0, refused(Some(extension(1, 2))))]).await.unwrap();
        let one = Limits { line_in_progress: 1, line_per_minute: 1, ..NO_LIMITS };
        assert_eq!(store.begin(&new(attempt(3, 1), extension(1, 3)), &one).await, Ok(Begun::New));
        refused_for(&another, 1, &at_once(1)).await;
        refused_for(&another, 1, &a_minute(1)).await;
        for _ in 0..2 {
            // The same change may be recorded again.
            another.record(&[update(attempt(3, 1), 0, refused(Some(extension(1, 3))))]).await.unwrap();
        }
        assert_eq!(store.begin(&new(attempt(4, 1), extension(1, 4)), &one).await, Ok(Begun::New));
        another.record(&[update(attempt(3, 1), 0, refused(Some(extension(1, 3))))]).await.unwrap();
        refused_for(&another, 1, &at_once(1)).await;
        refused_for(&another, 1, &a_minute(1)).await;
    });
}

#[test]
fn a_change_of_the_number_key_resets_no_limit_of_a_line() {
    on_every_store(async |open| {
        let store = open();
        let (old, new_key) = (|n| keyed_extension(1, n, &[0]), |n| keyed_extension(1, n, &[1, 0]));
        for n in [1, 2] {
            assert_eq!(begin(&store, &new(attempt(n, 1), old(n))).await, Begun::New);
        }
        let changed = open();
        let ask =
            async |n: u128, limits: &Limits| changed.begin(&new(attempt(n, 1), new_key(n)), limits).await.unwrap();
        for limits in [at_once(2), a_minute(2)] {
            let refused = ask(3, &limits).await;
            let is_limited = matches!(refused, Begun::Refused(Refusal::Limit { limit: CallLimit::CallsPerLine, .. }));
            assert!(is_limited, "{limits:?}: {refused:?}");
        }
        let second = changed.begin(&new(attempt(9, 1), new_key(2)), &NO_LIMITS).await;
        assert_eq!(second, Ok(Begun::Refused(Refusal::InProgress)), "it is known by its number, too");
        // The end of a call that began with the old key is subtracted from the counter that has it.
        assert!(store.end(&end(attempt(1, 1), verified())).await.unwrap().is_done());
        assert_eq!(ask(3, &at_once(2)).await, Begun::New);
        assert!(matches!(ask(4, &at_once(2)).await, Begun::Refused(_)), "two are in progress");
        changed.record(&[update(attempt(2, 1), 9000, refused(Some(old(2))))]).await.unwrap();
        assert_eq!(ask(4, &Limits { line_in_progress: 2, line_per_minute: 3, ..NO_LIMITS }).await, Begun::New);
        assert!(matches!(ask(5, &a_minute(3)).await, Begun::Refused(_)), "the one that was given up does not count");
    });
}
