//! The requests of a call's task to its backends.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::CallTask;
use crate::approval::Approver;
use crate::backend::{CallStep, HANG_UP_LIMIT, MayRing, NamedBackend, PlaceError};
use crate::call::{CallEvent, CallRef, Failure, FailureReason, Outcome, Progress};
use crate::clock::Moment;
use crate::engine::Parts;
use crate::engine::active_calls::ActiveCall;
use crate::engine::backend_health::Availability;
use crate::engine::failures::{deadline_passed, defect, no_place_answer, too_late, unknown_code};
use crate::engine::ownership::Input;
use crate::failpoint;
use crate::store::AttemptChange;

/// How long a place request may still return a reference after its call has failed.
const LATE_REFERENCE: Duration = Duration::from_secs(20);

/// Maximum time of a poll after the deadline.
const POLL_LIMIT: Duration = Duration::from_secs(5);

/// A call that a backend has placed.
pub(super) struct PlacedCall<'a> {
    pub(super) backend: &'a NamedBackend,
    pub(super) reference: CallRef,
}

/// A request to place the call that the backend has not answered.
pub(super) struct PlaceRequest<'a> {
    backend: &'a NamedBackend,
    answer: Pin<Box<dyn Future<Output = Result<CallRef, PlaceError>> + Send + 'a>>,
}

impl<'a> CallTask<'a> {
    /// Asks a backend to place the call. If `may_skip` is set, a backend that is down is only asked when its next probe is
    /// due.
    pub(super) async fn place(&mut self, index: usize, may_skip: bool) -> Input {
        let (parts, call) = (self.parts, self.call);
        let (Some(backend), Some(request)) = (parts.backends.get(index), self.request) else { return Input::Panicked };
        if may_skip && !self.may_ask(backend) {
            return Input::Skipped;
        }
        parts.publisher.step(call, CallEvent::Dialling, Some(&backend.name), None);
        failpoint::block("engine.place");
        let mut answer = Box::pin(async move {
            let sink = |step: CallStep| report_step(parts, call, backend, &step);
            backend.backend.place(request, &sink).await
        });
        let placed = tokio::select! {
            biased;
            placed = &mut answer => placed,
            cause = call.cancelled(parts) => {
                self.place_request = Some(PlaceRequest { backend, answer });
                return Input::MustEnd(cause);
            }
        };
        match placed {
            Ok(reference) => {
                // A process that claims the call has to judge what its user presses.
                let attempts = backend.backend.outlives_its_process().then(|| Arc::new(request.attempts.to_stored()));
                let placed = AttemptChange::Placed {
                    backend: Arc::clone(&backend.name),
                    reference: reference.clone(),
                    attempts,
                };
                parts.store.record(call.attempt, placed);
                parts.health.record_placed(&backend.name);
                parts.publisher.log_step(call, CallEvent::Placed, Some(&backend.name));
                self.placed = Some(PlacedCall { backend, reference });
                Input::Placed
            }
            Err(error) => self.not_placed(backend, error),
        }
    }

    /// Returns whether the health of a backend lets this call ask it, and reports it if the backend is down.
    fn may_ask(&self, backend: &NamedBackend) -> bool {
        let publisher = &self.parts.publisher;
        match self.parts.health.availability(&backend.name, self.call.number) {
            Availability::Up => true,
            Availability::Probe => {
                publisher.step(self.call, CallEvent::Probed, Some(&backend.name), None);
                true
            }
            Availability::Down { probe_in } => {
                let text = format!("it is down; a call probes it in {} s", probe_in.as_secs().saturating_add(1));
                publisher.step(self.call, CallEvent::Skipped, Some(&backend.name), Some(&text));
                false
            }
        }
    }

    /// Continues to poll a request to place a call that has already ended.
    pub(super) async fn await_reference(&mut self) -> Input {
        let Some(PlaceRequest { backend, answer }) = self.place_request.take() else { return Input::Panicked };
        match tokio::time::timeout(LATE_REFERENCE, answer).await {
            Ok(Ok(reference)) => {
                self.parts.health.record_placed(&backend.name);
                self.placed = Some(PlacedCall { backend, reference });
                Input::Placed
            }
            Ok(Err(error)) => self.not_placed(backend, error),
            Err(_) => self.not_placed(backend, PlaceError { may_ring: MayRing::Yes, failure: no_place_answer() }),
        }
    }

    fn not_placed(&self, backend: &NamedBackend, error: PlaceError) -> Input {
        self.parts.health.record_refusal(&backend.name, self.call.number, &error.failure);
        self.parts.publisher.backend_failed(self.call, CallEvent::BackendRefused, &backend.name, &error.failure);
        Input::NotPlaced(error)
    }

    pub(super) async fn follow(&mut self) -> Input {
        let (parts, call) = (self.parts, self.call);
        let Some(PlacedCall { backend, reference }) = &self.placed else { return Input::Panicked };
        let Some(approver) = approver(call, backend) else { return Input::CannotJudge };
        let sink = |step: CallStep| report_step(parts, call, backend, &step);
        let outcome = tokio::select! {
            biased;
            cause = call.cancelled(parts) => return Input::MustEnd(cause),
            outcome = backend.backend.follow(reference, &approver, &sink) => outcome,
        };
        let failure = match &outcome {
            Outcome::Verified(_) => None,
            Outcome::Failed(failure) => Some(failure),
        };
        parts.health.record_outcome(&backend.name, call.number, failure);
        self.outcome_at = Some(Moment::now());
        Input::Outcome(outcome)
    }

    /// Asks the provider once how a call failed whose deadline has passed.
    ///
    /// # Errors
    /// The failure to report if the provider does not say that the call failed.
    pub(super) async fn poll(&mut self) -> Result<Failure, Failure> {
        let Some(PlacedCall { backend, reference }) = &self.placed else { return Err(defect()) };
        let Some(approver) = approver(self.call, backend) else { return Err(unknown_code()) };
        let follow = AssertUnwindSafe(backend.backend.follow(reference, &approver, &|_| {})).catch_unwind();
        match tokio::time::timeout(POLL_LIMIT, follow).await {
            Ok(Ok(Outcome::Failed(failure))) => Ok(failure),
            Ok(Ok(Outcome::Verified(_))) => Err(too_late()),
            Ok(Err(_)) => Err(defect()),
            Err(_) => Err(deadline_passed()),
        }
    }

    /// Hangs up. Returns whether the phone certainly no longer rings.
    pub(super) async fn hang_up(&mut self) -> bool {
        let Some(PlacedCall { backend, reference }) = &self.placed else { return false };
        end_at_provider(self.parts, self.call, backend, CallEvent::HungUp, backend.backend.hang_up(reference)).await
    }

    pub(super) async fn clean_up(&mut self) {
        if let Some(PlacedCall { backend, reference }) = &self.placed {
            end_at_provider(self.parts, self.call, backend, CallEvent::CleanedUp, backend.backend.clean_up(reference))
                .await;
        }
    }

    pub(super) fn log_summary(&self) {
        if let Some(PlacedCall { backend, reference }) = &self.placed
            && let Some(text) = backend.backend.summary(reference)
        {
            self.parts.publisher.log_summary(self.call, &backend.name, &text);
        }
    }
}

/// Performs a request that ends something at the provider, for at most [`HANG_UP_LIMIT`]. Returns whether it succeeded.
async fn end_at_provider(
    parts: &Parts,
    call: &ActiveCall,
    backend: &NamedBackend,
    event: CallEvent,
    request: impl Future<Output = Result<(), Failure>>,
) -> bool {
    let ended = AssertUnwindSafe(tokio::time::timeout(HANG_UP_LIMIT, request)).catch_unwind().await;
    let failure = match ended {
        Ok(Ok(Ok(()))) => {
            parts.publisher.step(call, event, Some(&backend.name), None);
            return true;
        }
        Ok(Ok(Err(failure))) => failure,
        Ok(Err(_)) => Failure::new(FailureReason::CannotPlace, "The provider did not answer in time."),
        Err(_) => Failure::new(FailureReason::Internal, "A defect in PhoneGate."),
    };
    parts.publisher.backend_failed(call, event, &backend.name, &failure);
    false
}

/// Reports a step of a backend.
fn report_step(parts: &Parts, call: &ActiveCall, backend: &NamedBackend, step: &CallStep) {
    let CallStep::Progress(progress) = *step else {
        return parts.publisher.step(call, step.event(), Some(&backend.name), step.text());
    };
    parts.registry.advance(call.attempt, progress);
    if call.advance(progress) {
        parts.publisher.step(call, progress.into(), Some(&backend.name), None);
        // Another process may have counted the answer of a claimed call.
        if progress == Progress::Answered && !call.is_claimed() {
            parts.publisher.count_answered(call, &backend.name);
        }
    }
}

/// Returns the judge of a call that this backend has placed. `None` if it is not known what the user is to press.
fn approver(call: &ActiveCall, backend: &NamedBackend) -> Option<Approver> {
    let attempts = call.attempts.clone()?;
    Some(Approver::new(attempts, backend.provider_verdicts).with_pin(call.pin.clone()))
}
