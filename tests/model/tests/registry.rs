//! The registry's promises in every interleaving of a few threads.
//!
//! The registry's own source is compiled here with loom's locks in place of parking_lot's.
#![allow(dead_code, unused_imports, reason = "the model uses a part of the modules")]

#[path = "../../../src/registry/mod.rs"]
mod registry;
mod sync {
    pub(crate) use phonegate_model::{Condvar, Mutex};
}

use std::time::{Duration, Instant};

use phonegate_core::{call, clock};

use loom::sync::Arc;
use loom::thread;
use phonegate_approval::verdict::StoredApproval;
use phonegate_core::call::{Attempt, CallId, CallStatus, Failure, FailureReason, PhoneNumber, StoredOutcome};
use phonegate_core::clock::{Deadline, Moment};
use registry::{Begun, Registry};
use uuid::Uuid;

fn registry() -> Arc<Registry> {
    Arc::new(Registry::new(Duration::from_secs(600)))
}

fn id(n: u128) -> CallId {
    CallId::new(Uuid::from_u128(n)).unwrap()
}

fn number(n: u32) -> PhoneNumber {
    PhoneNumber::new(format!("+1425555{n:04}"), None, 1)
}

fn begin(registry: &Registry, id: CallId, number: PhoneNumber) -> Begun {
    registry.begin(id, Ok(number), Deadline::after(Moment::now(), Duration::from_secs(90)))
}

fn begun(registry: &Registry, id: CallId, number: PhoneNumber) -> Attempt {
    match begin(registry, id, number) {
        Begun::New(attempt) => attempt,
        other => panic!("{other:?}"),
    }
}

const VERIFIED: StoredOutcome = StoredOutcome::Verified(StoredApproval { judged_by: None });

fn wrong_key() -> StoredOutcome {
    StoredOutcome::Failed(Failure::new(FailureReason::WrongKey, "Another key."))
}

#[test]
fn of_two_requests_with_one_id_exactly_one_dials() {
    loom::model(|| {
        let registry = registry();
        let other = { Arc::clone(&registry) };
        let thread = thread::spawn(move || begin(&other, id(1), number(1)));
        let results = [begin(&registry, id(1), number(1)), thread.join().unwrap()];
        assert_eq!(results.iter().filter(|begun| matches!(begun, Begun::New(_))).count(), 1, "{results:?}");
        assert!(results.iter().any(|begun| matches!(begun, Begun::StillPending(_))), "{results:?}");
    });
}

#[test]
fn of_two_requests_for_one_number_exactly_one_dials() {
    loom::model(|| {
        let registry = registry();
        let other = Arc::clone(&registry);
        let thread = thread::spawn(move || begin(&other, id(1), number(1)));
        let results = [begin(&registry, id(2), number(1)), thread.join().unwrap()];
        assert_eq!(results.iter().filter(|begun| matches!(begun, Begun::New(_))).count(), 1, "{results:?}");
        assert!(results.iter().any(|begun| matches!(begun, Begun::Refused(..))), "{results:?}");
    });
}

#[test]
fn an_attempt_ends_once_and_never_changes_again() {
    loom::model(|| {
        let registry = registry();
        let attempt = begun(&registry, id(1), number(1));
        let other = Arc::clone(&registry);
        let thread = thread::spawn(move || other.end(attempt, VERIFIED, Moment::now()).is_some());
        let reader = Arc::clone(&registry);
        let reader = thread::spawn(move || [reader.status(id(1)), reader.status(id(1))]);
        let failed_first = registry.end(attempt, wrong_key(), Moment::now()).is_some();
        assert_ne!(thread.join().unwrap(), failed_first);
        let end = if failed_first { CallStatus::Failed } else { CallStatus::Success };
        assert_eq!(registry.status(id(1)), Some(end));
        let [first, second] = reader.join().unwrap();
        assert!(first == Some(CallStatus::Pending) || first == Some(end));
        assert!(second == Some(end) || (first, second) == (Some(CallStatus::Pending), Some(CallStatus::Pending)));
    });
}

#[test]
fn a_late_approval_never_approves_the_next_attempt() {
    loom::model(|| {
        let registry = registry();
        let earlier = begun(&registry, id(1), number(1));
        let other = Arc::clone(&registry);
        let late = thread::spawn(move || {
            other.end(earlier, VERIFIED, Moment::now());
        });
        registry.end(earlier, wrong_key(), Moment::now());
        registry.release(earlier, number(1).hash());
        let next = begin(&registry, id(1), number(1));
        assert!(matches!(next, Begun::New(_)), "{next:?}");
        assert_eq!(registry.status(id(1)), Some(CallStatus::Pending));
        late.join().unwrap();
        assert_eq!(registry.status(id(1)), Some(CallStatus::Pending));
    });
}

#[test]
fn a_waiting_caller_is_woken_by_the_end() {
    loom::model(|| {
        let registry = registry();
        let attempt = begun(&registry, id(1), number(1));
        let other = Arc::clone(&registry);
        let waiting =
            thread::spawn(move || other.wait(id(1), Instant::now(), &std::sync::atomic::AtomicBool::new(false)));
        registry.end(attempt, VERIFIED, Moment::now());
        assert_eq!(waiting.join().unwrap(), Some(CallStatus::Success));
    });
}

#[test]
fn waiting_for_an_attempt_never_returns_a_later_success() {
    loom::model(|| {
        let registry = registry();
        let refused = begun(&registry, id(1), number(1));
        let other = Arc::clone(&registry);
        let waiting = thread::spawn(move || other.wait_for(refused, Instant::now()));
        registry.release(refused, number(1).hash());
        registry.end(refused, wrong_key(), Moment::now());
        let later = begun(&registry, id(1), number(2));
        registry.end(later, VERIFIED, Moment::now());
        assert_ne!(waiting.join().unwrap(), Some(CallStatus::Success));
    });
}

#[test]
fn a_number_is_claimable_only_after_its_attempt_releases_it() {
    loom::model(|| {
        let registry = registry();
        let attempt = begun(&registry, id(1), number(1));
        let other = Arc::clone(&registry);
        let ends = thread::spawn(move || {
            other.end(attempt, wrong_key(), Moment::now());
            other.release(attempt, number(1).hash());
        });
        let during = begin(&registry, id(2), number(1));
        ends.join().unwrap();
        let after = begin(&registry, id(3), number(1));
        let dialling = [&during, &after].iter().filter(|begun| matches!(begun, Begun::New(_))).count();
        assert_eq!(dialling, 1, "{during:?}, {after:?}");
    });
}
