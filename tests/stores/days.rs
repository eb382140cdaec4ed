//! Limits of a day: for a number, for a country, and for all calls (S12).

use super::limits::block_of;
use super::number_keys::keyed;
use super::*;
use crate::support::approval::verified;

const DAY: Duration = Duration::from_secs(86_400);

/// Maximum time that a call may count for longer than a day.
const BUCKET: Duration = Duration::from_secs(600);

fn country(code: &str) -> Country {
    Country::parse(code).unwrap()
}

/// The n-th number, in a country.
fn number_in(n: u128, code: &str) -> StoredNumber {
    StoredNumber { country: Some(country(code)), ..number(n) }
}

fn a_day(calls: u64) -> Limits {
    Limits { calls_per_day: Some(calls), ..NO_LIMITS }
}

fn of_country(calls: u64) -> Limits {
    Limits { country_per_day: Some(calls), ..NO_LIMITS }
}

fn to_number(calls: u64) -> Limits {
    Limits { calls_per_number_per_day: calls, ..NO_LIMITS }
}

/// Returns the limit that refuses a call to this number, and for how long.
async fn refused(store: &Arc<dyn CallStore>, number: StoredNumber, limits: &Limits) -> (CallLimit, Duration) {
    match store.begin(&new(attempt(5000, 1), number), limits).await {
        Ok(Begun::Refused(Refusal::Limit { limit, after })) => (limit, after),
        other => panic!("no limit refuses it: {other:?}"),
    }
}

/// Returns the calls that count for the day, in all and by country.
async fn usage(store: &Arc<dyn CallStore>) -> (u64, Vec<(String, u64)>) {
    let usage = store.usage().await.unwrap();
    (usage.day, usage.by_country.into_iter().map(|(country, count)| (country.to_string(), count)).collect())
}

async fn begin_and_end(store: &Arc<dyn CallStore>, n: u128, number: StoredNumber, limits: &Limits) {
    assert_eq!(store.begin(&new(attempt(n, 1), number), limits).await, Ok(Begun::New), "call {n}");
    assert!(store.end(&end(attempt(n, 1), verified())).await.unwrap().is_done());
}

#[test]
fn many_calls_at_once_never_exceed_a_limit_of_the_day() {
    on_every_store(async |open| {
        let calls = (1..=20).map(|n| new(attempt(n, 1), number_in(n, "LV")));
        let begun = begin_at_once(open, of_country(5), calls).await;
        assert_eq!(new_ones(&begun).len(), 5, "{begun:?}");
        let begun = begin_at_once(open, a_day(8), (21..=40).map(|n| new(attempt(n, 1), number(n)))).await;
        assert_eq!(new_ones(&begun).len(), 3, "5 have begun already: {begun:?}");
        assert_eq!(usage(&open()).await, (8, vec![("LV".to_owned(), 5)]));
    });
}

#[test]
fn calls_to_a_number_within_a_day_are_limited() {
    on_every_store(async |open| {
        let stores = [open(), open()];
        for n in [1, 2] {
            begin_and_end(&stores[n as usize - 1], n, number(1), &to_number(2)).await;
        }
        for store in &stores {
            let (limit, after) = refused(store, number(1), &to_number(2)).await;
            assert_eq!(limit, CallLimit::CallsPerNumberPerDay);
            assert!(after <= DAY && after > DAY - Duration::from_secs(600), "{after:?}");
        }
        begin_and_end(&stores[0], 3, extension(1, 7), &to_number(2)).await;
        begin_and_end(&stores[1], 4, number(1), &to_number(3)).await;
        // A shorter window than a day removes none of its calls.
        let window = Duration::from_millis(100);
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let limits = Limits { calls_per_number: 1, per_number_window: window, ..to_number(4) };
        begin_and_end(&stores[0], 5, number(1), &limits).await;
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert_eq!(refused(&stores[0], number(1), &limits).await.0, CallLimit::CallsPerNumberPerDay);
    });
}

#[test]
fn calls_to_a_country_within_a_day_are_limited() {
    on_every_store(async |open| {
        let stores = [open(), open()];
        for n in [1, 2] {
            begin_and_end(&stores[n as usize - 1], n, number_in(n, "LV"), &of_country(2)).await;
        }
        begin_and_end(&stores[0], 3, number_in(3, "US"), &of_country(1)).await;
        for n in [4, 5] {
            begin_and_end(&stores[0], n, number(n), &of_country(1)).await;
        }
        for store in &stores {
            let (limit, after) = refused(store, number_in(9, "LV"), &of_country(2)).await;
            assert_eq!(limit, CallLimit::ByCountry);
            assert!(after <= DAY + BUCKET && after > DAY - BUCKET, "{after:?}");
            assert_eq!(usage(store).await, (5, vec![("LV".to_owned(), 2), ("US".to_owned(), 1)]));
        }
        let countries: Vec<_> = all_rows(&stores[1]).await.into_iter().map(|row| row.country).collect();
        let (lv, us) = (Some(country("LV")), Some(country("US")));
        assert_eq!(countries, [lv, lv, us, None, None]);
    });
}

#[test]
fn all_calls_within_a_day_are_limited() {
    on_every_store(async |open| {
        let stores = [open(), open()];
        assert_eq!(usage(&stores[0]).await, (0, vec![]));
        begin_and_end(&stores[0], 1, number_in(1, "LV"), &a_day(2)).await;
        begin_and_end(&stores[1], 2, number(2), &a_day(2)).await;
        for number in [number_in(1, "LV"), number(9)] {
            let (limit, after) = refused(&stores[0], number, &a_day(2)).await;
            assert_eq!(limit, CallLimit::CallsPerDay);
            assert!(after <= DAY + BUCKET && after > DAY - BUCKET, "{after:?}");
        }
        begin_and_end(&stores[1], 3, number(3), &a_day(3)).await;
    });
}

#[test]
fn what_is_refused_or_given_up_counts_for_no_day() {
    on_every_store(async |open| {
        let (store, another) = (open(), open());
        let new = |n| new(attempt(n, 1), number_in(1, "LV"));
        store.block(&block_of(number(1))).await.unwrap();
        assert!(matches!(begin(&store, &new(1)).await, Begun::Refused(_)));
        assert!(store.unblock(number(1).hash).await.unwrap());
        store.record(&[update(attempt(2, 1), 0, super::refused(Some(number_in(1, "LV"))))]).await.unwrap();
        assert_eq!(usage(&another).await, (0, vec![]));
        let one = Limits { calls_per_number_per_day: 1, calls_per_day: Some(1), country_per_day: Some(1), ..NO_LIMITS };
        assert_eq!(store.begin(&new(3), &one).await, Ok(Begun::New));
        assert_eq!(usage(&another).await, (1, vec![("LV".to_owned(), 1)]));
        for _ in 0..2 {
            // The same change may be recorded again.
            another.record(&[update(attempt(3, 1), 0, super::refused(Some(number_in(1, "LV"))))]).await.unwrap();
            assert_eq!(usage(&another).await, (0, vec![]));
        }
        assert_eq!(store.begin(&new(4), &one).await, Ok(Begun::New));
        another.record(&[update(attempt(3, 1), 0, super::refused(Some(number_in(1, "LV"))))]).await.unwrap();
        assert_eq!(usage(&another).await, (1, vec![("LV".to_owned(), 1)]));
        // A call that has ended still counts.
        assert!(store.end(&end(attempt(4, 1), failed(FailureReason::Unreachable))).await.unwrap().is_done());
        assert_eq!(usage(&store).await, (1, vec![("LV".to_owned(), 1)]));
        for (limits, limit) in [
            (to_number(1), CallLimit::CallsPerNumberPerDay),
            (of_country(1), CallLimit::ByCountry),
            (a_day(1), CallLimit::CallsPerDay),
        ] {
            assert_eq!(refused(&another, number_in(1, "LV"), &limits).await.0, limit);
        }
    });
}

#[test]
fn of_several_limits_the_first_one_in_order_is_named() {
    on_every_store(async |open| {
        let store = open();
        let one = number_in(1, "LV");
        begin_and_end(&store, 1, one.clone(), &NO_LIMITS).await;
        let its_line = StoredNumber { country: one.country, ..extension(1, 7) };
        assert_eq!(begin(&store, &new(attempt(2, 1), its_line)).await, Begun::New);
        let mut limits = Limits {
            calls_per_number: 1,
            calls_per_number_per_day: 1,
            line_per_minute: 2,
            line_in_progress: 1,
            calls_per_minute: 2,
            concurrent_calls: 1,
            country_per_day: Some(2),
            calls_per_day: Some(2),
            ..NO_LIMITS
        };
        let mut named = async |loosen: fn(&mut Limits)| {
            let (limit, after) = refused(&store, one.clone(), &limits).await;
            loosen(&mut limits);
            (limit, after)
        };
        assert_eq!(named(|limits| limits.calls_per_number = 9).await.0, CallLimit::CallsPerNumber);
        assert_eq!(named(|limits| limits.calls_per_number_per_day = 9).await.0, CallLimit::CallsPerNumberPerDay);
        assert_eq!(named(|limits| limits.line_per_minute = 9).await.0, CallLimit::CallsPerLine);
        assert_eq!(named(|limits| limits.line_in_progress = 9).await.0, CallLimit::CallsPerLine);
        assert_eq!(named(|limits| limits.calls_per_minute = 9).await.0, CallLimit::CallsPerMinute);
        assert_eq!(named(|limits| limits.concurrent_calls = 9).await.0, CallLimit::ConcurrentCalls);
        assert_eq!(named(|limits| limits.country_per_day = Some(9)).await.0, CallLimit::ByCountry);
        assert_eq!(named(|limits| limits.calls_per_day = Some(9)).await.0, CallLimit::CallsPerDay);
        assert_eq!(store.begin(&new(attempt(3, 1), one.clone()), &limits).await, Ok(Begun::New));
    });
}

#[test]
fn the_limit_by_which_a_call_was_refused_comes_back_with_it() {
    on_every_store(async |open| {
        let store = open();
        for (n, limit) in (1..).zip(CallLimit::ALL) {
            let failure = Failure::limited(limit, "Too many.");
            let change = AttemptChange::Refused { number: Some(number_in(n, "LV")), node: "web2".into(), failure };
            store.record(&[update(attempt(n, 1), 0, change)]).await.unwrap();
        }
        store.record(&[update(attempt(99, 1), 0, super::refused(None))]).await.unwrap();
        // An attempt that has begun although it was refused.
        assert_eq!(begin(&store, &new(attempt(100, 1), number(1))).await, Begun::New);
        let failure = Failure::limited(CallLimit::CallsPerDay, "Too many.");
        let change = AttemptChange::Refused { number: Some(number(1)), node: "web2".into(), failure };
        store.record(&[update(attempt(100, 1), 0, change)]).await.unwrap();
        let limits: Vec<_> = all_rows(&open())
            .await
            .into_iter()
            .map(|row| match row.outcome {
                RowOutcome::Failed(failure) => failure.limit(),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected: Vec<_> =
            CallLimit::ALL.into_iter().map(Some).chain([None, Some(CallLimit::CallsPerDay)]).collect();
        assert_eq!(limits, expected);
        let (_, outcome) = ended(&store, id(1)).await;
        assert_eq!(outcome, StoredOutcome::Failed(Failure::limited(CallLimit::CallsPerNumber, "Too many.")));
        let first = &all_rows(&store).await[0];
        assert_eq!(first.country, Some(country("LV")), "that of a call that never began, too");
    });
}

#[test]
fn a_change_of_the_number_key_resets_no_limit_of_the_day() {
    on_every_store(async |open| {
        let (store, changed) = (open(), open());
        begin_and_end(&store, 1, keyed(1, &[0]), &to_number(1)).await;
        let number = keyed(1, &[1, 0]);
        assert_eq!(refused(&changed, number.clone(), &to_number(1)).await.0, CallLimit::CallsPerNumberPerDay);
        assert_eq!(refused(&changed, number.clone(), &a_day(1)).await.0, CallLimit::CallsPerDay);
        begin_and_end(&changed, 2, number, &to_number(2)).await;
    });
}
