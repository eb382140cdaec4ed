//! The check of PINs with a store in memory.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

use futures_util::future::join_all;
use parking_lot::Mutex;

use super::*;
use crate::store::{MemoryStore, PinStore, StoreErrorKind};

const PEPPER: &str = "0123456789abcdef0123456789abcdef";

const LIMITS: PinLimits = PinLimits { max_failures: 2, lock: Duration::from_secs(1800) };

fn number(digits: &str) -> PhoneNumber {
    PhoneNumber::new(format!("+1425555{digits}"), None, 1)
}

fn pin(digits: &str) -> Pin {
    Pin::from_digits(digits).unwrap()
}

/// A checker, its store, and the errors that it reports.
fn checker() -> (PinChecker, Arc<MemoryStore>, Arc<Mutex<Vec<CheckError>>>) {
    let store = Arc::new(MemoryStore::default());
    let errors = Arc::<Mutex<Vec<CheckError>>>::default();
    let reported = Arc::clone(&errors);
    let checker = PinChecker::new(Arc::clone(&store) as _, Pepper::new(&PEPPER.into()).unwrap(), LIMITS)
        .reporting_to(move |error| reported.lock().push(error.clone()));
    (checker, store, errors)
}

#[tokio::test]
async fn only_the_right_pin_is_right_and_wrong_ones_lock() {
    let (checker, _, errors) = checker();
    let hashes = number_hashes(&number("1212"));
    assert_eq!(checker.check(&hashes, &pin("482619")).await, PinAnswer::NotSet);
    checker.set(&number("1212"), pin("482619")).await.unwrap();
    assert_eq!(checker.check(&hashes, &pin("482618")).await, PinAnswer::Wrong);
    // The second would lock, but is right.
    assert_eq!(checker.check(&hashes, &pin("482619")).await, PinAnswer::Right);
    assert_eq!(checker.count_failure(&hashes).await, PinAnswer::Wrong);
    assert_eq!(checker.check(&hashes, &pin("482618")).await, PinAnswer::Wrong);
    assert_eq!(checker.check(&hashes, &pin("482619")).await, PinAnswer::Locked);
    assert_eq!(checker.count_failure(&hashes).await, PinAnswer::Locked);
    assert_eq!(checker.count_failure(&number_hashes(&number("1313"))).await, PinAnswer::NotSet);
    assert_eq!(*errors.lock(), []);
}

#[tokio::test]
async fn parallel_wrong_pins_are_compared_twice_at_most() {
    let (checker, _, _) = checker();
    let hashes = number_hashes(&number("1212"));
    checker.set(&number("1212"), pin("482619")).await.unwrap();
    let wrong = pin("482618");
    let answers = join_all((0..8).map(|_| checker.check(&hashes, &wrong))).await;
    assert_eq!(answers.iter().filter(|answer| **answer == PinAnswer::Wrong).count(), 2, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| **answer == PinAnswer::Locked).count(), 6, "{answers:?}");
}

#[tokio::test]
async fn every_doubt_fails_and_is_reported() {
    let (checker, store, errors) = checker();
    let hashes = number_hashes(&number("1212"));
    let pepper = checker.fingerprint();
    let set = |hash: &str, pepper| NewPin {
        number: StoredNumber::new(&number("1212"), false),
        hash: hash.into(),
        pepper,
        set_at: SystemTime::now(),
    };
    store.set_pin(&set("$argon2id$v=19$m=4194304,t=2,p=1$c2FsdA$aGFzaA", pepper)).await.unwrap();
    assert_eq!(checker.check(&hashes, &pin("482619")).await, PinAnswer::Failed);
    assert_eq!(errors.lock().pop(), Some(CheckError::Hash(HashError::Malformed)));

    store.remove_pin(&hashes).await.unwrap();
    store.set_pin(&set("", PepperFingerprint::of_hash(&[7; 8]))).await.unwrap();
    assert_eq!(checker.check(&hashes, &pin("482619")).await, PinAnswer::Failed);
    let error = errors.lock().pop();
    assert!(matches!(&error, Some(CheckError::Store(error)) if error.kind() == StoreErrorKind::Refused), "{error:?}");
    let refused = checker.set(&number("1313"), pin("482619")).await;
    assert!(
        matches!(&refused, Err(SetPinError::Store(error)) if error.kind() == StoreErrorKind::Refused),
        "{refused:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_check_waits_for_other_hashes_for_a_limited_time() {
    let (checker, store, errors) = checker();
    let hashes = number_hashes(&number("1212"));
    checker.set(&number("1212"), pin("482619")).await.unwrap();
    let others = Arc::clone(&checker.hashes).acquire_many_owned(2).await.unwrap();
    assert_eq!(checker.check(&hashes, &pin("482619")).await, PinAnswer::Failed);
    assert_eq!(errors.lock().pop(), Some(CheckError::TimedOut));
    assert_eq!(store.pins().await.unwrap().first().unwrap().failures, 0, "nothing was counted");
    drop(others);
    assert_eq!(checker.check(&hashes, &pin("482619")).await, PinAnswer::Right);
}

/// Host names are looked up on the same threads, which takes seconds if no DNS server answers.
#[test]
fn a_check_that_gets_no_thread_counts_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (checker, store, errors) = checker();
        let (hashes, right) = (number_hashes(&number("1212")), pin("482619"));
        checker.set(&number("1212"), pin("482619")).await.unwrap();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let other = spawn_blocking(move || released.recv());
        tokio::time::pause();
        let mut check = std::pin::pin!(checker.check(&hashes, &right));
        assert!(futures_util::poll!(check.as_mut()).is_pending(), "it waits for a thread");
        tokio::time::advance(CHECK_LIMIT * 2).await;
        assert_eq!(check.await, PinAnswer::Failed);
        assert_eq!(errors.lock().pop(), Some(CheckError::TimedOut));
        assert_eq!(store.pins().await.unwrap().first().unwrap().failures, 0, "nothing was counted");
        tokio::time::resume();
        drop(release);
        assert!(other.await.unwrap().is_err());
        assert_eq!(checker.check(&hashes, &right).await, PinAnswer::Right);
    });
}

#[tokio::test]
async fn a_pin_that_is_replaced_while_it_is_checked_fails() {
    let (checker, store, errors) = checker();
    let hashes = number_hashes(&number("1212"));
    checker.set(&number("1212"), pin("482619")).await.unwrap();
    let guess = store.begin_pin_guess(&hashes, checker.fingerprint(), &LIMITS).await.unwrap();
    let PinGuess::Compare(compared) = guess else { panic!("{guess:?}") };
    checker.set(&number("1212"), pin("482619")).await.unwrap();
    let comparison = checker.comparison(&pin("482619")).await.unwrap();
    let answer = checker.answer(checker.compare(&hashes, compared, comparison)).await;
    assert_eq!((answer, errors.lock().pop()), (PinAnswer::Failed, Some(CheckError::Replaced)));
}
