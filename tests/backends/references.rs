//! References to calls: what a backend can do with one, and that none verifies another call.

use std::time::Duration;

use phonegate::backend::CallRef;
use phonegate::call::{FailureReason, Outcome};
use serde_json::Value;

use crate::BACKENDS;
use crate::support::backend::TestBackend;
use crate::support::sipp::{Callee, Step};

const NUMBER: &str = "+1 4255551212";

/// Answers the calls of a backend in the tests of its references.
pub trait Rig {
    /// The settings of the backend.
    fn settings(&self) -> Value;

    /// Decides how the calls end that are placed next.
    fn prepare(&self, _approved: bool) {}

    /// Answers the calls that wait for an answer.
    fn answer(&self, _approved: bool) {}

    /// Prepares what a check needs.
    fn prepare_check(&self) {}

    /// Lets the provider's replies about the calls that ring make no sense from now on. Returns false if no phone can ring.
    fn garble_replies(&self) -> bool;

    /// The number of calls that the backend hung up so far.
    fn hung_up_calls(&self) -> usize;

    /// Whether a call can end without an approval.
    fn can_refuse(&self) -> bool {
        true
    }

    /// Whether its calls go on when their process ends.
    fn outlives_its_process(&self) -> bool {
        true
    }

    /// The number of calls that were placed so far.
    fn placed_calls(&self) -> usize;
}

/// Runs a test with each backend that has a rig.
fn for_each(test: impl Fn(&dyn Rig, &dyn Fn() -> TestBackend)) {
    for tested in BACKENDS {
        let Some(rig) = tested.rig else { continue };
        let rig = rig();
        let backend = || TestBackend::of(&tested.types, &rig.settings(), &serde_json::json!({})).unwrap();
        println!("{}", tested.name);
        test(&*rig, &backend);
    }
}

/// B11 and B13.
#[test]
fn following_can_be_dropped_and_resumed() {
    for_each(|rig, start| {
        let backend = start();
        let reference = backend.place(1, 1, NUMBER).unwrap();
        for ms in [0, 1, 20, 100] {
            let follow = backend.backend.follow(&reference, &backend.approver, &|_| {});
            let limit = Duration::from_millis(ms);
            assert!(backend.runtime.block_on(async { tokio::time::timeout(limit, follow).await }).is_err());
        }
        rig.answer(true);
        let outlives = backend.backend.outlives_its_process();
        assert_eq!(outlives, rig.outlives_its_process());
        // If the call outlives its process, another one follows it.
        let backend = if outlives { start() } else { backend };
        assert!(matches!(backend.follow(&reference), Outcome::Verified(_)));
    });
}

/// B5 and B6.
#[test]
fn a_reference_is_unique_and_without_personal_data() {
    for_each(|rig, start| {
        let backend = start();
        let one = backend.place(1, 1, "+1 4255551212x77777").unwrap();
        rig.answer(true);
        backend.follow(&one);
        let other = backend.place(1, 2, NUMBER).unwrap();
        assert_ne!(one, other);
        for personal in ["425555", "5551212", "77777"] {
            assert!(!one.as_str().contains(personal), "{one:?}");
        }
    });
}

/// B5 and B8.
#[test]
fn an_approval_never_verifies_a_later_attempt() {
    for_each(|rig, start| {
        if !rig.can_refuse() {
            return;
        }
        let backend = start();
        rig.prepare(true);
        let earlier = backend.place(1, 1, NUMBER).unwrap();
        rig.answer(true);
        assert!(matches!(backend.follow(&earlier), Outcome::Verified(_)));
        rig.prepare(false);
        let later = backend.place(1, 2, NUMBER).unwrap();
        rig.answer(false);
        backend.fails(&later);
    });
}

/// B7.
#[test]
fn a_text_that_is_no_reference_never_verifies() {
    for_each(|rig, start| {
        if !rig.can_refuse() {
            return;
        }
        let backend = start();
        let own = backend.place(1, 1, NUMBER).unwrap();
        rig.answer(true);
        assert!(matches!(backend.follow(&own), Outcome::Verified(_)));
        let cut = own.as_str().get(1..).unwrap();
        for text in ["", "/", "..", "?", "x#0", "FN00000000000000000000000000000000", cut] {
            backend.fails(&CallRef::new(text));
        }
    });
}

/// B7.
#[test]
fn a_text_that_is_no_reference_cannot_be_hung_up() {
    for_each(|rig, start| {
        let backend = start();
        if !backend.backend.outlives_its_process() {
            return;
        }
        let own = backend.place(1, 1, NUMBER).unwrap();
        let cut = own.as_str().get(1..).unwrap();
        let two_lines = format!("END\n{}", own.as_str());
        for text in ["", "/", "..", "?", "x#0", cut, &two_lines] {
            let hung_up = backend.runtime.block_on(backend.backend.hang_up(&CallRef::new(text)));
            assert!(hung_up.is_err(), "{text:?}");
        }
        assert_eq!(rig.hung_up_calls(), 0);
    });
}

/// B21.
#[test]
fn a_call_that_is_no_longer_followed_is_hung_up() {
    for_each(|rig, start| {
        let backend = start();
        let reference = backend.place(1, 1, NUMBER).unwrap();
        if !rig.garble_replies() {
            return;
        }
        backend.fails(&reference);
        assert_eq!(rig.hung_up_calls(), 1);
    });
}

#[test]
fn a_check_rings_no_phone() {
    for_each(|rig, start| {
        rig.prepare_check();
        let backend = start();
        let checked = backend.runtime.block_on(backend.backend.check());
        assert!(!checked.unwrap().is_empty());
        assert_eq!(rig.placed_calls(), 0);
    });
}

/// B7 and B13: a dialog ends with its process.
#[test]
fn a_sip_call_is_followed_by_its_own_process_only() {
    let steps = [
        Step::Invite,
        Step::Answer(180, "Ringing", ""),
        // A conversation cannot be resumed, so following is dropped before the answer.
        Step::Wait(3000),
        Step::PickUp,
        Step::Wait(2000),
        Step::Press("#"),
        Step::Receive("BYE"),
    ];
    let callee = Callee::start(&steps, 1);
    let backend = TestBackend::new(&callee.trunk());
    let reference = backend.place(1, 1, NUMBER).unwrap();
    assert!(!reference.as_str().contains("425555"), "{reference:?}");
    for ms in [0, 1, 20, 100] {
        let follow = backend.backend.follow(&reference, &backend.approver, &|_| {});
        let limit = Duration::from_millis(ms);
        assert!(backend.runtime.block_on(async { tokio::time::timeout(limit, follow).await }).is_err());
    }
    let another = TestBackend::new(&callee.trunk());
    for text in [reference.as_str(), "", "0", "2", "-1", "x"] {
        assert_eq!(another.fails(&CallRef::new(text)).reason(), FailureReason::Interrupted, "{text:?}");
    }
    assert!(matches!(backend.follow(&reference), Outcome::Verified(_)));
    backend.runtime.block_on(backend.backend.clean_up(&reference)).unwrap();
    assert_eq!(backend.fails(&reference).reason(), FailureReason::Interrupted, "it verifies once");
    callee.finish();
}
