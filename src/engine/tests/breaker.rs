//! Backends that are skipped while they are down, in virtual time.

use super::*;

fn silent(reason: FailureReason) -> Result<CallRef, PlaceError> {
    Err(PlaceError { may_ring: MayRing::No, failure: Failure::new(reason, "As scripted.").of_backend() })
}

/// A backend that places no call, and rings no phone.
fn broken() -> Arc<Scripted> {
    Arc::new(Scripted::new(Duration::ZERO, silent(FailureReason::CannotPlace)))
}

fn working() -> Arc<Scripted> {
    Arc::new(Scripted::new(Duration::ZERO, Ok(CallRef::new("works"))))
}

fn bench(first: &Arc<Scripted>, second: &Arc<Scripted>) -> Bench {
    Bench::with_both(Arc::new(MemoryStore::default()), Arc::clone(first), Arc::clone(second))
}

/// Places the n-th call, to a number of its own, and returns how often each backend was asked so far.
async fn calls(bench: &Bench, n: u128, backends: [&Arc<Scripted>; 2]) -> [usize; 2] {
    calls_to(number_of(1200 + n), bench, n, backends).await
}

async fn calls_to(number: PhoneNumber, bench: &Bench, n: u128, backends: [&Arc<Scripted>; 2]) -> [usize; 2] {
    let is_begun = || matches!(bench.begin_to(number.clone(), n, 600 * SECOND), Begun::New(_));
    // The number is released a moment after the end of the call before.
    bench.until(|_| is_begun()).await;
    bench.until(|bench| bench.registry.status(id(n)) != Some(CallStatus::Pending)).await;
    backends.map(|backend| *backend.placed.lock())
}

#[tokio::test(start_paused = true)]
async fn one_call_a_minute_probes_a_backend_that_is_down() {
    let (first, second) = (broken(), working());
    let bench = bench(&first, &second);
    let minute = 60 * SECOND;
    for (n, wait, expected) in [
        (1, Duration::ZERO, [1, 1]),
        (2, Duration::ZERO, [2, 2]),
        (3, Duration::ZERO, [2, 3]),
        (4, minute, [3, 4]),
        (5, Duration::ZERO, [3, 5]),
        (6, minute, [4, 6]),
    ] {
        tokio::time::advance(wait).await;
        assert_eq!(calls(&bench, n, [&first, &second]).await, expected, "call {n}");
        assert_eq!(bench.registry.status(id(n)), Some(CallStatus::Success), "call {n}");
    }
    let logged = |event: &str| {
        let event = format!("\"event\":\"{event}\"");
        bench.lines.lock().iter().filter(|line| line.contains(&event)).count()
    };
    bench.until(|_| logged("clean_up") == 6).await;
    assert_eq!((logged("skipped"), logged("probed"), logged("backend_down"), logged("backend_up")), (2, 2, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn backends_that_are_all_down_are_all_asked() {
    let (first, second) = (broken(), broken());
    let bench = bench(&first, &second);
    for n in 1..=4 {
        let asked = usize::try_from(n).unwrap();
        assert_eq!(calls(&bench, n, [&first, &second]).await, [asked, asked], "call {n}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_skipped_backend_is_asked_if_the_others_refuse() {
    // The failure of the second one is about the number, so the second one is not down.
    let second = Arc::new(Scripted::new(Duration::ZERO, silent(FailureReason::InvalidNumber)));
    let first = broken();
    let bench = bench(&first, &second);
    for n in 1..=4 {
        let asked = usize::try_from(n).unwrap();
        assert_eq!(calls(&bench, n, [&first, &second]).await, [asked, asked], "call {n}");
        let text = bench.registry.snapshot(id(n)).unwrap().failure.unwrap();
        let order = if n <= 2 { "scripted: As scripted." } else { "again: As scripted." };
        assert!(text.text().starts_with(order), "call {n}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_to_one_number_alone_make_no_call_skip() {
    let (first, second) = (broken(), working());
    let bench = bench(&first, &second);
    for n in 1..=4 {
        let asked = usize::try_from(n).unwrap();
        assert_eq!(calls_to(number(), &bench, n, [&first, &second]).await, [asked, asked], "call {n}");
    }
    *first.placed_as.lock() = Ok(CallRef::new("works"));
    assert_eq!(calls(&bench, 5, [&first, &second]).await, [5, 4], "the call of another user");
}

#[tokio::test(start_paused = true)]
async fn no_backend_is_skipped_for_a_provider_that_judges() {
    for (all, expected) in [
        ([ProviderVerdicts::Refused, ProviderVerdicts::Accepted], [3, 3]),
        ([ProviderVerdicts::Accepted, ProviderVerdicts::Refused], [2, 3]),
    ] {
        let (first, second) = (broken(), working());
        let backends = [(Arc::clone(&first), all[0]), (Arc::clone(&second), all[1])];
        let bench = Bench::judged_by(Arc::new(MemoryStore::default()), backends);
        for n in 1..=2 {
            calls(&bench, n, [&first, &second]).await;
        }
        assert_eq!(calls(&bench, 3, [&first, &second]).await, expected, "{all:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_number_that_cannot_be_dialled_says_nothing_of_a_backend() {
    let (first, second) = (broken(), working());
    let bench = bench(&first, &second);
    for n in 1..=2 {
        calls(&bench, n, [&first, &second]).await;
    }
    *first.placed_as.lock() = silent(FailureReason::InvalidNumber);
    tokio::time::advance(60 * SECOND).await;
    assert_eq!(calls(&bench, 3, [&first, &second]).await, [3, 3], "the probe");
    assert_eq!(calls(&bench, 4, [&first, &second]).await, [4, 4], "the next probe, since that one showed nothing");
    *first.placed_as.lock() = silent(FailureReason::CannotPlace);
    tokio::time::advance(60 * SECOND).await;
    for (n, expected) in [(5, [5, 5]), (6, [5, 6])] {
        assert_eq!(calls(&bench, n, [&first, &second]).await, expected, "it is still down");
    }
}

#[tokio::test(start_paused = true)]
async fn users_whose_numbers_fail_make_no_call_skip() {
    let (first, second) = (broken(), working());
    let bench = bench(&first, &second);
    let failure = Failure::new(FailureReason::CannotPlace, "As scripted.");
    *first.placed_as.lock() = Err(PlaceError { may_ring: MayRing::No, failure });
    for n in 1..=9 {
        let asked = usize::try_from(n).unwrap();
        assert_eq!(calls(&bench, n, [&first, &second]).await, [asked, asked], "call {n}");
    }
}
