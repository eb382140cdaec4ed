//! The audit: what is recorded of calls (S7, S18), how it is queried, and for how long it is kept (S17).

use phonegate_approval::verdict::JudgedBy;

use super::*;
use crate::support::approval::verified;

#[test]
fn a_refusal_is_recorded_and_holds_no_number() {
    on_every_store(async |open| {
        let store = open();
        let limits = Limits { calls_per_number: 1, calls_per_minute: 1, concurrent_calls: 1, ..NO_LIMITS };
        for _ in 0..2 {
            store.record(&[update(attempt(1, 1), 7, refused(Some(number(1))))]).await.unwrap();
            store.record(&[update(attempt(2, 1), 8, refused(None))]).await.unwrap();
        }
        assert_eq!(ended(&store, id(2)).await, (1, stored(failed(FailureReason::Throttled))));
        let rows = all_rows(&store).await;
        let [first, second] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!((first.started, first.ended, &*first.node), (at(7), Some(at(7)), "web2"));
        assert_eq!((first.number_hash, first.line_hash), (Some(number(1).hash), Some(number(1).line_hash)));
        assert_eq!((second.number.as_deref(), second.number_hash), (None, None));
        // A refused attempt counts for no limit.
        assert_eq!(store.begin(&new(attempt(3, 1), number(1)), &limits).await, Ok(Begun::New));
        // If it has begun nevertheless, it ends, whichever owner it has, and does not count either.
        store.record(&[update(attempt(3, 1), 9, refused(Some(number(1))))]).await.unwrap();
        assert_eq!(ended(&store, id(3)).await, (1, stored(failed(FailureReason::Throttled))));
        assert_eq!(store.begin(&new(attempt(4, 1), number(1)), &limits).await, Ok(Begun::New));
    });
}

#[test]
fn a_change_recorded_twice_happens_once() {
    on_every_store(async |open| {
        let store = open();
        let one = attempt(1, 1);
        assert_eq!(begin(&store, &new(one, number(1))).await, Begun::New);
        let text = Some("the trunk said: \"180 Ringing\"".into());
        let updates = [
            update(
                one,
                10,
                AttemptChange::Step {
                    event: CallEvent::ServerFailed,
                    backend: Some("trunk".into()),
                    text: text.clone(),
                },
            ),
            update(one, 20, placed("CA1")),
            update(one, 40, step(CallEvent::Answered)),
            update(one, 30, step(CallEvent::Ringing)),
            update(one, 50, step(CallEvent::Answered)),
            update(
                one,
                60,
                AttemptChange::Ended {
                    owner: OWNER,
                    failure: failure(FailureReason::NoKeyPressed),
                    release: false,
                    denials: NO_LOCK,
                },
            ),
            update(one, 70, AttemptChange::Released),
        ];
        store.record(&[]).await.unwrap();
        for updates in [&updates[..3], &updates[..], &updates[2..], &updates[..]] {
            store.record(updates).await.unwrap();
        }
        // A change of an unknown attempt changes nothing.
        store
            .record(&[update(attempt(9, 9), 1, step(CallEvent::Ringing)), update(attempt(9, 9), 1, placed("CA9"))])
            .await
            .unwrap();
        let step = |milliseconds, name: &str, backend: Option<&str>, text: Option<Box<str>>| Step {
            at: at(milliseconds),
            name: name.into(),
            backend: backend.map(Into::into),
            text,
        };
        let steps = [
            step(10, "server_failed", Some("trunk"), text),
            step(20, "placed", Some("trunk"), None),
            step(30, "ringing", None, None),
            step(40, "answered", None, None),
            step(50, "answered", None, None),
        ];
        assert_eq!(open().steps(one).await.unwrap(), steps);
        assert_eq!(open().steps(attempt(9, 9)).await.unwrap(), []);
        let expected = Row {
            sequence: 1,
            attempt: one,
            number: Some("+1******1212".into()),
            full_number: None,
            number_hash: Some(number(1).hash),
            line_hash: Some(number(1).line_hash),
            node: "web1".into(),
            backend: Some("trunk".into()),
            started: at(0),
            placed: Some(at(20)),
            ringing: Some(at(30)),
            answered: Some(at(40)),
            ended: Some(at(60)),
            outcome: RowOutcome::Failed(failure(FailureReason::NoKeyPressed)),
            judged_by: None,
            country: None,
            locked_until: None,
        };
        assert_eq!(all_rows(&open()).await, [expected]);
        assert_eq!(begin(&store, &new(attempt(2, 1), number(1))).await, Begun::New);
    });
}

#[test]
fn an_unplaced_call_has_the_backend_that_refused_it_last() {
    on_every_store(async |open| {
        let store = open();
        let refused_by = |backend: &str| AttemptChange::Step {
            event: CallEvent::BackendRefused,
            backend: Some(backend.into()),
            text: Some("Busy.".into()),
        };
        let (one, two) = (attempt(1, 1), attempt(2, 1));
        for (attempt, number) in [(one, number(1)), (two, number(2))] {
            assert_eq!(begin(&store, &new(attempt, number)).await, Begun::New);
        }
        let refusals = [update(one, 10, refused_by("first")), update(one, 20, refused_by("second"))];
        store.record(&refusals).await.unwrap();
        store.record(&[update(two, 10, refused_by("first")), update(two, 20, placed("CA2"))]).await.unwrap();
        // Repeated changes of an attempt that has been placed change nothing.
        store.record(&[update(two, 10, refused_by("first"))]).await.unwrap();
        let backends =
            async || -> Vec<_> { all_rows(&open()).await.into_iter().map(|row| (row.backend, row.placed)).collect() };
        let expected = [(Some("second".into()), None), (Some("trunk".into()), Some(at(20)))];
        assert_eq!(backends().await, expected);
        assert!(store.end(&end(one, failed(FailureReason::CannotPlace))).await.unwrap().is_done());
        assert_eq!(backends().await, expected);
    });
}

#[test]
fn the_whole_number_is_kept_if_configured() {
    on_every_store(async |open| {
        let store = open();
        let whole = StoredNumber { full: Some("+14255551212x7".into()), ..number(1) };
        assert_eq!(begin(&store, &new(attempt(1, 1), whole)).await, Begun::New);
        assert_eq!(begin(&store, &new(attempt(2, 1), number(2))).await, Begun::New);
        let full: Vec<_> = all_rows(&store).await.into_iter().map(|row| row.full_number).collect();
        assert_eq!(full, [Some("+14255551212x7".into()), None]);
    });
}

#[test]
fn the_audit_returns_what_a_query_matches() {
    on_every_store(async |open| {
        let store = open();
        let numbers = [number(1), extension(1, 7), number(2), number(3)];
        for (n, number) in (1..).zip(numbers) {
            let started = at(n as u64 * 1000);
            assert_eq!(begin(&store, &NewAttempt { started, ..new(attempt(n, 1), number) }).await, Begun::New);
        }
        assert!(store.end(&end(attempt(1, 1), verified())).await.unwrap().is_done());
        assert!(store.end(&end(attempt(2, 1), failed(FailureReason::WrongKey))).await.unwrap().is_done());
        assert!(store.end(&end(attempt(3, 1), failed(FailureReason::NoKeyPressed))).await.unwrap().is_done());
        let again = NewAttempt { started: at(5000), ..new(attempt(1, 2), number(1)) };
        assert_eq!(begin(&store, &again).await, Begun::New);
        let rows = all_rows(&store).await;
        assert!(rows.is_sorted_by_key(|row| row.sequence));
        let judges: Vec<_> = rows.iter().map(|row| row.judged_by).collect();
        assert_eq!(judges, [Some(JudgedBy::PhoneGate), None, None, None, None]);
        let ask = async |query: Query| -> Vec<(CallId, u64)> {
            let rows = open().rows(&query).await.unwrap();
            rows.into_iter().map(|row| (row.attempt.id, row.attempt.generation)).collect()
        };
        let all = || Query { limit: 100, ..Query::default() };
        let (one, two, three, four, five) = ((id(1), 1), (id(2), 1), (id(3), 1), (id(4), 1), (id(1), 2));
        assert_eq!(ask(all()).await, [one, two, three, four, five]);
        assert_eq!(ask(Query { newest_first: true, ..all() }).await, [five, four, three, two, one]);
        assert_eq!(ask(Query { limit: 2, ..all() }).await, [one, two]);
        assert_eq!(ask(Query { limit: 2, newest_first: true, ..all() }).await, [five, four]);
        assert_eq!(ask(Query { limit: 0, ..all() }).await, []);
        assert_eq!(ask(Query { since: Some(at(2000)), until: Some(at(4000)), ..all() }).await, [two, three]);
        assert_eq!(ask(Query { id: Some(id(1)), ..all() }).await, [one, five]);
        assert_eq!(ask(Query { id: Some(id(1)), newest_first: true, limit: 1, ..all() }).await, [five]);
        assert_eq!(ask(Query { id: Some(id(9)), ..all() }).await, []);
        assert_eq!(ask(Query { numbers: vec![number(1).hash], ..all() }).await, [one, two, five], "a line");
        assert_eq!(ask(Query { numbers: vec![extension(1, 7).hash], ..all() }).await, [two]);
        let several = vec![extension(1, 7).hash, number(2).hash, number(9).hash];
        assert_eq!(ask(Query { numbers: several, ..all() }).await, [two, three]);
        assert_eq!(ask(Query { reason: Some(FailureReason::NoKeyPressed), ..all() }).await, [three]);
        assert_eq!(ask(Query { after: rows[2].sequence, ..all() }).await, [four, five]);
        assert_eq!(ask(Query { after: rows[4].sequence, ..all() }).await, []);
    });
}

#[test]
fn a_long_audit_is_read_and_removed_completely() {
    on_every_store(async |open| {
        let store = open();
        let updates: Vec<_> = (1..=1203).map(|n| update(attempt(n, 1), n as u64, refused(None))).collect();
        store.record(&updates).await.unwrap();
        let ids = async |newest_first| -> Vec<CallId> {
            let rows = store.rows(&Query { limit: 2000, newest_first, ..Query::default() }).await.unwrap();
            rows.into_iter().map(|row| row.attempt.id).collect()
        };
        assert_eq!(ids(false).await, (1..=1203).map(id).collect::<Vec<_>>());
        assert_eq!(ids(true).await, (1..=1203).rev().map(id).collect::<Vec<_>>());
        tokio::time::sleep(Duration::from_millis(1100)).await;
        store.sweep(Duration::from_secs(1)).await.unwrap();
        assert_eq!(ids(false).await, []);
    });
}

#[test]
fn old_calls_are_removed_and_pending_ones_are_not() {
    on_every_store(async |open| {
        let store = open();
        for (n, generation) in [(1, 1), (2, 1), (3, 1)] {
            assert_eq!(begin(&store, &new(attempt(n, generation), number(n))).await, Begun::New);
            store.record(&[update(attempt(n, generation), 1, step(CallEvent::Ringing))]).await.unwrap();
        }
        assert!(store.end(&end(attempt(1, 1), verified())).await.unwrap().is_done());
        assert!(store.end(&EndRequest { release: false, ..end(attempt(2, 1), verified()) }).await.unwrap().is_done());
        assert_eq!(begin(&store, &new(attempt(1, 2), number(1))).await, Begun::New);
        store.sweep(LONG).await.unwrap();
        assert_eq!(all_rows(&store).await.len(), 4);
        tokio::time::sleep(Duration::from_millis(1100)).await;
        store.sweep(Duration::from_secs(1)).await.unwrap();
        let rows = all_rows(&open()).await;
        let left: Vec<_> = rows.iter().map(|row| (row.attempt.id, row.attempt.generation)).collect();
        assert_eq!(left, [(id(3), 1), (id(1), 2)]);
        assert!(is_pending(&store, attempt(1, 2)).await);
        assert_eq!(store.find(id(2)).await, Ok(None));
        assert_eq!(store.steps(attempt(2, 1)).await, Ok(vec![]));
        assert_eq!(store.steps(attempt(3, 1)).await.unwrap().len(), 1);
        assert_eq!(begin(&store, &new(attempt(2, 1), number(2))).await, Begun::New, "nothing is left of it");
    });
}

#[test]
fn a_new_store_describes_itself_and_is_empty() {
    on_every_store(async |open| {
        let store = open();
        assert!(!store.check().await.unwrap().is_empty());
        assert_eq!(all_rows(&store).await, []);
    });
}
