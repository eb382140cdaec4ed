//! The life of one attempt in this process, as a state machine without I/O, tasks and clocks.
//!
//! [`AttemptMachine::start`] returns the first [`Action`]. The call's task performs it and passes the answer to
//! [`AttemptMachine::next`], which returns the next action, until that is [`Action::Done`], [`Action::Mirror`] or
//! [`Action::Reject`]. The machine decides who owns the attempt, what its outcome is, and whether its phone may ring.
//! `docs/design/call.md` has the diagrams.
//!
//! It guarantees, for every sequence of inputs (`tests.rs` walks through all of them):
//! - Success is published only after the store confirmed it. Any doubt is a failure.
//! - Each attempt is published, ceded, mirrored or rejected exactly once.
//! - The number is released only if the phone certainly no longer rings, or the deadline has passed.
//! - Each backend of the call's route is asked at most once, and all of them before the call fails because they refused.
//! - No backend whose provider's verdict approves is asked before one that precedes it in the order and whose keys
//!   PhoneGate judges, even if that one is down.
//! - No backend is asked once a phone may ring, the call must end, or another process may have claimed the attempt.
//! - A call that another process owns is not published. It is not hung up either if it outlives this process.

mod ending;
mod step;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use phonegate_approval::verdict::{Approval, ProviderVerdicts};

use super::failures::{all_refused, cannot_follow, defect, lease_lost, unknown_code};
use crate::backend::{MayRing, PlaceError};
use crate::call::{Failure, Outcome};
use crate::store::StoreError;
use ending::{After, FailedEnd};
pub(super) use step::{Action, BackendTraits, ClaimedCall, Conditions, EndCause, Input, Ownership};

/// The state: the action that was returned last, with what has to be remembered for its answer.
#[derive(Clone, Debug)]
enum State {
    Beginning,
    /// With whether the backend may be skipped.
    Placing(bool),
    AwaitingReference,
    Following,
    PollingFinally,
    Verifying(Approval),
    /// With the store's last error.
    Pausing(Approval, StoreError),
    /// With the failure if the store did not answer before the call had to end; `None` if it refused the approval.
    ReadingAfterVerify(Approval, Option<Failure>),
    Blocking(Failure),
    Ending(FailedEnd),
    ReadingAfterEnd(FailedEnd),
    QueueingEnd(FailedEnd),
    /// With the outcome to publish; `None` cedes the attempt.
    ReleasingLocally(Option<Outcome>),
    Publishing(After),
    HangingUp,
    AwaitingEnd,
    Releasing,
    PollingForFraud,
    BlockingAfterHangUp,
    LoggingSummary,
    AwaitingWrites,
    CleaningUp,
    Done,
}

/// The life of one attempt in this process.
#[derive(Clone, Debug)]
pub(super) struct AttemptMachine {
    backends: Arc<[BackendTraits]>,
    state: State,
    /// `Some` if another process began the attempt and this one claimed it.
    claimed: Option<ClaimedCall>,
    /// The backends that were not considered yet, in the order in which they are asked.
    untried: VecDeque<usize>,
    /// The backends that were skipped, because they are down. They are asked if no other backend places the call.
    skipped: VecDeque<usize>,
    /// The backend that was asked last, unless the phone certainly did not ring.
    backend: Option<usize>,
    /// Whether the backend's reference of the call is known.
    is_placed: bool,
    refusals: Vec<(Arc<str>, Failure)>,
    ownership: Ownership,
}

impl AttemptMachine {
    /// A new attempt. `order` has the indexes of the backends that are asked.
    pub(super) fn new(backends: Arc<[BackendTraits]>, order: &[usize]) -> Self {
        Self {
            backends,
            state: State::Beginning,
            claimed: None,
            untried: order.iter().copied().collect(),
            skipped: VecDeque::new(),
            backend: None,
            is_placed: false,
            refusals: Vec::new(),
            ownership: Ownership::Local,
        }
    }

    /// An attempt that this process has claimed.
    pub(super) fn claimed(backends: Arc<[BackendTraits]>, call: ClaimedCall) -> Self {
        Self { claimed: Some(call), ..Self::new(backends, &[]) }
    }

    /// Returns the first action.
    pub(super) fn start(&mut self) -> Action {
        let index = match &self.claimed {
            None => return Action::Begin,
            Some(ClaimedCall::Unknown) => {
                return self.fail_holding(cannot_follow(
                    "PhoneGate was restarted before it was known whether the call had been placed.",
                ));
            }
            Some(ClaimedCall::UnknownBackend(name)) => {
                let sentence = format!("The call was placed by `{name}`, which is no longer in use.");
                return self.fail_holding(cannot_follow(&sentence));
            }
            Some(ClaimedCall::Placed(index)) => *index,
        };
        if !self.backends.get(index).is_some_and(|backend| backend.outlives_process) {
            return self.fail_holding(cannot_follow(
                "The call was in progress in another process, which has ended, and the call with it.",
            ));
        }
        (self.backend, self.is_placed) = (Some(index), true);
        self.follow()
    }

    /// Returns the backend that an outcome is attributed to: the one that placed the call, or may have.
    pub(super) fn backend(&self) -> Option<usize> {
        self.backend
    }

    /// Returns the next action, given the answer to the last one.
    ///
    /// An input that is no answer to it counts as [`Input::Panicked`].
    pub(super) fn next(&mut self, input: Input, now: Conditions) -> Action {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Beginning => self.after_begin(input, now),
            State::Placing(may_skip) => self.after_place(may_skip, input, now),
            State::AwaitingReference => self.after_late_reference(input, now),
            State::Following => self.after_follow(input, now),
            State::PollingFinally => self.after_final_poll(input),
            State::Verifying(approval) => self.after_verify(approval, input),
            State::Pausing(approval, problem) => self.verify(approval, Some(problem), now),
            State::ReadingAfterVerify(approval, unconfirmed) => self.after_verify_read(approval, unconfirmed, input),
            State::Blocking(failure) => self.end(failure, After::CleanUp),
            State::Ending(end) => self.after_end(end, &input),
            State::ReadingAfterEnd(end) => self.after_end_read(end, input),
            State::QueueingEnd(end) => self.publish_failed(end),
            State::ReleasingLocally(outcome) => self.publish_or_cede(outcome, After::CleanUp),
            State::Publishing(after) => self.after_publish(after, now),
            State::HangingUp => self.after_hang_up(&input, now),
            State::AwaitingEnd => self.after_await_end(now),
            State::Releasing => self.after_release(now),
            State::PollingForFraud => self.after_fraud_poll(&input),
            State::BlockingAfterHangUp => self.log_summary(),
            State::LoggingSummary => self.after_summary(),
            State::AwaitingWrites => self.after_writes(&input),
            State::CleaningUp | State::Done => Action::Done,
        }
    }

    fn go(&mut self, state: State, action: Action) -> Action {
        self.state = state;
        action
    }

    fn after_begin(&mut self, input: Input, now: Conditions) -> Action {
        match input {
            Input::Begun => self.place_next(now),
            Input::AlreadyOwned(generation) => Action::Mirror(generation),
            Input::NotBegun(failure) => Action::Reject(failure),
            _ => Action::Reject(defect()),
        }
    }

    /// Asks the next backend. No phone rings for a call that has ended, or that another process may own.
    fn place_next(&mut self, now: Conditions) -> Action {
        let Some((index, may_skip)) = self.take_next() else {
            let refusals = std::mem::take(&mut self.refusals);
            return self.fail_ended(all_refused(refusals));
        };
        if let Some(cause) = now.end_cause() {
            return self.fail_ended(cause.failure());
        }
        if !now.is_lease_held {
            return self.fail_ended(lease_lost());
        }
        self.backend = Some(index);
        self.go(State::Placing(may_skip), Action::Place { index, may_skip })
    }

    /// Takes the next backend, with whether it may be skipped: first those that work, then those that were skipped. But a
    /// backend whose keys PhoneGate judges comes before all that follow it and whose provider's verdict approves: whoever
    /// makes a backend fail must not get calls judged less strictly.
    fn take_next(&mut self) -> Option<(usize, bool)> {
        let Self { backends, untried, skipped, .. } = self;
        let trusts = |index: usize| {
            backends.get(index).is_some_and(|backend| backend.provider_verdicts == ProviderVerdicts::Accepted)
        };
        let due = match untried.front() {
            Some(&next) if trusts(next) => skipped.iter().position(|&index| !trusts(index)),
            Some(_) => None,
            None => Some(0),
        };
        if let Some(index) = due.and_then(|at| skipped.remove(at)) {
            return Some((index, false));
        }
        let index = untried.pop_front()?;
        let may_replace = |&other: &usize| trusts(index) || !trusts(other);
        let may_skip = untried.front().is_some_and(may_replace) || skipped.iter().any(may_replace);
        Some((index, may_skip))
    }

    fn after_place(&mut self, may_skip: bool, input: Input, now: Conditions) -> Action {
        match input {
            Input::Skipped if may_skip => {
                self.skipped.extend(self.backend.take());
                self.place_next(now)
            }
            Input::Placed => {
                self.is_placed = true;
                self.follow()
            }
            Input::NotPlaced(PlaceError { may_ring, failure }) => {
                let asked = self.backend.unwrap_or_default();
                let name = self.backends.get(asked).map(|backend| Arc::clone(&backend.name));
                self.refusals.push((name.unwrap_or_default(), failure));
                if may_ring == MayRing::Yes {
                    let refusals = std::mem::take(&mut self.refusals);
                    return self.fail_holding(all_refused(refusals));
                }
                self.backend = None;
                self.place_next(now)
            }
            Input::MustEnd(cause) => self.end(cause.failure(), After::AwaitReference),
            _ => self.fail_holding(defect()),
        }
    }

    fn after_late_reference(&mut self, input: Input, now: Conditions) -> Action {
        match input {
            Input::Placed => {
                // No other process knows this reference.
                (self.is_placed, self.ownership) = (true, Ownership::Local);
                self.hang_up(now)
            }
            Input::NotPlaced(PlaceError { may_ring, .. }) => self.release_or_hold(may_ring, now),
            _ => self.release_or_hold(MayRing::Yes, now),
        }
    }

    fn follow(&mut self) -> Action {
        self.go(State::Following, Action::Follow)
    }

    fn after_follow(&mut self, input: Input, now: Conditions) -> Action {
        match input {
            Input::Outcome(Outcome::Verified(approval)) => self.verify(approval, None, now),
            Input::Outcome(Outcome::Failed(failure)) => self.fail_ended(failure),
            // The user may have answered while no process was there.
            Input::MustEnd(EndCause::Deadline) if self.claimed.is_some() => {
                self.go(State::PollingFinally, Action::FinalPoll)
            }
            Input::MustEnd(cause) => self.end(cause.failure(), After::HangUp),
            Input::CannotJudge => self.end(unknown_code(), After::HangUp),
            _ => self.end(defect(), After::HangUp),
        }
    }

    fn after_final_poll(&mut self, input: Input) -> Action {
        match input {
            Input::Polled(Ok(failure)) => self.fail_ended(failure),
            Input::Polled(Err(failure)) => self.end(failure, After::HangUp),
            _ => self.end(defect(), After::HangUp),
        }
    }
}
