//! Numbers that are locked after denials (S13).

use super::number_keys::{Keys, keyed_extension};
use super::*;
use crate::support::approval::verified;

const DENIALS: DenialLimits =
    DenialLimits { count: 2, window: Duration::from_secs(3600), lock: Duration::from_secs(3600) };

/// The first lock lasts a second.
const SHORT: DenialLimits = DenialLimits { count: 1, lock: Duration::from_secs(1), ..DENIALS };

/// Calls a number, and ends the call.
async fn call(
    store: &Arc<dyn CallStore>,
    n: u128,
    number: StoredNumber,
    with: Outcome,
    denials: DenialLimits,
) -> Ended {
    let new = new(attempt(n, 1), number);
    assert_eq!(begin(store, &new).await, Begun::New);
    store.end(&EndRequest { denials, ..end(new.attempt, with) }).await.unwrap()
}

fn denied() -> Outcome {
    failed(FailureReason::WrongKey)
}

fn locked(ended: Ended) -> SystemTime {
    match ended {
        Ended::Yes { locked_until: Some(until) } => until,
        other => panic!("the number is not locked: {other:?}"),
    }
}

/// Returns how long the number stays locked. `None`: it is not locked, and this call has begun.
async fn refused_for(store: &Arc<dyn CallStore>, n: u128, number: StoredNumber) -> Option<Duration> {
    match begin(store, &new(attempt(n, 1), number)).await {
        Begun::New => None,
        Begun::Refused(Refusal::Limit { limit: CallLimit::Denials, after }) => Some(after),
        other => panic!("{other:?}"),
    }
}

/// Times by two readings of a clock are never the same.
fn is_about(one: SystemTime, other: SystemTime) -> bool {
    let apart = one.duration_since(other).or_else(|_| other.duration_since(one)).unwrap();
    apart < Duration::from_secs(5)
}

#[test]
fn only_what_a_user_denied_counts_as_a_denial() {
    on_every_store(async |open| {
        let store = open();
        for (n, reason) in (1..).zip(FailureReason::ALL) {
            use FailureReason::{CallEnded, FraudReported, NoKeyPressed, WrongKey};
            let counts = matches!(reason, WrongKey | NoKeyPressed | CallEnded | FraudReported);
            let ended = call(&store, n, number(n), failed(reason), DenialLimits { count: 1, ..DENIALS }).await;
            let is_locked = matches!(ended, Ended::Yes { locked_until: Some(_) });
            assert_eq!(is_locked, counts, "{reason:?}: {ended:?}");
            assert!(is_locked || ended == Ended::UNLOCKED, "{reason:?}: {ended:?}");
        }
        assert_eq!(store.locks().await.unwrap().len(), 4);
    });
}

#[test]
fn the_last_denial_of_the_limit_locks_the_number() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        let before = SystemTime::now();
        let three = DenialLimits { count: 3, ..DENIALS };
        assert_eq!(call(&store, 1, number(1), denied(), three).await, Ended::UNLOCKED);
        assert_eq!(call(&another, 2, number(1), failed(FailureReason::CallEnded), three).await, Ended::UNLOCKED);
        assert_eq!(another.locks().await.unwrap(), []);
        let until = locked(call(&store, 3, number(1), failed(FailureReason::NoKeyPressed), three).await);
        assert!(is_about(until, before + three.lock), "{until:?} is not an hour after {before:?}");
        let after = refused_for(&another, 4, number(1)).await.expect("it is locked");
        assert!(after <= three.lock && after > three.lock / 2, "{after:?}");
        let locks = another.locks().await.unwrap();
        let [lock] = &locks[..] else { panic!("{locks:?}") };
        assert_eq!((lock.number, &*lock.masked, lock.locks), (number(1).hash, "+1******1212", 1));
        assert!(is_about(lock.until, until) && is_about(lock.since, before), "{lock:?}");
        let rows = all_rows(&another).await;
        assert_eq!(rows.iter().map(|row| row.locked_until).collect::<Vec<_>>(), [None, None, Some(until)]);
        assert_eq!(rows[2].outcome, RowOutcome::Failed(failure(FailureReason::NoKeyPressed)));
        assert_eq!(refused_for(&store, 5, number(2)).await, None, "another number is not locked");
        // The newest lock is the first one.
        tokio::time::sleep(Duration::from_millis(5)).await;
        locked(call(&store, 6, number(3), denied(), DenialLimits { count: 1, ..DENIALS }).await);
        let numbers: Vec<_> = another.locks().await.unwrap().into_iter().map(|lock| lock.number).collect();
        assert_eq!(numbers, [number(3).hash, number(1).hash]);
    });
}

#[test]
fn an_extension_and_its_line_do_not_lock_each_other() {
    on_every_store(async |open| {
        let store = open();
        let one = DenialLimits { count: 1, ..DENIALS };
        locked(call(&store, 1, number(1), denied(), one).await);
        assert_eq!(refused_for(&store, 2, extension(1, 7)).await, None);
        locked(call(&store, 3, extension(2, 7), denied(), one).await);
        assert_eq!(refused_for(&store, 4, number(2)).await, None);
        assert_eq!(refused_for(&store, 5, extension(2, 8)).await, None);
        assert!(refused_for(&store, 6, extension(2, 7)).await.is_some());
    });
}

#[test]
fn each_lock_is_twice_as_long_as_the_one_before() {
    on_every_store(async |open| {
        let stores = [open(), open()];
        let mut n = 0;
        for seconds in [1, 2, 4] {
            n += 1;
            let until = locked(call(&stores[0], n, number(1), denied(), SHORT).await);
            let lock = Duration::from_secs(seconds);
            let ends = SystemTime::now() + lock;
            assert!(until <= ends + Duration::from_millis(50) && is_about(until, ends), "{until:?}, not {ends:?}");
            // A refused call does not extend the lock.
            let mut last = lock;
            for store in stores.iter().cycle() {
                n += 1;
                let Some(after) = refused_for(store, n, number(1)).await else { break };
                assert!(after <= last, "{after:?} after {last:?}");
                let locks = store.locks().await.unwrap();
                // It may have ended meanwhile.
                assert!(
                    locks.iter().all(|of| is_about(of.until, until) && 1 << (of.locks - 1) == seconds),
                    "{locks:?}"
                );
                last = after;
                // The first wait is too short. After the second one it is unlocked.
                let wait = if after > lock / 2 { after / 2 } else { after };
                tokio::time::sleep(wait).await;
            }
            let ended = stores[1].end(&end(attempt(n, 1), failed(FailureReason::Unreachable))).await;
            assert_eq!(ended, Ok(Ended::UNLOCKED), "the call that begins when the lock has ended");
            assert_eq!(stores[0].locks().await.unwrap(), []);
        }
    });
}

#[test]
fn once_the_time_of_a_lock_has_passed_a_call_is_admitted() {
    on_every_store(async |open| {
        let store = open();
        locked(call(&store, 1, number(1), denied(), SHORT).await);
        if let Some(after) = refused_for(&store, 2, number(1)).await {
            tokio::time::sleep(after).await;
            assert_eq!(refused_for(&store, 2, number(1)).await, None);
        }
    });
}

#[test]
fn denials_count_within_their_window_alone() {
    on_every_store(async |open| {
        let store = open();
        let window = Duration::from_secs(1);
        assert_eq!(call(&store, 1, number(1), denied(), DENIALS).await, Ended::UNLOCKED);
        tokio::time::sleep(window + Duration::from_millis(10)).await;
        let short = DenialLimits { window, ..DENIALS };
        assert_eq!(call(&store, 2, number(1), denied(), short).await, Ended::UNLOCKED);
        locked(call(&store, 3, number(1), denied(), DENIALS).await);
    });
}

#[test]
fn an_approval_resets_the_denials_and_locks_of_its_number() {
    on_every_store(async |open| {
        let store = open();
        assert_eq!(call(&store, 1, number(1), denied(), DENIALS).await, Ended::UNLOCKED);
        assert_eq!(call(&store, 2, number(2), denied(), DENIALS).await, Ended::UNLOCKED);
        assert_eq!(call(&store, 3, number(1), verified(), DENIALS).await, Ended::UNLOCKED);
        assert_eq!(call(&store, 4, number(1), denied(), DENIALS).await, Ended::UNLOCKED, "the first one again");
        locked(call(&store, 5, number(2), denied(), DENIALS).await);
        // Locks, too: the second lock after an approval is a first one again.
        locked(call(&store, 6, number(3), denied(), SHORT).await);
        while let Some(after) = refused_for(&store, 7, number(3)).await {
            tokio::time::sleep(after).await;
        }
        assert!(store.end(&EndRequest { denials: SHORT, ..end(attempt(7, 1), verified()) }).await.unwrap().is_done());
        let until = locked(call(&store, 8, number(3), denied(), SHORT).await);
        assert!(until <= SystemTime::now() + SHORT.lock + Duration::from_millis(50), "{until:?}");
    });
}

#[test]
fn an_approval_that_comes_too_late_resets_nothing() {
    on_every_store(async |open| {
        let store = open();
        assert_eq!(call(&store, 1, number(1), denied(), DENIALS).await, Ended::UNLOCKED);
        let late = NewAttempt { deadline: Duration::from_millis(50), ..new(attempt(2, 1), number(1)) };
        assert_eq!(begin(&store, &late).await, Begun::New);
        tokio::time::sleep(Duration::from_millis(60)).await;
        let ends = |outcome| EndRequest { denials: DENIALS, ..end(late.attempt, outcome) };
        assert_eq!(store.end(&ends(verified())).await, Ok(Ended::No));
        assert_eq!(store.end(&EndRequest { owner: ANOTHER, ..ends(denied()) }).await, Ok(Ended::No));
        assert_eq!(store.locks().await.unwrap(), [], "what ends nothing is no denial");
        locked(store.end(&ends(denied())).await.unwrap());
    });
}

#[test]
fn an_administrator_unlocks_a_number() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        assert_eq!(another.unlock(&[number(1).hash]).await, Ok(false));
        locked(call(&store, 1, number(1), denied(), DenialLimits { count: 1, ..DENIALS }).await);
        locked(call(&store, 2, number(2), denied(), DenialLimits { count: 1, ..DENIALS }).await);
        assert_eq!(another.unlock(&[number(9).hash, number(1).hash]).await, Ok(true));
        assert_eq!(another.unlock(&[number(1).hash]).await, Ok(false));
        assert_eq!(
            store.locks().await.unwrap().into_iter().map(|lock| lock.number).collect::<Vec<_>>(),
            [number(2).hash]
        );
        // Its locks and its denials are removed.
        assert_eq!(call(&store, 3, number(1), denied(), DENIALS).await, Ended::UNLOCKED);
        assert_eq!(another.unlock(&[number(1).hash]).await, Ok(false), "it has a denial, and is not locked");
        assert_eq!(call(&store, 4, number(1), denied(), DENIALS).await, Ended::UNLOCKED);
        let until = locked(call(&store, 5, number(1), denied(), DENIALS).await);
        assert!(is_about(until, SystemTime::now() + DENIALS.lock), "a first lock: {until:?}");
    });
}

#[test]
fn an_end_that_is_recorded_again_returns_its_one_lock_again() {
    on_every_store(async |open| {
        let store = open();
        let ended = |n| {
            let failure = failure(FailureReason::FraudReported);
            update(attempt(n, 1), 5, AttemptChange::Ended { owner: OWNER, failure, release: true, denials: DENIALS })
        };
        assert_eq!(begin(&store, &new(attempt(1, 1), number(1))).await, Begun::New);
        for _ in 0..3 {
            assert_eq!(store.record(&[ended(1), ended(1)]).await, Ok(vec![]), "the same denial");
        }
        assert_eq!(begin(&store, &new(attempt(2, 1), number(1))).await, Begun::New);
        assert_eq!(begin(&store, &new(attempt(3, 1), number(3))).await, Begun::New);
        let lockouts =
            store.record(&[ended(3), update(attempt(2, 1), 4, step(CallEvent::Answered)), ended(2)]).await.unwrap();
        let [Lockout { attempt: one, until, number: locked, masked }] = &lockouts[..] else { panic!("{lockouts:?}") };
        assert_eq!((*one, *locked, &**masked), (attempt(2, 1), number(1).hash, "+1******1212"));
        let until = *until;
        assert!(is_about(until, SystemTime::now() + DENIALS.lock), "{until:?}");
        for _ in 0..2 {
            assert_eq!(store.record(&[ended(3), ended(2)]).await.as_ref(), Ok(&lockouts), "the answer may be lost");
        }
        let locks = store.locks().await.unwrap();
        assert_eq!(locks.iter().map(|lock| lock.locks).collect::<Vec<_>>(), [1], "it is counted once");
        let rows = all_rows(&store).await;
        assert_eq!(rows.iter().map(|row| row.locked_until).collect::<Vec<_>>(), [None, Some(until), None]);
    });
}

/// The answer to the end may have been lost, and then the same end is recorded.
#[test]
fn an_end_that_is_recorded_after_it_locked_returns_the_lock() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        let one = DenialLimits { count: 1, ..DENIALS };
        let ended = |owner, reason| {
            let (failure, release) = (failure(reason), true);
            [update(attempt(1, 1), 5, AttemptChange::Ended { owner, failure, release, denials: one })]
        };
        let (same, other) = (FailureReason::WrongKey, FailureReason::CallEnded);
        let until = locked(call(&store, 1, number(1), denied(), one).await);
        let masked = "+1******1212".into();
        let lockout = Lockout { attempt: attempt(1, 1), number: number(1).hash, masked, until };
        for store in [&store, &another] {
            assert_eq!(store.record(&ended(OWNER, same)).await, Ok(vec![lockout.clone()]));
        }
        for (owner, reason) in [(ANOTHER, same), (OWNER, other)] {
            assert_eq!(store.record(&ended(owner, reason)).await, Ok(vec![]), "{owner:?} {reason:?}: another end");
        }
        let locks = store.locks().await.unwrap();
        assert_eq!(locks.iter().map(|lock| lock.locks).collect::<Vec<_>>(), [1], "it is counted once");
        // An end that caused no lock returns none, whatever the limits are by now.
        assert_eq!(call(&store, 2, number(2), denied(), DENIALS).await, Ended::UNLOCKED);
        let failure = failure(same);
        let unlocked = AttemptChange::Ended { owner: OWNER, failure, release: true, denials: one };
        assert_eq!(store.record(&[update(attempt(2, 1), 5, unlocked)]).await, Ok(vec![]));
    });
}

#[test]
fn an_end_that_comes_many_times_at_once_counts_once() {
    on_every_store(async |open| {
        let stores: Vec<_> = (0..4).map(|_| open()).collect();
        for n in 1..=8 {
            assert_eq!(begin(&stores[0], &new(attempt(n, 1), number(n))).await, Begun::New);
        }
        let mut ends = JoinSet::new();
        for (turn, store) in (0..64).zip(stores.iter().cycle()) {
            let store = Arc::clone(store);
            let one = attempt(1 + turn % 8, 1);
            ends.spawn(async move { store.end(&EndRequest { denials: DENIALS, ..end(one, denied()) }).await.unwrap() });
        }
        let ends = ends.join_all().await;
        assert_eq!(ends.iter().filter(|ended| **ended == Ended::UNLOCKED).count(), 8, "{ends:?}");
        assert_eq!(stores[1].locks().await.unwrap(), []);
        let again = |n: u128| {
            let store = Arc::clone(&stores[n as usize % 4]);
            async move { call(&store, 100 + n, number(n), denied(), DENIALS).await }
        };
        let ends: JoinSet<_> = (1..=8).map(again).collect();
        for ended in ends.join_all().await {
            locked(ended);
        }
        assert_eq!(stores[2].locks().await.unwrap().len(), 8);
    });
}

#[test]
fn a_locked_number_that_rings_or_is_blocked_is_named_so() {
    on_every_store(async |open| {
        let store = open();
        let one = DenialLimits { count: 1, ..DENIALS };
        assert_eq!(begin(&store, &new(attempt(1, 1), number(1))).await, Begun::New);
        let rings = EndRequest { release: false, denials: one, ..end(attempt(1, 1), denied()) };
        locked(store.end(&rings).await.unwrap());
        assert!(refused_for(&store, 2, number(1)).await.is_some(), "the lock is named before the phone that rings");
        let StoredNumber { hash, masked, .. } = number(1);
        let scope = BlockScope::Number;
        let block = Block { number: hash, scope, masked, reason: "stolen".into(), since: at(0), until: None };
        store.block(&block).await.unwrap();
        let refused = begin(&store, &new(attempt(2, 1), number(1))).await;
        assert!(matches!(refused, Begun::Refused(Refusal::Blocked { .. })), "{refused:?}");
    });
}

/// As `phonegate limits unlock ID` does, also with the id of a call from before the change.
#[test]
fn a_call_unlocks_its_number_after_changes_of_the_number_key() {
    on_every_store(async |open| {
        let store = open();
        let one = DenialLimits { count: 1, ..DENIALS };
        let first: Keys = &[0, 1, 2];
        // The last one is a node that has the first key again.
        let orders: [Keys; 3] = [&[1, 0, 2], &[2, 1, 0], &[0, 2, 1]];
        for changes in 0..=orders.len() {
            let n = 1 + changes as u128;
            let (id, number) = (100 * n, |keys| keyed_extension(n, 7, keys));
            locked(call(&store, id, number(first), denied(), one).await);
            for (again, keys) in (1..).zip(&orders[..changes]) {
                assert!(refused_for(&store, id + again, number(keys)).await.is_some());
            }
            let rows = all_rows(&store).await;
            let row = rows.iter().find(|row| row.attempt == attempt(id, 1)).unwrap();
            for was_locked in [true, false] {
                assert_eq!(store.unlock(&[row.number_hash.unwrap()]).await, Ok(was_locked), "{changes} changes");
            }
            assert_eq!(store.locks().await, Ok(vec![]));
            let last = orders[..changes].last().copied().unwrap_or(first);
            assert_eq!(refused_for(&store, id + 9, number(last)).await, None);
        }
    });
}

#[test]
fn a_change_of_the_number_key_ends_no_lock() {
    on_every_store(async |open| {
        let store = open();
        let (old, new_key) = (|n| keyed_extension(n, 7, &[0]), |n| keyed_extension(n, 7, &[1, 0]));
        let one = DenialLimits { count: 1, ..DENIALS };
        locked(call(&store, 1, old(1), denied(), one).await);
        assert_eq!(call(&store, 2, old(2), denied(), DENIALS).await, Ended::UNLOCKED);
        locked(call(&store, 3, old(3), denied(), one).await);
        let changed = open();
        assert!(refused_for(&changed, 11, new_key(1)).await.is_some());
        locked(call(&changed, 12, new_key(2), denied(), DENIALS).await);
        let locks = changed.locks().await.unwrap();
        let mut locked: Vec<_> = locks.iter().map(|lock| lock.number.to_string()).collect();
        locked.sort();
        assert_eq!(locked, [old(3), new_key(1), new_key(2)].map(|number| number.hash.to_string()));
        for (number, was_locked) in [(new_key(3), true), (new_key(1), true), (new_key(1), false)] {
            let hashes: Vec<_> =
                std::iter::once(number.hash).chain(number.otherwise.iter().map(|old| old.number)).collect();
            assert_eq!(changed.unlock(&hashes).await, Ok(was_locked));
        }
        // A node that is not changed yet.
        let back = keyed_extension(2, 7, &[0, 1]);
        assert!(refused_for(&store, 13, back).await.is_some());
    });
}
