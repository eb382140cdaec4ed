//! The task of one call: performs the actions of its [`AttemptMachine`] and reports the answers.
//!
//! The machine decides; this file and `line.rs` do what it says, one action at a time.

mod line;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::Parts;
use super::active_calls::ActiveCall;
use super::failures::{defect, not_begun};
use super::ownership::{Action, AttemptMachine, ClaimedCall, Conditions, Input};
use super::publisher::step;
use crate::call::{Call, CallEvent, CallRef, Failure, Outcome};
use crate::clock::Moment;
use crate::store::{Begun, Ended, Lockout, Refusal, StoreError};
use line::{PlaceRequest, PlacedCall};

/// Pause before the store is asked again to confirm an approval.
const VERIFY_RETRY: Duration = Duration::from_millis(250);

/// How long shutdown waits for pending store writes. After that the provider's record of a call is kept, so that the next
/// process can find it.
const SHUTDOWN_WRITES: Duration = Duration::from_secs(2);

/// The task of one call.
pub(super) struct CallTask<'a> {
    parts: &'a Parts,
    call: &'a ActiveCall,
    machine: AttemptMachine,
    /// The request, unless another process began the call.
    request: Option<&'a Call>,
    /// When the store was asked to begin the attempt.
    begun_at: Option<Moment>,
    /// A request to place the call that the backend has not answered.
    place_request: Option<PlaceRequest<'a>>,
    placed: Option<PlacedCall<'a>>,
    /// When the outcome was known.
    outcome_at: Option<Moment>,
}

impl<'a> CallTask<'a> {
    /// The task of a call that this process begins.
    pub(super) fn new(parts: &'a Parts, call: &'a ActiveCall, request: &'a Call) -> Self {
        let order = &parts.routes.of_number(&request.number).order;
        let machine = AttemptMachine::new(Arc::clone(&parts.backend_traits), order);
        Self { request: Some(request), ..Self::with_machine(parts, call, machine) }
    }

    /// The task of a call that this process has claimed, with the backend that placed it and its reference if they are
    /// known.
    pub(super) fn claimed(parts: &'a Parts, call: &'a ActiveCall, placed: Option<(Box<str>, CallRef)>) -> Self {
        let (claimed, placed) = match placed {
            None => (ClaimedCall::Unknown, None),
            Some((name, reference)) => {
                let mut backends = parts.backends.iter().enumerate();
                match backends.find(|(_, backend)| *backend.name == *name) {
                    None => (ClaimedCall::UnknownBackend(name), None),
                    Some((index, backend)) => (ClaimedCall::Placed(index), Some(PlacedCall { backend, reference })),
                }
            }
        };
        let machine = AttemptMachine::claimed(Arc::clone(&parts.backend_traits), claimed);
        Self { placed, ..Self::with_machine(parts, call, machine) }
    }

    fn with_machine(parts: &'a Parts, call: &'a ActiveCall, machine: AttemptMachine) -> Self {
        Self {
            parts,
            call,
            machine,
            request: None,
            begun_at: None,
            place_request: None,
            placed: None,
            outcome_at: None,
        }
    }

    /// Drives the call to its end. Returns the generation of the attempt to mirror, if another process has begun the same
    /// request.
    pub(super) async fn run(mut self) -> Option<u64> {
        let mut action = self.machine.start();
        loop {
            let input = match action {
                Action::Done => return None,
                Action::Mirror(generation) => return Some(generation),
                Action::Reject(failure) => {
                    self.reject(failure);
                    return None;
                }
                action => {
                    let performed = AssertUnwindSafe(self.perform(action)).catch_unwind().await;
                    performed.unwrap_or(Input::Panicked)
                }
            };
            action = self.machine.next(input, self.conditions());
        }
    }

    fn conditions(&self) -> Conditions {
        Conditions {
            is_shutting_down: self.parts.shutdown.is_cancelled(),
            is_deadline_passed: self.call.deadline.passed(Moment::now()),
            is_lease_held: self.begun_at.is_none_or(|begun| self.parts.store.holds_lease_since(begun)),
        }
    }

    async fn perform(&mut self, action: Action) -> Input {
        let Parts { registry, store, publisher, .. } = self.parts;
        let (attempt, number) = (self.call.attempt, self.call.number);
        match action {
            Action::Begin => return self.begin().await,
            Action::Place { index, may_skip } => return self.place(index, may_skip).await,
            Action::AwaitReference => return self.await_reference().await,
            Action::Follow => return self.follow().await,
            Action::FinalPoll | Action::PollForFraud => return Input::Polled(self.poll().await),
            Action::Verify(approval) => return Input::Verified(store.verify(attempt, approval).await),
            Action::End { failure, release } => return self.end(&failure, release).await,
            Action::ReadState => return Input::State(store.state_of(attempt).await),
            Action::HangUp => return Input::HungUp(self.hang_up().await),
            Action::AwaitWrites => return Input::Written(self.await_writes().await),
            Action::Pause => tokio::time::sleep(VERIFY_RETRY).await,
            Action::Block => self.block().await,
            Action::QueueEnd { failure, release } => store.fail_later(attempt, failure, release),
            Action::ReleaseLocally => registry.release(attempt, number),
            Action::Release => {
                // The store comes first: a call that then claims the number in the registry can also claim it in the
                // store.
                store.release(attempt).await;
                registry.release(attempt, number);
            }
            Action::Publish(outcome) => self.publish(outcome),
            Action::Cede => publisher.cede(self.call),
            Action::AwaitEnd => {
                self.call.cancelled(self.parts).await;
            }
            Action::LogSummary => self.log_summary(),
            Action::CleanUp => self.clean_up().await,
            Action::Mirror(_) | Action::Reject(_) | Action::Done => {}
        }
        Input::Done
    }

    async fn begin(&mut self) -> Input {
        let Some(request) = self.request else { return Input::NotBegun(defect()) };
        let begun = tokio::select! {
            biased;
            begun = begin(self.parts, self.call, request) => begun,
            cause = self.call.cancelled(self.parts) => return Input::NotBegun(cause.failure()),
        };
        match begun {
            Ok((Begun::New, asked_at)) => {
                self.begun_at = Some(asked_at);
                Input::Begun
            }
            Ok((Begun::AlreadyOwned(generation), _)) => Input::AlreadyOwned(generation),
            Ok((Begun::Refused(refusal), _)) => {
                if let Refusal::Limit { limit, after } = refusal {
                    self.parts.notices.refused(limit, after, request);
                }
                Input::NotBegun(refusal.failure(&self.call.masked))
            }
            Err(failure) => Input::NotBegun(failure),
        }
    }

    fn reject(&self, failure: Failure) {
        if let Some(request) = self.request {
            self.parts.publisher.reject(self.call, &request.number, failure);
        }
    }

    /// Ends the attempt as failed, and reports a lock that this caused.
    async fn end(&mut self, failure: &Failure, release: bool) -> Input {
        match self.parts.store.fail(self.call.attempt, failure, release).await {
            Ended::No => Input::Ended(false),
            Ended::Yes { locked_until } => {
                if let Some(until) = locked_until {
                    let ActiveCall { attempt, number, masked, .. } = self.call;
                    let lock = Lockout { attempt: *attempt, number: *number, masked: masked.clone(), until };
                    self.parts.notices.number_locked(&lock);
                }
                Input::Ended(true)
            }
        }
    }

    fn publish(&mut self, outcome: Outcome) {
        let backend = self.machine.backend().and_then(|index| self.parts.backends.get(index));
        let at = self.outcome_at.unwrap_or_else(Moment::now);
        self.parts.publisher.finish(self.call, backend.map(|backend| &*backend.name), outcome, at);
    }

    /// Blocks the number of a user who reported fraud.
    async fn block(&mut self) {
        let Parts { store, notices, .. } = self.parts;
        let ActiveCall { attempt, number, masked, .. } = self.call;
        store.block(*number, masked).await;
        let text = notices.blocked(*attempt, *number, masked, store.days_blocked());
        store.record(*attempt, step(CallEvent::Blocked, None, Some(&text)));
    }

    /// Waits until all changes of the call are in the store. Returns false if shutdown ended the wait.
    async fn await_writes(&mut self) -> bool {
        let timeout = async {
            self.parts.shutdown.cancelled().await;
            tokio::time::sleep(SHUTDOWN_WRITES).await;
        };
        tokio::select! {
            biased;
            () = self.parts.store.flush() => true,
            () = timeout => false,
        }
    }
}

/// Begins the attempt in the store, unless the PIN of its number forbids that. Returns when the store was asked.
async fn begin(parts: &Parts, call: &ActiveCall, request: &Call) -> Result<(Begun, Moment), Failure> {
    if let Some(pin) = &call.pin
        && let Some(failure) = pin.refusal().await
    {
        return Err(failure);
    }
    parts.store.begin(request).await.map_err(|error: StoreError| not_begun(&error))
}
