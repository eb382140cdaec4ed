//! Blocks (S11), and limits of calls (S12).

use super::*;
use crate::support::approval::verified;

#[test]
fn many_simultaneous_calls_never_exceed_a_limit() {
    on_every_store(async |open| {
        let limits = Limits { calls_per_minute: 10, ..NO_LIMITS };
        let begun = begin_at_once(open, limits, (1..=64).map(|n| new(attempt(n, 1), number(n)))).await;
        assert_eq!(new_ones(&begun).len(), 10, "{begun:?}");
        let limits = Limits { concurrent_calls: 20, ..NO_LIMITS };
        let begun = begin_at_once(open, limits, (65..=128).map(|n| new(attempt(n, 1), number(n)))).await;
        assert_eq!(new_ones(&begun).len(), 10, "10 are pending already: {begun:?}");
    });
}

fn block(number: StoredNumber, since: u64, until: Option<SystemTime>) -> Block {
    let reason = format!("reason {since}").into();
    Block { number: number.hash, scope: BlockScope::Line, masked: number.masked, reason, since: at(since), until }
}

#[test]
fn a_blocked_number_or_line_is_not_called() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        store.block(&block(number(1), 1, None)).await.unwrap();
        store.block(&block(extension(2, 7), 2, Some(at(1_000_000)))).await.unwrap();
        let blocked =
            |since: u64, until| Begun::Refused(Refusal::Blocked { reason: format!("reason {since}").into(), until });
        assert_eq!(begin(&another, &new(attempt(1, 1), number(1))).await, blocked(1, None));
        assert_eq!(begin(&another, &new(attempt(1, 1), extension(1, 7))).await, blocked(1, None));
        assert_eq!(begin(&another, &new(attempt(1, 1), extension(2, 7))).await, blocked(2, Some(at(1_000_000))));
        assert_eq!(begin(&another, &new(attempt(1, 1), number(2))).await, Begun::New);
        assert_eq!(begin(&another, &new(attempt(2, 1), extension(2, 8))).await, Begun::New);
        // The new block replaces the other one.
        store.block(&block(number(1), 3, None)).await.unwrap();
        assert_eq!(begin(&another, &new(attempt(3, 1), number(1))).await, blocked(3, None));
        assert!(store.unblock(number(1).hash).await.unwrap());
        assert!(!store.unblock(number(1).hash).await.unwrap());
        assert_eq!(begin(&another, &new(attempt(3, 1), number(1))).await, Begun::New);
    });
}

/// A block that never ends.
pub(super) fn block_of(number: StoredNumber) -> Block {
    block(number, 1, None)
}

/// A block of exactly this number.
fn block_of_number(number: StoredNumber, since: u64, until: Option<SystemTime>) -> Block {
    Block { scope: BlockScope::Number, ..block(number, since, until) }
}

#[test]
fn a_block_of_exactly_a_number_leaves_its_extensions() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        store.block(&block_of_number(number(1), 1, None)).await.unwrap();
        store.block(&block_of_number(extension(2, 7), 2, None)).await.unwrap();
        for blocked in [number(1), extension(2, 7)] {
            let refused = begin(&another, &new(attempt(1, 1), blocked)).await;
            assert!(matches!(refused, Begun::Refused(Refusal::Blocked { .. })), "{refused:?}");
        }
        for (n, callable) in (1..).zip([extension(1, 7), extension(2, 8), number(2)]) {
            assert_eq!(begin(&another, &new(attempt(n, 1), callable)).await, Begun::New);
        }
        assert!(store.unblock(number(1).hash).await.unwrap());
        assert_eq!(begin(&another, &new(attempt(4, 1), number(1))).await, Begun::New);
    });
}

#[test]
fn a_number_has_a_block_of_each_scope() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        let (of_line, of_number) = (block(number(1), 1, None), block_of_number(number(1), 2, Some(at(1_000_000))));
        let refused = async |number| {
            let begun = begin(&another, &new(attempt(1, 1), number)).await;
            matches!(begun, Begun::Refused(Refusal::Blocked { .. }))
        };
        for block in [&of_number, &of_line, &of_number] {
            store.block(block).await.unwrap();
        }
        assert_eq!(another.blocks().await.unwrap(), [of_number.clone(), of_line.clone()]);
        assert!(refused(number(1)).await && refused(extension(1, 7)).await);
        assert!(another.unblock(number(1).hash).await.unwrap());
        assert_eq!(store.blocks().await.unwrap(), [], "both are removed");
        assert!(!another.unblock(number(1).hash).await.unwrap());
        assert_eq!(begin(&another, &new(attempt(2, 1), extension(1, 7))).await, Begun::New);
        // One of the two has expired.
        let passed = Some(SystemTime::now() - Duration::from_secs(1));
        store.block(&Block { until: passed, ..of_line.clone() }).await.unwrap();
        store.block(&of_number).await.unwrap();
        assert!(refused(number(1)).await);
        assert_eq!(begin(&another, &new(attempt(3, 1), extension(1, 8))).await, Begun::New);
        assert!(another.unblock(number(1).hash).await.unwrap(), "one of them was in force");
        store.block(&Block { until: passed, ..of_line }).await.unwrap();
        assert!(!another.unblock(number(1).hash).await.unwrap(), "it is not on the list any more");
    });
}

#[test]
fn a_block_ends_when_it_has_expired() {
    on_every_store(async |open| {
        let store = open();
        let soon = SystemTime::now() + Duration::from_secs(10);
        let passed = SystemTime::now() - Duration::from_secs(1);
        store.block(&block(number(1), 1, Some(soon))).await.unwrap();
        store.block(&block(number(2), 2, Some(passed))).await.unwrap();
        store.block(&block(number(3), 3, None)).await.unwrap();
        assert_eq!(begin(&store, &new(attempt(2, 1), number(2))).await, Begun::New);
        assert!(!store.unblock(number(2).hash).await.unwrap(), "it is not on the list any more");
        let refused = begin(&store, &new(attempt(1, 1), number(1))).await;
        assert!(matches!(refused, Begun::Refused(Refusal::Blocked { until: Some(_), .. })), "{refused:?}");
        tokio::time::sleep(Duration::from_millis(10_100)).await;
        assert_eq!(begin(&store, &new(attempt(1, 1), number(1))).await, Begun::New);
        assert_eq!(store.blocks().await.unwrap(), [block(number(3), 3, None)]);
        store.sweep(LONG).await.unwrap();
        assert_eq!(store.blocks().await.unwrap(), [block(number(3), 3, None)]);
    });
}

#[test]
fn the_block_list_has_the_newest_first() {
    on_every_store(async |open| {
        let store = open();
        let until = Some(at(100_000_000));
        let blocks = [block(number(2), 3, None), block(number(3), 2, until), block(number(1), 1, None)];
        for block in [&blocks[1], &blocks[2], &blocks[0]] {
            store.block(block).await.unwrap();
        }
        assert_eq!(open().blocks().await.unwrap(), blocks);
    });
}

#[test]
fn a_window_admits_its_limit_and_refused_calls_do_not_count() {
    on_every_store(async |open| {
        let window = Duration::from_secs(10);
        let limits = Limits { calls_per_number: 2, per_number_window: window, ..NO_LIMITS };
        let stores = [open(), open()];
        for n in [1, 2] {
            let new = new(attempt(n, 1), number(1));
            assert_eq!(stores[n as usize - 1].begin(&new, &limits).await, Ok(Begun::New));
            assert!(stores[0].end(&end(new.attempt, failed(FailureReason::NoKeyPressed))).await.unwrap().is_done());
        }
        let wait = async || match stores[0].begin(&new(attempt(3, 1), number(1)), &limits).await {
            Ok(Begun::Refused(Refusal::Limit { limit: CallLimit::CallsPerNumber, after })) => after,
            other => panic!("{other:?}"),
        };
        let first = wait().await;
        assert!(first <= window && first > Duration::from_secs(1), "{first:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let second = wait().await;
        assert!(second < first, "{second:?} after {first:?}");
        let other = new(attempt(4, 1), extension(1, 7));
        assert_eq!(stores[0].begin(&other, &limits).await, Ok(Begun::New), "an extension is another number");
        tokio::time::sleep(second).await;
        assert_eq!(stores[0].begin(&new(attempt(3, 1), number(1)), &limits).await, Ok(Begun::New));
    });
}

#[test]
fn so_many_calls_begin_within_a_minute() {
    on_every_store(async |open| {
        let limits = Limits { calls_per_minute: 2, ..NO_LIMITS };
        let stores = [open(), open()];
        for n in [1, 2] {
            let new = new(attempt(n, 1), number(n));
            assert_eq!(stores[n as usize - 1].begin(&new, &limits).await, Ok(Begun::New));
            assert!(stores[0].end(&end(new.attempt, verified())).await.unwrap().is_done());
        }
        let wait = async || match stores[0].begin(&new(attempt(3, 1), number(3)), &limits).await {
            Ok(Begun::Refused(Refusal::Limit { limit: CallLimit::CallsPerMinute, after })) => after,
            other => panic!("{other:?}"),
        };
        let first = wait().await;
        assert!(first <= Duration::from_secs(60) && first > Duration::from_secs(20), "{first:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let second = wait().await;
        assert!(second < first, "{second:?} after {first:?}");
    });
}

#[test]
fn so_many_calls_are_pending_at_once() {
    on_every_store(async |open| {
        let limits = Limits { concurrent_calls: 2, ..NO_LIMITS };
        let store = open();
        let short = NewAttempt { deadline: LONG / 2, ..new(attempt(2, 1), number(2)) };
        assert_eq!(store.begin(&new(attempt(1, 1), number(1)), &limits).await, Ok(Begun::New));
        assert_eq!(open().begin(&short, &limits).await, Ok(Begun::New));
        let third = new(attempt(3, 1), number(3));
        match store.begin(&third, &limits).await {
            Ok(Begun::Refused(Refusal::Limit { limit: CallLimit::ConcurrentCalls, after })) => {
                assert!(after <= LONG / 2 && after > Duration::from_secs(20), "{after:?}");
            }
            other => panic!("{other:?}"),
        }
        assert!(store.end(&end(attempt(1, 1), verified())).await.unwrap().is_done());
        assert_eq!(store.begin(&third, &limits).await, Ok(Begun::New));
    });
}

/// How long limits let no call begin, not even to a number that was never called.
async fn refused_for(store: &Arc<dyn CallStore>, limits: &Limits) -> Duration {
    match store.begin(&new(attempt(1000, 1), number(1000)), limits).await {
        Ok(Begun::Refused(Refusal::Limit { after, limit: CallLimit::CallsPerMinute | CallLimit::ConcurrentCalls })) => {
            after
        }
        other => panic!("a limit admits it: {other:?}"),
    }
}

#[test]
fn a_withdrawn_call_counts_for_no_limit() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        let a_minute = |calls_per_minute| Limits { calls_per_minute, ..NO_LIMITS };
        let at_once = |concurrent_calls| Limits { concurrent_calls, ..NO_LIMITS };
        assert_eq!(begin(&store, &new(attempt(1, 1), number(1))).await, Begun::New);
        // In another bucket, for stores that have such.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(begin(&store, &new(attempt(2, 1), number(2))).await, Begun::New);
        let until_first = refused_for(&another, &a_minute(2)).await;
        refused_for(&another, &at_once(2)).await;
        for _ in 0..2 {
            // The same change may be recorded again.
            another.record(&[update(attempt(2, 1), 0, refused(Some(number(2))))]).await.unwrap();
            let until = refused_for(&store, &a_minute(1)).await;
            assert!(until <= until_first, "the first call counts still: {until:?}, before {until_first:?}");
            refused_for(&store, &at_once(1)).await;
        }
        let one_to_a_number = Limits { calls_per_number: 1, ..NO_LIMITS };
        assert_eq!(store.begin(&new(attempt(3, 1), number(2)), &one_to_a_number).await, Ok(Begun::New));
        refused_for(&another, &a_minute(2)).await;
        refused_for(&another, &at_once(2)).await;
        assert_eq!(store.begin(&new(attempt(4, 1), number(4)), &a_minute(3)).await, Ok(Begun::New));
    });
}

#[test]
fn an_overdue_call_counts_as_ended_and_is_subtracted_once() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        let limits = Limits { concurrent_calls: 1, ..NO_LIMITS };
        let deadline = Duration::from_millis(100);
        let (overdue, second) = (new(attempt(1, 1), number(1)), new(attempt(2, 1), number(2)));
        assert_eq!(begin(&store, &NewAttempt { deadline, ..overdue.clone() }).await, Begun::New);
        let mut begun = another.begin(&second, &limits).await;
        if let Ok(Begun::Refused(Refusal::Limit { limit: CallLimit::ConcurrentCalls, after })) = begun {
            assert!(after <= deadline, "{after:?}");
            tokio::time::sleep(after).await;
            begun = another.begin(&second, &limits).await;
        }
        assert_eq!(begun, Ok(Begun::New), "the deadline has passed");
        assert!(is_pending(&store, overdue.attempt).await, "no owner has ended it");
        let late = end(overdue.attempt, failed(FailureReason::DeadlinePassed));
        for is_first in [true, false] {
            refused_for(&another, &limits).await;
            assert_eq!(store.end(&late).await.map(Ended::is_done), Ok(is_first));
        }
        refused_for(&another, &limits).await;
        for is_first in [true, false] {
            assert_eq!(store.end(&end(second.attempt, verified())).await.map(Ended::is_done), Ok(is_first));
        }
        let third = new(attempt(3, 1), number(3));
        assert_eq!(store.begin(&third, &limits).await, Ok(Begun::New));
        refused_for(&another, &limits).await;
    });
}

#[test]
fn a_lowered_limit_waits_for_enough_pending_calls() {
    on_every_store(async |open| {
        let store = open();
        for n in 1..=3_u32 {
            let deadline = n * LONG;
            let new = NewAttempt { deadline, ..new(attempt(n.into(), 1), number(n.into())) };
            assert_eq!(begin(&store, &new).await, Begun::New);
        }
        let after = refused_for(&store, &Limits { concurrent_calls: 2, ..NO_LIMITS }).await;
        assert!(after > LONG && after <= 2 * LONG, "then one of two is over: {after:?}");
    });
}
