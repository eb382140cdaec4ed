//! The failures that the engine itself creates.

use std::sync::Arc;

use crate::call::{Failure, FailureReason};
use crate::store::StoreError;

/// The store could not begin the attempt.
pub(super) fn not_begun(error: &StoreError) -> Failure {
    Failure::new(FailureReason::CannotPlace, format_args!("No call was placed: {}.", error.with_advice()))
}

/// A task panicked.
pub(super) fn defect() -> Failure {
    Failure::new(FailureReason::Internal, "A defect in PhoneGate ended the call; see its log.")
}

/// The gate was shut down.
pub(super) fn interrupted() -> Failure {
    Failure::new(FailureReason::Interrupted, "PhoneGate was shut down while the call was in progress.")
}

/// The deadline passed without an outcome.
pub(super) fn deadline_passed() -> Failure {
    Failure::new(FailureReason::DeadlinePassed, "The call had no outcome before its deadline and was hung up.")
}

/// The user approved, but after the deadline.
pub(super) fn too_late() -> Failure {
    Failure::new(FailureReason::DeadlinePassed, "The approval came after the call's deadline.")
}

/// The user approved, but the store did not confirm it in time.
pub(super) fn unconfirmed(reason: FailureReason, error: &StoreError) -> Failure {
    let before = match reason {
        FailureReason::Interrupted => "PhoneGate was shut down",
        _ => "the deadline",
    };
    let error = error.with_advice();
    let sentence = format_args!("The call was approved, but the store did not confirm that before {before}: {error}.");
    Failure::new(reason, sentence)
}

/// The user approved, but the store no longer has the attempt.
pub(super) fn attempt_lost() -> Failure {
    Failure::new(FailureReason::Interrupted, "The call was approved, but the store has lost it.")
}

/// This process does not know what approves the call.
pub(super) fn unknown_code() -> Failure {
    let sentence = "Another process placed the call, and this one does not know what approves it: it was not recorded, or \
                    the settings of `approval` or `prompts` have changed since then.";
    Failure::new(FailureReason::Interrupted, sentence)
}

/// The provider did not answer a place request in time.
pub(super) fn no_place_answer() -> Failure {
    let sentence = "The provider did not answer whether it placed the call; the phone may still ring.";
    Failure::new(FailureReason::CannotPlace, sentence).of_backend()
}

/// The lease may have run out since the attempt began.
pub(super) fn lease_lost() -> Failure {
    let sentence = "PhoneGate or its store stalled for so long that another process may own the call by now.";
    Failure::new(FailureReason::Interrupted, sentence)
}

/// The call cannot be followed after its process ended.
pub(super) fn cannot_follow(sentence: &str) -> Failure {
    Failure::new(FailureReason::Interrupted, sentence)
}

/// Joins the failures of all backends that were asked. The reason is that of the last one.
pub(super) fn all_refused(mut refusals: Vec<(Arc<str>, Failure)>) -> Failure {
    match refusals.pop() {
        None => Failure::new(FailureReason::Internal, "There was no backend to try."),
        Some((_, failure)) if refusals.is_empty() => failure,
        Some((name, failure)) => {
            let reason = failure.reason();
            refusals.push((name, failure));
            let texts: Vec<_> = refusals.iter().map(|(name, failure)| format!("{name}: {failure}")).collect();
            Failure::verbatim(reason, texts.join(" "))
        }
    }
}
