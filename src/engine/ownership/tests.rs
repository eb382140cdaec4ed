//! Scenarios of attempts, and every sequence of inputs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::HashSet;
use std::time::Duration;

use super::*;
use crate::approval::tests::verified;
use crate::call::{FailureReason, Progress, StoredOutcome};
use crate::engine::failures::{deadline_passed, interrupted};
use crate::store::AttemptState;

mod scenarios;
mod walk;

fn failure(reason: FailureReason) -> Failure {
    Failure::new(reason, "A reason.")
}

fn not_placed(may_ring: MayRing) -> Input {
    Input::NotPlaced(PlaceError { may_ring, failure: failure(FailureReason::CannotPlace) })
}

fn failed(reason: FailureReason) -> Input {
    Input::Outcome(Outcome::Failed(failure(reason)))
}

fn unreachable() -> StoreError {
    StoreError::unavailable("a test")
}

fn pending() -> Input {
    let state = AttemptState::Pending { left: Duration::from_secs(1), progress: Progress::Ringing };
    Input::State(Ok(Some(state)))
}

fn ended_as(outcome: StoredOutcome) -> Input {
    Input::State(Ok(Some(AttemptState::Ended { outcome, ago: Duration::ZERO })))
}

fn ended_failed(failure: Failure) -> Input {
    ended_as(StoredOutcome::Failed(failure))
}

fn ended_verified() -> Input {
    ended_as((&verified()).into())
}

/// Two backends. The calls of the first one outlive their process if `outlives_process` is set.
fn backends(outlives_process: bool) -> Arc<[BackendTraits]> {
    let backend = |name: &str, outlives_process| BackendTraits {
        name: name.into(),
        outlives_process,
        provider_verdicts: ProviderVerdicts::Refused,
    };
    [backend("first", outlives_process), backend("second", true)].into()
}

/// A new attempt with one backend for each of these.
fn judged_by(all: &[ProviderVerdicts]) -> AttemptMachine {
    let backend = |&provider_verdicts: &ProviderVerdicts| BackendTraits {
        name: "backend".into(),
        outlives_process: true,
        provider_verdicts,
    };
    let order: Vec<_> = (0..all.len()).collect();
    AttemptMachine::new(all.iter().map(backend).collect(), &order)
}

fn fresh() -> AttemptMachine {
    AttemptMachine::new(backends(true), &[0, 1])
}

fn claimed() -> AttemptMachine {
    AttemptMachine::claimed(backends(true), ClaimedCall::Placed(0))
}

const CALM: Conditions = Conditions { is_shutting_down: false, is_deadline_passed: false, is_lease_held: true };
