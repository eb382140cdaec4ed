//! The end of an attempt: the store records it; then it is published or ceded; then the line is hung up, the number
//! released and the provider's record removed.

use phonegate_approval::verdict::Approval;

use super::super::failures::{attempt_lost, defect, too_late, unconfirmed};
use super::{Action, AttemptMachine, Conditions, Input, Ownership, State};
use crate::backend::MayRing;
use crate::call::{Failure, FailureReason, Outcome, StoredOutcome};
use crate::store::{AttemptState, StoreError};

/// The end of an attempt as failed.
#[derive(Clone, Debug)]
pub(super) struct FailedEnd {
    failure: Failure,
    after: After,
}

/// The steps after the end of an attempt is published or ceded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Clean up: the phone certainly no longer rings.
    CleanUp,
    /// Hang up.
    HangUp,
    /// Wait for the call's reference: the backend has not answered yet.
    AwaitReference,
    /// Hold the number until the deadline: the phone may ring, and there is no reference to hang up.
    HoldNumber,
}

impl FailedEnd {
    fn releases_number(&self) -> bool {
        self.after == After::CleanUp
    }
}

impl AttemptMachine {
    /// Asks the store to confirm an approval, unless the call must end. `problem`: the store has failed to answer before.
    pub(super) fn verify(&mut self, approval: Approval, problem: Option<StoreError>, now: Conditions) -> Action {
        match (now.end_cause(), problem) {
            (None, _) => self.go(State::Verifying(approval.clone()), Action::Verify(approval)),
            (Some(cause), None) => self.fail_ended(cause.failure()),
            (Some(cause), Some(error)) => {
                let failure = unconfirmed(cause.failure().reason(), &error);
                self.go(State::ReadingAfterVerify(approval, Some(failure)), Action::ReadState)
            }
        }
    }

    pub(super) fn after_verify(&mut self, approval: Approval, input: Input) -> Action {
        match input {
            Input::Verified(Ok(true)) => self.release_locally(Some(Outcome::Verified(approval))),
            Input::Verified(Ok(false)) => self.go(State::ReadingAfterVerify(approval, None), Action::ReadState),
            Input::Verified(Err(problem)) => self.go(State::Pausing(approval, problem), Action::Pause),
            _ => self.fail_ended(defect()),
        }
    }

    /// The store has refused the approval, or has not answered in time; an answer may have been lost.
    pub(super) fn after_verify_read(
        &mut self,
        approval: Approval,
        unconfirmed_end: Option<Failure>,
        input: Input,
    ) -> Action {
        let Input::State(state) = input else { return self.fail_ended(unconfirmed_end.unwrap_or_else(defect)) };
        let failure = match state {
            Ok(Some(AttemptState::Ended { outcome: StoredOutcome::Verified(_), .. })) => {
                return self.release_locally(Some(Outcome::Verified(approval)));
            }
            Ok(Some(AttemptState::Ended { outcome: StoredOutcome::Failed(failure), .. })) => failure,
            _ if unconfirmed_end.is_some() => unconfirmed_end.unwrap_or_else(defect),
            Ok(Some(AttemptState::Pending { .. })) => too_late(),
            Ok(None) => attempt_lost(),
            Err(error) => unconfirmed(FailureReason::DeadlinePassed, &error),
        };
        self.fail_ended(failure)
    }

    /// Fails a call whose phone certainly no longer rings. A report of fraud is recorded before the end, so that a process
    /// that is killed between the two does not lose it.
    pub(super) fn fail_ended(&mut self, failure: Failure) -> Action {
        if failure.reason() == FailureReason::FraudReported {
            return self.go(State::Blocking(failure), Action::Block);
        }
        self.end(failure, After::CleanUp)
    }

    /// Fails a call whose phone may ring until the deadline.
    pub(super) fn fail_holding(&mut self, failure: Failure) -> Action {
        self.end(failure, After::HoldNumber)
    }

    pub(super) fn end(&mut self, failure: Failure, after: After) -> Action {
        let end = FailedEnd { failure: failure.clone(), after };
        let release = end.releases_number();
        self.go(State::Ending(end), Action::End { failure, release })
    }

    pub(super) fn after_end(&mut self, end: FailedEnd, input: &Input) -> Action {
        match input {
            Input::Ended(true) => self.publish_failed(end),
            Input::Ended(false) => self.go(State::ReadingAfterEnd(end), Action::ReadState),
            _ => self.queue_end(end),
        }
    }

    /// The store has refused the end: the attempt has ended already, or belongs to another process.
    pub(super) fn after_end_read(&mut self, end: FailedEnd, input: Input) -> Action {
        let Input::State(state) = input else { return self.queue_end(end) };
        self.ownership = match state {
            // The first answer was lost. It said whether the number is locked, so the end is queued, which returns that
            // again.
            Ok(Some(AttemptState::Ended { outcome: StoredOutcome::Failed(kept), .. })) if kept == end.failure => {
                return self.queue_end(end);
            }
            Ok(Some(AttemptState::Ended { outcome: StoredOutcome::Failed(kept), .. }))
                if kept.reason() == FailureReason::Interrupted =>
            {
                Ownership::RemoteAbandoned
            }
            // The store has lost it: no other process knows of it.
            Ok(None) => Ownership::Local,
            Ok(Some(_)) | Err(_) => Ownership::Remote,
        };
        match self.ownership {
            Ownership::Local => self.publish_failed(end),
            Ownership::Remote | Ownership::RemoteAbandoned => self.publish_end(None, end.after),
        }
    }

    fn queue_end(&mut self, end: FailedEnd) -> Action {
        let (failure, release) = (end.failure.clone(), end.releases_number());
        self.go(State::QueueingEnd(end), Action::QueueEnd { failure, release })
    }

    pub(super) fn publish_failed(&mut self, end: FailedEnd) -> Action {
        self.publish_end(Some(Outcome::Failed(end.failure)), end.after)
    }

    /// `None` cedes the attempt. If the end has released the number, it is released here first: a host that sees the
    /// outcome may ring the number again at once.
    fn publish_end(&mut self, outcome: Option<Outcome>, after: After) -> Action {
        match after {
            After::CleanUp => self.release_locally(outcome),
            _ => self.publish_or_cede(outcome, after),
        }
    }

    fn release_locally(&mut self, outcome: Option<Outcome>) -> Action {
        self.go(State::ReleasingLocally(outcome), Action::ReleaseLocally)
    }

    pub(super) fn publish_or_cede(&mut self, outcome: Option<Outcome>, after: After) -> Action {
        self.go(State::Publishing(after), outcome.map_or(Action::Cede, Action::Publish))
    }

    pub(super) fn after_publish(&mut self, after: After, now: Conditions) -> Action {
        match after {
            After::CleanUp => self.log_summary(),
            After::HangUp => self.hang_up(now),
            After::AwaitReference => self.go(State::AwaitingReference, Action::AwaitReference),
            After::HoldNumber => self.release_or_hold(MayRing::Yes, now),
        }
    }

    pub(super) fn hang_up(&mut self, now: Conditions) -> Action {
        if self.has_line_to_end() {
            return self.go(State::HangingUp, Action::HangUp);
        }
        self.release_or_hold(MayRing::Yes, now)
    }

    pub(super) fn after_hang_up(&mut self, input: &Input, now: Conditions) -> Action {
        let may_ring = if matches!(input, Input::HungUp(true)) { MayRing::No } else { MayRing::Yes };
        self.release_or_hold(may_ring, now)
    }

    /// Releases the number of an attempt that this process owns: at once if the phone certainly no longer rings, otherwise
    /// when the deadline has passed.
    pub(super) fn release_or_hold(&mut self, may_ring: MayRing, now: Conditions) -> Action {
        match (self.ownership, may_ring) {
            (Ownership::Local, MayRing::No) => self.go(State::Releasing, Action::Release),
            (Ownership::Local, MayRing::Yes) => self.go(State::AwaitingEnd, Action::AwaitEnd),
            (Ownership::Remote | Ownership::RemoteAbandoned, _) => self.after_release(now),
        }
    }

    /// At shutdown the number stays held: this process cannot wait for the deadline.
    pub(super) fn after_await_end(&mut self, now: Conditions) -> Action {
        match now.is_deadline_passed {
            true => self.go(State::Releasing, Action::Release),
            false => self.after_release(now),
        }
    }

    /// The user may have reported fraud after the last poll, before the call was hung up at its deadline.
    pub(super) fn after_release(&mut self, now: Conditions) -> Action {
        if now.is_deadline_passed && self.has_line_to_end() && self.outlives_process() {
            return self.go(State::PollingForFraud, Action::PollForFraud);
        }
        self.log_summary()
    }

    pub(super) fn after_fraud_poll(&mut self, input: &Input) -> Action {
        match input {
            Input::Polled(Ok(failure)) if failure.reason() == FailureReason::FraudReported => {
                self.go(State::BlockingAfterHangUp, Action::Block)
            }
            _ => self.log_summary(),
        }
    }

    pub(super) fn log_summary(&mut self) -> Action {
        if self.is_placed { self.go(State::LoggingSummary, Action::LogSummary) } else { Action::Done }
    }

    /// The provider's record of a call that outlives this process is kept until the store has all of the call: the next
    /// process may need it as evidence.
    pub(super) fn after_summary(&mut self) -> Action {
        if !self.has_line_to_end() {
            return Action::Done;
        }
        match self.outlives_process() {
            true => self.go(State::AwaitingWrites, Action::AwaitWrites),
            false => self.go(State::CleaningUp, Action::CleanUp),
        }
    }

    pub(super) fn after_writes(&mut self, input: &Input) -> Action {
        match input {
            Input::Written(true) => self.go(State::CleaningUp, Action::CleanUp),
            _ => Action::Done,
        }
    }

    /// Returns whether this process must hang up the call at the provider. If another process follows the call, that
    /// process does.
    fn has_line_to_end(&self) -> bool {
        self.is_placed && (self.ownership != Ownership::Remote || !self.outlives_process())
    }

    fn outlives_process(&self) -> bool {
        let backend = self.backend.and_then(|index| self.backends.get(index));
        backend.is_some_and(|backend| backend.outlives_process)
    }
}
