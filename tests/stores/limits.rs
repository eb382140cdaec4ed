//! How many calls there may be, and whom nobody calls.

use super::*;

#[test]
fn many_simultaneous_calls_never_exceed_a_limit() {
    on_every_store(async |open| {
        let limits = Limits { calls_per_minute: 10, ..NO_LIMITS };
        let begun = begin_at_once(open, limits, (1..=64).map(|n| new(attempt(n, 1), number(n)))).await;
        assert_eq!(new_ones(&begun).len(), 10, "{begun:?}");
    });
}

fn block(number: StoredNumber, since: u64, until: Option<SystemTime>) -> Block {
    let reason = format!("reason {since}").into();
    Block { number: number.key, masked: number.masked, reason, since: at(since), until }
}

#[test]
fn a_blocked_number_is_not_called_and_a_blocked_line_has_no_extension_that_is() {
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
        // The one in place of the other.
        store.block(&block(number(1), 3, None)).await.unwrap();
        assert_eq!(begin(&another, &new(attempt(3, 1), number(1))).await, blocked(3, None));
        assert!(store.unblock(number(1).key).await.unwrap());
        assert!(!store.unblock(number(1).key).await.unwrap());
        assert_eq!(begin(&another, &new(attempt(3, 1), number(1))).await, Begun::New);
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
        assert!(!store.unblock(number(2).key).await.unwrap(), "it is not on the list any more");
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
fn a_number_is_called_so_often_within_a_window_and_refused_calls_do_not_count() {
    on_every_store(async |open| {
        let window = Duration::from_secs(10);
        let limits = Limits { calls_per_number: 2, per_number_window: window, ..NO_LIMITS };
        let stores = [open(), open()];
        for n in [1, 2] {
            let new = new(attempt(n, 1), number(1));
            assert_eq!(stores[n as usize - 1].begin(&new, &limits).await, Ok(Begun::New));
            assert!(stores[0].end(&end(new.attempt, failed(FailureReason::NoKeyPressed))).await.unwrap());
        }
        let wait = async || match stores[0].begin(&new(attempt(3, 1), number(1)), &limits).await {
            Ok(Begun::Refused(Refusal::NumberLimit { after })) => after,
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
            assert!(stores[0].end(&end(new.attempt, Outcome::Verified)).await.unwrap());
        }
        let wait = async || match stores[0].begin(&new(attempt(3, 1), number(3)), &limits).await {
            Ok(Begun::Refused(Refusal::MinuteLimit { after })) => after,
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
            Ok(Begun::Refused(Refusal::ConcurrentLimit { after })) => {
                assert!(after <= LONG / 2 && after > Duration::from_secs(20), "{after:?}");
            }
            other => panic!("{other:?}"),
        }
        assert!(store.end(&end(attempt(1, 1), Outcome::Verified)).await.unwrap());
        assert_eq!(store.begin(&third, &limits).await, Ok(Begun::New));
    });
}
